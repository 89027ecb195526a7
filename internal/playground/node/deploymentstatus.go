package node

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// report writes the Deployment's status when it differs.
func (a *Agent) report(ctx context.Context, d *appsv1.Deployment, members []member, failure error) error {
	status := deploymentStatus(d, members, failure, metav1.NewTime(a.config.Clock.Now()))
	if equality.Semantic.DeepEqual(status, d.Status) {
		return nil
	}
	// Zero counts are left out of JSON and would otherwise stay as they were.
	content := map[string]any{
		"observedGeneration": status.ObservedGeneration, "replicas": status.Replicas,
		"updatedReplicas": status.UpdatedReplicas, "readyReplicas": status.ReadyReplicas,
		"availableReplicas": status.AvailableReplicas, "unavailableReplicas": status.UnavailableReplicas,
		"conditions": status.Conditions,
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": d.UID}, "status": content})
	if err != nil {
		return fmt.Errorf("writing the status of Deployment %s: %w", d.Name, err)
	}
	_, err = a.config.Client.AppsV1().Deployments(d.Namespace).Patch(ctx, d.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // deleted meanwhile
	}
	return err
}

// deploymentStatus sums the Pods up as the Deployment controller does.
func deploymentStatus(d *appsv1.Deployment, members []member, failure error, now metav1.Time) appsv1.DeploymentStatus {
	desired := ptr.Deref(d.Spec.Replicas, 1)
	out := appsv1.DeploymentStatus{ObservedGeneration: d.Generation, CollisionCount: d.Status.CollisionCount}
	readyNew := int32(0)
	for _, m := range members {
		out.Replicas++
		if m.current {
			out.UpdatedReplicas++
		}
		if m.ready {
			out.ReadyReplicas++
			if m.current {
				readyNew++
			}
		}
	}
	out.AvailableReplicas = out.ReadyReplicas
	out.UnavailableReplicas = max(0, desired-out.AvailableReplicas)

	available := condition(appsv1.DeploymentAvailable, out.AvailableReplicas >= desired,
		"MinimumReplicasAvailable", "Deployment has minimum availability.",
		"MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
	complete := readyNew >= desired && out.Replicas == desired
	progressing := condition(appsv1.DeploymentProgressing, true,
		"NewReplicaSetAvailable", "All Pods are of the present template.", "", "")
	if !complete {
		progressing.Reason, progressing.Message = "ReplicaSetUpdated", "Pods of the present template are starting."
	}
	out.Conditions = []appsv1.DeploymentCondition{available, progressing}
	if failure != nil {
		out.Conditions = append(out.Conditions, appsv1.DeploymentCondition{
			Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: failure.Error(),
		})
	}
	for i := range out.Conditions {
		keepTimes(&out.Conditions[i], d.Status.Conditions, now)
	}
	return out
}

func condition(t appsv1.DeploymentConditionType, is bool, yes, yesText, no, noText string) appsv1.DeploymentCondition {
	if is {
		return appsv1.DeploymentCondition{Type: t, Status: corev1.ConditionTrue, Reason: yes, Message: yesText}
	}
	return appsv1.DeploymentCondition{Type: t, Status: corev1.ConditionFalse, Reason: no, Message: noText}
}

// keepTimes takes over the times of a condition that has not changed.
func keepTimes(c *appsv1.DeploymentCondition, before []appsv1.DeploymentCondition, now metav1.Time) {
	c.LastTransitionTime, c.LastUpdateTime = now, now
	for _, b := range before {
		if b.Type != c.Type {
			continue
		}
		if b.Status == c.Status {
			c.LastTransitionTime = b.LastTransitionTime
			if b.Reason == c.Reason && b.Message == c.Message {
				c.LastUpdateTime = b.LastUpdateTime
			}
		}
	}
}
