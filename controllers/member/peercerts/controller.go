package peercerts

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/flow"
	"multiactive.dev/operator/internal/ownca"
	"multiactive.dev/operator/internal/peertls"
)

// +kubebuilder:rbac:groups=multiactive.dev,resources=regionalservices,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,resourceNames=multiactive-peer-certificates,verbs=get;create;patch;delete
// +kubebuilder:rbac:groups="",namespace=multiactive-system,resources=secrets,resourceNames=multiactive-peer-authority,verbs=get;create;patch

// awaitAuthority is how soon to look again for an authority, before the keeper has one.
const awaitAuthority = time.Second

// lookAgain bounds the time until a Secret that somebody has changed or deleted is mended: Secrets are not
// watched.
const lookAgain = 5 * time.Minute

// Reconciler keeps, for one namespace at a time, the certificates of the services' gateways.
type Reconciler struct {
	// Client writes, and reads RegionalServices; Reader reads from the API server.
	Client client.Client
	Reader client.Reader
	Keeper *Keeper
	Clock  clock.PassiveClock

	mu       sync.Mutex
	problems map[string]string // by namespace
	told     chan event.GenericEvent
}

// NewReconciler returns a reconciler that signs with the keeper's authority.
func NewReconciler(c client.Client, reader client.Reader, k *Keeper) *Reconciler {
	return &Reconciler{
		Client: c, Reader: reader, Keeper: k, Clock: k.Clock, problems: map[string]string{}, told: make(chan event.GenericEvent, 16),
	}
}

// Problem says for people what keeps the services of a namespace from having certificates, "" if nothing does.
func (r *Reconciler) Problem(namespace string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.problems[namespace]
}

// Reconcile makes one pass over a namespace; the request's Name is empty.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var list v1alpha1.RegionalServiceList
	if err := r.Client.List(ctx, &list, client.InNamespace(req.Namespace), client.UnsafeDisableDeepCopy); err != nil { // nobody changes them
		return ctrl.Result{}, fmt.Errorf("listing the services of namespace %s: %w", req.Namespace, err)
	}
	var ids []peertls.ID
	for i := range list.Items {
		rs := &list.Items[i]
		if rs.Spec.Region == r.Keeper.Region && rs.DeletionTimestamp == nil && regional.OwnPeerCertificate(rs) {
			ids = append(ids, peertls.ID{Region: rs.Spec.Region, Namespace: rs.Namespace, Name: rs.Name})
		}
	}
	after, err := r.keep(ctx, req.Namespace, ids)
	r.note(list.Items, req.Namespace, err)
	return ctrl.Result{RequeueAfter: after}, err
}

// keep brings the namespace's Secret up to date, and returns when to look again.
func (r *Reconciler) keep(ctx context.Context, namespace string, ids []peertls.ID) (time.Duration, error) {
	secret := &corev1.Secret{}
	err := r.Reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: regional.PeerSecretName}, secret)
	switch {
	case apierrors.IsNotFound(err):
		secret = nil
	case err != nil:
		return 0, fmt.Errorf("reading Secret %s/%s: %w", namespace, regional.PeerSecretName, err)
	case !regional.Made(secret):
		if len(ids) == 0 {
			return 0, nil
		}
		return 0, fmt.Errorf("Secret %s/%s: %w", namespace, regional.PeerSecretName, errNotOurs) //nolint:staticcheck // begins with a kind
	}
	if len(ids) == 0 {
		return 0, r.remove(ctx, secret)
	}
	current := r.Keeper.current()
	if current == nil {
		return awaitAuthority, nil
	}
	var have map[string][]byte
	version := ""
	if secret != nil {
		have, version = secret.Data, secret.ResourceVersion
	}
	want, changed, next, err := certificates(ids, have, current, r.Clock.Now(), r.Keeper.Lifetimes)
	if err != nil {
		return 0, err
	}
	if changed {
		ctrl.LoggerFrom(ctx).Info("Certificates for gateways were issued.", "namespace", namespace, "services", len(ids))
		if err := apply(ctx, r.Client, namespace, regional.PeerSecretName, version, want); err != nil {
			return 0, err
		}
	}
	return min(max(next.Sub(r.Clock.Now()), awaitAuthority), lookAgain), nil
}

// certificates returns what the namespace's Secret must hold, whether that differs from what it has, and when
// the next certificate is due.
func certificates(ids []peertls.ID, have map[string][]byte, current *ownca.Authority, now time.Time, l ownca.Lifetimes) (
	want map[string][]byte, changed bool, next time.Time, err error,
) {
	want = make(map[string][]byte, 2*len(ids))
	next = now.Add(l.Certificate)
	for _, id := range ids {
		certName, keyName := regional.PeerCertificateKeys(id.Name)
		cert, key := have[certName], have[keyName]
		due, at := ownca.Due(cert, key, id, current, now, l)
		if due {
			changed = true
			if cert, key, err = current.Issue(id, now, l.Certificate); err != nil {
				return nil, false, now, err
			}
			at = now.Add(l.Certificate / 2)
		}
		want[certName], want[keyName] = cert, key
		if at.Before(next) {
			next = at
		}
	}
	return want, changed || len(have) != len(want), next, nil
}

// remove deletes the Secret that no service needs any more.
func (r *Reconciler) remove(ctx context.Context, secret *corev1.Secret) error {
	if secret == nil {
		return nil
	}
	uid, version := secret.UID, secret.ResourceVersion
	err := r.Client.Delete(ctx, secret, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if apierrors.IsConflict(err) {
		return nil // somebody has changed it: the next pass sees
	}
	return client.IgnoreNotFound(err)
}

// note keeps what is wrong, and wakes the namespace's services when it has changed.
func (r *Reconciler) note(services []v1alpha1.RegionalService, namespace string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	r.mu.Lock()
	same := r.problems[namespace] == text
	if r.problems[namespace] = text; text == "" {
		delete(r.problems, namespace)
	}
	r.mu.Unlock()
	if same {
		return
	}
	for i := range services {
		select {
		case r.told <- event.GenericEvent{Object: &services[i]}:
		default: // the services are looked at again by themselves
		}
	}
}

// Changed announces services whose Problem has changed.
func (r *Reconciler) Changed() <-chan event.GenericEvent { return r.told }

// SetupWithManager starts keeper and controller with the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := mgr.Add(r.Keeper); err != nil {
		return fmt.Errorf("adding the keeper of the region's authority: %w", err)
	}
	byNamespace := flow.Gathered(func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace()}}}
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("peercerts").
		Watches(&v1alpha1.RegionalService{}, byNamespace, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.Channel(r.Keeper.changed, handler.EnqueueRequestsFromMapFunc(r.allNamespaces))).
		Complete(r)
}

// allNamespaces wakes every namespace with services: another authority signs.
func (r *Reconciler) allNamespaces(ctx context.Context, _ client.Object) []reconcile.Request {
	var list v1alpha1.RegionalServiceList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing services")
		return nil
	}
	seen := map[string]bool{}
	var out []reconcile.Request
	for i := range list.Items {
		if namespace := list.Items[i].Namespace; !seen[namespace] {
			seen[namespace] = true
			out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace}})
		}
	}
	return out
}
