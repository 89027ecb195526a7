// Package slices builds a region's slice of a MultiActiveService: the RegionalService that the hub
// writes into that region's cluster. It is pure, and the only place where defaults and overrides
// are applied. It must never put anything into a slice that differs from one call to the next.
package slices

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
)

// Labels and annotations of a slice.
const (
	// LabelService holds the UID of the MultiActiveService.
	LabelService = "multiactive.dev/service-id"
	// LabelManagedBy and ManagedBy mark what the operator wrote.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	ManagedBy      = "multiactive"
	// AnnotationApplied names what was last applied, so that nothing is written twice.
	AnnotationApplied = "multiactive.dev/applied"
	// Finalizer keeps a slice until the region's member has taken down what it made. The slice comes with it, so that
	// the member need not write it first.
	Finalizer = "multiactive.dev/member"
)

// hashLength is the number of hexadecimal digits of a hash.
const hashLength = 16

// Input is what a service's slices are made of.
type Input struct {
	Service *v1alpha1.MultiActiveService
	// Regions by name, as far as they exist.
	Regions map[string]*v1alpha1.Region
	// Stores by name, as far as they exist and the service may use them.
	Stores map[string]*v1alpha1.DataStore
	// Kept is what the regions must go on with besides the declaration; nil when there is nothing.
	Kept *Kept
}

// Kept is what was declared before and is still in force, or may come into force again.
type Kept struct {
	// Ownership in force: the declared one when that is.
	Ownership v1alpha1.OwnershipSlice
	// Others that a change under way, or one that is proposed, names.
	Others []v1alpha1.OwnershipSlice
	// Behaviours of flows that only those know.
	Behaviours []v1alpha1.FlowBehaviour
	// Peers that are declared no more and have not been let go of.
	Peers []v1alpha1.Peer
}

// Build returns the slice for one region; one that is declared no more has no overrides. It does not
// share memory with its input.
func Build(in Input, region string) *v1alpha1.RegionalService {
	mas := in.Service
	own := Ownership(mas)
	spec := v1alpha1.RegionalServiceSpec{
		Region:           region,
		ServiceID:        string(mas.UID),
		ServiceCreatedAt: mas.CreationTimestamp,
		Stamp:            v1alpha1.SliceStamp{Generation: mas.Generation},
		Workload:         Workload(mas.Spec, region),
		Gateway:          gateway(mas.Spec.Gateway),
		Peers:            peers(in),
		Ownership:        []v1alpha1.OwnershipSlice{own},
		Behaviours:       behaviours(mas.Spec),
		Sessions:         Sessions(mas.Spec),
		Unmatched:        Unmatched(mas.Spec.Unmatched),
		Announcements:    mas.Spec.Announcements,
		Topics:           topics(mas, in.Regions),
		Stores:           stores(in, region),
	}
	if r := in.Regions[region]; r != nil {
		spec.Kafka = r.Spec.Kafka
	}
	if in.Kept != nil {
		spec.Ownership, spec.Unmatched = ownerships(*in.Kept, own), in.Kept.Ownership.Unmatched
		spec.Behaviours = append(spec.Behaviours, in.Kept.Behaviours...)
	}
	if r := in.Regions[region]; r != nil {
		spec.NotifyEndpoints = notifyEndpoints(spec.Behaviours, r.Spec.NotifyEndpoints)
	}
	out := &v1alpha1.RegionalService{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "RegionalService"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: mas.Namespace, Name: mas.Name,
			Labels:     map[string]string{LabelService: string(mas.UID), LabelManagedBy: ManagedBy},
			Finalizers: []string{Finalizer},
		},
		Spec: spec,
	}
	return Sealed(out.DeepCopy())
}

// Sealed names the slice's content in its annotation, after a change of it.
func Sealed(s *v1alpha1.RegionalService) *v1alpha1.RegionalService {
	s.Annotations = map[string]string{AnnotationApplied: hash(s.Spec)}
	return s
}

// WorkloadHash names the workload as declared, before overrides.
func WorkloadHash(spec v1alpha1.MultiActiveServiceSpec) string { return hash(spec.Workload) }

// Workload returns the declared workload with the region's overrides applied.
func Workload(spec v1alpha1.MultiActiveServiceSpec, region string) v1alpha1.WorkloadSlice {
	w := spec.Workload.DeepCopy()
	out := v1alpha1.WorkloadSlice{
		Type: w.Type, Hash: WorkloadHash(spec), ServiceAccountName: w.ServiceAccountName,
		Replicas: w.Replicas, Autoscaling: w.Autoscaling, Port: w.Port, Template: w.Template,
		DeploymentRef: w.DeploymentRef, ServiceRef: w.ServiceRef, Additional: w.Additional,
	}
	if spec.Failover != nil && spec.Failover.Survivors == v1alpha1.SurvivorsScale {
		out.Survivors = v1alpha1.SurvivorsScale
	}
	for _, r := range spec.Regions {
		if r.Name == region && r.Overrides != nil {
			override(&out, r.Overrides)
		}
	}
	return out
}

func override(w *v1alpha1.WorkloadSlice, o *v1alpha1.WorkloadOverrides) {
	if o.Replicas != nil && w.Autoscaling == nil {
		w.Replicas = ptr.To(*o.Replicas)
	}
	if w.Template != nil {
		if o.Image != "" && len(w.Template.Spec.Containers) > 0 {
			w.Template.Spec.Containers[0].Image = o.Image
		}
		overrideEnv(&w.Template.Spec, o.Env)
	}
	for i := range w.Additional {
		if t := w.Additional[i].Template; t != nil {
			overrideEnv(&t.Spec, o.Env)
		}
	}
}

// overrideEnv puts the variables into every container: in the place of one of the same name, or
// before the others, so that these can refer to them.
func overrideEnv(pod *corev1.PodSpec, env []v1alpha1.EnvVar) {
	for i := range pod.InitContainers {
		pod.InitContainers[i].Env = mergeEnv(pod.InitContainers[i].Env, env)
	}
	for i := range pod.Containers {
		pod.Containers[i].Env = mergeEnv(pod.Containers[i].Env, env)
	}
}

func mergeEnv(have []corev1.EnvVar, more []v1alpha1.EnvVar) []corev1.EnvVar {
	var added []corev1.EnvVar
	for _, m := range more {
		fresh := corev1.EnvVar{Name: m.Name, Value: ptr.Deref(m.Value, "")}
		if i := slices.IndexFunc(have, func(e corev1.EnvVar) bool { return e.Name == m.Name }); i >= 0 {
			have[i] = fresh
			continue
		}
		added = append(added, fresh)
	}
	return append(added, have...)
}

func gateway(g *v1alpha1.Gateway) v1alpha1.Gateway {
	out := v1alpha1.Gateway{}
	if g != nil {
		out = *g
	}
	if out.Replicas == nil {
		out.Replicas = ptr.To[int32](2)
	}
	if out.PeerTLS != nil {
		// Never empty: server-side apply makes null of an object whose last field is taken away, and refuses it.
		out.PeerTLS = out.PeerTLS.DeepCopy()
		out.PeerTLS.PlaintextHops = cmp.Or(out.PeerTLS.PlaintextHops, v1alpha1.PlaintextHopsRefuse)
	}
	return out
}

func peers(in Input) []v1alpha1.Peer {
	var out []v1alpha1.Peer
	for _, r := range in.Service.Spec.Regions {
		p := v1alpha1.Peer{Name: r.Name, Endpoint: r.Endpoint, PeerEndpoint: r.PeerEndpoint}
		if known := in.Regions[r.Name]; known != nil {
			p.DisplayName, p.Kafka = known.Spec.DisplayName, known.Spec.Kafka
		}
		out = append(out, p)
	}
	if in.Kept != nil {
		out = append(out, in.Kept.Peers...)
	}
	return out
}

// ownerships returns every ownership spec once: the one in force first, the declared one last.
func ownerships(k Kept, declared v1alpha1.OwnershipSlice) []v1alpha1.OwnershipSlice {
	var out []v1alpha1.OwnershipSlice
	for _, o := range append([]v1alpha1.OwnershipSlice{k.Ownership}, k.Others...) {
		if o.Hash != declared.Hash && !slices.ContainsFunc(out, func(x v1alpha1.OwnershipSlice) bool { return x.Hash == o.Hash }) {
			out = append(out, o)
		}
	}
	return append(out, declared)
}

func behaviours(spec v1alpha1.MultiActiveServiceSpec) []v1alpha1.FlowBehaviour {
	var out []v1alpha1.FlowBehaviour
	for _, f := range spec.Flows {
		out = append(out, v1alpha1.FlowBehaviour{
			Name: f.Name, Tier: f.Tier, OnHomeLoss: f.OnHomeLoss, WhenDegraded: f.WhenDegraded,
			SecondRead: secondRead(spec, f), SecondReadHomes: secondReadHomes(spec, f), ReadsSessions: sessionsAmong(spec, f.Reads), IssuesSessions: sessionsAmong(spec, f.Writes),
		})
	}
	return out
}

// notifyEndpoints returns those that flows name.
func notifyEndpoints(flows []v1alpha1.FlowBehaviour, offered []v1alpha1.NotifyEndpoint) []v1alpha1.NotifyEndpoint {
	var out []v1alpha1.NotifyEndpoint
	for _, e := range offered {
		if slices.ContainsFunc(flows, func(f v1alpha1.FlowBehaviour) bool {
			return f.OnHomeLoss != nil && f.OnHomeLoss.Defer != nil && f.OnHomeLoss.Defer.Notify != nil && f.OnHomeLoss.Defer.Notify.EndpointRef == e.Name
		}) {
			out = append(out, e)
		}
	}
	return out
}

// Unmatched returns the declared policy with its defaults.
func Unmatched(u *v1alpha1.Unmatched) *v1alpha1.Unmatched {
	out := v1alpha1.Unmatched{}
	if u != nil {
		out = *u
	}
	if out.SafeMethods == "" {
		out.SafeMethods = v1alpha1.UnmatchedAnyRegion
	}
	if out.OtherMethods == "" {
		out.OtherMethods = v1alpha1.UnmatchedReject
	}
	return &out
}

// hash names a value by its JSON.
func hash(v any) string {
	content, err := json.Marshal(v)
	if err != nil {
		panic("slices: API types always marshal: " + err.Error())
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])[:hashLength]
}
