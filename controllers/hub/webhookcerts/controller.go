// Package webhookcerts keeps the certificate that the hub's webhook serves with, and has the API server trust the
// authority that signed it. Every replica of the hub runs it: whoever comes first writes, the others serve what was
// written. It must never put a private key anywhere but into its Secret, and never serve what the API server
// has not been told to trust, except where it trusts nothing yet.
package webhookcerts

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"multiactive.dev/operator/internal/metrics"
	"multiactive.dev/operator/internal/ownca"
)

// FieldOwner owns what is written into the Secret and the webhook configuration.
const FieldOwner = client.FieldOwner("multiactive-webhookcerts")

const (
	// heard is how long API servers have to hear of a changed configuration before anybody relies on it.
	heard = time.Minute
	// lookAgain bounds how late a change that no event told of is noticed.
	lookAgain = time.Hour
)

// Options say where everything is. All are required.
type Options struct {
	// Namespace and Secret with the certificate. The Secret is there already, empty at first: so the hub needs no
	// right to make Secrets.
	Namespace, Secret string
	// Configuration is the name of the ValidatingWebhookConfiguration.
	Configuration string
	// Host that the API server calls, such as multiactive-webhook.multiactive-system.svc.
	Host string
	// Lifetimes of certificate and authority.
	Lifetimes ownca.Lifetimes
}

// Reconciler keeps the certificate.
type Reconciler struct {
	// Client reads from a cache.
	Client client.Client
	Clock  clock.PassiveClock
	Options

	serving atomic.Pointer[tls.Certificate]
}

// GetCertificate is for tls.Config.
func (r *Reconciler) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cert := r.serving.Load(); cert != nil {
		return cert, nil
	}
	return nil, errors.New("there is no certificate yet")
}

// SetupWithManager adds the reconciler to a manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	everyone := false
	named := func(namespace, name string) builder.Predicates {
		return builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool {
			return o.GetNamespace() == namespace && o.GetName() == name
		}))
	}
	err := ctrl.NewControllerManagedBy(mgr).Named("webhookcerts").
		WithOptions(controller.Options{NeedLeaderElection: &everyone}).
		For(&corev1.Secret{}, named(r.Namespace, r.Secret)).
		Watches(&admissionv1.ValidatingWebhookConfiguration{}, handler.EnqueueRequestsFromMapFunc(r.secret), named("", r.Configuration)).
		Complete(r)
	if err != nil {
		return fmt.Errorf("adding controller webhookcerts: %w", err)
	}
	return nil
}

func (r *Reconciler) secret(context.Context, client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: r.Namespace, Name: r.Secret}}}
}

// Reconcile brings Secret, what is served and the webhook configuration up to date.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	secret := &corev1.Secret{}
	if err := r.Client.Get(ctx, req.NamespacedName, secret); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err) // an event tells when it is there
	}
	trusting := &admissionv1.ValidatingWebhookConfiguration{}
	if err := r.Client.Get(ctx, client.ObjectKey{Name: r.Configuration}, trusting); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	now := r.Clock.Now()
	state, data, err := r.advance(ctx, secret, trusting, now)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !maps.EqualFunc(data, secret.Data, bytes.Equal) {
		// Under the version that was read: of two replicas one writes, and the other reads what it wrote.
		if err := r.apply(ctx, "v1", "Secret", map[string]any{
			"namespace": r.Namespace, "name": r.Secret, "resourceVersion": secret.ResourceVersion,
		}, map[string]any{"data": encoded(data)}); err != nil {
			if apierrors.IsConflict(err) {
				return ctrl.Result{RequeueAfter: time.Second}, nil
			}
			return ctrl.Result{}, err
		}
	}
	if err := r.trust(ctx, trusting, state.Trusted()); err != nil {
		return ctrl.Result{}, err
	}
	pair, err := tls.X509KeyPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return ctrl.Result{}, errors.New("the certificate that was just made is not one") // what the library says may hold a key
	}
	r.serving.Store(&pair)
	metrics.SetWebhookCertificate(pair.Leaf.NotAfter)
	after := min(lookAgain, max(ownca.RenewAt(pair.Leaf, r.Lifetimes).Sub(now), time.Second))
	if state.Next != nil {
		after = min(after, heard)
	}
	return ctrl.Result{RequeueAfter: after}, nil
}

// advance returns what there is to be in the Secret.
func (r *Reconciler) advance(ctx context.Context, secret *corev1.Secret, trusting *admissionv1.ValidatingWebhookConfiguration, now time.Time) (
	ownca.State, map[string][]byte, error,
) {
	log := ctrl.LoggerFrom(ctx)
	var state ownca.State
	if len(secret.Data) > 0 {
		var err error
		if state, err = ownca.Decode(secret.Data); err != nil {
			// The API server is told of another one within this call, so that nothing waits for a person.
			log.Info("The authority of the webhook's certificate cannot be read; beginning with another one.", "error", err.Error())
			state = ownca.State{}
		}
	}
	step, err := ownca.Advance(&state, ownca.ForHost(r.Host), now, r.Lifetimes, func(next *x509.Certificate) bool {
		return now.Sub(state.Next.Made()) >= heard && trusted(trusting, next)
	})
	if err != nil {
		return state, nil, err
	}
	data, err := state.Encode()
	if err != nil {
		return state, nil, err
	}
	cert, key := secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey]
	due, _ := ownca.DueHost(cert, key, r.Host, state.Current, now, r.Lifetimes)
	if due {
		if cert, key, err = state.Current.IssueHost(r.Host, now, r.Lifetimes.Certificate); err != nil {
			return state, nil, err
		}
	}
	if step != ownca.StepNone || due {
		log.Info("The webhook's certificate changes.", "step", string(step), "issued", due, "authority", ownca.Fingerprint(state.Current.Certificate))
	}
	data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey] = cert, key
	return state, data, nil
}

// trusted reports whether every webhook of the configuration trusts a certificate.
func trusted(c *admissionv1.ValidatingWebhookConfiguration, cert *x509.Certificate) bool {
	for i := range c.Webhooks {
		if !bytes.Contains(c.Webhooks[i].ClientConfig.CABundle, ownca.PEM(cert)) {
			return false
		}
	}
	return true
}

// trust has the API server trust the certificates, and no others.
func (r *Reconciler) trust(ctx context.Context, c *admissionv1.ValidatingWebhookConfiguration, certs []*x509.Certificate) error {
	var bundle []byte
	for _, cert := range certs {
		bundle = append(bundle, ownca.PEM(cert)...)
	}
	changed := false
	webhooks := make([]any, len(c.Webhooks))
	for i := range c.Webhooks {
		changed = changed || !bytes.Equal(c.Webhooks[i].ClientConfig.CABundle, bundle)
		webhooks[i] = map[string]any{
			"name": c.Webhooks[i].Name, "clientConfig": map[string]any{"caBundle": base64.StdEncoding.EncodeToString(bundle)},
		}
	}
	if !changed {
		return nil
	}
	return r.apply(ctx, admissionv1.SchemeGroupVersion.String(), "ValidatingWebhookConfiguration",
		map[string]any{"name": c.Name}, map[string]any{"webhooks": webhooks})
}

func encoded(data map[string][]byte) map[string]any {
	out := make(map[string]any, len(data))
	for key, value := range data {
		out[key] = base64.StdEncoding.EncodeToString(value)
	}
	return out
}

// apply writes fields of an object that is there. Its error holds nothing of the content.
func (r *Reconciler) apply(ctx context.Context, apiVersion, kind string, metadata, fields map[string]any) error {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": metadata}}
	maps.Copy(u.Object, fields)
	err := r.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), FieldOwner, client.ForceOwnership)
	if err == nil {
		return nil
	}
	if apierrors.IsConflict(err) {
		return err
	}
	return fmt.Errorf("writing %s %s: %s", kind, u.GetName(), apierrors.ReasonForError(err))
}
