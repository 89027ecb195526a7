package playground_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/playground/chaos/check"
	"multiactive.dev/operator/internal/playground/chaos/history"
	"multiactive.dev/operator/internal/playground/chaos/register"
	"multiactive.dev/operator/internal/playground/chaos/writers"
	"multiactive.dev/operator/internal/playground/node"
	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/testkit"
)

const (
	// declaredKeys are enough for every change to move some of them.
	declaredKeys  = 18
	declaredPause = 300 * time.Millisecond
	// changeLimit is longer than a key has no owner in a planned change: that is given up after ten seconds.
	changeLimit = 12 * time.Second
)

// declarations are changes of what decides who owns a key.
var declarations = []struct{ what, patch string }{
	{"other weights", `[{"op":"replace","path":"/spec/regions/0/weight","value":5},{"op":"replace","path":"/spec/regions/2/weight","value":0}]`},
	{"another partition key", `[{"op":"add","path":"/spec/partition/keys/-","value":{"name":"digits","from":[{"type":"Path","path":{"name":"key"}}],"normalize":["DigitsOnly"]}},
		{"op":"replace","path":"/spec/dataClasses/0/home/key","value":"digits"},{"op":"replace","path":"/spec/flows/0/key","value":"digits"},
		{"op":"replace","path":"/spec/flows/1/key","value":"digits"},{"op":"replace","path":"/spec/flows/2/key","value":"digits"}]`},
	{"one home for all", `[{"op":"replace","path":"/spec/dataClasses/0/home","value":{"type":"Pinned","pinned":{"regions":["south","north","west"]}}}]`},
	{"one flow instead of two", `[{"op":"remove","path":"/spec/flows/2"},{"op":"add","path":"/spec/flows/1/match/-","value":{"method":"POST","path":"/keys/{key}"}}]`},
}

// TestDeclarationChangesUnderLoad changes, one after the other, what decides who owns a key, while all keys are written through the
// gateways of three regions: weights, the partition key, the home of the data, flows, and everything back. Then the true times of
// all writes are judged as after a run of chaos: one owner at a time, and nothing acknowledged is lost. What is refused is
// refused because owners are changing, and for seconds. The service keeps a chain of the writes to each key.
func TestDeclarationChangesUnderLoad(t *testing.T) {
	w := registerWorld(t)
	var endpoints []writers.Endpoint
	for _, r := range w.Regions() {
		endpoints = append(endpoints, writers.Endpoint{Region: r.Name, URL: r.Edge()})
	}
	load := writers.Write(t.Context(), 1, endpoints, declaredKeys, declaredPause)
	t.Cleanup(func() { load.End() })
	w.allWritten(load, "what was declared first")
	served := history.Now()
	first, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/spec", "value": w.manifest.Service.Spec}})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range append(declarations, struct{ what, patch string }{"what was declared first, again", string(first)}) {
		w.redeclare(d.what, d.patch)
		w.allWritten(load, d.what)
	}

	h := &history.History{Ops: load.End(), Notes: w.notes()}
	verdict := check.Judge(h)
	t.Logf("%d writes acknowledged, %d changes of owners between writes", verdict.Acknowledged, verdict.Handovers)
	for _, violation := range verdict.Violations {
		t.Error(violation)
	}
	if verdict.Handovers < len(declarations) {
		t.Errorf("owners changed %d times between writes", verdict.Handovers)
	}
	refusedForSeconds(t, h.Ops, served)
}

// registerWorld runs the register in three regions.
func registerWorld(t *testing.T) *secured {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "register.yaml")
	if err := os.WriteFile(file, register.Manifest, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := world.ReadManifest(file)
	if err != nil {
		t.Fatal(err)
	}
	w := boot(t, m, node.Programs{register.Image: filepath.Join(bin, "playground")}, bin)
	w.declare(m)
	return w
}

// redeclare changes the register's declaration, and waits until it is in force.
func (w *secured) redeclare(what, patch string) {
	w.t.Helper()
	w.kubectl("hub", "-n", "chaos", "patch", "multiactiveservice", "register", "--type=json", "-p", patch)
	testkit.Eventually(w.t, storyTimeout, func() error {
		const path = `{.metadata.generation} {.status.conditions[?(@.type=="RoutingReady")].observedGeneration} {.status.conditions[?(@.type=="RoutingReady")]}`
		said := w.kubectl("hub", "-n", "chaos", "get", "multiactiveservice", "register", "-o", "jsonpath="+path)
		generation, rest, _ := strings.Cut(said, " ")
		if !strings.HasPrefix(rest, generation+" ") || !strings.Contains(rest, `"status":"True"`) {
			return fmt.Errorf("%s: %s", what, said)
		}
		return nil
	})
}

// allWritten waits until every key has been written once more.
func (w *secured) allWritten(load *writers.Writers, since string) {
	w.t.Helper()
	from := history.Now()
	testkit.Eventually(w.t, storyTimeout, func() error {
		if left := load.Since(from); len(left) > 0 {
			return fmt.Errorf("since %s %d keys have not been written, such as %s", since, len(left), left[0])
		}
		return nil
	})
}

// notes are what the registers of all regions have noted.
func (w *secured) notes() (all []history.Note) {
	w.t.Helper()
	for _, r := range w.Regions() {
		notes, _, err := history.ReadJournal(filepath.Join(w.dir, r.Name, "root", "data", "register.journal"), 0)
		if err != nil || len(notes) == 0 {
			w.t.Fatalf("%s has noted %d writes (%v)", r.Name, len(notes), err)
		}
		all = append(all, notes...)
	}
	return all
}

// refusedForSeconds holds that writes were refused because owners were changing, and no key for long, since all were served.
func refusedForSeconds(t *testing.T, ops []history.Op, since time.Duration) {
	t.Helper()
	refused := map[string]int{}
	written := map[string]time.Duration{}
	var longest time.Duration
	for _, op := range ops {
		switch {
		case op.Call < since:
			continue
		case !op.Acknowledged():
			refused[op.Reason]++
			continue
		}
		if before, known := written[op.Key]; known {
			longest = max(longest, op.Return-before)
		}
		written[op.Key] = max(written[op.Key], op.Return)
	}
	t.Logf("of %d writes were refused: %v; no key was written for %s at most", len(ops), refused, longest.Round(time.Millisecond))
	for reason, n := range refused {
		if reason != "closing" && reason != writers.ByService {
			t.Errorf("%d writes were refused for the reason %q", n, reason)
		}
	}
	if longest > changeLimit {
		t.Errorf("a key could not be written for %s", longest)
	}
}
