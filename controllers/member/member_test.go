package member_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/testkit"
)

// TestMember shares one region among the cases; each has a namespace of its own.
func TestMember(t *testing.T) {
	w := newWorld(t)
	for name, test := range map[string]func(*world){
		"a managed workload, routed":         managed,
		"an account without roles":           forbidden,
		"objects of others are left alone":   notOurs,
		"a Secret of others is left alone":   peersNotOurs,
		"the hub hears who takes requests":   peersAccepted,
		"changes by hand are put back":       drift,
		"a service is few writes":            fewWrites,
		"a Service deployed by others":       serviceRef,
		"a Deployment deployed by others":    deploymentRef,
		"a consumer beside others' Service":  besideService,
		"an earlier slice is not acted on":   staleSlice,
		"the older service has the topic":    olderClaims,
		"a refused template":                 invalid,
		"an image that cannot be pulled":     imagePull,
		"a hash that is not here":            missingHash,
		"OwnerOnly follows the owner":        ownerOnly,
		"two services claim a topic":         topicConflict,
		"brokers that do not answer":         brokersUnreachable,
		"a topic's drift is repaired":        topicDrift,
		"topics through Strimzi":             throughStrimzi,
		"another region's slice":             otherRegion,
		"a declaration that gets smaller":    pruned,
		"replicas are left to an autoscaler": autoscaled,
		"deletion takes down what was made":  deleted,
		"a lost region degrades and returns": degraded,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := *w
			own.t = t
			test(&own)
		})
	}
}

func managed(w *world) {
	const ns = "managed"
	w.namespace(ns)
	rs := slice(ns, "user")
	w.region.accept(rs, specHash)
	w.create(rs)
	w.makeAvailable(ns, "user")
	w.makeAvailable(ns, "user-gateway")
	w.pod(ns, "user-gateway", "user-gateway-1", "")
	w.condition(ns, "user", v1alpha1.ConditionRouted, metav1.ConditionFalse, v1alpha1.ReasonGatewaysBehind)
	w.region.acknowledge(ns)
	w.condition(ns, "user", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared)
	w.region.refuse(ns, "upstream: wrong")
	message := w.condition(ns, "user", v1alpha1.ConditionRouted, metav1.ConditionFalse, v1alpha1.ReasonGatewaysRefuse)
	if !strings.Contains(message, "user-gateway-1: upstream: wrong") {
		w.t.Errorf("message %q does not say which gateway refuses the routing, and why", message)
	}
	w.region.acknowledge(ns)
	w.condition(ns, "user", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared)

	got, err := get(w, &v1alpha1.RegionalService{}, ns, "user")
	if err != nil {
		w.t.Fatal(err)
	}
	if got.Status.WorkloadHash != "w1" || got.Status.Epoch < 1 || got.Status.OwnershipHash != specHash || len(got.Status.Features) == 0 {
		w.t.Errorf("status is %+v", got.Status)
	}
	d, err := get(w, &appsv1.Deployment{}, ns, "user")
	if err != nil {
		w.t.Fatal(err)
	}
	if ptr.Deref(d.Spec.Replicas, 0) != 2 || d.Spec.Template.Labels["team"] != "accounts" || d.OwnerReferences[0].UID != got.UID {
		w.t.Errorf("Deployment is %+v", d)
	}
	for _, f := range d.ManagedFields {
		if f.Manager != "multiactive-member" && f.Subresource == "" {
			w.t.Errorf("field manager %s wrote the Deployment", f.Manager)
		}
	}
	svc, err := get(w, &corev1.Service{}, ns, "user")
	if err != nil {
		w.t.Fatal(err)
	}
	config, ok := w.region.routing(ns)
	if want := "http://" + svc.Spec.ClusterIP + ":8080"; !ok || config.Upstream != want || config.Closed {
		w.t.Errorf("routing to %q, closed %t (%s); want to %q, open", config.Upstream, config.Closed, config.ClosedReason, want)
	}
	for _, obj := range []client.Object{
		&policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "user"}},
		&networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "user"}}, &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "user-gateway"}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "user-flags"}}, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "user-gateway"}},
	} {
		if err := w.client.Get(w.t.Context(), client.ObjectKey{Namespace: ns, Name: obj.GetName()}, obj); err != nil {
			w.t.Errorf("%T: %v", obj, err)
		}
	}
}

func forbidden(w *world) {
	const ns = "forbidden"
	w.namespace(ns)
	rs := slice(ns, "user")
	rs.Spec.Workload.ServiceAccountName = "stranger"
	w.region.accept(rs, specHash)
	w.create(rs)
	message := w.condition(ns, "user", v1alpha1.ConditionWorkloadAvailable, metav1.ConditionFalse, v1alpha1.ReasonForbidden)
	for _, want := range []string{"stranger", "Deployment user", "create rolebinding", "--serviceaccount=forbidden:stranger"} {
		if !strings.Contains(message, want) {
			w.t.Errorf("message %q does not say %q", message, want)
		}
	}
	// The rest goes on: users are routed although the workload is not there.
	testkit.Eventually(w.t, timeout, func() error {
		if _, ok := w.region.routing(ns); !ok {
			return fmt.Errorf("no routing")
		}
		_, err := get(w, &appsv1.Deployment{}, ns, "user-gateway")
		return err
	})
	if _, err := get(w, &appsv1.Deployment{}, ns, "user"); !apierrors.IsNotFound(err) {
		w.t.Errorf("the Deployment was written in spite of RBAC: %v", err)
	}
}

func notOurs(w *world) {
	const ns = "notours"
	w.namespace(ns)
	before := service(ns, "user")
	w.create(before)
	w.create(slice(ns, "user"))
	message := w.condition(ns, "user", v1alpha1.ConditionWorkloadAvailable, metav1.ConditionFalse, v1alpha1.ReasonNotOurs)
	if !strings.Contains(message, "Service notours/user exists") {
		w.t.Errorf("message %q does not name the Service", message)
	}
	after, err := get(w, &corev1.Service{}, ns, "user")
	if err != nil || after.ResourceVersion != before.ResourceVersion {
		w.t.Errorf("the Service was changed: %v, %v", after, err)
	}
}

func drift(w *world) {
	const ns = "drift"
	w.namespace(ns)
	w.create(slice(ns, "user"))
	w.makeAvailable(ns, "user")
	edit(w, &appsv1.Deployment{}, ns, "user", func(d *appsv1.Deployment) {
		d.Spec.Replicas = ptr.To[int32](7)
		metav1.SetMetaDataAnnotation(&d.ObjectMeta, "example.com/note", "kept")
	}, client.FieldOwner("kubectl-edit"))
	testkit.Eventually(w.t, timeout, func() error {
		d, err := get(w, &appsv1.Deployment{}, ns, "user")
		if err != nil {
			return err
		}
		if ptr.Deref(d.Spec.Replicas, 0) != 2 || d.Annotations["example.com/note"] != "kept" {
			return fmt.Errorf("replicas %d, annotations %v; want 2 and the note", *d.Spec.Replicas, d.Annotations)
		}
		return nil
	})
	if err := w.client.Delete(w.t.Context(), service(ns, "user-gateway")); err != nil {
		w.t.Fatal(err)
	}
	testkit.Eventually(w.t, timeout, func() error {
		_, err := get(w, &corev1.Service{}, ns, "user-gateway")
		return err
	})
}

func serviceRef(w *world) {
	const ns = "serviceref"
	w.namespace(ns)
	rs := slice(ns, "user")
	rs.Spec.Workload = v1alpha1.WorkloadSlice{Type: v1alpha1.WorkloadServiceRef, Hash: "w1", ServiceRef: &v1alpha1.ServiceReference{Name: "legacy"}}
	w.region.accept(rs, specHash)
	w.create(rs)
	w.condition(ns, "user", v1alpha1.ConditionWorkloadAvailable, metav1.ConditionFalse, v1alpha1.ReasonNotFound)
	svc := service(ns, "legacy")
	w.create(svc)
	w.condition(ns, "user", v1alpha1.ConditionWorkloadAvailable, metav1.ConditionTrue, v1alpha1.ReasonNotChecked)
	testkit.Eventually(w.t, timeout, func() error {
		config, _ := w.region.routing(ns)
		if want := "http://" + svc.Spec.ClusterIP + ":80"; config.Upstream != want {
			return fmt.Errorf("upstream %q, want %q", config.Upstream, want)
		}
		return nil
	})
	for _, obj := range []client.Object{&appsv1.Deployment{}, &corev1.Service{}} {
		if err := w.client.Get(w.t.Context(), client.ObjectKey{Namespace: ns, Name: "user"}, obj); !apierrors.IsNotFound(err) {
			w.t.Errorf("%T user was written for a Service that others deploy: %v", obj, err)
		}
	}
}

// fewWrites: until a service is Ready every object is written once, and its status no oftener than it has stages: with a
// thousand services each write more is a thousand.
func fewWrites(w *world) {
	const ns = "fewwrites"
	w.namespace(ns)
	w.create(service(ns, "legacy"))
	rs := slice(ns, "user")
	rs.Spec.Workload = v1alpha1.WorkloadSlice{Type: v1alpha1.WorkloadServiceRef, Hash: "w1", ServiceRef: &v1alpha1.ServiceReference{Name: "legacy"}}
	w.region.accept(rs, specHash)
	began := time.Now()
	w.create(rs)
	w.region.acknowledge(ns) // a gateway is ready when it has routing
	w.pod(ns, "user-gateway", "user-gateway-1", "")
	w.makeAvailable(ns, "user-gateway")
	w.condition(ns, "user", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared)
	got := w.wrote(ns)
	// It is recorded with what there is to tell then, and is Ready; in between it is told each second how far it is.
	const status, most = "regionalservices/user/status", 2
	if n, seconds := got[status], int(time.Since(began)/time.Second); n < 2 || n > most+seconds {
		w.t.Errorf("the status was written %d times in %d s, want 2, and once a second", n, seconds)
	}
	delete(got, status)
	want := map[string]int{"deployments/user-gateway": 1, "services/user-gateway": 1, "networkpolicies/user-gateway": 1, "configmaps/user-flags": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("written (-want +got)\n%s", diff)
	}
}

func deploymentRef(w *world) {
	const ns = "deploymentref"
	w.namespace(ns)
	rs := slice(ns, "user")
	rs.Spec.Workload = v1alpha1.WorkloadSlice{
		Type: v1alpha1.WorkloadDeploymentRef, Hash: "w1", Port: 9000, DeploymentRef: &v1alpha1.LocalObjectReference{Name: "legacy"},
	}
	w.create(rs)
	w.condition(ns, "user", v1alpha1.ConditionWorkloadAvailable, metav1.ConditionFalse, v1alpha1.ReasonNotFound)
	labels := map[string]string{"app": "legacy"}
	w.create(&appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "legacy"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: appImage}}}},
		},
	})
	w.makeAvailable(ns, "legacy")
	w.condition(ns, "user", v1alpha1.ConditionWorkloadAvailable, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared)
	svc, err := get(w, &corev1.Service{}, ns, "user")
	if err != nil || svc.Spec.Selector["app"] != "legacy" || len(svc.Spec.Selector) != 1 {
		w.t.Errorf("Service selects %v (%v), want the Pods of the referenced Deployment", svc.Spec.Selector, err)
	}
}

func invalid(w *world) {
	const ns = "invalid"
	w.namespace(ns)
	rs := slice(ns, "user")
	rs.Spec.Workload.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	w.create(rs)
	message := w.condition(ns, "user", v1alpha1.ConditionWorkloadAvailable, metav1.ConditionFalse, v1alpha1.ReasonInvalidObject)
	if !strings.Contains(message, "restartPolicy") {
		w.t.Errorf("message %q does not name the field", message)
	}
}

func imagePull(w *world) {
	const ns = "imagepull"
	w.namespace(ns)
	w.create(slice(ns, "user"))
	w.pod(ns, "user", "user-1", "ImagePullBackOff")
	message := w.condition(ns, "user", v1alpha1.ConditionWorkloadAvailable, metav1.ConditionFalse, v1alpha1.ReasonImagePull)
	if !strings.Contains(message, appImage) {
		w.t.Errorf("message %q does not name the image", message)
	}
}

func missingHash(w *world) {
	const ns = "missinghash"
	w.namespace(ns)
	rs := slice(ns, "user")
	w.region.accept(rs, "fedcba9876543210")
	w.create(rs)
	message := w.condition(ns, "user", v1alpha1.ConditionRouted, metav1.ConditionFalse, v1alpha1.ReasonOwnershipChangePending)
	if !strings.Contains(message, "fedcba9876543210") {
		w.t.Errorf("message %q does not name the spec", message)
	}
	testkit.Eventually(w.t, timeout, func() error {
		if config, ok := w.region.routing(ns); !ok || !config.Closed {
			return fmt.Errorf("routing is published %t, closed %t; want the service closed", ok, config.Closed)
		}
		return nil
	})
}

func ownerOnly(w *world) {
	const ns = "owneronly"
	w.namespace(ns)
	rs := slice(ns, "user")
	template := rs.Spec.Workload.Template.DeepCopy()
	rs.Spec.Workload.Additional = []v1alpha1.AdditionalWorkload{
		{Name: "sync", Activation: v1alpha1.ActivationEveryRegion, Template: template},
		{Name: "cron", Activation: v1alpha1.ActivationOwnerOnly, Replicas: ptr.To[int32](1), Template: template},
	}
	w.region.accept(rs, specHash)
	w.create(rs)
	w.replicas(ns, "user-sync", 1)
	w.replicas(ns, "user-cron", 1)
	w.region.agree(func(c *ownership.Configuration) {
		r := c.Services[rs.Spec.ServiceID]
		r.Excluded = []string{here}
		c.Services[rs.Spec.ServiceID] = r
	})
	w.replicas(ns, "user-cron", 0)
	w.region.agree(func(c *ownership.Configuration) {
		r := c.Services[rs.Spec.ServiceID]
		r.Excluded = nil
		c.Services[rs.Spec.ServiceID] = r
	})
	w.replicas(ns, "user-cron", 1)
	w.replicas(ns, "user-sync", 1)
}

func (w *world) replicas(namespace, name string, want int32) {
	w.t.Helper()
	testkit.Eventually(w.t, timeout, func() error {
		d, err := get(w, &appsv1.Deployment{}, namespace, name)
		if err != nil {
			return err
		}
		if got := ptr.Deref(d.Spec.Replicas, 1); got != want {
			return fmt.Errorf("%s has %d replicas, want %d", name, got, want)
		}
		return nil
	})
}

func (w *world) admin() *kafka.Client {
	w.t.Helper()
	admin, err := kafka.NewClient(kafka.Options{Brokers: []string{w.broker.Addr()}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(admin.Close)
	return admin
}

func topicConflict(w *world) {
	const ns = "conflict"
	w.namespace(ns)
	// Both may be made within one second; the order of their names then decides.
	w.create(w.withTopic(slice(ns, "first"), "conflict.account"))
	w.condition(ns, "first", v1alpha1.ConditionTopicsReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared)
	w.create(w.withTopic(slice(ns, "second"), "conflict.account"))
	message := w.condition(ns, "second", v1alpha1.ConditionTopicsReady, metav1.ConditionFalse, v1alpha1.ReasonTopicConflict)
	if !strings.Contains(message, "conflict/first") {
		w.t.Errorf("message %q does not name the other service", message)
	}
	w.condition(ns, "first", v1alpha1.ConditionTopicsReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared)
}

func brokersUnreachable(w *world) {
	const ns = "unreachable"
	w.namespace(ns)
	rs := w.withTopic(slice(ns, "user"), "unreachable.account")
	dead := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(w.t, "127.0.0.1"))
	rs.Spec.Kafka.BootstrapServers = []string{dead}
	w.create(rs)
	// The workload does not wait for Kafka.
	w.makeAvailable(ns, "user")
	w.condition(ns, "user", v1alpha1.ConditionWorkloadAvailable, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared)
	message := w.condition(ns, "user", v1alpha1.ConditionTopicsReady, metav1.ConditionFalse, v1alpha1.ReasonBrokersUnreachable)
	if !strings.Contains(message, dead) {
		w.t.Errorf("message %q does not name the broker", message)
	}
}

func topicDrift(w *world) {
	const ns, topic = "topicdrift", "topicdrift.account"
	w.namespace(ns)
	w.create(w.withTopic(slice(ns, "user"), topic))
	w.condition(ns, "user", v1alpha1.ConditionTopicsReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared)
	admin := w.admin()
	if err := admin.AlterConfigs(w.t.Context(), topic, map[string]string{"retention.ms": "60000"}); err != nil {
		w.t.Fatal(err)
	}
	// A new declaration is looked at immediately; drift alone, within half a minute.
	edit(w, &v1alpha1.RegionalService{}, ns, "user", func(rs *v1alpha1.RegionalService) { rs.Spec.Topics[0].Partitions = 4 })
	testkit.Eventually(w.t, timeout, func() error {
		topics, err := admin.Describe(w.t.Context(), topic)
		if err != nil {
			return err
		}
		if got := topics[topic]; got.Configs["retention.ms"] != "604800000" || got.Partitions != 4 {
			return fmt.Errorf("topic is %+v, want a week's retention and 4 partitions", got)
		}
		return nil
	})
}

func otherRegion(w *world) {
	const ns = "otherregion"
	w.namespace(ns)
	rs := slice(ns, "user")
	rs.Spec.Region = there
	w.create(rs)
	w.create(slice(ns, "mine"))
	w.condition(ns, "mine", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonProgressing)
	got, err := get(w, &v1alpha1.RegionalService{}, ns, "user")
	if err != nil || len(got.Status.Conditions) > 0 || got.Status.ActedStamp != nil || got.ResourceVersion != rs.ResourceVersion {
		w.t.Errorf("another region's slice was touched: %+v, %v", got, err)
	}
}

func pruned(w *world) {
	const ns = "pruned"
	w.namespace(ns)
	rs := slice(ns, "user")
	rs.Spec.Workload.Additional = []v1alpha1.AdditionalWorkload{{Name: "sync", Template: rs.Spec.Workload.Template.DeepCopy()}}
	w.create(rs)
	w.replicas(ns, "user-sync", 1)
	edit(w, &v1alpha1.RegionalService{}, ns, "user", func(rs *v1alpha1.RegionalService) { rs.Spec.Workload.Additional = nil })
	testkit.Eventually(w.t, timeout, func() error {
		if _, err := get(w, &appsv1.Deployment{}, ns, "user-sync"); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the additional workload is still there: %w", err)
		}
		return nil
	})
	w.replicas(ns, "user", 2)
}

func deleted(w *world) {
	const ns, topic = "deleted", "deleted.account"
	w.namespace(ns)
	foreign := service(ns, "bystander")
	w.create(foreign)
	rs := w.withTopic(slice(ns, "user"), topic)
	rs.Spec.Peers[1].Kafka = &v1alpha1.RegionKafka{BootstrapServers: []string{"127.0.0.1:1"}}
	w.create(rs)
	w.condition(ns, "user", v1alpha1.ConditionTopicsReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared)
	link := topic + "-from-" + there
	testkit.Eventually(w.t, timeout, func() error {
		_, err := get(w, &v1alpha1.ReplicationLink{}, "", link)
		return err
	})
	if err := w.client.Delete(w.t.Context(), rs); err != nil {
		w.t.Fatal(err)
	}
	testkit.Eventually(w.t, timeout, func() error {
		if _, err := get(w, &v1alpha1.RegionalService{}, ns, "user"); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the regional service is still there: %w", err)
		}
		if _, ok := w.region.routing(ns); ok {
			return fmt.Errorf("still routed")
		}
		for _, list := range []client.ObjectList{&appsv1.DeploymentList{}, &policyv1.PodDisruptionBudgetList{}, &networkingv1.NetworkPolicyList{}} {
			if err := w.client.List(w.t.Context(), list, client.InNamespace(ns)); err != nil {
				return err
			}
			if n := count(list); n > 0 {
				return fmt.Errorf("%T has still %d objects", list, n)
			}
		}
		if _, err := get(w, &v1alpha1.ReplicationLink{}, "", link); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the link is still there: %w", err)
		}
		return nil
	})
	if _, err := get(w, &corev1.Service{}, ns, "bystander"); err != nil {
		w.t.Errorf("another's Service is gone: %v", err)
	}
	topics, err := w.admin().Describe(w.t.Context(), topic)
	if err != nil || !topics[topic].Exists {
		w.t.Errorf("the topic is gone with its service: %v, %v", topics, err)
	}
}

func count(list client.ObjectList) int {
	switch l := list.(type) {
	case *appsv1.DeploymentList:
		return len(l.Items)
	case *policyv1.PodDisruptionBudgetList:
		return len(l.Items)
	case *networkingv1.NetworkPolicyList:
		return len(l.Items)
	}
	return -1
}

func degraded(w *world) {
	const ns = "degraded"
	w.namespace(ns)
	rs := slice(ns, "user")
	// A region of its own, so that the other cases do not see it lost.
	rs.Spec.Peers[1].Name, rs.Spec.Ownership[0].Regions[1].Name = "shenzhen", "shenzhen"
	w.region.agree(func(c *ownership.Configuration) {
		c.View.Regions["shenzhen"] = ownership.RegionRecord{State: ownership.RegionServing}
	})
	w.region.accept(rs, specHash)
	w.create(rs)
	w.flag("register", "off")
	w.region.agree(func(c *ownership.Configuration) {
		c.View.Regions["shenzhen"] = ownership.RegionRecord{State: ownership.RegionLost, LostAt: ptr.To(time.Now()), LostEpoch: 2, Unshipped: true}
	})
	w.flag("register", "on")
	w.flag("login", "off")
	testkit.Eventually(w.t, timeout, func() error {
		config, _ := w.region.routing(ns)
		if len(config.Flows) != 2 || !config.Flows[1].Degraded || config.Flows[0].Degraded {
			return fmt.Errorf("flows are routed as %+v, want register alone degraded", config.Flows)
		}
		return nil
	})
	w.region.agree(func(c *ownership.Configuration) {
		c.View.Regions["shenzhen"] = ownership.RegionRecord{State: ownership.RegionServing}
	})
	w.flag("register", "off")
}

// flag waits until a flow's flag in the case of a lost region has the default variant.
func (w *world) flag(flag, variant string) {
	w.t.Helper()
	testkit.Eventually(w.t, timeout, func() error {
		c, err := get(w, &corev1.ConfigMap{}, "degraded", "user-flags")
		if err != nil {
			return err
		}
		_, rest, found := strings.Cut(c.Data["flags.json"], `"degraded-`+flag+`": {`)
		if body, _, _ := strings.Cut(rest, `"defaultVariant": "`+variant+`"`); !found || strings.Contains(body, "defaultVariant") {
			return fmt.Errorf("flags are %s; want %s %s", c.Data["flags.json"], flag, variant)
		}
		return nil
	})
}

// besideService runs an additional workload beside a Service that others deploy, as the service's account.
func besideService(w *world) {
	const ns = "beside"
	w.namespace(ns)
	w.create(service(ns, "legacy"))
	rs := slice(ns, "user")
	template := rs.Spec.Workload.Template.DeepCopy()
	rs.Spec.Workload = v1alpha1.WorkloadSlice{
		Type: v1alpha1.WorkloadServiceRef, Hash: "w1", ServiceRef: &v1alpha1.ServiceReference{Name: "legacy"}, ServiceAccountName: deployer,
		Additional: []v1alpha1.AdditionalWorkload{{Name: "sync", Activation: v1alpha1.ActivationEveryRegion, Template: template}},
	}
	w.create(rs)
	w.replicas(ns, "user-sync", 1)
	w.condition(ns, "user", v1alpha1.ConditionWorkloadAvailable, metav1.ConditionFalse, v1alpha1.ReasonProgressing)
	w.makeAvailable(ns, "user-sync")
	w.condition(ns, "user", v1alpha1.ConditionWorkloadAvailable, metav1.ConditionTrue, v1alpha1.ReasonNotChecked)
}

// staleSlice writes a slice as a hub does that was restored from a backup.
func staleSlice(w *world) {
	const ns = "stale"
	w.namespace(ns)
	rs := slice(ns, "user")
	rs.Spec.Stamp.Generation = 7
	w.create(rs)
	w.replicas(ns, "user", 2)
	restamp := func(generation int64, service string, replicas int32) {
		w.t.Helper()
		edit(w, &v1alpha1.RegionalService{}, ns, "user", func(rs *v1alpha1.RegionalService) {
			rs.Spec.Stamp.Generation, rs.Spec.ServiceID, rs.Spec.Workload.Replicas = generation, service, ptr.To(replicas)
		})
	}
	restamp(6, rs.Spec.ServiceID, 5)
	message := w.condition(ns, "user", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonStaleSlice)
	if !strings.Contains(message, "generation 7") || !strings.Contains(message, "--subresource=status") {
		w.t.Errorf("message %q does not say what is acted on, or what to do", message)
	}
	w.replicas(ns, "user", 2)
	restamp(8, rs.Spec.ServiceID, 3)
	w.replicas(ns, "user", 3)
	restamp(1, "declared-anew", 4)
	w.replicas(ns, "user", 4)
}

// olderClaims has the newer service's slice come first: what counts is when the services were made.
func olderClaims(w *world) {
	const ns = "older"
	w.namespace(ns)
	day := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	newer, older := slice(ns, "newer"), slice(ns, "older")
	newer.Spec.ServiceCreatedAt, older.Spec.ServiceCreatedAt = metav1.NewTime(day.Add(time.Hour)), metav1.NewTime(day)
	w.create(w.withTopic(newer, "older.account"))
	w.condition(ns, "newer", v1alpha1.ConditionTopicsReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared)
	w.create(w.withTopic(older, "older.account"))
	w.condition(ns, "older", v1alpha1.ConditionTopicsReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared)
	message := w.condition(ns, "newer", v1alpha1.ConditionTopicsReady, metav1.ConditionFalse, v1alpha1.ReasonTopicConflict)
	if !strings.Contains(message, "older/older") {
		w.t.Errorf("message %q does not name the service that has the topic", message)
	}
}
