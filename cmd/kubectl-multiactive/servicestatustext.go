package main

import (
	"fmt"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	conditions "multiactive.dev/operator/internal/plan/condition"
	"multiactive.dev/operator/internal/plan/overview"
)

// text writes the overview for a person: regions, services, what goes on, and what to do next.
func (o *overviewOptions) text(t terminal, p pictured, seen *hubState) {
	v := p.Overview
	headline(t, v, len(seen.unread) > 0)
	t.say("")
	regionTable(t, v)
	if len(v.Services) > 0 {
		t.say("")
		serviceTable(t, v)
	} else if len(seen.unread) == 0 {
		t.say("\nNo MultiActiveService %s.", map[bool]string{true: "in any namespace", false: "in namespace " + o.in() + "; -A shows all namespaces"}[o.all])
	}
	if o.name != "" || o.output == "wide" || len(v.Services) == 1 {
		for i := range v.Services {
			t.say("")
			matrix(t, &v.Services[i])
		}
	}
	if o.contexts != "" {
		linkTable(t, p.Links, p.LinkProblems)
	}
	if len(v.Incidents) > 0 {
		t.say("")
		incidentTable(t, v.Incidents)
	}
	for _, kind := range seen.unread {
		t.say("\n%s", t.tint(yellow, "You may not list "+kind+", so they are left out."))
	}
	nextSteps(t, v.Next)
}

// headline says the worst first.
func headline(t terminal, v overview.Overview, blind bool) {
	var hit, unknown, degraded []string
	for i := range v.Services {
		s := &v.Services[i]
		name := s.Namespace + "/" + s.Name
		switch {
		case s.Core == metav1.ConditionFalse:
			hit = append(hit, name)
		case s.Core != metav1.ConditionTrue:
			unknown = append(unknown, name)
		case s.Degraded != "" && !strings.HasPrefix(s.Degraded, "0/"):
			degraded = append(degraded, name)
		}
	}
	switch {
	case len(hit) > 0:
		t.say("%s", t.tint(red, "Core flows are not served for everybody: "+few(hit)))
	case len(unknown) > 0:
		t.say("%s", t.tint(yellow, "Not known whether core flows are served: "+few(unknown)))
	case len(degraded) > 0:
		t.say("%s", t.tint(yellow, "Core flows are served for everybody; others are degraded: "+few(degraded)))
	case v.Attention():
		t.say("%s", t.tint(yellow, "Every flow is served; something needs a look."))
	case len(v.Services) > 0:
		t.say("%s", t.tint(green, "Every flow is served as declared."))
	case blind:
		t.say("%s", t.tint(yellow, "Not known what is served: not everything could be read."))
	default:
		t.say("Nothing is served here.")
	}
}

// few names some, and counts the rest.
func few(names []string) string {
	if len(names) <= 5 {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:5], ", ") + fmt.Sprintf(" and %d more", len(names)-5)
}

func regionTable(t terminal, v overview.Overview) {
	rows := [][]cell{cells("REGION", "STATE", "SINCE", "OBSERVERS", "AGENT", "CLUSTER", "INCIDENT")}
	for _, r := range v.Regions {
		since := ""
		if r.Since != nil {
			since = age(t.clock(), r.Since.Time)
		}
		agent := r.Agent
		if r.Leads {
			agent += ", leads"
		}
		cluster := map[metav1.ConditionStatus]string{metav1.ConditionTrue: "reachable", metav1.ConditionFalse: "unreachable"}[r.Reachable]
		rows = append(rows, []cell{
			{r.Name, plain}, {string(r.State), colourOfRegion(r.State)}, {since, plain}, {r.Observers, plain}, {agent, plain}, {cluster, plain}, {r.Incident, plain},
		})
	}
	t.table(rows)
}

func colourOfRegion(s v1alpha1.RegionPhase) colour {
	switch s {
	case v1alpha1.RegionUp:
		return green
	case v1alpha1.RegionDown:
		return red
	case v1alpha1.RegionUnknown, v1alpha1.RegionSuspect, v1alpha1.RegionReturning, v1alpha1.RegionDrained:
	}
	return yellow
}

func colourOfStatus(s metav1.ConditionStatus) colour {
	switch s {
	case metav1.ConditionTrue:
		return green
	case metav1.ConditionFalse:
		return red
	case metav1.ConditionUnknown:
	}
	return yellow
}

func serviceTable(t terminal, v overview.Overview) {
	rows := [][]cell{cells("NAMESPACE", "SERVICE", "READY", "CORE", "DEGRADED", "DEFERRED", "LAG", "OWNERS", "EPOCH")}
	for i := range v.Services {
		s := &v.Services[i]
		rows = append(rows, []cell{
			{s.Namespace, plain}, {s.Name, plain}, {string(s.Ready), colourOfStatus(s.Ready)}, {string(s.Core), colourOfStatus(s.Core)}, {s.Degraded, plain}, {s.Deferred, plain},
			{s.Lag, plain}, {owners(s), plain}, {strconv.FormatInt(v.Epoch, 10), plain},
		})
	}
	t.table(rows)
}

// owners says who owns how much of a service.
func owners(s *overview.Service) string {
	var out []string
	left := 100
	for _, r := range s.Regions {
		if r.Owns == v1alpha1.Unknown {
			return "unknown"
		}
		if p := overview.Percent(r.Slots); r.Slots > 0 {
			out, left = append(out, fmt.Sprintf("%s %d%%", r.Name, p)), left-p
		}
	}
	if left > 1 {
		out = append(out, fmt.Sprintf("nobody %d%%", left))
	}
	return strings.Join(out, ", ")
}

// matrix writes how each flow of a service is served in each region.
func matrix(t terminal, s *overview.Service) {
	t.say("%s", t.tint(bold, s.Namespace+"/"+s.Name))
	header := cells("FLOW", "TIER", "NOW")
	keys, replicas, home := cells("owns", "", ""), cells("replicas", "", ""), cells("at home", "", "")
	for _, r := range s.Regions {
		header = append(header, cell{text: r.Name})
		owns := fmt.Sprintf("%d%% (%d)", overview.Percent(r.Slots), r.Slots)
		if r.Owns == v1alpha1.Unknown {
			owns = string(overview.Unsaid)
		}
		keys = append(keys, cell{text: owns})
		home = append(home, cell{text: fmt.Sprintf("%d%% (%d)", overview.Percent(r.Home), r.Home)})
		replicas = append(replicas, cell{text: r.Replicas})
	}
	rows := [][]cell{header}
	for _, f := range s.Flows {
		rows = append(rows, flowRow(t, s, f))
	}
	rows = append(rows, keys)
	if displaced(s) {
		rows = append(rows, home)
	}
	t.table(append(rows, replicas))
	if len(s.Data) > 0 {
		t.say("")
		dataTable(t, s)
	}
	if s.Rollout != "" {
		t.say("Rollout: %s", s.Rollout)
	}
	for _, u := range s.Unsure {
		t.say("%s", t.tint(yellow, "Owners may be others: "+u+"."))
	}
}

// displaced reports whether a region owns other keys than are at home there.
func displaced(s *overview.Service) bool {
	for _, r := range s.Regions {
		if r.Slots != r.Home {
			return true
		}
	}
	return false
}

func flowRow(t terminal, s *overview.Service, f overview.Flow) []cell {
	tier := "-"
	if f.Core {
		tier = "core"
	}
	row := []cell{{f.Name, plain}, {tier, plain}, nowOf(t, f)}
	for _, r := range s.Regions {
		p := f.At[r.Name]
		c := plain
		switch p {
		case overview.Down:
			c = red
		case overview.Unsaid:
			c = yellow
		case overview.Serves, overview.Owner:
			c = green
		case overview.Forwards:
		}
		row = append(row, cell{string(p), c})
	}
	return row
}

// nowOf says whether a flow is served as declared, and what those users meet whom it is not.
func nowOf(t terminal, f overview.Flow) cell {
	switch f.State {
	case v1alpha1.FlowAvailable:
		text := "served"
		if f.Deferred != "" {
			text += fmt.Sprintf(", %s kept requests left", f.Deferred)
		}
		return cell{text, green}
	case v1alpha1.FlowUnknown:
		return cell{"unknown", yellow}
	case v1alpha1.FlowDegraded, v1alpha1.FlowUnavailable:
	}
	words := map[v1alpha1.HomeLossAction]string{
		v1alpha1.HomeLossReject: "refused", v1alpha1.HomeLossReadOnly: "read-only", v1alpha1.HomeLossDefer: "kept for later", v1alpha1.HomeLossTakeover: "refused",
	}
	text := fmt.Sprintf("%d%% %s", f.AffectedPercent, orElse(words[f.Action], string(f.State)))
	if f.Since != nil {
		text += " " + age(t.clock(), f.Since.Time)
	}
	if f.Deferred != "" {
		text += fmt.Sprintf(" (%s waiting, oldest %s)", f.Deferred, f.Oldest)
	}
	if f.Core && f.Action != v1alpha1.HomeLossDefer {
		return cell{text, red}
	}
	return cell{text, yellow}
}

func dataTable(t terminal, s *overview.Service) {
	rows := [][]cell{cells("DATA", "LAG", "OBJECTIVE")}
	for _, d := range s.Data {
		objective := ""
		if d.Objective != nil {
			objective = conditions.Duration(d.Objective.Duration)
		}
		c := map[v1alpha1.LagState]colour{v1alpha1.LagWithinObjective: green, v1alpha1.LagBeyondObjective: red, v1alpha1.LagUnknown: yellow, v1alpha1.LagWithinOutageObjective: yellow}[d.Lag]
		words := map[v1alpha1.LagState]string{
			v1alpha1.LagWithinObjective: "within objective", v1alpha1.LagWithinOutageObjective: "within outage objective", v1alpha1.LagBeyondObjective: "beyond objective",
			v1alpha1.LagUnknown: "unknown", v1alpha1.LagNotReplicated: "not replicated",
		}
		rows = append(rows, []cell{{d.Name, plain}, {orElse(words[d.Lag], string(d.Lag)), c}, {objective, plain}})
	}
	t.table(rows)
}

func incidentTable(t terminal, all []overview.Incident) {
	rows := [][]cell{cells("INCIDENT", "REGION", "STATE", "STARTED", "RECOVERY", "DATA-AT-RISK", "SERVICES")}
	for _, i := range all {
		started := ""
		if i.Started != nil {
			started = age(t.clock(), i.Started.Time) + " ago"
		}
		rows = append(rows, []cell{{i.Name, plain}, {i.Region, plain}, {string(i.State), yellow}, {started, plain}, {i.Recovery, plain}, {i.DataAtRisk, plain}, {strconv.Itoa(int(i.Services)), plain}})
	}
	t.table(rows)
}

// mostSteps bounds what a person is told at once.
const mostSteps = 25

// nextSteps writes what to do, most urgent first.
func nextSteps(t terminal, all []overview.Step) {
	if len(all) == 0 {
		return
	}
	t.say("\n%s", t.tint(bold, "Next"))
	for i, s := range all {
		if i == mostSteps {
			t.say("  and %d more: -o json has all", len(all)-i)
			return
		}
		c := map[overview.Urgency]colour{overview.Now: red, overview.Soon: yellow, overview.Note: faint}[s.Urgency]
		t.say("  %s  %s: %s", t.tint(c, fmt.Sprintf("%-4s", strings.ToLower(string(s.Urgency)))), s.About, s.Text)
	}
}
