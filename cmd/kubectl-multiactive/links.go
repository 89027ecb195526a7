package main

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
)

// linkLine is how far one link has come.
type linkLine struct {
	Name   string              `json:"name"`
	Engine v1alpha1.LinkEngine `json:"engine"`
	From   string              `json:"from"`
	To     string              `json:"to"`
	State  v1alpha1.LinkState  `json:"state"`
	// Lag in steps, and whether it is within the objective: True, False or Unknown.
	Lag      string                 `json:"lag,omitempty"`
	CaughtUp metav1.ConditionStatus `json:"caughtUp"`
	// Problem is what is wrong with it.
	Problem string `json:"problem,omitempty"`
}

// links reads the ReplicationLinks of the clusters of contexts. A cluster that cannot be read is a problem.
func links(ctx context.Context, t terminal, contexts []string) (all []linkLine, problems []string) {
	for _, name := range contexts {
		c, err := hubOptions{context: name}.hub(t)
		var list v1alpha1.ReplicationLinkList
		if err == nil {
			err = c.List(ctx, &list)
		}
		if err != nil {
			problems = append(problems, "context "+name+": "+err.Error())
			continue
		}
		for i := range list.Items {
			all = append(all, lineOf(&list.Items[i]))
		}
	}
	slices.SortFunc(all, func(a, b linkLine) int {
		return cmp.Or(strings.Compare(a.To, b.To), strings.Compare(a.From, b.From), strings.Compare(a.Name, b.Name))
	})
	return all, problems
}

func lineOf(l *v1alpha1.ReplicationLink) linkLine {
	out := linkLine{
		Name: orElse(l.Spec.Topic, l.Spec.Store), Engine: l.Spec.Engine, From: l.Spec.From, To: l.Spec.To, State: l.Status.State, Lag: l.Status.Lag,
		CaughtUp: metav1.ConditionUnknown, Problem: l.Status.LastError,
	}
	if c := meta.FindStatusCondition(l.Status.Conditions, v1alpha1.ConditionCaughtUp); c != nil {
		out.CaughtUp = c.Status
	}
	return out
}

// linkTable writes links, with what is wrong with them below.
func linkTable(t terminal, all []linkLine, problems []string) {
	rows := [][]cell{cells("LINK", "ENGINE", "FROM", "TO", "STATE", "LAG", "WITHIN OBJECTIVE")}
	for _, l := range all {
		c := map[v1alpha1.LinkState]colour{v1alpha1.LinkStreaming: green, v1alpha1.LinkBroken: red}[l.State]
		if c == plain {
			c = yellow
		}
		rows = append(rows, []cell{
			{l.Name, plain}, {string(l.Engine), plain}, {l.From, plain}, {l.To, plain}, {string(l.State), c}, {l.Lag, plain}, {string(l.CaughtUp), colourOfStatus(l.CaughtUp)},
		})
	}
	t.say("")
	t.table(rows)
	for _, l := range all {
		if l.Problem != "" {
			t.say("%s", t.tint(yellow, l.Name+" from "+l.From+" to "+l.To+": "+l.Problem))
		}
	}
	for _, p := range problems {
		t.say("%s", t.tint(yellow, "links could not be read: "+p))
	}
}
