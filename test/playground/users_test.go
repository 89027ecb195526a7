package playground_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/testkit"
)

const (
	notifyWord = "signs what is told"
	// normalLag is the objective of what goes through the queue here, so that a lag shows before the test is over.
	normalLag = 15 * time.Second
	// opening is what the example gives a new account.
	opening = 10000
)

// TestUsersThroughALoss follows users of the example through a day on which one region's queue stands still, and then
// another region is lost: registrations and logins, sessions, profiles and transfers. The example keeps a region's users in a
// file here; the API servers, coordination store, managers, gateways, mirrors and Kafkas are processes.
func TestUsersThroughALoss(t *testing.T) {
	told := listen(t)
	w := exampleTown(t, shortObjectives, told.subscribe)
	watch := watchAlerts(t, w.World)
	// The design names a DataStore that is not here, for users are in files.
	watch.calm("MultiActiveDesignErrors", "MultiActiveServiceNotReady")
	ann, bao, chen := w.settler("beijing", "shenzhen"), w.settler("beijing", "shanghai"), w.settler("shanghai", "beijing")
	w.known([]*visitor{ann, bao, chen}, "beijing", "shanghai", "shenzhen")

	queueStandsStill(t, w, watch)
	watch.nothingBut("the queue stands still", "MultiActiveLinkBroken")

	// A session stays where it was made, and is read from there.
	chen.enters("beijing")
	if a := chen.ask(http.MethodGet, "shanghai", "/v1/profile", nil, ""); a.status != http.StatusOK || a.text("phone") != chen.Phone {
		t.Errorf("a session of beijing, presented in shanghai: %d %s", a.status, a.body)
	}

	w.lose("beijing")
	w.mas("wait", "--for=condition=Degraded", "--timeout="+storyTimeout.String())
	sessionIsGone(t, chen)
	profileIsReadOnly(t, ann)
	usersAreTold(t, w, ann)
	funded, unfunded := transfersAreDeferred(t, ann, bao, chen)
	w.restartQueueAndGateways("shanghai")
	for _, id := range []string{funded, unfunded} {
		w.becomes(ann, id, "Pending")
	}
	w.operatorRestarts(chen, "shanghai", "shenzhen")
	watch.fired("MultiActiveRegionLost", "MultiActiveFlowDegraded")

	w.comeBack("beijing")
	if a := ann.saves("shanghai", "too early"); a.status != http.StatusServiceUnavailable {
		t.Errorf("the profile of a user whose home waits for the word is written: %d %s", a.status, a.body)
	}
	watch.fired("MultiActiveHandbackWaits")
	w.order("Handback", "beijing")
	if a := w.becomes(ann, funded, "Executed"); a.text("status") != "201" {
		t.Errorf("the transfer that could be paid: %s", a.body)
	}
	if a := w.becomes(ann, unfunded, "Refused"); a.text("status") != "422" || a.text("why") == "" {
		t.Errorf("the transfer that could not be paid: %s", a.body)
	}
	told.once(funded, "Executed")
	told.once(unfunded, "Refused")
	moneyIsConserved(t, ann, bao, chen)
	watch.nothingBut("the loss", "MultiActiveIncidentStuck", "MultiActiveAgentSilent", "MultiActiveLeaseNotRenewed", "MultiActiveHomeWritesStopped",
		"MultiActiveRegionSuspect", "MultiActivePeerUnreachable", "MultiActiveClusterUnreachable", "MultiActiveCoordinationUnreachable",
		"MultiActiveCoordinationMemberWithoutLeader", "MultiActiveHubWithoutCoordination", "MultiActiveCoreFlowErrors")
	w.calm()
	if a := ann.enters("beijing").saves("shanghai", "writable again"); a.status != http.StatusOK {
		t.Errorf("the profile after the return: %d %s", a.status, a.body)
	}
	if a := ann.ask(http.MethodGet, "shenzhen", "/v1/profile", nil, ""); a.text("about") != "writable again" || a.header.Get("Multiactive-Stale") != "" {
		t.Errorf("the profile that was written: %d %s", a.status, a.body)
	}
}

// shortObjectives has lag show within seconds, and outcomes told.
func shortObjectives(m *world.Manifest) {
	for i := range m.Service.Spec.DataClasses {
		if s := m.Service.Spec.DataClasses[i].Staleness; s != nil {
			s.Normal = &metav1.Duration{Duration: normalLag}
		}
	}
}

// queueStandsStill stops shanghai's Kafka for a while: whoever registers elsewhere can log in there at once, the lag is told,
// and everything has arrived when it goes on.
func queueStandsStill(t *testing.T, w *town, watch *watchman) {
	t.Helper()
	w.mas("wait", "--for=condition=ReplicationHealthy", "--timeout="+storyTimeout.String())
	broker := w.Region("shanghai").Broker()
	if err := broker.Freeze(); err != nil {
		t.Fatal(err)
	}
	var late []*visitor
	for _, through := range []string{"beijing", "shanghai", "shenzhen"} {
		dora := w.settler("beijing", through)
		late = append(late, dora)
		if a := dora.login("shanghai"); a.status != http.StatusOK || a.header.Get("Multiactive-Source") != "beijing" {
			t.Errorf("a login in shanghai that only beijing can answer: %d, answered by %q: %s", a.status, a.header.Get("Multiactive-Source"), a.body)
		}
	}
	w.known(late, "shenzhen") // the other ways go on
	w.mas("wait", "--for=condition=ReplicationHealthy=False", "--timeout="+storyTimeout.String())
	if message := w.mas("get", "-o", `jsonpath={.status.conditions[?(@.type=="ReplicationHealthy")].message}`); !strings.Contains(message, "account") {
		t.Errorf("what is late is told as %q", message)
	}
	// What comes from shanghai is late elsewhere, too, so the service may have heard of that first.
	testkit.Eventually(t, storyTimeout, func() error {
		reasons := w.kubectl("shanghai", "get", "replicationlinks", "-o", `jsonpath={.items[*].status.conditions[?(@.type=="CaughtUp")].reason}`)
		if !strings.Contains(reasons, "Lag") {
			return fmt.Errorf("the links into shanghai say %q", reasons)
		}
		return nil
	})
	if core := w.mas("get", "-o", `jsonpath={.status.conditions[?(@.type=="CoreAvailable")].status}`); core != "True" {
		t.Errorf("with one queue that stands still CoreAvailable is %s", core)
	}
	watch.fired("MultiActiveLinkLagging", "MultiActiveMirrorDown")
	if err := broker.Continue(); err != nil {
		t.Fatal(err)
	}
	w.known(late, "shanghai")
	w.mas("wait", "--for=condition=ReplicationHealthy", "--timeout="+storyTimeout.String())
}

// sessionIsGone shows that a session of a lost region is told from a wrong one, and replaced by a login.
func sessionIsGone(t *testing.T, chen *visitor) {
	t.Helper()
	if a := chen.ask(http.MethodGet, "shanghai", "/v1/profile", nil, ""); a.status != http.StatusUnauthorized || a.header.Get("Multiactive-Regenerate") != "session" {
		t.Errorf("a session of the lost region: %d, to be made anew: %q: %s", a.status, a.header.Get("Multiactive-Regenerate"), a.body)
	}
	chen.enters("shanghai")
	if a := chen.ask(http.MethodGet, "shanghai", "/v1/profile", nil, ""); a.status != http.StatusOK {
		t.Errorf("the session that took its place: %d %s", a.status, a.body)
	}
}

// profileIsReadOnly shows what a user of the lost region can do with a profile.
func profileIsReadOnly(t *testing.T, ann *visitor) {
	t.Helper()
	ann.enters("shanghai")
	if a := ann.ask(http.MethodGet, "shanghai", "/v1/profile", nil, ""); a.status != http.StatusOK || a.header.Get("Multiactive-Stale") != "true" {
		t.Errorf("the profile is read: %d, stale %q: %s", a.status, a.header.Get("Multiactive-Stale"), a.body)
	}
	if a := ann.saves("shanghai", "not now"); a.status != http.StatusServiceUnavailable || !strings.Contains(a.text("announcement"), "暂不可用") {
		t.Errorf("the profile is written: %d %s", a.status, a.body)
	}
}

// usersAreTold orders an announcement for a region while another one is lost, and ends it: users read it there, in their
// language, before what is declared, and no longer.
func usersAreTold(t *testing.T, w *town, ann *visitor) {
	t.Helper()
	w.create(map[string]any{
		"apiVersion": "multiactive.dev/v1alpha1", "kind": "Operation", "metadata": map[string]any{"name": "back-at-ten"},
		"spec": map[string]any{"type": "Announce", "service": map[string]any{"namespace": "accounts", "name": "user"}, "announce": map[string]any{
			"flows": []string{"profile"}, "regions": []string{"shanghai"},
			"text": []map[string]any{{"language": "en", "value": "Come back at ten."}, {"language": "zh", "value": "请十点再来。"}},
		}},
	})
	reads := func(at, accept, words string) {
		t.Helper()
		testkit.Eventually(t, storyTimeout, func() error {
			a, err := w.try(http.MethodPut, at, "/v1/profile", map[string]any{"name": "User", "about": "not now"},
				"X-User-Phone", ann.Phone, "Cookie", ann.sid(), "Accept-Language", accept)
			if err != nil || a.status != http.StatusServiceUnavailable || !strings.Contains(a.text("announcement"), words) {
				return fmt.Errorf("what users read in %s, in %s: %d %s (%w), want %s", at, accept, a.status, a.body, err, words)
			}
			return nil
		})
	}
	w.kubectl("hub", "wait", "operation/back-at-ten", `--for=jsonpath={.status.conditions[0].reason}=Announced`, "--timeout="+storyTimeout.String())
	reads("shanghai", "zh-CN", "请十点再来。")
	reads("shanghai", "en", "Come back at ten.")
	reads("shenzhen", "zh-CN", "请十点再来。") // which forwards it to shanghai, whose gateway refuses it
	w.kubectl("hub", "patch", "operation/back-at-ten", "--type=merge", "-p", `{"spec":{"announce":{"course":"End"}}}`)
	reads("shanghai", "zh-CN", "暂不可用")
}

// transfersAreDeferred asks for two transfers of users whose home is lost, of which one can be paid, and returns their IDs.
func transfersAreDeferred(t *testing.T, ann, bao, chen *visitor) (funded, unfunded string) {
	t.Helper()
	bao.enters("shanghai")
	first, other := ann.pays("shanghai", chen, 300, "lunch"), bao.pays("shanghai", chen, 3*opening, "house")
	for _, a := range []answer{first, other} {
		if a.status != http.StatusAccepted || a.text("state") != "Pending" || a.text("id") == "" {
			t.Fatalf("a transfer whose payer's home is lost: %d %s", a.status, a.body)
		}
	}
	if again := ann.pays("shanghai", chen, 300, "lunch"); again.text("id") != first.text("id") {
		t.Errorf("the same transfer asked for twice is kept as %s and %s", first.text("id"), again.text("id"))
	}
	return first.text("id"), other.text("id")
}

// restartQueueAndGateways kills every gateway and broker of a region, and waits until they serve again.
func (w *town) restartQueueAndGateways(region string) {
	w.t.Helper()
	gateways := w.Region(region).Deployment("user-gateway")
	before := gateways.PIDs()
	if len(before) == 0 {
		w.t.Fatalf("%s has no gateways", region)
	}
	if err := errors.Join(gateways.Kill(), w.Region(region).Broker().Kill()); err != nil {
		w.t.Fatal(err)
	}
	testkit.Eventually(w.t, storyTimeout, func() error {
		now := gateways.PIDs()
		if len(now) < len(before) || slices.ContainsFunc(now, func(pid int) bool { return slices.Contains(before, pid) }) {
			return fmt.Errorf("gateways of %s run as %v, were %v", region, now, before)
		}
		a, err := w.try(http.MethodGet, region, "/.multiactive/healthz", nil)
		if err != nil || a.status != http.StatusOK {
			return fmt.Errorf("the gateways of %s: %d (%w)", region, a.status, err)
		}
		return nil
	})
}

// operatorRestarts kills the operator's managers everywhere at once during the outage: every login at the regions that are
// left is answered, until they all run again and the hub still tells of the outage.
func (w *town) operatorRestarts(v *visitor, regions ...string) {
	w.t.Helper()
	managers := []world.Part{w.Manager()}
	for _, region := range regions {
		managers = append(managers, w.Region(region).Manager())
	}
	var before []int
	for _, m := range managers {
		before = append(before, m.PIDs()...)
		if err := m.Kill(); err != nil {
			w.t.Fatal(err)
		}
	}
	testkit.Eventually(w.t, storyTimeout, func() error {
		for _, region := range regions {
			v.enters(region)
		}
		for _, m := range managers {
			if pids := m.PIDs(); len(pids) == 0 || slices.Contains(before, pids[0]) {
				return fmt.Errorf("%s does not run again", m.Name)
			}
		}
		serving := w.kubectl("hub", "get", "regions", "-o", `jsonpath={range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Serving")].status} {end}`)
		if want := "beijing=False shanghai=True shenzhen=True"; serving != want {
			return fmt.Errorf("the regions serve: %s, want %s", serving, want)
		}
		return nil
	})
}

// becomes waits for a state on the status page of a deferred request, as shanghai, which has it, tells.
func (w *town) becomes(v *visitor, id, state string) answer {
	w.t.Helper()
	var page answer
	testkit.Eventually(w.t, storyTimeout, func() (err error) {
		page, err = w.try(http.MethodGet, "shanghai", "/.multiactive/deferred/"+id, nil, "X-User-Phone", v.Phone)
		if err != nil || page.text("state") != state {
			return fmt.Errorf("the page of %s: %d %s (%w), want %s", id, page.status, page.body, err, state)
		}
		return nil
	})
	return page
}

// moneyIsConserved repeats a transfer that was carried out, which books nothing, and adds up.
func moneyIsConserved(t *testing.T, ann, bao, chen *visitor) {
	t.Helper()
	ann.enters("beijing")
	bao.enters("beijing")
	chen.enters("shanghai")
	if a := ann.pays("shenzhen", chen, 300, "lunch"); a.status != http.StatusOK {
		t.Errorf("the transfer asked for once more, at home: %d %s", a.status, a.body)
	}
	for _, c := range []struct {
		v    *visitor
		want int
	}{{ann, opening - 300}, {bao, opening}, {chen, opening + 300}} {
		testkit.Eventually(t, storyTimeout, func() error {
			got, err := c.v.balance(c.v.Home)
			if err != nil || got != fmt.Sprint(c.want) {
				return fmt.Errorf("a user of %s has %q, want %d (%w)", c.v.Home, got, c.want, err)
			}
			return nil
		})
	}
}

// listener takes what a service has told.
type listener struct {
	t      *testing.T
	server *httptest.Server

	mu   sync.Mutex
	told map[string]map[string]string // outcome by notification, by request
}

func listen(t *testing.T) *listener {
	t.Helper()
	l := &listener{t: t, told: map[string]map[string]string{}}
	l.server = httptest.NewServer(l)
	t.Cleanup(l.server.Close)
	return l
}

// ServeHTTP notes a notification that is signed with the service's secret.
func (l *listener) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		l.t.Errorf("reading a notification: %v", err)
		return
	}
	mac := hmac.New(sha256.New, []byte(notifyWord))
	_, _ = fmt.Fprintf(mac, "%s.%s", r.Header.Get("Multiactive-Timestamp"), body) // a hash takes everything
	if want := "v1=" + hex.EncodeToString(mac.Sum(nil)); r.Header.Get("Multiactive-Signature") != want {
		l.t.Errorf("a notification with the signature %q, want %q", r.Header.Get("Multiactive-Signature"), want)
	}
	var n struct{ Request, State string }
	if err := json.Unmarshal(body, &n); err != nil {
		l.t.Errorf("the notification %q: %v", body, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.told[n.Request] == nil {
		l.told[n.Request] = map[string]string{}
	}
	l.told[n.Request][r.Header.Get("Multiactive-Notification")] = n.State
}

// subscribe declares the listener as the endpoint that the example names, with the secret in every region.
func (l *listener) subscribe(w *secured) {
	l.t.Helper()
	patch := fmt.Sprintf(`{"spec":{"notifyEndpoints":[{"name":"sms","url":%q}]}}`, l.server.URL+"/outcomes")
	for _, r := range w.Regions() {
		w.kubectl("hub", "patch", "region", r.Name, "--type=merge", "-p", patch)
		w.kubectl(r.Name, "-n", "accounts", "create", "secret", "generic", "user-gateway", "--from-literal=notify-secret="+notifyWord)
	}
}

// once waits until an outcome was told, and holds that it was told as one.
func (l *listener) once(request, state string) {
	l.t.Helper()
	testkit.Eventually(l.t, storyTimeout, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		told := l.told[request]
		if len(told) == 0 {
			return fmt.Errorf("nobody was told of %s", request)
		}
		for _, as := range told {
			if len(told) > 1 || as != state {
				l.t.Fatalf("of %s it was told: %v, want one notification of %s", request, told, state)
			}
		}
		return nil
	})
}
