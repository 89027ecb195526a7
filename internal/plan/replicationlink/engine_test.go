package replicationlink_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/desired/strimzi"
	plan "multiactive.dev/operator/internal/plan/replicationlink"
)

// choose has the region's Kafka choose an engine, with Strimzi in a namespace unless that is empty.
func choose(seen *plan.Seen, engine v1alpha1.MirrorEngine, namespace string) {
	for i := range seen.Services {
		k := seen.Services[i].Spec.Kafka.DeepCopy()
		k.Mirrors, k.Management = &v1alpha1.KafkaMirrors{Engine: engine}, nil
		if namespace != "" {
			k.Management = &v1alpha1.KafkaManagement{
				Type: v1alpha1.KafkaManagementStrimzi, Strimzi: &v1alpha1.StrimziKafka{Namespace: namespace, Cluster: "main"},
			}
		}
		seen.Services[i].Spec.Kafka = k
	}
}

// world is a region in which plans are carried out.
type world struct {
	plan.Seen
	// transferred is what the last transfer was.
	transferred *plan.Transfer
	log         []string
}

func newWorld(topics ...string) *world {
	w := &world{Seen: plan.Seen{Complete: true, Lag: plan.Lag{Known: true, Age: time.Second, Step: "<2s"}}}
	w.Services = append(w.Services, service("user", time.Minute, topics...))
	return w
}

var withKafka = regional.Options{Region: here, OperatorNamespace: "multiactive-system", MirrorImage: "m", MirrorMakerImage: "kafka"}

// step makes one pass and carries it out. Pods follow their objects with pods.
func (w *world) step(t testing.TB) bool {
	t.Helper()
	p, err := plan.Decide(from, w.Seen, withKafka)
	if err != nil {
		t.Fatal(err)
	}
	busy := len(p.Apply)+len(p.Delete) > 0
	if p.Transfer == nil {
		w.Transfer = plan.TransferResult{}
	} else if !w.Transfer.Done {
		w.Transfer, w.transferred, busy = plan.TransferResult{Done: true, Brokers: 3}, p.Transfer, true
		w.log = append(w.log, "transfer to "+string(p.Transfer.Engine))
	}
	for _, o := range p.Apply {
		w.put(o)
	}
	for _, o := range p.Delete {
		w.take(o)
	}
	return busy
}

func (w *world) put(o regional.Object) {
	w.log = append(w.log, "apply "+names([]regional.Object{o})[0])
	switch o := o.(type) {
	case *v1alpha1.ReplicationLink:
		w.Links = slices.DeleteFunc(w.Links, func(l v1alpha1.ReplicationLink) bool { return l.Name == o.Name })
		w.Links = append(w.Links, *o)
	case *corev1.ConfigMap:
		if o.Name == regional.MirrorName(from) {
			w.ConfigMap = o
		} else {
			w.MakerConfigMap = o
		}
	case *appsv1.Deployment:
		if o.Name == regional.MirrorName(from) {
			w.Deployment = o
		} else {
			w.MakerDeployment = o
		}
	case *unstructured.Unstructured:
		o.SetGeneration(o.GetGeneration() + 1)
		o.Object["status"] = map[string]any{
			"observedGeneration": o.GetGeneration(), "conditions": []any{map[string]any{"type": "Ready", "status": "True"}},
		}
		w.StrimziMakers = []unstructured.Unstructured{*o}
	}
}

func (w *world) take(o regional.Object) {
	w.log = append(w.log, "remove "+names([]regional.Object{o})[0])
	switch o {
	case w.ConfigMap:
		w.ConfigMap = nil
	case w.Deployment:
		w.Deployment = nil
	case w.MakerConfigMap:
		w.MakerConfigMap = nil
	case w.MakerDeployment:
		w.MakerDeployment = nil
	default:
		w.Links = slices.DeleteFunc(w.Links, func(l v1alpha1.ReplicationLink) bool { return l.Name == o.GetName() })
		w.StrimziMakers = slices.DeleteFunc(w.StrimziMakers, func(m unstructured.Unstructured) bool { return m.GetName() == o.GetName() })
	}
}

// pods are those that the objects want, while those of others end after a while.
func (w *world) pods() {
	w.Pods = nil
	for _, d := range []*appsv1.Deployment{w.Deployment, w.MakerDeployment} {
		if d != nil {
			w.Pods = append(w.Pods, corev1.Pod{ObjectMeta: *d.Spec.Template.ObjectMeta.DeepCopy()})
		}
	}
	for i := range w.StrimziMakers {
		w.Pods = append(w.Pods, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{
			strimzi.LabelCluster: w.StrimziMakers[i].GetName(), strimzi.LabelKind: strimzi.KindMirrorMaker,
		}}})
	}
}

func (w *world) settle(t testing.TB) {
	t.Helper()
	for range 20 {
		busy := w.step(t)
		w.pods()
		if !busy {
			return
		}
	}
	t.Fatalf("it never settles: %v", w.log)
}

func (w *world) engines() []string {
	var out []string
	for _, l := range w.Links {
		out = append(out, l.Name+" "+string(l.Spec.Engine))
	}
	slices.Sort(out)
	return out
}

// TestChangeOfEngine goes through the engines: the one that ran has ended before how far it had come is handed on,
// and only then the next one starts.
func TestChangeOfEngine(t *testing.T) {
	w := newWorld("accounts.account")
	w.settle(t)
	if w.transferred != nil || w.Deployment == nil {
		t.Fatalf("the first mirror waits for something: %v", w.log)
	}
	const builtin, maker = "multiactive-mirror-beijing", "multiactive-mirrormaker-beijing"
	for _, c := range []struct {
		engine    v1alpha1.MirrorEngine
		namespace string
		log       []string
	}{
		{v1alpha1.MirrorMirrorMaker2, "", []string{
			"remove Deployment " + builtin, "remove ConfigMap " + builtin, "transfer to MirrorMaker2",
			"apply ConfigMap " + maker, "apply Deployment " + maker, "apply ReplicationLink accounts.account-from-beijing",
		}},
		{v1alpha1.MirrorMirrorMaker2, "kafka", []string{
			"remove Deployment " + maker, "remove ConfigMap " + maker, "transfer to MirrorMaker2", "apply Unstructured " + maker,
		}},
		{v1alpha1.MirrorBuiltin, "kafka", []string{
			"remove Unstructured " + maker, "transfer to Builtin",
			"apply ConfigMap " + builtin, "apply Deployment " + builtin, "apply ReplicationLink accounts.account-from-beijing",
		}},
	} {
		w.log = nil
		choose(&w.Seen, c.engine, c.namespace)
		w.step(t)
		if w.step(t); w.transferred != nil && slices.ContainsFunc(w.log, func(s string) bool { return strings.HasPrefix(s, "transfer") }) {
			t.Errorf("%s: handed on while the Pod of the other still runs: %v", c.engine, w.log)
		}
		w.pods()
		w.settle(t)
		if d := cmp.Diff(c.log, w.log); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.engine, d)
		}
		if d := cmp.Diff([]string{"accounts.account-from-beijing " + string(c.engine)}, w.engines()); d != "" {
			t.Errorf("%s: links (-want +got):\n%s", c.engine, d)
		}
	}
}

// A link goes only when no Pod mirrors its topic any more, because whoever removes the topic waits for that.
func TestLinksGoLast(t *testing.T) {
	for _, engine := range []v1alpha1.MirrorEngine{v1alpha1.MirrorBuiltin, v1alpha1.MirrorMirrorMaker2} {
		w := newWorld("accounts.account", "accounts.ledger")
		choose(&w.Seen, engine, "")
		w.settle(t)
		w.Services[0].Spec.Topics = w.Services[0].Spec.Topics[:1]
		w.step(t)
		w.step(t)
		if len(w.Links) != 2 {
			t.Errorf("%s: the link is gone while the Pod with the earlier configuration runs", engine)
		}
		w.pods()
		w.settle(t)
		if len(w.Links) != 1 {
			t.Errorf("%s: links are %v, want the one left", engine, w.engines())
		}
		w.Services = nil
		w.step(t)
		w.step(t)
		if len(w.Links) != 1 {
			t.Errorf("%s: the last link is gone while its Pod runs", engine)
		}
		w.pods()
		w.settle(t)
		if len(w.Links) > 0 || w.Deployment != nil || w.MakerDeployment != nil || w.ConfigMap != nil || w.MakerConfigMap != nil {
			t.Errorf("%s: something is left: %v", engine, w.log)
		}
	}
}

// Pods that were evicted long ago hold nothing up.
func TestEndedPods(t *testing.T) {
	w := newWorld("accounts.account", "accounts.ledger")
	w.settle(t)
	evicted := w.Pods[0]
	evicted.Annotations, evicted.Status.Phase = nil, corev1.PodFailed
	choose(&w.Seen, v1alpha1.MirrorMirrorMaker2, "")
	w.Services[0].Spec.Topics = w.Services[0].Spec.Topics[:1]
	for range 10 {
		w.step(t)
		w.pods()
		w.Pods = append(w.Pods, evicted)
	}
	if w.MakerDeployment == nil || len(w.Links) != 1 {
		t.Errorf("an evicted Pod holds up the change: links %v, %v", w.engines(), w.log)
	}
}

// A paused link's topic is in no configuration, and is again afterwards.
func TestPaused(t *testing.T) {
	for _, engine := range []v1alpha1.MirrorEngine{v1alpha1.MirrorBuiltin, v1alpha1.MirrorMirrorMaker2} {
		w := newWorld("accounts.account", "accounts.ledger")
		choose(&w.Seen, engine, "")
		w.settle(t)
		config := func() string {
			if engine == v1alpha1.MirrorBuiltin {
				return w.ConfigMap.Data[regional.MirrorConfigKey]
			}
			return w.MakerConfigMap.Data[regional.MirrorMakerConfigKey]
		}
		for _, paused := range []bool{true, false} {
			for i := range w.Links {
				if w.Links[i].Annotations = nil; paused && w.Links[i].Spec.Topic == "accounts.ledger" {
					w.Links[i].Annotations = map[string]string{regional.AnnotationPaused: "maintenance"}
				}
			}
			w.settle(t)
			if has := strings.Contains(config(), "ledger"); has == paused || !strings.Contains(config(), "account") {
				t.Errorf("%s, paused %t: the configuration is %s", engine, paused, config())
			}
			if len(w.Links) != 2 {
				t.Errorf("%s: links are %v, want both", engine, w.engines())
			}
		}
	}
}

// What cannot be run leaves alone what does.
func TestUnusable(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(*world)
		options regional.Options
		want    string
	}{
		"no image":        {func(w *world) { choose(&w.Seen, v1alpha1.MirrorMirrorMaker2, "") }, options, "--mirrormaker-image"},
		"no Strimzi":      {func(w *world) { choose(&w.Seen, v1alpha1.MirrorMirrorMaker2, "kafka"); w.StrimziProblem = "install it" }, withKafka, "install it"},
		"a quote":         {func(w *world) { choose(&w.Seen, v1alpha1.MirrorMirrorMaker2, ""); w.Source.Unquotable = true }, withKafka, "quote"},
		"no Secret there": {func(w *world) { choose(&w.Seen, v1alpha1.MirrorMirrorMaker2, ""); w.Source.Problem = "no Secret" }, withKafka, "no Secret"},
	} {
		w := newWorld("accounts.account")
		w.settle(t)
		test.change(w)
		p, err := plan.Decide(from, w.Seen, test.options)
		if err != nil || !strings.Contains(p.Problem, test.want) || len(p.Apply)+len(p.Delete) > 0 || p.Transfer != nil {
			t.Errorf("%s: problem %q, apply %v, remove %v, %v", name, p.Problem, names(p.Apply), names(p.Delete), err)
		}
	}
}

// Whatever is chosen in whatever order: no two mirrors run at a time, none starts before it was told, and what was
// chosen last runs in the end.
func TestEnginesConverge(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld("accounts.account")
		for range rapid.IntRange(1, 12).Draw(rt, "choices") {
			engine := rapid.SampledFrom([]v1alpha1.MirrorEngine{v1alpha1.MirrorBuiltin, v1alpha1.MirrorMirrorMaker2}).Draw(rt, "engine")
			choose(&w.Seen, engine, rapid.SampledFrom([]string{"", "kafka", "other"}).Draw(rt, "namespace"))
			for range rapid.IntRange(0, 4).Draw(rt, "steps") {
				before := fmt.Sprint(w.Deployment != nil, w.MakerDeployment != nil, len(w.StrimziMakers) > 0)
				w.step(t)
				running := 0
				for _, runs := range []bool{w.Deployment != nil, w.MakerDeployment != nil, len(w.StrimziMakers) > 0} {
					if runs {
						running++
					}
				}
				if running > 1 {
					rt.Fatalf("%d mirrors run (before: %s): %v", running, before, w.log)
				}
				if rapid.Bool().Draw(rt, "pods follow") {
					w.pods()
				}
			}
		}
		w.pods()
		w.settle(t)
		last := plan.Engine(w.Services[0].Spec.Kafka)
		if d := cmp.Diff([]string{"accounts.account-from-beijing " + string(last)}, w.engines()); d != "" {
			rt.Fatalf("links (-want +got):\n%s\n%v", d, w.log)
		}
	})
}
