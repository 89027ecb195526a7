package playground_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/testkit"
)

// outsideEvery is how often a request is sent for each customer, and how long a writer pauses.
const outsideEvery = 50 * time.Millisecond

// outsider sees an outage as users and databases do: by requests to the region that is left, and by the rows of a table. It knows
// nothing of the operator.
type outsider struct {
	t    *testing.T
	stop context.CancelFunc
	done sync.WaitGroup

	mu sync.Mutex
	// asked are the requests of each flow, by customer.
	asked map[string]map[string][]asked
	// acknowledged are the moments at which the region that is going to be lost has said that an entry of the slot is written.
	acknowledged []time.Time
}

// asked is one request.
type asked struct {
	sent, answered time.Time
	ok             bool
}

// watchFromOutside begins to read and to pay for every customer in one region, and to write entries of one slot in the other.
func watchFromOutside(w *secured, l *ledger, left, lost string, slot int) *outsider {
	ctx, cancel := context.WithCancel(w.t.Context())
	o := &outsider{t: w.t, stop: cancel, asked: map[string]map[string][]asked{http.MethodGet: {}, http.MethodPut: {}}}
	for method, by := range o.asked {
		for _, customer := range customers {
			o.repeat(ctx, func() bool {
				one := asked{sent: time.Now()}
				status, _ := w.request(method, left, customer)
				one.answered, one.ok = time.Now(), status == http.StatusOK
				o.mu.Lock()
				defer o.mu.Unlock()
				by[customer] = append(by[customer], one)
				return true
			})
		}
	}
	o.repeat(ctx, func() bool {
		wrote, err := entry(ctx, l.dbs[lost], lost, slot)
		o.mu.Lock()
		defer o.mu.Unlock()
		if wrote {
			o.acknowledged = append(o.acknowledged, time.Now())
		}
		return err == nil // its database is gone, at last
	})
	w.t.Cleanup(o.end)
	return o
}

// repeat does something over and over, until it says that it is over or the outsider ends.
func (o *outsider) repeat(ctx context.Context, do func() bool) {
	o.done.Go(func() {
		ticker := time.NewTicker(outsideEvery)
		defer ticker.Stop()
		for do() {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
	})
}

func (o *outsider) end() {
	o.stop()
	o.done.Wait()
}

// writes waits for so many more acknowledged entries.
func (o *outsider) writes(more int) {
	o.t.Helper()
	count := func() int {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.acknowledged)
	}
	before := count()
	testkit.Eventually(o.t, storyTimeout, func() error {
		if n := count() - before; n < more {
			return fmt.Errorf("%d entries were acknowledged, want %d", n, more)
		}
		return nil
	})
}

// outage returns for how long a flow was not served for some customer, from a moment on, and how many customers met that.
func (o *outsider) outage(method string, from time.Time) (longest time.Duration, met int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, all := range o.asked[method] {
		var back time.Duration
		failed, harmed := false, false
		for _, one := range all {
			if one.sent.Before(from) {
				continue
			}
			if failed || !one.ok { // until the first that is served after the last that was not
				back = one.answered.Sub(from)
			}
			failed, harmed = !one.ok, harmed || !one.ok
		}
		if harmed {
			met++
		}
		longest = max(longest, back)
	}
	return longest, met
}

// unshipped returns how many acknowledged entries are not among the first that another database has, and how much time they were
// written in.
func (o *outsider) unshipped(arrived int) (entries int, span time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.acknowledged); arrived < n {
		return n - arrived, o.acknowledged[n-1].Sub(o.acknowledged[arrived])
	}
	return 0, 0
}

// near holds that what an incident tells is what was measured outside, to within a second and a tenth.
func near(t *testing.T, what string, told, measured time.Duration) {
	t.Helper()
	t.Logf("%s: %s, and measured outside %s", what, told, measured.Round(time.Millisecond))
	if off := (told - measured).Abs(); off > time.Second+measured/10 {
		t.Errorf("%s: the incident tells %s, outside it was %s", what, told, measured)
	}
}

// incident waits until the incident of a region tells when survivors acted on it and what is at risk on a link.
func (w *secured) incident(region, link string) (recovery, lag time.Duration, status v1alpha1.RegionIncidentStatus) {
	w.t.Helper()
	testkit.Eventually(w.t, storyTimeout, func() error {
		var all v1alpha1.RegionIncidentList
		if err := json.Unmarshal([]byte(w.kubectl("hub", "get", "regionincidents", "-o", "json")), &all); err != nil {
			return err
		}
		for _, i := range all.Items {
			status = i.Status
			routed := slices.ContainsFunc(status.Timeline, func(s v1alpha1.IncidentTime) bool { return s.Step == ownership.StepRouted })
			took, err := time.ParseDuration(strings.TrimPrefix(status.Recovery, "~"))
			for _, d := range status.DataAtRisk {
				if i.Spec.Region == region && err == nil && routed && strings.HasSuffix(d.Name, "/"+link) && d.Lag != nil {
					recovery, lag = took, d.Lag.Duration
					return nil
				}
			}
		}
		return fmt.Errorf("the incidents tell %+v", all.Items)
	})
	return recovery, lag, status
}
