package member_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/canary"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/mirror"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/kafka/embedded"
	"multiactive.dev/operator/internal/testkit"
)

// TestLinks follows a link from its making over a source that is lost to its return, and then
// shows that a region where nothing happens writes nothing.
func TestLinks(t *testing.T) {
	w := newWorld(t)
	const ns, topic = "accounts", "accounts.account"
	w.namespace(ns)
	source := otherKafka(t)
	rs := w.withTopic(slice(ns, "user"), topic)
	rs.Spec.Peers[1].Kafka = &v1alpha1.RegionKafka{BootstrapServers: []string{source.Addr()}}
	w.region.accept(rs, specHash)
	w.create(rs)
	link := regional.LinkName(topic, there)
	w.linkState(link, v1alpha1.LinkProvisioning, "unknown")
	w.condition(ns, "user", v1alpha1.ConditionLinksHealthy, metav1.ConditionUnknown, v1alpha1.ReasonLagUnknown)

	stopMirror := w.runMirror()
	w.makeAvailable(operator, regional.MirrorName(there))
	w.linkState(link, v1alpha1.LinkStreaming, "<2s")
	w.condition(ns, "user", v1alpha1.ConditionLinksHealthy, metav1.ConditionTrue, v1alpha1.ReasonStreaming)

	w.makeAvailable(ns, "user")
	w.makeAvailable(ns, "user-gateway")
	w.pod(ns, "user-gateway", "user-gateway-1", "")
	w.region.acknowledge(ns)
	w.condition(ns, "user", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared)

	w.quiet(8 * time.Second)

	stopMirror()
	w.region.agree(func(c *ownership.Configuration) {
		c.View.Regions[there] = ownership.RegionRecord{State: ownership.RegionLost, LostAt: ptr.To(time.Now())}
	})
	testkit.Eventually(t, timeout, func() error {
		l, err := get(w, &v1alpha1.ReplicationLink{}, "", link)
		if err == nil && l.Status.State != v1alpha1.LinkBroken {
			return fmt.Errorf("the link is %s, want Broken", l.Status.State)
		}
		return err
	})
	w.condition(ns, "user", v1alpha1.ConditionLinksHealthy, metav1.ConditionFalse, v1alpha1.ReasonSourceLost)
	got, err := get(w, &v1alpha1.RegionalService{}, ns, "user")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Status.DataAtRisk) != 1 || got.Status.DataAtRisk[0].Name != link || got.Status.DataAtRisk[0].Lag == nil || got.Status.DataAtRisk[0].Lag.Duration > 5*time.Second {
		t.Errorf("data at risk is %+v, want the link's lag of a few seconds at most", got.Status.DataAtRisk)
	}
	w.region.agree(func(c *ownership.Configuration) {
		c.View.Regions[there] = ownership.RegionRecord{State: ownership.RegionServing}
	})
	w.runMirror()
	w.region.acknowledge(ns)
	w.condition(ns, "user", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared)
	if got, err = get(w, &v1alpha1.RegionalService{}, ns, "user"); err != nil || len(got.Status.DataAtRisk) > 0 {
		t.Fatalf("data at risk is %+v (%v) after the return, want none", got.Status.DataAtRisk, err)
	}

	edit(w, &v1alpha1.RegionalService{}, ns, "user", func(rs *v1alpha1.RegionalService) {
		rs.Spec.Workload.Additional = []v1alpha1.AdditionalWorkload{
			{Name: "cron", Activation: v1alpha1.ActivationOwnerOnly, Template: rs.Spec.Workload.Template},
		}
	})
	w.replicas(ns, "user-cron", 1)
	w.region.setLease(0)
	w.replicas(ns, "user-cron", 0)
}

// quiet waits until the member has stopped writing, and then requires silence.
func (w *world) quiet(long time.Duration) {
	w.t.Helper()
	testkit.Eventually(w.t, timeout, func() error {
		if last := w.writes.Take(); len(last) > 0 {
			return fmt.Errorf("still writing: %v", last)
		}
		return nil
	})
	testkit.Consistently(w.t, long, func() error {
		if last := w.writes.Take(); len(last) > 0 {
			return fmt.Errorf("wrote although nothing happened: %v", last)
		}
		return nil
	})
}

func (w *world) linkState(name string, state v1alpha1.LinkState, lag string) {
	w.t.Helper()
	testkit.Eventually(w.t, timeout, func() error {
		l, err := get(w, &v1alpha1.ReplicationLink{}, "", name)
		if err != nil {
			return err
		}
		if l.Status.State != state || l.Status.Lag != lag {
			return fmt.Errorf("link is %s with lag %s (%v), want %s with %s", l.Status.State, l.Status.Lag, l.Status.Conditions, state, lag)
		}
		return nil
	})
}

// otherKafka is the other region's Kafka, where that region's member writes its canary.
func otherKafka(t *testing.T) *embedded.Broker {
	t.Helper()
	broker, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	writer, err := canary.NewWriter(there, kafka.Options{Brokers: []string{broker.Addr()}}, clock.RealClock{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	run(t, writer.Run)
	return broker
}

// runMirror runs the mirror with the configuration that the member wrote.
func (w *world) runMirror() (stop func()) {
	w.t.Helper()
	var config *corev1.ConfigMap
	testkit.Eventually(w.t, timeout, func() (err error) {
		config, err = get(w, &corev1.ConfigMap{}, operator, regional.MirrorName(there))
		return err
	})
	path := filepath.Join(w.t.TempDir(), regional.MirrorConfigKey)
	content := config.Data[regional.MirrorConfigKey]
	if !strings.Contains(content, "accounts.account") {
		w.t.Fatalf("the mirror's configuration lacks the topic: %s", content)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return run(w.t, mirror.NewService(path, mirror.Settings{}, clock.RealClock{}, slog.New(slog.DiscardHandler)).Run)
}

// run runs a part until it is stopped or the test ends.
func run(t *testing.T, part func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := part(ctx); ctx.Err() == nil {
			t.Errorf("a part of the test ended: %v", err)
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}
