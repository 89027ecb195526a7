package member_test

import (
	"errors"
	"regexp"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/redis"
)

var lossToken = regexp.MustCompile(regexp.QuoteMeta(regional.AnnotationAcceptLoss) + `=([0-9a-f]+)`)

// TestLossIsAccepted: a Redis here with keys of its own becomes a replica of the one there when a person names on the
// link what it will lose, and not before: no other value does.
func TestLossIsAccepted(t *testing.T) {
	w := newWorld(t)
	const ns = "sessions"
	w.namespace(ns)
	rs := slice(ns, "user")
	s := v1alpha1.StoreSlice{
		Name: storeName, StoreID: "d-1", Generation: 1, Engine: v1alpha1.EngineRedis, Management: v1alpha1.StoreManaged, ManageSettings: v1alpha1.ChoiceYes,
		Topology:             v1alpha1.StoreTopology{Type: v1alpha1.TopologyPrimaryReplica, Primary: there},
		ReplicationSecretRef: &v1alpha1.SecretReference{Name: "replication"},
		Classes:              []v1alpha1.StoreClass{{Name: "order", Tables: []string{"order:*"}}},
	}
	servers := map[string]*redis.Server{}
	for _, region := range []string{here, there} {
		server := redis.Run(t, redis.Options{Name: region})
		servers[region] = server
		client := server.Client("default", redis.Password)
		t.Cleanup(func() { _ = client.Close() })
		if err := client.Set(t.Context(), "order:"+region, "1", 0).Err(); err != nil {
			t.Fatal(err)
		}
		s.Endpoints = append(s.Endpoints, v1alpha1.StoreEndpoint{Region: region, Address: server.Addr(), SecretRef: v1alpha1.SecretReference{Name: "admin"}})
	}
	rs.Spec.Stores = []v1alpha1.StoreSlice{s}
	for secret, user := range map[string]string{"admin": "default", "replication": "replica"} {
		w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operator, Name: secret}, StringData: map[string]string{
			regional.SecretKeyUser: user, regional.SecretKeyPassword: redis.Password,
		}})
	}
	otherMember(t, rs, store.Options{
		Admin: store.Credentials{User: "default", Password: redis.Password}, Replication: store.Credentials{User: "replica", Password: redis.Password},
	})
	w.region.accept(rs, specHash)
	w.create(rs)

	name := regional.StoreLinkName(storeName, there)
	// What is said changes as long as the server here may still be written to.
	told := func() string {
		found := lossToken.FindStringSubmatch(w.link(name, v1alpha1.ConditionConfigured, metav1.ConditionFalse, v1alpha1.ReasonBootstrapRequired))
		if found == nil {
			t.Fatal("the message names no annotation")
		}
		return found[1]
	}
	client := servers[here].Client("default", redis.Password)
	defer func() { _ = client.Close() }()
	has := func(key string) bool {
		n, err := client.Exists(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		return n == 1
	}
	annotate := func(value string) {
		edit(w, &v1alpha1.ReplicationLink{}, "", name, func(l *v1alpha1.ReplicationLink) {
			l.Annotations[regional.AnnotationAcceptLoss] = value
		})
	}
	annotate("0" + told())
	testkit.Consistently(t, 5*time.Second, func() error {
		if !has("order:" + here) {
			return errors.New("a key was lost by a value that names something else")
		}
		return nil
	})
	token := told()
	annotate(token)
	w.link(name, v1alpha1.ConditionStreaming, metav1.ConditionTrue, v1alpha1.ReasonStreaming)
	testkit.Eventually(t, timeout, func() error {
		if has("order:"+here) || !has("order:"+there) {
			return errors.New("the server here still has its own keys, or none of the one there")
		}
		return nil
	})
}
