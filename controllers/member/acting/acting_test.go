package acting_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/controllers/member/acting"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
)

const (
	namespace = "multiactive-system"
	soon      = 20 * time.Second
)

type world struct {
	t     *testing.T
	c     client.Client
	clock *testclock.FakeClock
}

func newWorld(t *testing.T) *world {
	t.Helper()
	server := testkit.StartServer(t, apiserver.Options{})
	c, err := client.New(testkit.Config(t, server, apiserver.Admin), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, c: c, clock: testclock.NewFakeClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))}
	for _, name := range []string{namespace, "elsewhere"} {
		w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	return w
}

func (w *world) create(o client.Object) {
	w.t.Helper()
	if err := w.c.Create(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

// pod makes a Pod and returns its process.
func (w *world) pod(in, name string, labels map[string]string) *acting.Pod {
	w.t.Helper()
	w.create(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: in, Name: name, Labels: labels},
		Spec: corev1.PodSpec{
			Containers:                   []corev1.Container{{Name: "manager", Image: "operator:1"}},
			AutomountServiceAccountToken: ptr.To(false),
		},
	})
	return &acting.Pod{Client: w.c, Reader: w.c, Namespace: in, Name: name, Clock: w.clock, Log: logr.Discard()}
}

// run has a process act until the function is called.
func (w *world) run(p *acting.Pod) (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Start(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("Start ended with %v", err)
		}
	}
	w.t.Cleanup(stop)
	return stop
}

// marked returns the Pods that a Service which selects the label leads to.
func (w *world) marked() []string {
	w.t.Helper()
	var list corev1.PodList
	if err := w.c.List(w.t.Context(), &list, client.MatchingLabels{acting.Label: acting.Value}); err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Namespace+"/"+list.Items[i].Name)
	}
	slices.Sort(names)
	return names
}

func (w *world) eventually(want ...string) {
	w.t.Helper()
	testkit.Eventually(w.t, soon, func() error {
		if diff := cmp.Diff(want, w.marked()); diff != "" {
			return fmt.Errorf("marked Pods (-want +got)\n%s", diff)
		}
		return nil
	})
}

func TestOneActs(t *testing.T) {
	w := newWorld(t)
	mark := map[string]string{acting.Label: acting.Value, "app": "multiactive"}
	first := w.pod(namespace, "first", map[string]string{"app": "multiactive"})
	second := w.pod(namespace, "second", nil)
	w.pod("elsewhere", "other", mark) // another installation's
	const other = "elsewhere/other"

	t.Run("the elected one is marked", func(t *testing.T) {
		w.t = t
		w.run(first)() // marks, or is stopped before; either way nothing stays
		w.eventually(other)
		stop := w.run(first)
		w.eventually(other, namespace+"/first")
		stop()
		w.eventually(other)
	})
	t.Run("the next one takes the mark of a dead node's Pod away", func(t *testing.T) {
		w.t = t
		w.patchLabel("first", acting.Value) // its process ended without a word
		stop := w.run(second)
		w.eventually(other, namespace+"/second")
		w.patchLabel("first", acting.Value) // a stopped process that goes on late
		testkit.Eventually(t, soon, func() error {
			if !w.clock.HasWaiters() {
				return fmt.Errorf("nobody waits")
			}
			return nil
		})
		w.clock.Step(acting.Interval)
		w.eventually(other, namespace+"/second")
		stop()
		w.eventually(other)
	})
	t.Run("a process that starts again does not act before it is elected", func(t *testing.T) {
		w.t = t
		w.patchLabel("first", acting.Value)
		if err := first.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.eventually(other)
		var pod corev1.Pod
		if err := w.c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "first"}, &pod); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{"app": "multiactive"}, pod.Labels); diff != "" {
			t.Errorf("other labels (-want +got)\n%s", diff)
		}
		if err := first.Clear(t.Context()); err != nil {
			t.Errorf("clearing what is clear: %v", err)
		}
	})
	t.Run("a Pod that is not there", func(t *testing.T) {
		nobody := *first
		nobody.Name = "nobody"
		if err := nobody.Clear(t.Context()); err == nil || !strings.Contains(err.Error(), "POD_NAME") {
			t.Errorf("clearing answered %v, want it to name POD_NAME", err)
		}
	})
}

func (w *world) patchLabel(name, value string) {
	w.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, acting.Label, value)
	if err := w.c.Patch(w.t.Context(), pod, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		w.t.Fatal(err)
	}
}
