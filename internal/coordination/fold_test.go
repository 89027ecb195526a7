package coordination

import (
	"bytes"
	"encoding/json"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"multiactive.dev/operator/internal/ownership"
)

// FuzzFold has the fold take in whatever a person may write: it must not panic, must not change what it has
// handed out, and must name what it cannot use.
func FuzzFold(f *testing.F) {
	for _, key := range []string{
		keyView, keyHeld, keyBallot, dirService + "u", dirGate + "beijing", dirDebt + "beijing", dirAgent + "beijing", dirBeat + "beijing",
		dirOrder + "o", dirOrderIntent + "o", dirServiceIntent + "u", dirRegionIntent + "beijing", dirLeader + "1", dirTrust + "beijing", "", "/", "gate/",
	} {
		for _, value := range []string{
			"", "{", "null", "[]", `{"epoch":-1}`, `{"epoch":3,"phase":"Closing"}`, `{"generation":0}`,
			`{"epoch":1e99}`, `{"n":9223372036854775807}`, `{"regions":{"":{}}}`, "\xff",
		} {
			f.Add(key, []byte(value), false)
			f.Add(key, []byte(value), true)
		}
	}
	f.Fuzz(func(t *testing.T, key string, value []byte, again bool) {
		content := newFold(DefaultPrefix, 1)
		put := func(revision int64, key string, value []byte) {
			content.apply(&mvccpb.KeyValue{
				Key: []byte(DefaultPrefix + key), Value: value, CreateRevision: 1, ModRevision: revision, Lease: revision % 2,
			}, false)
		}
		put(2, keyView, []byte(`{"epoch":2,"phase":"Open","regions":{"beijing":{"state":"Serving","role":"Active"}}}`))
		put(2, dirGate+"beijing", []byte(`{"generation":1,"open":true}`))
		before := content.at(2)
		kept, err := json.Marshal(before)
		if err != nil {
			t.Fatal(err)
		}
		put(3, key, value)
		after := content.at(3)
		check(t, key, value, &before, &after)
		content.apply(&mvccpb.KeyValue{Key: []byte(DefaultPrefix + key), ModRevision: 4}, true)
		if again {
			put(4, key, value)
		}
		content.at(4)
		if now, err := json.Marshal(before); err != nil || !bytes.Equal(now, kept) {
			t.Errorf("what was handed out has changed from\n%s to\n%s (%v)", kept, now, err)
		}
	})
}

// check demands that a value which is no JSON at all is named.
func check(t *testing.T, key string, value []byte, before, after *ownership.Configuration) {
	t.Helper()
	_ = ownership.DamagedSince(before, after, true)
	dir, _ := split(key)
	if json.Valid(value) || dir == dirLeader {
		return
	}
	for _, d := range after.Damage {
		if d.Key == key {
			return
		}
	}
	if after.Ignored[key] == "" {
		t.Errorf("%q holds %q, and neither damage %v nor what is ignored %v names it", key, value, after.Damage, after.Ignored)
	}
}
