package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/storeposition"
)

const (
	oldID = 0xa
	newID = 0xb
)

// says is a region that has followed a store, and refuses another, if any.
func says(region string, followed, refused uint64, alters ...func(*standing)) standing {
	s := standing{
		region: region, kept: storeposition.Kept{Position: coordination.Position{ClusterID: followed, Revision: 7}},
		refusedID: refused, moved: "1", lasts: 7 * time.Second,
	}
	for _, a := range alters {
		a(&s)
	}
	return s
}

func away(s *standing)     { s.problem = errors.New("no route to host") }
func fresh(s *standing)    { s.fresh, s.kept = true, storeposition.Kept{} }
func restored(s *standing) { s.kept.Restored = true }
func moved(s *standing)    { s.moved = "2" }
func slow(s *standing)     { s.lasts = time.Minute }

func TestJudge(t *testing.T) {
	cases := map[string]struct {
		o          adoptOptions
		before     []standing
		now        []standing
		tell, done []string
		wait       time.Duration
		blocked    []string // parts of what speaks against it
	}{
		"every region refuses it": {
			now: []standing{says("a", oldID, newID), says("b", oldID, newID)}, tell: []string{"a", "b"},
		},
		"the longest lease is waited for": {
			now: []standing{says("a", oldID, newID, slow), says("b", oldID, newID)}, tell: []string{"a", "b"}, wait: time.Minute,
		},
		"one follows it already, one has followed none": {
			now: []standing{says("a", newID, 0), says("b", oldID, newID), says("c", 0, 0, fresh)}, tell: []string{"b"}, done: []string{"a", "c"},
		},
		"one alone": {
			o: adoptOptions{regions: []string{"b"}}, now: []standing{says("a", oldID, newID), says("b", oldID, newID)}, tell: []string{"b"},
		},
		"one still follows the old store": {
			now: []standing{says("a", oldID, 0), says("b", oldID, newID)}, tell: []string{"b"}, blocked: []string{"a: it still follows store 000000000000000a"},
		},
		"that holds for one alone too": {
			o: adoptOptions{regions: []string{"b"}}, now: []standing{says("a", oldID, 0), says("b", oldID, newID)}, tell: []string{"b"},
			blocked: []string{"a: it still follows"},
		},
		"one meets a third store": {
			now: []standing{says("a", oldID, 0xc)}, blocked: []string{"a: it meets store 000000000000000c"},
		},
		"restored under its old identity": {
			o: adoptOptions{id: oldID}, now: []standing{says("a", oldID, oldID, restored)}, blocked: []string{"a: it has followed this very store"},
		},
		"restored anew after that": {now: []standing{says("a", oldID, newID, restored)}, tell: []string{"a"}},
		"one is away": {
			now: []standing{says("a", 0, 0, away), says("b", oldID, newID)}, tell: []string{"b"}, blocked: []string{"--without=a"},
		},
		"one is away and left out": {
			o: adoptOptions{without: []string{"a"}}, now: []standing{says("a", 0, 0, away), says("b", oldID, newID)}, tell: []string{"b"},
		},
		"one that stands still is left out": {
			o:      adoptOptions{without: []string{"a"}},
			before: []standing{says("a", oldID, 0), says("b", oldID, newID)},
			now:    []standing{says("a", oldID, 0), says("b", oldID, newID)}, tell: []string{"b"},
		},
		"one that goes on is not left out": {
			o:      adoptOptions{without: []string{"a"}},
			before: []standing{says("a", oldID, 0), says("b", oldID, newID)},
			now:    []standing{says("a", oldID, 0, moved), says("b", oldID, newID)}, tell: []string{"b"},
			blocked: []string{"a: it follows another store at this moment"},
		},
		"one that is back while leases are waited for is not left out": {
			o:      adoptOptions{without: []string{"a"}},
			before: []standing{{region: "a", problem: errors.New("no route to host")}, says("b", oldID, newID)},
			now:    []standing{says("a", oldID, 0), says("b", oldID, newID)}, tell: []string{"b"},
			blocked: []string{"a: it follows another store at this moment"},
		},
		"a name is wrong": {
			o: adoptOptions{regions: []string{"x"}}, now: []standing{says("a", oldID, newID)}, blocked: []string{"x: the hub has no such Region"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.o.id == 0 {
				c.o.id = newID
			}
			if c.wait == 0 {
				c.wait = atLeast
			}
			got := judge(&c.o, c.before, c.now)
			if diff := cmp.Diff([][]string{c.tell, c.done}, [][]string{got.tell, got.done}); diff != "" {
				t.Errorf("who is told, and done (-want +got):\n%s", diff)
			}
			if got.wait != c.wait {
				t.Errorf("waits %s, want %s", got.wait, c.wait)
			}
			if len(got.blockers) != len(c.blocked) {
				t.Fatalf("held up by %q, want %q", got.blockers, c.blocked)
			}
			for i, want := range c.blocked {
				if !strings.Contains(got.blockers[i], want) {
					t.Errorf("held up by %q, want %q", got.blockers[i], want)
				}
			}
		})
	}
}
