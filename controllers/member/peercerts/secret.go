package peercerts

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/peerca"
	"multiactive.dev/operator/internal/peertls"
)

// FieldOwner owns the fields of the Secrets.
const FieldOwner = client.FieldOwner("multiactive-member-peercerts")

// AuthoritySecret is the Secret in the operator's namespace with the region's authority.
const AuthoritySecret = "multiactive-peer-authority"

// Keys of AuthoritySecret.
const (
	keyCurrent     = "current.crt"
	keyCurrentKey  = "current.key"
	keyNext        = "next.crt"
	keyNextKey     = "next.key"
	keyPrevious    = "previous.crt"
	keyPreviousEnd = "previous.retires"
)

// load reads the authority; an empty version says that there is no Secret. One that cannot be read is an error:
// to replace it would be to cut this region off from the others until they trust the new one.
func (k *Keeper) load(ctx context.Context) (peerca.State, string, error) {
	secret := &corev1.Secret{}
	err := k.Reader.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: AuthoritySecret}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return peerca.State{}, "", nil
	case err != nil:
		return peerca.State{}, "", fmt.Errorf("reading Secret %s/%s: %w", k.Namespace, AuthoritySecret, err)
	}
	state, err := decode(secret.Data)
	if err != nil {
		return peerca.State{}, "", fmt.Errorf("reading Secret %s/%s: %w; delete it to begin with another authority, which the other regions "+
			"trust a moment later", k.Namespace, AuthoritySecret, err)
	}
	return state, secret.ResourceVersion, nil
}

func decode(data map[string][]byte) (peerca.State, error) {
	var s peerca.State
	var err error
	if s.Current, err = peerca.ParseAuthority(data[keyCurrent], data[keyCurrentKey]); err != nil {
		return s, fmt.Errorf("%s: %w", keyCurrent, err)
	}
	if len(data[keyNext]) > 0 {
		if s.Next, err = peerca.ParseAuthority(data[keyNext], data[keyNextKey]); err != nil {
			return s, fmt.Errorf("%s: %w", keyNext, err)
		}
	}
	if len(data[keyPrevious]) > 0 {
		certs, err := peertls.ParseCertificates(data[keyPrevious])
		if err != nil {
			return s, fmt.Errorf("%s: %w", keyPrevious, err)
		}
		s.Previous = certs[0]
		if s.Retires, err = time.Parse(time.RFC3339, string(data[keyPreviousEnd])); err != nil {
			return s, fmt.Errorf("%s: it is no time", keyPreviousEnd)
		}
	}
	return s, nil
}

func encode(s peerca.State) (map[string][]byte, error) {
	data := map[string][]byte{}
	var err error
	if data[keyCurrent], data[keyCurrentKey], err = s.Current.Encode(); err != nil {
		return nil, err
	}
	if s.Next != nil {
		if data[keyNext], data[keyNextKey], err = s.Next.Encode(); err != nil {
			return nil, err
		}
	}
	if s.Previous != nil {
		data[keyPrevious], data[keyPreviousEnd] = peerca.PEM(s.Previous), []byte(s.Retires.UTC().Format(time.RFC3339))
	}
	return data, nil
}

// store writes the authority, under the version that was read.
func (k *Keeper) store(ctx context.Context, s peerca.State, version string) error {
	data, err := encode(s)
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
