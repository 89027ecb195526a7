// Package node is a node of the playground: it runs every Deployment of one region's API server as
// local processes, with real Pod objects and Deployment statuses, as the controllers and the kubelet
// of a cluster do.
//
// A Pod is one process: its first container, started as the program that stands for the image, with
// its variables, ConfigMaps, Secrets and probes, and a loopback address of its own. There is no
// isolation: a mounted path is replaced by where the files really lie wherever it stands in a command
// line or variable, and /var/lib and /data are the node's.
//
// It must never run anything but the programs that it was given, and must leave no process behind.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	appslisters "k8s.io/client-go/listers/apps/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/testkit/process"
)

// Config is what an Agent needs. All fields but Idle are required.
type Config struct {
	// Name of the node.
	Name string
	// HostIP is the node's address; PodIPs is the range that Pods get theirs from. Loopback.
	HostIP string
	PodIPs netip.Prefix
	// Client of the region's API server, allowed everything.
	Client kubernetes.Interface
	// Informers of the same server, started by the caller after New.
	Informers informers.SharedInformerFactory
	// Dir holds logs, volumes and what stands for the node's root directory.
	Dir      string
	Programs Programs
	// Idle are namespaces whose Deployments it leaves alone.
	Idle  []string
	Clock clock.WithTicker
	Log   *slog.Logger
	// Network is the file of the network namespace that Pods run in; empty: this process's.
	Network string
	// Env gives every Pod's process variables besides its own; may be nil.
	Env func(deployment string) []string
}

// Agent runs the Deployments.
type Agent struct {
	config      Config
	deployments appslisters.DeploymentLister
	synced      []cache.InformerSynced
	queue       workqueue.TypedRateLimitingInterface[types.NamespacedName]
	statuses    workqueue.TypedRateLimitingInterface[types.NamespacedName]

	mu     sync.Mutex
	pods   map[types.NamespacedName]*pod
	lastIP netip.Addr
	closed bool
	frozen bool
	all    sync.WaitGroup
}

// New returns an Agent that does nothing until Run.
func New(c Config) (*Agent, error) {
	limiter := func() workqueue.TypedRateLimiter[types.NamespacedName] {
		return workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](50*time.Millisecond, 5*time.Second)
	}
	deployments := c.Informers.Apps().V1().Deployments()
	pods := c.Informers.Core().V1().Pods()
	a := &Agent{
		config: c, deployments: deployments.Lister(), pods: map[types.NamespacedName]*pod{}, lastIP: c.PodIPs.Addr(),
		queue: workqueue.NewTypedRateLimitingQueue(limiter()), statuses: workqueue.NewTypedRateLimitingQueue(limiter()),
	}
	handlers := []struct {
		informer cache.SharedIndexInformer
		handle   func(any)
	}{{deployments.Informer(), a.deploymentEvent}, {pods.Informer(), a.podEvent}}
	for _, h := range handlers {
		registration, err := h.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: h.handle, UpdateFunc: func(_, object any) { h.handle(object) }, DeleteFunc: h.handle,
		})
		if err != nil {
			return nil, fmt.Errorf("preparing node %s: %w", c.Name, err)
		}
		a.synced = append(a.synced, registration.HasSynced)
	}
	return a, nil
}

// Run runs Deployments until ctx ends, and then kills what runs. Pods of an earlier life of the node
// are replaced.
func (a *Agent) Run(ctx context.Context) error {
	defer a.Kill()
	if err := a.forget(ctx); err != nil {
		return fmt.Errorf("starting node %s: %w", a.config.Name, err)
	}
	if !cache.WaitForCacheSync(ctx.Done(), a.synced...) {
		return context.Cause(ctx)
	}
	var workers sync.WaitGroup
	workers.Go(func() { work(ctx, a.queue, a.reconcile, a.config.Log) })
	workers.Go(func() { work(ctx, a.statuses, a.writeStatus, a.config.Log) })
	<-ctx.Done()
	a.queue.ShutDown()
	a.statuses.ShutDown()
	workers.Wait()
	return nil
}

// forget deletes the Pods that ran here before: their processes are gone.
func (a *Agent) forget(ctx context.Context) error {
	list, err := a.config.Client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var failures []error
	for i := range list.Items {
		if list.Items[i].Spec.NodeName == a.config.Name {
			failures = append(failures, a.remove(ctx, &list.Items[i]))
		}
	}
	return errors.Join(failures...)
}

// Kill ends every process at once and starts no other, as the loss of the machine does.
func (a *Agent) Kill() {
	a.mu.Lock()
	a.closed = true
	pods := make([]*pod, 0, len(a.pods))
	for _, p := range a.pods {
		pods = append(pods, p)
	}
	a.mu.Unlock()
	var all sync.WaitGroup
	for _, p := range pods {
		all.Go(p.kill)
	}
	all.Wait()
	a.all.Wait()
}

// Freeze halts every process, and the looks at them: connections stay open and nothing answers. It is not
// for a node that is starting or ending Pods.
func (a *Agent) Freeze() error {
	a.setFrozen(true)
	return a.each((*process.Process).Freeze)
}

// Continue undoes Freeze.
func (a *Agent) Continue() error {
	defer a.setFrozen(false)
	return a.each((*process.Process).Continue)
}

func (a *Agent) setFrozen(frozen bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.frozen = frozen
}

func (a *Agent) isFrozen() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.frozen
}

// each does something to every Pod's process.
func (a *Agent) each(what func(*process.Process) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var failures []error
	for _, p := range a.pods {
		p.mu.Lock()
		if p.process != nil {
			failures = append(failures, what(p.process))
		}
		p.mu.Unlock()
	}
	return errors.Join(failures...)
}

// end ends a process: within its grace period, or at once when the node goes down.
func (a *Agent) end(ctx context.Context, running *process.Process) error {
	a.mu.Lock()
	closed := a.closed
	a.mu.Unlock()
	if closed {
		return running.Kill()
	}
	return running.Stop(context.WithoutCancel(ctx))
}

// Processes returns the processes of the Pods by namespace/name; some may have ended.
func (a *Agent) Processes() map[types.NamespacedName]*process.Process {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[types.NamespacedName]*process.Process{}
	for key, p := range a.pods {
		p.mu.Lock()
		if p.process != nil {
			out[key] = p.process
		}
		p.mu.Unlock()
	}
	return out
}

func (a *Agent) deploymentEvent(object any) {
	if tombstone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = tombstone.Obj
	}
	if d, ok := object.(*appsv1.Deployment); ok && !slices.Contains(a.config.Idle, d.Namespace) {
		a.queue.Add(types.NamespacedName{Namespace: d.Namespace, Name: d.Name})
	}
}

// podEvent ends a Pod that somebody deletes.
func (a *Agent) podEvent(object any) {
	deleted := false
	if tombstone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object, deleted = tombstone.Obj, true
	}
	o, ok := object.(*corev1.Pod)
	if !ok || (o.DeletionTimestamp == nil && !deleted) {
		return
	}
	a.mu.Lock()
	p := a.pods[types.NamespacedName{Namespace: o.Namespace, Name: o.Name}]
	a.mu.Unlock()
	if p != nil && p.object.UID == o.UID {
		a.stop(p)
	}
}

// changed has a Pod's status written and its Deployment looked at again.
func (a *Agent) changed(p *pod) {
	a.statuses.Add(p.key())
	a.wake(p)
}

// wake has the Pod's Deployment looked at again.
func (a *Agent) wake(p *pod) {
	if owner := metav1.GetControllerOfNoCopy(p.object); owner != nil {
		a.queue.Add(types.NamespacedName{Namespace: p.object.Namespace, Name: owner.Name})
	}
}

// work hands the queue's items to do, one at a time, until the queue is shut down.
func work(ctx context.Context, queue workqueue.TypedRateLimitingInterface[types.NamespacedName],
	do func(context.Context, types.NamespacedName) error, log *slog.Logger) {
	for {
		key, shutdown := queue.Get()
		if shutdown {
			return
		}
		if err := do(ctx, key); err != nil {
			if ctx.Err() == nil {
				log.Warn("will try again", "object", key.String(), "error", err)
			}
			queue.AddRateLimited(key)
		} else {
			queue.Forget(key)
		}
		queue.Done(key)
	}
}
