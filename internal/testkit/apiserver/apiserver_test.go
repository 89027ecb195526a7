package apiserver_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/ports"
)

var (
	namespaces  = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	services    = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	pods        = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	roles       = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}
	bindings    = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"}
	manager     = metav1.ApplyOptions{FieldManager: "test"}
	serviceCIDR = netip.MustParsePrefix("127.11.128.0/17")
)

func client(t *testing.T, server *apiserver.Server, user string) dynamic.Interface {
	t.Helper()
	c, err := dynamic.NewForConfig(testkit.Config(t, server, user))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// object decodes a manifest.
func object(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

func apply(t *testing.T, r dynamic.ResourceInterface, manifest string) *unstructured.Unstructured {
	t.Helper()
	o := object(t, manifest)
	applied, err := r.Apply(t.Context(), o.GetName(), o, manager)
	if err != nil {
		t.Fatal(err)
	}
	return applied
}

const namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: accounts}}"

// A region dies and returns, in this run and in a later one, and is the same region as before.
func TestKilledServerReturnsWithItsData(t *testing.T) {
	t.Parallel()
	o := apiserver.Options{Name: "beijing", Dir: t.TempDir(), Host: ports.Host()}
	first := testkit.StartServer(t, o)
	kubeconfig, err := first.Kubeconfig(apiserver.Admin)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	uid := apply(t, admin.Resource(namespaces), namespace).GetUID()
	same := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		found, err := admin.Resource(namespaces).Get(ctx, "accounts", metav1.GetOptions{})
		if err == nil && found.GetUID() != uid {
			return fmt.Errorf("the namespace has the UID %s, want %s", found.GetUID(), uid)
		}
		return err
	}

	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := same(); err == nil {
		t.Fatal("a killed server answers")
	}
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, same)

	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.StartServer(t, o) // as a later run does, with the kubeconfig of the earlier one
	testkit.Eventually(t, 20*time.Second, same)
}

func TestFrozenServerAnswersNothingUntilContinued(t *testing.T) {
	t.Parallel()
	server := testkit.StartServer(t, apiserver.Options{})
	admin := client(t, server, apiserver.Admin)
	list := func(timeout time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		_, err := admin.Resource(namespaces).List(ctx, metav1.ListOptions{})
		return err
	}
	if err := list(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := list(time.Second); err == nil {
		t.Fatal("a frozen server answers")
	}
	if err := server.Continue(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, func() error { return list(5 * time.Second) })
}

// What the playground builds on: the addresses of services and pods are loopback addresses, and pods
// are accepted although no controller makes service accounts.
func TestRegionsNeedNoControllers(t *testing.T) {
	t.Parallel()
	server := testkit.StartServer(t, apiserver.Options{
		ServiceClusterIPRange: serviceCIDR.String(),
		Users:                 []apiserver.User{{Name: "multiactive:hub", Groups: []string{"multiactive:managers", "readers"}}},
	})
	admin := client(t, server, apiserver.Admin)
	apply(t, admin.Resource(namespaces), namespace)

	t.Run("services get loopback addresses", func(t *testing.T) {
		service := apply(t, admin.Resource(services).Namespace("accounts"), `
apiVersion: v1
kind: Service
metadata: {name: user}
spec: {ports: [{name: http, port: 80}], selector: {app: user}}`)
		text, _, _ := unstructured.NestedString(service.Object, "spec", "clusterIP")
		if address, err := netip.ParseAddr(text); err != nil || !serviceCIDR.Contains(address) {
			t.Errorf("got the address %q (%v), want one of %s", text, err, serviceCIDR)
		}
	})
	t.Run("pods get loopback addresses", func(t *testing.T) {
		in := admin.Resource(pods).Namespace("accounts")
		apply(t, in, `
apiVersion: v1
kind: Pod
metadata: {name: user-0}
spec: {containers: [{name: user, image: user}]}`)
		status := object(t, `
apiVersion: v1
kind: Pod
metadata: {name: user-0}
status: {phase: Running, podIP: 127.11.1.1, podIPs: [{ip: 127.11.1.1}]}`)
		if _, err := in.ApplyStatus(t.Context(), "user-0", status, manager); err != nil {
			t.Error(err)
		}
	})
	t.Run("users get what their groups are given", func(t *testing.T) {
		hub := client(t, server, "multiactive:hub")
		list := func() error {
			_, err := hub.Resource(namespaces).List(t.Context(), metav1.ListOptions{})
			return err
		}
		if err := list(); !apierrors.IsForbidden(err) {
			t.Fatalf("got error %v, want that listing is forbidden", err)
		}
		apply(t, admin.Resource(roles), `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [namespaces], verbs: [list]}]`)
		apply(t, admin.Resource(bindings), `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: readers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: readers}]`)
		testkit.Eventually(t, 20*time.Second, list)
	})
	t.Run("unknown users have no credentials", func(t *testing.T) {
		for _, of := range []func(string) error{
			func(user string) error { _, err := server.Config(user); return err },
			func(user string) error { _, err := server.Kubeconfig(user); return err },
		} {
			if err := of("nobody"); err == nil || !strings.Contains(err.Error(), `no user "nobody"`) {
				t.Errorf("got error %v, want one that names the user", err)
			}
		}
	})
}

func TestStartFailsWithTheServersReason(t *testing.T) {
	t.Parallel()
	server, err := apiserver.New(apiserver.Options{
		Name: "beijing", Dir: t.TempDir(), Host: ports.Host(), ExtraArgs: []string{"--no-such-flag"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Kill() })
	if err := server.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "no-such-flag") {
		t.Fatalf("got error %v, want one that carries what the server said", err)
	}
	if server.Process() != nil || server.Storage().Process() != nil {
		t.Error("a failed start left something running")
	}
	if err := server.Freeze(); err == nil {
		t.Error("freezing a server that does not run is not refused")
	}
}

func TestBadOptionsAreRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*apiserver.Options)
		want   string
	}{
		"no name":          {func(o *apiserver.Options) { o.Name = "" }, "Name"},
		"no directory":     {func(o *apiserver.Options) { o.Dir = "" }, "Dir is empty"},
		"open address":     {func(o *apiserver.Options) { o.Host = "0.0.0.0" }, "Host"},
		"no range":         {func(o *apiserver.Options) { o.ServiceClusterIPRange = "127.11.128.0" }, "ServiceClusterIPRange"},
		"admin twice":      {func(o *apiserver.Options) { o.Users = []apiserver.User{{Name: apiserver.Admin}} }, "Users[0].Name"},
		"comma in a group": {func(o *apiserver.Options) { o.Users = []apiserver.User{{Name: "a", Groups: []string{"b,c"}}} }, "Users[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := apiserver.Options{Name: "beijing", Dir: t.TempDir(), Host: "127.11.0.1"}
			test.change(&o)
			if _, err := apiserver.New(o); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one that mentions %q", err, test.want)
			}
		})
	}
}

func TestDirectoryKeepsItsHost(t *testing.T) {
	t.Parallel()
	o := apiserver.Options{Name: "beijing", Dir: t.TempDir(), Host: "127.11.0.1"}
	if _, err := apiserver.New(o); err != nil {
		t.Fatal(err)
	}
	o.Host = "127.12.0.1"
	if _, err := apiserver.New(o); err == nil || !strings.Contains(err.Error(), "Host 127.12.0.1 differs") {
		t.Errorf("got error %v, want one that tells of the other host", err)
	}
}

func TestCredentialsAreForTheOwnerOnly(t *testing.T) {
	t.Parallel()
	o := apiserver.Options{Name: "beijing", Dir: t.TempDir(), Host: "127.11.0.1"}
	if _, err := apiserver.New(o); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"tokens.csv", "server.key", "service-account.key"} {
		if info, err := os.Stat(filepath.Join(o.Dir, file)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got %v (%v), want it readable by its owner alone", file, info, err)
		}
	}
}
