package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
)

// night is when everything in these tests happens.
var night = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

// hubWorld is a hub's API server with what its controllers would have written.
type hubWorld struct {
	t      *testing.T
	config *rest.Config
	client client.Client
	scheme *runtime.Scheme
	// answer is what a person types; screen: at a terminal.
	answer string
	screen bool
	// contexts are clusters besides the hub's.
	contexts map[string]*rest.Config
}

func newHub(t *testing.T) *hubWorld {
	t.Helper()
	w := &hubWorld{t: t, scheme: runtime.NewScheme()}
	must(t, clientgoscheme.AddToScheme(w.scheme))
	must(t, v1alpha1.AddToScheme(w.scheme))
	server := testkit.StartServer(t, apiserver.Options{})
	testkit.InstallCRDs(t, server)
	w.config = testkit.Config(t, server, apiserver.Admin)
	var err error
	w.client, err = client.New(w.config, client.Options{Scheme: w.scheme})
	must(t, err)
	for _, name := range []string{namespace, "accounts"} {
		must(t, w.client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	}
	return w
}

// TestOnTheHub runs what needs a hub on one API server, one after the other, each on an empty one.
func TestOnTheHub(t *testing.T) {
	w := newHub(t)
	for _, c := range []struct {
		name string
		run  func(*testing.T, *hubWorld)
	}{
		{"Orders", testOrders},
		{"OrderIsRefusedOrDeleted", testOrderIsRefusedOrDeleted},
		{"Drill", testDrill},
		{"Announce", testAnnounce},
		{"Status", testStatus},
		{"Owner", testOwner},
		{"Plan", testPlan},
		{"Incident", testIncident},
		{"Doctor", testDoctor},
		{"Join", testJoin},
	} {
		t.Run(c.name, func(t *testing.T) {
			own := *w
			own.t = t
			defer own.empty()
			c.run(t, &own)
		})
	}
}

// empty deletes what a test has left.
func (w *hubWorld) empty() {
	ctx := context.Background() // t.Context has ended where a test has failed
	for _, o := range []client.Object{&v1alpha1.Operation{}, &v1alpha1.MultiActiveService{}, &v1alpha1.Region{}, &v1alpha1.RegionIncident{}} {
		var in []client.DeleteAllOfOption
		if _, of := o.(*v1alpha1.MultiActiveService); of {
			in = append(in, client.InNamespace("accounts"))
		}
		if err := w.client.DeleteAllOf(ctx, o, in...); err != nil {
			w.t.Error(err)
		}
	}
}

// put creates objects with their statuses.
func (w *hubWorld) put(objects ...client.Object) {
	w.t.Helper()
	for _, o := range objects {
		with := o.DeepCopyObject().(client.Object)
		must(w.t, w.client.Create(w.t.Context(), o))
		with.SetResourceVersion(o.GetResourceVersion())
		with.SetUID(o.GetUID())
		must(w.t, w.client.Status().Update(w.t.Context(), with))
	}
}

// expect runs a command that ends with a code.
func (w *hubWorld) expect(code int, args ...string) output {
	w.t.Helper()
	var out bytes.Buffer
	got := exitCode(run(w.t.Context(), args, w.terminal(&out)), &out)
	w.t.Logf("$ kubectl multiactive %s\n%s", strings.Join(args, " "), out.String())
	if got != code {
		w.t.Errorf("%q ended with %d, want %d:\n%s", args, got, code, out.String())
	}
	return output{w.t, out.String()}
}

func (w *hubWorld) terminal(out *bytes.Buffer) terminal {
	return terminal{
		in: strings.NewReader(w.answer), out: out, err: out, asks: w.answer != "", screen: w.screen,
		config: func(name string) (*rest.Config, error) {
			if c := w.contexts[name]; c != nil {
				return rest.CopyConfig(c), nil
			}
			return rest.CopyConfig(w.config), nil
		},
		sleep: func(ctx context.Context, d time.Duration) error { return sleep(ctx, min(d, 20*time.Millisecond)) },
		now:   func() time.Time { return night },
	}
}

func at(minutesBefore int) *metav1.Time {
	return ptr.To(metav1.NewTime(night.Add(-time.Duration(minutesBefore) * time.Minute)))
}

// regionObject is a Region as its controller reports it.
func regionObject(name string, state v1alpha1.RegionPhase, conditions ...metav1.Condition) *v1alpha1.Region {
	observers := "2/2"
	agent, leads := "Active", v1alpha1.ChoiceNo
	if name == "shanghai" {
		leads = v1alpha1.ChoiceYes
	}
	if state == v1alpha1.RegionDown {
		observers, agent = "0/2", "Silent"
	}
	return &v1alpha1.Region{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.RegionSpec{
			Role: v1alpha1.RegionRoleActive, Cluster: &v1alpha1.ClusterAccess{KubeconfigSecretRef: v1alpha1.SecretReference{Name: name}},
		},
		Status: v1alpha1.RegionStatus{
			State: state, StateSince: at(4), ObserversSummary: observers, Coordination: &v1alpha1.RegionCoordination{Agent: agent, Leads: leads, Epoch: 7}, Conditions: conditions,
		},
	}
}

func condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: *at(4)}
}

// userService is the service of the examples, as its controller reports it on a normal day.
func userService(t *testing.T) *v1alpha1.MultiActiveService {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "service.yaml"))
	must(t, err)
	mas := &v1alpha1.MultiActiveService{}
	must(t, yaml.UnmarshalStrict(content, mas))
	mas.Generation = 1
	mas.Status = v1alpha1.MultiActiveServiceStatus{
		ObservedGeneration: 1,
		Summary:            &v1alpha1.ServiceSummary{Regions: "3/3", Degraded: "0/4", Lag: "<5m", Epoch: 7},
	}
	for _, r := range mas.Spec.Regions {
		owns := v1alpha1.Yes
		if *r.Weight == 0 {
			owns = v1alpha1.No
		}
		mas.Status.Regions = append(mas.Status.Regions, v1alpha1.ServiceRegionStatus{Name: r.Name, State: v1alpha1.RegionUp, Owns: owns, Replicas: "3/3"})
	}
	for _, f := range mas.Spec.Flows {
		mas.Status.Flows = append(mas.Status.Flows, v1alpha1.FlowStatus{Name: f.Name, Tier: f.Tier, State: v1alpha1.FlowAvailable, Since: at(600)})
	}
	for _, c := range mas.Spec.DataClasses {
		mas.Status.DataClasses = append(mas.Status.DataClasses, v1alpha1.DataClassStatus{
			Name: c.Name, Lag: v1alpha1.LagWithinObjective, Objective: &metav1.Duration{Duration: 5 * time.Minute},
		})
	}
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionCoreAvailable, v1alpha1.ConditionRoutingReady, v1alpha1.ConditionRegionsHealthy, v1alpha1.ConditionReplicationHealthy} {
		mas.Status.Conditions = append(mas.Status.Conditions, condition(kind, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared, "everything is as declared"))
	}
	mas.Status.Conditions = append(mas.Status.Conditions, condition(v1alpha1.ConditionDegraded, metav1.ConditionFalse, v1alpha1.ReasonAllFlowsAvailable, "every flow is served as declared"))
	return mas
}
