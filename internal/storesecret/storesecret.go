// Package storesecret turns a store of a region into options for its server, with the credentials from the
// Secrets that the DataStore names.
//
// It must never put a credential into an error.
package storesecret

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	plan "multiactive.dev/operator/internal/plan/store"
	"multiactive.dev/operator/internal/port/store"
)

// InvalidError is a Secret that is missing or does not have what is needed.
type InvalidError struct{ message string }

// Error implements error; it says what to do.
func (e *InvalidError) Error() string { return e.message }

// Options reads the Secrets of a store in the operator's namespace, and returns what tells their contents apart
// without showing them. Errors: *InvalidError when a person has to mend a Secret.
func Options(ctx context.Context, reader client.Reader, namespace string, d *plan.Declared) (store.Options, string, error) {
	o := store.Options{Address: d.Endpoint.Address, Database: d.Slice.Database}
	var admin, replication string
	var err error
	if o.Admin, admin, err = credentials(ctx, reader, namespace, d.Endpoint.SecretRef, d.Endpoint.Address); err != nil {
		return o, "", err
	}
	if ref := d.Slice.ReplicationSecretRef; ref != nil && d.Managed() {
		if o.Replication, replication, err = credentials(ctx, reader, namespace, *ref, ""); err != nil {
			return o, "", err
		}
	}
	return o, admin + " " + replication, nil
}

// credentials reads one Secret. address is the server's whose certificate is checked, "" for what servers use themselves.
func credentials(ctx context.Context, reader client.Reader, namespace string, ref v1alpha1.SecretReference, address string) (store.Credentials, string, error) {
	var c store.Credentials
	secret := &corev1.Secret{}
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, secret)
	if apierrors.IsNotFound(err) {
		return c, "", &InvalidError{fmt.Sprintf("there is no Secret %s/%s with the credentials for the store; create it with the keys %s and %s",
			namespace, ref.Name, regional.SecretKeyUser, regional.SecretKeyPassword)}
	}
	if err != nil {
		return c, "", fmt.Errorf("reading Secret %s/%s: %w", namespace, ref.Name, err)
	}
	c.User, c.Password = string(secret.Data[regional.SecretKeyUser]), string(secret.Data[regional.SecretKeyPassword])
	if c.User == "" {
		return c, "", &InvalidError{fmt.Sprintf("Secret %s/%s has no key %s: name the user that connects to the store", namespace, ref.Name, regional.SecretKeyUser)}
	}
	if ca := secret.Data[regional.SecretKeyCA]; len(ca) > 0 {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			host = ""
		}
		c.CA = ca
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool(), ServerName: host}
		if !c.TLS.RootCAs.AppendCertsFromPEM(ca) {
			return c, "", &InvalidError{fmt.Sprintf("Secret %s/%s: %s holds no PEM certificate", namespace, ref.Name, regional.SecretKeyCA)}
		}
	}
	return c, secret.ResourceVersion, nil
}
