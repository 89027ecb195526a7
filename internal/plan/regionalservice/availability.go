package regionalservice

import (
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
)

// workload tells whether the application and its additional workloads are available.
func (r reporter) workload(seen Seen) {
	rs, w := r.rs, &r.rs.Spec.Workload
	const condition = v1alpha1.ConditionWorkloadAvailable
	main := seen.Deployment
	switch w.Type {
	case v1alpha1.WorkloadManaged:
		main, _ = find(seen.Owned, regional.Workload(rs)).(*appsv1.Deployment)
	case v1alpha1.WorkloadServiceRef:
		r.referencedService(seen)
		return
	case v1alpha1.WorkloadDeploymentRef:
	}
	if main == nil {
		rs.Status.Workload = &v1alpha1.ReplicaStatus{Desired: ptr.Deref(w.Replicas, 1)} // what a Deployment has by default
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonProgressing, "the Deployment is being created")
		return
	}
	rs.Status.Workload = replicas(main)
	if rolledOut(main) && (w.Type != v1alpha1.WorkloadManaged || main.Annotations[regional.AnnotationWorkloadHash] == w.Hash) {
		rs.Status.WorkloadHash = w.Hash
	}
	beside, missing := additional(rs, seen)
	if missing != "" {
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonProgressing, "Deployment "+missing+" is being created")
		return
	}
	for _, d := range append([]*appsv1.Deployment{main}, beside...) {
		if reason, message := r.unavailable(condition, d, seen.Pods); reason != "" {
			r.set(condition, metav1.ConditionFalse, reason, message)
			return
		}
	}
	if !rolledOut(main) {
		r.set(condition, metav1.ConditionTrue, v1alpha1.ReasonProgressing, "the workload is available and a change is being rolled out")
		return
	}
	r.set(condition, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared, "the workload is available")
}

// referencedService tells of a Service that others deploy, and of what runs beside it.
func (r reporter) referencedService(seen Seen) {
	const condition = v1alpha1.ConditionWorkloadAvailable
	r.rs.Status.Workload = nil
	if seen.Service == nil {
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonNotFound, "the Service does not exist")
		return
	}
	beside, missing := additional(r.rs, seen)
	if missing != "" {
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonProgressing, "Deployment "+missing+" is being created")
		return
	}
	for _, d := range beside {
		if reason, message := r.unavailable(condition, d, seen.Pods); reason != "" {
			r.set(condition, metav1.ConditionFalse, reason, message)
			return
		}
	}
	// Of what others deploy nothing is rolled out here; additional workloads are.
	if !slices.ContainsFunc(beside, func(d *appsv1.Deployment) bool { return !rolledOut(d) }) {
		r.rs.Status.WorkloadHash = r.rs.Spec.Workload.Hash
	}
	r.set(condition, metav1.ConditionTrue, v1alpha1.ReasonNotChecked, "the Service is deployed by others; its Pods are not checked")
}

// additional returns the additional workloads' Deployments that are there, and the name of the first one
// that is to be made and is not.
func additional(rs *v1alpha1.RegionalService, seen Seen) (list []*appsv1.Deployment, missing string) {
	for i := range rs.Spec.Workload.Additional {
		a := &rs.Spec.Workload.Additional[i]
		d, there := find(seen.Owned, regional.Additional(rs, a, true)).(*appsv1.Deployment)
		switch {
		case there:
			list = append(list, d)
		case missing == "" && rs.Spec.Workload.ServiceAccountName != "" && !regional.ReservedAdditionalName(a.Name):
			missing = regional.AdditionalName(rs.Name, a.Name)
		}
	}
	return list, missing
}

func (r reporter) gateway(seen Seen) {
	const condition = v1alpha1.ConditionGatewayReady
	d := gatewayDeployment(r.rs, seen)
	if d == nil {
		r.rs.Status.Gateway = &v1alpha1.ReplicaStatus{}
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonProgressing, "the gateway's Deployment is being created")
		return
	}
	r.rs.Status.Gateway = replicas(d)
	if reason, message := r.unavailable(condition, d, seen.Pods); reason != "" {
		r.set(condition, metav1.ConditionFalse, reason, message)
		return
	}
	if seen.PeerProblem != "" {
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonPeerCertificates, "the gateways' certificates for other regions cannot be kept: "+seen.PeerProblem)
		return
	}
	r.set(condition, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared, "the gateways are available")
}

func replicas(d *appsv1.Deployment) *v1alpha1.ReplicaStatus {
	return &v1alpha1.ReplicaStatus{Desired: ptr.Deref(d.Spec.Replicas, 1), Ready: d.Status.ReadyReplicas}
}

// rolledOut reports whether all replicas are of the Deployment's present template and available.
func rolledOut(d *appsv1.Deployment) bool {
	want := ptr.Deref(d.Spec.Replicas, 1)
	return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas == want &&
		d.Status.Replicas == want && d.Status.AvailableReplicas >= want
}

// unavailable says why a Deployment has fewer replicas than it wants; empty when it has enough. A
// first rollout that goes its way is no fault.
func (r reporter) unavailable(condition string, d *appsv1.Deployment, pods []corev1.Pod) (reason, message string) {
	stuck := podFault(d, pods)
	if d.Status.ObservedGeneration >= d.Generation && d.Status.AvailableReplicas >= ptr.Deref(d.Spec.Replicas, 1) &&
		(stuck == nil || rolledOut(d)) {
		return "", ""
	}
	if stuck != nil {
		return stuck.Reason, stuck.Message
	}
	if c := conditionOf(d, appsv1.DeploymentReplicaFailure); c.Status == corev1.ConditionTrue {
		return v1alpha1.ReasonReplicasUnavailable, fmt.Sprintf("Deployment %s cannot make Pods: %s", d.Name, c.Message)
	}
	reason = v1alpha1.ReasonReplicasUnavailable
	if starting(d) && !r.wasAvailable(condition) {
		reason = v1alpha1.ReasonProgressing
	}
	if c := unready(d, pods); c != "" {
		return reason, fmt.Sprintf("Deployment %s: container %s runs and is not ready; look at kubectl -n %s logs deployment/%s -c %s",
			d.Name, c, d.Namespace, d.Name, c)
	}
	return reason, fmt.Sprintf("Deployment %s has fewer available replicas than it wants; look at kubectl -n %s describe deployment %s",
		d.Name, d.Namespace, d.Name)
}

// starting reports whether a Deployment's present template is on its way: it has neither been
// complete once, nor failed to get on for progressDeadlineSeconds.
func starting(d *appsv1.Deployment) bool {
	c := conditionOf(d, appsv1.DeploymentProgressing)
	return c.Status != corev1.ConditionFalse && c.Reason != newReplicaSetAvailable
}

// newReplicaSetAvailable is what Deployments say of a template that was complete once.
const newReplicaSetAvailable = "NewReplicaSetAvailable"

// conditionOf returns a Deployment's condition, or the zero value.
func conditionOf(d *appsv1.Deployment, kind appsv1.DeploymentConditionType) appsv1.DeploymentCondition {
	for _, c := range d.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return appsv1.DeploymentCondition{}
}

// wasAvailable reports whether the condition has been True: what is missing now was there.
func (r reporter) wasAvailable(condition string) bool {
	c := meta.FindStatusCondition(r.rs.Status.Conditions, condition)
	return c != nil && (c.Status == metav1.ConditionTrue || c.Reason == v1alpha1.ReasonReplicasUnavailable)
}

// podFault finds a container of the Deployment's Pods that cannot run. What the kubelet says of it
// alternates and counts; the message here does not.
func podFault(d *appsv1.Deployment, pods []corev1.Pod) *Problem {
	faults := map[string]*Problem{} // by container, so that the choice among several is stable
	for _, pod := range podsOf(d, pods) {
		for _, status := range append(slices.Clone(pod.Status.InitContainerStatuses), pod.Status.ContainerStatuses...) {
			if f := containerFault(d, &status); f != nil {
				faults[status.Name] = f
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		return faults[name]
	}
	return nil
}

// unready returns the first container by name that runs without being ready, empty when none does.
func unready(d *appsv1.Deployment, pods []corev1.Pod) string {
	var names []string
	for _, pod := range podsOf(d, pods) {
		for _, status := range pod.Status.ContainerStatuses {
			if status.State.Running != nil && !status.Ready {
				names = append(names, status.Name)
			}
		}
	}
	if len(names) == 0 {
		return ""
	}
	return slices.Min(names)
}

// podsOf returns a Deployment's Pods that are not being deleted.
func podsOf(d *appsv1.Deployment, pods []corev1.Pod) []*corev1.Pod {
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return nil
	}
	var out []*corev1.Pod
	for i := range pods {
		if selector.Matches(labels.Set(pods[i].Labels)) && pods[i].DeletionTimestamp == nil {
			out = append(out, &pods[i])
		}
	}
	return out
}

func containerFault(d *appsv1.Deployment, status *corev1.ContainerStatus) *Problem {
	switch why := waitsFor(status); why {
	case "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable":
		return &Problem{Reason: v1alpha1.ReasonImagePull, Message: fmt.Sprintf(
			"Deployment %s: image %q of container %s cannot be pulled; check its name, its tag and the pull Secrets", d.Name, status.Image, status.Name)}
	case crashLoop, "RunContainerError", "CreateContainerError", "CreateContainerConfigError":
		how := ""
		if last := lastEnd(status); last != nil {
			how = fmt.Sprintf(" with exit code %d (%s)", last.ExitCode, last.Reason)
		}
		return &Problem{Reason: v1alpha1.ReasonCrashLoop, Message: fmt.Sprintf(
			"Deployment %s: container %s does not stay up (%s)%s; look at kubectl -n %s logs deployment/%s -c %s --previous",
			d.Name, status.Name, why, how, d.Namespace, d.Name, status.Name)}
	}
	return nil
}

// crashLoop is the kubelet's word for a container that it starts less and less often.
const crashLoop = "CrashLoopBackOff"

// waitsFor returns why a container does not run. One that failed again and again is in its crash
// loop during its next attempt too, until it is ready: otherwise each attempt would change the
// condition twice.
func waitsFor(status *corev1.ContainerStatus) string {
	if status.State.Waiting != nil {
		return status.State.Waiting.Reason
	}
	if last := lastEnd(status); last != nil && last.ExitCode != 0 && status.RestartCount > 1 && !status.Ready {
		return crashLoop
	}
	return ""
}

// lastEnd returns how the container ended last, nil when it never did.
func lastEnd(status *corev1.ContainerStatus) *corev1.ContainerStateTerminated {
	if status.State.Terminated != nil {
		return status.State.Terminated
	}
	return status.LastTerminationState.Terminated
}
