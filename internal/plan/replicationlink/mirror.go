package replicationlink

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/desired/strimzi"
)

// Runner is what runs a mirror.
type Runner string

// The runners, as people read of them.
const (
	RunsBuiltin Runner = "the built-in mirror"
	RunsMaker   Runner = "MirrorMaker"
	RunsStrimzi Runner = "Strimzi's MirrorMaker"
)

// Engine is what a link says of it.
func (r Runner) Engine() v1alpha1.LinkEngine {
	if r == RunsMaker || r == RunsStrimzi {
		return v1alpha1.LinkMirrorMaker2
	}
	return v1alpha1.LinkBuiltin
}

// Engine is what a Kafka has chosen for its incoming mirrors.
func Engine(k *v1alpha1.RegionKafka) v1alpha1.LinkEngine { return runnerOf(*k).Engine() }

func runnerOf(target v1alpha1.RegionKafka) Runner {
	switch {
	case target.Mirrors == nil || target.Mirrors.Engine != v1alpha1.MirrorMirrorMaker2:
		return RunsBuiltin
	case strimzi.Managed(&target) != nil:
		return RunsStrimzi
	}
	return RunsMaker
}

// defaultReplication is the replication factor of a MirrorMaker's topics, where there are as many brokers.
const defaultReplication = 3

// Transfer has one mirror go on where another was: how far it had come is put where the other looks for it.
type Transfer struct {
	From, To       string
	Source, Target v1alpha1.RegionKafka
	// Topics that have been mirrored before, with what carried them.
	Topics map[string]v1alpha1.LinkEngine
	// Engine that goes on.
	Engine v1alpha1.LinkEngine
}

// TransferResult is what came of a Transfer.
type TransferResult struct {
	Done bool
	// Brokers of the target.
	Brokers int
	// Problem says why it is not done yet; empty while nobody has tried.
	Problem string
}

// mirror keeps what runs the mirror as it should be. Before another one starts, the one that ran has ended,
// and how far it had come is handed on: two at once would mix up the order, and none at all loses nothing.
func (p *Plan) mirror(from string, n need, seen Seen, o regional.Options) error {
	if p.Problem, p.Reason = p.unusable(seen, o); p.Problem != "" {
		return nil
	}
	if p.stop(n, seen) {
		p.Waiting = fmt.Sprintf("%s starts when what ran before has ended", p.Runner)
		return nil
	}
	if !p.runs(seen) {
		if len(seen.Pods) > 0 {
			p.Waiting = "Pods of a mirror that is not there any more are still ending"
			return nil
		}
		if p.Transfer = p.transfer(from, n, seen, o); p.Transfer != nil && !seen.Transfer.Done {
			p.Waiting = fmt.Sprintf("%s starts when it has been told how far the mirror had come", p.Runner)
			if seen.Transfer.Problem != "" {
				p.Waiting += ": " + seen.Transfer.Problem
			}
			return nil
		}
	}
	n.topics = carried(n.topics, seen.Links)
	return p.apply(p.objects(from, n, seen, o), seen)
}

// unusable says why the runner cannot be had.
func (p *Plan) unusable(seen Seen, o regional.Options) (problem, reason string) {
	switch {
	case p.Runner == RunsMaker && o.MirrorMakerImage == "":
		return "Region spec.kafka.mirrors.engine is MirrorMaker2 and the operator was told no image with Kafka: set --mirrormaker-image (mirrorMaker.image of the chart), or engine: Builtin", v1alpha1.ReasonEngineUnavailable
	case p.Runner == RunsStrimzi && seen.StrimziProblem != "":
		return seen.StrimziProblem, v1alpha1.ReasonStrimziMissing
	case p.Runner == RunsMaker && (seen.Source.Unquotable || seen.Target.Unquotable):
		return "user or password in a Kafka Secret has a quote, a backslash or a line break, which MirrorMaker's configuration cannot hold: choose another, or engine: Builtin", v1alpha1.ReasonEngineUnavailable
	}
	return "", ""
}

func (s Seen) deployments() []*appsv1.Deployment {
	return slices.DeleteFunc([]*appsv1.Deployment{s.Deployment, s.MakerDeployment}, func(d *appsv1.Deployment) bool { return d == nil })
}

// others are the objects of what runs the mirror besides the runner: those that stop it first.
func (p *Plan) others(n need, seen Seen) []regional.Object {
	var out []regional.Object
	if p.Runner != RunsBuiltin {
		out = append(out, object(seen.Deployment), object(seen.ConfigMap))
	}
	if p.Runner != RunsMaker {
		out = append(out, object(seen.MakerDeployment), object(seen.MakerConfigMap))
	}
	for i := range seen.StrimziMakers {
		k := strimzi.Managed(&n.target)
		if m := &seen.StrimziMakers[i]; p.Runner != RunsStrimzi || k == nil || m.GetNamespace() != k.Namespace {
			out = append(out, m)
		}
	}
	return slices.DeleteFunc(out, func(obj regional.Object) bool { return obj == nil })
}

// stop removes what else runs the mirror, and reports whether there is anything of it left.
func (p *Plan) stop(n need, seen Seen) bool {
	others := p.others(n, seen)
	p.remove(others)
	left := len(others) > 0
	for i := range seen.Pods {
		left = left || runnerOfPod(&seen.Pods[i]) != p.Runner
	}
	return left
}

// runnerOfPod tells Pods of mirrors from each other.
func runnerOfPod(pod *corev1.Pod) Runner {
	switch {
	case pod.Labels[strimzi.LabelCluster] != "":
		return RunsStrimzi
	case pod.Labels[regional.LabelMirrorEngine] != "":
		return RunsMaker
	}
	return RunsBuiltin
}

func (p *Plan) remove(objects []regional.Object) {
	for _, obj := range objects {
		if obj.GetDeletionTimestamp() == nil && regional.Made(obj) {
			p.Delete = append(p.Delete, obj)
		}
	}
}

// removeMirrors removes all that runs the mirror.
func (p *Plan) removeMirrors(seen Seen) {
	p.remove((&Plan{}).others(need{}, seen))
}

// runs reports whether the runner's own object is there.
func (p *Plan) runs(seen Seen) bool {
	switch p.Runner {
	case RunsMaker:
		return seen.MakerDeployment != nil
	case RunsStrimzi:
		return len(seen.StrimziMakers) > 0
	default:
		return seen.Deployment != nil
	}
}

// runner is what runs the mirror now.
func (s Seen) runner() Runner {
	switch {
	case s.MakerDeployment != nil:
		return RunsMaker
	case len(s.StrimziMakers) > 0:
		return RunsStrimzi
	}
	return RunsBuiltin
}

// transfer returns what has to be handed on before the runner starts. The built-in mirror begins by itself
// where it was; a MirrorMaker is always told first, because the number of brokers is asked for too.
func (p *Plan) transfer(from string, n need, seen Seen, o regional.Options) *Transfer {
	t := &Transfer{
		From: from, To: o.Region, Source: n.source, Target: n.target,
		Topics: map[string]v1alpha1.LinkEngine{}, Engine: p.Runner.Engine(),
	}
	another, wanted := false, make(map[string]bool, len(n.topics))
	for _, topic := range n.topics {
		wanted[topic] = true
	}
	for i := range seen.Links {
		l := &seen.Links[i]
		if wanted[l.Spec.Topic] {
			t.Topics[l.Spec.Topic] = l.Spec.Engine
			another = another || l.Spec.Engine != t.Engine
		}
	}
	if t.Engine == v1alpha1.LinkBuiltin && !another {
		return nil
	}
	return t
}

// objects returns what runs the mirror.
func (p *Plan) objects(from string, n need, seen Seen, o regional.Options) []regional.Object {
	source := regional.MirrorCluster{Kafka: n.source, Mechanism: seen.Source.Mechanism, CA: seen.Source.CA}
	target := regional.MirrorCluster{Kafka: n.target, Mechanism: seen.Target.Mechanism, CA: seen.Target.CA}
	if p.Runner == RunsBuiltin {
		config, deployment := regional.MirrorObjects(o, regional.Mirror{From: from, Topics: n.topics, Source: source, Target: target})
		return []regional.Object{config, deployment}
	}
	m := regional.MirrorMaker{
		From: from, To: o.Region, Source: source, Target: target, Topics: n.topics, Groups: n.groups,
		ReplicationFactor: replication(seen), ExactlyOnce: n.target.Mirrors.Delivery != v1alpha1.DeliveryAtLeastOnce,
		SecretVersions: seen.Source.Version + "-" + seen.Target.Version,
	}
	if p.Runner == RunsStrimzi {
		users := strimzi.Users{Source: seen.Source.User, Target: seen.Target.User}
		return []regional.Object{strimzi.MirrorMaker(*strimzi.Managed(&n.target), m, users)}
	}
	config, deployment := regional.MirrorMakerObjects(o, m)
	return []regional.Object{config, deployment}
}

// replication is the factor that the MirrorMaker was begun with, or, of a new one, what the brokers allow: it
// counts when topics are made, and a broker that is away for a moment must not restart the mirror.
func replication(seen Seen) int {
	annotations := map[string]string{}
	if seen.MakerConfigMap != nil {
		annotations = seen.MakerConfigMap.Annotations
	}
	for i := range seen.StrimziMakers {
		annotations = seen.StrimziMakers[i].GetAnnotations()
	}
	if n, err := strconv.Atoi(annotations[regional.AnnotationReplicationFactor]); err == nil && n > 0 {
		return n
	}
	return min(cmp.Or(seen.Transfer.Brokers, 1), defaultReplication)
}

// apply plans the writes that would change something.
func (p *Plan) apply(objects []regional.Object, seen Seen) error {
	for _, want := range objects {
		if err := regional.Stamp(want); err != nil {
			return err
		}
		if have := seen.counterpart(want); have != nil {
			same, err := regional.UpToDate(want, have)
			if err != nil {
				return fmt.Errorf("comparing %s: %w", want.GetName(), err)
			}
			if same {
				continue
			}
		}
		p.Apply = append(p.Apply, want)
	}
	return nil
}

// counterpart returns the object of the same kind and name that was seen, or nil.
func (s Seen) counterpart(want regional.Object) regional.Object {
	all := []regional.Object{object(s.ConfigMap), object(s.Deployment), object(s.MakerConfigMap), object(s.MakerDeployment)}
	for i := range s.StrimziMakers {
		all = append(all, &s.StrimziMakers[i])
	}
	for _, have := range all {
		if have != nil && have.GetName() == want.GetName() && fmt.Sprintf("%T", have) == fmt.Sprintf("%T", want) {
			return have
		}
	}
	return nil
}

// object avoids an interface that holds a nil pointer.
func object[T any, P interface {
	*T
	regional.Object
}](p P) regional.Object {
	if p == nil {
		return nil
	}
	return p
}
