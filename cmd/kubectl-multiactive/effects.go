package main

import (
	"fmt"
	"slices"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/operation"
	"multiactive.dev/operator/internal/plan/whatif"
)

// preview says what an order will do, as far as that can be reckoned.
func (o *orderOptions) preview(t terminal, seen *hubState) {
	if o.region != "" {
		t.say("%s", t.tint(bold, regionLine(seen, o.region)))
	}
	if o.verb.event != "" {
		o.previewEvent(t, seen)
	}
	switch o.verb.kind { //nolint:exhaustive // the others say it in what they do
	case v1alpha1.OperationDrill:
		t.say("Nothing in the region is stopped, and nothing acknowledged is lost. Home writes for keys that move are refused for seconds, when it "+
			"goes out and when it comes back; it is back by itself after %s.", operation.DrillDuration(o.drill()))
	case v1alpha1.OperationDrain:
		t.say("Home writes for keys that move are refused for seconds, while owners change.")
	case v1alpha1.OperationDeclareLost:
		o.previewLoss(t, seen)
	case v1alpha1.OperationAnnounce:
		o.previewAnnounce(t, seen)
	case v1alpha1.OperationAbandon:
		mas := seen.service(o.in(), o.service)
		if mas.DeletionTimestamp.IsZero() {
			t.say("%s", t.tint(yellow, fmt.Sprintf("MultiActiveService %s/%s is not being deleted: the order will be refused.", mas.Namespace, mas.Name)))
		}
	}
	if o.verb.warning != "" {
		t.say("%s", t.tint(red, fmt.Sprintf(o.verb.warning, o.region)))
	}
}

// previewEvent says what the order does to services.
func (o *orderOptions) previewEvent(t terminal, seen *hubState) {
	event := o.verb.event
	if o.mode == string(v1alpha1.DrillDrain) {
		event = whatif.Drained
	}
	touched := false
	for i := range seen.services {
		mas := &seen.services[i]
		if o.service != "" && (mas.Name != o.service || mas.Namespace != o.in()) {
			continue
		}
		if e := whatif.Region(event, o.region, mas, seen.regions); e != nil {
			touched = true
			t.effect(e)
		}
	}
	if !touched {
		t.say("  No service runs there.")
	}
}

// previewLoss says what is known of what a region takes with it.
func (o *orderOptions) previewLoss(t terminal, seen *hubState) {
	for i := range seen.incidents {
		s := &seen.incidents[i]
		if s.Spec.Region == o.region && s.Status.EndedAt == nil {
			t.say("  Incident %s: data at risk: %s. See: kubectl multiactive incident %s", s.Name, orElse(s.Status.DataAtRiskSummary, "none known"), s.Name)
		}
	}
	if s := seen.regions[o.region].Status.State; s == v1alpha1.RegionUp {
		t.say("%s", t.tint(yellow, "  The region is Up: the order will be refused while its agent beats. Stop it first, or drain it."))
	}
}

// regionLine says how a region stands.
func regionLine(seen *hubState, name string) string {
	s := seen.regions[name].Status
	line := fmt.Sprintf("Region %s is %s", name, orElse(string(s.State), "Unknown"))
	if s.ObserversSummary != "" {
		line += fmt.Sprintf(", %s observers reach it", s.ObserversSummary)
	}
	if s.Coordination != nil && s.Coordination.Epoch > 0 {
		line += fmt.Sprintf(", epoch %d", s.Coordination.Epoch)
	}
	return line + "."
}

// effect writes what would become of one service.
func (t *terminal) effect(e *whatif.Effect) {
	t.say("%s/%s", e.Namespace, e.Name)
	for _, m := range e.Moves {
		t.say("  keys      %s", moveLine(m))
	}
	if len(e.Moves) == 0 {
		t.say("  keys      none get another owner")
	}
	for _, f := range e.Flows {
		if line, c := flowLine(f); line != "" {
			t.say("  flow      %s", t.tint(c, line))
		}
	}
	if kept := unchanged(e); kept != "" {
		t.say("  flows     as before: %s", kept)
	}
	for _, r := range e.AtRisk {
		t.say("  at risk   %s", t.tint(yellow, riskLine(r)))
	}
	for _, s := range e.Replicas {
		t.say("  replicas  %s: %d to %d", s.Region, s.From, s.To)
	}
	for _, w := range e.Warnings {
		t.say("  warning   %s", t.tint(yellow, w))
	}
	for _, u := range e.Unsure {
		t.say("  unsure    %s", t.tint(yellow, u))
	}
}

func moveLine(m whatif.Move) string {
	nobody := func(name string) string { return orElse(name, "nobody") }
	line := fmt.Sprintf("%d %% (%d of 1024 slots): %s to %s", m.Percent(), m.Slots, nobody(m.From), nobody(m.To))
	if m.Incomplete {
		line += ", for flows with onHomeLoss Takeover alone"
	}
	return line
}

// flowLine says how a flow is served afterwards, if that differs.
func flowLine(f whatif.FlowEffect) (string, colour) {
	if f.Before == f.After {
		return "", plain
	}
	tier := ""
	if f.Core {
		tier = " (core)"
	}
	c := yellow
	switch {
	case f.After.State == v1alpha1.FlowAvailable:
		c = green
	case f.Core && f.After.Action != v1alpha1.HomeLossDefer:
		c = red
	}
	return fmt.Sprintf("%s%s: %s; now %s", f.Name, tier, meets(f.After), meets(f.Before)), c
}

// meets says what requests of a flow meet.
func meets(s whatif.FlowServed) string {
	if s.State == v1alpha1.FlowAvailable {
		return "served"
	}
	words := map[v1alpha1.HomeLossAction]string{
		v1alpha1.HomeLossReject: "refused", v1alpha1.HomeLossReadOnly: "read-only", v1alpha1.HomeLossDefer: "kept for later",
		v1alpha1.HomeLossTakeover: "refused until taken over",
	}
	return fmt.Sprintf("%s for %d %% of the keys", orElse(words[s.Action], string(s.State)), s.AffectedPercent)
}

func unchanged(e *whatif.Effect) string {
	var names []string
	for _, f := range e.Flows {
		if f.Before == f.After {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, ", ")
}

func riskLine(r whatif.Risk) string {
	line := r.DataClass + ": "
	switch {
	case r.Lag == v1alpha1.LagNotReplicated:
		line += "all that was written there, for it is not replicated"
	case r.Lag == v1alpha1.LagBeyondObjective:
		line += "more than its objective allows, for it lags beyond that"
	case r.Bound == "":
		line += "not known how much, for its lag is not"
	default:
		line += "what was written there in the last " + r.Bound + " at most"
	}
	if r.Strong {
		line += " (Strong: nobody takes it over)"
	}
	return line
}

// regionsOf names a service's regions.
func regionsOf(mas *v1alpha1.MultiActiveService) []string {
	var out []string
	for _, r := range mas.Spec.Regions {
		out = append(out, r.Name)
	}
	return slices.Clip(out)
}
