package playground_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/ownca"
	"multiactive.dev/operator/internal/peertls"
	"multiactive.dev/operator/internal/playground/node"
	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/binaries"
)

const (
	// peersTimeout is for one step of a running service's change over.
	peersTimeout = 3 * time.Minute
	// ordersPause is the time between two orders of a customer.
	ordersPause = 20 * time.Millisecond
)

// TestMutualTLSUnderLoad switches mutual TLS on in one patch while every region's users write, half of them at home in
// the other region; then a certificate is replaced, and somebody comes with one of an authority of their own. No request
// fails.
func TestMutualTLSUnderLoad(t *testing.T) {
	w := ordersWorld(t)
	load := place(t, w)
	load.served("before mutual TLS")

	w.kubectl("hub", "-n", "shop", "patch", "multiactiveservice", "orders", "--type=json", "-p", secure(w))
	testkit.Eventually(t, peersTimeout, func() error {
		text := w.kubectl("hub", "-n", "shop", "get", "multiactiveservice", "orders", "-o",
			`jsonpath={.status.conditions[?(@.type=="PeersAuthenticated")].reason}: {.status.conditions[?(@.type=="PeersAuthenticated")].message}`)
		if !strings.HasPrefix(text, "MutualTLS:") {
			return errors.New(text)
		}
		return nil
	})
	for region, other := range map[string]string{"north": "south", "south": "north"} {
		if got := w.kubectl(region, "-n", "shop", "get", "regionalservice", "orders", "-o", "jsonpath={.status.acceptsPeers[*]}"); got != other {
			t.Errorf("%s accepts the requests of %q, want %s", region, got, other)
		}
	}
	load.served("over mutual TLS")

	before := w.shown("north")
	w.kubectl("north", "-n", "shop", "delete", "secret", "multiactive-peer-certificates")
	w.kubectl("hub", "-n", "shop", "patch", "multiactiveservice", "orders", "--type=json", "-p",
		`[{"op":"replace","path":"/spec/announcements/0/text/0/value","value":"The gateways have other certificates."}]`)
	testkit.Eventually(t, peersTimeout, func() error {
		if now := w.shown("north"); now == before {
			return errors.New("the gateways of north show the certificate from before")
		}
		return nil
	})
	load.served("with another certificate")

	if err := w.intrude("north"); err == nil {
		t.Error("the gateways of north have answered somebody with a certificate of an authority that nobody knows")
	}
	if counted := w.refused("north"); !strings.Contains(counted, `reason="untrusted",side="server"`) {
		t.Errorf("the gateways of north have refused: %q", counted)
	}
	load.served("after an intruder")
	load.check()
}

// secured is a world that runs the service orders.
type secured struct {
	t *testing.T
	*world.World
	manifest *world.Manifest
	dir      string
}

// ordersWorld runs the service orders in two regions and a witness.
func ordersWorld(t *testing.T) *secured {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	m, err := world.ReadManifest(filepath.Join("testdata", "orders.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	w := boot(t, m, node.Programs{"registry.example.com/shop/orders:v3": filepath.Join(bin, "echo")}, bin)
	w.open()
	return w
}

// open declares the service orders, and waits until all of it is as declared.
func (w *secured) open() {
	w.t.Helper()
	w.declare(w.manifest)
	w.kubectl("hub", "-n", "shop", "wait", "multiactiveservice/orders", "--for=condition=Ready", "--timeout="+storyTimeout.String())
}

// boot runs a world without its service, with the operator's programs of a directory, until the test ends.
func boot(t *testing.T, m *world.Manifest, images node.Programs, bin string) *secured {
	t.Helper()
	root, err := binaries.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	made, err := world.New(world.Options{
		Dir: dir, Root: root, Programs: bin, Self: filepath.Join(bin, "playground"), Manifest: m, Regions: m.RegionNames(), Images: images,
		Clock: clock.RealClock{}, Log: slog.New(slog.DiscardHandler), Progress: func(string) func(error) { return func(error) {} },
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &secured{t, made, m, dir}
	t.Cleanup(func() {
		if t.Failed() {
			for file, end := range made.Logs() {
				t.Logf("%s ends with\n%s", file, end)
			}
		}
		if err := made.Stop(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), storyTimeout)
	defer cancel()
	if err := made.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return w
}

// declare creates the service once every region serves: one that joins after it has its keys only when a person orders it.
func (w *secured) declare(m *world.Manifest) {
	w.t.Helper()
	w.kubectl("hub", "wait", "regions", "--all", "--for=condition=Serving", "--timeout="+storyTimeout.String())
	w.create(m.Service)
}

// create has kubectl create an object at the hub.
func (w *secured) create(object any) {
	w.t.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		w.t.Fatal(err)
	}
	file := filepath.Join(w.t.TempDir(), "object.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.kubectl("hub", "create", "-f", file)
}

// order has an operation carried out.
func (w *secured) order(kind, region string) {
	w.t.Helper()
	name := strings.ToLower(kind) + "-" + region
	w.create(map[string]any{
		"apiVersion": "multiactive.dev/v1alpha1", "kind": "Operation", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"type": kind, "region": region},
	})
	testkit.Eventually(w.t, storyTimeout, func() error {
		state := w.kubectl("hub", "get", "operation", name, "-o", "jsonpath={.status.state}")
		if state == "Failed" || state == "Refused" {
			w.t.Fatalf("%s: %s", name, w.kubectl("hub", "get", "operation", name, "-o", "jsonpath={.status.conditions}"))
		}
		if state != "Succeeded" {
			return fmt.Errorf("%s is %s: %s", name, state, w.kubectl("hub", "get", "operation", name, "-o", "jsonpath={.status.conditions}"))
		}
		return nil
	})
}

// kubectl returns what it prints.
func (w *secured) kubectl(cluster string, args ...string) string {
	w.t.Helper()
	out, err := w.Kubectl(w.t.Context(), cluster, args...)
	if err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(out)
}

// secure declares mutual TLS everywhere at once.
func secure(w *secured) string {
	steps := []map[string]any{{"op": "add", "path": "/spec/gateway/peerTLS", "value": map[string]any{}}}
	for i, r := range w.Regions() {
		steps = append(steps, map[string]any{"op": "add", "path": fmt.Sprintf("/spec/regions/%d/peerEndpoint", i), "value": r.PeerEdge()})
	}
	text, err := json.Marshal(steps)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// peers is where the gateways of a region listen for those of others.
func (w *secured) peers(region string) string {
	return strings.TrimPrefix(w.Region(region).PeerEdge(), "https://")
}

// shown is the serial number of the certificate that the gateways of a region show; empty: none.
func (w *secured) shown(region string) string {
	conn, err := tls.Dial("tcp", w.peers(region), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}) // it is only looked at
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }() // nothing was sent
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Text(16)
}

// intrude sends the gateways of a region a request as a gateway of the other one, by a certificate of an authority that
// is like the operator's and known to nobody.
func (w *secured) intrude(region string) error {
	w.t.Helper()
	id := peertls.ID{Region: "south", Namespace: "shop", Name: "orders"}
	authority, err := ownca.ForGateways(id.Region)(time.Now(), time.Hour)
	if err != nil {
		w.t.Fatal(err)
	}
	cert, key, err := authority.Issue(id, time.Now(), time.Hour)
	if err != nil {
		w.t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		w.t.Fatal(err)
	}
	client := http.Client{Timeout: peersTimeout, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair},
	}}}
	answer, err := client.Get("https://" + w.peers(region) + "/orders/anna")
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// refused are the lines of the region's gateways that count refused peers.
func (w *secured) refused(region string) string {
	w.t.Helper()
	var found []string
	ips := w.kubectl(region, "-n", "shop", "get", "pods", "-l", "multiactive.dev/component=gateway", "-o", "jsonpath={.items[*].status.podIP}")
	for ip := range strings.FieldsSeq(ips) {
		answer, err := http.Get("http://" + net.JoinHostPort(ip, "8081") + "/metrics")
		if err != nil {
			w.t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil {
			w.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "multiactive_gateway_refused_peers_total") {
				found = append(found, line)
			}
		}
	}
	return strings.Join(found, "")
}

// orders are placed without end, at every region, by customers who are at home here and there.
type orders struct {
	t    *testing.T
	stop context.CancelFunc
	done sync.WaitGroup

	mu sync.Mutex
	// across counts those that a region answered for another one, failed tells of those that were not served.
	across int
	failed []string
}

func place(t *testing.T, w *secured) *orders {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	o := &orders{t: t, stop: cancel}
	client := &http.Client{Timeout: peersTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, region := range w.Regions() {
		for _, customer := range []string{"anna", "ben", "carla", "dieter"} {
			o.done.Go(func() {
				for ctx.Err() == nil {
					o.one(ctx, client, region.Name, region.Edge()+"/orders/"+customer)
					select {
					case <-ctx.Done():
					case <-time.After(ordersPause):
					}
				}
			})
		}
	}
	t.Cleanup(func() { cancel(); o.done.Wait() })
	return o
}

// one places an order.
func (o *orders) one(ctx context.Context, client *http.Client, asked, url string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, http.NoBody)
	if err != nil {
		o.t.Error(err)
		return
	}
	answer, err := client.Do(req)
	if err != nil {
		o.note(ctx, false, err.Error())
		return
	}
	text, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	var body map[string]string
	if err != nil || answer.StatusCode != http.StatusOK || json.Unmarshal(text, &body) != nil {
		o.note(ctx, false, fmt.Sprintf("asked in %s: %s %s %v", asked, answer.Status, text, err))
		return
	}
	o.note(ctx, body["city"] != asked, "")
}

func (o *orders) note(ctx context.Context, across bool, failure string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case failure != "" && ctx.Err() == nil:
		o.failed = append(o.failed, time.Now().Format(time.StampMilli)+" "+failure)
	case across:
		o.across++
	}
}

// served waits until orders have crossed between the regions.
func (o *orders) served(when string) {
	o.t.Helper()
	count := func() int {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.across
	}
	before := count()
	testkit.Eventually(o.t, peersTimeout, func() error {
		if n := count() - before; n < 50 {
			return fmt.Errorf("%s: %d orders have crossed between the regions", when, n)
		}
		return nil
	})
}

// unharmed returns an error once an order has failed.
func (o *orders) unharmed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.failed) > 0 {
		return errors.New("an order failed: " + o.failed[0])
	}
	return nil
}

// check holds that no order has failed.
func (o *orders) check() {
	o.t.Helper()
	o.stop()
	o.done.Wait()
	o.t.Logf("%d orders crossed between the regions", o.across)
	if n := len(o.failed); n > 0 {
		o.t.Errorf("%d orders failed, such as\n%s", n, strings.Join(o.failed[:min(n, 5)], "\n"))
	}
}
