package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
)

// hubState is what the hub's objects say at one moment.
type hubState struct {
	regions   map[string]*v1alpha1.Region
	services  []v1alpha1.MultiActiveService
	incidents []v1alpha1.RegionIncident
	orders    []v1alpha1.Operation
	// unread are the kinds that the caller may not read.
	unread []string
}

// look reads the hub's objects, of services those in the given namespaces; without one, all. A kind that the caller
// may not read is noted and left out, but for Regions, without which nothing can be said.
func look(ctx context.Context, hub client.Reader, namespaces ...string) (*hubState, error) {
	s := &hubState{regions: map[string]*v1alpha1.Region{}}
	var regions v1alpha1.RegionList
	if err := hub.List(ctx, &regions); err != nil {
		return nil, hubProblem("listing Regions in the hub", err)
	}
	for i := range regions.Items {
		s.regions[regions.Items[i].Name] = &regions.Items[i]
	}
	var services v1alpha1.MultiActiveServiceList
	var incidents v1alpha1.RegionIncidentList
	var orders v1alpha1.OperationList
	var in []client.ListOption
	for _, n := range namespaces {
		in = append(in, client.InNamespace(n))
	}
	for _, l := range []struct {
		kind string
		list client.ObjectList
		how  []client.ListOption
	}{{"MultiActiveServices", &services, in}, {"RegionIncidents", &incidents, nil}, {"Operations", &orders, nil}} {
		err := hub.List(ctx, l.list, l.how...)
		switch {
		case apierrors.IsForbidden(err):
			s.unread = append(s.unread, l.kind)
		case err != nil:
			return nil, hubProblem("listing "+l.kind+" in the hub", err)
		}
	}
	s.services, s.incidents, s.orders = services.Items, incidents.Items, orders.Items
	return s, nil
}

func (s *hubState) regionNames() []string { return slices.Sorted(maps.Keys(s.regions)) }

func (s *hubState) service(namespace, name string) *v1alpha1.MultiActiveService {
	for i := range s.services {
		if s.services[i].Namespace == namespace && s.services[i].Name == name {
			return &s.services[i]
		}
	}
	return nil
}

// elsewhere names the namespaces that have a service of the name, for the end of a message.
func (s *hubState) elsewhere(name string) string {
	var in []string
	for i := range s.services {
		if s.services[i].Name == name {
			in = append(in, "-n "+s.services[i].Namespace)
		}
	}
	if len(in) == 0 {
		return ""
	}
	return "; is it the one of " + strings.Join(in, " or ") + "?"
}

// retryWatch is the pause before a watch that broke off is made anew.
const retryWatch = time.Second

// changes tells when objects of the lists' kinds have changed, the first time at once, until ctx ends. It watches;
// where that fails it tells every now and then, and whoever looks finds out what is wrong.
func changes(ctx context.Context, t terminal, hub client.WithWatch, lists ...client.ObjectList) func(yield func() bool) {
	return func(yield func() bool) {
		var all sync.WaitGroup
		defer all.Wait()
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		woken := make(chan struct{}, 1)
		wake := func() {
			select {
			case woken <- struct{}{}:
			default: // somebody is about to look
			}
		}
		wake()
		for _, l := range lists {
			all.Go(func() {
				for ctx.Err() == nil {
					w, err := hub.Watch(ctx, l)
					wake()
					if err == nil {
						for range w.ResultChan() {
							wake()
						}
						w.Stop()
					}
					if t.sleep(ctx, retryWatch) != nil {
						return
					}
				}
			})
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-woken:
				if !yield() {
					return
				}
			}
		}
	}
}

// completes offers the names of regions, or of services, to a shell.
func completes(t terminal, o *serviceOptions, services bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), perRequest)
		defer cancel()
		hub, err := o.hub(t)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names, err := o.names(ctx, hub, services)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// names returns the names of regions, or of services.
func (o *serviceOptions) names(ctx context.Context, hub client.Reader, services bool) ([]string, error) {
	var out []string
	if services {
		var list v1alpha1.MultiActiveServiceList
		if err := hub.List(ctx, &list, client.InNamespace(o.in())); err != nil {
			return nil, err
		}
		for i := range list.Items {
			out = append(out, list.Items[i].Name)
		}
		return out, nil
	}
	var list v1alpha1.RegionList
	if err := hub.List(ctx, &list); err != nil {
		return nil, err
	}
	for i := range list.Items {
		rg := &list.Items[i]
		out = append(out, fmt.Sprintf("%s\t%s", rg.Name, orElse(string(rg.Status.State), "Unknown")))
	}
	return out, nil
}
