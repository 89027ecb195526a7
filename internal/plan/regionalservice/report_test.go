package regionalservice_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/regionalservice"
	"multiactive.dev/operator/internal/plan/topic"
)

func report(t *testing.T, rs *v1alpha1.RegionalService, seen plan.Seen) {
	t.Helper()
	p, err := plan.Decide(rs, seen, options)
	if err != nil {
		t.Fatal(err)
	}
	plan.Report(now, rs, seen, p, nil)
}

func TestReport(t *testing.T) {
	const isTrue, isFalse, unknown = metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown
	type change = func(*testing.T, *v1alpha1.RegionalService, *plan.Seen)
	pods := func(reason string) change {
		return func(t *testing.T, _ *v1alpha1.RegionalService, seen *plan.Seen) {
			d := application(t, seen)
			d.Status.AvailableReplicas = 0
			seen.Pods = append(seen.Pods, corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "user-1", Labels: d.Spec.Template.Labels},
				Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
					Name: "app", Image: "app:1", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "back-off 40s"}},
					LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3, Reason: "Error"}},
				}}},
			})
		}
	}
	running := func(restarts, exit int32) change {
		return func(t *testing.T, rs *v1alpha1.RegionalService, seen *plan.Seen) {
			pods("")(t, rs, seen)
			status := &seen.Pods[len(seen.Pods)-1].Status.ContainerStatuses[0]
			status.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
			status.RestartCount, status.LastTerminationState.Terminated.ExitCode = restarts, exit
		}
	}
	topics := func(found plan.Topics) change {
		return func(_ *testing.T, _ *v1alpha1.RegionalService, seen *plan.Seen) { seen.Topics = found }
	}
	link := func(l plan.Link, state ownership.RegionState) change {
		return func(_ *testing.T, _ *v1alpha1.RegionalService, seen *plan.Seen) {
			seen.Links["shanghai"] = l
			seen.Configuration.View.Regions["shanghai"] = ownership.RegionRecord{State: state}
		}
	}
	for name, test := range map[string]struct {
		change    change
		condition string
		status    metav1.ConditionStatus
		reason    string
		message   string
	}{
		"all is well":       {condition: v1alpha1.ConditionReady, status: isTrue, reason: v1alpha1.ReasonAsDeclared},
		"an earlier slice":  {change: earlier, condition: v1alpha1.ConditionReady, status: isFalse, reason: v1alpha1.ReasonStaleSlice, message: "generation 3) is older than the one that the region acts on (ballot 0, generation 4)"},
		"beside a Service":  {change: besideService, condition: v1alpha1.ConditionWorkloadAvailable, status: isFalse, reason: v1alpha1.ReasonProgressing, message: "user-cron"},
		"pull failed":       {change: pods("ImagePullBackOff"), condition: v1alpha1.ConditionWorkloadAvailable, status: isFalse, reason: v1alpha1.ReasonImagePull, message: `"app:1"`},
		"crash loop":        {change: pods("CrashLoopBackOff"), condition: v1alpha1.ConditionWorkloadAvailable, status: isFalse, reason: v1alpha1.ReasonCrashLoop, message: "exit code 3"},
		"next attempt":      {change: running(2, 3), condition: v1alpha1.ConditionWorkloadAvailable, status: isFalse, reason: v1alpha1.ReasonCrashLoop, message: "does not stay up (CrashLoopBackOff) with exit code 3"},
		"started once more": {change: running(1, 3), condition: v1alpha1.ConditionWorkloadAvailable, status: isFalse, reason: v1alpha1.ReasonProgressing, message: "container app runs and is not ready; look at kubectl"},
		"ended on purpose":  {change: running(2, 0), condition: v1alpha1.ConditionWorkloadAvailable, status: isFalse, reason: v1alpha1.ReasonProgressing, message: "runs and is not ready"},
		"starting":          {change: pods("ContainerCreating"), condition: v1alpha1.ConditionWorkloadAvailable, status: isFalse, reason: v1alpha1.ReasonProgressing, message: "fewer available replicas"},
		"gateways start":    {change: says("user-gateway", true, "ReplicaSetUpdated"), condition: v1alpha1.ConditionGatewayReady, status: isFalse, reason: v1alpha1.ReasonProgressing},
		"the start stalls":  {change: says("user", false, "ProgressDeadlineExceeded"), condition: v1alpha1.ConditionWorkloadAvailable, status: isFalse, reason: v1alpha1.ReasonReplicasUnavailable},
		"gateways stall":    {change: says("user-gateway", false, "ProgressDeadlineExceeded"), condition: v1alpha1.ConditionGatewayReady, status: isFalse, reason: v1alpha1.ReasonReplicasUnavailable},
		"a replica is gone": {change: says("user", true, "NewReplicaSetAvailable"), condition: v1alpha1.ConditionWorkloadAvailable, status: isFalse, reason: v1alpha1.ReasonReplicasUnavailable},
		"Ready says what":   {change: pods("CrashLoopBackOff"), condition: v1alpha1.ConditionReady, status: isFalse, reason: v1alpha1.ReasonCrashLoop, message: "WorkloadAvailable"},
		"no Deployment yet": {change: func(_ *testing.T, _ *v1alpha1.RegionalService, s *plan.Seen) { s.Owned = nil }, condition: v1alpha1.ConditionWorkloadAvailable, status: isFalse, reason: v1alpha1.ReasonProgressing},
		"no consumer yet":   {change: without("user-cron"), condition: v1alpha1.ConditionWorkloadAvailable, status: isFalse, reason: v1alpha1.ReasonProgressing, message: "Deployment user-cron is being created"},
		"no gateway yet":    {change: func(_ *testing.T, _ *v1alpha1.RegionalService, s *plan.Seen) { s.Owned = nil }, condition: v1alpha1.ConditionGatewayReady, status: isFalse, reason: v1alpha1.ReasonProgressing},
		"quota of Pods":     {change: quota, condition: v1alpha1.ConditionWorkloadAvailable, status: isFalse, reason: v1alpha1.ReasonReplicasUnavailable, message: "exceeded quota"},
		"rolling out":       {change: rolling, condition: v1alpha1.ConditionWorkloadAvailable, status: isTrue, reason: v1alpha1.ReasonProgressing},
		"gateway behind":    {change: func(_ *testing.T, _ *v1alpha1.RegionalService, s *plan.Seen) { s.Acknowledged = nil }, condition: v1alpha1.ConditionRouted, status: isFalse, reason: v1alpha1.ReasonGatewaysBehind},
		"gateway refuses":   {change: refuse(true), condition: v1alpha1.ConditionRouted, status: isFalse, reason: v1alpha1.ReasonGatewaysRefuse, message: "user-gateway-1, user-gateway-2: upstream: \"x\" is not a base URL; user-gateway-3: keys: too new. Mend"},
		"a new one refuses": {change: refuse(false), condition: v1alpha1.ConditionRouted, status: isFalse, reason: v1alpha1.ReasonGatewaysRefuse, message: "user-gateway-1"},
		"a stranger refuses": {change: func(_ *testing.T, _ *v1alpha1.RegionalService, s *plan.Seen) {
			s.Refused = map[string]string{"stranger": "x"}
		}, condition: v1alpha1.ConditionRouted, status: isTrue, reason: v1alpha1.ReasonAsDeclared},
		"no gateway ready":     {change: func(_ *testing.T, _ *v1alpha1.RegionalService, s *plan.Seen) { s.Pods = nil }, condition: v1alpha1.ConditionRouted, status: isFalse, reason: v1alpha1.ReasonGatewaysBehind},
		"store never read":     {change: func(_ *testing.T, _ *v1alpha1.RegionalService, s *plan.Seen) { s.HasConfiguration = false }, condition: v1alpha1.ConditionRouted, status: unknown, reason: v1alpha1.ReasonStoreUnreachable},
		"not agreed":           {change: func(_ *testing.T, _ *v1alpha1.RegionalService, s *plan.Seen) { s.Configuration.Services = nil }, condition: v1alpha1.ConditionRouted, status: isFalse, reason: v1alpha1.ReasonOwnershipChangePending},
		"hash missing":         {change: func(_ *testing.T, rs *v1alpha1.RegionalService, _ *plan.Seen) { rs.Spec.Ownership[0].Hash = "x" }, condition: v1alpha1.ConditionRouted, status: isFalse, reason: v1alpha1.ReasonOwnershipChangePending, message: hash},
		"no topics":            {change: func(_ *testing.T, rs *v1alpha1.RegionalService, _ *plan.Seen) { rs.Spec.Topics = nil }, condition: v1alpha1.ConditionTopicsReady, status: isTrue, reason: v1alpha1.ReasonNoTopics},
		"no Kafka":             {change: func(_ *testing.T, rs *v1alpha1.RegionalService, _ *plan.Seen) { rs.Spec.Kafka = nil }, condition: v1alpha1.ConditionTopicsReady, status: isFalse, reason: v1alpha1.ReasonNoKafka},
		"topics not looked at": {change: topics(plan.Topics{}), condition: v1alpha1.ConditionTopicsReady, status: unknown, reason: v1alpha1.ReasonNotYetObserved},
		"brokers dead":         {change: topics(plan.Topics{Known: true, Unavailable: &plan.Problem{Reason: v1alpha1.ReasonBrokersUnreachable, Message: "no broker"}}), condition: v1alpha1.ConditionTopicsReady, status: isFalse, reason: v1alpha1.ReasonBrokersUnreachable},
		"topic conflict":       {change: topics(found(topic.Plan{Refused: &topic.Note{Reason: topic.ReasonConflict, Message: "theirs"}})), condition: v1alpha1.ConditionTopicsReady, status: isFalse, reason: v1alpha1.ReasonTopicConflict, message: "theirs"},
		"fewer replicas":       {change: topics(found(topic.Plan{Notes: []topic.Note{{Reason: topic.ReasonReplicationLowered, Message: "one broker"}}})), condition: v1alpha1.ConditionTopicsReady, status: isTrue, reason: v1alpha1.ReasonReplicationFactorLowered},
		"lagging":              {change: link(plan.Link{Known: true, Age: 2 * time.Minute}, ownership.RegionServing), condition: v1alpha1.ConditionLinksHealthy, status: isFalse, reason: v1alpha1.ReasonLagging},
		"nothing arrived":      {change: link(plan.Link{}, ownership.RegionServing), condition: v1alpha1.ConditionLinksHealthy, status: unknown, reason: v1alpha1.ReasonLagUnknown},
		"source lost":          {change: link(plan.Link{Known: true, Age: time.Second}, ownership.RegionLost), condition: v1alpha1.ConditionLinksHealthy, status: isFalse, reason: v1alpha1.ReasonSourceLost},
		"taking over":          {change: onHomeLoss(v1alpha1.HomeLossTakeover), condition: v1alpha1.ConditionFieldsActedOn, status: isTrue, reason: v1alpha1.ReasonAsDeclared},
		"keys of sessions":     {change: sessionKey(true), condition: v1alpha1.ConditionFieldsActedOn, status: isTrue, reason: v1alpha1.ReasonAsDeclared},
		"keys without tokens":  {change: sessionKey(false), condition: v1alpha1.ConditionFieldsActedOn, status: isFalse, reason: v1alpha1.ReasonNotSupportedYet, message: "key phone: source Session"},
		"deferring":            {change: onHomeLoss(v1alpha1.HomeLossDefer), condition: v1alpha1.ConditionFieldsActedOn, status: isTrue, reason: v1alpha1.ReasonAsDeclared},
		"nobody to tell":       {change: notifying("sms"), condition: v1alpha1.ConditionFieldsActedOn, status: isFalse, reason: v1alpha1.ReasonNotSupportedYet, message: "flow register: notify endpoint sms (Region beijing has none"},
		"the topic is new":     {change: notifying("sms"), condition: v1alpha1.ConditionTopicsReady, status: isFalse, reason: v1alpha1.ReasonProgressing, message: "accounts._deferred.user is being set up"},
		"somebody to tell": {change: func(t *testing.T, rs *v1alpha1.RegionalService, s *plan.Seen) {
			notifying("sms")(t, rs, s)
			rs.Spec.NotifyEndpoints = []v1alpha1.NotifyEndpoint{{Name: "sms", URL: "https://sms.example.com"}}
		}, condition: v1alpha1.ConditionFieldsActedOn, status: isTrue, reason: v1alpha1.ReasonAsDeclared},
		"deleting": {change: func(_ *testing.T, rs *v1alpha1.RegionalService, _ *plan.Seen) {
			rs.DeletionTimestamp = &metav1.Time{Time: now}
		}, condition: v1alpha1.ConditionReady, status: isFalse, reason: v1alpha1.ReasonDeleting, message: "topics and data stay"},
		"deleting, its topics": {change: doomed(nil), condition: v1alpha1.ConditionTopicsReady, status: unknown, reason: v1alpha1.ReasonDeleting, message: "then topics with deletionPolicy Delete"},
		"deleting, a mirror still runs": {change: doomed(func(_ *v1alpha1.RegionalService, s *plan.Seen) {
			s.Receiving = []string{"x-from-y"}
		}), condition: v1alpha1.ConditionReady, status: isFalse, reason: v1alpha1.ReasonDeleting, message: "x-from-y"},
		"deleting, Kafka is away": {change: doomed(func(_ *v1alpha1.RegionalService, s *plan.Seen) {
			s.Topics.Unavailable = &plan.Problem{Message: "no broker answers"}
		}), condition: v1alpha1.ConditionReady, status: isFalse, reason: v1alpha1.ReasonDeleting, message: "no broker answers"},
		"paused":      {change: link(plan.Link{Known: true, Age: time.Second, Paused: []string{"accounts.account"}}, ownership.RegionServing), condition: v1alpha1.ConditionLinksHealthy, status: isFalse, reason: v1alpha1.ReasonPaused},
		"not allowed": {change: link(plan.Link{Known: true, Age: time.Second, Denied: []string{"accounts.account"}}, ownership.RegionServing), condition: v1alpha1.ConditionLinksHealthy, status: isFalse, reason: v1alpha1.ReasonKafkaUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			rs := sample()
			seen := well(t, rs)
			if test.change != nil {
				test.change(t, rs, &seen)
			}
			report(t, rs, seen)
			got := meta.FindStatusCondition(rs.Status.Conditions, test.condition)
			if got == nil || got.Status != test.status || got.Reason != test.reason || !strings.Contains(got.Message, test.message) {
				t.Errorf("%s is %+v, want %s/%s with %q", test.condition, got, test.status, test.reason, test.message)
			}
			if strings.Contains(got.Message, "40s") {
				t.Errorf("message %q has a figure that changes by itself", got.Message)
			}
			if len(rs.Status.Conditions) != 8 {
				t.Errorf("%d conditions, want all eight", len(rs.Status.Conditions))
			}
		})
	}
}

func quota(t *testing.T, _ *v1alpha1.RegionalService, seen *plan.Seen) {
	d := application(t, seen)
	d.Status.AvailableReplicas = 0
	d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: "exceeded quota: pods"}}
}

// says lets a Deployment have no available replica, and its condition Progressing say why.
func says(name string, progressing bool, reason string) func(*testing.T, *v1alpha1.RegionalService, *plan.Seen) {
	return func(_ *testing.T, _ *v1alpha1.RegionalService, seen *plan.Seen) {
		status := corev1.ConditionTrue
		if !progressing {
			status = corev1.ConditionFalse
		}
		for _, o := range seen.Owned {
			if d, ok := o.(*appsv1.Deployment); ok && d.Name == name {
				d.Status.AvailableReplicas = 0
				d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Status: status, Reason: reason}}
			}
		}
	}
}

// What was available and is not any more is a fault, also while another rollout goes on; what never
// was is on its way.
func TestAFirstRolloutIsNoFault(t *testing.T) {
	rs := sample()
	seen := well(t, rs)
	says("user", true, "ReplicaSetUpdated")(t, rs, &seen)
	expect := func(reason string) {
		t.Helper()
		report(t, rs, seen)
		if c := meta.FindStatusCondition(rs.Status.Conditions, v1alpha1.ConditionWorkloadAvailable); c.Reason != reason {
			t.Errorf("WorkloadAvailable is %s (%s), want %s", c.Reason, c.Message, reason)
		}
	}
	expect(v1alpha1.ReasonProgressing)
	expect(v1alpha1.ReasonProgressing)
	application(t, &seen).Status.AvailableReplicas = 2
	expect(v1alpha1.ReasonAsDeclared)
	application(t, &seen).Status.AvailableReplicas = 1
	expect(v1alpha1.ReasonReplicasUnavailable)
	expect(v1alpha1.ReasonReplicasUnavailable)
}

// without takes a Deployment away, as before it was made.
func without(name string) func(*testing.T, *v1alpha1.RegionalService, *plan.Seen) {
	return func(_ *testing.T, _ *v1alpha1.RegionalService, s *plan.Seen) {
		s.Owned = slices.DeleteFunc(slices.Clone(s.Owned), func(o regional.Object) bool {
			_, deployment := o.(*appsv1.Deployment)
			return deployment && o.GetName() == name
		})
	}
}

// refuse lets three gateways refuse the routing.
func refuse(ready bool) func(*testing.T, *v1alpha1.RegionalService, *plan.Seen) {
	return func(_ *testing.T, _ *v1alpha1.RegionalService, seen *plan.Seen) {
		first := seen.Pods[0]
		if !ready {
			first.Status.Conditions = nil
		}
		seen.Pods = nil
		for _, name := range []string{"user-gateway-3", "user-gateway-1", "user-gateway-2"} {
			pod := first.DeepCopy()
			pod.Name = name
			seen.Pods = append(seen.Pods, *pod)
		}
		const upstream = `upstream: "x" is not a base URL`
		seen.Refused = map[string]string{"user-gateway-1": upstream, "user-gateway-2": upstream, "user-gateway-3": "keys: too new"}
	}
}

func rolling(t *testing.T, _ *v1alpha1.RegionalService, seen *plan.Seen) {
	d := application(t, seen)
	d.Status.Replicas, d.Status.UpdatedReplicas = 3, 1
}

func onHomeLoss(action v1alpha1.HomeLossAction) func(*testing.T, *v1alpha1.RegionalService, *plan.Seen) {
	return func(_ *testing.T, rs *v1alpha1.RegionalService, _ *plan.Seen) {
		rs.Spec.Behaviours[0].OnHomeLoss = &v1alpha1.OnHomeLoss{Action: action}
	}
}

// notifying has the flow deferred, and its outcomes told.
func notifying(endpoint string) func(*testing.T, *v1alpha1.RegionalService, *plan.Seen) {
	return func(_ *testing.T, rs *v1alpha1.RegionalService, _ *plan.Seen) {
		rs.Spec.Behaviours[0].OnHomeLoss = &v1alpha1.OnHomeLoss{Action: v1alpha1.HomeLossDefer, Defer: &v1alpha1.DeferPolicy{
			AdmitPath: "/admit", ExpireAfter: &metav1.Duration{Duration: time.Hour}, IdempotencyHeader: "Idempotency-Key",
			Notify: &v1alpha1.NotifyTarget{EndpointRef: endpoint},
		}}
	}
}

func found(p topic.Plan) plan.Topics {
	return plan.Topics{Known: true, Results: map[string]plan.TopicResult{"accounts.account": plan.TopicResultOf(p)}}
}

// The hub waits for workloadHash: it must not be there before the last replica is.
func TestWorkloadHash(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*appsv1.Deployment)
		want   string
	}{
		"complete":            {func(*appsv1.Deployment) {}, "w1"},
		"not observed":        {func(d *appsv1.Deployment) { d.Generation = 2 }, "w0"},
		"old replicas left":   {func(d *appsv1.Deployment) { d.Status.Replicas = 3 }, "w0"},
		"not all updated":     {func(d *appsv1.Deployment) { d.Status.UpdatedReplicas = 1 }, "w0"},
		"not all available":   {func(d *appsv1.Deployment) { d.Status.AvailableReplicas = 1 }, "w0"},
		"of another template": {func(d *appsv1.Deployment) { d.Annotations["multiactive.dev/workload-hash"] = "w2" }, "w0"},
		"scaled to nothing": {func(d *appsv1.Deployment) {
			d.Spec.Replicas, d.Status = ptr.To[int32](0), appsv1.DeploymentStatus{}
		}, "w1"},
	} {
		t.Run(name, func(t *testing.T) {
			rs := sample()
			rs.Status.WorkloadHash = "w0"
			seen := well(t, rs)
			test.change(application(t, &seen))
			report(t, rs, seen)
			if rs.Status.WorkloadHash != test.want {
				t.Errorf("hash %s, want %s", rs.Status.WorkloadHash, test.want)
			}
		})
	}
}

// Reporting the same twice changes nothing: a steady region writes no status.
func TestReportIsStable(t *testing.T) {
	rs := sample()
	seen := well(t, rs)
	report(t, rs, seen)
	before := rs.DeepCopy()
	seen.Links["shanghai"] = plan.Link{Known: true, Age: 1300 * time.Millisecond}
	report(t, rs, seen)
	if diff := cmp.Diff(before.Status, rs.Status); diff != "" {
		t.Errorf("status (-before +after):\n%s", diff)
	}
}

// TestEpochHasATime: when gateways began to act on an epoch is told with it, once; nothing is told of when they began with
// another one.
func TestEpochHasATime(t *testing.T) {
	t.Parallel()
	rs := sample()
	seen := well(t, rs)
	look := func(acknowledged, actsOn int64, at time.Time) *metav1.MicroTime {
		seen.Acknowledged["user-gateway-1"], seen.ActsOn, seen.ActsSince = acknowledged, actsOn, at
		report(t, rs, seen)
		if rs.Status.Epoch != acknowledged {
			t.Errorf("epoch %d, want %d", rs.Status.Epoch, acknowledged)
		}
		return rs.Status.EpochSince
	}
	if at := look(7, 7, now.Add(-time.Second)); at == nil || !at.Time.Equal(now.Add(-time.Second)) {
		t.Errorf("it is acted on since %v, want a second ago", at)
	}
	if at := look(7, 7, now.Add(time.Millisecond)); at == nil || !at.Time.Equal(now.Add(-time.Second)) {
		t.Errorf("the same one is acted on since %v, and was since a second ago", at)
	}
	if at := look(8, 9, now); at != nil {
		t.Errorf("some act on the next epoch since %v: that is not since when all act on this one", at)
	}
}

func TestReportKeepsWhatWasKnown(t *testing.T) {
	rs := sample()
	plan.Report(now, rs, plan.Seen{}, plan.Plan{}, errors.New("reading failed"))
	for _, c := range rs.Status.Conditions {
		if c.Type != v1alpha1.ConditionReady && (c.Status != metav1.ConditionUnknown || c.Reason != v1alpha1.ReasonNotYetObserved) {
			t.Errorf("%s is %s/%s before anything was read", c.Type, c.Status, c.Reason)
		}
	}
	seen := well(t, rs)
	report(t, rs, seen)
	before := meta.FindStatusCondition(rs.Status.Conditions, v1alpha1.ConditionWorkloadAvailable).DeepCopy()
	plan.Report(now, rs, plan.Seen{}, plan.Plan{}, errors.New("reading failed"))
	if diff := cmp.Diff(before, meta.FindStatusCondition(rs.Status.Conditions, v1alpha1.ConditionWorkloadAvailable)); diff != "" {
		t.Errorf("a failed look changed what was known (-before +after):\n%s", diff)
	}
	if c := meta.FindStatusCondition(rs.Status.Conditions, v1alpha1.ConditionReady); c.Status != metav1.ConditionFalse {
		t.Errorf("Ready is %s after a failed look", c.Status)
	}
}

func TestDataAtRisk(t *testing.T) {
	rs := sample()
	seen := well(t, rs)
	view := seen.Configuration.View.Regions
	view["shanghai"] = ownership.RegionRecord{
		State: ownership.RegionLost, LostAt: ptr.To(now.Add(-10 * time.Second)), SilentAt: ptr.To(now.Add(-12 * time.Second)),
	}
	seen.Links["shanghai"] = plan.Link{Known: true, Age: 13 * time.Second}
	report(t, rs, seen)
	seconds := func(n int) *metav1.Duration { return &metav1.Duration{Duration: time.Duration(n) * time.Second} }
	want := []v1alpha1.DataAtRisk{{Name: "accounts.account-from-shanghai", Lag: seconds(1), AtMost: seconds(3)}}
	if diff := cmp.Diff(want, rs.Status.DataAtRisk); diff != "" {
		t.Errorf("when lost (-want +got):\n%s", diff)
	}
	seen.Links["shanghai"] = plan.Link{Known: true, Age: time.Hour}
	view["shanghai"] = ownership.RegionRecord{State: ownership.RegionReturning}
	report(t, rs, seen)
	if diff := cmp.Diff(want, rs.Status.DataAtRisk); diff != "" {
		t.Errorf("it is latched (-want +got):\n%s", diff)
	}
	view["shanghai"] = ownership.RegionRecord{State: ownership.RegionServing}
	report(t, rs, seen)
	if len(rs.Status.DataAtRisk) > 0 {
		t.Errorf("%v after the return, want none", rs.Status.DataAtRisk)
	}
	view["shanghai"] = ownership.RegionRecord{State: ownership.RegionLost, LostAt: ptr.To(now.Add(-10 * time.Second))}
	seen.Links["shanghai"] = plan.Link{Known: true, Age: 13 * time.Second}
	report(t, rs, seen)
	if want[0].Lag = seconds(3); !cmp.Equal(want, rs.Status.DataAtRisk) {
		t.Errorf("%+v where the leader did not see it fall silent, want all that may be", rs.Status.DataAtRisk)
	}
	rs.Status.DataAtRisk, seen.Links = nil, nil
	report(t, rs, seen)
	if len(rs.Status.DataAtRisk) != 1 || rs.Status.DataAtRisk[0].Lag != nil {
		t.Errorf("%+v without a canary; an unknown lag must not read as a small one", rs.Status.DataAtRisk)
	}
}

func TestLag(t *testing.T) {
	for name, test := range map[string]struct {
		link plan.Link
		want v1alpha1.LagState
	}{
		"within":  {plan.Link{Known: true, Age: time.Second}, v1alpha1.LagWithinObjective},
		"beyond":  {plan.Link{Known: true, Age: time.Hour}, v1alpha1.LagBeyondObjective},
		"unknown": {plan.Link{}, v1alpha1.LagUnknown},
	} {
		rs := sample()
		seen := well(t, rs)
		seen.Links["shanghai"] = test.link
		report(t, rs, seen)
		if got := rs.Status.Lag[0].Lag; got != test.want {
			t.Errorf("%s: lag %s, want %s", name, got, test.want)
		}
	}
	rs := sample()
	rs.Spec.Peers = rs.Spec.Peers[:1]
	report(t, rs, well(t, rs))
	if got := rs.Status.Lag[0].Lag; got != v1alpha1.LagNotReplicated {
		t.Errorf("alone: lag %s, want NotReplicated", got)
	}
}

func earlier(_ *testing.T, rs *v1alpha1.RegionalService, _ *plan.Seen) { rs.Spec.Stamp.Generation = 3 }

// besideService has a Service that others deploy, and a consumer beside it that is not available.
func besideService(_ *testing.T, rs *v1alpha1.RegionalService, seen *plan.Seen) {
	rs.Spec.Workload.Type, rs.Spec.Workload.Template = v1alpha1.WorkloadServiceRef, nil
	rs.Spec.Workload.ServiceRef = &v1alpha1.ServiceReference{Name: "legacy"}
	seen.Service = &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: "10.0.0.9", Ports: []corev1.ServicePort{{Port: 80}}}}
	for _, o := range seen.Owned {
		if d, ok := o.(*appsv1.Deployment); ok && d.Name == "user-cron" {
			d.Status = appsv1.DeploymentStatus{Replicas: 1, UpdatedReplicas: 1}
		}
	}
}

// What is said of the slice that is acted on stays while an earlier one lies there.
func TestAnEarlierSliceChangesReadyAlone(t *testing.T) {
	rs := sample()
	seen := well(t, rs)
	report(t, rs, seen)
	before := rs.DeepCopy()
	rs.Generation++
	rs.Spec.Stamp.Generation, rs.Spec.Topics = 3, nil
	report(t, rs, seen)
	meta.RemoveStatusCondition(&before.Status.Conditions, v1alpha1.ConditionReady)
	meta.RemoveStatusCondition(&rs.Status.Conditions, v1alpha1.ConditionReady)
	if diff := cmp.Diff(before.Status, rs.Status); diff != "" {
		t.Errorf("(-before +after)\n%s", diff)
	}
}

// sessionKey reads a key from sessions, whose tokens are declared or not.
func sessionKey(declared bool) func(*testing.T, *v1alpha1.RegionalService, *plan.Seen) {
	return func(_ *testing.T, rs *v1alpha1.RegionalService, _ *plan.Seen) {
		rs.Spec.Ownership[0].Keys = []v1alpha1.PartitionKey{{Name: "phone", From: []v1alpha1.KeySource{{Type: v1alpha1.KeySourceSession}}}}
		if declared {
			rs.Spec.Sessions = []v1alpha1.SessionSlice{{DataClass: "session"}}
		}
	}
}

// TestAcceptsPeers names a region only once all gateways, and no former ones any more, take requests from it.
func TestAcceptsPeers(t *testing.T) {
	const first, second = "user-gateway-1", "user-gateway-2"
	all := map[string][]string{first: {"shanghai", "shenzhen"}, second: {"shanghai"}}
	cases := map[string]struct {
		change func(*v1alpha1.RegionalService, *plan.Seen)
		before []string
		want   []string
	}{
		"all gateways listen": {func(_ *v1alpha1.RegionalService, s *plan.Seen) { s.TakesPeers = all }, nil, []string{"shanghai"}},
		"one says nothing of it": {func(_ *v1alpha1.RegionalService, s *plan.Seen) {
			s.TakesPeers = map[string][]string{first: {"shanghai"}}
		}, []string{"shanghai"}, nil},
		"none is ready": {func(_ *v1alpha1.RegionalService, s *plan.Seen) {
			s.TakesPeers, s.Pods = all, nil
		}, []string{"shanghai"}, nil},
		"they are replaced for the first time": {func(rs *v1alpha1.RegionalService, s *plan.Seen) {
			s.TakesPeers = all
			gatewayOf(rs, s).Status.UpdatedReplicas = 1
		}, nil, nil},
		"they are replaced": {func(rs *v1alpha1.RegionalService, s *plan.Seen) {
			gatewayOf(rs, s).Status.Replicas++
		}, []string{"shanghai"}, []string{"shanghai"}},
		"not declared any more": {func(rs *v1alpha1.RegionalService, s *plan.Seen) {
			s.TakesPeers, rs.Spec.Gateway.PeerTLS = all, nil
		}, []string{"shanghai"}, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			rs := sample()
			rs.Spec.Gateway.PeerTLS = &v1alpha1.PeerTLS{}
			seen := well(t, rs)
			another := *seen.Pods[0].DeepCopy()
			another.Name = second
			seen.Pods = append(seen.Pods, another)
			rs.Status.AcceptsPeers = tc.before
			tc.change(rs, &seen)
			plan.Report(now, rs, seen, plan.Plan{Upstream: "http://10.0.0.1:8080"}, nil)
			if diff := cmp.Diff(tc.want, rs.Status.AcceptsPeers); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// gatewayOf is the Deployment of the gateways.
func gatewayOf(rs *v1alpha1.RegionalService, seen *plan.Seen) *appsv1.Deployment {
	for _, obj := range seen.Owned {
		if d, is := obj.(*appsv1.Deployment); is && d.Name == regional.GatewayName(rs.Name) {
			return d
		}
	}
	return nil
}

// TestDeferredBacklog takes the most that a ready gateway says: one that has just started has not read all.
func TestDeferredBacklog(t *testing.T) {
	const first, second, third = "user-gateway-1", "user-gateway-2", "user-gateway-3"
	rs := sample()
	seen := well(t, rs)
	for _, name := range []string{second, third} {
		pod := *seen.Pods[0].DeepCopy()
		pod.Name = name
		if name == third {
			pod.Status.Conditions[0].Status = corev1.ConditionFalse
		}
		seen.Pods = append(seen.Pods, pod)
	}
	seen.Deferred = map[string]string{first: "transfer:<100:<1m,order:<10:<1h", second: "transfer:<10:<10m,nonsense", third: "transfer:>=10000:>=24h"}
	report(t, rs, seen)
	want := []v1alpha1.DeferredBacklog{{Flow: "order", Requests: "<10", Oldest: "<1h"}, {Flow: "transfer", Requests: "<100", Oldest: "<10m"}}
	if diff := cmp.Diff(want, rs.Status.Deferred); diff != "" {
		t.Error(diff)
	}
	seen.Deferred = nil
	if report(t, rs, seen); rs.Status.Deferred != nil {
		t.Errorf("nothing waits any more, and told is %v", rs.Status.Deferred)
	}
}
