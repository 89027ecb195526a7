//go:build e2e

package kafka_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/twmb/franz-go/pkg/kadm"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/controllers/member/regionalservice"
	"multiactive.dev/operator/internal/kafkasecret"
	engine "multiactive.dev/operator/internal/mirror"
	plan "multiactive.dev/operator/internal/plan/regionalservice"
	"multiactive.dev/operator/internal/plan/topic"
	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/testkit/apachekafka"
)

const (
	system     = "multiactive-system"
	secretName = "kafka-member"
)

var service = types.NamespacedName{Namespace: "shop", Name: "orders"}

// Passwords change while the mirror and the keeper of topics work: first at the brokers, then in the
// Secret, as it happens when a person does it. Nothing is lost, both say what is wrong meanwhile, both
// go on by themselves, and no password is in any log.
func TestRealRotation(t *testing.T) {
	w := newWorld(t, map[string]string{mirror: "mirror-f1rst", member: "member-f1rst"})
	dir := t.TempDir()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: secretName},
		Data: map[string][]byte{
			"mechanism": []byte("SCRAM-SHA-512"), "username": []byte(member), "password": []byte("member-f1rst"), "ca.crt": w.ca.PEM(),
		},
	}
	cluster := fake.NewClientBuilder().WithObjects(secret).Build()
	keeper := w.startKeeper(cluster)
	w.kept(keeper, true, "")

	mirrorService := w.startMirror(dir, "mirror-f1rst")
	stop := w.writer()
	w.ready(mirrorService, "")

	for _, round := range []string{"sec0nd", "th1rd"} {
		w.setPassword(mirror, "mirror-"+round)
		w.setPassword(member, "member-"+round)
		w.ready(mirrorService, "refused the credentials")
		w.drift()
		w.kept(keeper, false, v1alpha1.ReasonKafkaUnauthorized)

		w.file(dir, "password", "mirror-"+round)
		secret.Data["password"] = []byte("member-" + round)
		if err := cluster.Update(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		w.ready(mirrorService, "")
		w.kept(keeper, true, "")
		w.repaired()
	}
	n := stop()
	t.Logf("%d records written", n)
	w.arrived(n)
	w.silent()
}

// A user with less than is needed is told by the mirror which topic it is about, and what to grant, whether it may not
// see the topic, sees it and may not read it, may write nothing at all, or not the copy; it works as soon as it may.
func TestRealPermissions(t *testing.T) {
	w := newWorld(t, map[string]string{mirror: "mirror-f1rst", member: "member-f1rst"})
	admin := apachekafka.AdminOf(t, w.source)
	if _, err := admin.CreateTopic(t.Context(), 2, 1, nil, orders); err != nil {
		t.Fatal(err)
	}
	reading := kadm.NewACLs().Allow("User:"+mirror).AllowHosts().Topics(orders).Operations(kadm.OpRead, kadm.OpDescribeConfigs)
	filter := kadm.NewACLs().Allow("User:"+mirror).AllowHosts().Topics(orders).Operations(kadm.OpRead, kadm.OpDescribeConfigs).ResourcePatternType(kadm.ACLPatternLiteral)
	if _, err := admin.DeleteACLs(t.Context(), filter); err != nil {
		t.Fatal(err)
	}
	mirrorService := w.startMirror(t.TempDir(), "mirror-f1rst")
	stop := w.writer()
	w.ready(mirrorService, "topic "+orders)
	w.ready(mirrorService, "grant the user the ACL")
	w.grant(w.source, kadm.NewACLs().Allow("User:"+mirror).AllowHosts().Topics(orders).Operations(kadm.OpDescribe, kadm.OpDescribeConfigs))
	w.ready(mirrorService, "partition "+orders+"/0: the source does not let it be read")
	w.ready(mirrorService, "grant the user that the mirror logs in as there Read on the topic")
	writing := func() *kadm.ACLBuilder {
		return kadm.NewACLs().Allow("User:" + mirror).AllowHosts().Topics(origin + ".").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpWrite)
	}
	if _, err := apachekafka.AdminOf(t, w.target).DeleteACLs(t.Context(), writing()); err != nil {
		t.Fatal(err)
	}
	w.grant(w.source, reading)
	w.ready(mirrorService, "was refused by the target")
	w.ready(mirrorService, "there Write on the copy")
	w.grant(w.target, kadm.NewACLs().Allow("User:"+mirror).AllowHosts().Topics("another").Operations(kadm.OpWrite))
	w.ready(mirrorService, "refused by the target: TOPIC_AUTHORIZATION_FAILED")
	w.grant(w.target, writing())
	w.arrived(stop())
	w.silent()
}

func (w *world) grant(b *apachekafka.Broker, list *kadm.ACLBuilder) {
	w.t.Helper()
	results, err := apachekafka.AdminOf(w.t, b).CreateACLs(w.t.Context(), list)
	for _, r := range results {
		err = errors.Join(err, r.Err)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// startMirror runs the mirror with its password in a file.
func (w *world) startMirror(dir, password string) *engine.Service {
	w.t.Helper()
	side := func(b *apachekafka.Broker) engine.Cluster {
		return engine.Cluster{
			Brokers: []string{b.Addr()},
			SASL: &engine.SASL{
				Mechanism: string(kafka.MechanismScramSHA512),
				UserFile:  w.file(dir, "user", mirror), PasswordFile: w.file(dir, "password", password),
			},
			TLS: &engine.TLS{CAFile: w.file(dir, "ca.crt", string(w.ca.PEM()))},
		}
	}
	raw, err := json.Marshal(engine.Config{Origin: origin, Source: side(w.source), Target: side(w.target), Topics: []string{orders}})
	if err != nil {
		w.t.Fatal(err)
	}
	s := engine.NewService(w.file(dir, "mirror.json", string(raw)), engine.Settings{}, clock.RealClock{}, slog.New(slog.NewJSONHandler(&w.logs, nil)))
	w.background(s.Run)
	return s
}

// startKeeper runs the keeper of topics with its password in a Secret.
func (w *world) startKeeper(reader client.Reader) *regionalservice.TopicKeeper {
	w.t.Helper()
	credentials := func(ctx context.Context, k v1alpha1.RegionKafka) (kafka.Options, error) {
		return kafkasecret.Options(ctx, reader, system, k)
	}
	keeper := regionalservice.NewTopicKeeper(credentials, clock.RealClock{}, logr.FromSlogHandler(slog.NewJSONHandler(&w.logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	w.background(keeper.Start)
	go func() { // a keeper that nobody listens to would stand still
		for range keeper.Changed() {
		}
	}()
	keeper.Keep(service, w.wanted())
	return keeper
}

func (w *world) wanted() regionalservice.WantedTopics {
	return regionalservice.WantedTopics{
		Kafka: v1alpha1.RegionKafka{
			BootstrapServers: []string{w.source.Addr()},
			Auth:             &v1alpha1.KafkaAuth{SecretRef: v1alpha1.SecretReference{Name: secretName}},
		},
		Topics: []topic.Desired{{
			Name: orders, Partitions: 3, ReplicationFactor: 1, Retention: time.Hour, Adoption: topic.AdoptionCreate,
			Owner: topic.Owner{Namespace: service.Namespace, Name: service.Name, UID: "1", CreatedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
		}},
	}
}

func (w *world) background(part func(context.Context) error) {
	done := make(chan struct{})
	ctx := w.t.Context() // ends before the cleanups run
	go func() { defer close(done); _ = part(ctx) }()
	w.t.Cleanup(func() { <-done })
}

// ready waits until the mirror says that all is well, or what is given.
func (w *world) ready(s *engine.Service, problem string) {
	w.t.Helper()
	eventually(w.t, func() error {
		answer := httptest.NewRecorder()
		s.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(w.t.Context(), http.MethodGet, "/readyz", nil))
		body := answer.Body.String()
		_, _ = w.logs.Write([]byte(body))
		if problem == "" && answer.Code != http.StatusOK || !strings.Contains(body, problem) {
			return fmt.Errorf("the mirror answers %d %q, want one that says %q", answer.Code, body, problem)
		}
		return nil
	})
}

// kept waits until the keeper has found the topic as declared, or a problem with a reason.
func (w *world) kept(keeper *regionalservice.TopicKeeper, ready bool, reason string) {
	w.t.Helper()
	eventually(w.t, func() error {
		found := keeper.Look(service, w.wanted())
		_, _ = fmt.Fprintf(&w.logs, "%+v %+v\n", found, ptr.Deref(found.Unavailable, plan.Problem{}))
		switch {
		case found.Unavailable != nil && (ready || found.Unavailable.Reason != reason),
			found.Unavailable == nil && (!ready || !found.Results[orders].Ready):
			return fmt.Errorf("the keeper has found %+v, %+v", found, found.Unavailable)
		}
		return nil
	})
}

// drift changes by hand what the keeper repairs.
func (w *world) drift() {
	w.t.Helper()
	alter := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("60000000")}}
	if _, err := apachekafka.AdminOf(w.t, w.source).AlterTopicConfigs(w.t.Context(), alter, orders); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) repaired() {
	w.t.Helper()
	admin := apachekafka.AdminOf(w.t, w.source)
	eventually(w.t, func() error {
		configs, err := admin.DescribeTopicConfigs(w.t.Context(), orders)
		if err != nil {
			return err
		}
		for _, c := range configs[0].Configs {
			if c.Key == "retention.ms" && ptr.Deref(c.Value, "") != "3600000" {
				return fmt.Errorf("retention.ms is %s", ptr.Deref(c.Value, ""))
			}
		}
		return nil
	})
}
