package coordination

import (
	"encoding/json"
	"fmt"
	"maps"
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
}

// candidate is one campaigner's key; the lowest create revision leads.
type candidate struct {
	identity string
	created  int64
}

func newFold(prefix string, clusterID uint64) *fold {
	return &fold{
		prefix: prefix, leaders: map[string]candidate{}, copied: map[string]bool{},
		conf: ownership.Configuration{
			ClusterID:      clusterID,
			Services:       map[string]ownership.ServiceRecord{},
			Gates:          map[string]ownership.Gate{},
			Agents:         map[string]ownership.AgentRecord{},
			Asks:           map[string]ownership.Ask{},
			Beats:          map[string]ownership.Beat{},
			Evidence:       map[string]ownership.Evidence{},
			Incidents:      map[string]ownership.Incident{},
			Acks:           map[string]ownership.Ack{},
			Debts:          map[string]ownership.Debt{},
			Orders:         map[string]ownership.OrderRecord{},
			RegionIntents:  map[string]ownership.RegionIntent{},
			ServiceIntents: map[string]ownership.ServiceIntent{},
			OrderIntents:   map[string]ownership.OrderIntent{},
		},
	}
}

// at finishes a revision and returns its configuration, which later revisions do not change.
func (f *fold) at(revision int64) ownership.Configuration {
	f.conf.Revision = revision
	f.conf.Leader = ""
	lowest := int64(0)
	for _, c := range f.leaders {
		if lowest == 0 || c.created < lowest {
			lowest, f.conf.Leader = c.created, c.identity
		}
	}
	clear(f.copied)
	return f.conf
}

// apply applies one key's change. A value that cannot be read is an error that names the key: to
// go on without it would be to act on a configuration that nobody agreed on.
func (f *fold) apply(kv *mvccpb.KeyValue, deleted bool) error {
	key := strings.TrimPrefix(string(kv.GetKey()), f.prefix)
	dir, name := split(key)
	if err := f.applyTo(dir, name, kv, deleted); err != nil {
		return fmt.Errorf("reading %s at revision %d: %w; a newer version may have written it", key, kv.GetModRevision(), err)
	}
	return nil
}

func (f *fold) applyTo(dir, name string, kv *mvccpb.KeyValue, deleted bool) error {
	value := kv.GetValue()
	switch dir {
	case dirLeader:
		if deleted {
			delete(f.leaders, name)
		} else {
			f.leaders[name] = candidate{identity: string(value), created: kv.GetCreateRevision()}
		}
		return nil
	case keyView:
		f.conf.Decided = kv.GetModRevision()
		f.conf.View = ownership.View{}
		if deleted {
			return nil
		}
		return json.Unmarshal(value, &f.conf.View)
	case keyHeld:
		f.conf.Held = nil
		if deleted {
			return nil
		}
		return json.Unmarshal(value, &f.conf.Held)
	case keyBallot:
		f.conf.Ballot = ownership.Ballot{}
		if deleted {
			return nil
		}
		return json.Unmarshal(value, &f.conf.Ballot)
	case dirService:
		f.conf.Decided = kv.GetModRevision()
		return alter(f, dir, &f.conf.Services, name, value, deleted)
	default:
		return f.applyRecord(dir, name, value, deleted)
	}
}

// applyRecord applies a change of what nobody's routing depends on.
func (f *fold) applyRecord(dir, name string, value []byte, deleted bool) error {
	switch dir {
	case dirGate:
		return alter(f, dir, &f.conf.Gates, name, value, deleted)
	case dirAgent:
		return alter(f, dir, &f.conf.Agents, name, value, deleted)
	case dirAsk:
		return alter(f, dir, &f.conf.Asks, name, value, deleted)
	case dirBeat:
		return alter(f, dir, &f.conf.Beats, name, value, deleted)
	case dirEvidence:
		return alter(f, dir, &f.conf.Evidence, name, value, deleted)
	case dirIncident:
		return alter(f, dir, &f.conf.Incidents, name, value, deleted)
	default:
		return f.applyProposal(dir, name, value, deleted)
	}
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
		return nil // a key of a newer version
	}
}

// alter changes one record of a map, which is copied before its first change in a revision.
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
