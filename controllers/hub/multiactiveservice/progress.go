package multiactiveservice

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"multiactive.dev/operator/api/v1alpha1"
	transitions "multiactive.dev/operator/internal/events"
)

// progressEvery is how often it is told how far a service is that is on its way. Each region's every step changes its
// status, which is one of the largest objects that an API server is given: with a thousand services on their way these
// writes would be much of all its work.
const progressEvery = 10 * time.Second

// progress remembers when it was told how far services are. Its zero value is empty.
type progress struct {
	mu   sync.Mutex
	told map[types.NamespacedName]time.Time
}

// hold returns how long a status may wait, because it says nothing but how far the service is, which was said lately;
// 0: it is to be written now, if it differs. A service that gets Ready, or that something is wrong with, never waits.
func (p *progress) hold(service types.NamespacedName, now time.Time, before, after *v1alpha1.MultiActiveServiceStatus) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !onItsWay(after) {
		delete(p.told, service)
		return 0
	}
	goesOn := onItsWay(before) && before.ObservedGeneration == after.ObservedGeneration &&
		len(transitions.Transitions(before.Conditions, after.Conditions)) == 0
	if last, said := p.told[service]; said && goesOn && now.Sub(last) < progressEvery {
		return progressEvery - now.Sub(last)
	}
	if p.told == nil {
		p.told = map[types.NamespacedName]time.Time{}
	}
	p.told[service] = now
	return 0
}

func (p *progress) forget(service types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.told, service)
}

// onItsWay reports whether a service is not Ready for no other reason than that it takes its time.
func onItsWay(s *v1alpha1.MultiActiveServiceStatus) bool {
	ready := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status != "True" && transitions.Passing(ready.Reason)
}
