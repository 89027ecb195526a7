//go:build e2e

package gatewayapi_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/markdown"
)

// guide is the page that the routes come from.
const guide = "docs/guides/dns.md"

// route is an HTTPRoute or a GRPCRoute, as far as the test reads it.
type route struct {
	Status struct {
		Parents []struct {
			Conditions []metav1.Condition `json:"conditions"`
		} `json:"parents"`
	} `json:"status"`
}

// TestRealGateway has a region's users come through Traefik. It takes about a minute, most of which the world takes.
func TestRealGateway(t *testing.T) {
	s := newSuite(t)
	pageText, err := os.ReadFile(filepath.Join(s.root, filepath.FromSlash(guide)))
	if err != nil {
		t.Fatal(err)
	}
	page := string(pageText)
	httpRoute := object(t, page, "HTTPRoute")
	s.apply(httpRoute)
	s.becomes(accounts, "httproute", "user", "Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs")
	for _, host := range []string{"user.bj.example.com", "user.example.com"} {
		s.eventually(host, http.StatusOK)
	}
	t.Run("reads", func(t *testing.T) { s.in(t).reads() })
	t.Run("writes", func(t *testing.T) { s.in(t).writes() })
	t.Run("own pages", func(t *testing.T) { s.in(t).ownPages() })
	t.Run("forwarded requests", func(t *testing.T) { s.in(t).forwarded(httpRoute) })
	t.Run("gRPC", func(t *testing.T) { s.in(t).grpc(object(t, page, "GRPCRoute")) })
	t.Run("mistakes", func(t *testing.T) { s.in(t).mistakes(page, httpRoute) })
}

// object is the only one of a kind that the guide shows.
func object(t *testing.T, page, kind string) string {
	t.Helper()
	var found []string
	for _, b := range markdown.Parse(page).Blocks {
		if b.Language == "yaml" && strings.Contains(b.Text, "\nkind: "+kind+"\n") {
			found = append(found, b.Text)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s shows %d objects of kind %s, want one", guide, len(found), kind)
	}
	return found[0]
}

// becomes waits until a route's status has all conditions, as type=status/reason.
func (s *suite) becomes(namespace, kind, name string, conditions ...string) {
	s.t.Helper()
	testkit.Eventually(s.t, patience, func() error {
		got := s.conditions(namespace, kind, name)
		for _, want := range conditions {
			if !slices.Contains(got, want) {
				return fmt.Errorf("%s %s has %v, want %s", kind, name, got, want)
			}
		}
		return nil
	})
}

func (s *suite) conditions(namespace, kind, name string) []string {
	s.t.Helper()
	var r route
	if err := yaml.Unmarshal([]byte(s.kubectl(beijing, "-n", namespace, "get", kind, name, "-o", "yaml")), &r); err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, p := range r.Status.Parents {
		for _, c := range p.Conditions {
			s.t.Logf("%s/%s: %s=%s %s: %s", kind, name, c.Type, c.Status, c.Reason, c.Message)
			out = append(out, fmt.Sprintf("%s=%s/%s", c.Type, c.Status, c.Reason))
		}
	}
	return out
}

// reads are answered by the region that the host leads to.
func (s *suite) reads() {
	for i := range 8 {
		a, err := s.ask(http.MethodGet, "user.bj.example.com", fmt.Sprintf("/users/u%d", i), nil)
		if err != nil || a.status != http.StatusOK || a.said["city"] != beijing {
			s.t.Errorf("a read: %d %s (%v), want an answer of %s", a.status, a.text, err, beijing)
		}
	}
}

// writes come to the owner, whichever region that is, whatever the user says.
func (s *suite) writes() {
	served := map[string]int{}
	for i := range 16 {
		a, err := s.ask(http.MethodPost, "user.example.com", fmt.Sprintf("/users/u%d", i), http.Header{"Multiactive-Owner": {"nowhere"}})
		if err != nil || a.status != http.StatusOK || a.said["owner"] != a.said["city"] {
			s.t.Errorf("a write: %d %s (%v), want it at its owner", a.status, a.text, err)
		}
		served[a.said["city"]]++
	}
	if served[beijing] == 0 || served[shanghai] == 0 {
		s.t.Errorf("16 writes were served by %v, want both regions", served)
	}
}

// ownPages are those of the gateways, which other regions use.
func (s *suite) ownPages() {
	for _, path := range []string{"/.multiactive/healthz", "/.multiactive/endpoints"} {
		if a, err := s.ask(http.MethodGet, "user.bj.example.com", path, nil); err != nil || a.status != http.StatusOK {
			s.t.Errorf("%s: %d %s (%v)", path, a.status, a.text, err)
		}
	}
}

// forwarded requests come from another region's gateways by the Gateway as well, once it is where the endpoint leads to.
func (s *suite) forwarded(route string) {
	s.apply(edited(s.t, route, "regions", mistake{edit: func(spec map[string]any) {
		parent(spec)["sectionName"] = "regions"
		delete(spec, "hostnames")
	}}))
	s.becomes(accounts, "httproute", "regions", "Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs")
	s.kubectl("hub", "-n", "accounts", "patch", "multiactiveservice/user", "--type=json",
		`-p=[{"op": "replace", "path": "/spec/regions/0/endpoint", "value": "http://127.0.0.1:`+s.plain+`"}]`)
	testkit.Eventually(s.t, patience, func() error {
		for i := range 16 {
			path := fmt.Sprintf("/users/forwarded%d", i)
			a, err := s.send(http.MethodPost, s.world.Region(shanghai).Edge()+path, nil, nil)
			if err != nil || a.said["owner"] != a.said["city"] || a.said["city"] == "" {
				return fmt.Errorf("a write at %s: %d %s (%w)", shanghai, a.status, a.text, err)
			}
			if passed := s.passed(http.MethodPost, path, "regions"); passed != (a.said["city"] == beijing) {
				return fmt.Errorf("%s was served in %s, and passed the Gateway of %s: %t", path, a.said["city"], beijing, passed)
			}
		}
		return nil
	})
}

// grpc comes to the program as HTTP/2 by a route of its own, and by the other one does not.
func (s *suite) grpc(route string) {
	call := http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}}
	s.apply(route)
	s.becomes(accounts, "grpcroute", "user", "Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs")
	s.eventually("user-grpc.bj.example.com", http.StatusOK)
	for host, protocol := range map[string]string{"user-grpc.bj.example.com": "HTTP/2.0", "user.bj.example.com": "HTTP/1.1"} {
		a, err := s.ask(http.MethodPost, host, "/users/ann", call)
		if err != nil || a.said["protocol"] != protocol {
			s.t.Errorf("gRPC at %s: %d %v %s (%v), want it to come by %s", host, a.status, a.header, a.text, err, protocol)
		}
	}
}
