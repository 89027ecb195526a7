package coordination

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"multiactive.dev/operator/internal/ownership"
)

// fold keeps the store's content and applies one revision after another. Maps that were handed
// out are never changed: the first change to one in a revision copies it.
type fold struct {
	prefix  string
	conf    ownership.Configuration
	leaders map[string]candidate // by key
	copied  map[string]bool
	// broken has what cannot be read of what was agreed on, by key. touched is set by every change of what
	// was agreed on.
	broken  map[string]ownership.Damage
	touched bool
}

// candidate is one campaigner's key; the lowest create revision leads.
type candidate struct {
	identity string
	created  int64
}

func newFold(prefix string, clusterID uint64) *fold {
	return &fold{
		prefix: prefix, leaders: map[string]candidate{}, copied: map[string]bool{}, broken: map[string]ownership.Damage{},
		conf: ownership.Configuration{
			ClusterID:      clusterID,
			Services:       map[string]ownership.ServiceRecord{},
			Gates:          map[string]ownership.Gate{},
			Agents:         map[string]ownership.AgentRecord{},
			Rivals:         map[string]ownership.Rival{},
			Asks:           map[string]ownership.Ask{},
			Beats:          map[string]ownership.Beat{},
			Evidence:       map[string]ownership.Evidence{},
			Incidents:      map[string]ownership.Incident{},
			Acks:           map[string]ownership.Ack{},
			Debts:          map[string]ownership.Debt{},
			Orders:         map[string]ownership.OrderRecord{},
			Trusts:         map[string]ownership.Trust{},
			RegionIntents:  map[string]ownership.RegionIntent{},
			ServiceIntents: map[string]ownership.ServiceIntent{},
			OrderIntents:   map[string]ownership.OrderIntent{},
			Ignored:        map[string]string{},
		},
	}
}

// at finishes a revision and returns its configuration, which later revisions do not change.
func (f *fold) at(revision int64) ownership.Configuration {
	f.conf.Revision = revision
	f.conf.Leader, f.conf.LeaderSince = "", 0
	for _, c := range f.leaders {
		if f.conf.LeaderSince == 0 || c.created < f.conf.LeaderSince {
			f.conf.LeaderSince, f.conf.Leader = c.created, c.identity
		}
	}
	if f.touched {
		f.conf.Damage = f.damage()
	}
	f.touched = false
	clear(f.copied)
	return f.conf
}

// damage returns what of this content nobody can have agreed on.
func (f *fold) damage() []ownership.Damage {
	var out []ownership.Damage
	for _, key := range slices.Sorted(maps.Keys(f.broken)) {
		out = append(out, f.broken[key])
	}
	for _, d := range f.conf.Unsound() {
		if _, told := f.broken[d.Key]; !told {
			out = append(out, d)
		}
	}
	return out
}

// apply applies one key's change. It takes whatever is there: what a person writes must not end a
// process. A value that cannot be read is left out and named, as damage if it was agreed on: to go on
// without it would be to act on a configuration that nobody agreed on.
func (f *fold) apply(kv *mvccpb.KeyValue, deleted bool) {
	key := strings.TrimPrefix(string(kv.GetKey()), f.prefix)
	dir, name := split(key)
	f.ignore(key, "")
	delete(f.broken, key)
	f.touched = f.touched || agreed(dir)
	if dir != keyView && dir != keyHeld && dir != keyBallot && dir != dirLeader && !validName.MatchString(name) {
		f.ignore(key, gone(deleted, "it is no name that anything has"))
		return
	}
	var edited error
	if checked(dir) && !deleted {
		edited = verify(kv.GetValue())
	}
	// What was edited is left out: it may say anything.
	err := f.applyTo(dir, name, kv, deleted || edited != nil)
	switch {
	case edited != nil:
		f.broken[key] = ownership.Damage{Key: key, What: edited.Error()}
	case err == nil:
	case agreed(dir):
		f.broken[key] = ownership.Damage{Key: key, What: fmt.Sprintf("it cannot be read: %v", err), Foreign: true}
	default:
		f.ignore(key, err.Error())
	}
}

// ignore notes why a key is not acted on, or with an empty why that it is.
func (f *fold) ignore(key, why string) {
	if f.conf.Ignored[key] == why {
		return
	}
	if !f.copied["ignored"] {
		f.conf.Ignored = maps.Clone(f.conf.Ignored)
		f.copied["ignored"] = true
	}
	if why == "" {
		delete(f.conf.Ignored, key)
		return
	}
	f.conf.Ignored[key] = why
}

// gone returns nothing to say of a key that was deleted.
func gone(deleted bool, why string) string {
	if deleted {
		return ""
	}
	return why
}

// agreed reports whether a directory holds what the leader has committed, or who may beat.
func agreed(dir string) bool {
	switch dir {
	case keyView, dirService, dirGate, dirDebt, dirOrder, dirIncident:
		return true
	default:
		return false
	}
}

// checked reports whether a directory's records carry checksums: all that decisions are made from. Incidents
// are for people.
func checked(dir string) bool { return agreed(dir) && dir != dirIncident }

func (f *fold) applyTo(dir, name string, kv *mvccpb.KeyValue, deleted bool) error {
	value := kv.GetValue()
	switch dir {
	case dirLeader:
		return f.applyLeader(name, kv, deleted)
	case keyView:
		f.conf.Decided = kv.GetModRevision()
		f.conf.View = ownership.View{}
		if deleted {
			return nil
		}
		return readWhole(value, &f.conf.View)
	case keyHeld:
		f.conf.Held = nil
		if deleted {
			return nil
		}
		return readWhole(value, &f.conf.Held)
	case keyBallot:
		f.conf.Ballot = ownership.Ballot{}
		if deleted {
			return nil
		}
		return readWhole(value, &f.conf.Ballot)
	case dirService:
		f.conf.Decided = kv.GetModRevision()
		return alter(f, dir, &f.conf.Services, name, value, deleted)
	case dirTrust:
		f.conf.Decided = kv.GetModRevision()
		return alter(f, dir, &f.conf.Trusts, name, value, deleted)
	default:
		return f.applyRecord(dir, name, value, deleted)
	}
}

// applyLeader takes in a candidate. One without a session is none of ours: nobody would notice its end.
func (f *fold) applyLeader(name string, kv *mvccpb.KeyValue, deleted bool) error {
	delete(f.leaders, name)
	switch {
	case deleted:
		return nil
	case kv.GetLease() == 0:
		return errors.New("it is a candidate without a session, and nobody can be elected after it: delete it")
	}
	f.leaders[name] = candidate{identity: string(kv.GetValue()), created: kv.GetCreateRevision()}
	return nil
}

// readWhole reads a value, and leaves nothing of one that it cannot read.
func readWhole[T any](value []byte, into *T) error {
	var v T
	if err := json.Unmarshal(value, &v); err != nil {
		return err
	}
	*into = v
	return nil
}

// applyRecord applies a change of what nobody's routing depends on.
func (f *fold) applyRecord(dir, name string, value []byte, deleted bool) error {
	switch dir {
	case dirGate:
		return f.applyGate(name, value, deleted)
	case dirAgent:
		return alter(f, dir, &f.conf.Agents, name, value, deleted)
	case dirRival:
		return alter(f, dir, &f.conf.Rivals, name, value, deleted)
	case dirAsk:
		return alter(f, dir, &f.conf.Asks, name, value, deleted)
	case dirBeat:
		return alter(f, dir, &f.conf.Beats, name, value, deleted)
	case dirEvidence:
		return alter(f, dir, &f.conf.Evidence, name, value, deleted)
	case dirIncident:
		return f.applyIncident(name, value, deleted)
	default:
		return f.applyProposal(dir, name, value, deleted)
	}
}

func (f *fold) applyGate(name string, value []byte, deleted bool) error {
	if err := alter(f, dirGate, &f.conf.Gates, name, value, deleted); err != nil || deleted {
		return err
	}
	if gate := f.conf.Gates[name]; gate.Generation <= 0 {
		delete(f.conf.Gates, name)
		return fmt.Errorf("generation %d is not positive", gate.Generation)
	}
	return nil
}

// applyIncident leaves out an incident that cannot be read: it is for people, and nothing is decided
// from it but whether there is one.
func (f *fold) applyIncident(name string, value []byte, deleted bool) error {
	if err := alter(f, dirIncident, &f.conf.Incidents, name, value, deleted); err != nil {
		f.ignore(dirIncident+name, err.Error())
	}
	return nil
}

// applyProposal applies a change of what is proposed, or said of a change under way.
func (f *fold) applyProposal(dir, name string, value []byte, deleted bool) error {
	switch dir {
	case dirRegionIntent:
		return alter(f, dir, &f.conf.RegionIntents, name, value, deleted)
	case dirServiceIntent:
		return alter(f, dir, &f.conf.ServiceIntents, name, value, deleted)
	case dirOrderIntent:
		return alter(f, dir, &f.conf.OrderIntents, name, value, deleted)
	case dirAck:
		return alter(f, dir, &f.conf.Acks, name, value, deleted)
	case dirDebt:
		return alter(f, dir, &f.conf.Debts, name, value, deleted)
	case dirOrder:
		return alter(f, dir, &f.conf.Orders, name, value, deleted)
	default:
		if deleted {
			return nil
		}
		return errors.New("nothing that this version knows has such a key")
	}
}

// alter changes one record of a map, which is copied before its first change in a revision. One that
// cannot be read is not there.
//
//nolint:gocritic // the pointer is needed: the map itself is replaced by its copy
func alter[T any](f *fold, dir string, m *map[string]T, name string, value []byte, deleted bool) error {
	if !f.copied[dir] {
		*m = maps.Clone(*m)
		f.copied[dir] = true
	}
	if deleted {
		delete(*m, name)
		return nil
	}
	var v T
	if err := json.Unmarshal(value, &v); err != nil {
		delete(*m, name)
		return err
	}
	(*m)[name] = v
	return nil
}

// split cuts a key below the prefix into its directory, with the slash, and the name in it.
func split(key string) (dir, name string) {
	i := strings.LastIndex(key, "/")
	if i < 0 {
		return key, ""
	}
	return key[:i+1], key[i+1:]
}
