package main

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	plan "multiactive.dev/operator/internal/plan/operation"
)

// await tells how an order goes until it has ended, or an announcement is shown.
func (o *orderOptions) await(ctx context.Context, t terminal, hub client.WithWatch, op *v1alpha1.Operation, quiet bool) error {
	if o.waitTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.waitTimeout)
		defer cancel()
	}
	began, last := t.clock(), ""
	for range changes(ctx, t, hub, &v1alpha1.OperationList{}) {
		err := hub.Get(ctx, client.ObjectKeyFromObject(op), op)
		switch {
		case apierrors.IsNotFound(err):
			return fmt.Errorf("operation %s was deleted: what had begun ends by itself, the rest is never done%s", op.Name, o.afterDeletion())
		case err != nil && ctx.Err() == nil:
			_, _ = fmt.Fprintf(t.err, "cannot read operation %s: %v; trying again\n", op.Name, err)
			continue
		case err != nil:
			continue
		}
		if now := progress(op); now != last && !quiet {
			last = now
			t.say("%6s  %s", since(t.clock().Sub(began)), t.tint(colourOfOrder(op.Status.State), now))
		}
		if !plan.Ended(op.Status.State) && !announced(op) {
			continue
		}
		if !quiet {
			t.drillReport(op)
		}
		if op.Status.State == v1alpha1.OperationSucceeded || o.wanted(op) {
			return nil
		}
		if quiet {
			_, _ = fmt.Fprintln(t.err, progress(op))
		}
		return errNotDone
	}
	return attention("not waiting any longer; " + o.goesOn(op))
}

// progress says in a line how far an order is.
func progress(op *v1alpha1.Operation) string {
	state := string(op.Status.State)
	if state == "" {
		return "Pending: waits for the hub to see it; if it stays so, see the hub's manager"
	}
	if c := meta.FindStatusCondition(op.Status.Conditions, v1alpha1.ConditionComplete); c != nil && c.Message != "" {
		return state + ": " + plugin(c.Message) + degradedSoFar(op)
	}
	return state
}

func colourOfOrder(s v1alpha1.OperationState) colour {
	switch s {
	case v1alpha1.OperationSucceeded:
		return green
	case v1alpha1.OperationFailed, v1alpha1.OperationRefused:
		return red
	case v1alpha1.OperationPending, v1alpha1.OperationRunning:
	}
	return plain
}

// since writes how long something has taken.
func since(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
