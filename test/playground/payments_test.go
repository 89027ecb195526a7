package playground_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

const (
	payInterval = 200 * time.Millisecond
	payTimeout  = 3 * time.Second
	// lossBound is what the loss of a region may take until others serve its users' home writes, where a
	// leader has to be elected first, on a machine that does everything at once.
	lossBound = 30 * time.Second
)

// payments are home writes that may be taken over, sent to the gateway of a region that is never lost.
type payments struct {
	edge string
	stop context.CancelFunc
	done sync.WaitGroup

	mu   sync.Mutex
	seen map[string][]payment // by customer
}

// payment is one answer.
type payment struct {
	at     time.Time
	status int
	// city that wrote it, as owner with the epoch.
	city, owner string
	epoch       int64
	// placed is where a request of the same customer was carried out that may not be taken over, after another
	// city than the first one wrote; empty: nowhere.
	placed string
}

// pay begins to pay for several customers, over and over.
func pay(t *testing.T, edge string) *payments {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &payments{edge: edge, stop: cancel, seen: map[string][]payment{}}
	for _, customer := range []string{"anna", "ben", "carla", "dieter", "eva", "franz"} {
		p.done.Go(func() {
			ticker := time.NewTicker(payInterval)
			defer ticker.Stop()
			home := ""
			for {
				one := p.ask(ctx, http.MethodPut, customer)
				if home == "" {
					home = one.city
				}
				if one.city != "" && one.city != home {
					one.placed = p.ask(ctx, http.MethodPost, customer).city // at home, if that has its keys back by now
				}
				if ctx.Err() != nil {
					return
				}
				p.mu.Lock()
				p.seen[customer] = append(p.seen[customer], one)
				p.mu.Unlock()
				select {
				case <-ticker.C:
				case <-ctx.Done():
				}
			}
		})
	}
	t.Cleanup(func() { cancel(); p.done.Wait() })
	return p
}

func (p *payments) ask(ctx context.Context, method, customer string) payment {
	ctx, cancel := context.WithTimeout(ctx, payTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, p.edge+"/orders/"+customer, http.NoBody)
	if err != nil {
		return payment{at: time.Now()}
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return payment{at: time.Now()}
	}
	defer func() { _ = answer.Body.Close() }()
	one := payment{at: time.Now(), status: answer.StatusCode}
	var body map[string]string
	if answer.StatusCode == http.StatusOK && json.NewDecoder(answer.Body).Decode(&body) == nil {
		one.city, one.owner = body["city"], body["owner"]
		one.epoch, _ = strconv.ParseInt(body["epoch"], 10, 64)
	}
	return one
}

// check holds that every customer was served by the home, then by the other city, then by the home again:
// one owner for each epoch, and no epoch that goes back.
func (p *payments) check(t *testing.T) {
	t.Helper()
	p.stop()
	p.done.Wait()
	takenOver := 0
	for customer, all := range p.seen {
		var cities []string
		gap, last := time.Duration(0), all[0].at
		owners, epoch := map[int64]string{}, int64(0)
		for _, one := range all {
			if one.city == "" {
				continue
			}
			gap, last = max(gap, one.at.Sub(last)), one.at
			if one.owner != one.city {
				t.Errorf("%s was written in %s as the key of %s", customer, one.city, one.owner)
			}
			if before := owners[one.epoch]; before != "" && before != one.city || one.epoch < epoch {
				t.Errorf("%s was written in %s with epoch %d, after epoch %d and by %q in that epoch", customer, one.city, one.epoch, epoch, before)
			}
			owners[one.epoch], epoch = one.city, one.epoch
			if len(cities) == 0 || cities[len(cities)-1] != one.city {
				cities = append(cities, one.city)
			}
			if one.placed == "north" {
				t.Errorf("an order of %s was placed in %s, which wrote for its home", customer, one.placed)
			}
		}
		t.Logf("%s: %d payments, in %v, longest gap %s", customer, len(all), cities, gap.Round(time.Millisecond))
		switch fmt.Sprint(cities) {
		case "[north]":
		case "[south north south]":
			takenOver++
			if gap > lossBound {
				t.Errorf("%s could not pay for %s", customer, gap)
			}
		default:
			t.Errorf("%s was served in %v, want the home, the other city, the home", customer, cities)
		}
	}
	if takenOver == 0 {
		t.Error("nobody was at home in the lost city, and so nothing was taken over")
	}
}
