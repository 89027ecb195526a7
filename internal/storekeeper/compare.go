package storekeeper

import (
	"context"
	"errors"
	"fmt"
	"time"

	plan "multiactive.dev/operator/internal/plan/store"
	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/rowcheck"
	"multiactive.dev/operator/internal/storage"
)

const (
	// longest is how long one comparison may take.
	longest = 30 * time.Minute
	// compareAgain is how soon rows are compared anew that differed, and retryCompare how soon what could not be compared.
	compareAgain = time.Minute
	retryCompare = 5 * time.Second
)

// comparer is the part of a keeper that compares rows with those of the sources. The keeper's mutex guards it.
type comparer struct {
	// compared by source region, of the present return.
	compared map[string]*plan.Compared
	// compareAt is when a source's rows are compared anew.
	compareAt map[string]time.Time
	// abandon ends the comparison that runs.
	abandon context.CancelFunc
}

// forget drops what belongs to another return of the region.
func (k *keeper) forget() {
	k.compared, k.compareAt = nil, nil
	if k.abandon != nil {
		k.abandon()
	}
}

// keepCompared compares rows while that is asked for. It has a goroutine of its own: it may take long.
func (k *keeper) keepCompared(ctx context.Context) {
	for ctx.Err() == nil {
		wait := k.compareDue(ctx)
		var due <-chan time.Time
		if wait > 0 {
			due = k.config.Clock.After(wait)
		}
		select {
		case <-ctx.Done():
		case <-k.compareNow:
		case <-due:
		}
	}
}

// compareDue compares with the sources that are due, and returns how soon to look again, 0 for not before there is news.
func (k *keeper) compareDue(ctx context.Context) time.Duration {
	server, t := k.using()
	if t.Return == 0 {
		return 0
	}
	if server == nil {
		return retryCompare
	}
	for _, source := range t.Declared.Want.Sources {
		if t.Lost[source.Region] || !k.due(source.Region, t.Return) {
			continue
		}
		its, cancel := context.WithTimeout(ctx, longest)
		k.mu.Lock()
		k.abandon = cancel
		k.mu.Unlock()
		result := k.compareWith(its, server, t, source)
		late := errors.Is(its.Err(), context.DeadlineExceeded)
		cancel()
		if late {
			result.Problem = fmt.Sprintf("it was not done after %s", longest)
		}
		k.keepResult(ctx, source.Region, result)
	}
	return retryCompare
}

// due reports whether a source's rows are to be compared now. What is still far behind would only be waited for.
func (k *keeper) due(from string, epoch int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.look.Settling != "" {
		return false // rows that are to be taken back differ
	}
	c := k.compared[from]
	now := k.config.Clock.Now()
	if c != nil && c.Return == epoch && (c.Token() == "" && c.Done || now.Before(k.compareAt[from])) {
		return false
	}
	r := k.tracker.Read(from, now)
	return r.Known && r.Age < lookIll
}

// keepResult notes a result, unless it belongs to another return by now.
func (k *keeper) keepResult(ctx context.Context, from string, c plan.Compared) {
	k.mu.Lock()
	if k.target.Return != c.Return {
		k.mu.Unlock()
		return
	}
	if k.compared == nil {
		k.compared, k.compareAt = map[string]*plan.Compared{}, map[string]time.Time{}
	}
	pause := compareAgain
	if c.Problem != "" {
		pause = retryCompare
	}
	k.compared[from], k.compareAt[from] = &c, k.config.Clock.Now().Add(pause)
	k.mu.Unlock()
	if token := c.Token(); token != "" {
		k.log.Info("Rows do not compare as those of another region.", "from", from, "parts", len(c.Rows.Differences), "problem", c.Problem)
	}
	k.announce(ctx, k.name)
}

// compareWith compares the declared tables with those of one source.
func (k *keeper) compareWith(ctx context.Context, server store.Server, t Target, source storage.Source) plan.Compared {
	c := plan.Compared{Return: t.Return}
	switch {
	case len(t.Declared.Want.Tables) == 0:
		c.Done = true
		return c
	case t.Options.Replication.User == "":
		c.Done, c.Rows.Skipped = true, []string{"all tables: the operator has no user to ask other regions' servers as"}
		return c
	}
	there, err := k.config.Open(t.Declared.Slice.Engine, store.Options{
		Address: source.Address, Admin: t.Options.Replication, Database: t.Options.Database, Timeout: patience,
	})
	if err != nil {
		c.Problem = cause(err)
		return c
	}
	defer func() { _ = there.Close() }()
	check := rowcheck.Check{
		Clock: k.config.Clock, Lost: t.Lost,
		Here:  rowcheck.Side{Server: server, Want: t.Declared.Want},
		There: rowcheck.Side{Server: there, Want: t.Declared.WantAt(source.Region)},
	}
	if c.Rows, err = check.Tables(ctx, t.Declared.Want.Tables); err != nil {
		c.Problem = cause(err)
		return c
	}
	c.Done = true
	return c
}
