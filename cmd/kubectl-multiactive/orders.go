package main

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/whatif"
)

// verb is a command that gives an order.
type verb struct {
	name string
	kind v1alpha1.OperationType
	// event is what the order does to the region, for the preview; empty: nothing can be reckoned.
	event whatif.Event
	// ofService: the argument is a service, not a region. limited: --service limits the order to one.
	ofService, limited bool
	short, long        string
	// warning is what cannot be undone; a person has to type the name for it.
	warning string
}

const ordersHelp = `

It says what will happen, asks, gives the order as an Operation, and tells how it goes until it has ended. Interrupting
the command does not take the order back: kubectl delete mop <name> does.

Exit codes: 0 it succeeded (with --wait=false: it was given), 1 it failed or was refused, 2 the command line is wrong,
3 it was not confirmed, or not over within --wait-timeout.`

var verbs = []verb{
	{
		name: "drain", kind: v1alpha1.OperationDrain, event: whatif.Drained, limited: true, short: "Empty a region, before maintenance",
		long: `kubectl multiactive drain gives a region's keys to the others, once these have caught up with everything that it has and
have the replicas. Nothing acknowledged is lost; home writes for keys that move are refused for seconds. The region goes
on serving flows of any region: take it out of DNS to empty it of those.

  kubectl multiactive drain beijing --reason="power supply"
  kubectl multiactive drain beijing --dry-run=client                  # what it would do
  kubectl multiactive drain beijing --service user -n accounts        # of one service alone
  kubectl multiactive drain beijing --capacity=Ignore                 # the region is dying: do not wait for replicas`,
	},
	{
		name: "undrain", kind: v1alpha1.OperationUndrain, event: whatif.Back, limited: true, short: "End a drain: the region gets its keys back",
		long: `kubectl multiactive undrain gives a drained region its keys back, once it has caught up and has ready replicas.

  kubectl multiactive undrain beijing
  kubectl multiactive undrain beijing --service user -n accounts`,
	},
	{
		name: "handback", kind: v1alpha1.OperationHandback, event: whatif.Back, limited: true, short: "Give a region that was lost, or is new, its keys",
		long: `kubectl multiactive handback gives a region that has returned after a loss its keys back, service by service, each once
the region has all of its data and a ready replica. Its incident closes when all are back.

  kubectl multiactive handback beijing
  kubectl multiactive handback beijing --service user -n accounts`,
	},
	{
		name: "approve", kind: v1alpha1.OperationApproveFailover, limited: true, short: "Let others take over a lost region's keys (failover.mode Manual)",
		long: `kubectl multiactive approve lets other regions take over the keys of a lost one, for services with failover.mode Manual
and their flows with onHomeLoss Takeover. What the region had accepted and nobody received is not there until it returns.
It counts for this loss alone.

  kubectl multiactive approve beijing
  kubectl multiactive approve beijing --service user -n accounts`,
	},
	{
		name: "declare-lost", kind: v1alpha1.OperationDeclareLost, short: "Give a region up for good",
		long: `kubectl multiactive declare-lost gives a region up that is lost or silent and will not come back. The others then serve
all home flows of its users, with the data that they have.

  kubectl multiactive declare-lost beijing --reason="the site burnt down"`,
		warning: "This cannot be undone: what region %[1]s has accepted and nobody has received is given up, and no region of this name ever serves again.",
	},
	{
		name: "drill", kind: v1alpha1.OperationDrill, event: whatif.Drilled, short: "Rehearse the loss of a region, which comes back by itself",
		long: `kubectl multiactive drill takes a region out for a while, as far as its users notice: the others own its keys, and its flows do
what their onHomeLoss says. Nothing in the region is stopped and nothing acknowledged is lost. It comes back by itself when the
time is up, and at once when another region is unwell, a core flow is not served, or another order is given. Interrupting
the command does not end the drill; --abort does.

  kubectl multiactive drill beijing --dry-run=client                  # what users would meet
  kubectl multiactive drill beijing --for 30m --reason="quarterly"
  kubectl multiactive drill beijing --mode=Drain                      # every flow is served on
  kubectl multiactive drill beijing --abort                           # end it now`,
	},
	{
		name: "announce", kind: v1alpha1.OperationAnnounce, ofService: true, short: "Tell a service's users something now, for a while",
		long: `kubectl multiactive announce has gateways show a text to users whose requests they cannot serve, in the user's language
(Accept-Language), before what spec.announcements of the service says. It ends by itself; the declaration is not touched, so
GitOps has nothing to undo. Of two for a flow the later is shown, and one for all that an earlier is for ends that.

  kubectl multiactive announce user -n accounts --for 30m \
      --text zh="注册暂停，预计 10:30 恢复。" --text en="Registration is paused until 10:30."
  kubectl multiactive announce user -n accounts --flow register --region shanghai --text en="Try again in ten minutes."
  kubectl multiactive announce user -n accounts --text en=Sorry. --dry-run=client      # who would be told what
  kubectl multiactive announce user -n accounts --end                                 # end it now

It waits until every region that it names has the text; a region that cannot be reached gets it when it can.`,
	},
	{
		name: "abandon", kind: v1alpha1.OperationAbandon, ofService: true, short: "Let a service be deleted though a region cannot be reached",
		long: `kubectl multiactive abandon lets the deletion of a service end that waits for a region which cannot be reached. What runs
there is deleted when it can be reached again. Topics and data stay.

  kubectl multiactive abandon user -n accounts --region beijing
  kubectl multiactive abandon user -n accounts                 # every region that cannot be reached now`,
	},
}

// orderOptions are the flags of an order.
type orderOptions struct {
	serviceOptions
	verb                          verb
	service, region, reason, name string
	capacity, dryRun, output      string
	mode                          string
	timeout, waitTimeout, lasts   time.Duration
	expectedEpoch                 int64
	yes, wait, abort              bool
	announce                      announceOptions
}

func orderCommands(t *terminal) []*cobra.Command {
	out := make([]*cobra.Command, 0, len(verbs))
	for _, v := range verbs {
		o := orderOptions{verb: v}
		argument, what := "REGION", "the region"
		if v.ofService {
			argument, what = "SERVICE", "the service"
		}
		c := &cobra.Command{
			Use: v.name + " " + argument, Short: v.short, Long: v.long + ordersHelp, Args: arguments(1, what),
			RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), *t, args[0]) },
			ValidArgsFunction: completes(*t, &o.serviceOptions, v.ofService),
		}
		c.Flags().SortFlags = false
		o.bindOrder(c.Flags())
		out = append(out, c)
	}
	return out
}

func (o *orderOptions) bindOrder(fs *pflag.FlagSet) {
	if o.verb.limited || o.verb.ofService {
		fs.StringVarP(&o.serviceNamespace, "namespace", "n", "", "namespace of the service (default: that of the kubeconfig's context)")
	}
	switch {
	case o.verb.limited:
		fs.StringVar(&o.service, "service", "", "limit the order to the MultiActiveService of this `name` (default: all services)")
	case o.verb.kind == v1alpha1.OperationAnnounce:
		o.announce.bind(fs, &o.lasts)
	case o.verb.ofService:
		fs.StringVar(&o.region, "region", "", "the `region` to give up (default: every one that cannot be reached)")
	}
	if o.verb.kind == v1alpha1.OperationDrill {
		fs.DurationVar(&o.lasts, "for", 0, "how long the region is out, 1m to 4h (default: 10m)")
		fs.StringVar(&o.mode, "mode", "", "what users meet: Failover, as after a loss, or Drain, every flow is served on (default: Failover)")
		fs.BoolVar(&o.abort, "abort", false, "end the drill of the region that is under way")
	}
	if o.verb.kind == v1alpha1.OperationDrain || o.verb.kind == v1alpha1.OperationDrill {
		fs.StringVar(&o.capacity, "capacity", "", "Wait for the survivors' replicas, or Ignore that they lack (default: Wait)")
	}
	fs.StringVar(&o.reason, "reason", "", "why, for the record")
	fs.StringVar(&o.name, "name", "", "name of the Operation (default: made up)")
	if o.verb.kind != v1alpha1.OperationAnnounce {
		fs.DurationVar(&o.timeout, "timeout", 0, "give the order up after this long, such as 30m (default: 10m)")
		fs.Int64Var(&o.expectedEpoch, "expected-epoch", 0, "refuse the order unless this `epoch` is in force when it is taken up")
	}
	fs.BoolVar(&o.yes, "yes", false, "do not ask")
	fs.BoolVar(&o.wait, "wait", true, "tell how it goes until it has ended")
	fs.DurationVar(&o.waitTimeout, "wait-timeout", 0, "stop waiting after this long; the order goes on (default: never)")
	fs.StringVar(&o.dryRun, "dry-run", "none", "client: only say what would happen; server: also let the API server check the order; none")
	fs.StringVarP(&o.output, "output", "o", "", "print the Operation as yaml, json or name, and nothing else")
	o.bind(fs)
}

func (o *orderOptions) check() error {
	switch {
	case !slices.Contains([]string{"none", "client", "server"}, o.dryRun):
		return fmt.Errorf("--dry-run: %q is neither none, client nor server: %w", o.dryRun, errUsage)
	case !slices.Contains([]string{"", "yaml", "json", "name"}, o.output):
		return fmt.Errorf("-o: %q is neither yaml, json nor name: %w", o.output, errUsage)
	case o.capacity != "" && o.capacity != string(v1alpha1.CapacityWait) && o.capacity != string(v1alpha1.CapacityIgnore):
		return fmt.Errorf("--capacity: %q is neither Wait nor Ignore: %w", o.capacity, errUsage)
	case o.mode != "" && o.mode != string(v1alpha1.DrillFailover) && o.mode != string(v1alpha1.DrillDrain):
		return fmt.Errorf("--mode: %q is neither Failover nor Drain: %w", o.mode, errUsage)
	case o.verb.kind == v1alpha1.OperationDrill && o.lasts != 0 && (o.lasts < minDrill || o.lasts > maxDrill):
		return fmt.Errorf("--for: %s is not between %s and %s: %w", o.lasts, minDrill, maxDrill, errUsage)
	case o.timeout < 0, o.waitTimeout < 0:
		return fmt.Errorf("--timeout and --wait-timeout must not be negative: %w", errUsage)
	case o.verb.kind == v1alpha1.OperationAnnounce:
		return o.announce.check(o.lasts)
	}
	return nil
}

// operation returns the order.
func (o *orderOptions) operation() *v1alpha1.Operation {
	op := &v1alpha1.Operation{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Operation"},
		Spec: v1alpha1.OperationSpec{
			Type: o.verb.kind, Region: o.region, ExpectedEpoch: o.expectedEpoch, Capacity: v1alpha1.CapacityPolicy(o.capacity), Reason: o.reason,
		},
	}
	about := o.region
	if o.service != "" {
		op.Spec.Service = &v1alpha1.ServiceKey{Namespace: o.in(), Name: o.service}
		if about == "" {
			about = o.service
		}
	}
	if o.timeout > 0 {
		op.Spec.Timeout = &metav1.Duration{Duration: o.timeout}
	}
	op.Spec.Drill = o.drill()
	if o.verb.kind == v1alpha1.OperationAnnounce {
		op.Spec.Announce = o.announce.spec(o.lasts)
	}
	if op.Name = o.name; op.Name == "" {
		op.GenerateName = o.verb.name + "-" + about + "-"
	}
	return op
}

// run gives the order, or ends those of its kind.
func (o *orderOptions) run(ctx context.Context, t terminal, argument string) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.verb.ofService {
		o.service = argument
	} else {
		o.region = argument
	}
	hub, err := o.hub(t)
	if err != nil {
		return err
	}
	seen, err := look(ctx, hub)
	if err != nil {
		return err
	}
	if err := o.there(seen); err != nil {
		return err
	}
	switch {
	case o.abort:
		return o.endAll(ctx, t, hub, o.aborts())
	case o.announce.end:
		return o.endAll(ctx, t, hub, o.ends())
	}
	return o.give(ctx, t, hub, seen)
}

// give says what the order will do, has it confirmed, gives it, and tells how it goes.
func (o *orderOptions) give(ctx context.Context, t terminal, hub client.WithWatch, seen *hubState) error {
	quiet, op := o.output != "", o.operation()
	if !quiet {
		o.preview(t, seen)
	}
	if o.dryRun == "client" {
		return o.tried(t, op, "nothing was ordered (--dry-run=client)")
	}
	var how []client.CreateOption
	if o.dryRun == "server" {
		how = append(how, client.DryRunAll)
	} else if err := o.confirm(t, op); err != nil {
		return err
	}
	if err := hub.Create(ctx, op, how...); err != nil {
		return hubProblem("giving the order", err)
	}
	if o.dryRun == "server" {
		return o.tried(t, op, "nothing was ordered (--dry-run=server); the API server would take the order")
	}
	if quiet {
		if err := printObject(t.out, op, "operation", o.output); err != nil {
			return err
		}
	} else {
		t.say("Ordered: operation/%s. To take it back: %s", op.Name, o.takesBack(op))
	}
	if !o.wait {
		return nil
	}
	return o.await(ctx, t, hub, op, quiet)
}

func (o *orderOptions) tried(t terminal, op *v1alpha1.Operation, what string) error {
	if o.output != "" {
		return printObject(t.out, op, "operation", o.output)
	}
	t.say("%s", what)
	return nil
}

// there refuses an order about what is not there, before a person is asked.
func (o *orderOptions) there(seen *hubState) error {
	if o.region != "" {
		if _, found := seen.regions[o.region]; !found {
			return fmt.Errorf("there is no Region %q; there are: %s: %w", o.region, orElse(strings.Join(seen.regionNames(), ", "), "none"), errUsage)
		}
	}
	if o.service == "" {
		return nil
	}
	if seen.service(o.in(), o.service) == nil {
		return fmt.Errorf("there is no MultiActiveService %q in namespace %s%s: %w", o.service, o.in(), seen.elsewhere(o.service), errUsage)
	}
	return nil
}

// confirm lets a person agree: by yes, and by the region's name to what cannot be undone.
func (o *orderOptions) confirm(t terminal, op *v1alpha1.Operation) error {
	if o.yes {
		return nil
	}
	word := "yes"
	if o.verb.warning != "" {
		word = o.region
	}
	if !t.asks {
		return attention("nothing was ordered: it was not confirmed; give --yes where nobody can be asked")
	}
	_, _ = fmt.Fprintf(t.err, "Type %s to order it: ", word)
	answer, _ := bufio.NewReader(t.in).ReadString('\n')
	if strings.TrimSpace(answer) != word {
		return attention("nothing was ordered: " + string(op.Spec.Type) + " was not confirmed")
	}
	return nil
}
