package crowd

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	appslisters "k8s.io/client-go/listers/apps/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
)

// gatewaySuffix ends the names of the gateways' Deployments.
const gatewaySuffix = "-gateway"

// workers write statuses at a time.
const workers = 4

// Workloads stand for what runs Deployments in one region's cluster: each Deployment of gateways gets one Pod, named
// as itself, which is ready once its gateway has routing. Three writes for each are all that this costs.
type Workloads struct {
	client      kubernetes.Interface
	gateways    *Gateways
	deployments appslisters.DeploymentLister
	queue       workqueue.TypedRateLimitingInterface[string]
	cancel      context.CancelFunc
	done        chan struct{}
}

// Run begins to run Deployments until End, whose gateways are to be started.
func Run(ctx context.Context, client kubernetes.Interface, gateways *Gateways) (*Workloads, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(Namespace))
	deployments := factory.Apps().V1().Deployments()
	w := &Workloads{
		client: client, gateways: gateways, deployments: deployments.Lister(), done: make(chan struct{}),
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](pause, time.Minute)),
	}
	add := func(object any) {
		if d, is := object.(*appsv1.Deployment); is && strings.HasSuffix(d.Name, gatewaySuffix) {
			w.queue.Add(d.Name)
		}
	}
	if _, err := deployments.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: add, UpdateFunc: func(_, now any) { add(now) },
	}); err != nil {
		return nil, fmt.Errorf("following the crowd's Deployments: %w", err)
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w.cancel = cancel
	factory.Start(running.Done())
	go w.run(running)
	return w, nil
}

// End ends it, and leaves what is written as it is.
func (w *Workloads) End() {
	w.cancel()
	<-w.done
}

func (w *Workloads) run(ctx context.Context) {
	defer close(w.done)
	ended := make(chan struct{}, workers)
	for range workers {
		go func() {
			w.work(ctx)
			ended <- struct{}{}
		}()
	}
	<-ctx.Done()
	w.queue.ShutDown()
	for range workers {
		<-ended
	}
}

func (w *Workloads) work(ctx context.Context) {
	for {
		name, ends := w.queue.Get()
		if ends {
			return
		}
		if err := w.reconcile(ctx, name); err != nil {
			w.queue.AddRateLimited(name)
		} else {
			w.queue.Forget(name)
		}
		w.queue.Done(name)
	}
}

// reconcile brings one Deployment a step nearer.
func (w *Workloads) reconcile(ctx context.Context, name string) error {
	d, err := w.deployments.Deployments(Namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	want := ptr.Deref(d.Spec.Replicas, 1)
	if d.Status.ObservedGeneration >= d.Generation && d.Status.AvailableReplicas == want {
		// Also after a return of the region, when the Pod is still there.
		w.gateways.Start(strings.TrimSuffix(name, gatewaySuffix), func() {})
		return nil
	}
	service := strings.TrimSuffix(name, gatewaySuffix)
	if !w.gateways.Routed(service) {
		w.gateways.Start(service, func() { w.queue.Add(name) })
		return w.create(ctx, d)
	}
	ready := corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	if err := w.patch(ctx, ready, func(ctx context.Context, patch []byte) error {
		_, err := w.client.CoreV1().Pods(Namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
		return err
	}); err != nil {
		return err
	}
	status := appsv1.DeploymentStatus{
		ObservedGeneration: d.Generation, Replicas: want, UpdatedReplicas: want, ReadyReplicas: want, AvailableReplicas: want,
		Conditions: []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "NewReplicaSetAvailable"}},
	}
	return w.patch(ctx, status, func(ctx context.Context, patch []byte) error {
		_, err := w.client.AppsV1().Deployments(Namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
		return err
	})
}

// create makes the Deployment's Pod, if there is none.
func (w *Workloads) create(ctx context.Context, d *appsv1.Deployment) error {
	t := d.Spec.Template.DeepCopy()
	p := &corev1.Pod{ObjectMeta: t.ObjectMeta, Spec: t.Spec}
	p.Namespace, p.Name = Namespace, d.Name
	p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment"))}
	_, err := w.client.CoreV1().Pods(Namespace).Create(ctx, p, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (w *Workloads) patch(ctx context.Context, status any, send func(context.Context, []byte) error) error {
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	return send(ctx, patch)
}
