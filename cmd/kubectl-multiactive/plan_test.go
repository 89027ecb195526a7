package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/whatif"
)

func TestPlanText(t *testing.T) {
	core := normalDay(t)
	core.services[0].Spec.Flows[1].Tier = v1alpha1.TierCore
	for name, c := range map[string]struct {
		seen      *hubState
		event     whatif.Event
		region    string
		attention bool
	}{
		"plan-down": {normalDay(t), whatif.Lost, "beijing", false}, "plan-down-core": {core, whatif.Lost, "beijing", true},
		"plan-down-last": {outage(t), whatif.Lost, "shanghai", false}, "plan-drain": {normalDay(t), whatif.Drained, "beijing", false},
		"plan-down-witness": {normalDay(t), whatif.Lost, "shenzhen", false},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			err := (&planOptions{}).happens(terminal{out: &out}, c.seen, c.event, c.region, "")
			if errors.Is(err, errAttention) != c.attention {
				t.Errorf("ends with %v", err)
			}
			golden(t, name, out.String())
		})
	}
}

func testPlan(t *testing.T, w *hubWorld) {
	w.expect(exitUsage, "plan").has("give one of --down, --drain and -f")
	w.expect(exitUsage, "plan", "--down", "beijing").has(`there is no Region "beijing"; there are: none`)
	s := normalDay(t)
	for _, name := range s.regionNames() {
		w.put(s.regions[name])
	}
	file := filepath.Join("testdata", "service.yaml")
	w.expect(0, "plan", "-f", file).has("new       the service is not there yet")
	w.put(&s.services[0])
	w.expect(0, "plan", "-f", file).has("nothing that the operator acts on would change")
	w.expect(0, "plan", "--down", "beijing").has("52 % (524 of 1024 slots): beijing to shanghai")
	w.expect(0, "plan", "--down", "beijing", "user", "-n", "accounts", "-o", "json").has(`"event": "Lost"`, `"slots": 524`)
	w.expect(exitUsage, "plan", "--down", "beijing", "usr", "-n", "accounts").has(`no MultiActiveService "usr"`)

	content, err := os.ReadFile(file)
	must(t, err)
	changed := func(pairs ...string) string { return fileOf(t, strings.NewReplacer(pairs...).Replace(string(content))) }
	w.expect(0, "plan", "-f", changed("user:1", "user:2")).has("rollout   the new workload goes from region to region", "beijing, then shanghai, then shenzhen")
	w.expect(0, "plan", "-f", changed("shenzhen, weight: 0", "shenzhen, weight: 50")).has("beijing to shenzhen", "shanghai to shenzhen", "home writes for the keys that move")
	w.expect(0, "plan", "-f", changed("{action: Takeover}", "{action: ReadOnly}")).has("flow      settings: on home loss Takeover becomes ReadOnly")
	w.expect(0, "plan", "-f", changed("user.sh.example.com", "user.nowhere.example.com")).has("region    shanghai: the other gateways reach it at https://user.nowhere.example.com, no longer at https://user.sh")
	w.expect(exitAttention, "plan", "-f", changed("[DigitsOnly]", "[Trim]")).has("refused", "a partition key is immutable")
	w.expect(exitAttention, "plan", "-f", changed("writes: [account]", "writes: [acount]")).has("refused", "writes must name data classes")

	mas := &v1alpha1.MultiActiveService{}
	must(t, w.client.Get(t.Context(), client.ObjectKey{Namespace: "accounts", Name: "user"}, mas))
	if mas.Generation != 1 {
		t.Errorf("plan has changed the service: generation %d", mas.Generation)
	}
}
