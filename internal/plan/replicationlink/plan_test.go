package replicationlink_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	plan "multiactive.dev/operator/internal/plan/replicationlink"
)

const (
	from = "beijing"
	here = "shanghai"
)

var options = regional.Options{Region: here, OperatorNamespace: "multiactive-system", MirrorImage: "m"}

// service has the topics and receives them from beijing.
func service(name string, objective time.Duration, topics ...string) v1alpha1.RegionalService {
	kafka := func(address string) *v1alpha1.RegionKafka {
		return &v1alpha1.RegionKafka{BootstrapServers: []string{address}}
	}
	rs := v1alpha1.RegionalService{
		ObjectMeta: metav1.ObjectMeta{Namespace: "accounts", Name: name},
		Spec: v1alpha1.RegionalServiceSpec{
			Region: here, Kafka: kafka("kafka.sh:9092"),
			Peers: []v1alpha1.Peer{{Name: from, Kafka: kafka("kafka.bj:9092")}, {Name: here, Kafka: kafka("kafka.sh:9092")}, {Name: "shenzhen"}},
		},
	}
	for _, t := range topics {
		rs.Spec.Topics = append(rs.Spec.Topics, v1alpha1.TopicSlice{Name: t, Objective: &metav1.Duration{Duration: objective}})
	}
	return rs
}

func names(objects []regional.Object) []string {
	out := []string{}
	for _, o := range objects {
		kind := fmt.Sprintf("%T", o)
		out = append(out, kind[strings.LastIndexByte(kind, '.')+1:]+" "+o.GetName())
	}
	return out
}

func decide(t *testing.T, seen plan.Seen) plan.Plan {
	t.Helper()
	p, err := plan.Decide(from, seen, options)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// settled is the region after a plan was carried out.
func settled(t *testing.T, services ...v1alpha1.RegionalService) plan.Seen {
	t.Helper()
	seen := plan.Seen{Complete: true, Lag: plan.Lag{Known: true, Age: time.Second, Step: "<2s"}}
	for i := range services {
		seen.Services = append(seen.Services, *services[i].DeepCopy())
	}
	for _, o := range decide(t, seen).Apply {
		switch o := o.(type) {
		case *v1alpha1.ReplicationLink:
			seen.Links = append(seen.Links, *o)
		case *corev1.ConfigMap:
			seen.ConfigMap = o
		case *appsv1.Deployment:
			seen.Deployment = o
		}
	}
	return seen
}

func TestDecide(t *testing.T) {
	user, order := service("user", time.Minute, "accounts.account"), service("order", time.Hour, "orders.order", "accounts.account")
	const configMap, deployment = "ConfigMap multiactive-mirror-beijing", "Deployment multiactive-mirror-beijing"
	for name, test := range map[string]struct {
		seen          plan.Seen
		change        func(*plan.Seen)
		apply, remove []string
		problem       string
	}{
		"nothing declared": {seen: plan.Seen{}},
		"first sight, one mirror for all": {
			seen:  plan.Seen{Services: []v1alpha1.RegionalService{user, order}},
			apply: []string{configMap, deployment, "ReplicationLink accounts.account-from-beijing", "ReplicationLink orders.order-from-beijing"},
		},
		"as declared": {seen: settled(t, user, order)},
		"the same in another order": {
			seen: settled(t, user, order), change: func(s *plan.Seen) { s.Services[0], s.Services[1] = s.Services[1], s.Services[0] },
		},
		"a service gone: its link stays until the mirror is another": {
			seen: settled(t, user, order), change: func(s *plan.Seen) { s.Services = s.Services[:1] },
			apply: []string{configMap, deployment},
		},
		"all services gone": {
			seen: settled(t, user), change: func(s *plan.Seen) { s.Services = nil },
			remove: []string{deployment, configMap},
		},
		"a slice that is not acted on: what is kept for it stays": {
			seen: settled(t, user, order), change: func(s *plan.Seen) { s.Services, s.Held = s.Services[:1], true },
		},
		"no slice is acted on: all stays": {
			seen: settled(t, user), change: func(s *plan.Seen) { s.Services, s.Held = nil, true },
		},
		"a new service beside one that is not acted on": {
			seen: settled(t, user), change: func(s *plan.Seen) { s.Services, s.Held = []v1alpha1.RegionalService{order}, true },
			apply: []string{configMap, deployment, "ReplicationLink orders.order-from-beijing"},
		},
		"a link that somebody made": {
			seen: settled(t, user), change: func(s *plan.Seen) { s.Services, s.Links[0].Labels = nil, nil },
			remove: []string{deployment, configMap},
		},
		"the source has no Kafka": {
			seen: settled(t, user), change: func(s *plan.Seen) { s.Services[0].Spec.Peers[0].Kafka = nil },
			remove: []string{deployment, configMap},
		},
		"the source is another region by name: its mirror ends, and the link when no Pod carries it": {
			seen: settled(t, user), change: func(s *plan.Seen) { s.Services[0].Spec.Peers[0].Name = "peking" },
			remove: []string{deployment, configMap},
		},
		"a slice of another region": {
			seen: settled(t, user), change: func(s *plan.Seen) { s.Services[0].Spec.Region = "shenzhen" },
			remove: []string{deployment, configMap},
		},
		"scaled by hand": {
			seen: settled(t, user), change: func(s *plan.Seen) { *s.Deployment.Spec.Replicas = 2 }, apply: []string{deployment},
		},
		"no Secret: what runs goes on": {
			seen: settled(t, user), change: func(s *plan.Seen) { s.Source.Problem, *s.Deployment.Spec.Replicas = "no Secret", 2 }, problem: "no Secret",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if test.change != nil {
				test.change(&test.seen)
			}
			p := decide(t, test.seen)
			if diff := cmp.Diff(append([]string{}, test.apply...), names(p.Apply)); diff != "" {
				t.Errorf("apply (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(append([]string{}, test.remove...), names(p.Delete)); diff != "" {
				t.Errorf("delete (-want +got):\n%s", diff)
			}
			if p.Problem != test.problem {
				t.Errorf("problem %q, want %q", p.Problem, test.problem)
			}
		})
	}
	if got := decide(t, settled(t, user, order)).Objectives["accounts.account-from-beijing"]; got != time.Minute {
		t.Errorf("objective of a shared topic is %s, want the strictest", got)
	}
}

func TestReport(t *testing.T) {
	paused := func(s *plan.Seen) {
		s.Links[0].Annotations = map[string]string{regional.AnnotationPaused: "maintenance"}
	}
	for name, test := range map[string]struct {
		change             func(*plan.Seen)
		state              v1alpha1.LinkState
		configured, stream string
		lastError          string
	}{
		"streaming":       {func(*plan.Seen) {}, v1alpha1.LinkStreaming, "AsDeclared", "Streaming", ""},
		"nothing arrived": {func(s *plan.Seen) { s.Lag = plan.Lag{Step: plan.StepUnknown} }, v1alpha1.LinkProvisioning, "AsDeclared", "LagUnknown", ""},
		"being set up": {func(s *plan.Seen) { s.Lag, s.Deployment = plan.Lag{Step: plan.StepUnknown}, nil },
			v1alpha1.LinkProvisioning, "Progressing", "LagUnknown", ""},
		"lagging":     {func(s *plan.Seen) { s.Lag.Age = 2 * time.Minute }, v1alpha1.LinkLagging, "AsDeclared", "Lagging", ""},
		"source lost": {func(s *plan.Seen) { s.SourceLost = true }, v1alpha1.LinkBroken, "AsDeclared", "SourceLost", ""},
		"no Secret": {func(s *plan.Seen) {
			s.Lag, s.Target.Problem = plan.Lag{Step: plan.StepUnknown}, "no Secret kafka-admin"
		},
			v1alpha1.LinkBroken, "SecretNotFound", "LagUnknown", "no Secret kafka-admin"},
		"mirror crashes": {func(s *plan.Seen) { s.Lag.Age, s.Pods = 2*time.Minute, []corev1.Pod{waiting("CrashLoopBackOff")} },
			v1alpha1.LinkBroken, "ReplicasUnavailable", "Lagging", "CrashLoopBackOff"},
		"paused":                       {paused, v1alpha1.LinkPaused, "Progressing", "Paused", ""},
		"no image":                     {func(s *plan.Seen) { choose(s, v1alpha1.MirrorMirrorMaker2, "") }, v1alpha1.LinkStreaming, "EngineUnavailable", "Streaming", "--mirrormaker-image"},
		"mirror starts":                {func(s *plan.Seen) { s.Pods = []corev1.Pod{waiting("ContainerCreating")} }, v1alpha1.LinkStreaming, "AsDeclared", "Streaming", ""},
		"not allowed":                  {func(s *plan.Seen) { s.Denied = map[string]string{"accounts.account": "may not read"} }, v1alpha1.LinkBroken, "KafkaUnauthorized", "KafkaUnauthorized", "may not read"},
		"another topic is not allowed": {func(s *plan.Seen) { s.Denied = map[string]string{"orders.order": "may not read"} }, v1alpha1.LinkStreaming, "AsDeclared", "Streaming", ""},
		"not allowed, and paused": {func(s *plan.Seen) {
			paused(s)
			s.Denied = map[string]string{"accounts.account": "may not read"}
		}, v1alpha1.LinkPaused, "KafkaUnauthorized", "Paused", "may not read"},
		"mirror complains": {func(s *plan.Seen) { s.MirrorError = "source: no broker answers" }, v1alpha1.LinkStreaming, "AsDeclared", "Streaming", "no broker"},
	} {
		t.Run(name, func(t *testing.T) {
			seen := settled(t, service("user", time.Minute, "accounts.account"))
			test.change(&seen)
			link := seen.Links[0].DeepCopy()
			plan.Report(link, seen, decide(t, seen))
			reason := func(condition string) string {
				return meta.FindStatusCondition(link.Status.Conditions, condition).Reason
			}
			if link.Status.State != test.state || reason(v1alpha1.ConditionConfigured) != test.configured || reason(v1alpha1.ConditionStreaming) != test.stream {
				t.Errorf("status is %+v, want %s, %s, %s", link.Status, test.state, test.configured, test.stream)
			}
			if !strings.Contains(link.Status.LastError, test.lastError) || (test.lastError == "" && link.Status.LastError != "") {
				t.Errorf("last error is %q, want %q", link.Status.LastError, test.lastError)
			}
			if len(link.Status.Conditions) != 4 {
				t.Errorf("%d conditions, want all four", len(link.Status.Conditions))
			}
			before := link.DeepCopy()
			plan.Report(link, seen, decide(t, seen))
			if diff := cmp.Diff(before, link); diff != "" {
				t.Errorf("reporting the same again changes the status:\n%s", diff)
			}
		})
	}
}

func TestReportBeforeAnythingWasRead(t *testing.T) {
	link := &v1alpha1.ReplicationLink{}
	plan.Report(link, plan.Seen{}, plan.Plan{})
	for _, c := range link.Status.Conditions {
		if c.Status != metav1.ConditionUnknown || c.Reason != v1alpha1.ReasonNotYetObserved {
			t.Errorf("%s is %s/%s", c.Type, c.Status, c.Reason)
		}
	}
	if len(link.Status.Conditions) != 4 || link.Status.State != "" {
		t.Errorf("status is %+v", link.Status)
	}
}

func waiting(reason string) corev1.Pod {
	return corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
		Name: "mirror", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}},
	}}}}
}

func TestStep(t *testing.T) {
	for age, want := range map[time.Duration]string{
		0: "<2s", 1999 * time.Millisecond: "<2s", 2 * time.Second: "<10s", 10 * time.Second: "<1m",
		time.Minute: "<5m", 5 * time.Minute: "<1h", time.Hour: ">=1h", 240 * time.Hour: ">=1h",
	} {
		if got := plan.Step(true, age); got != want {
			t.Errorf("%s is %s, want %s", age, got, want)
		}
	}
	if got := plan.Step(false, 0); got != plan.StepUnknown {
		t.Errorf("an unknown lag is %s", got)
	}
}

func TestDamper(t *testing.T) {
	for name, test := range map[string]struct {
		ages []int // in seconds; negative: unknown
		want []string
	}{
		"worse counts at once":   {[]int{1, 3, 70}, []string{"<2s", "<10s", "<5m"}},
		"better when it lasts":   {[]int{3, 1, 1, 1, 1, 1}, []string{"<10s", "<10s", "<10s", "<10s", "<10s", "<2s"}},
		"a border is no news":    {[]int{3, 1, 1, 3, 1, 1, 1}, []string{"<10s", "<10s", "<10s", "<10s", "<10s", "<10s", "<10s"}},
		"the worst of the good":  {[]int{70, 1, 3, 1, 1, 1}, []string{"<5m", "<5m", "<5m", "<5m", "<5m", "<10s"}},
		"known at last":          {[]int{-1, 1}, []string{"unknown", "<2s"}},
		"known no more, at once": {[]int{1, -1}, []string{"<2s", "unknown"}},
	} {
		t.Run(name, func(t *testing.T) {
			var d plan.Damper
			var got []string
			for _, age := range test.ages {
				got = append(got, d.Look(age >= 0, time.Duration(age)*time.Second))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
	// It never reports a lag as smaller than it is, and finds the truth when that stays.
	rapid.Check(t, func(t *rapid.T) {
		var d plan.Damper
		ages := rapid.SliceOfN(rapid.IntRange(0, 7200), 1, 30).Draw(t, "ages")
		for _, s := range ages {
			age := time.Duration(s) * time.Second
			if got := d.Look(true, age); order(got) < order(plan.Step(true, age)) {
				t.Fatalf("%s is reported as %s", age, got)
			}
		}
		last := time.Duration(ages[len(ages)-1]) * time.Second
		var got string
		for range 10 {
			got = d.Look(true, last)
		}
		if got != plan.Step(true, last) {
			t.Fatalf("%s for long is reported as %s", last, got)
		}
	})
}

func order(step string) int {
	for i, s := range []string{"<2s", "<10s", "<1m", "<5m", "<1h", ">=1h", "unknown"} {
		if s == step {
			return i
		}
	}
	return -1
}
