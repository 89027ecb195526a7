package demo

import (
	"context"
	"fmt"

	"multiactive.dev/operator/api/v1alpha1"
)

// move empties a region and fills it again, as people order it, under load.
func (d *Demo) move(ctx context.Context, turn int, out *results) error {
	owners := d.ownerRegions()
	region := owners[turn%len(owners)].Name
	for _, order := range []struct {
		kind       v1alpha1.OperationType
		what, done string
	}{
		{v1alpha1.OperationDrain, "drain", "is drained"},
		{v1alpha1.OperationUndrain, "handback after a drain", "has its users back"},
	} {
		done := d.console.Step(region + " " + order.done)
		err := d.moveOnce(ctx, order.kind, region, order.what, out)
		done(err)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", order.what, region, err)
		}
	}
	return nil
}

func (d *Demo) moveOnce(ctx context.Context, kind v1alpha1.OperationType, region, what string, out *results) error {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	stop := d.people.steady(ctx, d)
	defer stop()
	if err := d.pause(ctx, aloneBefore); err != nil {
		return err
	}
	began := d.options.Clock.Now()
	if err := d.order(ctx, kind, region, "measured"); err != nil {
		return err
	}
	took := d.options.Clock.Since(began)
	if err := d.pause(ctx, aloneBefore); err != nil {
		return err
	}
	seen := stop()
	d.tellSteady(seen)
	out.took(what, 0, took)
	out.count("  core requests refused, "+what, 0, seen.loginsRefused)
	out.count("  home writes refused, "+what+", of "+fmt.Sprint(steadyWrites)+"/s", -1, seen.writesRefused)
	return nil
}
