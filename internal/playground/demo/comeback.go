package demo

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/playground/term"
	"multiactive.dev/operator/internal/playground/world"
)

// Bounds of the return and of what the programs may use.
const (
	returnTimeout = 120 * time.Second
	managerBound  = 150 << 20
	gatewayBound  = 40 << 20
)

// comeback brings the region back and waits until nothing is degraded any more.
func (d *Demo) comeback(ctx context.Context) error {
	d.console.Section("Bringing " + d.killed.Name + " back on the data that it had")
	began := d.options.Clock.Now()
	done := d.console.Step("its API server, etcd, Kafka, node and manager run")
	err := d.killed.Return(ctx)
	done(err)
	if err != nil {
		return err
	}
	done = d.console.Step("it serves any-region requests, by its own gateway and by the others'")
	err = d.await(ctx, returnTimeout, d.allServe)
	done(err)
	if err != nil {
		return err
	}
	if err := d.handBack(ctx); err != nil {
		return err
	}
	d.promised(true, d.killed.Name+" owns its users again after its return", "after %s", term.Seconds(d.options.Clock.Since(began)))
	if err := d.undegraded(ctx); err != nil {
		return err
	}
	if d.people != nil {
		d.people.tryHealed(ctx, d)
		d.people.tryExecuted(ctx, d)
	}
	return d.show(ctx, "After the return of "+d.killed.Name)
}

// handBack gives the word that a region which has returned may own its users again, as a person does.
func (d *Demo) handBack(ctx context.Context) error {
	d.console.Command("kubectl --context " + d.world.Front() + " create -f handback.yaml")
	d.console.Line("an Operation of type Handback: the home writes of its users wait for the word of a person")
	done := d.console.Step("it catches up and owns its users again")
	err := d.orderHandback(ctx)
	done(err)
	return err
}

func (d *Demo) orderHandback(ctx context.Context) error {
	return d.order(ctx, v1alpha1.OperationHandback, d.killed.Name, "it is back and well")
}

// order gives an order about a region and waits until it is carried out.
func (d *Demo) order(ctx context.Context, kind v1alpha1.OperationType, region, reason string) error {
	hub, err := d.world.HubClient()
	if err != nil {
		return err
	}
	o := &v1alpha1.Operation{
		ObjectMeta: metav1.ObjectMeta{GenerateName: strings.ToLower(string(kind)) + "-" + region + "-"},
		Spec:       v1alpha1.OperationSpec{Type: kind, Region: region, Reason: reason},
	}
	if err := hub.Create(ctx, o); err != nil {
		return fmt.Errorf("ordering %s of %s: %w", kind, region, err)
	}
	err = d.await(ctx, returnTimeout, func(ctx context.Context) error {
		if err := hub.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		switch o.Status.State { //nolint:exhaustive // the others are its end
		case "", v1alpha1.OperationPending, v1alpha1.OperationRunning:
			return fmt.Errorf("operation %s: %s", o.Name, complete(o))
		}
		return nil
	})
	if err == nil && o.Status.State != v1alpha1.OperationSucceeded {
		err = fmt.Errorf("operation %s is %s: %s", o.Name, o.Status.State, complete(o))
	}
	return err
}

// complete is what an order says of its end.
func complete(o *v1alpha1.Operation) string {
	if c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionComplete); c != nil {
		return c.Message
	}
	return "it does not say why"
}

// allServe returns nil when every region's gateway says that every region serves.
func (d *Demo) allServe(ctx context.Context) error {
	for _, r := range d.world.Regions() {
		if err := healthy(ctx, r); err != nil {
			return err
		}
		for _, other := range d.world.Regions() {
			state, serves, err := stateSeen(ctx, r, other.Name)
			if err != nil {
				return err
			}
			if !serves {
				return fmt.Errorf("the gateway of %s has %s as %s", r.Name, other.Name, state)
			}
		}
	}
	return nil
}

// undegraded waits for the status and the flags.
func (d *Demo) undegraded(ctx context.Context) error {
	if err := d.settle(ctx); err != nil {
		return err
	}
	if !d.degradable() {
		return nil
	}
	clients, err := clients(d.world.Regions())
	if err != nil {
		return err
	}
	done := d.console.Step("the flags of every region are undone")
	err = d.await(ctx, returnTimeout, func(ctx context.Context) error { return d.flags(ctx, clients, false) })
	done(err)
	return err
}

// memory shows what everything uses and judges the operator's parts.
func (d *Demo) memory() {
	d.console.Section("Memory")
	total := d.world.Total()
	rows, sum := [][]string{}, int64(0)
	for _, name := range slices.Sorted(maps.Keys(total)) {
		rows = append(rows, []string{name, megabytes(total[name])})
		sum += total[name]
	}
	d.console.Table(append(rows, []string{"all", megabytes(sum)}))
	for _, p := range []struct {
		what    string
		bound   int64
		measure []world.Memory
	}{{"managers", managerBound, d.world.Managers()}, {"gateways", gatewayBound, d.world.Pods("-gateway-")}} {
		largest := slices.MaxFunc(append(p.measure, world.Memory{}), func(a, b world.Memory) int { return int(a.Bytes - b.Bytes) })
		d.promised(len(p.measure) > 0 && largest.Bytes <= p.bound,
			fmt.Sprintf("%s stay below %s of memory", p.what, megabytes(p.bound)), "%s at most, of %d", megabytes(largest.Bytes), len(p.measure))
	}
}

func megabytes(bytes int64) string { return fmt.Sprintf("%d MB", bytes>>20) }

// stay leaves the world running until ctx ends.
func (d *Demo) stay(ctx context.Context) {
	d.console.Section("The world stays up until Ctrl-C")
	s, r := d.manifest.Service, d.world.Regions()[0]
	d.console.Line("export PATH=%s:$PATH", filepath.Dir(d.world.KubectlPath()))
	var rows [][]string
	if !d.options.Peer {
		rows = append(rows, []string{"hub", "export KUBECONFIG=" + d.world.Kubeconfig("hub")})
	}
	for _, r := range d.world.Regions() {
		rows = append(rows, []string{r.Name, "export KUBECONFIG=" + d.world.Kubeconfig(r.Name)})
	}
	d.console.Table(rows)
	d.console.Line("")
	d.console.Line("To try in %s:", d.world.Front())
	d.console.Table([][]string{
		{"kubectl get multiactive -A", "everything that the hub knows"},
		{"kubectl get regions -w", "what the regions think of each other"},
		{fmt.Sprintf("kubectl get mas %s -n %s -o yaml", s.Name, s.Namespace), "conditions that say what to do"},
		{fmt.Sprintf("kubectl describe mas %s -n %s", s.Name, s.Namespace), "and the events"},
		{"kubectl get ri -o yaml", "the outage, step by step"},
	})
	d.console.Line("To try in %s:", r.Name)
	d.console.Table([][]string{
		{"kubectl get deploy,pods,svc -A", "what the operator made"},
		{fmt.Sprintf("kubectl get cm %s-flags -n %s -o yaml", s.Name, s.Namespace), "flags for applications"},
		{fmt.Sprintf("kubectl scale deploy %s -n %s --replicas=5", s.Name, s.Namespace), "is put back: watch the Pods"},
		{fmt.Sprintf("curl %s/.multiactive/endpoints", r.Edge()), "which regions serve, as clients see it"},
		{fmt.Sprintf("curl -i %s/.multiactive/healthz", r.Edge()), "whether this region serves"},
	})
	<-ctx.Done()
}
