package coordination

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"multiactive.dev/operator/internal/ownership"
)

// maxBeat is more beats than any region will have had.
const maxBeat = 1 << 60

// Registration is the right of one incarnation of a region's agent to write (R1). It ends when
// another incarnation registers.
type Registration struct {
	store    *Store
	region   string
	record   ownership.AgentRecord
	revision int64
	// beats is the number of the region's last beat before the registration.
	beats int64
}

// RegisterAgent makes the incarnation the region's acting agent, whoever was that before.
// aboveEpoch is what the record's AboveEpoch says.
func (s *Store) RegisterAgent(ctx context.Context, region, incarnation string, aboveEpoch int64) (*Registration, error) {
	return s.Register(ctx, region, ownership.AgentRecord{Incarnation: incarnation, AboveEpoch: aboveEpoch}, 0)
}

// Register makes the record's incarnation the region's acting agent: the one before can write nothing
// from here on. The incarnation must be new, never repeated. With still, a revision at which the one
// before was seen to have ended, it is refused when an agent of the region has registered or beaten since.
func (s *Store) Register(ctx context.Context, region string, record ownership.AgentRecord, still int64) (*Registration, error) {
	if err := checkName("region", region); err != nil {
		return nil, err
	}
	var beat ownership.Beat
	_, there, err := s.read(ctx, s.prefix+dirBeat+region, &beat)
	if err != nil {
		return nil, fmt.Errorf("registering the agent of region %s: %w", region, err)
	}
	if !there || beat.N < 0 || beat.N > maxBeat {
		beat.N = 0 // somebody has edited it: any other number is a new beat
	}
	r := &Registration{store: s, region: region, beats: beat.N, record: record}
	var guards []guard
	if still > 0 {
		guards = []guard{unwrittenSince(GuardAgent, r.key(dirAgent), still), unwrittenSince(GuardBeat, r.key(dirBeat), still)}
	}
	revision, err := s.write(ctx, dirAgent+region, guards, put{r.key(dirAgent), r.record})
	if err != nil {
		return nil, fmt.Errorf("registering the agent of region %s: %w", region, err)
	}
	r.revision = revision
	return r, nil
}

// Incarnation returns the registered incarnation.
func (r *Registration) Incarnation() string { return r.record.Incarnation }

// LastBeat returns the number of the region's last beat before the registration.
func (r *Registration) LastBeat() int64 { return r.beats }

// Beat commits beat n (R3): refused unless the gate is open in the generation that from shows and
// this incarnation still acts. The caller's lease counts from before the call.
func (r *Registration) Beat(ctx context.Context, from ownership.Configuration, n int64) (int64, error) {
	if !from.Gates[r.region].Open {
		return 0, &GuardError{Write: dirBeat + r.region, Failed: []string{GuardGate}}
	}
	beat := ownership.Beat{N: n, Incarnation: r.record.Incarnation}
	return r.store.write(ctx, dirBeat+r.region, r.admitted(from), put{r.key(dirBeat), beat})
}

// PutEvidence writes what the region sees of the others, if it differs. Its gate must be open.
func (r *Registration) PutEvidence(ctx context.Context, from ownership.Configuration, e ownership.Evidence) (int64, error) {
	if !from.Gates[r.region].Open {
		return 0, &GuardError{Write: dirEvidence + r.region, Failed: []string{GuardGate}}
	}
	return r.store.writeChanged(ctx, dirEvidence+r.region, r.admitted(from), put{r.key(dirEvidence), e})
}

// Ask asks the leader to open the gate that from shows closed or missing (R5).
func (r *Registration) Ask(ctx context.Context, from ownership.Configuration) (int64, error) {
	ask := ownership.Ask{Generation: from.Gates[r.region].Generation, Incarnation: r.record.Incarnation}
	return r.store.writeChanged(ctx, dirAsk+r.region, r.guards(from), put{r.key(dirAsk), ask})
}

// PutAck says what the region has done of the change that from shows (R8), if it differs. Its gate must
// be open. The view may change meanwhile: an acknowledgement counts for the epoch that it names.
func (r *Registration) PutAck(ctx context.Context, from ownership.Configuration, a ownership.Ack) (int64, error) {
	if !from.Gates[r.region].Open {
		return 0, &GuardError{Write: dirAck + r.region, Failed: []string{GuardGate}}
	}
	a.Incarnation = r.record.Incarnation
	return r.store.writeChanged(ctx, dirAck+r.region, r.admitted(from), put{r.key(dirAck), a})
}

// PutTrust says what the region's gateways show others and whom they believe, if it differs. A region whose
// gate is closed may say it too.
func (r *Registration) PutTrust(ctx context.Context, t ownership.Trust) (int64, error) {
	guards := []guard{writtenAt(GuardAgent, r.key(dirAgent), r.revision)}
	return r.store.writeChanged(ctx, dirTrust+r.region, guards, put{r.key(dirTrust), t})
}

func (r *Registration) guards(from ownership.Configuration) []guard {
	return []guard{
		writtenAt(GuardAgent, r.key(dirAgent), r.revision),
		unwrittenSince(GuardGate, r.key(dirGate), from.Revision),
	}
}

// admitted demands besides that the gate is there: one that was deleted was not written since, and whoever
// has read the store meanwhile takes the region for fenced.
func (r *Registration) admitted(from ownership.Configuration) []guard {
	return append(r.guards(from), exists(GuardGate, r.key(dirGate)))
}

func (r *Registration) key(dir string) string { return r.store.prefix + dir + r.region }

// PutRegionIntent proposes a region, if the proposal differs from the one in the store.
func (s *Store) PutRegionIntent(ctx context.Context, i ownership.RegionIntent) (int64, error) {
	if err := checkName("region", i.Name); err != nil {
		return 0, err
	}
	return s.writeChanged(ctx, dirRegionIntent+i.Name, nil, put{s.prefix + dirRegionIntent + i.Name, i})
}

// PutServiceIntent proposes a service, if the proposal differs from the one in the store.
func (s *Store) PutServiceIntent(ctx context.Context, i ownership.ServiceIntent) (int64, error) {
	if err := checkName("service UID", i.UID); err != nil {
		return 0, err
	}
	return s.writeChanged(ctx, dirServiceIntent+i.UID, nil, put{s.prefix + dirServiceIntent + i.UID, i})
}

// PutOrderIntent proposes what a person ordered, if the proposal differs from the one in the store.
func (s *Store) PutOrderIntent(ctx context.Context, i ownership.OrderIntent) (int64, error) {
	if err := checkName("order", i.Name); err != nil {
		return 0, err
	}
	return s.writeChanged(ctx, dirOrderIntent+i.Name, nil, put{s.prefix + dirOrderIntent + i.Name, i})
}

// DeleteOrderIntent withdraws an order. One that is not there is no error.
func (s *Store) DeleteOrderIntent(ctx context.Context, name string) (int64, error) {
	if err := checkName("order", name); err != nil {
		return 0, err
	}
	return s.commit(ctx, dirOrderIntent+name, nil, clientv3.OpDelete(s.prefix+dirOrderIntent+name))
}

// DeleteRegionIntent withdraws the proposal. One that is not there is no error.
func (s *Store) DeleteRegionIntent(ctx context.Context, name string) (int64, error) {
	if err := checkName("region", name); err != nil {
		return 0, err
	}
	return s.commit(ctx, dirRegionIntent+name, nil, clientv3.OpDelete(s.prefix+dirRegionIntent+name))
}

// DeleteServiceIntent withdraws the proposal. One that is not there is no error.
func (s *Store) DeleteServiceIntent(ctx context.Context, uid string) (int64, error) {
	if err := checkName("service UID", uid); err != nil {
		return 0, err
	}
	return s.commit(ctx, dirServiceIntent+uid, nil, clientv3.OpDelete(s.prefix+dirServiceIntent+uid))
}
