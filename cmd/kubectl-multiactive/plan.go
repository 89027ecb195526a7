package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/lint"
	"multiactive.dev/operator/internal/plan/whatif"
)

const planHelp = `kubectl multiactive plan says what would happen, and changes nothing. It reckons with the code that the operator itself
acts by, from what the hub reports now.

  kubectl multiactive plan --down beijing                   all services, if the region were lost this minute
  kubectl multiactive plan --down beijing user -n accounts  one service
  kubectl multiactive plan --drain beijing                  if it were drained
  kubectl multiactive plan -f changed.yaml                  if a changed declaration were applied

For a loss it names the keys that move, the flows that are degraded, and the data that the region may have accepted and
nobody has received. For a file it also has the API server check it, and tells what design lint finds that it did not
before.

Exit code 3 when core flows would not be served for everybody, or the file would not be taken or has errors of design.`

// planOptions are the flags of plan.
type planOptions struct {
	serviceOptions
	down, drain, output string
	// manager of fields that the file is applied as.
	manager string
	files   []string
}

// planned is what plan prints as json or yaml.
type planned struct {
	Event   whatif.Event     `json:"event,omitempty"`
	Region  string           `json:"region,omitempty"`
	Effects []*whatif.Effect `json:"effects,omitempty"`
	Changes []plannedChange  `json:"changes,omitempty"`
}

// plannedChange is what a changed declaration would do.
type plannedChange struct {
	whatif.Change
	File string `json:"file"`
	// Refused is what the API server says against it.
	Refused string `json:"refused,omitempty"`
	// Findings of design lint that the present declaration does not have.
	Findings []lint.Finding `json:"findings,omitempty"`
}

func planCommand(t *terminal) *cobra.Command {
	o := &planOptions{}
	c := &cobra.Command{
		Use: "plan [SERVICE]", Short: "What would happen, without doing it", Long: planHelp, Args: arguments(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), *t, strings.Join(args, ""))
		},
		ValidArgsFunction: completes(*t, &o.serviceOptions, true),
	}
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVar(&o.down, "down", "", "the `region` that is lost")
	fs.StringVar(&o.drain, "drain", "", "the `region` that is drained")
	fs.StringArrayVarP(&o.files, "filename", "f", nil, "`file` or directory with changed MultiActiveServices, - for standard input; may be repeated")
	fs.StringVarP(&o.serviceNamespace, "namespace", "n", "", "namespace of the service (default: with a service, that of the kubeconfig's context; else all)")
	fs.StringVarP(&o.output, "output", "o", "", "json or yaml (default: text)")
	fs.StringVar(&o.manager, "field-manager", "kubectl", "`name` that the file is applied as: that of kubectl apply --server-side, or of your pipeline")
	for _, name := range []string{"down", "drain"} {
		if err := c.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return completes(*t, &o.serviceOptions, false)(cmd, nil, word)
		}); err != nil {
			panic("plan: a flag that was declared is there")
		}
	}
	o.bind(fs)
	return c
}

func (o *planOptions) run(ctx context.Context, t terminal, service string) error {
	given := 0
	for _, is := range []bool{o.down != "", o.drain != "", len(o.files) > 0} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return fmt.Errorf("give one of --down, --drain and -f: %w", errUsage)
	case !slices.Contains([]string{"", "json", "yaml"}, o.output):
		return fmt.Errorf("-o: %q is neither json nor yaml: %w", o.output, errUsage)
	case len(o.files) > 0 && service != "":
		return fmt.Errorf("-f has the services: leave %q out: %w", service, errUsage)
	}
	hub, err := o.hub(t)
	if err != nil {
		return err
	}
	var in []string
	if o.serviceNamespace != "" || service != "" {
		in = append(in, o.in())
	}
	if len(o.files) > 0 {
		return o.changed(ctx, t, hub)
	}
	seen, err := look(ctx, hub, in...)
	if err != nil {
		return err
	}
	event, region := whatif.Lost, o.down
	if o.drain != "" {
		event, region = whatif.Drained, o.drain
	}
	return o.happens(t, seen, event, region, service)
}

// happens says what an event would do.
func (o *planOptions) happens(t terminal, seen *hubState, event whatif.Event, region, service string) error {
	if seen.regions[region] == nil {
		return fmt.Errorf("there is no Region %q; there are: %s: %w", region, orElse(strings.Join(seen.regionNames(), ", "), "none"), errUsage)
	}
	if service != "" && seen.service(o.in(), service) == nil {
		return fmt.Errorf("there is no MultiActiveService %q in namespace %s: %w", service, o.in(), errUsage)
	}
	p := planned{Event: event, Region: region, Effects: []*whatif.Effect{}}
	core := false
	for i := range seen.services {
		mas := &seen.services[i]
		if service != "" && mas.Name != service {
			continue
		}
		if e := whatif.Region(event, region, mas, seen.regions); e != nil {
			p.Effects = append(p.Effects, e)
			core = core || e.CoreLost()
		}
	}
	if o.output != "" {
		if err := printValue(t.out, p, o.output); err != nil {
			return err
		}
	} else {
		planText(t, seen, p)
	}
	if core {
		return errAttention
	}
	return nil
}

func planText(t terminal, seen *hubState, p planned) {
	t.say("%s", t.tint(bold, regionLine(seen, p.Region)))
	what := map[whatif.Event]string{whatif.Lost: "If it were lost now:", whatif.Drained: "If it were drained now:"}[p.Event]
	if len(p.Effects) == 0 {
		t.say("%s no service is touched.", what)
		return
	}
	t.say("%s", what)
	var hit []string
	for _, e := range p.Effects {
		t.effect(e)
		if e.CoreLost() {
			hit = append(hit, e.Namespace+"/"+e.Name)
		}
	}
	t.say("")
	if len(hit) > 0 {
		t.say("%s", t.tint(red, "Core flows would not be served for everybody: "+few(hit)))
		return
	}
	t.say("%s", t.tint(green, "Every core flow would be served for everybody, or keep its requests for later."))
}

// changed says what the declarations in files would do.
func (o *planOptions) changed(ctx context.Context, t terminal, hub client.Client) error {
	files, err := readObjects(o.files, t.in)
	if err != nil {
		return err
	}
	if len(files.services) == 0 {
		return fmt.Errorf("%w: there is no MultiActiveService in the files", errInput)
	}
	seen, err := look(ctx, hub)
	if err != nil {
		return err
	}
	facts := designFacts(ctx, hub, seen)
	p := planned{}
	bad := false
	for i := range files.services {
		s := &files.services[i]
		if s.service.Namespace == "" {
			s.service.Namespace = o.in()
		}
		now := seen.service(s.service.Namespace, s.service.Name)
		then, doubt, refused := o.tryApply(ctx, hub, s.service)
		c := plannedChange{Change: whatif.Change{Namespace: s.service.Namespace, Name: s.service.Name}, File: s.file, Refused: refused}
		if refused == "" {
			c.Change = whatif.Changed(now, then, seen.regions)
		}
		if doubt != "" {
			c.Unsure = append(c.Unsure, doubt)
		}
		c.Findings = newFindings(facts, now, s.service)
		bad = bad || c.Refused != "" || slices.ContainsFunc(c.Findings, func(f lint.Finding) bool { return f.Severity == lint.SeverityError })
		p.Changes = append(p.Changes, c)
	}
	if o.output != "" {
		err = printValue(t.out, p, o.output)
	} else {
		for i := range p.Changes {
			p.Changes[i].text(t)
		}
	}
	if err == nil && bad {
		return errAttention
	}
	return err
}

// designFacts returns what design lint may know. Without the DataStores it does not know that one is missing.
func designFacts(ctx context.Context, hub client.Reader, seen *hubState) lint.Context {
	var stores v1alpha1.DataStoreList
	err := hub.List(ctx, &stores)
	facts := lint.Context{Stores: map[string]*v1alpha1.DataStore{}, Regions: seen.regions, Complete: err == nil}
	for i := range stores.Items {
		facts.Stores[stores.Items[i].Name] = &stores.Items[i]
	}
	return facts
}

// tryApply has the API server apply a declaration without keeping it, and returns what it would be then, with its
// defaults, or what the API server says against it. What the caller may not do is a doubt, no refusal.
func (o *planOptions) tryApply(ctx context.Context, hub client.Client, mas *v1alpha1.MultiActiveService) (then *v1alpha1.MultiActiveService, doubt, refused string) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&v1alpha1.MultiActiveService{Spec: mas.Spec})
	if err != nil {
		return mas, "", err.Error()
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": fields["spec"]}}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("MultiActiveService"))
	u.SetNamespace(mas.Namespace)
	u.SetName(mas.Name)
	u.SetAnnotations(mas.Annotations)
	err = hub.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.DryRunAll, client.ForceOwnership, client.FieldOwner(o.manager))
	switch {
	case apierrors.IsForbidden(err):
		return mas, "you may not apply the service, so the API server did not check it, and its defaults may show as changes", ""
	case err != nil:
		return mas, "", err.Error()
	}
	then = &v1alpha1.MultiActiveService{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, then); err != nil {
		return mas, "", err.Error()
	}
	return then, "", ""
}

// newFindings returns the findings of a declaration that the present one does not have.
func newFindings(facts lint.Context, now, then *v1alpha1.MultiActiveService) []lint.Finding {
	facts.Service, facts.Stored = then, now
	found := lint.Check(facts).Findings
	var known []lint.Finding
	if now != nil {
		facts.Service, facts.Stored = now, nil
		known = lint.Check(facts).Findings
	}
	return slices.DeleteFunc(found, func(f lint.Finding) bool {
		return f.Accepted != "" || slices.ContainsFunc(known, func(k lint.Finding) bool { return k.Code == f.Code && k.Message == f.Message })
	})
}

func (c *plannedChange) text(t terminal) {
	t.say("%s", t.tint(bold, fmt.Sprintf("%s/%s (%s)", c.Namespace, c.Name, c.File)))
	if c.Refused != "" {
		t.say("  %s", t.tint(red, "refused   "+c.Refused))
	}
	if c.New {
		t.say("  new       the service is not there yet")
	}
	for _, line := range c.Lines {
		t.say("  %-9s %s", line.About, line.Text)
	}
	for _, m := range c.Moves {
		t.say("  keys      %s", moveLine(m))
	}
	for _, f := range c.Findings {
		colour := yellow
		if f.Severity == lint.SeverityError {
			colour = red
		}
		t.say("  %s", t.tint(colour, fmt.Sprintf("design    %s %s: %s; in an outage: %s. Fix: %s", f.Code, f.Severity, f.Message, f.Consequence, f.Fix)))
	}
	for _, u := range c.Unsure {
		t.say("  %s", t.tint(yellow, "unsure    "+u))
	}
	if !c.New && c.Refused == "" && len(c.Lines) == 0 && len(c.Moves) == 0 && len(c.Findings) == 0 {
		t.say("  nothing that the operator acts on would change")
	}
}
