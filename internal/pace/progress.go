package pace

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/events"
)

// Told is what a status says that matters to whoever waits.
type Told struct {
	// Generation is what the status speaks of.
	Generation int64
	Conditions []metav1.Condition
}

// Progress says when it is told how far objects are that are on their way. Each step changes a status, which may be one
// of the largest objects that an API server is given: with a thousand services on their way these writes would be much
// of all its work. It is safe for concurrent use.
type Progress struct {
	// First is how long what only tells of progress waits after the last that did. The wait doubles each time, up to Most.
	First, Most time.Duration
	// Each is what every other object that is on its way adds to the wait at least: as many as there are take turns.
	Each time.Duration

	mu   sync.Mutex
	last map[string]note
}

// note is what was told of an object last.
type note struct {
	at   time.Time
	wait time.Duration
}

// Hold returns how long a changed status may wait, because it says nothing but how far the object is, which was said
// lately; 0: it is to be written now. An object that gets Ready, is declared anew, or that something is wrong with, never
// waits.
func (p *Progress) Hold(object string, now time.Time, before, after Told) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !onItsWay(after) {
		delete(p.last, object)
		return 0
	}
	goesOn := onItsWay(before) && before.Generation == after.Generation &&
		len(events.Transitions(before.Conditions, after.Conditions)) == 0
	last, said := p.last[object]
	next := note{at: now, wait: p.First}
	if said && goesOn {
		if left := last.wait - now.Sub(last.at); left > 0 {
			return left
		}
		next.wait = min(2*last.wait, p.Most)
	}
	next.wait = max(next.wait, time.Duration(len(p.last))*p.Each)
	if p.last == nil {
		p.last = map[string]note{}
	}
	p.last[object] = next
	return 0
}

// Forget is for an object that is gone.
func (p *Progress) Forget(object string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.last, object)
}

// onItsWay reports whether an object is not Ready for no other reason than that it takes its time.
func onItsWay(t Told) bool {
	ready := meta.FindStatusCondition(t.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status != metav1.ConditionTrue && events.Passing(ready.Reason)
}
