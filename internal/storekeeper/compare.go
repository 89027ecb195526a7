package storekeeper

import (
	"context"
	"fmt"
	"time"

	plan "multiactive.dev/operator/internal/plan/store"
	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/rowcheck"
	"multiactive.dev/operator/internal/storage"
)

const (
	// stretchFor is how long one stretch of a comparison may take, with waiting for what is on its way.
	stretchFor = 5 * time.Minute
	// compareAgain is how soon rows are compared anew that differed, and retryCompare how soon what could not be compared.
	compareAgain = time.Minute
	retryCompare = 5 * time.Second
)

// comparer is the part of a keeper that compares rows with those of the sources. The keeper's mutex guards it.
type comparer struct {
	// compared by source region, of the present return.
	compared map[string]*plan.Compared
	// compareAt is when a source's rows are compared anew, or further.
	compareAt map[string]time.Time
	// runs are comparisons that were interrupted, by source region.
	runs map[string]*rowcheck.Run
	// abandon ends the comparison that runs.
	abandon context.CancelFunc
}

// forget drops what belongs to another return of the region.
func (k *keeper) forget() {
	k.compared, k.compareAt, k.runs = nil, nil, nil
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
		its, cancel := context.WithCancel(ctx)
		k.mu.Lock()
		k.abandon = cancel
		k.mu.Unlock()
		result := k.compareWith(its, server, t, source)
		cancel()
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

// note keeps what is known of a comparison, unless it belongs to another return by now.
func (k *keeper) note(from string, c plan.Compared) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.target.Return != c.Return {
		return false
	}
	if k.compared == nil {
		k.compared, k.compareAt = map[string]*plan.Compared{}, map[string]time.Time{}
	}
	pause := compareAgain
	if c.Problem != "" {
		pause = retryCompare
	}
	k.news = true
	k.compared[from], k.compareAt[from] = &c, k.config.Clock.Now().Add(pause)
	return true
}

// keepResult notes a result, and tells of it.
func (k *keeper) keepResult(ctx context.Context, from string, c plan.Compared) {
	if !k.note(from, c) {
		return
	}
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
	return k.goOn(ctx, check, source.Region, c)
}

// goOn compares from where that was interrupted, or from the beginning, stretch by stretch.
func (k *keeper) goOn(ctx context.Context, check rowcheck.Check, from string, c plan.Compared) plan.Compared {
	run := k.runOf(from, c.Return, check.Here.Want.Tables)
	for {
		its, cancel := context.WithTimeout(ctx, stretchFor)
		done, err := check.Next(its, run)
		cancel()
		c.Progress = progress(run)
		switch {
		case err != nil && ctx.Err() == nil && its.Err() != nil:
			c.Problem = fmt.Sprintf("the next rows were not compared within %s: what is on its way does not arrive, or a server is slow", stretchFor)
			return c
		case err != nil:
			c.Problem = cause(err)
			return c
		case done:
			c.Done, c.Rows, c.Progress = true, run.Found(), ""
			k.mu.Lock()
			delete(k.runs, from)
			k.mu.Unlock()
			return c
		}
		if before := k.comparedWith(from); before == nil || !before.Done {
			k.note(from, c) // what was found stays until there is something new
		}
	}
}

// comparedWith is what is known of a comparison with a source.
func (k *keeper) comparedWith(from string) *plan.Compared {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.compared[from]
}

// runOf is the comparison with a source that was begun for a return, or another one.
func (k *keeper) runOf(from string, epoch int64, tables []string) *rowcheck.Run {
	k.mu.Lock()
	defer k.mu.Unlock()
	if run := k.runs[from]; run != nil && run.Of(tables) {
		return run
	}
	run := rowcheck.Begin(tables)
	if k.target.Return == epoch {
		if k.runs == nil {
			k.runs = map[string]*rowcheck.Run{}
		}
		k.runs[from] = run
	}
	return run
}

// progress says how far a comparison is, in steps that are coarse enough for a status.
func progress(run *rowcheck.Run) string {
	table, number, of := run.At()
	if table == "" {
		return ""
	}
	text := fmt.Sprintf("at table %s, %d of %d", table, number, of)
	if rows := coarse(run.Found().Rows); rows > 0 {
		text += fmt.Sprintf(", with more than %d rows behind it", rows)
	}
	return text
}

// coarse is the next smaller of 100,000, 200,000, 500,000, 1,000,000 and so on; 0 below the first.
func coarse(rows int64) int64 {
	step := int64(0)
	for next := int64(100_000); ; next *= 10 {
		for _, factor := range []int64{1, 2, 5} {
			if factor*next >= rows {
				return step
			}
			step = factor * next
		}
	}
}
