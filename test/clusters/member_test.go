//go:build e2e

package clusters_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/playground/load"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/cluster"
)

const (
	victim = "beijing"
	// ownerless is nobody's home: what is handed back to it are keys that it would take over.
	ownerless = "shenzhen"
	// loginBound bounds the logins of all users after a region's packets are lost without a word.
	loginBound = 8 * time.Second
	// returnTimeout bounds what takes a region's return, an order, or a rollout.
	returnTimeout = 3 * time.Minute
)

// TestMembers installs the operator in member mode, with the hub beside a member.
func TestMembers(t *testing.T) {
	f := newFleet(t, "member")
	p := f.serve(t)
	f.play(t, p, []scenario{
		{"a normal day", normalDay},
		{"a bad design", badDesign},
		{"an upgrade", upgrade},
		{"a drain", drain},
		{"a city is lost and handed back", lostAndHandedBack},
		{"a city is cut off", cutOff},
		{"the leader's region is lost", leaderLost},
		{"nothing is denied", nothingDenied},
	})
}

// TestPeers installs it in peer mode: every region has a hub, and none may be needed.
func TestPeers(t *testing.T) {
	f := newFleet(t, "peer")
	p := f.serve(t)
	f.play(t, p, []scenario{
		{"a normal day", normalDay},
		{"the leader's region is lost", leaderLost},
		{"nothing is denied", nothingDenied},
	})
}

// badDesign: a core flow that needs one that may be degraded is refused by the hub's webhook, and what is declared stays.
func badDesign(t *testing.T, f *fleet, _ *people) {
	m, err := f.service()
	if err != nil {
		t.Fatal(err)
	}
	flows := m.Service.Spec.Flows
	core := slices.IndexFunc(flows, func(f v1alpha1.Flow) bool { return f.Tier == v1alpha1.TierCore })
	other := slices.IndexFunc(flows, func(f v1alpha1.Flow) bool { return f.Tier == v1alpha1.TierNonCore })
	flows[core].DependsOn = append(flows[core].DependsOn, flows[other].Name)
	if err := f.applyService(t.Context(), m); err == nil || !strings.Contains(err.Error(), "MA004") {
		t.Errorf("a design whose core flow %s needs %s is answered with: %v, want it refused with MA004", flows[core].Name, flows[other].Name, err)
	}
}

// scenario leaves the world as it found it.
type scenario struct {
	name string
	run  func(*testing.T, *fleet, *people)
}

// serve installs the operator and the example, and measures that.
func (f *fleet) serve(t *testing.T) *people {
	t.Helper()
	began := wall.Now()
	f.install(t)
	t.Logf("installed after %s", seconds(wall.Since(began)))
	p := newPeople(f, f.deploy(t))
	took := wall.Since(began)
	f.reached(t)
	t.Logf("from empty clusters to the example that is Ready: %s (goal %s)", seconds(took), readyGoal)
	if took > readyGoal {
		t.Errorf("from empty clusters to Ready took %s, more than %s", seconds(took), readyGoal)
	}
	return p
}

// play goes through scenarios, the next also when one has failed.
func (f *fleet) play(t *testing.T, p *people, scenarios []scenario) {
	t.Helper()
	for _, s := range scenarios {
		if !t.Run(s.name, func(t *testing.T) { s.run(t, f, p) }) {
			f.explain(t)
		}
	}
}

func normalDay(t *testing.T, f *fleet, p *people) {
	if err := load.RegisterAll(t.Context(), p.client, p.users, f.endpoints()); err != nil {
		t.Fatal(err)
	}
	p.registerAtOnce(t)
	t.Logf("every user has logged in, most away from home, after %s", seconds(p.loginAll(t)))
	p.knownEverywhere(t, p.users)
	judge(t, p.under(t, victim, func() { p.pause(t.Context(), 10*time.Second) }), load.KindLogin, load.KindPinned, load.KindRegister, load.KindProfile, load.KindTransfer)
}

// upgrade gives every release another image, which rolls managers, gateways and mirrors, region by region.
func upgrade(t *testing.T, f *fleet, p *people) {
	const next = "clusters-next"
	records := p.under(t, "", func() {
		for _, c := range f.world.Clusters() {
			if err := c.Tag(t.Context(), operator+":"+firstTag, operator+":"+next); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.releaseHub(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		for _, c := range f.world.Clusters() {
			if err := f.release(t.Context(), c, next); err != nil {
				t.Fatal(err)
			}
			f.await(t, returnTimeout, c, "deployment/user-gateway", "-n", accounts, "--for=jsonpath={.spec.template.spec.containers[0].image}="+operator+":"+next)
			if _, err := c.Kubectl(t.Context(), "-n", accounts, "rollout", "status", "deployment/user-gateway", "--timeout=3m"); err != nil {
				t.Fatal(err)
			}
		}
	})
	judge(t, records, load.KindLogin, load.KindPinned, load.KindTransfer)
	f.undegraded(t)
}

// drain empties a region under load and fills it again.
func drain(t *testing.T, f *fleet, p *people) {
	records := p.under(t, "", func() {
		f.order(t, "Drain", victim)
		status, doc := p.register(t, victim, "shanghai", "en")
		if status != http.StatusCreated {
			t.Errorf("a user of the drained region registers elsewhere: %d %+v", status, doc)
		}
		p.pause(t.Context(), 10*time.Second) // its users have sessions there, and their home elsewhere
		f.order(t, "Undrain", victim)
	})
	judge(t, records, load.KindLogin, load.KindPinned, load.KindTransfer)
	f.undegraded(t)
}

func lostAndHandedBack(t *testing.T, f *fleet, p *people) {
	records := p.under(t, victim, func() {
		p.pause(t.Context(), 2*time.Second)
		if err := f.world.Cluster(victim).Kill(); err != nil {
			t.Fatal(err)
		}
		took := p.loginAll(t)
		t.Logf("every user is logged in elsewhere %s after the loss", seconds(took))
		if took > loginBound {
			t.Errorf("logins took %s, more than %s", seconds(took), loginBound)
		}
		f.degraded(t, p, victim)
	})
	judge(t, records, load.KindLogin, load.KindPinned)
	f.handBack(t, p, victim, func() error { return f.world.Cluster(victim).Return(t.Context()) })
}

// degraded waits until kubectl tells of the loss, and looks at what users meet.
func (f *fleet) degraded(t *testing.T, p *people, lost string) {
	t.Helper()
	began := wall.Now()
	f.await(t, time.Minute, f.hub(), serviceName, "-n", accounts, "--for=condition=Degraded")
	t.Logf("kubectl get mas tells of it %s later", seconds(wall.Since(began)))
	f.await(t, 10*time.Second, f.hub(), serviceName, "-n", accounts, "--for=condition=CoreAvailable")
	if out, err := f.hub().Kubectl(t.Context(), "get", "regionincidents"); err != nil || !strings.Contains(out, lost) {
		t.Errorf("kubectl get regionincidents names no %s: %v\n%s", lost, err, out)
	}
	out, err := f.hub().Kubectl(t.Context(), "get", "mas,regions", "-A")
	t.Logf("%v\n%s", err, out)
	other := f.other(lost)
	for language, word := range map[string]string{"en": "paused", "zh-CN": "暂时"} {
		if status, doc := p.register(t, lost, other, language); status != http.StatusServiceUnavailable || !strings.Contains(doc.Announcement, word) {
			t.Errorf("a registration at home in %s, in %s: %d %+v, want 503 and the announcement", lost, language, status, doc)
		}
	}
	if status, doc := p.register(t, other, other, "en"); status != http.StatusCreated {
		t.Errorf("a registration at home in %s: %d %+v", other, status, doc)
	}
}

// handBack brings a region back, sees that it waits for the word, gives it, and waits until all is well.
func (f *fleet) handBack(t *testing.T, p *people, region string, back func() error) {
	t.Helper()
	began := wall.Now()
	f.returned(t, region, back)
	if status, _ := p.register(t, region, f.other(region), "en"); status != http.StatusServiceUnavailable {
		t.Errorf("%s accepts writes of its users before the word: %d", region, status)
	}
	f.order(t, "Handback", region)
	t.Logf("%s has its users again %s after its return", region, seconds(wall.Since(began)))
	f.undegraded(t)
	if status, doc := p.register(t, region, f.other(region), "en"); status != http.StatusCreated {
		t.Errorf("a registration at home in %s after the handback: %d %+v", region, status, doc)
	}
	p.knownEverywhere(t, p.users)
}

// returned brings a region back, and waits until it waits for the word.
func (f *fleet) returned(t *testing.T, region string, back func() error) {
	t.Helper()
	began := wall.Now()
	if err := back(); err != nil {
		t.Fatal(err)
	}
	f.await(t, returnTimeout, f.hub(), "region/"+region, "--for=jsonpath={.status.state}=Returning")
	t.Logf("%s serves any-region flows and waits for the word %s after its return", region, seconds(wall.Since(began)))
}

// cutOff loses the packets between a region and the others, while users reach all of them.
func cutOff(t *testing.T, f *fleet, p *people) {
	c := f.world.Cluster(victim)
	at := load.At(f.endpoints(), victim)
	var cut, last time.Time
	records := p.under(t, victim, func() {
		p.pause(t.Context(), 2*time.Second)
		cut = wall.Now()
		if err := c.CutOff(); err != nil {
			t.Fatal(err)
		}
		// Home writes in the region go on until its lease has run out, and not longer.
		testkit.Eventually(t, time.Minute, func() error {
			began := wall.Now()
			a := p.client.Register(t.Context(), p.population.NewAt(victim), []load.Endpoint{at}, "en")
			if a.Status == http.StatusCreated {
				last = began
				return errors.New("home writes are still accepted")
			}
			return nil
		})
		t.Logf("home writes in %s ended %s after the cut", victim, seconds(wall.Since(cut)))
		f.degraded(t, p, victim)
		for _, u := range p.users[:10] {
			if a, _ := p.client.Login(t.Context(), u, []load.Endpoint{at}); a.Err != nil {
				t.Errorf("%s, at home in %s, logs in at %s, which is cut off: %v", u.Phone, u.Home, victim, a.Err)
			}
		}
		if status, _ := p.register(t, victim, victim, "en"); status == http.StatusCreated {
			t.Errorf("%s, cut off, accepts home writes although the others have ended them", victim)
		}
	})
	t.Logf("the last home write in %s was accepted %s after the cut", victim, seconds(last.Sub(cut)))
	judge(t, records, load.KindPinned)
	f.handBack(t, p, victim, c.Rejoin)
}

func leaderLost(t *testing.T, f *fleet, p *people) {
	leader := f.leader(t)
	t.Logf("%s leads", leader.Name)
	if f.mode == "peer" {
		f.front = f.other(leader.Name)
	}
	records := p.under(t, leader.Name, func() {
		if err := leader.Kill(); err != nil {
			t.Fatal(err)
		}
		took := p.loginAll(t)
		t.Logf("every user is logged in elsewhere %s after the loss", seconds(took))
		if took > loginBound {
			t.Errorf("logins took %s, more than %s", seconds(took), loginBound)
		}
		began := wall.Now()
		testkit.Eventually(t, time.Minute, func() error {
			if _, err := f.leads(t, leader); err != nil {
				return err
			}
			return nil
		})
		t.Logf("another region leads %s later", seconds(wall.Since(began)))
	})
	judge(t, records, load.KindPinned)
	back := func() error { return leader.Return(t.Context()) }
	if leader.Name != ownerless {
		f.handBack(t, p, leader.Name, back)
		return
	}
	f.returned(t, leader.Name, back)
	f.order(t, "Handback", leader.Name)
	f.await(t, returnTimeout, f.hub(), "region/"+leader.Name, "--for=jsonpath={.status.state}=Up")
	f.undegraded(t)
}

// nothingDenied reads the API servers' audit logs: RBAC must have refused nothing of what the operator asked for.
func nothingDenied(t *testing.T, f *fleet, _ *people) {
	for _, c := range f.world.Clusters() {
		denied, err := c.Denied()
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		for _, w := range denied {
			seen[w.String()]++
		}
		for what, times := range seen {
			t.Errorf("%s: %d times: %s", c.Name, times, what)
		}
	}
}

// leader is the region whose agent leads.
func (f *fleet) leader(t *testing.T) *cluster.Cluster {
	t.Helper()
	var found *cluster.Cluster
	testkit.Eventually(t, time.Minute, func() (err error) {
		found, err = f.leads(t, nil)
		return err
	})
	return found
}

func (f *fleet) leads(t *testing.T, but *cluster.Cluster) (*cluster.Cluster, error) {
	t.Helper()
	client := &http.Client{Timeout: 2 * time.Second}
	for _, c := range f.world.Clusters() {
		if c == but {
			continue
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://%s:%d/v1/view", c.Node(), agentPort), http.NoBody)
		if err != nil {
			return nil, err
		}
		answer, err := client.Do(request)
		if err != nil {
			return nil, err
		}
		var view struct{ IsLeader bool }
		err = json.NewDecoder(answer.Body).Decode(&view)
		_ = answer.Body.Close()
		if err == nil && view.IsLeader {
			return c, nil
		}
	}
	return nil, errors.New("no region leads")
}

// order gives an order about a region and waits until it is carried out.
func (f *fleet) order(t *testing.T, kind, region string) {
	t.Helper()
	name := fmt.Sprintf("%s-%s-%d", strings.ToLower(kind), region, wall.Now().UnixNano())
	began := wall.Now()
	err := f.declare(t.Context(), map[string]any{
		"apiVersion": "multiactive.dev/v1alpha1", "kind": "Operation", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"type": kind, "region": region, "reason": "a test"},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.await(t, returnTimeout, f.hub(), "operation/"+name, "--for=jsonpath={.status.state}=Succeeded")
	t.Logf("%s of %s took %s", kind, region, seconds(wall.Since(began)))
}

// undegraded waits until the hub says that all is well.
func (f *fleet) undegraded(t *testing.T) {
	t.Helper()
	f.await(t, returnTimeout, f.hub(), serviceName, "-n", accounts, "--for=condition=Ready")
	f.await(t, returnTimeout, f.hub(), serviceName, "-n", accounts, "--for=condition=Degraded=False")
}

// other is a region that owns keys and is not this one.
func (f *fleet) other(region string) string {
	return regions[slices.IndexFunc(regions, func(name string) bool { return name != region })]
}
