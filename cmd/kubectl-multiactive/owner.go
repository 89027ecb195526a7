package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	desired "multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/gateway"
	"multiactive.dev/operator/internal/plan/whatif"
)

const ownerHelp = `kubectl multiactive owner says who serves a user's home requests now, and why: the slot of the user's key, the regions
that may own it in their order, and the owner. The key is normalised, hashed and looked up by the gateways' own code.

  kubectl multiactive owner "+86 138-0000-0001" -n accounts user
  kubectl multiactive owner 42 -n accounts user --kind account      # the service has several partition keys
  kubectl multiactive owner 42 -n accounts user --contexts bj,sh    # ask the gateways of these clusters, too

Without --contexts it reckons with what the hub reports. Gateways act on what their region's agent tells them; asking
them takes the rights to list Pods and to get pods/proxy.

Exit code 3 when nobody owns the key, when its owner serves only flows that may be taken over, or when a gateway cannot
be asked or says otherwise.`

// ownerOptions are the flags of owner.
type ownerOptions struct {
	serviceOptions
	kind, contexts, output string
}

// ownerAnswer is what owner prints as json or yaml.
type ownerAnswer struct {
	gateway.Explanation
	// Key is the name of the partition key.
	Key string `json:"key"`
	// Unsure says what the hub's objects do not tell.
	Unsure []string `json:"unsure,omitempty"`
	// Gateways have what gateways say themselves, as far as they were asked.
	Gateways []gatewayWord `json:"gateways,omitempty"`
}

// gatewayWord is what one gateway says.
type gatewayWord struct {
	Context string               `json:"context"`
	Pod     string               `json:"pod,omitempty"`
	Says    *gateway.Explanation `json:"says,omitempty"`
	Problem string               `json:"problem,omitempty"`
}

func ownerCommand(t *terminal) *cobra.Command {
	o := &ownerOptions{}
	c := &cobra.Command{
		Use: "owner KEY SERVICE", Short: "Who serves a user's home requests, and why", Long: ownerHelp, Args: arguments(2, "the user's key", "the service"),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), *t, args[0], args[1]) },
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) != 1 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return completes(*t, &o.serviceOptions, true)(cmd, nil, word)
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVarP(&o.serviceNamespace, "namespace", "n", "", "namespace of the service (default: that of the kubeconfig's context)")
	fs.StringVar(&o.kind, "kind", "", "`name` of the partition key (default: the service's only one)")
	fs.StringVar(&o.contexts, "contexts", "", "`contexts` of the kubeconfig, separated by commas, whose gateways are asked too")
	fs.StringVarP(&o.output, "output", "o", "", "json or yaml (default: text)")
	o.bind(fs)
	return c
}

func (o *ownerOptions) run(ctx context.Context, t terminal, key, service string) error {
	if !slices.Contains([]string{"", "json", "yaml"}, o.output) {
		return fmt.Errorf("-o: %q is neither json nor yaml: %w", o.output, errUsage)
	}
	hub, err := o.hub(t)
	if err != nil {
		return err
	}
	seen, err := look(ctx, hub, o.in())
	if err != nil {
		return err
	}
	mas := seen.service(o.in(), service)
	if mas == nil {
		return fmt.Errorf("there is no MultiActiveService %q in namespace %s: %w", service, o.in(), errUsage)
	}
	answer, err := o.reckon(mas, seen, key)
	if err != nil {
		return err
	}
	for _, name := range names(o.contexts) {
		answer.Gateways = append(answer.Gateways, o.ask(ctx, t, name, mas, key)...)
	}
	if o.output != "" {
		err = printValue(t.out, answer, o.output)
	} else {
		answer.text(t)
	}
	if err == nil && answer.attention() {
		return errAttention
	}
	return err
}

// reckon looks the key up in the routing that gateways have if the hub's objects are right.
func (o *ownerOptions) reckon(mas *v1alpha1.MultiActiveService, seen *hubState, key string) (*ownerAnswer, error) {
	if mas.Spec.Partition == nil {
		return nil, fmt.Errorf("service %s/%s declares no partition keys: any region serves its users", mas.Namespace, mas.Name)
	}
	agreed := whatif.Of(mas, seen.regions)
	region := mas.Spec.Regions[0].Name
	slice := desired.Build(desired.Input{Service: mas, Regions: seen.regions}, region)
	config := regional.Routing(slice, region, "http://localhost", agreed.Configuration)
	router, err := gateway.Compile(&config)
	if err != nil {
		return nil, fmt.Errorf("service %s/%s: its gateways refuse this declaration: %w", mas.Namespace, mas.Name, err)
	}
	found, err := router.Explain(o.kind, key, true)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.ReplaceAll(strings.ReplaceAll(err.Error(), "query parameter key", "the command line"), "name: ", "--kind: "), errUsage)
	}
	found.Region, found.Flaws = "", nil
	found.Summary = strings.Replace(strings.Replace(found.Summary, "home requests are served here: ", "", 1), " and holds its lease", "", 1)
	name := o.kind
	if name == "" {
		name = mas.Spec.Partition.Keys[0].Name
	}
	return &ownerAnswer{Explanation: found, Key: name, Unsure: agreed.Unsure}, nil
}

// ask asks the gateways of a cluster.
func (o *ownerOptions) ask(ctx context.Context, t terminal, name string, mas *v1alpha1.MultiActiveService, key string) []gatewayWord {
	fails := func(err error) []gatewayWord { return []gatewayWord{{Context: name, Problem: err.Error()}} }
	config, err := t.configOf(name)
	if err != nil {
		return fails(err)
	}
	cluster, err := newGatewayCluster(config, mas.Namespace, mas.Name)
	if err != nil {
		return fails(err)
	}
	pods, err := cluster.pods(ctx)
	if err != nil {
		return fails(err)
	}
	var out []gatewayWord
	for _, pod := range pods {
		word := gatewayWord{Context: name, Pod: pod, Says: &gateway.Explanation{}}
		content, err := cluster.core.CoreV1().Pods(mas.Namespace).ProxyGet("http", pod, strconv.Itoa(regional.GatewayAdminPort), gateway.OwnPrefix+"routing",
			map[string]string{"key": key, "name": o.kind}).DoRaw(ctx)
		if err == nil {
			err = json.Unmarshal(content, word.Says)
		}
		if err != nil {
			word.Says, word.Problem = nil, err.Error()+"; or ask it by kubectl port-forward: /.multiactive/routing?key=… on port "+strconv.Itoa(regional.GatewayAdminPort)
		}
		out = append(out, word)
	}
	return out
}

func (a *ownerAnswer) attention() bool {
	return a.Owner == "" || a.Incomplete || slices.ContainsFunc(a.Gateways, func(w gatewayWord) bool { return w.Says == nil || w.Says.Owner != a.Owner })
}

func (a *ownerAnswer) text(t terminal) {
	owner, c := orElse(a.Owner, "nobody"), green
	switch {
	case a.Owner == "":
		c = red
	case a.Incomplete:
		c = yellow
	}
	t.say("service  %s", a.Service)
	t.say("key      %s", a.Key)
	t.say("slot     %d of 1024", a.Slot)
	t.say("order    %s", strings.Join(a.Rank, ", "))
	t.say("home     %s", a.Home)
	t.say("owner    %s", t.tint(c, owner))
	t.say("epoch    %d", a.Epoch)
	t.say("why      %s", a.Summary)
	for _, u := range a.Unsure {
		t.say("%s", t.tint(yellow, "unsure   "+u))
	}
	for _, w := range a.Gateways {
		who := "context " + w.Context
		if w.Pod != "" {
			who = "gateway " + w.Pod + " (" + w.Context + ")"
		}
		if w.Says == nil {
			t.say("%s", t.tint(red, who+": cannot be asked: "+w.Problem))
			continue
		}
		line, c := fmt.Sprintf("%s: epoch %d, lease %.1fs: %s", who, w.Says.Epoch, w.Says.LeaseRemainingSeconds, w.Says.Summary), plain
		if w.Says.Owner != a.Owner {
			line, c = line+" (it says otherwise: its view is what counts there)", yellow
		}
		t.say("%s", t.tint(c, line))
	}
}
