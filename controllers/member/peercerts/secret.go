package peercerts

import (
	"context"
	"encoding/base64"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownca"
)

// FieldOwner owns the fields of the Secrets.
const FieldOwner = client.FieldOwner("multiactive-member-peercerts")

// AuthoritySecret is the Secret in the operator's namespace with the region's authority.
const AuthoritySecret = "multiactive-peer-authority"

// load reads the authority; an empty version says that there is no Secret. One that cannot be read is an error:
// to replace it would be to cut this region off from the others until they trust the new one.
func (k *Keeper) load(ctx context.Context) (ownca.State, string, error) {
	secret := &corev1.Secret{}
	err := k.Reader.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: AuthoritySecret}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return ownca.State{}, "", nil
	case err != nil:
		return ownca.State{}, "", fmt.Errorf("reading Secret %s/%s: %w", k.Namespace, AuthoritySecret, err)
	}
	state, err := ownca.Decode(secret.Data)
	if err != nil {
		return ownca.State{}, "", fmt.Errorf("reading Secret %s/%s: %w; delete it to begin with another authority, which the other regions "+
			"trust a moment later", k.Namespace, AuthoritySecret, err)
	}
	return state, secret.ResourceVersion, nil
}

// store writes the authority, under the version that was read.
func (k *Keeper) store(ctx context.Context, s ownca.State, version string) error {
	data, err := s.Encode()
	if err != nil {
		return err
	}
	return apply(ctx, k.Client, k.Namespace, AuthoritySecret, version, data)
}

// apply writes a Secret whole. Its error holds nothing of the content.
func apply(ctx context.Context, c client.Client, namespace, name, version string, data map[string][]byte) error {
	encoded := make(map[string]any, len(data))
	for key, value := range data {
		encoded[key] = base64.StdEncoding.EncodeToString(value)
	}
	metadata := map[string]any{
		"namespace": namespace, "name": name, "labels": map[string]any{regional.LabelManagedBy: regional.ManagedBy},
	}
	if version != "" {
		metadata["resourceVersion"] = version
	}
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": string(corev1.SecretTypeOpaque), "data": encoded,
	}}
	if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), FieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("writing Secret %s/%s: %s", namespace, name, apierrors.ReasonForError(err))
	}
	return nil
}
