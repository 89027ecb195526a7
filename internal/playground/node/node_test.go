package node_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/internal/playground/node"
	"multiactive.dev/operator/internal/playground/proxy"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
)

const (
	namespace = "default"
	name      = "web"
	image     = "registry.example.com/web:v1"
	port      = 8080
	timeout   = 30 * time.Second
)

// TestMain makes the test's own binary the program that stands for the image.
func TestMain(m *testing.M) {
	if os.Getenv("ROLE") == "" {
		os.Exit(m.Run())
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

// serve answers with its variables and the file that it was given.
func serve() error {
	if os.Getenv("ROLE") == "crash" {
		return errors.New("told to crash")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: os.Args[1], Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		content, _ := os.ReadFile(os.Getenv("FILE")) // empty when there is none
		_, _ = fmt.Fprintf(w, "%s %s %s", os.Getenv("ANSWER"), os.Getenv("KEY"), content)
	})}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return server.Shutdown(context.Background())
	}
}

// cluster is an API server with a node and a service proxy.
type cluster struct {
	t      *testing.T
	client kubernetes.Interface
	agent  *node.Agent
	kill   func()
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	server := testkit.StartServer(t, apiserver.Options{ServiceClusterIPRange: "127.61.128.0/17"})
	client, err := kubernetes.NewForConfig(testkit.Config(t, server, apiserver.Admin))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(testWriter{t}, nil))
	factory := informers.NewSharedInformerFactory(client, 0)
	agent, err := node.New(node.Config{
		Name: "n1", HostIP: "127.61.0.7", PodIPs: netip.MustParsePrefix("127.61.64.0/18"), Client: client, Informers: factory,
		Dir: t.TempDir(), Programs: node.Programs{image: self}, Clock: clock.RealClock{}, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	forward, err := proxy.New(proxy.Config{Informers: factory, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	factory.Start(ctx.Done())
	var running sync.WaitGroup
	running.Go(func() { _ = agent.Run(ctx) })   // ends with ctx
	running.Go(func() { _ = forward.Run(ctx) }) // ends with ctx
	kill := sync.OnceFunc(func() {
		forward.Kill()
		agent.Kill()
		cancel()
		running.Wait()
	})
	t.Cleanup(kill)
	return &cluster{t: t, client: client, agent: agent, kill: kill}
}

// testWriter sends the node's log to the test's.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

// web is the Deployment that answers with text.
func web(answer string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To(replicas), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					Containers: []corev1.Container{{
						Name: "web", Image: image, Args: []string{fmt.Sprintf("$(POD_IP):%d", port)},
						Env: []corev1.EnvVar{
							{Name: "ROLE", Value: "server"}, {Name: "ANSWER", Value: answer},
							{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
							{Name: "FILE", Value: "/etc/web/text"},
							{Name: "KEY", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
								LocalObjectReference: corev1.LocalObjectReference{Name: "web"}, Key: "key"}}},
						},
						Ports:          []corev1.ContainerPort{{Name: "http", ContainerPort: port}},
						ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromString("http")}}, PeriodSeconds: 1},
						VolumeMounts:   []corev1.VolumeMount{{Name: "text", MountPath: "/etc/web"}},
					}},
					Volumes: []corev1.Volume{{Name: "text", VolumeSource: corev1.VolumeSource{
						ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "web"}}}}},
				},
			},
		},
	}
}

func (c *cluster) apply(d *appsv1.Deployment) {
	c.t.Helper()
	deployments := c.client.AppsV1().Deployments(namespace)
	present, err := deployments.Get(c.t.Context(), d.Name, metav1.GetOptions{})
	if err != nil {
		_, err = deployments.Create(c.t.Context(), d, metav1.CreateOptions{})
	} else {
		d.ResourceVersion = present.ResourceVersion
		_, err = deployments.Update(c.t.Context(), d, metav1.UpdateOptions{})
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// complete waits until the Deployment is rolled out as kubectl rollout status has it.
func (c *cluster) complete(replicas int32) {
	c.t.Helper()
	testkit.Eventually(c.t, timeout, func() error {
		d, err := c.client.AppsV1().Deployments(namespace).Get(c.t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		s := d.Status
		if s.ObservedGeneration != d.Generation || s.UpdatedReplicas != replicas || s.Replicas != replicas || s.AvailableReplicas != replicas {
			return fmt.Errorf("generation %d, status %+v", d.Generation, s)
		}
		return nil
	})
}

func (c *cluster) pods() []corev1.Pod {
	c.t.Helper()
	list, err := c.client.CoreV1().Pods(namespace).List(c.t.Context(), metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		c.t.Fatal(err)
	}
	return list.Items
}

// waiting waits until a Pod waits for a reason, and returns the message.
func (c *cluster) waiting(reason string) (message string) {
	c.t.Helper()
	testkit.Eventually(c.t, timeout, func() error {
		for _, p := range c.pods() {
			for _, s := range p.Status.ContainerStatuses {
				if s.State.Waiting != nil && s.State.Waiting.Reason == reason {
					message = s.State.Waiting.Message
					return nil
				}
			}
		}
		return fmt.Errorf("no Pod of %s waits for %s", name, reason)
	})
	return message
}

// ask sends one request on a connection of its own.
func ask(ctx context.Context, address string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address, http.NoBody)
	if err != nil {
		return "", err
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

// freezes holds that a node which is frozen answers nothing, refuses nothing, and takes none of its Pods for
// broken; then it goes on.
func (c *cluster) freezes(address string) {
	c.t.Helper()
	testkit.Eventually(c.t, timeout, func() error { // those that end would be killed for not ending
		if n := len(c.pods()); n != 1 {
			return fmt.Errorf("%d Pods", n)
		}
		return nil
	})
	if err := c.agent.Freeze(); err != nil {
		c.t.Fatal(err)
	}
	for range 3 { // longer than it takes to find a Pod not ready
		ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Second)
		if got, err := ask(ctx, address); !errors.Is(err, context.DeadlineExceeded) {
			c.t.Errorf("a frozen Pod answers %q, %v", got, err)
		}
		cancel()
	}
	for _, p := range c.pods() {
		for _, s := range p.Status.ContainerStatuses {
			if !s.Ready || s.RestartCount > 0 {
				c.t.Errorf("Pod %s is ready: %t, restarted %d times", p.Name, s.Ready, s.RestartCount)
			}
		}
	}
	if err := c.agent.Continue(); err != nil {
		c.t.Fatal(err)
	}
	testkit.Eventually(c.t, timeout, func() error {
		_, err := ask(c.t.Context(), address)
		return err
	})
}

// TestNode follows one Deployment through its life; the steps build on each other.
func TestNode(t *testing.T) {
	c := newCluster(t)
	ctx := t.Context()
	for _, create := range []func() error{
		func() error {
			_, err := c.client.CoreV1().ConfigMaps(namespace).Create(ctx, &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Name: "web"}, Data: map[string]string{"text": "from a file"}}, metav1.CreateOptions{})
			return err
		},
		func() error {
			_, err := c.client.CoreV1().Secrets(namespace).Create(ctx, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Name: "web"}, Data: map[string][]byte{"key": []byte("hush")}}, metav1.CreateOptions{})
			return err
		},
	} {
		if err := create(); err != nil {
			t.Fatal(err)
		}
	}
	service, err := c.client.CoreV1().Services(namespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"},
			Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromString("http")}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort(service.Spec.ClusterIP, "80")

	c.apply(web("one", 2))
	c.complete(2)
	testkit.Eventually(t, timeout, func() error {
		got, err := ask(ctx, address)
		if err == nil && got != "one hush from a file" {
			t.Fatalf("got %q", got)
		}
		return err
	})
	if _, err := c.client.CoreV1().ConfigMaps(namespace).Update(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "web"}, Data: map[string]string{"text": "changed"}}, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, timeout, func() error {
		if got, err := ask(ctx, address); err != nil || got != "one hush changed" {
			return fmt.Errorf("the mounted file has not changed: %q, %w", got, err)
		}
		return nil
	})
	c.apply(web("one", 3))
	c.complete(3)
	c.apply(web("one", 1))
	c.complete(1)
	c.freezes(address)

	serving := c.keepAsking(address)
	c.apply(web("two", 1))
	c.complete(1)
	testkit.Eventually(t, timeout, func() error {
		if got, err := ask(ctx, address); err != nil || !strings.HasPrefix(got, "two") {
			return fmt.Errorf("got %q, %w", got, err)
		}
		return nil
	})

	// Templates that never get ready replace nothing.
	crashing := web("three", 1)
	crashing.Spec.Template.Spec.Containers[0].Env[0].Value = "crash"
	c.apply(crashing)
	if message := c.waiting("CrashLoopBackOff"); !strings.Contains(message, "exit status 3") {
		t.Errorf("the message should tell the exit code: %s", message)
	}
	unknown := web("four", 1)
	unknown.Spec.Template.Spec.Containers[0].Image = "registry.example.com/web:v2"
	c.apply(unknown)
	if message := c.waiting("ErrImagePull"); !strings.Contains(message, "--program registry.example.com/web:v2=") {
		t.Errorf("the message should say what to do: %s", message)
	}
	secretless := web("five", 1)
	secretless.Spec.Template.Spec.Containers[0].Env[4].ValueFrom.SecretKeyRef.Key = "none"
	c.apply(secretless)
	if message := c.waiting("CreateContainerConfigError"); !strings.Contains(message, `Secret web has no key "none"`) {
		t.Errorf("the message should name the key: %s", message)
	}
	if got, err := ask(ctx, address); err != nil || !strings.HasPrefix(got, "two") {
		t.Errorf("the last good template should still serve: %q, %v", got, err)
	}
	c.apply(web("six", 1))
	c.complete(1)
	serving()

	// A Pod that somebody deletes is replaced.
	before := c.pods()[0].UID
	if err := c.client.CoreV1().Pods(namespace).Delete(ctx, c.pods()[0].Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, timeout, func() error {
		pods := c.pods()
		if len(pods) != 1 || pods[0].UID == before {
			return errors.New("not replaced")
		}
		return nil
	})
	c.complete(1)

	c.refusesAfter(address, func() {
		if err := c.client.AppsV1().Deployments(namespace).Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	})
	testkit.Eventually(t, timeout, func() error {
		if left := len(c.pods()); left > 0 {
			return fmt.Errorf("%d Pods are left", left)
		}
		return nil
	})

	// The loss of the machine: addresses refuse, and no process is left.
	c.apply(web("seven", 2))
	c.complete(2)
	c.refusesAfter(address, c.kill)
	for _, p := range c.pods() {
		if _, err := ask(ctx, net.JoinHostPort(p.Status.PodIP, fmt.Sprint(port))); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Pod %s still listens: %v", p.Name, err)
		}
	}
}

// keepAsking sends requests until the function that it returns is called, which fails the test when
// one failed.
func (c *cluster) keepAsking(address string) (stop func()) {
	ctx, cancel := context.WithCancel(c.t.Context())
	done := make(chan error, 1)
	go func() {
		for n := 0; ctx.Err() == nil; n++ {
			if _, err := ask(ctx, address); err != nil && ctx.Err() == nil {
				done <- fmt.Errorf("request %d failed during the changes: %w", n, err)
				return
			}
		}
		done <- nil
	}()
	return func() {
		c.t.Helper()
		cancel()
		if err := <-done; err != nil {
			c.t.Error(err)
		}
	}
}

// refusesAfter does something and waits until the address refuses connections.
func (c *cluster) refusesAfter(address string, do func()) {
	c.t.Helper()
	testkit.Eventually(c.t, timeout, func() error { _, err := ask(c.t.Context(), address); return err })
	do()
	testkit.Eventually(c.t, timeout, func() error {
		if _, err := ask(c.t.Context(), address); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("%s does not refuse: %w", address, err)
		}
		return nil
	})
}
