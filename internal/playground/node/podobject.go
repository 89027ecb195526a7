package node

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/utils/ptr"
)

// labelTemplate tells which template a Pod was made from, as ReplicaSets do.
const labelTemplate = appsv1.DefaultDeploymentUniqueLabelKey

// templateHash names a Pod template.
func templateHash(t *corev1.PodTemplateSpec) string {
	content, err := json.Marshal(t)
	if err != nil {
		panic("node: a Pod template always marshals: " + err.Error())
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:5])
}

// newPod describes a Pod of the Deployment on this node.
func newPod(d *appsv1.Deployment, hash, nodeName string) *corev1.Pod {
	t := d.Spec.Template.DeepCopy()
	object := &corev1.Pod{ObjectMeta: t.ObjectMeta, Spec: t.Spec}
	object.Namespace = d.Namespace
	object.Name = fmt.Sprintf("%s-%s-%s", d.Name, hash, rand.String(5))
	if object.Labels == nil {
		object.Labels = map[string]string{}
	}
	object.Labels[labelTemplate] = hash
	object.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: "Deployment", Name: d.Name, UID: d.UID, Controller: ptr.To(true),
	}}
	object.Spec.NodeName = nodeName
	return object
}

// status is what the Pod's status shall be.
func (p *pod) status() corev1.PodStatus {
	state, stopping := p.snapshot()
	started := metav1.NewTime(p.object.CreationTimestamp.Time)
	out := corev1.PodStatus{
		Phase: corev1.PodPending, HostIP: p.agent.config.HostIP, HostIPs: []corev1.HostIP{{IP: p.agent.config.HostIP}},
		PodIP: p.object.Status.PodIP, PodIPs: []corev1.PodIP{{IP: p.object.Status.PodIP}},
		StartTime: &started, // the API server fills in the QoS class
	}
	ready := state.ready && !stopping
	for i := range p.object.Spec.Containers {
		out.ContainerStatuses = append(out.ContainerStatuses, containerStatus(&p.object.Spec.Containers[i], state, ready))
	}
	if state.waiting == "" && !state.started.IsZero() || state.restarts > 0 {
		out.Phase = corev1.PodRunning
	}
	since := metav1.NewTime(state.readySince)
	if state.readySince.IsZero() {
		since = started
	}
	for _, t := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized} {
		out.Conditions = append(out.Conditions, corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: started})
	}
	for _, t := range []corev1.PodConditionType{corev1.ContainersReady, corev1.PodReady} {
		condition := corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: since}
		if !ready {
			condition.Status, condition.Reason, condition.Message = corev1.ConditionFalse, "ContainersNotReady", state.message
		}
		out.Conditions = append(out.Conditions, condition)
	}
	return out
}

// containerStatus shows the state; only the first container runs, and the others share its state.
func containerStatus(c *corev1.Container, state podState, ready bool) corev1.ContainerStatus {
	out := corev1.ContainerStatus{
		Name: c.Name, Image: c.Image, ImageID: "playground://" + c.Image, Ready: ready,
		Started: ptr.To(state.waiting == ""), RestartCount: state.restarts,
	}
	if state.waiting == "" {
		out.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(state.started)}
	} else {
		out.State.Waiting = &corev1.ContainerStateWaiting{Reason: state.waiting, Message: state.message}
	}
	if state.restarts > 0 {
		out.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{
			ExitCode: state.lastCode, Reason: "Error", Message: state.lastExit,
		}
	}
	return out
}
