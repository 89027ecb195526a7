package replicationlink

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/desired/strimzi"
	plan "multiactive.dev/operator/internal/plan/replicationlink"
)

// +kubebuilder:rbac:groups=kafka.strimzi.io,resources=kafkamirrormaker2s,verbs=get;list;create;patch;delete

// strimzi reads the KafkaMirrorMaker2 of a source, in whatever namespace: the Region may have named another
// before. They are read with every pass, not watched: a watch could not begin before Strimzi is installed.
func (r *Reconciler) strimzi(ctx context.Context, from string, seen *plan.Seen) error {
	_, target := plan.Clusters(seen.Services, from, r.Options.Region)
	wanted := target != nil && strimzi.Managed(target) != nil && plan.Engine(target) == v1alpha1.LinkMirrorMaker2
	before := slices.ContainsFunc(seen.Links, func(l v1alpha1.ReplicationLink) bool { return l.Spec.Engine == v1alpha1.LinkMirrorMaker2 })
	if !wanted && !before {
		return nil
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(strimzi.Version.WithKind(strimzi.KindMirrorMaker + "List"))
	mine := client.MatchingLabels{regional.LabelManagedBy: regional.ManagedBy, regional.LabelMirrorFrom: from}
	switch err := r.Live.List(ctx, list, mine); {
	case meta.IsNoMatchError(err), apierrors.IsNotFound(err):
		seen.StrimziProblem = fmt.Sprintf("the cluster has no %s of version %s: install Strimzi 0.49 or newer, or set kafka.mirrors.engine: Builtin in the Region. It is looked for again by itself",
			strimzi.ResourceMirrorMaker, strimzi.Version.Version)
		return nil
	case err != nil:
		return fmt.Errorf("listing KafkaMirrorMaker2 objects: %w", err)
	}
	seen.StrimziMakers = list.Items
	return r.strimziPods(ctx, from, seen)
}

// strimziPods adds the Pods that Strimzi runs the mirror in. The cache holds the operator's own alone.
func (r *Reconciler) strimziPods(ctx context.Context, from string, seen *plan.Seen) error {
	pods := &corev1.PodList{}
	theirs := client.MatchingLabels{strimzi.LabelCluster: regional.MirrorMakerName(from), strimzi.LabelKind: strimzi.KindMirrorMaker}
	if err := r.Live.List(ctx, pods, theirs); err != nil {
		return fmt.Errorf("listing the Pods of a KafkaMirrorMaker2: %w", err)
	}
	seen.Pods = append(seen.Pods, pods.Items...)
	return nil
}
