package regionalservice_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/regionalservice"
)

// steps prints a plan's steps, without the topics' that every plan has.
func steps(p plan.Plan) []string {
	out := []string{}
	for _, s := range p.Steps {
		switch s.Kind {
		case plan.StepTopics:
		case plan.StepApply, plan.StepDelete:
			line := fmt.Sprintf("%s %s %s", s.Kind, s.Object.GetObjectKind().GroupVersionKind().Kind, s.Object.GetName())
			if s.As != "" {
				line += " as " + s.As
			}
			out = append(out, line)
		case plan.StepPublish:
			out = append(out, fmt.Sprintf("%s %s", s.Kind, s.Upstream))
		default:
			out = append(out, string(s.Kind))
		}
	}
	return out
}

func TestDecide(t *testing.T) {
	const published = "Publish http://10.0.0.7:8080"
	for name, test := range map[string]struct {
		change   func(*testing.T, *v1alpha1.RegionalService, *plan.Seen)
		want     []string
		problems []string
	}{
		"nothing to do": {want: []string{published}},
		"first sight": {
			change: func(_ *testing.T, rs *v1alpha1.RegionalService, seen *plan.Seen) {
				rs.Finalizers, rs.Status.ActedStamp, seen.Owned = nil, nil, nil
			},
			want: []string{
				"RecordStamp", "AddFinalizer", "Apply Deployment user as deployer", "Apply Service user", "Apply PodDisruptionBudget user", "Apply NetworkPolicy user",
				"Apply Deployment user-cron as deployer", "Apply Deployment user-gateway", "Apply Service user-gateway",
				"Apply PodDisruptionBudget user-gateway", "Apply NetworkPolicy user-gateway", "Apply ConfigMap user-flags",
			},
		},
		"a later slice is recorded before it is acted on": {
			change: func(_ *testing.T, rs *v1alpha1.RegionalService, _ *plan.Seen) {
				rs.Spec.Stamp.Generation, rs.Spec.Workload.Replicas = 5, ptr.To[int32](4)
			},
			want: []string{"RecordStamp", "Apply Deployment user as deployer", published},
		},
		"an earlier slice is not acted on": {
			change: func(_ *testing.T, rs *v1alpha1.RegionalService, _ *plan.Seen) {
				rs.Spec.Stamp.Generation, rs.Spec.Workload.Replicas, rs.Spec.Topics = 3, ptr.To[int32](4), nil
			},
			want: []string{},
		},
		"a service declared anew begins again": {
			change: func(_ *testing.T, rs *v1alpha1.RegionalService, seen *plan.Seen) {
				rs.Spec.Stamp.Generation, rs.Spec.ServiceID = 1, "uid-2"
				seen.Configuration.Services["uid-2"] = ownership.ServiceRecord{UID: "uid-2", ServiceState: ownership.ServiceState{SpecHash: hash}}
			},
			want: []string{"RecordStamp", published},
		},
		"an earlier slice is deleted all the same": {
			change: func(_ *testing.T, rs *v1alpha1.RegionalService, seen *plan.Seen) {
				rs.Spec.Stamp.Generation, rs.DeletionTimestamp, seen.Owned = 3, &metav1.Time{Time: now}, nil
			},
			want: []string{"Withdraw", "ForgetTopics", "RemoveFinalizer"},
		},
		"scaled by hand": {
			change: func(t *testing.T, _ *v1alpha1.RegionalService, seen *plan.Seen) {
				application(t, seen).Spec.Replicas = ptr.To[int32](9)
			},
			want: []string{"Apply Deployment user as deployer", published},
		},
		"scaled by a scaler": {
			change: func(t *testing.T, rs *v1alpha1.RegionalService, seen *plan.Seen) {
				rs.Spec.Workload.Replicas = nil
				settle(t, rs, seen)
				application(t, seen).Spec.Replicas = ptr.To[int32](9)
			},
			want: []string{published},
		},
		"autoscaled": {
			change: func(_ *testing.T, rs *v1alpha1.RegionalService, _ *plan.Seen) {
				rs.Spec.Workload.Replicas, rs.Spec.Workload.Autoscaling = nil, &v1alpha1.Autoscaling{MinReplicas: 2, MaxReplicas: 5}
			},
			want: []string{"Apply HorizontalPodAutoscaler user", "Apply Deployment user as deployer", published},
		},
		"autoscaled, and it has scaled": {
			change: func(t *testing.T, rs *v1alpha1.RegionalService, seen *plan.Seen) {
				rs.Spec.Workload.Replicas, rs.Spec.Workload.Autoscaling = nil, &v1alpha1.Autoscaling{MinReplicas: 2, MaxReplicas: 5}
				settle(t, rs, seen)
				application(t, seen).Spec.Replicas = ptr.To[int32](5)
			},
			want: []string{published},
		},
		"autoscaled no more": {
			change: func(t *testing.T, rs *v1alpha1.RegionalService, seen *plan.Seen) {
				replicas := rs.Spec.Workload.Replicas
				rs.Spec.Workload.Replicas, rs.Spec.Workload.Autoscaling = nil, &v1alpha1.Autoscaling{MinReplicas: 2, MaxReplicas: 5}
				settle(t, rs, seen)
				rs.Spec.Workload.Replicas, rs.Spec.Workload.Autoscaling = replicas, nil
			},
			want: []string{"Apply Deployment user as deployer", "Delete HorizontalPodAutoscaler user", published},
		},
		"lease lost": {
			change: func(_ *testing.T, _ *v1alpha1.RegionalService, seen *plan.Seen) { seen.LeaseHeld = false },
			want:   []string{"Apply Deployment user-cron as deployer", published},
		},
		"lease not known yet": {
			change: func(_ *testing.T, _ *v1alpha1.RegionalService, seen *plan.Seen) {
				seen.LeaseHeld, seen.LeaseSettled = false, false
			},
			want: []string{published},
		},
		"another region before this one": {
			change: func(_ *testing.T, rs *v1alpha1.RegionalService, _ *plan.Seen) {
				regions := rs.Spec.Ownership[0].Regions
				regions[0], regions[1] = regions[1], regions[0]
			},
			want: []string{"Apply Deployment user-cron as deployer", published},
		},
		"this region is being drained": {
			change: func(_ *testing.T, _ *v1alpha1.RegionalService, seen *plan.Seen) {
				view := &seen.Configuration.View
				view.Phase, view.Previous, view.Change = ownership.PhaseClosing, maps.Clone(view.Regions), &ownership.Change{Kind: ownership.ChangeDrain}
				view.Regions["beijing"] = ownership.RegionRecord{State: ownership.RegionDrained}
			},
			want: []string{"Apply Deployment user-cron as deployer", published},
		},
		"another region is being drained": {
			change: func(_ *testing.T, _ *v1alpha1.RegionalService, seen *plan.Seen) {
				view := &seen.Configuration.View
				view.Phase, view.Previous, view.Change = ownership.PhaseClosing, maps.Clone(view.Regions), &ownership.Change{Kind: ownership.ChangeDrain}
				view.Regions["shanghai"] = ownership.RegionRecord{State: ownership.RegionDrained}
			},
			want: []string{published},
		},
		"a home lost": {
			change: func(_ *testing.T, _ *v1alpha1.RegionalService, seen *plan.Seen) {
				seen.Configuration.View.Regions["shanghai"] = ownership.RegionRecord{State: ownership.RegionLost, Unshipped: true}
			},
			want: []string{"Apply ConfigMap user-flags", published},
		},
		"no configuration: flags and OwnerOnly stay as they are": {
			change: func(_ *testing.T, _ *v1alpha1.RegionalService, seen *plan.Seen) {
				seen.HasConfiguration, seen.LeaseHeld, seen.Configuration = false, false, ownership.Configuration{}
			},
			want: []string{published},
		},
		"an additional workload less": {
			change: func(_ *testing.T, rs *v1alpha1.RegionalService, _ *plan.Seen) { rs.Spec.Workload.Additional = nil },
			want:   []string{"Delete Deployment user-cron", published},
		},
		"an additional workload named gateway": {
			change: func(_ *testing.T, rs *v1alpha1.RegionalService, _ *plan.Seen) {
				rs.Spec.Workload.Additional[0].Name = "gateway"
			},
			want: []string{"Delete Deployment user-cron", published}, problems: []string{`"gateway": the name is taken`},
		},
		"an additional workload named like the flags": {
			change: func(_ *testing.T, rs *v1alpha1.RegionalService, _ *plan.Seen) {
				rs.Spec.Workload.Additional[0].Name = "flags"
			},
			want: []string{"Delete Deployment user-cron", published}, problems: []string{`"flags": the name is taken`},
		},
		"an additional workload beside a Service of others": {
			change: func(_ *testing.T, rs *v1alpha1.RegionalService, seen *plan.Seen) {
				rs.Spec.Workload.Type, rs.Spec.Workload.Template = v1alpha1.WorkloadServiceRef, nil
				rs.Spec.Workload.ServiceRef = &v1alpha1.ServiceReference{Name: "legacy"}
				seen.Service = &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: "10.0.0.9", Ports: []corev1.ServicePort{{Port: 80}}}}
				rs.Spec.Workload.Additional[0].Replicas = ptr.To[int32](3)
			},
			want: []string{
				"Apply Deployment user-cron as deployer", "Delete Deployment user", "Delete Service user", "Delete PodDisruptionBudget user",
				"Delete NetworkPolicy user", "Publish http://10.0.0.9:80",
			},
		},
		"no template": {
			change: func(_ *testing.T, rs *v1alpha1.RegionalService, _ *plan.Seen) { rs.Spec.Workload.Template = nil },
			want:   []string{published}, problems: []string{"needs template"},
		},
		"no account: what runs goes on": {
			change: func(_ *testing.T, rs *v1alpha1.RegionalService, _ *plan.Seen) {
				rs.Spec.Workload.ServiceAccountName = ""
			},
			want: []string{published}, problems: []string{"needs template, port and serviceAccountName", `"cron": it is written as`},
		},
		"the referenced Deployment is missing": {
			change: func(_ *testing.T, rs *v1alpha1.RegionalService, _ *plan.Seen) {
				rs.Spec.Workload = v1alpha1.WorkloadSlice{Type: v1alpha1.WorkloadDeploymentRef, Port: 8080, DeploymentRef: &v1alpha1.LocalObjectReference{Name: "legacy"}}
			},
			want:     []string{"Delete Deployment user", "Delete PodDisruptionBudget user", "Delete NetworkPolicy user", "Delete Deployment user-cron", published},
			problems: []string{"no Deployment legacy in namespace accounts"},
		},
		"a Deployment selected by expressions": {
			change: func(_ *testing.T, rs *v1alpha1.RegionalService, seen *plan.Seen) {
				rs.Spec.Workload = v1alpha1.WorkloadSlice{Type: v1alpha1.WorkloadDeploymentRef, Port: 8080, DeploymentRef: &v1alpha1.LocalObjectReference{Name: "legacy"}}
				seen.Deployment = &appsv1.Deployment{Spec: appsv1.DeploymentSpec{
					Selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpExists}}},
					Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}}},
				}}
			},
			want: []string{
				"Apply Service user", "Delete Deployment user", "Delete PodDisruptionBudget user", "Delete NetworkPolicy user", "Delete Deployment user-cron", published,
			},
		},
		"deletion": {
			change: func(_ *testing.T, rs *v1alpha1.RegionalService, seen *plan.Seen) {
				rs.DeletionTimestamp, seen.Owned = &metav1.Time{Time: now}, seen.Owned[:2]
			},
			want: []string{"Withdraw", "ForgetTopics", "Delete Deployment user", "Delete Service user"},
		},
		"deletion goes on": {
			change: func(_ *testing.T, rs *v1alpha1.RegionalService, seen *plan.Seen) {
				rs.DeletionTimestamp, seen.Owned = &metav1.Time{Time: now}, seen.Owned[:1]
				seen.Owned[0].SetDeletionTimestamp(&metav1.Time{Time: now})
			},
			want: []string{"Withdraw", "ForgetTopics"},
		},
		"deletion ends": {
			change: func(_ *testing.T, rs *v1alpha1.RegionalService, seen *plan.Seen) {
				rs.DeletionTimestamp, seen.Owned = &metav1.Time{Time: now}, nil
			},
			want: []string{"Withdraw", "ForgetTopics", "RemoveFinalizer"},
		},
		"topics go too, after what would make them again": {change: doomed(func(_ *v1alpha1.RegionalService, seen *plan.Seen) {
			seen.Receiving = []string{"account-from-shanghai"}
		}), want: []string{"Withdraw", "ForgetTopics"}},
		"topics go too":          {change: doomed(nil), want: []string{"Withdraw", "DeleteTopics"}},
		"topics are gone":        {change: doomed(func(_ *v1alpha1.RegionalService, seen *plan.Seen) { seen.Topics.Deleted = true }), want: []string{"Withdraw", "DeleteTopics", "RemoveFinalizer"}},
		"observed topics stay":   {change: doomed(func(rs *v1alpha1.RegionalService, _ *plan.Seen) { rs.Spec.Topics[0].Adoption = v1alpha1.TopicObserve }), want: []string{"Withdraw", "ForgetTopics", "RemoveFinalizer"}},
		"there is no Kafka more": {change: doomed(func(rs *v1alpha1.RegionalService, _ *plan.Seen) { rs.Spec.Kafka = nil }), want: []string{"Withdraw", "ForgetTopics", "RemoveFinalizer"}},
	} {
		t.Run(name, func(t *testing.T) {
			rs := sample()
			seen := well(t, rs)
			if test.change != nil {
				test.change(t, rs, &seen)
			}
			p, err := plan.Decide(rs, seen, options)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, steps(p)); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
			for i, want := range test.problems {
				if i >= len(p.Problems) || !strings.Contains(p.Problems[i].Message, want) {
					t.Errorf("problems are %+v, want one that says %q", p.Problems, want)
				}
			}
			if len(p.Problems) != len(test.problems) {
				t.Errorf("problems are %+v, want %d", p.Problems, len(test.problems))
			}
		})
	}
}

// doomed is a service that is being deleted with its topics, and of which nothing else is left.
func doomed(change func(*v1alpha1.RegionalService, *plan.Seen)) func(*testing.T, *v1alpha1.RegionalService, *plan.Seen) {
	return func(_ *testing.T, rs *v1alpha1.RegionalService, seen *plan.Seen) {
		rs.DeletionTimestamp, seen.Owned, seen.Topics = &metav1.Time{Time: now}, nil, plan.Topics{Known: true}
		for i := range rs.Spec.Topics {
			rs.Spec.Topics[i].DeletionPolicy = v1alpha1.DeletionDelete
		}
		if change != nil {
			change(rs, seen)
		}
	}
}

func TestUpstream(t *testing.T) {
	ports := func(list ...int32) []corev1.ServicePort {
		var out []corev1.ServicePort
		for _, p := range list {
			out = append(out, corev1.ServicePort{Port: p, TargetPort: intstr.FromInt32(p + 1000)})
		}
		return out
	}
	for name, test := range map[string]struct {
		spec    corev1.ServiceSpec
		port    int32
		want    string
		problem string
	}{
		"its only port":     {spec: corev1.ServiceSpec{ClusterIP: "10.0.0.9", Ports: ports(80)}, want: "http://10.0.0.9:80"},
		"a named port":      {spec: corev1.ServiceSpec{ClusterIP: "10.0.0.9", Ports: ports(80, 81)}, port: 81, want: "http://10.0.0.9:81"},
		"IPv6":              {spec: corev1.ServiceSpec{ClusterIP: "fd00::9", Ports: ports(80)}, want: "http://[fd00::9]:80"},
		"headless":          {spec: corev1.ServiceSpec{ClusterIP: "None", Ports: ports(80)}, want: "http://legacy.accounts.svc:1080"},
		"without address":   {spec: corev1.ServiceSpec{Ports: ports(80)}},
		"which port":        {spec: corev1.ServiceSpec{ClusterIP: "10.0.0.9", Ports: ports(80, 81)}, problem: "several ports"},
		"no such port":      {spec: corev1.ServiceSpec{ClusterIP: "10.0.0.9", Ports: ports(80)}, port: 9, problem: "no port 9"},
		"somewhere outside": {spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "169.254.169.254"}, problem: "ExternalName"},
	} {
		t.Run(name, func(t *testing.T) {
			rs := sample()
			rs.Spec.Workload = v1alpha1.WorkloadSlice{Type: v1alpha1.WorkloadServiceRef, ServiceRef: &v1alpha1.ServiceReference{Name: "legacy", Port: test.port}}
			seen := well(t, rs)
			seen.Service = &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "accounts", Name: "legacy"}, Spec: test.spec}
			p, err := plan.Decide(rs, seen, options)
			if err != nil {
				t.Fatal(err)
			}
			if p.Upstream != test.want {
				t.Errorf("upstream %q, want %q", p.Upstream, test.want)
			}
			if test.problem != "" && (len(p.Problems) != 1 || !strings.Contains(p.Problems[0].Message, test.problem)) {
				t.Errorf("problems are %+v, want %q", p.Problems, test.problem)
			}
		})
	}
}

// A pass is repeated when a lag may have left its objective, and soon while that is not known.
func TestRecheckAfter(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*v1alpha1.RegionalService, *plan.Seen)
		want   time.Duration
	}{
		"within the objective": {func(*v1alpha1.RegionalService, *plan.Seen) {}, 59 * time.Second},
		"beyond it": {func(_ *v1alpha1.RegionalService, s *plan.Seen) {
			s.Links["shanghai"] = plan.Link{Known: true, Age: time.Hour}
		}, 15 * time.Second},
		"unknown":             {func(_ *v1alpha1.RegionalService, s *plan.Seen) { s.Links = nil }, 15 * time.Second},
		"no links":            {func(rs *v1alpha1.RegionalService, _ *plan.Seen) { rs.Spec.Topics = nil }, 0},
		"lease not known yet": {func(_ *v1alpha1.RegionalService, s *plan.Seen) { s.LeaseSettled = false }, time.Second},
		"an earlier slice":    {func(rs *v1alpha1.RegionalService, _ *plan.Seen) { rs.Spec.Stamp.Generation = 3 }, 30 * time.Second},
		"gateways behind":     {func(_ *v1alpha1.RegionalService, s *plan.Seen) { s.Acknowledged = nil }, time.Second},
	} {
		rs := sample()
		seen := well(t, rs)
		test.change(rs, &seen)
		p, err := plan.Decide(rs, seen, options)
		if err != nil || p.RecheckAfter != test.want {
			t.Errorf("%s: again after %s (%v), want %s", name, p.RecheckAfter, err, test.want)
		}
	}
}

// Steps that remove never touch what is not owned, whatever is declared.
// While a region is being lost, what only follows from that waits; what others may wait for does not.
func TestDecideIsQuietDuringALoss(t *testing.T) {
	const published = "Publish http://10.0.0.7:8080"
	lost := func(seen *plan.Seen) {
		for name, rec := range seen.Configuration.View.Regions {
			if name != "beijing" {
				rec.State = ownership.RegionLost
				seen.Configuration.View.Regions[name] = rec
			}
		}
	}
	for name, test := range map[string]struct {
		change      func(*v1alpha1.RegionalService, *plan.Seen)
		want, later []string
	}{
		"flags": {
			change: func(_ *v1alpha1.RegionalService, seen *plan.Seen) {
				lost(seen)
				seen.Owned = slices.DeleteFunc(seen.Owned, func(o regional.Object) bool { return o.GetName() == regional.FlagsName("user") })
			},
			want: []string{published}, later: []string{published, "Apply ConfigMap user-flags"},
		},
		"more replicas": {
			change: func(rs *v1alpha1.RegionalService, seen *plan.Seen) {
				rs.Spec.Workload.Survivors = v1alpha1.SurvivorsScale
				lost(seen)
			},
			want: []string{published}, later: []string{published, "Apply Deployment user as deployer"},
		},
		"an OwnerOnly workload that is to stop stops": {
			change: func(_ *v1alpha1.RegionalService, seen *plan.Seen) { seen.LeaseHeld = false },
			want:   []string{"Apply Deployment user-cron as deployer", published},
			later:  []string{"Apply Deployment user-cron as deployer", published},
		},
	} {
		t.Run(name, func(t *testing.T) {
			rs := sample()
			seen := well(t, rs)
			test.change(rs, &seen)
			for quiet, want := range map[bool][]string{true: test.want, false: test.later} {
				seen.Quiet = quiet
				p, err := plan.Decide(rs, seen, options)
				if err != nil {
					t.Fatal(err)
				}
				got := steps(p)
				slices.Sort(got)
				slices.Sort(want)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("quiet %t: steps (-want +got):\n%s", quiet, diff)
				}
			}
		})
	}
}

func TestDecideRemovesOwnedObjectsOnly(t *testing.T) {
	rs := sample()
	seen := well(t, rs)
	rs.Spec.Workload = v1alpha1.WorkloadSlice{Type: v1alpha1.WorkloadServiceRef, ServiceRef: &v1alpha1.ServiceReference{Name: "legacy"}}
	seen.Service = &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "accounts", Name: "legacy"}}
	p, err := plan.Decide(rs, seen, options)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Steps {
		if s.Kind == plan.StepDelete && !regional.Owned(s.Object, rs) {
			t.Errorf("%s would be removed", s.Object.GetName())
		}
	}
}
