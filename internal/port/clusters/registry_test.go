package clusters_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/port/clusters"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
)

const soon = 30 * time.Second

func init() { ctrl.SetLogger(logr.Discard()) }

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func start(t *testing.T, more ...func(*clusters.Options)) *clusters.Registry {
	t.Helper()
	o := clusters.Options{
		Scheme: scheme(t), Clock: clock.RealClock{}, RequestTimeout: 2 * time.Second,
		CheckInterval: time.Hour, RetryInterval: 100 * time.Millisecond, // only news may wake it
	}
	for _, change := range more {
		change(&o)
	}
	r := clusters.New(o)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = r.Start(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return r
}

// expect waits until Get's error matches the kind; nil: until it is connected.
func expect(t *testing.T, r *clusters.Registry, region string, kind error) {
	t.Helper()
	testkit.Eventually(t, soon, func() error {
		_, err := r.Get(region)
		if !errors.Is(err, kind) {
			return fmt.Errorf("region %s: %w, want %w", region, err, kind)
		}
		return nil
	})
}

func kubeconfig(t *testing.T, s *apiserver.Server, user string) []byte {
	t.Helper()
	content, err := s.Kubeconfig(user)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestRegistry(t *testing.T) {
	servers := testkit.StartServers(t, apiserver.Options{Users: []apiserver.User{{Name: "nobody"}}}, "beijing", "bare")
	beijing := servers["beijing"]
	testkit.InstallCRDs(t, beijing)
	admin, err := client.New(testkit.Config(t, beijing, apiserver.Admin), client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	good := kubeconfig(t, beijing, apiserver.Admin)
	r := start(t)
	changes := make(chan clusters.Change, 1000)
	r.Listen(t.Context(), func(c clusters.Change) { changes <- c })

	// A cluster that never answers is set first: it must not delay the others.
	dead := bytes.ReplaceAll(good, []byte(beijing.URL()), []byte("https://127.255.255.254:1"))
	silent := bytes.ReplaceAll(good, []byte(beijing.URL()), []byte("https://"+mute(t)))
	token := []byte("token: " + base64.StdEncoding.EncodeToString([]byte("wrong")))
	wrong := replaceToken(good, token)
	for region, content := range map[string][]byte{
		"dead": dead, "silent": silent, "wrong": wrong, "beijing": good,
		"bare": kubeconfig(t, servers["bare"], apiserver.Admin), "poor": kubeconfig(t, beijing, "nobody"),
	} {
		if err := r.Set(region, content); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, r, "beijing", nil)
	expect(t, r, "dead", clusters.ErrUnreachable)
	expect(t, r, "silent", clusters.ErrUnreachable)
	expect(t, r, "wrong", clusters.ErrUnauthorized)
	expect(t, r, "bare", clusters.ErrCRDsMissing)
	expect(t, r, "poor", clusters.ErrUnauthorized)
	expect(t, r, "nowhere", clusters.ErrUnknown)

	t.Run("changes of slices are told and cached", func(t *testing.T) {
		slice := newSlice("user")
		if err := client.IgnoreAlreadyExists(admin.Create(t.Context(), slice)); err != nil {
			t.Fatal(err)
		}
		key := types.NamespacedName{Namespace: "default", Name: "user"}
		awaitChange(t, changes, clusters.Change{Region: "beijing", Service: key})
		c, err := r.Get("beijing")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Client.Get(t.Context(), key, &v1alpha1.RegionalService{}); err != nil {
			t.Errorf("the cache lacks what was told: %v", err)
		}
		// What is not cached is refused: it would start watches that nobody asked for.
		if err := c.Client.Get(t.Context(), types.NamespacedName{Name: "default"}, &corev1.Namespace{}); err == nil {
			t.Error("reads of other kinds must not start caches")
		}
	})
	t.Run("a cluster that stops answering is given up and found again", func(t *testing.T) {
		if err := beijing.Kill(); err != nil {
			t.Fatal(err)
		}
		expect(t, r, "beijing", clusters.ErrUnreachable)
		if err := beijing.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		expect(t, r, "beijing", nil)
	})
	t.Run("another kubeconfig replaces the connection", func(t *testing.T) {
		if err := r.Set("beijing", wrong); err != nil {
			t.Fatal(err)
		}
		expect(t, r, "beijing", clusters.ErrUnauthorized)
		if err := r.Set("beijing", good); err != nil {
			t.Fatal(err)
		}
		expect(t, r, "beijing", nil)
	})
	t.Run("an unusable kubeconfig ends the connection", func(t *testing.T) {
		var refused *clusters.KubeconfigError
		if err := r.Set("beijing", []byte("{}")); !errors.As(err, &refused) {
			t.Errorf("error %v, want a KubeconfigError", err)
		}
		if _, err := r.Get("beijing"); !errors.Is(err, clusters.ErrUnknown) {
			t.Errorf("still connected with credentials that were taken back: %v", err)
		}
	})
}

// mute returns an address that takes connections and never says anything.
func mute(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// replaceToken swaps the kubeconfig's token, and so its credentials, for another.
func replaceToken(kubeconfig, with []byte) []byte {
	lines := bytes.Split(kubeconfig, []byte("\n"))
	for i, line := range lines {
		if before, _, found := bytes.Cut(line, []byte("token: ")); found {
			lines[i] = append(bytes.Clone(before), with...)
		}
	}
	return bytes.Join(lines, []byte("\n"))
}

func awaitChange(t *testing.T, changes <-chan clusters.Change, want clusters.Change) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	for {
		select {
		case got := <-changes:
			if got == want {
				return
			}
		case <-ctx.Done():
			t.Fatalf("not told of %+v", want)
		}
	}
}

func newSlice(name string) *v1alpha1.RegionalService {
	return &v1alpha1.RegionalService{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: v1alpha1.RegionalServiceSpec{
			Region: "beijing", ServiceID: "1", Stamp: v1alpha1.SliceStamp{Generation: 1},
			Workload:  v1alpha1.WorkloadSlice{Type: v1alpha1.WorkloadServiceRef, Hash: "1", ServiceRef: &v1alpha1.ServiceReference{Name: name}},
			Gateway:   v1alpha1.Gateway{Replicas: ptr.To[int32](1)},
			Peers:     []v1alpha1.Peer{{Name: "beijing", Endpoint: "http://user"}},
			Ownership: []v1alpha1.OwnershipSlice{{Hash: "1", Regions: []v1alpha1.RegionWeight{{Name: "beijing", Weight: 1}}}},
		},
	}
}

// Copies are kept without what the regions say of them, which is no news either.
func TestCopies(t *testing.T) {
	beijing := testkit.StartServer(t, apiserver.Options{Name: "beijing"})
	testkit.InstallCRDs(t, beijing)
	admin, err := client.New(testkit.Config(t, beijing, apiserver.Admin), client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, func(o *clusters.Options) { o.Copies = true })
	changes := make(chan clusters.Change, 1000)
	r.Listen(t.Context(), func(c clusters.Change) { changes <- c })
	if err := r.Set("beijing", kubeconfig(t, beijing, apiserver.Admin)); err != nil {
		t.Fatal(err)
	}
	expect(t, r, "beijing", nil)
	rg := &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: "shanghai"}, Spec: v1alpha1.RegionSpec{
		Cluster: &v1alpha1.ClusterAccess{KubeconfigSecretRef: v1alpha1.SecretReference{Name: "shanghai"}},
	}}
	if err := admin.Create(t.Context(), rg); err != nil {
		t.Fatal(err)
	}
	connected, err := r.Get("beijing")
	if err != nil {
		t.Fatal(err)
	}
	cached := func(holds func(*v1alpha1.Region) error) {
		t.Helper()
		testkit.Eventually(t, soon, func() error {
			got := &v1alpha1.Region{}
			if err := connected.Client.Get(t.Context(), client.ObjectKeyFromObject(rg), got); err != nil {
				return err
			}
			return holds(got)
		})
	}
	cached(func(*v1alpha1.Region) error { return nil })
	rg.Status.State = v1alpha1.RegionUp
	if err := admin.Status().Update(t.Context(), rg); err != nil {
		t.Fatal(err)
	}
	version := rg.ResourceVersion
	cached(func(got *v1alpha1.Region) error {
		if got.Status.State != "" {
			t.Errorf("the status is kept: %+v", got.Status)
		}
		if got.ResourceVersion != version {
			return fmt.Errorf("version %s, want %s", got.ResourceVersion, version)
		}
		return nil
	})
	rg.Spec.DisplayName = "Shanghai"
	if err := admin.Update(t.Context(), rg); err != nil {
		t.Fatal(err)
	}
	cached(func(got *v1alpha1.Region) error {
		if got.Spec.DisplayName == "" {
			return errors.New("not changed yet")
		}
		return nil
	})
	told := 0
	for c := range changes {
		if c.Declared == "shanghai" && !c.Connection() {
			if told++; told == 2 { // made and changed; the status between them is no news
				break
			}
		}
	}
	select {
	case c := <-changes:
		t.Errorf("told of %+v as well", c)
	case <-time.After(time.Second):
	}
}
