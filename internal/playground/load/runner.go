package load

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// Kinds of operations.
const (
	KindLogin    = "login"
	KindPinned   = "login, pinned to other regions"
	KindRegister = "register"
	KindProfile  = "profile"
	KindTransfer = "transfer"
)

// Record is one operation of the load.
type Record struct {
	Kind string
	Home string
	Answer
}

// Load sends operations at a steady rate and keeps what came of them.
type Load struct {
	client     *Client
	clock      clock.WithTicker
	endpoints  []Endpoint
	users      []User
	population *Population
	// victim is the region that is going to be lost: pinned clients never use it.
	victim string

	mu       sync.Mutex
	records  []Record
	sessions map[string]string // by phone, of the home region
}

// NewLoad prepares load by the users, who all have accounts that every region knows.
func NewLoad(c *Client, k clock.WithTicker, p *Population, users []User, endpoints []Endpoint, victim string) *Load {
	return &Load{client: c, clock: k, endpoints: endpoints, users: users, population: p, victim: victim, sessions: map[string]string{}}
}

// Run sends rps operations per second until ctx ends, and returns when the last has its answer.
func (l *Load) Run(ctx context.Context, rps int) {
	ticker := l.clock.NewTicker(time.Second / time.Duration(rps))
	defer ticker.Stop()
	var all sync.WaitGroup
	defer all.Wait()
	var under atomic.Int32
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
		if under.Load() > 4*parallel {
			continue // the machine does not keep up; what is under way is recorded as slow
		}
		under.Add(1)
		all.Go(func() {
			defer under.Add(-1)
			r := l.operate(context.WithoutCancel(ctx), i)
			l.mu.Lock()
			l.records = append(l.records, r)
			l.mu.Unlock()
		})
	}
}

// operate does the i-th operation: of ten, six logins anywhere, one pinned, and one of each other kind.
func (l *Load) operate(ctx context.Context, i int) Record {
	n := i / 10
	u := l.users[n%len(l.users)]
	switch i % 10 {
	case 6:
		u = l.surviving(n)
		a, _ := l.client.Login(ctx, u, Order(Without(l.endpoints, l.victim), n))
		return Record{KindPinned, u.Home, a}
	case 7:
		u = l.population.New()
		a := l.client.Register(ctx, u, Order(l.endpoints, n), "en")
		return Record{KindRegister, u.Home, a}
	case 8:
		return Record{KindProfile, u.Home, l.withSession(ctx, u, func(at Endpoint, session string) Answer {
			return l.client.Profile(ctx, u, at, session)
		})}
	case 9:
		to := l.users[(n+1)%len(l.users)]
		return Record{KindTransfer, u.Home, l.withSession(ctx, u, func(at Endpoint, session string) Answer {
			return l.client.Transfer(ctx, u, to, at, session, fmt.Sprintf("load-%d", i))
		})}
	default:
		u = l.users[i%len(l.users)]
		a, _ := l.client.Login(ctx, u, Order(l.endpoints, i))
		return Record{KindLogin, u.Home, a}
	}
}

// surviving returns a user who is not at home in the victim.
func (l *Load) surviving(n int) User {
	for i := range l.users {
		if u := l.users[(n+i)%len(l.users)]; u.Home != l.victim {
			return u
		}
	}
	return l.users[n%len(l.users)]
}

// withSession does something with a session of the user's home region, where sessions are kept.
func (l *Load) withSession(ctx context.Context, u User, do func(Endpoint, string) Answer) Answer {
	at := At(l.endpoints, u.Home)
	l.mu.Lock()
	session := l.sessions[u.Phone]
	l.mu.Unlock()
	if session == "" {
		var a Answer
		if a, session = l.client.Login(ctx, u, []Endpoint{at}); a.Err != nil {
			return a
		}
		l.mu.Lock()
		l.sessions[u.Phone] = session
		l.mu.Unlock()
	}
	a := do(at, session)
	if a.Status == http.StatusUnauthorized {
		l.mu.Lock()
		delete(l.sessions, u.Phone)
		l.mu.Unlock()
	}
	return a
}

// Records returns what the load has seen so far.
func (l *Load) Records() []Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Record{}, l.records...)
}
