// Package webhook_test has a real API server ask the hub's webhook, with the configuration and the rights that are
// installed.
package webhook_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	admission "sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/controllers/hub/webhookcerts"
	"multiactive.dev/operator/internal/ownca"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/webhook"
)

const (
	namespace = "multiactive-system"
	name      = "multiactive-webhook"
	host      = "localhost"
	hub       = "system:serviceaccount:" + namespace + ":multiactive-hub"
	soon      = 30 * time.Second
)

func init() { ctrl.SetLogger(logr.Discard()) }

// world is an API server and replicas of the hub's webhook.
type world struct {
	*testing.T
	scheme *runtime.Scheme
	api    *apiserver.Server
	root   string
	client.Client

	mu       sync.Mutex
	warnings []string
}

// HandleWarningHeaderWithContext keeps what kubectl would print.
func (w *world) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.warnings = append(w.warnings, text)
}

// warned returns the warnings since it was last asked.
func (w *world) warned() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.warnings = nil }()
	return w.warnings
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, scheme: runtime.NewScheme()}
	must(t, clientgoscheme.AddToScheme(w.scheme))
	must(t, v1alpha1.AddToScheme(w.scheme))
	w.api = testkit.StartServer(t, apiserver.Options{Users: []apiserver.User{{Name: hub}}})
	testkit.InstallCRDs(t, w.api)
	root, err := binaries.ModuleRoot()
	must(t, err)
	w.root = root
	admin := testkit.Config(t, w.api, apiserver.Admin)
	admin.WarningHandlerWithContext = w
	w.Client, err = client.New(admin, client.Options{Scheme: w.scheme})
	must(t, err)
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "accounts"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}},
	} {
		must(t, w.Create(t.Context(), o))
	}
	for _, file := range []string{"config/rbac/hub/role.yaml", "config/webhook/rbac.yaml"} {
		w.grant(file)
	}
	return w
}

// grant gives the hub's user what a file of roles lists.
func (w *world) grant(file string) {
	w.Helper()
	content, err := os.ReadFile(filepath.Join(w.root, file))
	must(w.T, err)
	subject := []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: hub}}
	for document := range strings.SplitSeq(string(content), "\n---\n") {
		var kind metav1.TypeMeta
		must(w.T, yaml.Unmarshal([]byte(document), &kind))
		meta := metav1.ObjectMeta{GenerateName: "hub-", Namespace: namespace}
		switch kind.Kind {
		case "Role":
			var role rbacv1.Role
			must(w.T, yaml.Unmarshal([]byte(document), &role))
			role.Namespace = namespace
			must(w.T, w.Create(w.Context(), &role))
			must(w.T, w.Create(w.Context(), &rbacv1.RoleBinding{ObjectMeta: meta, Subjects: subject, RoleRef: rbacv1.RoleRef{Kind: kind.Kind, Name: role.Name}}))
		case "ClusterRole":
			var role rbacv1.ClusterRole
			must(w.T, yaml.Unmarshal([]byte(document), &role))
			must(w.T, w.Create(w.Context(), &role))
			meta.Namespace = ""
			must(w.T, w.Create(w.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: meta, Subjects: subject, RoleRef: rbacv1.RoleRef{Kind: kind.Kind, Name: role.Name}}))
		}
	}
}

// configure installs what is installed, with the address of a process in place of a Service.
func (w *world) configure(port int) {
	w.Helper()
	content, err := os.ReadFile(filepath.Join(w.root, "config", "webhook", "webhook.yaml"))
	must(w.T, err)
	var c admissionv1.ValidatingWebhookConfiguration
	must(w.T, yaml.UnmarshalStrict(content, &c))
	for i := range c.Webhooks {
		path := *c.Webhooks[i].ClientConfig.Service.Path
		c.Webhooks[i].ClientConfig = admissionv1.WebhookClientConfig{URL: ptr.To(fmt.Sprintf("https://%s:%d%s", host, port, path))}
	}
	must(w.T, w.Create(w.Context(), &c))
}

// serve runs a replica of the hub's webhook until the test ends.
func (w *world) serve(clock *clocktesting.FakePassiveClock, port int) *webhookcerts.Reconciler {
	w.Helper()
	certs := &webhookcerts.Reconciler{Clock: clock, Options: webhookcerts.Options{
		Namespace: namespace, Secret: name, Configuration: "multiactive", Host: host,
		Lifetimes: ownca.Lifetimes{Certificate: ownca.DefaultCertificate, Authority: ownca.DefaultAuthority},
	}}
	mgr, err := ctrl.NewManager(testkit.Config(w.T, w.api, hub), ctrl.Options{
		Scheme: w.scheme, Metrics: server.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: ptr.To(true)},
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Namespaces: map[string]cache.Config{namespace: {}}},
			&admissionv1.ValidatingWebhookConfiguration{}: {Field: fields.OneTermEqualSelector("metadata.name", "multiactive")},
		}},
		WebhookServer: admission.NewServer(admission.Options{Host: "127.0.0.1", Port: port, TLSOpts: []func(*tls.Config){
			func(c *tls.Config) { c.GetCertificate = certs.GetCertificate },
		}}),
	})
	must(w.T, err)
	certs.Client = mgr.GetClient()
	must(w.T, certs.SetupWithManager(mgr))
	must(w.T, (&webhook.Design{Reader: mgr.GetClient()}).SetupWithManager(mgr))
	ctx, cancel := context.WithCancel(context.Background()) // outlives t.Context, which ends before Cleanup
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	w.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.Errorf("a replica ended with: %v", err)
		}
	})
	return certs
}

// example is a design without errors.
func (w *world) example() *v1alpha1.MultiActiveService {
	w.Helper()
	content, err := os.ReadFile(filepath.Join(w.root, "examples", "user", "multiactiveservice.yaml"))
	must(w.T, err)
	var mas v1alpha1.MultiActiveService
	must(w.T, yaml.UnmarshalStrict(content, &mas))
	mas.Namespace = "accounts"
	return &mas
}

// spoil makes a core flow depend on one that is not: MA004.
func spoil(t *testing.T, mas *v1alpha1.MultiActiveService) {
	t.Helper()
	core := slices.IndexFunc(mas.Spec.Flows, func(f v1alpha1.Flow) bool { return f.Tier == v1alpha1.TierCore })
	other := slices.IndexFunc(mas.Spec.Flows, func(f v1alpha1.Flow) bool { return f.Tier != v1alpha1.TierCore })
	if core < 0 || other < 0 {
		t.Fatal("the example has no core flow, or no other")
	}
	mas.Spec.Flows[core].DependsOn = append(mas.Spec.Flows[core].DependsOn, mas.Spec.Flows[other].Name)
}

// refused says what is wrong with the error of a refused design, nil if nothing is.
func refused(err error) error {
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "MA004") || !strings.Contains(err.Error(), "dependsOn") {
		return fmt.Errorf("it is not refused with code and field: %w", err)
	}
	return nil
}

func TestDesigns(t *testing.T) {
	w := newWorld(t)
	old := w.example()
	old.Name = "old"
	spoil(t, old)
	must(t, w.Create(t.Context(), old))

	port := testkit.FreePort(t, "127.0.0.1")
	w.configure(port)
	w.serve(clocktesting.NewFakePassiveClock(time.Now()), port)
	testkit.Eventually(t, soon, func() error {
		bad := w.example()
		spoil(t, bad)
		return refused(w.Create(t.Context(), bad))
	})
	w.warned()

	good := w.example()
	good.Annotations = nil // what it accepts
	must(t, w.Create(t.Context(), good))
	for _, text := range w.warned() {
		if !strings.HasPrefix(text, "MA1") || len(text) > 256 {
			t.Errorf("a warning is %q", text)
		}
	}
	spoiled := good.DeepCopy()
	spoil(t, spoiled)
	if err := refused(w.Update(t.Context(), spoiled)); err != nil {
		t.Error(err)
	}

	// What was stored stays open to changes, of its design too, and says what is wrong with it.
	w.warned()
	old.Spec.Regions[0].Weight = ptr.To[int32](7)
	must(t, w.Update(t.Context(), old))
	if got := w.warned(); !slices.ContainsFunc(got, func(text string) bool { return strings.HasPrefix(text, "MA004") }) {
		t.Errorf("of a design that was stored before the warnings are %q", got)
	}
	worse := old.DeepCopy()
	spoil(t, worse)
	worse.Spec.Flows = append(worse.Spec.Flows, *worse.Spec.Flows[0].DeepCopy())
	worse.Spec.Flows[len(worse.Spec.Flows)-1].Name = "again"
	if err := w.Update(t.Context(), worse); !apierrors.IsInvalid(err) || strings.Contains(err.Error(), "MA004") {
		t.Errorf("one more error is answered with: %v", err)
	}
}

func TestNoHubNoNewDesign(t *testing.T) {
	w := newWorld(t)
	mas := w.example()
	mas.Finalizers = []string{"example.com/a"}
	must(t, w.Create(t.Context(), mas))
	w.configure(testkit.FreePort(t, "127.0.0.1"))
	testkit.Eventually(t, soon, func() error { // once the API server has heard
		other := w.example()
		other.Name = "other"
		if err := w.Create(t.Context(), other, client.DryRunAll); err == nil {
			return fmt.Errorf("it was stored unseen")
		}
		return nil
	})
	mas.Labels = map[string]string{"a": "b"}
	must(t, w.Update(t.Context(), mas))
	must(t, w.Delete(t.Context(), mas))
	must(t, w.Get(t.Context(), client.ObjectKeyFromObject(mas), mas))
	mas.Finalizers = nil
	must(t, w.Update(t.Context(), mas))
}

// TestCertificates lets three years pass while designs are judged all the time, by the replica that renewed and by
// the other one.
func TestCertificates(t *testing.T) {
	w := newWorld(t)
	ports := []int{testkit.FreePort(t, "127.0.0.1"), testkit.FreePort(t, "127.0.0.1")}
	w.configure(ports[0])
	start := time.Now()
	clock := clocktesting.NewFakePassiveClock(start)
	var replicas []*webhookcerts.Reconciler
	for _, port := range ports {
		replicas = append(replicas, w.serve(clock, port))
	}
	asked := func() error {
		bad := w.example()
		spoil(t, bad)
		return refused(w.Create(t.Context(), bad, client.DryRunAll))
	}
	testkit.Eventually(t, soon, asked)

	request := ctrl.Request{NamespacedName: client.ObjectKey{Namespace: namespace, Name: name}}
	authorities := map[string]bool{}
	for day := range 3 * 365 {
		clock.SetTime(start.Add(time.Duration(day) * 24 * time.Hour))
		replica := replicas[day%2]
		if _, err := replica.Reconcile(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		var c admissionv1.ValidatingWebhookConfiguration
		must(t, w.Get(t.Context(), client.ObjectKey{Name: "multiactive"}, &c))
		bundle := c.Webhooks[0].ClientConfig.CABundle
		authorities[string(bundle)] = true
		// What the replicas show is trusted by what the API server was told; the other may have heard of nothing yet.
		for i, other := range replicas {
			pair, err := other.GetCertificate(nil)
			must(t, err)
			if err := verify(pair, bundle, clock.Now()); err != nil {
				t.Fatalf("on day %d replica %d: %v", day, i, err)
			}
		}
	}
	if len(authorities) < 3 {
		t.Errorf("in three years the API server was told of %d sets of authorities", len(authorities))
	}
	// Whoever takes away what the hub wrote is repaired.
	var c admissionv1.ValidatingWebhookConfiguration
	must(t, w.Get(t.Context(), client.ObjectKey{Name: "multiactive"}, &c))
	c.Webhooks[0].ClientConfig.CABundle = nil
	must(t, w.Update(t.Context(), &c))
	testkit.Eventually(t, soon, func() error {
		must(t, w.Get(t.Context(), client.ObjectKey{Name: "multiactive"}, &c))
		if len(c.Webhooks[0].ClientConfig.CABundle) == 0 {
			return fmt.Errorf("the API server trusts nobody")
		}
		return nil
	})
	// The clock was wrong: nothing of what was made meanwhile is believed by anybody.
	clock.SetTime(time.Now())
	if _, err := replicas[0].Reconcile(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, soon, asked)
	// A Secret that nobody can read is begun anew.
	must(t, w.Patch(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}},
		client.RawPatch("application/merge-patch+json", []byte(`{"data":{"current.key":"eA=="}}`))))
	testkit.Eventually(t, soon, func() error {
		var secret corev1.Secret
		must(t, w.Get(t.Context(), request.NamespacedName, &secret))
		if _, err := ownca.Decode(secret.Data); err != nil {
			return err
		}
		return asked()
	})
}

func verify(pair *tls.Certificate, bundle []byte, now time.Time) error {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	_, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: pool, CurrentTime: now})
	return err
}
