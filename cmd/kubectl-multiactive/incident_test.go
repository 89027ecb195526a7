package main

import (
	"bytes"
	"testing"
	"time"

	"multiactive.dev/operator/api/v1alpha1"
)

func TestIncidentText(t *testing.T) {
	closed := incidentObject()
	closed.Name, closed.Status.State, closed.Status.EndedAt, closed.Status.Conditions = "beijing-3", v1alpha1.IncidentClosed, at(1), nil
	closed.Status.LateChanges = []v1alpha1.IncidentLateChanges{{Store: "users", Applied: 14, OwnerStands: 2, Open: 1}}
	for name, c := range map[string]struct {
		o incidentOptions
		i *v1alpha1.RegionIncident
	}{
		"incident": {incidentOptions{}, incidentObject()}, "incident-closed": {incidentOptions{}, closed},
		"incident-markdown": {incidentOptions{report: "markdown"}, closed}, "incident-csv": {incidentOptions{report: "csv"}, incidentObject()},
		"incident-yaml": {incidentOptions{output: "yaml"}, incidentObject()},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			must(t, c.o.one(terminal{out: &out, now: func() time.Time { return night }}, c.i))
			golden(t, name, out.String())
		})
	}
	var out bytes.Buffer
	must(t, (&incidentOptions{}).list(terminal{out: &out, now: func() time.Time { return night }}, []v1alpha1.RegionIncident{*incidentObject(), *closed}))
	golden(t, "incident-list", out.String())
}

func testIncident(_ *testing.T, w *hubWorld) {
	w.expect(0, "incident").has("There was no outage.")
	w.put(incidentObject())
	w.expect(0, "incident").has("beijing-4  beijing  Lost")
	w.expect(0, "incident", "beijing-4").has("FirstSurvivorRouted", "compensation -n accounts --service user", "--since 2026-03-01T02:56:00Z")
	w.expect(exitUsage, "incident", "beijing-5").has(`no RegionIncident "beijing-5"; there are: beijing-4`)
	w.expect(exitUsage, "incident", "--report", "csv").has("of which incident?")
	w.expect(exitUsage, "incident", "beijing-4", "--report", "pdf").has("neither markdown nor csv")
	w.expect(0, "__complete", "incident", "").has("beijing-4\tLost")
}
