package store_test

import (
	"testing"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/sim/store"
)

func TestHistory(t *testing.T) {
	c := store.New(7)
	for n := range int64(5) {
		c.Do(store.PutServiceIntent(ownership.ServiceIntent{UID: "u", SpecHash: string(rune('a' + n))}))
	}
	if c.Now().Revision != 6 || c.At(3).ServiceIntents["u"].SpecHash != "b" {
		t.Errorf("revision %d, at revision 3: %+v", c.Now().Revision, c.At(3).ServiceIntents)
	}
	if since := c.Since(4); len(since) != 2 || since[0].Revision != 5 || since[1].Revision != 6 {
		t.Errorf("since revision 4: %d configurations", len(since))
	}
	if since := c.Since(6); len(since) != 0 {
		t.Errorf("since the present: %d configurations", len(since))
	}
	if again := c.Do(store.PutServiceIntent(ownership.ServiceIntent{UID: "u", SpecHash: "e"})); again.Revision != 6 {
		t.Errorf("an equal proposal makes revision %d", again.Revision)
	}
}

func TestRestore(t *testing.T) {
	c := store.New(7)
	first := store.Term{Key: "leader/1"}
	first.Created = c.Do(store.Stand(first.Key, "one")).Revision
	backup := c.Backup()
	c.Do(first.OpenGate(c.Now(), "a"))
	c.EndSession(first.Key)
	if c.Leads(first) || c.Now().Leader != "" {
		t.Error("a candidate leads without a session")
	}
	c.Restore(backup, 8)
	now := c.Now()
	if now.ClusterID != 8 || now.Revision != 2 || len(now.Gates) != 0 || !c.Leads(first) || now.Leader != "one" {
		t.Errorf("restored: %+v", now)
	}
	// What comes after does not reach into the backup.
	c.Do(first.OpenGate(c.Now(), "a"))
	if len(backup.Now().Gates) != 0 || len(c.Since(2)) != 1 {
		t.Errorf("the backup has changed: %+v", backup.Now())
	}
}

func TestWithout(t *testing.T) {
	c := store.New(1)
	deposed := store.Term{Key: "leader/none", Created: 1}
	guarded := deposed.PutHeld(map[string]string{"a": "why"})
	if answer := c.Do(guarded); len(answer.Failed) != 1 || answer.Failed[0] != store.GuardLeader {
		t.Errorf("a deposed leader's write: %+v", answer)
	}
	if answer := c.Do(guarded.Without(store.GuardLeader)); len(answer.Failed) != 0 || c.Now().Held["a"] != "why" {
		t.Errorf("without the guard: %+v", answer)
	}
}
