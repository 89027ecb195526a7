package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// proxyPause is the time between a Pod's being marked as terminating and its process's being told, so
// that the service proxy has heard of it; in a cluster a preStop hook gives this time.
const proxyPause = 300 * time.Millisecond

// reconcile brings the Pods of one Deployment a step nearer and writes its status.
func (a *Agent) reconcile(ctx context.Context, key types.NamespacedName) error {
	d, err := a.deployments.Deployments(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) || (err == nil && d.DeletionTimestamp != nil) {
		a.stopAll(key, "")
		return nil
	}
	if err != nil {
		return err
	}
	a.stopAll(key, d.UID) // of an earlier Deployment of the same name
	hash := templateHash(&d.Spec.Template)
	members, stopping := a.members(d.UID, hash)
	var failure error
	if !d.Spec.Paused {
		todo := next(d, members, stopping)
		for range todo.start {
			if failure = a.start(ctx, d, hash); failure != nil {
				break
			}
		}
		for _, name := range todo.stop {
			a.stopNamed(types.NamespacedName{Namespace: d.Namespace, Name: name})
		}
	}
	members, _ = a.members(d.UID, hash)
	return errors.Join(failure, a.report(ctx, d, members, failure))
}

// members returns the Deployment's Pods that are to stay, and how many are on their way out.
func (a *Agent) members(owner types.UID, hash string) (staying []member, stopping int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.pods {
		if p.owner != owner {
			continue
		}
		if _, leaving := p.snapshot(); leaving {
			stopping++
			continue
		}
		// A Pod that others do not know to be ready takes nobody's place.
		staying = append(staying, member{name: p.object.Name, current: p.template == hash, ready: p.serves()})
	}
	return staying, stopping
}

// start makes one more Pod.
func (a *Agent) start(ctx context.Context, d *appsv1.Deployment, hash string) error {
	created, err := a.config.Client.CoreV1().Pods(d.Namespace).Create(ctx, newPod(d, hash, a.config.Name), metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("creating a Pod of Deployment %s: %w", d.Name, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return errors.New("the node is going down")
	}
	a.lastIP = a.lastIP.Next()
	if !a.config.PodIPs.Contains(a.lastIP) {
		return fmt.Errorf("all Pod addresses of %s have been used", a.config.PodIPs)
	}
	created.Status.PodIP, created.Status.HostIP = a.lastIP.String(), a.config.HostIP
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &pod{
		agent: a, object: created, owner: d.UID, template: hash, cancel: cancel, done: make(chan struct{}),
		state: podState{waiting: reasonCreating},
	}
	a.pods[p.key()] = p
	a.statuses.Add(p.key())
	a.all.Go(func() { p.run(running) })
	return nil
}

// stopAll ends the Pods of the Deployment of that name, except those of the one with the UID.
func (a *Agent) stopAll(deployment types.NamespacedName, except types.UID) {
	a.mu.Lock()
	var found []*pod
	for key, p := range a.pods {
		owner := metav1.GetControllerOfNoCopy(p.object)
		if key.Namespace == deployment.Namespace && owner != nil && owner.Name == deployment.Name && p.owner != except {
			found = append(found, p)
		}
	}
	a.mu.Unlock()
	for _, p := range found {
		a.stop(p)
	}
}

func (a *Agent) stopNamed(key types.NamespacedName) {
	a.mu.Lock()
	p := a.pods[key]
	a.mu.Unlock()
	if p != nil {
		a.stop(p)
	}
}

// stop ends a Pod: it is no longer ready, its process gets its grace period, and then the object goes.
func (a *Agent) stop(p *pod) {
	p.mu.Lock()
	already := p.stopping
	p.stopping = true
	p.mu.Unlock()
	if already {
		return
	}
	a.all.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		seconds := int64(grace(p.object) / time.Second)
		// Marked as terminating first, so that nobody sends it anything more.
		if err := a.delete(ctx, p.object, seconds); err != nil {
			a.config.Log.Warn("marking a Pod as terminating", "pod", p.key().String(), "error", err)
		}
		a.statuses.Add(p.key())
		timer := a.config.Clock.NewTimer(proxyPause)
		select {
		case <-timer.C():
		case <-p.done: // killed meanwhile
			timer.Stop()
		}
		p.cancel()
		<-p.done
		a.mu.Lock()
		closed := a.closed
		delete(a.pods, p.key())
		a.mu.Unlock()
		if closed {
			return // the API server goes down too
		}
		if err := a.remove(ctx, p.object); err != nil {
			a.config.Log.Warn("removing a Pod", "pod", p.key().String(), "error", err)
		}
		a.changed(p)
	})
}

func (a *Agent) remove(ctx context.Context, object *corev1.Pod) error {
	return a.delete(ctx, object, 0)
}

func (a *Agent) delete(ctx context.Context, object *corev1.Pod, seconds int64) error {
	err := a.config.Client.CoreV1().Pods(object.Namespace).Delete(ctx, object.Name, metav1.DeleteOptions{
		GracePeriodSeconds: ptr.To(seconds), Preconditions: &metav1.Preconditions{UID: &object.UID},
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// writeStatus writes a Pod's status as it is now.
func (a *Agent) writeStatus(ctx context.Context, key types.NamespacedName) error {
	a.mu.Lock()
	p := a.pods[key]
	a.mu.Unlock()
	if p == nil {
		return nil
	}
	status := p.status()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.object.UID}, "status": status})
	if err != nil {
		return fmt.Errorf("writing a Pod's status: %w", err)
	}
	_, err = a.config.Client.CoreV1().Pods(key.Namespace).Patch(ctx, key.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // deleted meanwhile
	}
	if err == nil && p.announce(isReady(status)) {
		a.wake(p)
	}
	return err
}

func isReady(status corev1.PodStatus) bool {
	return slices.ContainsFunc(status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
