package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/testkit"
)

// tells has the hub say of an order that its text is shown, or that it has ended.
func (w *hubWorld) tells(name string, state v1alpha1.OperationState, reason string) {
	w.t.Helper()
	testkit.Eventually(w.t, 30*time.Second, func() error {
		o := &v1alpha1.Operation{}
		if err := w.client.Get(w.t.Context(), client.ObjectKey{Name: name}, o); err != nil {
			return err
		}
		if state == v1alpha1.OperationSucceeded && o.Spec.Announce.Course != v1alpha1.AnnounceEnd {
			return errors.New("not ended yet")
		}
		o.Status = v1alpha1.OperationStatus{State: state, Conditions: []metav1.Condition{
			condition(v1alpha1.ConditionComplete, metav1.ConditionFalse, reason, "gateways have it in beijing"),
		}}
		return w.client.Status().Update(w.t.Context(), o)
	})
}

func testAnnounce(t *testing.T, w *hubWorld) {
	w.put(regionObject("beijing", v1alpha1.RegionUp), regionObject("shanghai", v1alpha1.RegionUp), regionObject("shenzhen", v1alpha1.RegionUp), userService(t))
	const sorry = "--text=en=Sorry, Ann."
	of := func(more ...string) []string { return append([]string{"announce", "user", "-n", "accounts"}, more...) }

	w.expect(exitUsage, "announce").has("the service is missing")
	w.expect(exitUsage, of()...).has("--text is missing", `--text en="We know`)
	w.expect(exitUsage, of("--text", "Sorry")...).has(`"Sorry" is not LANGUAGE=TEXT`)
	w.expect(exitUsage, of("--text", "en=")...).has("is not LANGUAGE=TEXT")
	w.expect(exitUsage, of(sorry, "--text", "en=Oh")...).has("language en is there twice")
	w.expect(exitUsage, of("--text", "zh="+strings.Repeat("我", 1025))...).has("has 1025 characters, and there is room for 1024")
	w.expect(exitUsage, of(sorry, "--for", "30s")...).has("--for: 30s is not between 1m0s and 168h0m0s")
	w.expect(exitUsage, of(sorry, "--end")...).has("--end ends what is shown and takes no --text")
	w.expect(exitUsage, of(sorry, "--timeout", "1m")...).has("unknown flag: --timeout")
	w.expect(exitUsage, "announce", "usr", "-n", "accounts", sorry).has(`no MultiActiveService "usr"`)
	w.expect(exitFailed, of("--end")...).has("no ordered announcement of accounts/user is shown")
	w.expect(0, of(sorry, "--text", "zh="+strings.Repeat("我", 1024), "--dry-run=client")...).has("accounts/user cannot serve is told, for every flow, in beijing, shanghai", "for 1h0m0s", "en     Sorry, Ann.", "nothing was ordered")
	w.expect(0, of(sorry, "--dry-run=server")...).has("the API server would take the order")
	w.expect(exitFailed, of("--text=e n=Sorry", "--yes")...).has("giving the order", "language")

	w.expect(0, of(sorry, "--text=zh=抱歉", "--flow=login,register", "--region=beijing", "--for=30m", "--yes", "--wait=false", "--name=first")...).
		has("Ordered: operation/first. To take it back: kubectl multiactive announce user -n accounts --end")
	want := v1alpha1.OperationSpec{
		Type: v1alpha1.OperationAnnounce, Service: &v1alpha1.ServiceKey{Namespace: "accounts", Name: "user"},
		Announce: &v1alpha1.AnnounceSpec{
			Text:  []v1alpha1.LocalizedText{{Language: "en", Value: "Sorry, Ann."}, {Language: "zh", Value: "抱歉"}},
			Flows: []string{"login", "register"}, Regions: []string{"beijing"}, Duration: &metav1.Duration{Duration: 30 * time.Minute},
		},
	}
	if orders := w.orders(); len(orders) != 1 || !cmp.Equal(orders[0].Spec, want) {
		t.Fatalf("ordered %+v, want %+v", orders, want)
	}
	w.tells("first", v1alpha1.OperationRunning, v1alpha1.ReasonAnnounced)
	w.expect(0, of(sorry, "--dry-run=client")...).has(`Operation first is shown now ("Sorry, Ann.")`)
	w.expect(exitAttention, "status", "-n", "accounts").has(`Announce accounts/user is running: "Sorry, Ann."; gateways have it in beijing`)

	code, out := w.during(func() { w.tells("second", v1alpha1.OperationRunning, v1alpha1.ReasonAnnounced) }, of(sorry, "--yes", "--name=second")...)
	if code != 0 || !strings.Contains(out, "Running: gateways have it in beijing") {
		t.Errorf("an announcement that is shown ended with %d:\n%s", code, out)
	}
	w.expect(0, of("--end", "--dry-run=client")...).has("would end operation/first", "would end operation/second")
	code, out = w.during(func() { w.tells("first", v1alpha1.OperationSucceeded, v1alpha1.ReasonOrderSucceeded) }, of("--end", "--name=first")...)
	if code != 0 || !strings.Contains(out, "Ended: operation/first. Users are told what spec.announcements says again.") || strings.Contains(out, "second") {
		t.Errorf("the end of one ended with %d:\n%s", code, out)
	}
	code, out = w.during(func() { w.tells("second", v1alpha1.OperationSucceeded, v1alpha1.ReasonOrderSucceeded) }, of("--end")...)
	if code != 0 || !strings.Contains(out, "Ended: operation/second") || strings.Contains(out, "first") {
		t.Errorf("the end of all that is shown ended with %d:\n%s", code, out)
	}
}
