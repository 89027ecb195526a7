package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/overview"
)

const overviewHelp = `kubectl multiactive status says at a glance what works, what does not, and what to do next.

  kubectl multiactive status                      the services of the namespace, and the regions
  kubectl multiactive status -A                   of all namespaces
  kubectl multiactive status user -n accounts     one service: every flow in every region
  kubectl multiactive status -A --watch           again whenever something changes
  kubectl multiactive status --contexts bj,sh     with every link into these regions, and how far it lags

What a flow's requests meet at a region's gateway:
  serves     served there, for every user
  owner      served there for the users whose keys the region owns; the others' are sent to their owner
  forwards   sent to their owner, for the region owns nobody
  down       nothing: the region is lost
  ?          nobody says
The column NOW says whether all of its users are served as declared, and what the others meet.

Exit code 3 while something needs a person (with --watch: never).`

// overviewOptions are the flags of status.
type overviewOptions struct {
	serviceOptions
	name   string
	all    bool
	watch  bool
	output string
	// contexts are regions' clusters whose links are shown.
	contexts string
}

// pictured is what status prints as json or yaml.
type pictured struct {
	overview.Overview
	Links        []linkLine `json:"links,omitempty"`
	LinkProblems []string   `json:"linkProblems,omitempty"`
}

func overviewCommand(t *terminal) *cobra.Command {
	o := &overviewOptions{}
	c := &cobra.Command{
		Use: "status [SERVICE]", Short: "What works, what does not, and what to do next", Long: overviewHelp, Args: arguments(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.name = args[0]
			}
			return o.run(cmd.Context(), *t)
		},
		ValidArgsFunction: completes(*t, &o.serviceOptions, true),
	}
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVarP(&o.serviceNamespace, "namespace", "n", "", "namespace of the services (default: that of the kubeconfig's context)")
	fs.BoolVarP(&o.all, "all-namespaces", "A", false, "services of all namespaces")
	fs.BoolVarP(&o.watch, "watch", "w", false, "show it again whenever something changes")
	fs.StringVar(&o.contexts, "contexts", "", "`contexts` of the kubeconfig, separated by commas, that are regions' clusters: their links are shown too")
	fs.StringVarP(&o.output, "output", "o", "", "wide: every service with all of its flows; json or yaml")
	o.bind(fs)
	return c
}

func (o *overviewOptions) run(ctx context.Context, t terminal) error {
	switch {
	case !slices.Contains([]string{"", "wide", "json", "yaml"}, o.output):
		return fmt.Errorf("-o: %q is neither wide, json nor yaml: %w", o.output, errUsage)
	case o.name != "" && o.all:
		return fmt.Errorf("-A and the name of a service do not go together: %w", errUsage)
	}
	hub, err := o.hub(t)
	if err != nil {
		return err
	}
	if !o.watch {
		seen, err := o.look(ctx, hub)
		if err != nil {
			return err
		}
		return o.show(ctx, t, seen)
	}
	return o.follow(ctx, t, hub)
}

// follow shows it again whenever something changes, until ctx ends: in place on a terminal, one below the other elsewhere.
func (o *overviewOptions) follow(ctx context.Context, t terminal, hub client.WithWatch) error {
	first := true
	for range changes(ctx, t, hub, &v1alpha1.RegionList{}, &v1alpha1.MultiActiveServiceList{}, &v1alpha1.RegionIncidentList{}, &v1alpha1.OperationList{}) {
		seen, err := o.look(ctx, hub)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			_, _ = fmt.Fprintf(t.err, "%s  %v; trying again\n", t.clock().Format(time.TimeOnly), err)
			continue
		case t.screen:
			_, _ = fmt.Fprint(t.out, "\x1b[H\x1b[2J")
		case !first && o.output != "json":
			t.say("")
		}
		first = false
		if o.output != "json" && o.output != "yaml" {
			t.say("%s", t.tint(faint, t.clock().Format("2006-01-02 15:04:05")))
		}
		if err := o.show(ctx, t, seen); err != nil && !errors.Is(err, errAttention) {
			return err
		}
		if t.sleep(ctx, redrawPause) != nil { // what changes together is shown once
			return nil
		}
	}
	return nil
}

// redrawPause is the least time between two pictures.
const redrawPause = 250 * time.Millisecond

// show writes one picture.
func (o *overviewOptions) show(ctx context.Context, t terminal, seen *hubState) error {
	view := overview.Of(overview.Input{Regions: seen.regions, Services: seen.services, Incidents: seen.incidents, Orders: seen.orders})
	for i := range view.Next {
		view.Next[i].Text = plugin(view.Next[i].Text)
	}
	for i := range view.Orders {
		view.Orders[i].Message = plugin(view.Orders[i].Message)
	}
	p := pictured{Overview: view}
	p.Links, p.LinkProblems = links(ctx, t, names(o.contexts))
	if o.output == "json" || o.output == "yaml" {
		if err := printValue(t.out, p, o.output); err != nil {
			return err
		}
	} else {
		o.text(t, p, seen)
	}
	if view.Attention() {
		return errAttention
	}
	return nil
}

// look reads what is shown. What does not concern the service is left out.
func (o *overviewOptions) look(ctx context.Context, hub client.Reader) (*hubState, error) {
	var in []string
	if !o.all {
		in = append(in, o.in())
	}
	seen, err := look(ctx, hub, in...)
	if err != nil || o.name == "" {
		return seen, err
	}
	mas := seen.service(o.in(), o.name)
	if mas == nil {
		return nil, fmt.Errorf("there is no MultiActiveService %q in namespace %s; see kubectl multiactive status -A: %w", o.name, o.in(), errUsage)
	}
	seen.services = []v1alpha1.MultiActiveService{*mas}
	names := regionsOf(mas)
	for name := range seen.regions {
		if !slices.Contains(names, name) {
			delete(seen.regions, name)
		}
	}
	seen.incidents = slices.DeleteFunc(seen.incidents, func(i v1alpha1.RegionIncident) bool { return !slices.Contains(names, i.Spec.Region) })
	seen.orders = slices.DeleteFunc(seen.orders, func(op v1alpha1.Operation) bool {
		s := op.Spec.Service
		return s != nil && (s.Name != mas.Name || s.Namespace != mas.Namespace) || op.Spec.Region != "" && !slices.Contains(names, op.Spec.Region)
	})
	return seen, nil
}
