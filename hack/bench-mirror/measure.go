package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"multiactive.dev/operator/hack/internal/report"
	"multiactive.dev/operator/internal/testkit/poll"
)

const (
	// settleTime is how long everything is idle before idleness is measured.
	settleTime = 5 * time.Second
	idleTime   = 10 * time.Second
)

// full is one round at full speed.
type full struct {
	megabytes float64
	took      time.Duration
	// cpu is the contender's processor time, brokers that of both brokers meanwhile.
	cpu, brokers time.Duration
	// peakMB is the most that was resident.
	peakMB float64
}

func (f full) perSecond() float64    { return f.megabytes / f.took.Seconds() }
func (f full) perCPUSecond() float64 { return f.megabytes / f.cpu.Seconds() }

// late is one round of latency: between a consumer at the source and one at the target.
type late struct{ p50, p99 time.Duration }

// figures of one contender.
type figures struct {
	name, about string
	full        []full
	late        []late
	// idleCPU is the share of a processor that it takes while nothing is written.
	idleCPU, idleMB float64
	// records at the source and at the target, in the end.
	source, target int64
}

func progress(format string, args ...any) { _, _ = fmt.Fprintf(os.Stderr, format+"\n", args...) }

// measure goes through all contenders in every round. The first round at full speed is not counted: Java has
// compiled nothing yet.
func measure(ctx context.Context, o *options, w *world, contenders []*contender, p *page) error {
	p.figures = make([]figures, len(contenders))
	for i, c := range contenders {
		p.figures[i] = figures{name: c.name, about: c.about}
	}
	for round := range o.rounds + 1 {
		for i, c := range contenders {
			f, err := w.fullSpeed(ctx, c, o.records)
			if err != nil {
				return fmt.Errorf("%s at full speed: %w", c.name, err)
			}
			progress("round %d, %s: %.0f MB/s, %.0f MB per CPU second, peak %.0f MB", round, c.name, f.perSecond(), f.perCPUSecond(), f.peakMB)
			if round > 0 {
				p.figures[i].full = append(p.figures[i].full, f)
			}
		}
	}
	for round := range o.rounds {
		for i, c := range contenders {
			l, err := w.latency(ctx, o, c)
			if err != nil {
				return fmt.Errorf("latency of %s: %w", c.name, err)
			}
			progress("round %d, %s at %d records a second: p50 %s, p99 %s", round+1, c.name, o.rate, l.p50, l.p99)
			p.figures[i].late = append(p.figures[i].late, l)
		}
	}
	return w.idle(ctx, contenders, p)
}

// fullSpeed lets a contender copy what has gathered while it stood still.
func (w *world) fullSpeed(ctx context.Context, c *contender, n int) (full, error) {
	f := full{megabytes: float64(n) * valueBytes / (1 << 20)}
	if err := syscall.Kill(c.pid, syscall.SIGSTOP); err != nil {
		return f, err
	}
	err := w.fill(ctx, c, n)
	want, endsErr := w.ends(ctx, north, c.topic)
	if err = errors.Join(err, endsErr); err != nil {
		return f, errors.Join(err, syscall.Kill(c.pid, syscall.SIGCONT))
	}
	if err := report.ForgetPeak(c.pid); err != nil {
		return f, err
	}
	cpu, err := report.ProcessorTime(c.pid)
	if err != nil {
		return f, err
	}
	brokers, err := w.brokersTime()
	if err != nil {
		return f, err
	}
	begin := time.Now()
	if err := syscall.Kill(c.pid, syscall.SIGCONT); err != nil {
		return f, err
	}
	if err := w.await(ctx, c, want); err != nil {
		return f, err
	}
	f.took = time.Since(begin)
	after, err := report.ProcessorTime(c.pid)
	if err != nil {
		return f, err
	}
	brokersAfter, err := w.brokersTime()
	f.cpu, f.brokers = after-cpu, brokersAfter-brokers
	if err != nil {
		return f, err
	}
	f.peakMB, err = report.PeakMB(c.pid)
	return f, err
}

func (w *world) brokersTime() (total time.Duration, err error) {
	for _, b := range w.brokers {
		t, err := report.ProcessorTime(b.PID())
		if err != nil {
			return 0, err
		}
		total += t
	}
	return total, nil
}

// latency writes records at a fixed rate that does not wait for answers, and compares when each one reaches a
// consumer at the source and one at the target.
func (w *world) latency(ctx context.Context, o *options, c *contender) (late, error) {
	begin := time.Now()
	near, err := w.follow(ctx, north, c.topic, begin)
	if err != nil {
		return late{}, err
	}
	defer near.close()
	far, err := w.follow(ctx, south, c.copied(), begin)
	if err != nil {
		return late{}, err
	}
	defer far.close()
	client, err := w.producer(north, kgo.ProducerLinger(0))
	if err != nil {
		return late{}, err
	}
	defer client.Close()
	first, err := w.warm(ctx, c, client, near, far)
	if err != nil {
		return late{}, err
	}
	n := int(o.length.Seconds() * float64(o.rate))
	next := time.Now()
	for i := range n {
		next = next.Add(time.Second / time.Duration(o.rate))
		time.Sleep(time.Until(next))
		client.Produce(ctx, w.numbered(c, first+i), nil)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("not all records arrived"))
	defer cancel()
	err = poll.Until(ctx, 20*time.Millisecond, func(context.Context) error {
		if have := min(near.count(), far.count()); have < first+n {
			return fmt.Errorf("%d of %d records are there", have, first+n)
		}
		return nil
	})
	if err != nil {
		return late{}, err
	}
	added := make([]time.Duration, n)
	for i := range added {
		added[i] = far.arrived[first+i] - near.arrived[first+i]
	}
	slices.Sort(added)
	at := func(share float64) time.Duration { return added[int(share*float64(n-1))] }
	return late{p50: at(.5), p99: at(.99)}, nil
}

// warm writes until records come through to both consumers in every partition, and returns the next number.
func (w *world) warm(ctx context.Context, c *contender, client *kgo.Client, near, far *follower) (int, error) {
	for i := range partitions {
		if err := client.ProduceSync(ctx, w.numbered(c, i)).FirstErr(); err != nil {
			return 0, err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("the first records did not arrive"))
	defer cancel()
	return partitions, poll.Until(ctx, 20*time.Millisecond, func(context.Context) error {
		for i := range partitions {
			if !near.has(i) || !far.has(i) {
				return fmt.Errorf("record %d is missing", i)
			}
		}
		return nil
	})
}

// idle measures all at once: none does anything.
func (w *world) idle(ctx context.Context, contenders []*contender, p *page) error {
	time.Sleep(settleTime)
	before := make([]time.Duration, len(contenders))
	for i, c := range contenders {
		var err error
		if before[i], err = report.ProcessorTime(c.pid); err != nil {
			return err
		}
	}
	time.Sleep(idleTime)
	for i, c := range contenders {
		f := &p.figures[i]
		after, err := report.ProcessorTime(c.pid)
		if err != nil {
			return err
		}
		f.idleCPU = (after - before[i]).Seconds() / idleTime.Seconds()
		if f.idleMB, err = report.ResidentMB(c.pid); err != nil {
			return err
		}
		if f.source, err = w.ends(ctx, north, c.topic); err != nil {
			return err
		}
		if f.target, err = w.ends(ctx, south, c.copied()); err != nil {
			return err
		}
		progress("%s when idle: %.1f %% of a processor, %.0f MB", c.name, 100*f.idleCPU, f.idleMB)
	}
	return nil
}
