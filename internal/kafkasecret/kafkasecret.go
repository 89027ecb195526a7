// Package kafkasecret turns the Kafka of a Region into options for a client, with the credentials
// from the Secret that it names.
//
// It must never put a credential into an error.
package kafkasecret

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/port/kafka"
)

// InvalidError is a Secret that is missing or does not have what is needed.
type InvalidError struct {
	// Missing is true when there is no such Secret.
	Missing bool
	message string
}

// Error implements error; it says what to do.
func (e *InvalidError) Error() string { return e.message }

// Options reads the Secret that the Kafka names, in the operator's namespace. Without one
// connections are plain and unauthenticated. Errors: *InvalidError when a person has to mend the
// Secret.
func Options(ctx context.Context, reader client.Reader, namespace string, k v1alpha1.RegionKafka) (kafka.Options, error) {
	o := kafka.Options{Brokers: k.BootstrapServers, ClientID: "multiactive-member"}
	if k.Auth == nil {
		return o, nil
	}
	name := k.Auth.SecretRef.Name
	secret := &corev1.Secret{}
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return o, &InvalidError{Missing: true, message: fmt.Sprintf("there is no Secret %s/%s with the credentials for Kafka; create it with the keys %s, %s and %s",
			namespace, name, regional.SecretKeyMechanism, regional.SecretKeyUser, regional.SecretKeyPassword)}
	}
	if err != nil {
		return o, fmt.Errorf("reading Secret %s/%s: %w", namespace, name, err)
	}
	if mechanism := string(secret.Data[regional.SecretKeyMechanism]); mechanism != "" {
		o.SASL = &kafka.SASL{
			Mechanism: kafka.Mechanism(mechanism),
			User:      string(secret.Data[regional.SecretKeyUser]), Password: string(secret.Data[regional.SecretKeyPassword]),
		}
	}
	if ca := secret.Data[regional.SecretKeyCA]; len(ca) > 0 {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
		if !o.TLS.RootCAs.AppendCertsFromPEM(ca) {
			return o, &InvalidError{message: fmt.Sprintf("Secret %s/%s: %s holds no PEM certificate", namespace, name, regional.SecretKeyCA)}
		}
	}
	if _, err := kafka.ClientOptions(o); err != nil {
		return o, &InvalidError{message: fmt.Sprintf("Secret %s/%s: %v", namespace, name, err)}
	}
	return o, nil
}
