package storeposition_test

import (
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/storeposition"
)

func TestDecide(t *testing.T) {
	const wait = 6060 * time.Millisecond
	followed := coordination.Position{ClusterID: 0xa, Revision: 100}
	other := &coordination.OtherStoreError{Known: followed, Seen: coordination.Position{ClusterID: 0xb, Revision: 7}}
	back := &coordination.OtherStoreError{Known: followed, Seen: coordination.Position{ClusterID: 0xa, Revision: 7}, Restored: true}
	cases := map[string]struct {
		word     string
		refused  *coordination.OtherStoreError
		restored bool
		since    time.Duration
		adopt    uint64
		done     bool
		say      string
	}{
		"nothing is said":                        {refused: other, since: time.Hour},
		"the store that is refused":              {word: "b", refused: other, since: wait, adopt: 0xb},
		"written as etcd does":                   {word: "000000000000000B", refused: other, since: wait, adopt: 0xb},
		"leases may run":                         {word: "b", refused: other, since: wait - 1, say: "waiting until"},
		"another store than the one refused":     {word: "c", refused: other, since: time.Hour, say: "the store that answers is 000000000000000b"},
		"the one that is followed":               {word: "a", done: true},
		"the one that was followed":              {word: "a", refused: other, since: time.Hour, say: "under a new cluster token"},
		"one that was not met":                   {word: "b", say: "has not met store"},
		"a restore that kept the identity":       {word: "a", refused: back, since: time.Hour, say: "under a new cluster token"},
		"such a one before the store's answer":   {word: "a", restored: true, say: "has not met store"},
		"another store after such a restore":     {word: "b", refused: other, restored: true, since: wait, adopt: 0xb},
		"another word while the old one is back": {word: "b", refused: back, since: time.Hour, say: "the store that answers is 000000000000000a"},
		"no ID":                                  {word: "yes", refused: other, since: time.Hour, say: "hexadecimal"},
		"the ID of nothing":                      {word: "0", refused: other, since: time.Hour, say: "hexadecimal"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := storeposition.Decide(storeposition.Standing{
				Kept: storeposition.Kept{Position: followed, Restored: c.restored}, Word: c.word,
				Refused: c.refused, For: c.since, Wait: wait,
			})
			if got.Adopt != c.adopt || got.Done != c.done || (got.Say == "") != (c.say == "") || !strings.Contains(got.Say, c.say) {
				t.Errorf("decided %+v, want adopt %x, done %t, saying %q", got, c.adopt, c.done, c.say)
			}
		})
	}
}
