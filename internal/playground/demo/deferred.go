package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"multiactive.dev/operator/internal/playground/load"
	"multiactive.dev/operator/internal/playground/term"
	"multiactive.dev/operator/internal/testkit/poll"
)

// executionTimeout bounds the wait until a request is carried out whose owner is back.
const executionTimeout = 60 * time.Second

// deferredTransfer is one that was asked for while the payer's home was gone.
type deferredTransfer struct {
	at    load.Endpoint
	id    string
	payer load.User
}

// status is the part of a status page that the demo reads.
type status struct {
	ID, State, Why string
	Status         int
}

// tryTransfer asks a survivor for a transfer of a user whose home is gone: it is kept for later.
func (p *people) tryTransfer(ctx context.Context, d *Demo, at load.Endpoint) {
	const promise = "a transfer of its users is accepted for later"
	i := slices.IndexFunc(p.users, func(u load.User) bool { return u.Home == d.killed.Name })
	if i < 0 {
		return
	}
	payer, payee := p.users[i], p.users[(i+1)%len(p.users)]
	login, session := p.client.Login(ctx, payer, []load.Endpoint{at})
	if login.Err != nil {
		d.promised(false, promise, "login: %v", login.Err)
		return
	}
	a := p.client.Transfer(ctx, payer, payee, at, session, "demo-deferred")
	var s status
	err := json.Unmarshal(a.Body, &s)
	d.console.Line("transfer of a user at home in %s -> %d %s", d.killed.Name, a.Status, s.State)
	d.promised(err == nil && a.Status == http.StatusAccepted && s.State == "Pending", promise, "status %d, %s", a.Status, s.State)
	if a.Status == http.StatusAccepted {
		p.deferred = &deferredTransfer{at: at, id: s.ID, payer: payer}
	}
}

// tryExecuted waits until what was kept for later is carried out.
func (p *people) tryExecuted(ctx context.Context, d *Demo) {
	if p.deferred == nil {
		return
	}
	began := d.options.Clock.Now()
	limited, cancel := context.WithTimeout(ctx, executionTimeout)
	defer cancel()
	var s status
	err := poll.Until(limited, 200*time.Millisecond, func(ctx context.Context) error {
		a := p.client.Deferred(ctx, p.deferred.payer, p.deferred.at, p.deferred.id)
		if a.Err != nil {
			return a.Err
		}
		if err := json.Unmarshal(a.Body, &s); err != nil {
			return fmt.Errorf("reading the status page %q: %w", a.Body, err)
		}
		if s.State == "Pending" {
			return fmt.Errorf("it is still %s", s.State)
		}
		return nil
	})
	d.promised(err == nil && s.State == "Executed" && s.Status == http.StatusCreated, "that transfer is carried out once its home is back",
		"%s with status %d after %s", s.State, s.Status, term.Seconds(d.options.Clock.Since(began)))
}
