package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	plan "multiactive.dev/operator/internal/plan/operation"
)

// ending is how orders are ended that have not ended by themselves.
type ending struct {
	// about says which orders of the verb's kind are meant, none what there is to say when there are none.
	about func(op *v1alpha1.Operation) bool
	none  string
	// patch of such an order, and what it does to it.
	patch, verb, verbed string
	// after is what follows.
	after string
}

// takesBack is the command that takes an order back.
func (o *orderOptions) takesBack(op *v1alpha1.Operation) string {
	switch o.verb.kind { //nolint:exhaustive // the others are taken back by being deleted
	case v1alpha1.OperationDrill:
		return "kubectl multiactive drill " + o.region + " --abort"
	case v1alpha1.OperationAnnounce:
		return "kubectl multiactive announce " + o.service + " -n " + o.in() + " --end"
	}
	return "kubectl delete mop " + op.Name
}

// endAll ends the orders that are meant, and tells how that goes.
func (o *orderOptions) endAll(ctx context.Context, t terminal, hub client.WithWatch, e ending) error {
	var list v1alpha1.OperationList
	if err := hub.List(ctx, &list); err != nil {
		return hubProblem("listing the orders", err)
	}
	found := slices.DeleteFunc(list.Items, func(op v1alpha1.Operation) bool {
		return op.Spec.Type != o.verb.kind || o.name != "" && op.Name != o.name || plan.Ended(op.Status.State) || !e.about(&op)
	})
	if len(found) == 0 {
		return errors.New(e.none + ": see kubectl get mop")
	}
	for i := range found {
		if err := o.end(ctx, t, hub, &found[i], e); err != nil {
			return err
		}
	}
	if !o.wait || o.dryRun != "none" {
		return nil
	}
	for i := range found {
		if err := o.await(ctx, t, hub, &found[i], o.output != ""); err != nil {
			return err
		}
	}
	return nil
}

func (o *orderOptions) end(ctx context.Context, t terminal, hub client.Client, op *v1alpha1.Operation, e ending) error {
	var how []client.PatchOption
	switch o.dryRun {
	case "client":
		t.say("would %s operation/%s; nothing was done (--dry-run=client)", e.verb, op.Name)
		return nil
	case "server":
		how = append(how, client.DryRunAll)
	}
	if err := hub.Patch(ctx, op, client.RawPatch(types.MergePatchType, []byte(e.patch)), how...); err != nil {
		return hubProblem(fmt.Sprintf("having operation %s %s", op.Name, e.verbed), err)
	}
	switch {
	case o.output != "":
		return printObject(t.out, op, "operation", o.output)
	case o.dryRun == "server":
		t.say("nothing was done (--dry-run=server); the API server would let operation/%s be %s", op.Name, e.verbed)
	default:
		t.say("%s: operation/%s. %s", strings.ToUpper(e.verbed[:1])+e.verbed[1:], op.Name, e.after)
	}
	return nil
}
