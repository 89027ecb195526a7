package topic

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Decide compares what is declared with what was observed.
func Decide(want Desired, seen Observed) Plan {
	if n := invalid(want, seen); n != nil {
		return Plan{Refused: n}
	}
	if want.Adoption == AdoptionObserve {
		return observe(want, seen)
	}
	var p Plan
	if n := owned(want, seen); n != nil {
		return Plan{Refused: n}
	}
	if seen.Claim == nil || *seen.Claim != want.Owner {
		p.Steps = append(p.Steps, Step{Kind: StepClaim})
	}
	if !seen.Exists {
		return create(p, want, seen)
	}
	p = raise(p, want, seen)
	return replicated(repair(p, want, seen), want, seen)
}

// replicated tells of a topic that has fewer copies than are declared, for as long as it has.
func replicated(p Plan, want Desired, seen Observed) Plan {
	if declared := declaredFactor(want); seen.ReplicationFactor > 0 && seen.ReplicationFactor < declared {
		p.Notes = append(p.Notes, Note{ReasonReplicationLowered, fmt.Sprintf(
			"topic %s has replication factor %d instead of %d; with %d brokers or more, reassign its replicas to survive the loss of one",
			want.Name, seen.ReplicationFactor, declared, declared)})
	}
	return p
}

func declaredFactor(want Desired) int {
	return cmp.Or(max(want.ReplicationFactor, 0), DefaultReplicationFactor)
}

func invalid(want Desired, seen Observed) *Note {
	switch {
	case want.Name == "":
		return &Note{ReasonInvalid, "the topic has no name"}
	case want.Partitions < 1:
		return &Note{ReasonInvalid, fmt.Sprintf("topic %s: partitions is %d; declare at least 1", want.Name, want.Partitions)}
	case want.Retention > 0 && want.Retention < MinRetention:
		return &Note{ReasonInvalid, fmt.Sprintf("topic %s: with retention %s Kafka deletes records before anybody has read them; declare at least %s", want.Name, want.Retention, MinRetention)}
	case !slices.Contains([]Adoption{"", AdoptionCreate, AdoptionAdopt, AdoptionObserve}, want.Adoption):
		return &Note{ReasonInvalid, fmt.Sprintf("topic %s: adoption %q is unknown; use Create, Adopt or Observe", want.Name, want.Adoption)}
	case seen.Brokers < 1:
		return &Note{ReasonInvalid, fmt.Sprintf("topic %s: no broker was seen", want.Name)}
	}
	return nil
}

// owned refuses a topic that belongs to someone else.
func owned(want Desired, seen Observed) *Note {
	claim := seen.Claim
	switch {
	case claim != nil && claim.sameService(want.Owner):
		return nil
	case claim != nil && claim.before(want.Owner):
		return &Note{ReasonConflict, fmt.Sprintf("topic %s belongs to the older service %s/%s; name another topic, or remove it there",
			want.Name, claim.Namespace, claim.Name)}
	case claim != nil:
		return nil // the claimant is newer and gets TopicConflict itself
	case seen.Exists && want.Adoption != AdoptionAdopt:
		return &Note{ReasonNotOurs, fmt.Sprintf("topic %s exists and was not made by this operator; set adoption: Adopt to manage it, or adoption: Observe to use it as it is",
			want.Name)}
	}
	return nil
}

func create(p Plan, want Desired, seen Observed) Plan {
	rf := factor(want, seen)
	if declared := declaredFactor(want); declared > rf {
		p.Notes = append(p.Notes, Note{ReasonReplicationLowered, fmt.Sprintf(
			"topic %s is made with replication factor %d instead of %d, because there are only %d broker(s); add brokers and reassign its replicas to survive the loss of one",
			want.Name, rf, declared, seen.Brokers)})
	}
	cfg := configs(want)
	cfg["min.insync.replicas"] = strconv.Itoa(minInsync(rf))
	if seen.Claim != nil && *seen.Claim == want.Owner {
		p.Notes = append(p.Notes, Note{ReasonRemade, fmt.Sprintf(
			"topic %s was missing although this service has claimed it, and was made again, empty: if somebody has deleted it, what was in it and had not been mirrored is lost (see the links' condition Retained in the other regions)",
			want.Name)})
	}
	p.Notes = append(p.Notes, Note{ReasonCreating, fmt.Sprintf("topic %s does not exist yet and is being made", want.Name)})
	p.Steps = append(p.Steps, Step{Kind: StepCreate, Partitions: want.Partitions, ReplicationFactor: rf, Configs: cfg})
	return p
}

func raise(p Plan, want Desired, seen Observed) Plan {
	switch {
	case want.Partitions < seen.Partitions:
		p.Refused = &Note{ReasonPartitionsLowered, fmt.Sprintf(
			"topic %s has %d partitions and %d are declared; Kafka cannot remove partitions: declare %d, or use a new topic",
			want.Name, seen.Partitions, want.Partitions, seen.Partitions)}
	case want.Partitions > seen.Partitions && want.OrderedByKey:
		p.Refused = &Note{ReasonPartitionsOrdered, fmt.Sprintf(
			"topic %s keeps records in order by key and has %d partitions; more would move keys and break the order: declare %d, or use a new topic",
			want.Name, seen.Partitions, seen.Partitions)}
	case want.Partitions > seen.Partitions:
		p.Steps = append(p.Steps, Step{Kind: StepRaisePartitions, Partitions: want.Partitions})
	}
	return p
}

func repair(p Plan, want Desired, seen Observed) Plan {
	differ := drift(want, seen)
	// The replicas that exist bound what can be in sync: two of one would stop
	// every write.
	insync := strconv.Itoa(minInsync(seen.ReplicationFactor))
	if seen.Configs["min.insync.replicas"] != insync {
		differ["min.insync.replicas"] = insync
	}
	if len(differ) == 0 {
		return p
	}
	p.Steps = append(p.Steps, Step{Kind: StepAlterConfig, Configs: differ})
	p.Notes = append(p.Notes, Note{ReasonDriftRepaired, fmt.Sprintf("topic %s: %s; set to what the service declares", want.Name, difference(differ, seen))})
	return p
}

// observe reports and never changes.
func observe(want Desired, seen Observed) Plan {
	if !seen.Exists {
		return Plan{Refused: &Note{ReasonMissing, fmt.Sprintf("topic %s is observed and does not exist; make it, or set adoption: Create", want.Name)}}
	}
	var faults []string
	if seen.Partitions != want.Partitions {
		faults = append(faults, fmt.Sprintf("partitions is %d, declared %d", seen.Partitions, want.Partitions))
	}
	if d := drift(want, seen); len(d) > 0 {
		faults = append(faults, difference(d, seen))
	}
	if len(faults) > 0 {
		return Plan{Refused: &Note{ReasonDiffers, fmt.Sprintf("topic %s is observed and differs: %s; change the topic or the declaration", want.Name, strings.Join(faults, "; "))}}
	}
	return Plan{Notes: []Note{{ReasonObserved, fmt.Sprintf("topic %s is as declared and is only observed", want.Name)}}}
}

// configs are the values the declaration fixes; all others stay the broker's.
func configs(want Desired) map[string]string {
	out := map[string]string{"cleanup.policy": "delete"}
	if want.Compact {
		out["cleanup.policy"] = "compact"
	}
	switch {
	case want.Retention > 0:
		out["retention.ms"] = strconv.FormatInt(want.Retention.Milliseconds(), 10)
	case want.Retention < 0:
		out["retention.ms"] = "-1"
	}
	return out
}

func drift(want Desired, seen Observed) map[string]string {
	out := configs(want)
	maps.DeleteFunc(out, func(k, v string) bool { return seen.Configs[k] == v })
	return out
}

// difference prints what was found, sorted, for a message.
func difference(differ map[string]string, seen Observed) string {
	parts := make([]string, 0, len(differ))
	for _, k := range slices.Sorted(maps.Keys(differ)) {
		found, ok := seen.Configs[k]
		if !ok {
			found = "unset"
		}
		parts = append(parts, fmt.Sprintf("%s was %s, declared %s", k, found, differ[k]))
	}
	return strings.Join(parts, ", ")
}

// minInsync lets one replica be away while a write still reaches another: 2
// of 3. With one or two replicas it is 1, because a higher number would turn
// the loss of one broker into refused writes.
func minInsync(replicationFactor int) int {
	if replicationFactor >= 3 {
		return 2
	}
	return 1
}
