package mirror

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestProgressAcknowledgesInOrderOnly(t *testing.T) {
	var p progress
	p.start(position{10, noEpoch})
	g, _, _ := p.accept(position{10, noEpoch}, 1)
	p.accept(position{12, noEpoch}, 1) // 11 was compacted away
	p.accept(position{13, noEpoch}, 1)
	for _, step := range []struct {
		done, acked, bytes int64
	}{
		{done: 13, acked: 10, bytes: 3}, // 10 and 12 are still on their way
		{done: 10, acked: 11, bytes: 2},
		{done: 10, acked: 11, bytes: 2}, // said twice
		{done: 12, acked: 14, bytes: 0},
	} {
		p.done(g, step.done)
		if s := p.snapshot(); s.acked.offset != step.acked || s.bytes != step.bytes {
			t.Errorf("after %d: acked %d, bytes %d; want %d, %d", step.done, s.acked.offset, s.bytes, step.acked, step.bytes)
		}
	}
}

func TestProgressForgetsFormerGenerations(t *testing.T) {
	var p progress
	if _, _, ok := p.accept(position{0, noEpoch}, 1); ok {
		t.Error("a partition that was not started accepted a record")
	}
	p.start(position{0, noEpoch})
	old, _, _ := p.accept(position{0, noEpoch}, 1)
	p.fail(old, 0, errors.New("refused"))
	if s := p.snapshot(); s.running || s.err == nil || s.bytes != 0 {
		t.Errorf("after a failure: %+v", s)
	}
	if _, _, ok := p.accept(position{1, noEpoch}, 1); ok {
		t.Error("a failed partition accepted a record: the failed one would be skipped")
	}
	p.start(position{0, noEpoch})
	g, _, _ := p.accept(position{0, noEpoch}, 1)
	p.done(old, 0)
	if s := p.snapshot(); s.acked.offset != 0 {
		t.Errorf("an acknowledgement of the former generation counted: acked %d", s.acked.offset)
	}
	p.fail(old, 0, errors.New("late"))
	if !p.snapshot().running {
		t.Error("a failure of the former generation stopped the present one")
	}
	p.done(g, 0)
	if s := p.snapshot(); s.acked.offset != 1 {
		t.Errorf("acked %d, want 1", s.acked.offset)
	}
}

func TestProgressFollowsARewoundSource(t *testing.T) {
	var p progress
	p.start(position{100, noEpoch})
	old, _, _ := p.accept(position{100, noEpoch}, 1)
	g, expected, ok := p.accept(position{3, noEpoch}, 1)
	if expected.offset != 101 || !ok {
		t.Fatalf("expected %d, ok %v", expected.offset, ok)
	}
	p.done(old, 100)
	p.done(g, 3)
	if s := p.snapshot(); s.acked.offset != 4 {
		t.Errorf("acked %d, want 4", s.acked.offset)
	}
}

// What is on its way when the source is found to have lost later records is waited for all the same.
func TestProgressWaitsForWhatIsBelow(t *testing.T) {
	for name, cut := range map[string]func(*progress){
		"told":  func(p *progress) { p.rewind(11) },
		"found": func(p *progress) { p.accept(position{11, 5}, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			var p progress
			p.start(position{10, 4})
			old, _, _ := p.accept(position{10, 4}, 1)
			p.accept(position{11, 4}, 1)
			p.accept(position{12, 4}, 1)
			cut(&p)
			if s := p.snapshot(); s.acked.offset != 10 {
				t.Fatalf("the position is past record 10, which has not arrived: %+v", s)
			}
			p.done(old, 12)
			p.done(old, 11)
			if s := p.snapshot(); s.acked.offset != 10 {
				t.Fatalf("records that the source has lost have moved the position: %+v", s)
			}
			p.done(old, 10)
			if s := p.snapshot(); s.acked != (position{11, 4}) {
				t.Fatalf("the position is %+v", s.acked)
			}
			p.fail(old, 12, errors.New("refused"))
			if s := p.snapshot(); !s.running {
				t.Fatalf("a record that the source has lost stops the partition when it is refused: %+v", s)
			}
		})
	}
}

// Whatever the order of acknowledgements, failures, restarts and losses of the source: a
// position is never past a record that is not at the target.
func TestProgressNeverSkips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type flight struct {
			generation int
			offset     int64
			gone       bool
		}
		var (
			p       progress
			next    int64 // what the source would hand out
			flying  []flight
			arrived = map[int64]bool{}
		)
		p.start(position{0, noEpoch})
		t.Repeat(map[string]func(*rapid.T){
			"read": func(*rapid.T) {
				if g, _, ok := p.accept(position{next, noEpoch}, 1); ok {
					flying = append(flying, flight{g, next, false})
				}
				next++
			},
			"acknowledge": func(t *rapid.T) {
				if len(flying) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(flying)-1).Draw(t, "which")
				arrived[flying[i].offset] = arrived[flying[i].offset] || !flying[i].gone
				p.done(flying[i].generation, flying[i].offset)
				flying = append(flying[:i], flying[i+1:]...)
			},
			"refuse": func(t *rapid.T) {
				if len(flying) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(flying)-1).Draw(t, "which")
				p.fail(flying[i].generation, flying[i].offset, errors.New("refused"))
				flying = append(flying[:i], flying[i+1:]...)
			},
			"lose": func(t *rapid.T) {
				if next == 0 || !p.snapshot().running {
					t.Skip()
				}
				next = rapid.Int64Range(0, next-1).Draw(t, "from")
				p.rewind(next)
				for i := range flying {
					flying[i].gone = flying[i].gone || flying[i].offset >= next
				}
				for o := range arrived {
					arrived[o] = arrived[o] && o < next
				}
			},
			"restart": func(*rapid.T) {
				next = p.snapshot().acked.offset
				p.start(position{next, noEpoch})
			},
			"": func(t *rapid.T) {
				for o := range p.snapshot().acked.offset {
					if !arrived[o] {
						t.Fatalf("position %d is past record %d, which did not arrive", p.snapshot().acked.offset, o)
					}
				}
			},
		})
	})
}
