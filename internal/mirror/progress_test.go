package mirror

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestProgressAcknowledgesInOrderOnly(t *testing.T) {
	var p progress
	p.start(10)
	g, _, _ := p.accept(10, 1)
	p.accept(12, 1) // 11 was compacted away
	p.accept(13, 1)
	for _, step := range []struct {
		done, acked, bytes int64
	}{
		{done: 13, acked: 10, bytes: 3}, // 10 and 12 are still on their way
		{done: 10, acked: 11, bytes: 2},
		{done: 10, acked: 11, bytes: 2}, // said twice
		{done: 12, acked: 14, bytes: 0},
	} {
		p.done(g, step.done)
		if s := p.snapshot(); s.acked != step.acked || s.bytes != step.bytes {
			t.Errorf("after %d: acked %d, bytes %d; want %d, %d", step.done, s.acked, s.bytes, step.acked, step.bytes)
		}
	}
}

func TestProgressForgetsFormerGenerations(t *testing.T) {
	var p progress
	if _, _, ok := p.accept(0, 1); ok {
		t.Error("a partition that was not started accepted a record")
	}
	p.start(0)
	old, _, _ := p.accept(0, 1)
	p.fail(old, errors.New("refused"))
	if s := p.snapshot(); s.running || s.err == nil || s.bytes != 0 {
		t.Errorf("after a failure: %+v", s)
	}
	if _, _, ok := p.accept(1, 1); ok {
		t.Error("a failed partition accepted a record: the failed one would be skipped")
	}
	p.start(0)
	g, _, _ := p.accept(0, 1)
	p.done(old, 0)
	if s := p.snapshot(); s.acked != 0 {
		t.Errorf("an acknowledgement of the former generation counted: acked %d", s.acked)
	}
	p.fail(old, errors.New("late"))
	if !p.snapshot().running {
		t.Error("a failure of the former generation stopped the present one")
	}
	p.done(g, 0)
	if s := p.snapshot(); s.acked != 1 {
		t.Errorf("acked %d, want 1", s.acked)
	}
}

func TestProgressFollowsARewoundSource(t *testing.T) {
	var p progress
	p.start(100)
	old, _, _ := p.accept(100, 1)
	g, expected, ok := p.accept(3, 1)
	if expected != 101 || !ok {
		t.Fatalf("expected %d, ok %v", expected, ok)
	}
	p.done(old, 100)
	p.done(g, 3)
	if s := p.snapshot(); s.acked != 4 {
		t.Errorf("acked %d, want 4", s.acked)
	}
}

// Whatever the order of acknowledgements, failures and restarts: a position is
// never past a record that is not at the target.
func TestProgressNeverSkips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type flight struct {
			generation int
			offset     int64
		}
		var (
			p       progress
			next    int64 // what the source would hand out
			flying  []flight
			arrived = map[int64]bool{}
		)
		p.start(0)
		t.Repeat(map[string]func(*rapid.T){
			"read": func(*rapid.T) {
				if g, _, ok := p.accept(next, 1); ok {
					flying = append(flying, flight{g, next})
				}
				next++
			},
			"acknowledge": func(t *rapid.T) {
				if len(flying) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(flying)-1).Draw(t, "which")
				arrived[flying[i].offset] = true
				p.done(flying[i].generation, flying[i].offset)
				flying = append(flying[:i], flying[i+1:]...)
			},
			"refuse": func(t *rapid.T) {
				if len(flying) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(flying)-1).Draw(t, "which")
				p.fail(flying[i].generation, errors.New("refused"))
				flying = append(flying[:i], flying[i+1:]...)
			},
			"restart": func(*rapid.T) {
				next = p.snapshot().acked
				p.start(next)
			},
			"": func(t *rapid.T) {
				for o := range p.snapshot().acked {
					if !arrived[o] {
						t.Fatalf("position %d is past record %d, which did not arrive", p.snapshot().acked, o)
					}
				}
			},
		})
	})
}
