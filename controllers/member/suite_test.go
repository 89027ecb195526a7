// Package member_test runs the member's controllers against a real API server and an embedded
// Kafka. Nothing runs Pods there: the tests set the statuses that a cluster would.
package member_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/controllers/member/peercerts"
	"multiactive.dev/operator/controllers/member/regionalservice"
	"multiactive.dev/operator/controllers/member/replicationlink"
	"multiactive.dev/operator/controllers/member/storelink"
	"multiactive.dev/operator/internal/agent"
	"multiactive.dev/operator/internal/desired/regional"
	desired "multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/kafkasecret"
	"multiactive.dev/operator/internal/linkindex"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/kafka/embedded"
	"multiactive.dev/operator/internal/port/store/engines"
	"multiactive.dev/operator/internal/routing"
	"multiactive.dev/operator/internal/storekeeper"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/writelog"
)

const (
	here  = "beijing"
	there = "shanghai"
	// timeout outlasts the 30 s after which topics are looked at again.
	timeout  = time.Minute
	operator = "multiactive-system"
	deployer = "deployer"
	specHash = "0123456789abcdef"
	// memberUser stands for the account multiactive-member.
	memberUser = "multiactive:member"
	appImage   = "registry.example.com/app:1"
	gateImage  = "registry.example.com/operator:1"
	kafkaImage = "registry.example.com/kafka:4.1"
)

// world is one region with its member.
type world struct {
	t      *testing.T
	client client.Client
	region *region
	writes *writelog.Log
	broker *embedded.Broker
	// admins is the access of somebody who may do everything.
	admins *rest.Config
	// time is that of the certificates of gateways.
	time *clocktesting.FakeClock
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s := testkit.StartServer(t, apiserver.Options{Name: here, Users: []apiserver.User{{Name: memberUser}}})
	testkit.InstallCRDs(t, s)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(testkit.Config(t, s, apiserver.Admin), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	broker, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	w := &world{t: t, client: c, region: newRegion(), writes: &writelog.Log{}, broker: broker, admins: testkit.Config(t, s, apiserver.Admin), time: clocktesting.NewFakeClock(time.Now())}
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: operator}})
	w.grantRoles()
	w.startMember(testkit.Config(t, s, memberUser), scheme)
	return w
}

// grantRoles gives the member the roles that it is installed with, and no others.
func (w *world) grantRoles() {
	w.t.Helper()
	root, err := binaries.ModuleRoot()
	if err != nil {
		w.t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(root, "config", "rbac", "member", "role.yaml"))
	if err != nil {
		w.t.Fatalf("%v; run make generate", err)
	}
	defer func() { _ = file.Close() }()
	decoder := yaml.NewYAMLOrJSONDecoder(file, 4096)
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: memberUser}}
	for {
		role := &rbacv1.ClusterRole{}
		if err := decoder.Decode(role); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			w.t.Fatal(err)
		}
		ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: role.Kind, Name: role.Name}
		switch role.Kind {
		case "ClusterRole":
			w.create(role, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: role.Name}, RoleRef: ref, Subjects: subjects})
		case "Role":
			meta := metav1.ObjectMeta{Namespace: role.Namespace, Name: role.Name}
			w.create(&rbacv1.Role{ObjectMeta: meta, Rules: role.Rules}, &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects})
		}
	}
}

func (w *world) startMember(access *rest.Config, scheme *runtime.Scheme) {
	w.t.Helper()
	access.Wrap(w.writes.Wrap)
	mgr, err := ctrl.NewManager(access, ctrl.Options{
		Scheme: scheme, Metrics: server.Options{BindAddress: "0"}, Logger: testr.New(w.t),
		Controller: config.Controller{SkipNameValidation: ptr.To(true)}, // each test has a member of its own
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := linkindex.Add(w.t.Context(), mgr.GetFieldIndexer()); err != nil {
		w.t.Fatal(err)
	}
	options := regional.Options{
		Region: here, OperatorNamespace: operator, AgentURL: "http://agent:8090", GatewayImage: gateImage, MirrorImage: gateImage,
		MirrorMakerImage: kafkaImage,
	}
	credentials := func(ctx context.Context, k v1alpha1.RegionKafka) (kafka.Options, error) {
		return kafkasecret.Options(ctx, mgr.GetAPIReader(), operator, k)
	}
	machine := clock.RealClock{}
	topics := regionalservice.NewTopicKeeper(credentials, machine, mgr.GetLogger())
	topics.Live, topics.Objects = mgr.GetAPIReader(), mgr.GetClient()
	canaries := replicationlink.NewCanaries(here, machine, mgr.GetLogger())
	services := &regionalservice.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Options: options, Agent: w.region, Publisher: w.region,
		Topics: topics, Canaries: canaries, Recorder: mgr.GetEventRecorder("member"), Clock: machine,
		Impersonate: func(namespace, account string) (client.Client, error) {
			c := rest.CopyConfig(mgr.GetConfig())
			c.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + namespace + ":" + account}
			return client.New(c, client.Options{Scheme: scheme})
		},
	}
	keeper := peercerts.NewKeeper()
	keeper.Client, keeper.Reader, keeper.Namespace, keeper.Region = mgr.GetClient(), mgr.GetAPIReader(), operator, here
	keeper.Agent, keeper.Clock, keeper.Lifetimes, keeper.Log = w.region, w.time, peerLifetimes, mgr.GetLogger()
	certificates := peercerts.NewReconciler(mgr.GetClient(), mgr.GetAPIReader(), keeper)
	services.PeerCertificates = certificates
	mirrors := replicationlink.NewMirrors(mgr.GetClient(), operator, machine)
	transfers := replicationlink.NewTransfers(credentials, machine, mgr.GetLogger())
	rights := replicationlink.NewRights(credentials, machine, mgr.GetLogger())
	links := &replicationlink.Reconciler{
		Mirrors: mirrors, Transfers: transfers, Rights: rights, Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Credentials: credentials, Options: options, Agent: w.region, Canaries: canaries,
	}
	stores := storekeeper.New(storekeeper.Config{
		Region: here, Clock: agent.SystemClock(), Open: engines.Open, Lease: w.region.Lease, LongestLease: time.Second, Log: mgr.GetLogger(),
	})
	services.Stores = stores
	storeLinks := storelink.New(storelink.Reconciler{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Options: options, Agent: w.region, Keepers: stores})
	fences := &storelink.Fences{Client: mgr.GetClient(), Region: here, Agent: w.region, Keepers: stores, Clock: machine, Log: mgr.GetLogger()}
	for _, err := range []error{
		mgr.Add(stores), mgr.Add(fences), storeLinks.SetupWithManager(mgr), mgr.Add(topics), mgr.Add(canaries), mgr.Add(mirrors), mgr.Add(transfers), mgr.Add(rights), services.SetupWithManager(w.t.Context(), mgr, machine, topics.Changed(), certificates.Changed(), storeLinks.Changed()), certificates.SetupWithManager(mgr), links.SetupWithManager(mgr),
	} {
		if err != nil {
			w.t.Fatal(err)
		}
	}
	w.start(mgr)
}

func (w *world) start(mgr manager.Manager) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the member ended with %v", err)
		}
	})
}

func (w *world) create(objects ...client.Object) {
	w.t.Helper()
	for _, obj := range objects {
		if err := w.client.Create(w.t.Context(), obj); err != nil {
			w.t.Fatal(err)
		}
	}
}

// namespace makes a namespace whose account deployer may write Deployments.
func (w *world) namespace(name string) {
	w.t.Helper()
	w.create(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}},
		&rbacv1.Role{
			ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "workload"},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get", "create", "patch"}}},
		})
	w.bind(name)
}

func (w *world) bind(namespace string) {
	w.t.Helper()
	w.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "workload"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "workload"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: deployer}},
	})
}

// slice is a RegionalService as the hub writes it.
func slice(namespace, name string) *v1alpha1.RegionalService {
	return &v1alpha1.RegionalService{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Finalizers: []string{desired.Finalizer}},
		Spec: v1alpha1.RegionalServiceSpec{
			Region: here, ServiceID: namespace + "-" + name, Stamp: v1alpha1.SliceStamp{Generation: 1},
			Workload: v1alpha1.WorkloadSlice{
				Type: v1alpha1.WorkloadManaged, Hash: "w1", ServiceAccountName: deployer,
				Replicas: ptr.To[int32](2), Port: 8080,
				Template: &corev1.PodTemplateSpec{
					ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"team": "accounts"}},
					Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: appImage}}},
				},
			},
			Gateway: v1alpha1.Gateway{Replicas: ptr.To[int32](1)},
			Peers: []v1alpha1.Peer{
				{Name: here, DisplayName: "北京", Endpoint: "http://127.0.0.1:1"}, {Name: there, Endpoint: "http://127.0.0.1:2"},
			},
			Ownership: []v1alpha1.OwnershipSlice{{
				Hash:    specHash,
				Regions: []v1alpha1.RegionWeight{{Name: here, Weight: 50}, {Name: there, Weight: 50}},
				Keys: []v1alpha1.PartitionKey{{Name: "phone", From: []v1alpha1.KeySource{
					{Type: v1alpha1.KeySourceHeader, Header: &v1alpha1.NamedSource{Name: "X-User-Phone"}},
				}}},
				Flows: []v1alpha1.FlowRouting{
					{Name: "login", Key: "phone", ServedBy: v1alpha1.ServedByAnyRegion, Match: []v1alpha1.RequestMatch{{Method: http.MethodPost, Path: "/v1/login"}}},
					{Name: "register", Key: "phone", ServedBy: v1alpha1.ServedByHomeRegion, Match: []v1alpha1.RequestMatch{{Method: http.MethodPost, Path: "/v1/accounts"}}},
				},
			}},
			Behaviours: []v1alpha1.FlowBehaviour{
				{Name: "login", Tier: v1alpha1.TierCore},
				{Name: "register", Tier: v1alpha1.TierNonCore, OnHomeLoss: &v1alpha1.OnHomeLoss{Action: v1alpha1.HomeLossReject}},
			},
		},
	}
}

// withTopic adds a topic, and the Kafka addresses that it needs.
func (w *world) withTopic(rs *v1alpha1.RegionalService, topic string) *v1alpha1.RegionalService {
	rs.Spec.Kafka = &v1alpha1.RegionKafka{BootstrapServers: []string{w.broker.Addr()}}
	rs.Spec.Topics = append(rs.Spec.Topics, v1alpha1.TopicSlice{
		Name: topic, DataClass: "account", Partitions: 3, ReplicationFactor: 1,
		Retention: metav1.Duration{Duration: 168 * time.Hour}, Adoption: v1alpha1.TopicCreate,
	})
	return rs
}

// get reads an object, or fails the look.
func get[T client.Object](w *world, obj T, namespace, name string) (T, error) {
	return obj, w.client.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, obj)
}

// edit changes an object as somebody at a keyboard does, on its latest version: the member may write in between.
func edit[T client.Object](w *world, obj T, namespace, name string, change func(T), options ...client.UpdateOption) {
	w.t.Helper()
	testkit.Eventually(w.t, timeout, func() error {
		got, err := get(w, obj, namespace, name)
		if err != nil {
			return err
		}
		change(got)
		return w.client.Update(w.t.Context(), got, options...)
	})
}

// condition waits until a RegionalService's condition has the status and the reason, and returns
// its message.
func (w *world) condition(namespace, name, condition string, status metav1.ConditionStatus, reason string) string {
	w.t.Helper()
	var message string
	testkit.Eventually(w.t, timeout, func() error {
		rs, err := get(w, &v1alpha1.RegionalService{}, namespace, name)
		if err != nil {
			return err
		}
		for _, c := range rs.Status.Conditions {
			if c.Type == condition {
				message = c.Message
				if c.Status == status && c.Reason == reason {
					return nil
				}
				return fmt.Errorf("%s is %s/%s (%s), want %s/%s", condition, c.Status, c.Reason, c.Message, status, reason)
			}
		}
		return fmt.Errorf("no condition %s yet", condition)
	})
	return message
}

// makeAvailable sets a Deployment's status as a cluster does that runs all of its replicas.
func (w *world) makeAvailable(namespace, name string) {
	w.t.Helper()
	testkit.Eventually(w.t, timeout, func() error {
		d, err := get(w, &appsv1.Deployment{}, namespace, name)
		if err != nil {
			return err
		}
		n := ptr.Deref(d.Spec.Replicas, 1)
		d.Status = appsv1.DeploymentStatus{
			ObservedGeneration: d.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n,
		}
		return w.client.Status().Update(w.t.Context(), d)
	})
}

// pod makes a Pod of a Deployment as a cluster does, ready or waiting for the reason.
func (w *world) pod(namespace, deployment, name, waiting string) {
	w.t.Helper()
	var d *appsv1.Deployment
	testkit.Eventually(w.t, timeout, func() (err error) {
		d, err = get(w, &appsv1.Deployment{}, namespace, deployment)
		return err
	})
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: d.Spec.Template.Labels},
		Spec: corev1.PodSpec{
			Containers:                   []corev1.Container{{Name: "app", Image: appImage}},
			AutomountServiceAccountToken: ptr.To(false),
		},
	}
	w.create(pod)
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	if waiting != "" {
		pod.Status.Phase, pod.Status.Conditions[0].Status = corev1.PodPending, corev1.ConditionFalse
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "app", Image: appImage, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: waiting}},
		}}
	}
	if err := w.client.Status().Update(w.t.Context(), pod); err != nil {
		w.t.Fatal(err)
	}
}

// service is a Service that somebody else deployed.
func service(namespace, name string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": name},
			Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
}

// region stands for the agent: what the regions agreed on, the lease, the gateways' answers.
type region struct {
	mu       sync.Mutex
	conf     ownership.Configuration
	lease    time.Duration
	acks     []agent.Ack
	reports  int64
	reported map[string]int64 // by namespace
	builds   map[string]agent.Build
	// behind: some gateway has not taken up its routing.
	behind bool
	subs   map[chan struct{}]bool
}

func newRegion() *region {
	r := &region{lease: time.Minute, builds: map[string]agent.Build{}, subs: map[chan struct{}]bool{}}
	r.conf = ownership.Configuration{
		Revision: 1, Decided: 1, Services: map[string]ownership.ServiceRecord{},
		View: ownership.View{Epoch: 1, Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{
			here: {State: ownership.RegionServing, Role: "Active"}, there: {State: ownership.RegionServing, Role: "Active"},
		}},
	}
	return r
}

// agree changes what the regions agreed on.
func (r *region) agree(change func(*ownership.Configuration)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.conf
	next.Services, next.View.Regions = maps.Clone(r.conf.Services), maps.Clone(r.conf.View.Regions)
	change(&next)
	next.Revision++
	next.Decided = next.Revision
	r.conf = next
	for sub := range r.subs {
		select {
		case sub <- struct{}{}:
		default:
		}
	}
}

// accept has the regions agree on a service.
func (r *region) accept(rs *v1alpha1.RegionalService, hash string) {
	r.agree(func(c *ownership.Configuration) {
		c.Services[rs.Spec.ServiceID] = ownership.ServiceRecord{
			UID: rs.Spec.ServiceID, Namespace: rs.Namespace, Name: rs.Name, ServiceState: ownership.ServiceState{SpecHash: hash}, PeerKey: []byte("key"),
		}
	})
}

func (r *region) setLease(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lease = d
}

// acknowledge has the gateway of the service user act on the current epoch.
func (r *region) acknowledge(namespace string) { r.ask(namespace, "") }

// refuse has it refuse the current routing.
func (r *region) refuse(namespace, why string) { r.ask(namespace, why) }

func (r *region) ask(namespace, refused string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ack := agent.Ack{Namespace: namespace, Name: "user", Gateway: "user-gateway-1", Refused: refused}
	if refused == "" {
		ack.Epoch = r.conf.View.Epoch
	}
	r.acks = slices.DeleteFunc(r.acks, func(a agent.Ack) bool {
		if a.Namespace != namespace {
			return false
		}
		if a.Refused != refused {
			r.report(namespace)
		}
		return true
	})
	r.acks = append(r.acks, ack)
}

// ActsOn implements regionalservice.Agent.
func (r *region) ActsOn(namespace, _ string) (int64, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.acks {
		if a.Namespace == namespace {
			return a.Epoch, 0
		}
	}
	return 0, 0
}

// ReportedSince implements regionalservice.Agent.
func (r *region) ReportedSince(since int64) []agent.Reporting {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []agent.Reporting
	for namespace, at := range r.reported {
		if at > since {
			out = append(out, agent.Reporting{Namespace: namespace, Name: "user"})
		}
	}
	return out
}

// Reports implements regionalservice.Agent.
func (r *region) Reports() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reports
}

// routing is what the gateways of the service user get now.
func (r *region) routing(namespace string) (routing.Config, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	build := r.builds[namespace+"/user"]
	if build == nil {
		return routing.Config{}, false
	}
	return build(r.conf), true
}

func (r *region) Snapshot() (ownership.Configuration, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conf, true
}

func (r *region) Lease() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lease
}

func (r *region) AcksOf(namespace, name string) []agent.Ack {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.acks), func(a agent.Ack) bool { return a.Namespace != namespace || a.Name != name })
}

func (r *region) Subscribe() (<-chan struct{}, func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := make(chan struct{}, 1)
	c <- struct{}{}
	r.subs[c] = true
	return c, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.subs, c)
	}
}

func (r *region) Publish(namespace, name string, build agent.Build) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.builds[namespace+"/"+name] = build
	return nil
}

func (r *region) Withdraw(namespace, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.builds, namespace+"/"+name)
}

// wrote counts the member's writes of each object in a namespace.
func (w *world) wrote(namespace string) map[string]int {
	return w.writes.Count(func(write string) (string, bool) {
		_, what, is := strings.Cut(write, "/namespaces/"+namespace+"/")
		return what, is
	})
}
