package hub_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/operation"
)

// sized is a running world whose members scale as members do, as far as their clusters have room.
type sized struct {
	*running

	mu   sync.Mutex
	room map[string]int32
}

func newSized(t *testing.T, regions ...string) *sized {
	t.Helper()
	w := &sized{running: newRunning(t, regions...), room: map[string]int32{}}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for _, name := range regions {
		w.stand(name, true)
		w.roomFor(name, 100)
		all.Go(func() {
			for ctx.Err() == nil {
				w.scales(ctx, name)
				select {
				case <-ctx.Done():
				case <-time.After(tick):
				}
			}
		})
	}
	t.Cleanup(func() { cancel(); all.Wait() })
	w.change(w.mas, func(spec *v1alpha1.MultiActiveServiceSpec) {
		spec.Failover = &v1alpha1.Failover{Survivors: v1alpha1.SurvivorsScale}
	})
	return w
}

func (w *sized) roomFor(region string, replicas int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.room[region] = replicas
}

// scales has a region's member report as many replicas as it reckons that it needs.
func (w *sized) scales(ctx context.Context, region string) {
	w.mu.Lock()
	room := w.room[region]
	w.mu.Unlock()
	s := slice()
	c, err := w.store.Read(ctx)
	if err != nil || w.regions[region].Get(ctx, client.ObjectKeyFromObject(s), s) != nil {
		return
	}
	desired := *regional.Replicas(&s.Spec, c)
	has := v1alpha1.ReplicaStatus{Desired: desired, Ready: min(desired, room)}
	if s.Status.ObservedGeneration == s.Generation && cmp.Equal(s.Status.Workload, &has) && s.Status.Epoch == c.View.Epoch {
		return
	}
	reported(s, c.View.Epoch, yes)
	s.Status.Workload, s.Status.Features = &has, []string{regional.FeaturePreparedFor}
	for i := range s.Status.Conditions {
		if c := &s.Status.Conditions[i]; c.Type == v1alpha1.ConditionWorkloadAvailable && has.Ready < has.Desired {
			c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonReplicasUnavailable
		}
	}
	_ = w.regions[region].Status().Update(ctx, s)
}

// shanghaiWants waits until shanghai's member wants so many replicas, prepared for the drains of the others
// named.
func (w *sized) shanghaiWants(replicas int32, preparedFor ...string) {
	w.t.Helper()
	eventually(w.world, w.regions["shanghai"], slice(), func(s *v1alpha1.RegionalService) error {
		if s.Status.Workload == nil || s.Status.Workload.Desired != replicas || !cmp.Equal(s.Spec.Workload.PreparedFor, preparedFor) {
			return fmt.Errorf("it has %+v and is prepared for %v, want %d for %v", s.Status.Workload, s.Spec.Workload.PreparedFor, replicas, preparedFor)
		}
		return nil
	})
}

// TestDrainWaitsForSurvivors drains a region of a service whose survivors are scaled up first.
func TestDrainWaitsForSurvivors(t *testing.T) {
	const beijing, shanghai = "beijing", "shanghai"
	w := newSized(t, beijing, shanghai)
	drain := v1alpha1.OperationSpec{Type: v1alpha1.OperationDrain, Region: beijing}
	w.shanghaiWants(2)
	eventually(w.world, w.regions[shanghai], slice(), func(s *v1alpha1.RegionalService) error {
		if !regional.Scales(&s.Spec.Workload) || len(s.Status.Features) == 0 {
			return errNotYet
		}
		return nil
	})

	t.Log("survivors that do not get what they need hold it up, and are scaled back when it is given up")
	w.roomFor(shanghai, 3)
	limited := drain
	limited.Timeout = &metav1.Duration{Duration: 10 * time.Second}
	o := w.order(limited)
	w.comesTo(o, v1alpha1.OperationRunning, v1alpha1.ReasonCapacityAwaited, "shop/cart in shanghai: 3/4 ready", "spec.capacity Ignore")
	w.noOrders()
	w.shanghaiWants(4, beijing)
	eventually(w.world, w.hub, w.mas, func(m *v1alpha1.MultiActiveService) error {
		return is(m.Status.Conditions, "WorkloadsAvailable", no, v1alpha1.ReasonSurvivorsScaling, "for the load of beijing: shanghai 3/4")
	})
	w.comesTo(o, v1alpha1.OperationFailed, v1alpha1.ReasonCapacityLacking, "no owner has changed", "shop/cart in shanghai: 3/4 ready")
	w.shanghaiWants(2)
	w.owns(beijing, v1alpha1.RegionUp, v1alpha1.Yes)

	t.Log("a person who takes it back has them scaled back too")
	o = w.order(drain)
	w.shanghaiWants(4, beijing)
	must(t, w.hub.Delete(t.Context(), o))
	w.gone(o)
	w.shanghaiWants(2)

	t.Log("it goes on once they are ready, and they stay as they are")
	o = w.order(drain)
	w.comesTo(o, v1alpha1.OperationRunning, v1alpha1.ReasonCapacityAwaited, "3/4 ready")
	w.roomFor(shanghai, 100)
	w.comesTo(o, v1alpha1.OperationSucceeded, v1alpha1.ReasonOrderSucceeded)
	if s := o.Status.Steps; len(s) < 3 || s[0].Name != operation.PrepareSurvivors || s[0].EndedAt == nil || !strings.HasPrefix(s[0].Message, "scaled up") {
		t.Errorf("steps %+v", s)
	}
	w.leader.until(beijing, ownership.RegionDrained)
	w.shanghaiWants(4)

	t.Log("until the keys are back")
	w.succeeds(v1alpha1.OperationSpec{Type: v1alpha1.OperationUndrain, Region: beijing})
	w.shanghaiWants(2)

	t.Log("who does not want to wait does not")
	w.roomFor(shanghai, 3)
	ignoring := drain
	ignoring.Capacity, ignoring.Service = v1alpha1.CapacityIgnore, w.key()
	w.comesTo(w.order(ignoring), v1alpha1.OperationSucceeded, v1alpha1.ReasonOrderSucceeded)
	w.owns(beijing, v1alpha1.RegionUp, v1alpha1.No)
	w.shanghaiWants(4) // a drain of one service is one too

	t.Log("a region without a ready replica gets no keys back")
	w.roomFor(beijing, 0)
	eventually(w.world, w.hub, w.mas, func(m *v1alpha1.MultiActiveService) error {
		if got := m.Status.Regions[0].Replicas; got != "0/2" {
			return fmt.Errorf("beijing has %s", got)
		}
		return nil
	})
	o = w.order(v1alpha1.OperationSpec{Type: v1alpha1.OperationUndrain, Region: beijing, Service: w.key()})
	w.comesTo(o, v1alpha1.OperationPending, v1alpha1.ReasonCapacityAwaited, "waits for a ready replica of shop/cart in beijing: 0/2 ready")
	w.noOrders()
	w.roomFor(beijing, 1)
	w.comesTo(o, v1alpha1.OperationSucceeded, v1alpha1.ReasonOrderSucceeded)
	w.owns(beijing, v1alpha1.RegionUp, v1alpha1.Yes)
}
