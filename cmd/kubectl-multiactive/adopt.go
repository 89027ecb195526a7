package main

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/internal/storeposition"
)

const adoptUsage = `kubectl multiactive coordination adopt lets the regions follow a coordination store that has taken the
place of the one that they followed: a new one, or a backup restored under a new cluster token.

Before: stop every member of the old store for good, and point the regions' members at the new one. They
refuse it then: any-region flows go on, home writes stand still.
It: 1. makes sure that every region refuses exactly this store, so that none follows another one;
    2. waits until the last lease on the old store has run out, everywhere;
    3. tells one region after the other, and waits until each follows the new store.
A region's member ends its process to do so, and Kubernetes starts it again.

A region that cannot be reached, or does not meet the new store, has to be left out by name (--without). That
is safe only if no member of the old store runs any more. Such a region refuses the new store when it is back,
until this command is run again.

  kubectl multiactive coordination adopt --cluster-id=cdf818194e3a8c32
  kubectl multiactive coordination adopt --cluster-id=cdf818194e3a8c32 --without=beijing
  kubectl multiactive coordination adopt --cluster-id=cdf818194e3a8c32 --region=beijing   # when it is back`

const (
	// poll is the pause between two looks at a region.
	poll = time.Second
	// adoptsWithin bounds how long one region may take, its member's restart included.
	adoptsWithin = 90 * time.Second
	// atLeast is the shortest wait: a region that follows another store writes every few seconds how
	// far it has come, which gives it away.
	atLeast = 2*storeposition.Interval + 2*time.Second
	// progressEvery is how often the wait says that it goes on.
	progressEvery = 5 * time.Second
)

// adoptOptions are the flags of adopt.
type adoptOptions struct {
	hubOptions
	id                  uint64
	regions, without    []string
	yes                 bool
	idText, only, leave string
}

func (o *adoptOptions) bind(fs *pflag.FlagSet) {
	fs.StringVar(&o.idText, "cluster-id", "", "cluster `ID` of the store to follow, in hexadecimal, as coordination status and etcd's log show it (required)")
	fs.StringVar(&o.only, "region", "", "comma-separated `names` of regions to tell (default: all)")
	fs.StringVar(&o.leave, "without", "", "comma-separated `names` of regions that cannot be reached or do not meet the store: go on without them")
	fs.BoolVar(&o.yes, "yes", false, "do not ask")
	o.hubOptions.bind(fs)
}

func (o *adoptOptions) check() (err error) {
	if o.idText == "" {
		return fmt.Errorf("--cluster-id is required: %w", errUsage)
	}
	if o.id, err = storeposition.ParseID(o.idText); err != nil {
		return fmt.Errorf("--cluster-id: %w: %w", err, errUsage)
	}
	o.regions, o.without = names(o.only), names(o.leave)
	return nil
}

func names(list string) []string {
	return slices.DeleteFunc(strings.Split(strings.ReplaceAll(list, " ", ""), ","), func(s string) bool { return s == "" })
}

// verdict says who is to be told, and what speaks against it.
type verdict struct {
	tell, done, blockers []string
	// wait is how long the longest lease of any region may run on.
	wait time.Duration
}

// judge decides whether the regions may be told. before, if not nil, is what they said before the wait.
func judge(o *adoptOptions, before, now []standing) verdict {
	v := verdict{wait: atLeast}
	known := map[string]bool{}
	for i := range now {
		known[now[i].region] = true
		v.wait = max(v.wait, now[i].lasts)
		s := &now[i]
		chosen := len(o.regions) == 0 || slices.Contains(o.regions, s.region)
		problem := hindrance(s, o.id)
		leave := slices.Contains(o.without, s.region)
		switch {
		case leave && before != nil && before[i].moved != s.moved && mayHold(s, o.id):
			v.blockers = append(v.blockers, s.region+": it follows another store at this moment, so it cannot be left out; stop every member of that store")
		case leave:
		case problem != "":
			v.blockers = append(v.blockers, s.region+": "+problem)
		case s.fresh, s.follows(o.id):
			v.done = append(v.done, s.region)
		case chosen:
			v.tell = append(v.tell, s.region)
		}
	}
	for _, name := range slices.Concat(o.regions, o.without) {
		if !known[name] {
			v.blockers = append(v.blockers, name+": the hub has no such Region with a cluster")
		}
	}
	return v
}

// mayHold reports whether a region that can be read may hold a lease on another store. One that could not be
// read before has nothing to be compared with: that counts as moved.
func mayHold(s *standing, id uint64) bool {
	return s.problem == nil && !s.fresh && s.refusedID == 0 && !s.kept.Restored && !s.follows(id)
}

// hindrance returns why the region does not let the store be adopted, empty when it does.
func hindrance(s *standing, id uint64) string {
	switch {
	case s.problem != nil:
		return fmt.Sprintf("its cluster could not be read (%v). If it stays away and no member of the old store runs any more: --without=%s", s.problem, s.region)
	case s.fresh, s.follows(id):
		return ""
	case s.kept.Position.ClusterID == id:
		return "it has followed this very store, which came back under its old identity; restore the backup under a new cluster token, and adopt that"
	case s.refusedID == id:
		return ""
	case s.refusedID == 0 && !s.kept.Restored:
		return fmt.Sprintf("it still follows store %016x and may hold a lease on it. Stop every member of that store, and point the region's member at the new one; if no member runs there: --without=%s",
			s.kept.Position.ClusterID, s.region)
	default:
		return fmt.Sprintf("it meets store %016x, not this one; point its member at the new store, or, if it stays away and no member of the old store runs any more: --without=%s", s.refusedID, s.region)
	}
}

func adopt(ctx context.Context, o *adoptOptions, t terminal) error {
	if err := o.check(); err != nil {
		return err
	}
	say := func(format string, a ...any) { _, _ = fmt.Fprintf(t.out, format+"\n", a...) }
	regions, err := o.connect(ctx, t)
	if err != nil {
		return err
	}
	before := o.look(ctx, regions)
	v := judge(o, nil, before)
	if err := refusal(v); err != nil {
		return err
	}
	if len(v.done) > 0 {
		say("Nothing to do in %s: follows store %016x, or none yet.", strings.Join(v.done, ", "), o.id)
	}
	if len(v.tell) == 0 {
		return nil
	}
	say("Regions that will follow store %016x: %s.", o.id, strings.Join(v.tell, ", "))
	say("What the old store held and this one does not is given up: orders, takeovers and handbacks since the backup.")
	if len(o.without) > 0 {
		say("Left out: %s. If a member of the old store still runs there, two regions may accept writes for the same users.", strings.Join(o.without, ", "))
	}
	if err := confirm(t, o); err != nil {
		return err
	}
	if err := waitOut(ctx, t, v.wait, say); err != nil {
		return err
	}
	v = judge(o, before, o.look(ctx, regions))
	if err := refusal(v); err != nil {
		return err
	}
	for _, r := range regions {
		if slices.Contains(v.tell, r.name) {
			if err := o.tell(ctx, t, r, say); err != nil {
				return err
			}
		}
	}
	say("\nDone. Restart the hub's Pods: the hub remembers the old store until then.")
	for _, name := range o.without {
		say("When %s is back it refuses the store, until: kubectl multiactive coordination adopt --cluster-id=%016x --region=%s", name, o.id, name)
	}
	return nil
}

func refusal(v verdict) error {
	if len(v.blockers) == 0 {
		return nil
	}
	return fmt.Errorf("nothing was changed: %w:\n  %s", errAttention, strings.Join(v.blockers, "\n  "))
}

func confirm(t terminal, o *adoptOptions) error {
	if o.yes {
		return nil
	}
	_, _ = fmt.Fprintf(t.out, "Is the old store stopped for good, in every region? Type yes to go on: ")
	answer, _ := bufio.NewReader(t.in).ReadString('\n')
	if strings.TrimSpace(answer) != "yes" {
		return fmt.Errorf("nothing was changed: %w: it was not confirmed", errAttention)
	}
	return nil
}

// waitOut waits until the last lease has run out. Every region that was asked refuses the new store, so
// it extends no lease on the old one; one that was left out cannot, since that is stopped.
func waitOut(ctx context.Context, t terminal, d time.Duration, say func(string, ...any)) error {
	say("Waiting until the last leases on the old store have run out, %s ...", d)
	for left := d; left > 0; left -= progressEvery {
		if left < d {
			say("  %s left", left)
		}
		if err := t.sleep(ctx, min(left, progressEvery)); err != nil {
			return fmt.Errorf("interrupted, nothing was changed: %w", err)
		}
	}
	return nil
}

// tell writes a person's word in the region, and waits until its member has carried it out.
func (o *adoptOptions) tell(ctx context.Context, t terminal, r regionClient, say func(string, ...any)) error {
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: storeposition.LeaseName}}
	base := lease.DeepCopy()
	metav1.SetMetaDataAnnotation(&lease.ObjectMeta, storeposition.AdoptAnnotation, storeposition.FormatID(o.id))
	if err := r.client.Patch(ctx, lease, client.MergeFrom(base)); err != nil {
		return fmt.Errorf("telling region %s: %w; run the same command again, it goes on where it stopped", r.name, err)
	}
	say("%s: told; waiting for its member ...", r.name)
	last := ""
	for waited := time.Duration(0); waited < adoptsWithin; waited += poll {
		s := o.lookAt(ctx, r)
		switch {
		case s.follows(o.id):
			say("%s: follows store %016x", r.name, o.id)
			return nil
		case s.problem != nil:
			s.answer = s.problem.Error()
		}
		if s.answer != last && s.answer != "" {
			say("%s: %s", r.name, s.answer)
			last = s.answer
		}
		if err := t.sleep(ctx, poll); err != nil {
			return fmt.Errorf("interrupted; region %s adopts the store all the same once its member can: %w", r.name, err)
		}
	}
	return fmt.Errorf("%w: region %s has not adopted the store within %s (%s). Its member does so once it can; see its log, then run the same command again",
		errAttention, r.name, adoptsWithin, orElse(last, "its member does not answer: does it run?"))
}
