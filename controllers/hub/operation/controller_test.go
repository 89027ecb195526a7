package operation_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/controllers/hub/operation"
	"multiactive.dev/operator/internal/follow"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/operation"
	"multiactive.dev/operator/internal/plan/order"
	"multiactive.dev/operator/internal/port/clusters"
	"multiactive.dev/operator/internal/testkit"
)

// store has one configuration, and notes what is written.
type store struct {
	conf    ownership.Configuration
	written []string
}

func (s *store) Watch(ctx context.Context, deliver func(ownership.Configuration)) error {
	deliver(s.conf)
	<-ctx.Done()
	return ctx.Err()
}

func (s *store) Read(context.Context) (ownership.Configuration, error) { return s.conf, nil }

func (s *store) PutOrderIntent(_ context.Context, i ownership.OrderIntent) (int64, error) {
	s.written = append(s.written, "put "+i.Name)
	return 1, nil
}

func (s *store) DeleteOrderIntent(_ context.Context, name string) (int64, error) {
	s.written = append(s.written, "delete "+name)
	return 1, nil
}

func drain(state v1alpha1.OperationState) *v1alpha1.Operation {
	return &v1alpha1.Operation{
		ObjectMeta: metav1.ObjectMeta{
			Name: "drain", UID: "1", CreationTimestamp: metav1.NewTime(time.Now()), Finalizers: []string{plan.Finalizer},
		},
		Spec:   v1alpha1.OperationSpec{Type: v1alpha1.OperationDrain, Region: "beijing"},
		Status: v1alpha1.OperationStatus{State: state},
	}
}

// reconcile runs one pass with a cache that may be older than what the API server has, and returns what
// was written to the store, and which events were emitted.
func reconcile(t *testing.T, cached, current []client.Object, intents ...string) (written, told []string) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	build := func(objects []client.Object) client.Client {
		own := make([]client.Object, 0, len(objects)) // cases share them, and the client writes their versions
		for _, o := range objects {
			own = append(own, o.DeepCopyObject().(client.Object))
		}
		return fake.NewClientBuilder().WithScheme(scheme).WithObjects(own...).WithStatusSubresource(&v1alpha1.Operation{}).Build()
	}
	s := &store{conf: ownership.Configuration{Revision: 1, Leader: "a", OrderIntents: map[string]ownership.OrderIntent{}}}
	for _, name := range intents {
		s.conf.OrderIntents[name] = ownership.OrderIntent{Name: name}
	}
	view := follow.New(s, clock.RealClock{}, time.Minute, logr.Discard())
	ctx, cancel := context.WithCancel(t.Context())
	followed := make(chan error, 1)
	go func() { followed <- view.Start(ctx) }()
	defer func() {
		cancel()
		if err := <-followed; err != nil {
			t.Error(err)
		}
	}()
	testkit.Eventually(t, 10*time.Second, func() error {
		if !view.Snapshot().Known {
			return context.DeadlineExceeded
		}
		return nil
	})
	recorder := events.NewFakeRecorder(8)
	r := &operation.Reconciler{Client: build(cached), Reader: build(current), Clusters: clusters.New(clusters.Options{}), View: view, Store: s, Clock: clock.RealClock{}, Recorder: recorder}
	if _, err := r.Reconcile(ctx, ctrl.Request{NamespacedName: types.NamespacedName{Name: "drain"}}); err != nil {
		t.Fatal(err)
	}
	for len(recorder.Events) > 0 {
		told = append(told, <-recorder.Events)
	}
	return s.written, told
}

func TestReconcile(t *testing.T) {
	t.Parallel()
	beijing := &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: "beijing"}}
	name := order.Name(drain(""))
	for what, c := range map[string]struct {
		cached, current []client.Object
		intents         []string
		want            []string
		// told is how the events begin.
		told []string
	}{
		"one about a region that is not there is refused, and that is told": {
			cached: []client.Object{drain("")}, current: []client.Object{drain("")}, told: []string{"Warning OrderInvalid refused, nothing was done: spec.region"},
		},
		"an order is handed over": {
			cached: []client.Object{beijing, drain("")}, current: []client.Object{drain("")}, want: []string{"put " + name},
		},
		"not when it has ended and the cache does not know": {
			cached: []client.Object{beijing, drain("")}, current: []client.Object{drain(v1alpha1.OperationSucceeded)},
		},
		"one that has ended is withdrawn": {
			cached: []client.Object{beijing, drain(v1alpha1.OperationFailed)}, want: []string{"delete " + name},
		},
		"what nobody orders any more is withdrawn": {
			intents: []string{"of-somebody-else"}, want: []string{"delete of-somebody-else"},
		},
		"what only the cache does not know is not": {
			current: []client.Object{drain("")}, intents: []string{name},
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			written, told := reconcile(t, c.cached, c.current, c.intents...)
			if diff := cmp.Diff(c.want, written); diff != "" {
				t.Errorf("written to the store (-want +got)\n%s", diff)
			}
			if len(told) != len(c.told) || len(told) > 0 && !strings.HasPrefix(told[0], c.told[0]) {
				t.Errorf("events %q, want one that begins with each of %q", told, c.told)
			}
		})
	}
}
