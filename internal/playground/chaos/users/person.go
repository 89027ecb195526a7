package users

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"multiactive.dev/operator/internal/playground/chaos/acts"
)

// tries is how often a transfer is sent under one key while nobody says what became of it.
const tries = 3

// person is one user.
type person struct {
	users  *Users
	phone  string
	client *http.Client

	registered bool
	cookie     string
	// edit and password are the numbers of the last that was sent. known are the passwords that may be the present one.
	edit, password int
	known          []int
	transfers      int
	// deferred are transfers that were accepted for later.
	deferred []string
	// edited and entered (by region) are the parts of settle that have worked.
	edited  bool
	entered map[string]bool
}

// live acts at random until ctx ends.
func (p *person) live(ctx context.Context, at, number int) {
	p.known = []int{0}
	for ctx.Err() == nil {
		p.act(context.WithoutCancel(ctx), p.users.endpoints[at%len(p.users.endpoints)], number)
		at += rand.N(2)
		timer := time.NewTimer(p.users.pause/2 + rand.N(p.users.pause))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// act does one thing at a region. A request that has been sent is waited for: whether it happened should be known.
func (p *person) act(ctx context.Context, at Endpoint, number int) {
	switch {
	case !p.registered:
		p.register(ctx)
		return
	case p.cookie == "":
		p.enter(ctx, at)
		return
	case len(p.known) > 1:
		p.resolve(ctx, at)
		return
	}
	switch rand.N(10) {
	case 0, 1:
		p.enter(ctx, at)
	case 2, 3:
		p.save(ctx, at)
	case 4:
		p.look(ctx, at)
	case 5:
		p.changePassword(ctx, at, p.known[0])
	case 6:
		p.readBalance(ctx, at)
	case 7:
		p.mistake(ctx, at)
	default:
		people := p.users.people
		p.pay(ctx, people[(number+1+rand.N(len(people)-1))%len(people)])
	}
}

// register asks all gateways at the same time, as somebody who clicks on and on.
func (p *person) register(ctx context.Context) {
	answers := make([]acts.Act, len(p.users.endpoints))
	var all sync.WaitGroup
	for i, e := range p.users.endpoints {
		all.Go(func() {
			a := p.new(acts.Register, e)
			body := map[string]any{"phone": p.phone, "password": secret(0), "name": "At " + e.Region}
			var made struct{ ID string }
			p.ask(ctx, e, http.MethodPost, "/v1/accounts", body, &a, &made)
			a.Account = made.ID
			answers[i] = p.users.note(a)
		})
	}
	all.Wait()
	p.registered = slices.ContainsFunc(answers, func(a acts.Act) bool { return a.Acknowledged() || a.Code == "phone-taken" })
}

// enter logs in by the passwords that may be the present one, the newest first.
func (p *person) enter(ctx context.Context, at Endpoint) bool {
	for _, n := range slices.Backward(slices.Clone(p.known)) {
		a := p.new(acts.Login, at)
		a.N = n
		cookie := p.ask(ctx, at, http.MethodPost, "/v1/login", map[string]any{"phone": p.phone, "password": secret(n)}, &a, nil)
		p.users.note(a)
		if a.Acknowledged() {
			p.cookie = cookie
			if n == p.known[len(p.known)-1] {
				p.known = []int{n} // whoever has heard of it, it was taken
			}
			return true
		}
		if a.Code != "unknown-or-wrong" {
			return false
		}
	}
	return false
}

// mistake logs in by a former password, which only a region takes that has not heard of the change.
func (p *person) mistake(ctx context.Context, at Endpoint) {
	if p.known[0] == 0 {
		return
	}
	a := p.new(acts.Login, at)
	a.N = p.known[0] - 1
	p.ask(ctx, at, http.MethodPost, "/v1/login", map[string]any{"phone": p.phone, "password": secret(a.N)}, &a, nil)
	p.users.note(a)
}

func (p *person) save(ctx context.Context, at Endpoint) bool {
	p.edit++
	a := p.new(acts.Save, at)
	a.N = p.edit
	p.ask(ctx, at, http.MethodPut, "/v1/profile", map[string]any{"name": "User", "about": fmt.Sprint(a.N)}, &a, nil)
	p.with(p.users.note(a))
	return a.Acknowledged()
}

func (p *person) look(ctx context.Context, at Endpoint) {
	a := p.new(acts.Look, at)
	var profile struct{ About string }
	p.ask(ctx, at, http.MethodGet, "/v1/profile", nil, &a, &profile)
	if profile.About != "" {
		if _, err := fmt.Sscan(profile.About, &a.N); err != nil {
			a.N = -1
		}
	}
	p.with(p.users.note(a))
}

func (p *person) readBalance(ctx context.Context, at Endpoint) {
	a := p.new(acts.Balance, at)
	var told struct{ Balance int64 }
	p.ask(ctx, at, http.MethodGet, "/v1/balance", nil, &a, &told)
	a.Balance = told.Balance
	p.with(p.users.note(a))
}

// changePassword gives an old one, and reports whether that was taken for the present one, or nobody knows.
func (p *person) changePassword(ctx context.Context, at Endpoint, old int) bool {
	p.password++
	a := p.new(acts.Password, at)
	a.N = p.password
	p.ask(ctx, at, http.MethodPost, "/v1/password", map[string]any{"old": secret(old), "new": secret(a.N)}, &a, nil)
	switch p.with(p.users.note(a)); {
	case a.Acknowledged():
		p.known = []int{a.N}
	case a.Unknown():
		p.known = append(p.known, a.N)
	default:
		return a.Code != "wrong-password"
	}
	return true
}

// resolve finds out which of several passwords is the present one: the home takes the next one with no other.
func (p *person) resolve(ctx context.Context, at Endpoint) bool {
	for _, n := range slices.Clone(p.known) {
		if p.changePassword(ctx, at, n) {
			break
		}
	}
	return len(p.known) == 1
}

// pay transfers some money, and asks again elsewhere under the same key while nobody says what became of it.
func (p *person) pay(ctx context.Context, payee *person) {
	p.transfers++
	amount, first := 1+rand.Int64N(Opening/2), rand.N(len(p.users.endpoints))
	for i := range tries {
		at := p.users.endpoints[(first+i)%len(p.users.endpoints)]
		a := p.new(acts.Transfer, at)
		a.Payee, a.Amount, a.Once = payee.phone, amount, fmt.Sprintf("t%d", p.transfers)
		var made struct{ ID string }
		p.ask(ctx, at, http.MethodPost, "/v1/transfers", map[string]any{"from": p.phone, "to": payee.phone, "amount": amount}, &a, &made)
		switch {
		case a.Status == http.StatusAccepted:
			a.Deferred = made.ID
			if !slices.Contains(p.deferred, made.ID) {
				p.deferred = append(p.deferred, made.ID)
			}
		case a.Acknowledged():
			a.Booked = made.ID
		}
		if p.with(p.users.note(a)); a.Status != 0 {
			return
		}
	}
}

// follow asks every region what became of a deferred transfer, until one knows.
func (p *person) follow(ctx context.Context, id string) bool {
	for _, at := range p.users.endpoints {
		a := p.new(acts.Follow, at)
		a.Deferred = id
		var page struct{ State string }
		p.ask(ctx, at, http.MethodGet, "/.multiactive/deferred/"+id, nil, &a, &page)
		if a.State = page.State; a.State == "Executed" || a.State == "Refused" {
			p.users.note(a)
			return true
		}
	}
	return false
}

// settle does what has to work in the end, and says what did not.
func (p *person) settle(ctx context.Context) error {
	if !p.registered {
		p.register(ctx)
	}
	if p.entered == nil {
		p.entered = map[string]bool{}
	}
	for _, at := range p.users.endpoints {
		if !p.entered[at.Region] && !p.enterSurely(ctx, at) {
			return fmt.Errorf("%s cannot log in at %s", p.phone, at.Region)
		}
		p.entered[at.Region] = true
	}
	if p.cookie == "" && !p.enter(ctx, p.users.endpoints[0]) {
		return fmt.Errorf("%s cannot log in at %s again", p.phone, p.users.endpoints[0].Region)
	}
	if !p.edited && !p.save(ctx, p.users.endpoints[0]) {
		return fmt.Errorf("%s cannot edit the profile", p.phone)
	}
	p.edited = true
	for len(p.deferred) > 0 {
		if !p.follow(ctx, p.deferred[0]) {
			return fmt.Errorf("transfer %s of %s, which was accepted for later, is not done", p.deferred[0], p.phone)
		}
		p.deferred = p.deferred[1:]
	}
	return nil
}

// enterSurely logs in by a password that is known to be the present one.
func (p *person) enterSurely(ctx context.Context, at Endpoint) bool {
	return p.enter(ctx, at) && (len(p.known) == 1 || p.resolve(ctx, at) && p.enter(ctx, at))
}

// with forgets a session that is over.
func (p *person) with(a acts.Act) {
	if a.Status == http.StatusUnauthorized {
		p.cookie = ""
	}
}

func secret(n int) string { return fmt.Sprintf("password number %d", n) }
