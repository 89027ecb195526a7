package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const doctorHelp = `kubectl multiactive doctor checks an installation: the hub's resources and manager, the versions that run, every region's
cluster, agent and way to the coordination store, clocks, webhooks, stores, services, and what you yourself may do. Each
finding that is not ok says what to do next.

  kubectl multiactive doctor
  kubectl multiactive doctor -o json | jq '.findings[] | select(.level != "ok")'

Regions' clusters are looked at with the kubeconfigs that the hub has; who may not read those Secrets is told what was
left out. It changes nothing.

Exit codes: 0 there may be warnings, 1 something has failed.`

// Levels of findings.
const (
	levelOK   = "ok"
	levelSkip = "skip"
	levelWarn = "warn"
	levelFail = "fail"
)

// diagnosis is one finding.
type diagnosis struct {
	Level string `json:"level"`
	// About names the part, such as region/beijing.
	About string `json:"about"`
	Text  string `json:"text"`
	// Next is what to do.
	Next string `json:"next,omitempty"`
}

// doctorOptions are the flags of doctor.
type doctorOptions struct {
	hubOptions
	output string
}

// doctor collects what it finds.
type doctor struct {
	o     *doctorOptions
	t     terminal
	found []diagnosis
	hub   client.WithWatch
	core  kubernetes.Interface
}

// errSick tells that a check has failed; it has been printed.
var errSick = errors.New("a check has failed")

func doctorCommand(t *terminal) *cobra.Command {
	o := &doctorOptions{}
	c := &cobra.Command{
		Use: "doctor", Short: "Check an installation", Long: doctorHelp, Args: arguments(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), *t) },
	}
	c.Flags().SortFlags = false
	c.Flags().StringVarP(&o.output, "output", "o", "", "json or yaml (default: text)")
	o.bind(c.Flags())
	return c
}

func (d *doctor) add(level, about, text, next string) {
	d.found = append(d.found, diagnosis{level, about, text, next})
}

func (d *doctor) ok(about, format string, a ...any) {
	d.add(levelOK, about, fmt.Sprintf(format, a...), "")
}

func (o *doctorOptions) run(ctx context.Context, t terminal) error {
	if !slices.Contains([]string{"", "json", "yaml"}, o.output) {
		return fmt.Errorf("-o: %q is neither json nor yaml: %w", o.output, errUsage)
	}
	d := &doctor{o: o, t: t}
	if d.connect(ctx) && d.resources() {
		d.manager(ctx)
		d.rights(ctx)
		d.webhooks(ctx)
		if seen, err := look(ctx, d.hub); err != nil {
			d.add(levelFail, "hub", err.Error(), "ask for the right to list Regions in the hub's cluster")
		} else {
			d.objects(ctx, seen)
		}
		d.regions(ctx)
	}
	if err := d.print(); err != nil {
		return err
	}
	if slices.ContainsFunc(d.found, func(f diagnosis) bool { return f.Level == levelFail }) {
		return errSick
	}
	return nil
}

// connect reaches the hub's API server.
func (d *doctor) connect(ctx context.Context) bool {
	config, err := d.t.configOf(d.o.context)
	if err != nil {
		d.add(levelFail, "hub", err.Error(), "give --kubeconfig, or --context with the name of the hub's context")
		return false
	}
	if d.hub, err = d.o.hub(d.t); err == nil {
		config = rest.CopyConfig(config)
		config.Timeout = perRequest
		d.core, err = kubernetes.NewForConfig(config)
	}
	if err != nil {
		d.add(levelFail, "hub", err.Error(), "look at the kubeconfig")
		return false
	}
	v, drift, err := clock(ctx, config)
	if err != nil {
		d.add(levelFail, "hub", "its API server does not answer: "+err.Error(), "look at the way to it, and at your credentials")
		return false
	}
	d.ok("hub", "its API server answers: Kubernetes %s", v)
	d.clock("hub", drift)
	return true
}

// maxDrift is by how much a clock may differ from this machine's. Kubernetes' own credentials suffer first; no decision
// about who owns what compares clocks.
const maxDrift = 10 * time.Second

func (d *doctor) clock(about string, drift time.Duration) {
	if drift.Abs() <= maxDrift {
		return
	}
	d.add(levelWarn, about, fmt.Sprintf("the clock there differs from this machine's by %s", drift.Round(time.Second)),
		"run a time service on both: tokens and certificates, and the times in incidents, go by these clocks")
}

func (d *doctor) print() error {
	counts := map[string]int{}
	for _, f := range d.found {
		counts[f.Level]++
	}
	if d.o.output != "" {
		return printValue(d.t.out, map[string]any{"findings": d.found, "fail": counts[levelFail], "warn": counts[levelWarn]}, d.o.output)
	}
	colours := map[string]colour{levelOK: green, levelWarn: yellow, levelFail: red, levelSkip: faint}
	width := 0
	for _, f := range d.found {
		width = max(width, len(f.About))
	}
	for _, f := range d.found {
		d.t.say("%s  %-*s  %s", d.t.tint(colours[f.Level], fmt.Sprintf("%-4s", f.Level)), width, f.About, f.Text)
		if f.Next != "" {
			d.t.say("      %*s  next: %s", width, "", f.Next)
		}
	}
	d.t.say("\n%s, %s, %d ok, %d left out", plural(counts[levelFail], "failure"), plural(counts[levelWarn], "warning"), counts[levelOK], counts[levelSkip])
	return nil
}
