//go:build e2e

package gatewayapi_test

import (
	"net/http"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// mistake is a route that is like the guide's, but for one thing.
type mistake struct {
	// edit changes the route's spec.
	edit func(spec map[string]any)
	// namespace of the route; empty: the service's.
	namespace string
	// tells are conditions of the route; none: its status says nothing at all.
	tells []string
	// status is what users get.
	status int
}

func parent(spec map[string]any) map[string]any {
	return spec["parentRefs"].([]any)[0].(map[string]any)
}

func backend(spec map[string]any) map[string]any {
	rule := spec["rules"].([]any)[0].(map[string]any)
	return rule["backendRefs"].([]any)[0].(map[string]any)
}

// mistakes are told by the route's status, in words that the guide has.
func (s *suite) mistakes(page, good string) {
	t := s.t
	all := map[string]mistake{
		"no-gateway":  {edit: func(spec map[string]any) { parent(spec)["name"] = "pubic" }, status: http.StatusNotFound},
		"no-listener": {edit: func(spec map[string]any) { parent(spec)["sectionName"] = "http" }, tells: []string{"Accepted=False/NoMatchingParent"}, status: http.StatusNotFound},
		"not-allowed": {edit: func(spec map[string]any) { parent(spec)["sectionName"] = "own" }, tells: []string{"Accepted=False/NotAllowedByListeners"}, status: http.StatusNotFound},
		"other-host": {
			edit:  func(spec map[string]any) { spec["hostnames"] = []any{"user.example.org"} },
			tells: []string{"Accepted=False/NoMatchingListenerHostname"}, status: http.StatusNotFound,
		},
		"no-service": {
			edit:  func(spec map[string]any) { backend(spec)["name"] = "user-gatewy" },
			tells: []string{"Accepted=True/Accepted", "ResolvedRefs=False/BackendNotFound"}, status: http.StatusInternalServerError,
		},
		"no-port": {
			edit:  func(spec map[string]any) { backend(spec)["port"] = 80 },
			tells: []string{"Accepted=True/Accepted", "ResolvedRefs=False/BackendNotFound"}, status: http.StatusInternalServerError,
		},
		"no-grant": {
			namespace: "infra", edit: func(spec map[string]any) { backend(spec)["namespace"] = "accounts" },
			tells: []string{"Accepted=True/Accepted", "ResolvedRefs=False/RefNotPermitted"}, status: http.StatusInternalServerError,
		},
	}
	var objects []string
	for name, m := range all {
		objects = append(objects, edited(t, good, name, m))
	}
	// The Gateway's controller has seen these when it has seen what is applied after them.
	s.apply(strings.Join(objects, "---\n"))
	s.apply(edited(t, good, "last", mistake{edit: func(map[string]any) {}}))
	s.becomes(accounts, "httproute", "last", "Accepted=True/Accepted")
	for name, m := range all {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			s.becomes(m.in(), "httproute", name, m.tells...)
			if told := s.conditions(m.in(), "httproute", name); len(m.tells) == 0 && len(told) > 0 {
				t.Errorf("the status tells %v, and the guide has it that it tells nothing", told)
			}
			s.eventually(name+".example.com", m.status)
			for _, condition := range m.tells {
				if _, reason, _ := strings.Cut(condition, "/"); !strings.Contains(page, reason) {
					t.Errorf("%s has no word of %s, which a route's status tells", guide, reason)
				}
			}
		})
	}
	t.Run("astray", func(t *testing.T) {
		s := s.in(t)
		s.eventually("last.example.com", http.StatusOK)
		s.apply(edited(t, good, "last", mistake{edit: func(spec map[string]any) { parent(spec)["name"] = "pubic" }}))
		s.eventually("last.example.com", http.StatusNotFound)
		s.becomes(accounts, "httproute", "last", "Accepted=True/Accepted") // of the Gateway that it had
	})
	t.Run("granted", func(t *testing.T) {
		s := s.in(t)
		s.apply(object(t, page, "ReferenceGrant"))
		s.becomes("infra", "httproute", "no-grant", "ResolvedRefs=True/ResolvedRefs")
		s.eventually("no-grant.example.com", http.StatusOK)
	})
}

func (m mistake) in() string {
	if m.namespace != "" {
		return m.namespace
	}
	return accounts
}

// edited is the guide's route by another name and host, with a mistake.
func edited(t *testing.T, good, name string, m mistake) string {
	t.Helper()
	o := map[string]any{}
	if err := yaml.Unmarshal([]byte(good), &o); err != nil {
		t.Fatal(err)
	}
	o["metadata"] = map[string]any{"name": name, "namespace": m.in()}
	spec, ok := o["spec"].(map[string]any)
	if !ok {
		t.Fatalf("%s shows a route without a spec", guide)
	}
	spec["hostnames"] = []any{name + ".example.com"}
	m.edit(spec)
	text, err := yaml.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
