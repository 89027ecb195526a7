package testkit_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/etcdstore"
	"multiactive.dev/operator/internal/testkit/process"
)

// spy is a test that records its failure and its clean-ups instead of acting on them.
type spy struct {
	testing.TB
	failure  string
	logs     []string
	cleanups []func()
}

func (s *spy) Helper()                         {}
func (s *spy) Failed() bool                    { return s.failure != "" }
func (s *spy) Cleanup(f func())                { s.cleanups = append(s.cleanups, f) }
func (s *spy) Logf(format string, args ...any) { s.logs = append(s.logs, fmt.Sprintf(format, args...)) }
func (s *spy) Fatal(args ...any)               { s.failure = fmt.Sprint(args...); runtime.Goexit() }

// run calls f as the test runner does: alone in a goroutine that Fatal ends, then the clean-ups.
func (s *spy) run(f func(testing.TB)) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f(s)
	}()
	<-ended
	for _, cleanup := range slices.Backward(s.cleanups) {
		cleanup()
	}
}

func TestEventually(t *testing.T) {
	t.Parallel()
	looks := 0
	third := func() error {
		if looks++; looks < 3 {
			return errors.New("too early")
		}
		return nil
	}
	passes, fails := &spy{TB: t}, &spy{TB: t}
	passes.run(func(tb testing.TB) { testkit.Eventually(tb, 20*time.Second, third) })
	if passes.failure != "" || looks != 3 {
		t.Errorf("failed with %q after %d looks, want success at the third", passes.failure, looks)
	}
	fails.run(func(tb testing.TB) {
		testkit.Eventually(tb, 10*time.Millisecond, func() error { return errors.New("door closed") })
	})
	if !strings.Contains(fails.failure, "door closed") || !strings.Contains(fails.failure, "not within 10ms") {
		t.Errorf("failed with %q, want the limit and what the last look saw", fails.failure)
	}
}

func TestConsistently(t *testing.T) {
	t.Parallel()
	holds, breaks := &spy{TB: t}, &spy{TB: t}
	holds.run(func(tb testing.TB) { testkit.Consistently(tb, 10*time.Millisecond, func() error { return nil }) })
	if holds.failure != "" {
		t.Errorf("failed with %q although it held", holds.failure)
	}
	looks := 0
	breaks.run(func(tb testing.TB) {
		testkit.Consistently(tb, 20*time.Second, func() error {
			if looks++; looks == 2 {
				return errors.New("two owners")
			}
			return nil
		})
	})
	if breaks.failure != "two owners" || looks != 2 {
		t.Errorf("failed with %q after %d looks, want it at the second", breaks.failure, looks)
	}
}

// Everything of a failed test ends with it.
func TestWorldEndsWithTheTest(t *testing.T) {
	t.Parallel()
	regions := []string{"beijing", "shanghai"}
	var started []*process.Process
	test := &spy{TB: t}
	test.run(func(tb testing.TB) {
		store := testkit.StartStore(tb, etcdstore.Options{HeartbeatInterval: 50 * time.Millisecond, ElectionTimeout: 500 * time.Millisecond}, regions...)
		servers := testkit.StartServers(tb, apiserver.Options{}, regions...)
		for _, region := range regions {
			started = append(started, servers[region].Process(), servers[region].Storage().Process(), store.Member(region).Process())
		}
		tb.Fatal("as if an assertion had failed")
	})
	if len(started) != 6 || test.failure != "as if an assertion had failed" {
		t.Fatalf("the world did not start: %q, %d processes", test.failure, len(started))
	}
	for _, p := range started {
		select {
		case <-p.Done():
		default:
			t.Errorf("process %d is still there", p.PID())
		}
	}
	if shown := strings.Join(test.logs, "\n"); len(test.logs) != 4 || !strings.Contains(shown, "kube-apiserver shanghai") || !strings.Contains(shown, "etcd beijing") {
		t.Errorf("a failed test shows the logs %q, want those of two API servers and two members", test.logs)
	}
}

func TestInstallCRDs(t *testing.T) {
	t.Parallel()
	server := testkit.StartServer(t, apiserver.Options{})
	testkit.InstallCRDs(t, server)
	client, err := dynamic.NewForConfig(testkit.Config(t, server, apiserver.Admin))
	if err != nil {
		t.Fatal(err)
	}
	for _, resource := range []string{"regions", "multiactiveservices", "regionalservices"} {
		gvr := schema.GroupVersionResource{Group: "multiactive.dev", Version: "v1alpha1", Resource: resource}
		if _, err := client.Resource(gvr).List(t.Context(), metav1.ListOptions{}); err != nil {
			t.Errorf("%s are not served: %v", resource, err)
		}
	}
}

func TestFreePortRefusesOtherMachines(t *testing.T) {
	t.Parallel()
	test := &spy{TB: t}
	test.run(func(tb testing.TB) { testkit.FreePort(tb, "192.0.2.1") })
	if !strings.Contains(test.failure, "192.0.2.1 is not a loopback address") {
		t.Errorf("failed with %q, want a refusal that names the address", test.failure)
	}
	if port := testkit.FreePort(t, "127.0.0.1"); port == 0 {
		t.Error("got no port")
	}
}
