//go:build e2e

package mirrormaker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/controllers/member/replicationlink"
	"multiactive.dev/operator/internal/canary"
	"multiactive.dev/operator/internal/desired/regional"
	plan "multiactive.dev/operator/internal/plan/replicationlink"
	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apachekafka"
)

const closed = "accounts.closed"

// MirrorMaker leaves out the topic that its user may not see, and copies the other: the canary arrives. The link of the
// one says what is missing, that of the other streams. Once the user may read it, it is copied and the link says so.
func TestMirrorMakerMayNotReadATopic(t *testing.T) {
	w := newWorldOf(t, apachekafka.Options{Authorize: true, Properties: map[string]string{"allow.everyone.if.no.acl.found": "false"}}, apachekafka.Options{})
	admin := apachekafka.AdminOf(t, w.source)
	for _, name := range []string{topic, closed} {
		if _, err := admin.CreateTopic(t.Context(), 2, 1, map[string]*string{"retention.ms": kadm.StringPtr("3600000")}, name); err != nil {
			t.Fatal(err)
		}
	}
	w.allow(admin, kadm.NewACLs().Allow("User:"+user).AllowHosts().Topics(topic).Operations(kadm.OpRead, kadm.OpDescribe, kadm.OpDescribeConfigs))
	w.allow(admin, kadm.NewACLs().Allow("User:"+user).AllowHosts().Topics(canary.Topic).Operations(kadm.OpAll))
	w.allow(admin, kadm.NewACLs().Allow("User:"+user).AllowHosts().Groups("*").Operations(kadm.OpDescribe))
	w.write(topic, "open")
	w.write(closed, "secret")

	m := apachekafka.RunMirrorMaker(t, apachekafka.MirrorMakerOptions{Config: w.properties(closed), Clusters: []string{to}})
	reader := w.canaries()
	rights := w.rights(topic, closed)
	w.holds(copied, "open")
	testkit.Eventually(t, patience, func() error {
		if age, known := reader.Age(from); !known || age > 30*time.Second {
			return fmt.Errorf("the lag is known %t, %s", known, age)
		}
		return nil
	})
	w.denied(rights, reader, closed, "region "+from, closed, "allow it Read, Describe and DescribeConfigs")
	open := w.link(rights, reader, topic)
	if !meta.IsStatusConditionTrue(open.Status.Conditions, v1alpha1.ConditionStreaming) || open.Status.LastError != "" {
		t.Errorf("the other topic's link is %+v", open.Status)
	}

	w.allow(admin, kadm.NewACLs().Allow("User:"+user).AllowHosts().Topics(closed).Operations(kadm.OpRead, kadm.OpDescribe, kadm.OpDescribeConfigs))
	testkit.Eventually(t, patience, func() error {
		if link := w.link(rights, reader, closed); plan.Denied(&link) {
			return errors.New("the link says still that it is denied")
		}
		return nil
	})
	w.holds(from+"."+closed, "secret")
	w.silent(m.LogFile())
}

// A topic that the mirror's user sees and may not read, and a copy that is there and that it may not write: the link says
// which of the two it is, and what to allow, while the other topic's says nothing of it. Once it may, it is copied.
func TestMirrorMakerMayNotWriteACopy(t *testing.T) {
	open := map[string]string{"allow.everyone.if.no.acl.found": "true"}
	w := newWorldOf(t, apachekafka.Options{Authorize: true, Properties: open}, apachekafka.Options{Authorize: true, Properties: open})
	source, target := apachekafka.AdminOf(t, w.source), apachekafka.AdminOf(t, w.target)
	lists := func(name string, operations ...kadm.ACLOperation) *kadm.ACLBuilder {
		return kadm.NewACLs().Allow("User:" + user).AllowHosts().Topics(name).Operations(operations...)
	}
	w.allow(source, lists(closed, kadm.OpDescribe, kadm.OpDescribeConfigs))
	w.allow(target, lists(from+"."+closed, kadm.OpDescribe, kadm.OpDescribeConfigs, kadm.OpCreate, kadm.OpAlterConfigs))
	w.create(w.target, 2, copied)
	for _, name := range []string{topic, closed} {
		if _, err := source.CreateTopic(t.Context(), 2, 1, map[string]*string{"retention.ms": kadm.StringPtr("3600000")}, name); err != nil {
			t.Fatal(err)
		}
		w.write(name, "a record")
	}
	if _, err := target.CreateTopic(t.Context(), 2, 1, nil, from+"."+closed); err != nil {
		t.Fatal(err)
	}
	reader := w.canaries()
	rights := w.rights(topic, closed)
	w.denied(rights, reader, closed, "region "+from, "may not read topic "+closed, "allow it Read, Describe and DescribeConfigs")
	w.allow(source, lists(closed, kadm.OpRead))
	w.denied(rights, reader, closed, "this region's Kafka", "may not write topic "+from+"."+closed, "allow it Write, Describe, Create")
	if link := w.link(rights, reader, topic); plan.Denied(&link) {
		t.Errorf("the other topic's link is %+v", link.Status)
	}
	w.allow(target, lists(from+"."+closed, kadm.OpWrite))
	testkit.Eventually(t, patience, func() error {
		if link := w.link(rights, reader, closed); plan.Denied(&link) {
			return errors.New("the link says still that it is denied")
		}
		return nil
	})
	m := apachekafka.RunMirrorMaker(t, apachekafka.MirrorMakerOptions{Config: w.properties(closed), Clusters: []string{to}})
	w.holds(from+"."+closed, "a record")
	w.silent(m.LogFile())
}

// denied waits until a topic's link is broken for want of a right, and says so in these words.
func (w *world) denied(rights *replicationlink.Rights, reader *canary.Reader, name string, words ...string) {
	w.t.Helper()
	testkit.Eventually(w.t, patience, func() error {
		link := w.link(rights, reader, name)
		c := meta.FindStatusCondition(link.Status.Conditions, v1alpha1.ConditionConfigured)
		if c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.ReasonKafkaUnauthorized || link.Status.State != v1alpha1.LinkBroken {
			return fmt.Errorf("the link is %s, configured %+v", link.Status.State, c)
		}
		for _, w := range words {
			if !strings.Contains(c.Message, w) {
				return fmt.Errorf("message %q does not say %q", c.Message, w)
			}
		}
		return nil
	})
}

func (w *world) allow(admin *kadm.Client, list *kadm.ACLBuilder) {
	w.t.Helper()
	results, err := admin.CreateACLs(w.t.Context(), list)
	for _, r := range results {
		err = errors.Join(err, r.Err)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) write(name, value string) {
	w.t.Helper()
	if err := w.client(w.source).ProduceSync(w.t.Context(), &kgo.Record{Topic: name, Value: []byte(value)}).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// holds waits until a topic at the target has a record.
func (w *world) holds(name, value string) {
	w.t.Helper()
	testkit.Eventually(w.t, patience, func() error {
		topics, err := w.admin(w.target).Describe(w.t.Context(), name)
		if err != nil {
			return err
		}
		if !topics[name].Exists {
			return fmt.Errorf("there is no %s", name)
		}
		values, _ := w.values(w.target, name)
		for _, some := range values {
			if slices.Contains(some, value) {
				return nil
			}
		}
		return fmt.Errorf("%s has %v", name, values)
	})
}

// rights asks for what the mirror needs, as the member does.
func (w *world) rights(topics ...string) *replicationlink.Rights {
	w.t.Helper()
	credentials := func(_ context.Context, k v1alpha1.RegionKafka) (kafka.Options, error) { return w.options(k), nil }
	r := replicationlink.NewRights(credentials, clock.RealClock{}, testr.New(w.t))
	r.Want(from, &plan.Carries{From: from, Source: w.kafka(w.source), Target: w.kafka(w.target), Topics: topics})
	done := make(chan struct{})
	go func() { defer close(done); _ = r.Start(w.t.Context()) }()
	w.t.Cleanup(func() { <-done })
	return r
}

// link is what the member writes of a topic's link.
func (w *world) link(r *replicationlink.Rights, reader *canary.Reader, name string) v1alpha1.ReplicationLink {
	age, known := reader.Age(from)
	seen := plan.Seen{Complete: true, Lag: plan.Lag{Known: known, Age: age, Step: plan.Step(known, age)}, Denied: r.Denied(from)}
	link := regional.Link(name, from, to)
	plan.Report(link, seen, plan.Plan{Runner: plan.RunsMaker})
	return *link
}
