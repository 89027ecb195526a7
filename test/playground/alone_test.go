package playground_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/testkit"
)

// leftAlone takes the witness away: two regions are too few to find each other lost. When one is, nobody takes over its users. The
// status says why, and what a person can do; at that word the other region serves them. The region is given up by it, so this ends
// the world.
func leftAlone(w *secured) {
	w.kubectl("hub", "delete", "region", world.WitnessName, "--timeout="+storyTimeout.String())
	if err := w.Dismiss(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
	if said := w.orders(`{.status.conditions[?(@.type=="DesignSound")].message}`); !strings.Contains(said, "MA010") {
		w.t.Errorf("of two regions alone the service's design says %q", said)
	}
	ours, theirs := w.customerOf("north"), w.customerOf("south")
	if err := w.Region("south").Kill(); err != nil {
		w.t.Fatal(err)
	}
	testkit.Eventually(w.t, storyTimeout, func() error {
		if said := w.serving("south"); !strings.Contains(said, "TooFewObservers") || !strings.Contains(said, "DeclareLost") {
			return errors.New("of south it is said: " + said)
		}
		return nil
	})
	testkit.Consistently(w.t, quiet, func() error {
		if status, body := w.request(http.MethodPut, "north", theirs); status == http.StatusOK {
			return fmt.Errorf("north has taken over: %s", body)
		}
		if status, body := w.request(http.MethodPut, "north", ours); status != http.StatusOK {
			return fmt.Errorf("a customer of north: %d %s", status, body)
		}
		return nil
	})
	w.t.Logf("while nobody has spoken: %s\n%s", w.serving("south"), w.kubectl("hub", "get", "mas", "-A", "-o", "wide"))

	w.order("DeclareLost", "south")
	testkit.Eventually(w.t, storyTimeout, func() error {
		for _, method := range []string{http.MethodPut, http.MethodPost} {
			if status, body := w.request(method, "north", theirs); status != http.StatusOK || !strings.Contains(body, `"city":"north"`) {
				return fmt.Errorf("%s of a customer of south, after the word: %d %s", method, status, body)
			}
		}
		return nil
	})
}

// serving is what a region's condition Serving says at the hub.
func (w *secured) serving(region string) string {
	w.t.Helper()
	return w.kubectl("hub", "get", "region", region, "-o", `jsonpath={.status.conditions[?(@.type=="Serving")].message}`)
}
