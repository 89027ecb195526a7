//go:build e2e

// Package gatewayapi_test runs a world whose users come through a Gateway of Gateway API: Traefik, with the route of
// the guide. It looks at what the route's status tells of mistakes, as the guide says it.
package gatewayapi_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/playground/node"
	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/process"
	"multiactive.dev/operator/internal/testkit/servercert"
)

const (
	// beijing is the region that has the Gateway.
	beijing, shanghai = "beijing", "shanghai"
	accounts          = "accounts"
	patience          = 5 * time.Minute
	// Where the Gateway of testdata/platform.yaml listens, for users and for other regions.
	declaredTLS, declaredPlain = "8443", "8080"
	gatewayAPI                 = "sigs.k8s.io/gateway-api"
)

// suite is a world, and a Traefik in one of its regions.
type suite struct {
	t     *testing.T
	world *world.World
	root  string
	pair  servercert.Pair
	// port and plain are where Traefik listens on loopback instead.
	port, plain string
	// log is Traefik's, with a line for each request.
	log string
}

func newSuite(t *testing.T) *suite {
	t.Helper()
	root, err := binaries.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	s := &suite{t: t, root: root, pair: servercert.New(t, "*.example.com", "*.bj.example.com"), port: freePort(t), plain: freePort(t)}
	s.boot(build(t, root))
	s.platform()
	s.traefik()
	return s
}

// in is the same world for a part of the test.
func (s *suite) in(t *testing.T) *suite {
	part := *s
	part.t = t
	return &part
}

func freePort(t *testing.T) string {
	t.Helper()
	return strconv.Itoa(testkit.FreePort(t, "127.0.0.1"))
}

// build makes the programs of a world.
func build(t *testing.T, root string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", dir+"/",
		"./cmd/manager", "./cmd/gateway", "./cmd/mirror", "./cmd/playground", "./test/playground/echo")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the programs: %v\n%s", err, out)
	}
	return dir
}

// boot starts a world of two regions and the service in it.
func (s *suite) boot(bin string) {
	s.t.Helper()
	m, err := world.ReadManifest(filepath.Join("testdata", "user.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.world, err = world.New(world.Options{
		Dir: s.t.TempDir(), Root: s.root, Programs: bin, Self: filepath.Join(bin, "playground"), Manifest: m, Regions: m.RegionNames(),
		Images: node.Programs{"registry.example.com/accounts/user": filepath.Join(bin, "echo")},
		Clock:  clock.RealClock{}, Log: slog.New(slog.DiscardHandler), Progress: func(string) func(error) { return func(error) {} },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if s.t.Failed() {
			for file, end := range s.world.Logs() {
				s.t.Logf("%s ends with\n%s", file, end)
			}
		}
		if err := s.world.Stop(); err != nil {
			s.t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := s.world.Start(ctx); err != nil {
		s.t.Fatal(err)
	}
	s.kubectl("hub", "wait", "regions", "--all", "--for=condition=Serving", "--timeout="+patience.String())
	if err := s.world.Deploy(ctx); err != nil {
		s.t.Fatal(err)
	}
	s.kubectl("hub", "-n", "accounts", "wait", "multiactiveservice/user", "--for=condition=Ready", "--timeout="+patience.String())
}

// platform is what stands in the region's cluster before anybody has a route.
func (s *suite) platform() {
	s.t.Helper()
	module := exec.CommandContext(s.t.Context(), "go", "-C", filepath.Join(s.root, "hack", "tools", "traefik"), "mod", "download", "-json", gatewayAPI)
	out, err := module.Output()
	var found struct{ Dir string }
	if err == nil {
		err = json.Unmarshal(out, &found)
	}
	if err != nil {
		s.t.Fatalf("finding the definitions of Gateway API: %v\n%s", err, out)
	}
	s.kubectl(beijing, "apply", "--server-side", "-f", filepath.Join(found.Dir, "config", "crd", "standard"))
	for _, kind := range []string{"gatewayclasses", "gateways", "httproutes", "grpcroutes", "referencegrants"} {
		s.kubectl(beijing, "wait", "crd/"+kind+".gateway.networking.k8s.io", "--for=condition=Established", "--timeout="+patience.String())
	}
	text, err := os.ReadFile(filepath.Join("testdata", "platform.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.apply(strings.NewReplacer("port: "+declaredTLS, "port: "+s.port, "port: "+declaredPlain, "port: "+s.plain).Replace(string(text)))
	certificate, key := s.pair.Write(s.t, s.t.TempDir())
	s.kubectl(beijing, "-n", "infra", "create", "secret", "tls", "example-com", "--cert", certificate, "--key", key)
}

// traefik runs the Gateway's implementation beside the region's Services, which it sends requests to by their addresses.
func (s *suite) traefik() {
	s.t.Helper()
	path, err := binaries.Find("traefik")
	if err != nil {
		s.t.Fatalf("%v; or run `hack/ensure.sh tool traefik`", err)
	}
	s.log = filepath.Join(s.t.TempDir(), "traefik.log")
	ping := "127.0.0.1:" + freePort(s.t)
	p, err := process.Start(s.t.Context(), process.Spec{
		Name: "traefik", Path: path, LogFile: s.log, Env: []string{"KUBECONFIG=" + s.world.Kubeconfig(beijing)},
		Args: []string{
			"--global.checknewversion=false", "--global.sendanonymoususage=false", "--log.level=INFO", "--accesslog=true",
			"--entrypoints.tls.address=127.0.0.1:" + s.port, "--entrypoints.plain.address=127.0.0.1:" + s.plain,
			"--entrypoints.ping.address=" + ping, "--ping.entrypoint=ping",
			"--providers.kubernetesgateway=true", "--providers.kubernetesgateway.nativelbbydefault=true",
		},
		Ready: func(ctx context.Context) error {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ping+"/ping", http.NoBody)
			if err != nil {
				return err
			}
			answer, err := http.DefaultClient.Do(request)
			if err != nil {
				return err
			}
			return answer.Body.Close()
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("Traefik's log ends with\n%s", p.LogTail())
		}
		_ = p.Kill()
	})
}

// kubectl returns what it prints.
func (s *suite) kubectl(cluster string, args ...string) string {
	s.t.Helper()
	out, err := s.world.Kubectl(s.t.Context(), cluster, args...)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(out)
}

// apply writes objects into the region's cluster.
func (s *suite) apply(text string) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "objects.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.kubectl(beijing, "apply", "-f", file)
}

// answer is what a user got; said is what the program behind the gateways tells of the request, if it was that.
type answer struct {
	status int
	header http.Header
	text   string
	said   map[string]string
}

// ask sends a request for a host to Traefik, over TLS, by HTTP/2.
func (s *suite) ask(method, host, path string, header http.Header) (answer, error) {
	to := url.URL{Scheme: "https", Host: host, Path: path}
	return s.send(method, to.String(), header, &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: servercert.Pool(s.pair), MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+s.port)
		},
	})
}

// send sends a request without a body.
func (s *suite) send(method, to string, header http.Header, by http.RoundTripper) (answer, error) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: by}
	request, err := http.NewRequestWithContext(s.t.Context(), method, to, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	maps.Copy(request.Header, header)
	got, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: got.StatusCode, header: got.Header, text: string(text)}
	_ = json.Unmarshal(text, &a.said) // other pages say other things
	return a, nil
}

// passed reports whether Traefik has sent a request on by a route.
func (s *suite) passed(method, path, route string) bool {
	s.t.Helper()
	log, err := os.ReadFile(s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(log), "\n") {
		if strings.Contains(line, `"`+method+" "+path+" HTTP/") && strings.Contains(line, accounts+"-"+route+"-") {
			return true
		}
	}
	return false
}

// eventually waits until a host answers a read with a status.
func (s *suite) eventually(host string, status int) {
	s.t.Helper()
	testkit.Eventually(s.t, patience, func() error {
		a, err := s.ask(http.MethodGet, host, "/users/ann", nil)
		if err == nil && a.status != status {
			err = fmt.Errorf("GET at %s: %d %s, want %d", host, a.status, a.text, status)
		}
		return err
	})
}
