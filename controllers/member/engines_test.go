package member_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/desired/strimzi"
	"multiactive.dev/operator/internal/mirror"
	"multiactive.dev/operator/internal/mirrormaker"
	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/kafka/kafkatest"
	"multiactive.dev/operator/internal/testkit"
)

// TestEngines changes what carries the data, from the built-in mirror over MirrorMaker and Strimzi's and back: each
// goes on where the one before was. MirrorMaker itself does not run here, the test stands for it.
func TestEngines(t *testing.T) {
	w := newWorld(t)
	const ns, topic = "accounts", "accounts.account"
	w.namespace(ns)
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kafka"}})
	source := otherKafka(t)
	rs := w.withTopic(slice(ns, "user"), topic)
	rs.Spec.Topics[0].ConsumerGroups = []string{"account-sync"}
	rs.Spec.Peers[1].Kafka = &v1alpha1.RegionKafka{BootstrapServers: []string{source.Addr()}}
	w.create(rs)
	if err := kafkatest.NewAdmin(t, source.Addr()).Create(t.Context(), kafka.NewTopic{Name: topic, Partitions: 3}); err != nil {
		t.Fatal(err)
	}
	stop := w.runMirror()
	for range 5 {
		kafkatest.Produce(t, []string{source.Addr()}, &kgo.Record{Topic: topic, Value: []byte("x")})
	}
	w.positions("the built-in mirror's", 5, w.builtinPosition)
	link := regional.LinkName(topic, there)
	w.linkEngine(link, v1alpha1.LinkBuiltin)
	stop()

	w.engine(ns, v1alpha1.MirrorMirrorMaker2, nil)
	w.deployment(regional.MirrorMakerName(there), true)
	w.deployment(regional.MirrorName(there), false)
	w.linkEngine(link, v1alpha1.LinkMirrorMaker2)
	w.positions("MirrorMaker's", 5, w.makerPosition)
	config, err := get(w, &corev1.ConfigMap{}, operator, regional.MirrorMakerName(there))
	if err != nil || !strings.Contains(config.Data[regional.MirrorMakerConfigKey], `shanghai->beijing.topics = accounts\\.account,multiactive\\.canary`) ||
		!strings.Contains(config.Data[regional.MirrorMakerConfigKey], "shanghai->beijing.replication.factor = 1\n") {
		t.Errorf("the configuration is %v, %v", config.Data, err)
	}
	w.pause(link)

	// MirrorMaker goes on, to 9.
	w.makerStores(topic, 9)
	w.engine(ns, v1alpha1.MirrorMirrorMaker2, &v1alpha1.StrimziKafka{Namespace: "kafka", Cluster: "main"})
	w.configured(link, v1alpha1.ReasonStrimziMissing)
	w.deployment(regional.MirrorMakerName(there), true) // it goes on until the other can start
	w.installStrimzi()
	w.strimziMaker(func(obj *unstructured.Unstructured) error {
		pattern, _, _ := unstructured.NestedSlice(obj.Object, "spec", "mirrors")
		if !strings.Contains(fmt.Sprint(pattern), `accounts\.account,multiactive\.canary`) {
			return fmt.Errorf("mirrors are %v", pattern)
		}
		return nil
	})
	w.deployment(regional.MirrorMakerName(there), false)
	w.configured(link, v1alpha1.ReasonAsDeclared)
	w.strimziSays("NotReady", "no brokers")
	if message := w.configured(link, v1alpha1.ReasonReplicasUnavailable); !strings.Contains(message, "no brokers") {
		t.Errorf("message %q does not repeat what Strimzi says", message)
	}

	w.engine(ns, v1alpha1.MirrorBuiltin, nil)
	w.deployment(regional.MirrorName(there), true)
	w.linkEngine(link, v1alpha1.LinkBuiltin)
	if _, err := get(w, newKafkaMirrorMaker(), "kafka", regional.MirrorMakerName(there)); !apierrors.IsNotFound(err) {
		t.Errorf("the KafkaMirrorMaker2 is still there: %v", err)
	}
	w.positions("the built-in mirror's", 9, w.builtinPosition)
	w.deletedWithTopics(rs, topic)
}

// deletedWithTopics deletes the service, which takes its topic along, the copy of the other region's, and the claim.
func (w *world) deletedWithTopics(rs *v1alpha1.RegionalService, topic string) {
	w.t.Helper()
	copied := mirror.TargetTopic(there, topic)
	before, err := w.admin().Describe(w.t.Context(), topic, copied)
	if err != nil || !before[topic].Exists || !before[copied].Exists {
		w.t.Fatalf("topics are %v, %v; want both", before, err)
	}
	edit(w, &v1alpha1.RegionalService{}, rs.Namespace, rs.Name, func(rs *v1alpha1.RegionalService) {
		rs.Spec.Topics[0].DeletionPolicy = v1alpha1.DeletionDelete
	})
	if err := w.client.Delete(w.t.Context(), rs); err != nil {
		w.t.Fatal(err)
	}
	testkit.Eventually(w.t, timeout, func() error {
		got, err := get(w, &v1alpha1.RegionalService{}, rs.Namespace, rs.Name)
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("the regional service is still there: %v, %w", got.Status.Conditions, err)
		}
		return nil
	})
	after, err := w.admin().Describe(w.t.Context(), topic, copied)
	if err != nil || after[topic].Exists || after[copied].Exists {
		w.t.Errorf("topics are %v, %v; want none", after, err)
	}
	claims, err := kafka.NewClaims(w.admin()).Load(w.t.Context())
	if err != nil || len(claims) > 0 {
		w.t.Errorf("claims are %v, %v; want none", claims, err)
	}
}

// pause takes the topic out of what is mirrored, and puts it back.
func (w *world) pause(link string) {
	w.t.Helper()
	topics := func(want bool) {
		w.t.Helper()
		testkit.Eventually(w.t, timeout, func() error {
			config, err := get(w, &corev1.ConfigMap{}, operator, regional.MirrorMakerName(there))
			if err != nil {
				return err
			}
			if has := strings.Contains(config.Data[regional.MirrorMakerConfigKey], `accounts\\.account`); has != want {
				return fmt.Errorf("the topic is in the configuration: %t, want %t", has, want)
			}
			return nil
		})
	}
	edit(w, &v1alpha1.ReplicationLink{}, "", link, func(l *v1alpha1.ReplicationLink) {
		l.Annotations = map[string]string{regional.AnnotationPaused: "maintenance"}
	})
	topics(false)
	w.linkState(link, v1alpha1.LinkPaused, "unknown")
	w.condition("accounts", "user", v1alpha1.ConditionLinksHealthy, metav1.ConditionFalse, v1alpha1.ReasonPaused)
	edit(w, &v1alpha1.ReplicationLink{}, "", link, func(l *v1alpha1.ReplicationLink) { l.Annotations = nil })
	topics(true)
}

func (w *world) engine(ns string, engine v1alpha1.MirrorEngine, managed *v1alpha1.StrimziKafka) {
	w.t.Helper()
	edit(w, &v1alpha1.RegionalService{}, ns, "user", func(rs *v1alpha1.RegionalService) {
		rs.Spec.Kafka.Mirrors, rs.Spec.Kafka.Management = &v1alpha1.KafkaMirrors{Engine: engine}, nil
		if managed != nil {
			rs.Spec.Kafka.Management = &v1alpha1.KafkaManagement{Type: v1alpha1.KafkaManagementStrimzi, Strimzi: managed}
		}
	})
}

// deployment waits until a mirror's Deployment is there, or is not.
func (w *world) deployment(name string, want bool) {
	w.t.Helper()
	testkit.Eventually(w.t, timeout, func() error {
		_, err := get(w, &appsv1.Deployment{}, operator, name)
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		if (err == nil) != want {
			return fmt.Errorf("Deployment %s is there: %t, want %t", name, err == nil, want)
		}
		return nil
	})
}

func (w *world) linkEngine(link string, want v1alpha1.LinkEngine) {
	w.t.Helper()
	testkit.Eventually(w.t, timeout, func() error {
		l, err := get(w, &v1alpha1.ReplicationLink{}, "", link)
		if err == nil && l.Spec.Engine != want {
			return fmt.Errorf("the link's engine is %s, want %s (%v)", l.Spec.Engine, want, l.Status.Conditions)
		}
		return err
	})
}

func (w *world) configured(link, reason string) string {
	w.t.Helper()
	var message string
	testkit.Eventually(w.t, timeout, func() error {
		l, err := get(w, &v1alpha1.ReplicationLink{}, "", link)
		if err != nil {
			return err
		}
		for _, c := range l.Status.Conditions {
			if c.Type == v1alpha1.ConditionConfigured && c.Reason == reason {
				message = c.Message
				return nil
			}
		}
		return fmt.Errorf("conditions are %v, want Configured for %s", l.Status.Conditions, reason)
	})
	return message
}

func (w *world) positions(whose string, want int64, read func() (int64, error)) {
	w.t.Helper()
	testkit.Eventually(w.t, timeout, func() error {
		got, err := read()
		if err == nil && got != want {
			return fmt.Errorf("%s position is %d, want %d", whose, got, want)
		}
		return err
	})
}

func (w *world) builtinPosition() (int64, error) {
	p, err := mirror.Positions(w.t.Context(), w.admin(), there)
	return p["accounts.account"][0], err
}

func (w *world) maker() *mirrormaker.Offsets {
	w.t.Helper()
	o, err := mirrormaker.NewOffsets(there, kafka.Options{Brokers: []string{w.broker.Addr()}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(o.Close)
	return o
}

func (w *world) makerPosition() (int64, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	p, err := w.maker().Positions(ctx)
	return p["accounts.account"][0], err
}

func (w *world) makerStores(topic string, position int64) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), timeout)
	defer cancel()
	if err := w.maker().Store(ctx, here, []string{topic}, mirrormaker.Positions{topic: {0: position}}, 1); err != nil {
		w.t.Fatal(err)
	}
}

// strimziMaker waits until the KafkaMirrorMaker2 is as it should be, and says that it is ready, as Strimzi does.
func (w *world) strimziMaker(check func(*unstructured.Unstructured) error) {
	w.t.Helper()
	testkit.Eventually(w.t, timeout, func() error {
		obj, err := get(w, newKafkaMirrorMaker(), "kafka", regional.MirrorMakerName(there))
		if err != nil {
			return err
		}
		return check(obj)
	})
	w.strimziSays("Ready", "")
}

func (w *world) strimziSays(condition, message string) {
	w.t.Helper()
	testkit.Eventually(w.t, timeout, func() error {
		obj, err := get(w, newKafkaMirrorMaker(), "kafka", regional.MirrorMakerName(there))
		if err != nil {
			return err
		}
		obj.Object["status"] = map[string]any{
			"observedGeneration": obj.GetGeneration(),
			"conditions":         []any{map[string]any{"type": condition, "status": "True", "reason": "Said", "message": message}},
		}
		return w.client.Status().Update(w.t.Context(), obj)
	})
}

func newKafkaMirrorMaker() *unstructured.Unstructured {
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(strimzi.Version.WithKind(strimzi.KindMirrorMaker))
	return obj
}
