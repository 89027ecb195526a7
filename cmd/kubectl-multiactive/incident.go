package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/regionincident"
)

const incidentHelp = `kubectl multiactive incident lists outages, or tells the course of one: when it was noticed, when others took over, what
may be lost, whom it touched, and what is still to do.

  kubectl multiactive incident                                   all, newest first
  kubectl multiactive incident beijing-4                         one: its timeline
  kubectl multiactive incident beijing-4 --report markdown       for the record, as Markdown
  kubectl multiactive incident beijing-4 --report csv            the services that it touched, for compensation

Who the users were, their gateways know: the report has the command for each service.`

// incidentOptions are the flags of incident.
type incidentOptions struct {
	serviceOptions
	report, output string
}

func incidentCommand(t *terminal) *cobra.Command {
	o := &incidentOptions{}
	c := &cobra.Command{
		Use: "incident [NAME]", Short: "The course of an outage, and reports of it", Long: incidentHelp, Args: arguments(1), Aliases: []string{"incidents"},
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), *t, strings.Join(args, "")) },
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return o.complete(cmd.Context(), *t, args), cobra.ShellCompDirectiveNoFileComp
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVar(&o.report, "report", "", "markdown or csv")
	fs.StringVarP(&o.output, "output", "o", "", "json or yaml: the object itself")
	o.bind(fs)
	return c
}

func (o *incidentOptions) complete(ctx context.Context, t terminal, args []string) []cobra.Completion {
	ctx, cancel := context.WithTimeout(ctx, perRequest)
	defer cancel()
	hub, err := o.hub(t)
	if err != nil || len(args) > 0 {
		return nil
	}
	var list v1alpha1.RegionIncidentList
	if err := hub.List(ctx, &list); err != nil {
		return nil
	}
	var out []cobra.Completion
	for i := range list.Items {
		out = append(out, list.Items[i].Name+"\t"+string(list.Items[i].Status.State))
	}
	return out
}

func (o *incidentOptions) run(ctx context.Context, t terminal, name string) error {
	switch {
	case !slices.Contains([]string{"", "markdown", "csv"}, o.report):
		return fmt.Errorf("--report: %q is neither markdown nor csv: %w", o.report, errUsage)
	case !slices.Contains([]string{"", "json", "yaml"}, o.output):
		return fmt.Errorf("-o: %q is neither json nor yaml: %w", o.output, errUsage)
	case o.report != "" && name == "":
		return fmt.Errorf("--report: of which incident? %w", errUsage)
	}
	hub, err := o.hub(t)
	if err != nil {
		return err
	}
	var list v1alpha1.RegionIncidentList
	if err := hub.List(ctx, &list); err != nil {
		return hubProblem("listing RegionIncidents in the hub", err)
	}
	slices.SortFunc(list.Items, func(a, b v1alpha1.RegionIncident) int {
		return cmp.Or(timeOf(b.Status.StartedAt).Compare(timeOf(a.Status.StartedAt)), strings.Compare(a.Name, b.Name))
	})
	if name == "" {
		return o.list(t, list.Items)
	}
	for i := range list.Items {
		if list.Items[i].Name == name {
			return o.one(t, &list.Items[i])
		}
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return fmt.Errorf("there is no RegionIncident %q; there are: %s: %w", name, orElse(few(names), "none"), errUsage)
}

func timeOf(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

func (o *incidentOptions) list(t terminal, all []v1alpha1.RegionIncident) error {
	if o.output != "" {
		return printValue(t.out, all, o.output)
	}
	if len(all) == 0 {
		t.say("There was no outage.")
		return nil
	}
	rows := [][]cell{cells("INCIDENT", "REGION", "STATE", "STARTED", "LASTED", "RECOVERY", "DATA-AT-RISK", "SERVICES")}
	for i := range all {
		s := &all[i].Status
		services := ""
		if s.Services != nil {
			services = strconv.Itoa(int(*s.Services))
		}
		c := yellow
		if regionincident.Over(s.State) {
			c = plain
		}
		rows = append(rows, []cell{
			{all[i].Name, plain}, {all[i].Spec.Region, plain}, {string(s.State), c}, {moment(s.StartedAt), plain}, {lasted(t.clock(), s), plain},
			{s.Recovery, plain}, {s.DataAtRiskSummary, plain}, {services, plain},
		})
	}
	t.table(rows)
	return nil
}

func moment(at *metav1.Time) string {
	if at == nil {
		return ""
	}
	return at.UTC().Format("2006-01-02 15:04:05Z")
}

// lasted says how long an outage took, or takes so far.
func lasted(now time.Time, s *v1alpha1.RegionIncidentStatus) string {
	switch {
	case s.StartedAt == nil:
		return ""
	case s.EndedAt != nil:
		return age(s.EndedAt.Time, s.StartedAt.Time)
	default:
		return age(now, s.StartedAt.Time) + " so far"
	}
}

func (o *incidentOptions) one(t terminal, i *v1alpha1.RegionIncident) error {
	switch {
	case o.output != "":
		i.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("RegionIncident"))
		return printObject(t.out, i, "regionincident", o.output)
	case o.report == "csv":
		return incidentCSV(t.out, i)
	case o.report == "markdown":
		return incidentMarkdown(t, i)
	}
	incidentText(t, i)
	return nil
}

// stepWords are the steps of a timeline in words.
var stepWords = map[string]string{
	"Suspected": "the leader has evidence against the region", "Confirmed": "a majority of the other regions cannot reach it", "GateClosed": "its lease has run out for certain",
	"ViewCommitted": "the regions have agreed to go on without it", "FirstSurvivorRouted": "a survivor's gateways act on that", "Returned": "it is back, and owns nothing yet",
	"ServingAgain": "it serves and owns its keys again", "FalseAlarm": "it answered again before it was declared lost; nothing was changed",
}

// course are the rows of the timeline.
func course(i *v1alpha1.RegionIncident) [][]string {
	var out [][]string
	for _, s := range i.Status.Timeline {
		when := ""
		if s.At != nil {
			when = s.At.UTC().Format("15:04:05.000Z")
		}
		out = append(out, []string{when, orElse(s.SinceStart, "-"), s.Step, stepWords[s.Step]})
	}
	return out
}

func incidentText(t terminal, i *v1alpha1.RegionIncident) {
	s := &i.Status
	c := yellow
	if regionincident.Over(s.State) {
		c = green
	}
	t.say("%s: region %s is %s", t.tint(bold, i.Name), i.Spec.Region, t.tint(c, string(s.State)))
	t.say("began      %s", orElse(moment(s.StartedAt), "not known"))
	t.say("lasted     %s", orElse(lasted(t.clock(), s), "not known"))
	t.say("recovery   %s", orElse(s.Recovery, "none measured"))
	if s.Epoch > 0 {
		t.say("epoch      %d", s.Epoch)
	}
	if rows := course(i); len(rows) > 0 {
		t.say("")
		table := [][]cell{cells("AT", "SINCE START", "STEP", "MEANING")}
		for _, row := range rows {
			table = append(table, cells(row...))
		}
		t.table(table)
	}
	if len(s.DataAtRisk) > 0 {
		t.say("")
		table := [][]cell{cells("DATA AT RISK", "LAG", "AT MOST", "RECORDS")}
		for _, row := range atRisk(i) {
			table = append(table, cells(row...))
		}
		t.table(table)
	}
	if len(s.LateChanges) > 0 {
		t.say("")
		table := [][]cell{cells("LATE CHANGES", "APPLIED", "OWNER STANDS", "LATE STANDS", "OPEN")}
		for _, l := range s.LateChanges {
			row := cells(l.Store, number(l.Applied), number(l.OwnerStands), number(l.LateStands), number(l.Open))
			if l.Open > 0 {
				row[4].colour = red
			}
			table = append(table, row)
		}
		t.table(table)
	}
	incidentServices(t, i)
	incidentNext(t, i)
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// atRisk are the rows of what may not have left the region.
func atRisk(i *v1alpha1.RegionIncident) [][]string {
	var out [][]string
	for _, d := range i.Status.DataAtRisk {
		lag, most, records := "unknown", "unknown", "unknown"
		if d.Lag != nil {
			lag = d.Lag.Duration.String()
		}
		if d.AtMost != nil {
			most = d.AtMost.Duration.String()
		}
		if d.Records != nil {
			records = number(*d.Records)
		}
		out = append(out, []string{d.Name, lag, most, records})
	}
	return out
}

func incidentServices(t terminal, i *v1alpha1.RegionIncident) {
	if len(i.Status.WorstServices) == 0 {
		return
	}
	t.say("")
	table := [][]cell{cells("SERVICE", "DEGRADED FLOWS", "DEFERRED")}
	for _, s := range i.Status.WorstServices {
		table = append(table, cells(s.Namespace+"/"+s.Name, strings.Join(s.DegradedFlows, ", "), s.Deferred))
	}
	t.table(table)
	if n := i.Status.Services; n != nil && int(*n) > len(i.Status.WorstServices) {
		t.say("and %d more that were touched less", int(*n)-len(i.Status.WorstServices))
	}
}

func incidentNext(t terminal, i *v1alpha1.RegionIncident) {
	var next []string
	if c := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ConditionResolved); c != nil && c.Status != metav1.ConditionTrue {
		next = append(next, plugin(c.Message))
	}
	for _, l := range i.Status.LateChanges {
		if l.Open > 0 {
			next = append(next, fmt.Sprintf("decide on %s of store %s that two regions changed: both versions are in its table multiactive.conflict", plural(int(l.Open), "row"), l.Store))
		}
	}
	for _, s := range i.Status.WorstServices {
		next = append(next, "whom it has hit: "+whom(i, s))
	}
	if len(next) == 0 {
		return
	}
	t.say("\n%s", t.tint(bold, "Next"))
	for _, n := range next {
		t.say("  %s", n)
	}
}

// whom is the command that tells who the users were.
func whom(i *v1alpha1.RegionIncident, s v1alpha1.IncidentService) string {
	since := ""
	if at := i.Status.StartedAt; at != nil {
		since = " --since " + at.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("kubectl multiactive compensation -n %s --service %s --contexts <regions' contexts>%s", s.Namespace, s.Name, since)
}

// incidentCSV writes a line for each flow of a service that the outage has degraded.
func incidentCSV(out io.Writer, i *v1alpha1.RegionIncident) error {
	w := csv.NewWriter(out)
	_ = w.Write([]string{"incident", "region", "state", "started_at", "ended_at", "recovery", "namespace", "service", "flow", "deferred"}) // Flush tells
	stamp := func(at *metav1.Time) string {
		if at == nil {
			return ""
		}
		return at.UTC().Format(time.RFC3339)
	}
	for _, s := range i.Status.WorstServices {
		for _, flow := range s.DegradedFlows {
			_ = w.Write([]string{i.Name, i.Spec.Region, string(i.Status.State), stamp(i.Status.StartedAt), stamp(i.Status.EndedAt), i.Status.Recovery, s.Namespace, s.Name, flow, s.Deferred})
		}
	}
	w.Flush()
	return w.Error()
}

// incidentMarkdown writes a report to be filed.
func incidentMarkdown(t terminal, i *v1alpha1.RegionIncident) error {
	s := &i.Status
	rows := func(header string, all [][]string) {
		t.say("| %s |", strings.ReplaceAll(header, ",", " | "))
		t.say("|%s", strings.Repeat("---|", strings.Count(header, ",")+1))
		for _, row := range all {
			for n := range row {
				row[n] = strings.ReplaceAll(row[n], "|", `\|`)
			}
			t.say("| %s |", strings.Join(row, " | "))
		}
		t.say("")
	}
	t.say("# Incident %s: region %s\n", i.Name, i.Spec.Region)
	rows("what,value", [][]string{
		{"state", string(s.State)}, {"began", orElse(moment(s.StartedAt), "not known")}, {"ended", orElse(moment(s.EndedAt), "goes on")},
		{"lasted", orElse(lasted(t.clock(), s), "not known")}, {"recovery", orElse(s.Recovery, "none measured")}, {"data at risk", orElse(s.DataAtRiskSummary, "none known")},
	})
	if all := course(i); len(all) > 0 {
		t.say("## Timeline\n")
		rows("at,since start,step,meaning", all)
	}
	if len(s.DataAtRisk) > 0 {
		t.say("## Data at risk\n\nWhat may not have left the region when it was lost, by link: the lag when it fell silent, and at most that by the end of " +
			"its lease, if it was cut off and not dead.\n")
		rows("link,lag,at most,records", atRisk(i))
	}
	if len(s.LateChanges) > 0 {
		t.say("## Late changes\n\nWhat the region had accepted and not shipped, once it was back.\n")
		var all [][]string
		for _, l := range s.LateChanges {
			all = append(all, []string{l.Store, number(l.Applied), number(l.OwnerStands), number(l.LateStands), number(l.Open)})
		}
		rows("store,applied,owner's version stands,late version stands,open", all)
	}
	if len(s.WorstServices) > 0 {
		t.say("## Services\n")
		var all [][]string
		for _, w := range s.WorstServices {
			all = append(all, []string{w.Namespace + "/" + w.Name, strings.Join(w.DegradedFlows, ", "), orElse(w.Deferred, "none")})
		}
		rows("service,degraded flows,deferred requests at most", all)
		t.say("Whom it has hit, gateways tell for seven days:\n\n```console")
		for _, w := range s.WorstServices {
			t.say("$ %s", whom(i, w))
		}
		t.say("```\n")
	}
	if c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionResolved); c != nil && c.Status != metav1.ConditionTrue {
		t.say("## Still to do\n\n%s", plugin(c.Message))
	}
	return nil
}
