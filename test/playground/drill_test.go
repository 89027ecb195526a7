package playground_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/testkit"
)

const drillOrder = `{"apiVersion": "multiactive.dev/v1alpha1", "kind": "Operation", "metadata": {"name": "drill-south"},
	"spec": {"type": "Drill", "region": "south", "drill": {"duration": "1m"}}}`

// TestDrillEndsWithoutTheHub has a region out for a drill: its users meet what a loss would bring. The hub is killed meanwhile, with
// its API server, and so is the agent that leads. The region is back on time all the same, and a hub that comes back later tells how it went.
func TestDrillEndsWithoutTheHub(t *testing.T) {
	w := ordersWorld(t)
	customer := w.customerOf("south")
	file := filepath.Join(t.TempDir(), "drill.json")
	if err := os.WriteFile(file, []byte(drillOrder), 0o600); err != nil {
		t.Fatal(err)
	}
	w.awaitCore()
	w.kubectl("hub", "create", "-f", file)
	w.kubectl("hub", "wait", "region/south", "--for=jsonpath={.status.state}=Drained", "--timeout="+storyTimeout.String())
	out := time.Now()
	if reason := w.kubectl("hub", "get", "region", "south", "-o", `jsonpath={.status.conditions[?(@.type=="Serving")].reason}`); reason != v1alpha1.ReasonRegionInDrill {
		t.Errorf("region south does not serve for %s", reason)
	}
	w.awaitPlaced(customer, http.StatusServiceUnavailable, "home-drained")
	if status, text := w.ask(http.MethodPut, "north", customer); status != http.StatusOK || !strings.Contains(text, `"city":"north"`) {
		t.Errorf("a flow that may be taken over is answered by %d: %s", status, text)
	}
	testkit.Eventually(t, storyTimeout, func() error { // before the hub is gone
		if flows := w.kubectl("hub", "get", "mop", "drill-south", "-o", "jsonpath={.status.drill.services[*].flows[*].name}"); flows != "place" {
			return fmt.Errorf("the report has the flows %q", flows)
		}
		return nil
	})

	leads := w.leads()
	if err := w.KillHub(); err != nil {
		t.Fatal(err)
	}
	if r := w.Region(leads); r != nil {
		if err := r.CrashManager(); err != nil {
			t.Fatal(err)
		}
	}
	w.awaitPlaced(customer, http.StatusOK, `"city":"south"`)
	if lasted := time.Since(out); lasted < 50*time.Second {
		t.Errorf("the region was out for %s alone", lasted)
	}

	ctx, cancel := context.WithTimeout(t.Context(), storyTimeout)
	defer cancel()
	if err := w.ReturnHub(ctx); err != nil {
		t.Fatal(err)
	}
	w.kubectl("hub", "wait", "mop/drill-south", "--for=jsonpath={.status.state}=Succeeded", "--timeout="+storyTimeout.String())
	var report v1alpha1.DrillReport
	if err := json.Unmarshal([]byte(w.kubectl("hub", "get", "mop", "drill-south", "-o", "jsonpath={.status.drill}")), &report); err != nil {
		t.Fatal(err)
	}
	if report.Verdict != v1alpha1.DrillPassed || report.BackAt == nil || len(report.Services) != 1 || report.Services[0].CoreAvailable != v1alpha1.Yes {
		t.Errorf("the report is %+v", report)
	}
}

// awaitCore waits until every core flow is served, without which no drill begins.
func (w *secured) awaitCore() {
	w.t.Helper()
	w.kubectl("hub", "-n", "shop", "wait", "multiactiveservice/orders", "--for=condition=CoreAvailable", "--timeout="+storyTimeout.String())
}

// customerOf returns a customer whose home a region is.
func (w *secured) customerOf(region string) string {
	w.t.Helper()
	found := ""
	testkit.Eventually(w.t, storyTimeout, func() error {
		for i := range 32 {
			customer := fmt.Sprintf("customer-%d", i)
			if status, text := w.ask(http.MethodPost, "north", customer); status == http.StatusOK && strings.Contains(text, `"city":"`+region+`"`) {
				found = customer
				return nil
			}
		}
		return fmt.Errorf("region %s serves no customer", region)
	})
	return found
}

// awaitPlaced waits until an order of a customer, placed in the north, is answered so.
func (w *secured) awaitPlaced(customer string, want int, words string) {
	w.t.Helper()
	testkit.Eventually(w.t, storyTimeout, func() error {
		if status, text := w.ask(http.MethodPost, "north", customer); status != want || !strings.Contains(text, words) {
			return fmt.Errorf("an order is answered by %d: %s", status, text)
		}
		return nil
	})
}

// ask sends a request of a customer to a region's edge, and returns status, headers and body.
func (w *secured) ask(method, region, customer string) (status int, text string) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), method, w.Region(region).Edge()+"/orders/"+customer, http.NoBody)
	if err != nil {
		w.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, fmt.Sprintf("%v %s", answer.Header, body)
}
