package playground_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/playground/load"
	"multiactive.dev/operator/internal/playground/node"
	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/binaries"
)

const (
	exampleImage = "multiactive.dev/examples/user"
	// askTimeout bounds one request of a user; a gateway holds some while owners change.
	askTimeout = 15 * time.Second
	firstWord  = "correct horse battery"
)

// town is a world that runs the example, with people who know nothing but its addresses.
type town struct {
	*secured
	population *load.Population
}

// exampleTown runs the example, changed before it is declared. prepare is called when the clusters are there and the
// service is not; either may be nil.
func exampleTown(t *testing.T, edit func(*world.Manifest), prepare func(*secured)) *town {
	t.Helper()
	root, err := binaries.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	m, err := world.ReadManifest(filepath.Join(root, "examples", "user", "multiactiveservice.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(m)
	}
	var weights []ownership.WeightedRegion
	for _, r := range m.Service.Spec.Regions {
		weights = append(weights, ownership.WeightedRegion{Name: r.Name, Weight: *r.Weight})
	}
	user := filepath.Join(buildExample(t), "user")
	w := &town{boot(t, m, node.Programs{exampleImage: user}, tellingHere(t)), load.NewPopulation(weights, time.Now())}
	if prepare != nil {
		prepare(w.secured)
	}
	w.declare(m)
	w.calm()
	return w
}

// tellingHere is a directory with the operator's programs, whose gateways may post to this machine. Otherwise they post to nobody
// beside them, and here that is everybody.
func tellingHere(t *testing.T) string {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"manager", "mirror", "playground"} {
		if err := os.Symlink(filepath.Join(bin, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	gateway := fmt.Sprintf("#!/bin/sh\nexec '%s' \"$@\" --notify-refuse=\n", filepath.Join(bin, "gateway"))
	if err := os.WriteFile(filepath.Join(dir, "gateway"), []byte(gateway), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// calm waits until the hub says that all is well with the flows, and every region's gateway serves.
func (w *town) calm() {
	w.t.Helper()
	w.mas("wait", "--for=condition=CoreAvailable", "--timeout="+storyTimeout.String())
	w.mas("wait", "--for=condition=Degraded=False", "--timeout="+storyTimeout.String())
	for _, r := range w.Regions() {
		testkit.Eventually(w.t, storyTimeout, func() error {
			a, err := w.try(http.MethodGet, r.Name, "/.multiactive/healthz", nil)
			if err != nil || a.status != http.StatusOK {
				return fmt.Errorf("the gateway of %s: %d %s (%w)", r.Name, a.status, a.body, err)
			}
			return nil
		})
	}
}

// mas runs kubectl for the service at the hub.
func (w *town) mas(verb string, args ...string) string {
	w.t.Helper()
	return w.kubectl("hub", append([]string{"-n", "accounts", verb, "multiactiveservice/user"}, args...)...)
}

// lose ends all of a region, and waits until the others have agreed on it.
func (w *secured) lose(region string) {
	w.t.Helper()
	if err := w.Region(region).Kill(); err != nil {
		w.t.Fatal(err)
	}
	w.kubectl("hub", "wait", "region/"+region, "--for=condition=Serving=False", "--timeout="+storyTimeout.String())
}

// comeBack starts a lost region again, and waits until it waits for a person's word.
func (w *secured) comeBack(region string) {
	w.t.Helper()
	if err := w.Region(region).Return(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.kubectl("hub", "wait", "region/"+region, "--for=jsonpath={.status.state}=Returning", "--timeout="+storyTimeout.String())
}

// visitor is a user with what a browser keeps.
type visitor struct {
	town *town
	load.User
	password, cookie string
}

// answer is what a user got.
type answer struct {
	status int
	header http.Header
	body   string
}

// text is a member of the answer's document.
func (a answer) text(member string) string {
	document := map[string]any{}
	if json.Unmarshal([]byte(a.body), &document) != nil || document[member] == nil {
		return ""
	}
	return fmt.Sprint(document[member])
}

// settler is a new user of a home who has registered through any region's gateway.
func (w *town) settler(home, through string) *visitor {
	w.t.Helper()
	v := &visitor{town: w, User: w.population.NewAt(home), password: firstWord}
	if a := v.register(through); a.status != http.StatusCreated {
		w.t.Fatalf("registering a user of %s through %s: %d %s", home, through, a.status, a.body)
	}
	return v
}

func (v *visitor) register(through string) answer {
	v.town.t.Helper()
	return v.ask(http.MethodPost, through, "/v1/accounts", map[string]any{"phone": v.Phone, "password": v.password, "name": "User " + v.Phone}, "")
}

// login has the region give the user a session, which the browser keeps from then on.
func (v *visitor) login(at string) answer {
	v.town.t.Helper()
	a := v.ask(http.MethodPost, at, "/v1/login", map[string]any{"phone": v.Phone, "password": v.password}, "")
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name == "sid" && a.status == http.StatusOK {
			v.cookie = c.Value
		}
	}
	return a
}

// enters logs in, which has to succeed.
func (v *visitor) enters(at string) *visitor {
	v.town.t.Helper()
	if a := v.login(at); a.status != http.StatusOK {
		v.town.t.Fatalf("a user of %s logs in at %s: %d %s", v.Home, at, a.status, a.body)
	}
	return v
}

// pays asks for a transfer.
func (v *visitor) pays(at string, to *visitor, amount int, once string) answer {
	v.town.t.Helper()
	return v.ask(http.MethodPost, at, "/v1/transfers", map[string]any{"from": v.Phone, "to": to.Phone, "amount": amount}, once)
}

// saves changes the profile.
func (v *visitor) saves(at, about string) answer {
	v.town.t.Helper()
	return v.ask(http.MethodPut, at, "/v1/profile", map[string]any{"name": "User", "about": about}, "")
}

// balance is the balance at home, or an error.
func (v *visitor) balance(at string) (string, error) {
	a := v.ask(http.MethodGet, at, "/v1/balance", nil, "")
	if a.status != http.StatusOK || a.header.Get("Multiactive-Stale") != "" {
		return "", fmt.Errorf("the balance at %s: %d %s", at, a.status, a.body)
	}
	return a.text("balance"), nil
}

// ask sends one request with the user's key and session. Nothing is sent twice.
func (v *visitor) ask(method, at, path string, body any, once string) answer {
	v.town.t.Helper()
	a, err := v.town.try(method, at, path, body, "X-User-Phone", v.Phone, "Idempotency-Key", once, "Cookie", v.sid(), "Accept-Language", "zh-CN")
	if err != nil {
		v.town.t.Fatalf("%s %s at %s: %v", method, path, at, err)
	}
	return a
}

func (v *visitor) sid() string {
	if v.cookie == "" {
		return ""
	}
	return "sid=" + v.cookie
}

// try sends one request to a region's gateway, with headers in pairs; an empty value is none.
func (w *town) try(method, at, path string, body any, headers ...string) (answer, error) {
	var content io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		content = strings.NewReader(string(text))
	}
	request, err := http.NewRequestWithContext(w.t.Context(), method, w.Region(at).Edge()+path, content)
	if err != nil {
		return answer{}, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i+1] != "" {
			request.Header.Set(headers[i], headers[i+1])
		}
	}
	client := &http.Client{Timeout: askTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	got, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	text, err := io.ReadAll(got.Body)
	return answer{got.StatusCode, got.Header, string(text)}, errors.Join(err, got.Body.Close())
}

// known waits until regions know the users themselves, without asking anybody's home.
func (w *town) known(users []*visitor, regions ...string) {
	w.t.Helper()
	for _, v := range users {
		for _, at := range regions {
			testkit.Eventually(w.t, storyTimeout, func() error {
				a := v.login(at)
				if from := a.header.Get("Multiactive-Source"); a.status != http.StatusOK || from != "" {
					return fmt.Errorf("a user of %s logs in at %s: %d, answered by %q", v.Home, at, a.status, from)
				}
				return nil
			})
		}
	}
}
