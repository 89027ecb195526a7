package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"multiactive.dev/operator/internal/gateway"
	"multiactive.dev/operator/internal/ownership"
)

// phoneOf returns a phone whose home is a region.
func phoneOf(t *testing.T, region string) string {
	t.Helper()
	regions := []ownership.WeightedRegion{{Name: "beijing", Weight: 50}, {Name: "shanghai", Weight: 50}}
	for _, phone := range []string{"13800000001", "13800000002", "13800000003", "13800000004", "13800000005", "13800000006", "13800000007"} {
		if ownership.Home(ownership.Slot(phone), regions) == region {
			return phone
		}
	}
	t.Fatal("no phone is at home in " + region)
	return ""
}

func TestOwnerText(t *testing.T) {
	for name, c := range map[string]struct {
		seen      *hubState
		region    string
		attention bool
	}{
		"owner-normal": {normalDay(t), "beijing", false}, "owner-outage": {outage(t), "beijing", true}, "owner-outage-other": {outage(t), "shanghai", false},
	} {
		t.Run(name, func(t *testing.T) {
			phone := phoneOf(t, c.region)
			o := &ownerOptions{}
			answer, err := o.reckon(&c.seen.services[0], c.seen, "+"+phone[:3]+" "+phone[3:])
			must(t, err)
			var out bytes.Buffer
			answer.text(terminal{out: &out})
			if answer.attention() != c.attention || strings.Contains(out.String(), phone) {
				t.Errorf("attention %t:\n%s", answer.attention(), out.String())
			}
			golden(t, name, out.String())
		})
	}
}

// gatewaysOf plays an API server with one gateway that says who owns a key.
func gatewaysOf(t *testing.T, says gateway.Explanation) *rest.Config {
	t.Helper()
	mux := http.NewServeMux()
	reply := func(w http.ResponseWriter, o any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(o); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("GET /api/v1/namespaces/accounts/pods", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Items: []corev1.Pod{
			{ObjectMeta: metav1.ObjectMeta{Name: "user-gateway-1"}, Status: corev1.PodStatus{Phase: corev1.PodRunning}},
		}})
	})
	mux.HandleFunc("GET /api/v1/namespaces/accounts/pods/http:user-gateway-1:8081/proxy/.multiactive/routing", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("key") == "" {
			t.Errorf("asked %s", r.URL)
		}
		reply(w, says)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL}
}

func testOwner(t *testing.T, w *hubWorld) {
	s := normalDay(t)
	for _, name := range s.regionNames() {
		w.put(s.regions[name])
	}
	w.put(&s.services[0])
	phone := phoneOf(t, "beijing")
	w.expect(0, "owner", phone, "user", "-n", "accounts").has("owner    beijing", "why      region beijing owns slot")
	w.expect(0, "owner", phone, "user", "-n", "accounts", "-o", "json").has(`"owner": "beijing"`, `"key": "phone"`)
	w.expect(exitUsage, "owner", phone, "-n", "accounts").has("the service is missing")
	w.expect(exitUsage, "owner", "abc", "user", "-n", "accounts").has("partition key phone from the command line is empty")
	w.expect(exitUsage, "owner", phone, "user", "-n", "accounts", "--kind", "mail").has(`--kind: "mail" is not a key of this service; its keys are ["phone"]`)

	w.contexts = map[string]*rest.Config{
		"bj": gatewaysOf(t, gateway.Explanation{Epoch: 7, Owner: "beijing", LeaseRemainingSeconds: 5.5, Summary: "home requests are served here"}),
		"sh": gatewaysOf(t, gateway.Explanation{Epoch: 8, Owner: "shanghai", Summary: "home requests go to region shanghai"}),
	}
	w.expect(0, "owner", phone, "user", "-n", "accounts", "--contexts", "bj").has("gateway user-gateway-1 (bj): epoch 7, lease 5.5s: home requests are served here")
	w.expect(exitAttention, "owner", phone, "user", "-n", "accounts", "--contexts", "bj,sh").has("it says otherwise")
}
