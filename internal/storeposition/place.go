package storeposition

import (
	"context"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// PlaceName is the name of the Lease whose UID identifies the installation, in the operator's namespace.
const PlaceName = "multiactive-place"

// Place returns what identifies this installation and no other, made at its first call: the UID of a Lease.
// A kubeconfig, a region's name or a namespace can be the same in two clusters; this cannot.
func Place(ctx context.Context, reader client.Reader, writer client.Client, namespace string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: PlaceName}}
	err := reader.Get(ctx, client.ObjectKeyFromObject(lease), lease)
	if apierrors.IsNotFound(err) {
		err = writer.Create(ctx, lease)
	}
	if apierrors.IsAlreadyExists(err) {
		err = reader.Get(ctx, client.ObjectKeyFromObject(lease), lease)
	}
	if err != nil {
		return "", fmt.Errorf("finding out which installation this is, from lease %s/%s: %w", namespace, PlaceName, err)
	}
	return string(lease.UID), nil
}
