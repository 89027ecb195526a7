package playground_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/testkit"
)

const (
	goodImage = "registry.example.com/shop/orders:v3"
	badImage  = "registry.example.com/shop/misspelt:v4"
	// quiet is how long nothing may happen: longer than a region that does not answer takes to be lost.
	quiet = 15 * time.Second
)

// TestMishaps goes through what operators and machines do to a service with two regions and a witness. The API servers,
// coordination store, managers, gateways and Kafkas are processes. Each part leaves the world as it found it, but for the last.
func TestMishaps(t *testing.T) {
	w := ordersWorld(t)
	watch := watchAlerts(t, w.World)
	watch.calm()
	for _, part := range []struct {
		name string
		play func(*secured)
		// alerts that it has fire, and others that it may.
		alerts, may []string
	}{
		{"a bad image stops in the first region", badImageStops, nil, []string{"MultiActiveServiceNotReady"}},
		{"a region that the hub does not reach goes on", unreachedRegionGoesOn, []string{"MultiActiveClusterUnreachable"}, nil},
		{"the majority of the store is lost", majorityIsLost, []string{
			"MultiActiveCoordinationUnreachable", "MultiActiveCoordinationMemberWithoutLeader", "MultiActiveLeaseNotRenewed",
			"MultiActiveHomeWritesStopped", "MultiActiveHubWithoutCoordination",
		}, []string{"MultiActiveCoreFlowErrors"}},
		{"the leader's process is lost", leaderIsLost, nil, []string{"MultiActiveAgentSilent", "MultiActiveRegionSuspect"}},
		{"the hub is lost and then a region", hubIsLost, []string{"MultiActiveRegionLost"}, []string{
			"MultiActiveAgentSilent", "MultiActiveFlowDegraded", "MultiActiveIncidentStuck", "MultiActiveRegionSuspect", "MultiActivePeerUnreachable",
			"MultiActiveCoreUnavailable",
		}},
		{"a tenant gets no more than their own roles give", tenantGetsNoMore, nil, nil},
		{"a service is deleted while a region is down", deletedWhileDown, nil, nil},
		{"two regions are left alone", leftAlone, []string{"MultiActiveRegionSuspect", "MultiActiveDesignErrors"}, nil},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.play(&secured{t, w.World, w.manifest, w.dir}) }) {
			return // the world is not as the next part wants it
		}
		watch.fired(part.alerts...)
		watch.nothingBut(part.name, part.may...)
	}
}

// badImageStops declares an image that does not exist, and takes it back: users notice nothing.
func badImageStops(w *secured) {
	load := place(w.t, w)
	load.served("before the image")
	w.image(badImage)
	testkit.Eventually(w.t, storyTimeout, func() error {
		if got := w.orders(`{.status.conditions[?(@.type=="WorkloadsAvailable")].message}`); !strings.Contains(got, "north") || !strings.Contains(got, badImage) {
			return fmt.Errorf("the service says %q", got)
		}
		return nil
	})
	if got := w.slice("south", "{.spec.workload.template.spec.containers[0].image}"); got != goodImage {
		w.t.Errorf("south is to run %s, although north cannot", got)
	}
	load.served("with an image that north cannot run")
	w.image(goodImage)
	w.kubectl("hub", "-n", "shop", "wait", "multiactiveservice/orders", "--for=condition=Ready", "--timeout="+storyTimeout.String())
	load.served("after the image was taken back")
	load.check()
}

// unreachedRegionGoesOn has the hub lose its credentials for a region: it cannot act on it, and the region's users go on.
func unreachedRegionGoesOn(w *secured) {
	load, before := place(w.t, w), w.epoch()
	load.served("before south is out of the hub's reach")
	kubeconfig := w.kubectl("hub", "-n", world.Namespace, "get", "secret", "south", "-o", "jsonpath={.data.kubeconfig}")
	text, err := base64.StdEncoding.DecodeString(kubeconfig)
	if err != nil {
		w.t.Fatal(err)
	}
	withdrawn := token.ReplaceAll(text, []byte("${1}withdrawn"))
	if bytes.Equal(text, withdrawn) {
		w.t.Fatal("the kubeconfig of south has no token")
	}
	w.credentials("south", base64.StdEncoding.EncodeToString(withdrawn))
	w.kubectl("hub", "wait", "region/south", "--for=condition=ClusterReachable=False", "--timeout="+storyTimeout.String())
	testkit.Consistently(w.t, quiet, func() error {
		if serving := w.kubectl("hub", "get", "region", "south", "-o", `jsonpath={.status.conditions[?(@.type=="Serving")].status}`); serving != "True" {
			return errors.New("whether south serves is " + serving)
		}
		return nil
	})
	load.served("while south is out of the hub's reach")
	w.credentials("south", kubeconfig)
	w.kubectl("hub", "wait", "region/south", "--for=condition=ClusterReachable", "--timeout="+storyTimeout.String())
	load.check()
	if after := w.epoch(); after != before {
		w.t.Errorf("owners have changed: epoch %s, was %s", after, before)
	}
}

// token is a credential of a kubeconfig.
var token = regexp.MustCompile(`("?token"?: *"?)[^"\s]+`)

// credentials are what the hub has of a region from now on.
func (w *secured) credentials(region, kubeconfig string) {
	w.t.Helper()
	w.kubectl("hub", "-n", world.Namespace, "patch", "secret", region, "--type=merge", "-p", fmt.Sprintf(`{"data":{"kubeconfig":%q}}`, kubeconfig))
}

// majorityIsLost ends two of the store's three members: reads go on, home writes stop, and all goes on when they are back.
func majorityIsLost(w *secured) {
	north, south := w.Region("north").Coordination(), w.Region("south").Coordination()
	if err := errors.Join(north.Kill(), south.Kill()); err != nil {
		w.t.Fatal(err)
	}
	for _, r := range w.Regions() {
		testkit.Eventually(w.t, storyTimeout, func() error {
			for _, customer := range customers {
				if status, body := w.request(http.MethodPost, r.Name, customer); status != http.StatusServiceUnavailable {
					return fmt.Errorf("a home write at %s: %d %s", r.Name, status, body)
				}
			}
			return nil
		})
	}
	w.kubectl("hub", "wait", "region/south", "--for=condition=Serving=Unknown", "--timeout="+storyTimeout.String())
	if reason := w.kubectl("hub", "get", "region", "south", "-o", `jsonpath={.status.conditions[?(@.type=="Serving")].reason}`); reason != "StoreUnreachable" {
		w.t.Errorf("whether south serves is unknown for the reason %s", reason)
	}
	testkit.Consistently(w.t, quiet, func() error {
		for _, r := range w.Regions() {
			if status, body := w.request(http.MethodGet, r.Name, "anna"); status != http.StatusOK {
				return fmt.Errorf("a read at %s: %d %s", r.Name, status, body)
			}
			if status, body := w.request(http.MethodPost, r.Name, "anna"); status == http.StatusOK {
				return fmt.Errorf("a home write at %s without the store: %s", r.Name, body)
			}
		}
		return nil
	})
	if err := errors.Join(north.Restore(w.t.Context()), south.Restore(w.t.Context())); err != nil {
		w.t.Fatal(err)
	}
	w.served("with the store back", "north", "south")
	w.kubectl("hub", "wait", "regions", "--all", "--for=condition=Serving", "--timeout="+storyTimeout.String())
}

// hubIsLost loses the hub, by which no write is refused, and then a region, whose users' writes are taken over all the same.
func hubIsLost(w *secured) {
	load := place(w.t, w)
	load.served("before the hub is lost")
	if err := w.KillHub(); err != nil {
		w.t.Fatal(err)
	}
	load.served("without the hub")
	load.check()
	if err := w.Region("south").Kill(); err != nil {
		w.t.Fatal(err)
	}
	testkit.Eventually(w.t, storyTimeout, func() error {
		for _, customer := range customers {
			if status, body := w.request(http.MethodPut, "north", customer); status != http.StatusOK {
				return fmt.Errorf("paying in north: %d %s", status, body)
			}
		}
		return nil
	})
	ctx := w.t.Context()
	if err := w.ReturnHub(ctx); err != nil {
		w.t.Fatal(err)
	}
	w.kubectl("hub", "wait", "region/south", "--for=condition=Serving=False", "--timeout="+storyTimeout.String())
	testkit.Eventually(w.t, storyTimeout, func() error {
		if told := w.kubectl("hub", "get", "regionincidents", "-o", "jsonpath={.items[*].spec.region}"); told != "south" {
			return fmt.Errorf("there are incidents of %q", told)
		}
		return nil
	})
	w.comeBack("south")
	w.order("Handback", "south")
	w.served("after the handback", "north", "south")
}

// tenantGetsNoMore declares services by which their author would get what their own roles do not give, and forges what
// gateways say.
func tenantGetsNoMore(w *secured) {
	for _, cluster := range []string{"hub", "north", "south"} {
		w.kubectl(cluster, "create", "namespace", "elsewhere")
		w.kubectl(cluster, "-n", "shop", "create", "serviceaccount", "idle")
	}
	w.another("elsewhere", "stranger", "writer")
	w.another("shop", "greedy", "idle")
	testkit.Eventually(w.t, storyTimeout, func() error {
		stranger := w.kubectl("hub", "-n", "elsewhere", "get", "multiactiveservice", "stranger", "-o", "jsonpath={.status.conditions}")
		if !strings.Contains(stranger, "does not allow namespace elsewhere") {
			return fmt.Errorf("a service in a namespace that no region allows: %s", stranger)
		}
		for _, region := range []string{"north", "south"} {
			greedy := w.kubectl(region, "-n", "shop", "get", "regionalservices", "greedy", "--ignore-not-found", "-o", `jsonpath={.status.conditions[?(@.type=="WorkloadAvailable")]}`)
			if !strings.Contains(greedy, "Forbidden") || !strings.Contains(greedy, "idle") {
				return fmt.Errorf("a service whose account may do nothing, in %s: %s", region, greedy)
			}
		}
		return nil
	})
	for _, region := range []string{"north", "south"} {
		if made := w.kubectl(region, "-n", "elsewhere", "get", "regionalservices,deployments,services", "-o", "name"); made != "" {
			w.t.Errorf("%s has in a namespace that it does not allow: %s", region, made)
		}
		if made := w.kubectl(region, "-n", "shop", "get", "deployment", "greedy", "--ignore-not-found", "-o", "name"); made != "" {
			w.t.Errorf("%s has %s, which the account may not make", region, made)
		}
		status, body := w.request(http.MethodGet, region, "anna", "Multiactive-Owner", "mallory", "Multiactive-Epoch", "999")
		if status != http.StatusOK || strings.Contains(body, "mallory") || strings.Contains(body, "999") {
			w.t.Errorf("a read in %s with a token that the user made: %d %s", region, status, body)
		}
		if status, body = w.request(http.MethodPost, region, "anna", "Multiactive-Owner", "mallory", "Multiactive-Epoch", "999"); status != http.StatusOK || strings.Contains(body, "mallory") || strings.Contains(body, "999") {
			w.t.Errorf("a write in %s with a token that the user made: %d %s", region, status, body)
		}
		if status, body = w.request(http.MethodPost, region, "anna", "Multiactive-Hop", "mallory"); status == http.StatusOK {
			w.t.Errorf("a write in %s by somebody who claims to be a gateway: %s", region, body)
		}
	}
	w.kubectl("hub", "-n", "elsewhere", "delete", "multiactiveservice", "stranger", "--timeout="+storyTimeout.String())
	w.kubectl("hub", "-n", "shop", "delete", "multiactiveservice", "greedy", "--timeout="+storyTimeout.String())
}

// another declares the service once more, under another name and with another account.
func (w *secured) another(namespace, name, account string) {
	w.t.Helper()
	m, err := world.ReadManifest(filepath.Join("testdata", "orders.yaml"))
	if err != nil {
		w.t.Fatal(err)
	}
	m.Service.Namespace, m.Service.Name, m.Service.Spec.Workload.ServiceAccountName = namespace, name, account
	w.create(m.Service)
}

// deletedWhileDown deletes the service while south is down, lets it go at a person's word, and has south clean up by itself.
func deletedWhileDown(w *secured) {
	w.lose("south")
	w.kubectl("hub", "-n", "shop", "delete", "multiactiveservice", "orders", "--wait=false")
	testkit.Eventually(w.t, storyTimeout, func() error {
		got := w.orders(`{.status.conditions[?(@.type=="Ready")].reason}: {.status.conditions[?(@.type=="Ready")].message}`)
		if !strings.HasPrefix(got, "Deleting: ") || !strings.Contains(got, "south") {
			return fmt.Errorf("it says %q", got)
		}
		return nil
	})
	w.create(map[string]any{
		"apiVersion": "multiactive.dev/v1alpha1", "kind": "Operation", "metadata": map[string]any{"name": "abandon-orders"},
		"spec": map[string]any{"type": "Abandon", "service": map[string]any{"namespace": "shop", "name": "orders"}, "region": "south"},
	})
	w.kubectl("hub", "-n", "shop", "wait", "multiactiveservice/orders", "--for=delete", "--timeout="+storyTimeout.String())
	w.clean("north")
	if err := w.Region("south").Return(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.clean("south")
}

// customers are at home in both regions.
var customers = []string{"anna", "ben", "carla", "dieter", "eva", "franz"}

// image declares what the service runs.
func (w *secured) image(name string) {
	w.t.Helper()
	w.kubectl("hub", "-n", "shop", "patch", "multiactiveservice", "orders", "--type=json", "-p",
		fmt.Sprintf(`[{"op":"replace","path":"/spec/workload/template/spec/containers/0/image","value":%q}]`, name))
}

// orders reads the service at the hub.
func (w *secured) orders(path string) string {
	w.t.Helper()
	return w.kubectl("hub", "-n", "shop", "get", "multiactiveservice", "orders", "-o", "jsonpath="+path)
}

// slice reads what a region was handed of the service.
func (w *secured) slice(region, path string) string {
	w.t.Helper()
	return w.kubectl(region, "-n", "shop", "get", "regionalservice", "orders", "-o", "jsonpath="+path)
}

// epoch is that of the view which the gateways of north act on.
func (w *secured) epoch() string {
	w.t.Helper()
	_, body := w.request(http.MethodPut, "north", "anna")
	var answer struct{ Epoch string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Epoch == "" {
		w.t.Fatalf("paying in north: %s", body)
	}
	return answer.Epoch
}

// clean waits until nothing of the service is left in a region.
func (w *secured) clean(region string) {
	w.t.Helper()
	testkit.Eventually(w.t, storyTimeout, func() error {
		if left := w.kubectl(region, "-n", "shop", "get", "regionalservices,deployments,pods", "-o", "name"); left != "" {
			return fmt.Errorf("%s still has %s", region, strings.ReplaceAll(left, "\n", ", "))
		}
		return nil
	})
}

// served waits until every customer's order is placed, whichever of the regions is asked.
func (w *secured) served(when string, regions ...string) {
	w.t.Helper()
	testkit.Eventually(w.t, storyTimeout, func() error {
		for _, region := range regions {
			for _, customer := range customers {
				if status, body := w.request(http.MethodPost, region, customer); status != http.StatusOK {
					return fmt.Errorf("%s: an order of %s at %s: %d %s", when, customer, region, status, body)
				}
			}
		}
		return nil
	})
}

// request sends one about a customer to a region's gateway, with headers in pairs; no answer is status 0.
func (w *secured) request(method, region, customer string, headers ...string) (status int, body string) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), method, w.Region(region).Edge()+"/orders/"+customer, http.NoBody)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Timeout: askTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(text)
}
