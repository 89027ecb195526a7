package chaos

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/playground/chaos/history"
	"multiactive.dev/operator/internal/playground/chaos/writers"
	"multiactive.dev/operator/internal/testkit/poll"
)

const (
	orderTimeout = 30 * time.Second
	hubTimeout   = 5 * time.Second
	// orderEvery is how long an order of the recovery may take before the next is given.
	orderEvery   = 8 * time.Second
	recoverLimit = 4 * time.Minute
	recoverLook  = 500 * time.Millisecond
	settleLimit  = 90 * time.Second
)

// order gives one, as a person does with kubectl.
func (s *storm) order(ctx context.Context, kind v1alpha1.OperationType, region string, service bool) error {
	ctx, cancel := context.WithTimeout(ctx, hubTimeout)
	defer cancel()
	c, err := s.world.HubClient()
	if err != nil {
		return err
	}
	o := &v1alpha1.Operation{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "chaos-"},
		Spec: v1alpha1.OperationSpec{
			Type: kind, Region: region, Reason: "chaos", Timeout: &metav1.Duration{Duration: orderTimeout},
		},
	}
	if service {
		o.Spec.Service = &v1alpha1.ServiceKey{Namespace: serviceNamespace, Name: serviceName}
	}
	if err := c.Create(ctx, o); err != nil {
		return fmt.Errorf("ordering %s of %s: %w", kind, region, err)
	}
	return nil
}

func (i *injector) drain(ctx context.Context, f *Fault) (undo, error) {
	service := f.Kind == DrainService
	err := i.s.order(ctx, v1alpha1.OperationDrain, f.Region, service)
	return func(ctx context.Context) error {
		return i.s.order(ctx, v1alpha1.OperationUndrain, f.Region, service)
	}, err
}

// recover gives the orders that a person would, until every region serves and owns its keys again.
func (s *storm) recover(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, recoverLimit, fmt.Errorf("not within %s", recoverLimit))
	defer cancel()
	var ordered time.Duration
	return poll.Until(ctx, recoverLook, func(ctx context.Context) error {
		c := s.watch.now()
		err := whole(c, Regions)
		if err == nil {
			return s.ordersEnded(ctx)
		}
		if c.View.Phase == ownership.PhaseOpen && history.Now()-ordered > orderEvery {
			ordered = history.Now()
			s.ordersFor(ctx, c)
		}
		return err
	})
}

// ordersFor gives the orders that what is not whole needs. One that fails is given again.
func (s *storm) ordersFor(ctx context.Context, c ownership.Configuration) {
	for _, name := range Regions {
		var err error
		switch c.View.Regions[name].State { //nolint:exhaustive // a lost region comes back by itself
		case ownership.RegionReturning:
			err = s.order(ctx, v1alpha1.OperationHandback, name, false)
		case ownership.RegionDrained:
			err = s.order(ctx, v1alpha1.OperationUndrain, name, false)
		}
		for _, record := range c.Services {
			if slices.Contains(record.Excluded, name) {
				err = s.order(ctx, v1alpha1.OperationUndrain, name, true)
			}
		}
		if err != nil {
			s.options.Log.Warn("an order of the recovery failed", "error", err)
		}
	}
}

// ordersEnded returns nil when no order waits any more: one might still move owners.
func (s *storm) ordersEnded(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, hubTimeout)
	defer cancel()
	c, err := s.world.HubClient()
	if err != nil {
		return err
	}
	list := &v1alpha1.OperationList{}
	if err := c.List(ctx, list); err != nil {
		return err
	}
	for i := range list.Items {
		switch o := &list.Items[i]; o.Status.State { //nolint:exhaustive // the others are its end
		case "", v1alpha1.OperationPending, v1alpha1.OperationRunning:
			return fmt.Errorf("order %s, %s of %s, is not done", o.Name, o.Spec.Type, o.Spec.Region)
		}
	}
	return nil
}

// settle waits until every key has been written once more, so that what got lost shows.
func (s *storm) settle(ctx context.Context, w *writers.Writers) error {
	ctx, cancel := context.WithTimeoutCause(ctx, settleLimit, fmt.Errorf("not within %s", settleLimit))
	defer cancel()
	from := history.Now()
	return poll.Until(ctx, recoverLook, func(context.Context) error {
		if left := w.Since(from); len(left) > 0 {
			return fmt.Errorf("%d keys cannot be written, %s is one of them", len(left), left[0])
		}
		return nil
	})
}
