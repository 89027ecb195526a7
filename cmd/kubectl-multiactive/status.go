package main

import (
	"context"
	"fmt"
	"strconv"
	"text/tabwriter"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
)

const statusUsage = `kubectl multiactive coordination status shows, for every region, which coordination store it has followed
and how far, whether it refuses the store that answers now, and what else is wrong with it there: damaged
content, a full disk, certificates that expire, another member of the same name. Each since when, and what to do.

Exit code 3 when a region refuses a store, is in trouble with it or cannot be read.`

// leaseMapper knows the one kind that is read in regions.
func leaseMapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	m.Add(coordinationv1.SchemeGroupVersion.WithKind("Lease"), meta.RESTScopeNamespace)
	return m
}

func status(ctx context.Context, o *hubOptions, t terminal) error {
	regions, err := o.connect(ctx, t)
	if err != nil {
		return err
	}
	return show(t, o.look(ctx, regions))
}

// show prints what regions say, and returns errAttention when something is to be done.
func show(t terminal, all []standing) error {
	attention := false
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "REGION\tSTORE\tREVISION\tEPOCH\tSTATE")
	for i := range all {
		s := &all[i]
		state := stateOf(s)
		attention = attention || state != stateFollows && state != stateFresh
		id, revision, epoch := "-", "-", "-"
		if s.problem == nil && !s.fresh {
			id = storeID(s.kept.Position.ClusterID)
			revision = strconv.FormatInt(s.kept.Position.Revision, 10)
			epoch = strconv.FormatInt(max(s.kept.Epoch, s.kept.AboveEpoch), 10)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.region, id, revision, epoch, state)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for i := range all {
		explain(t, &all[i])
	}
	if attention {
		return errAttention
	}
	return nil
}

// The states of a region.
const (
	stateUnread   = "NotRead"
	stateFresh    = "NoneYet"
	stateRestored = "RestoredUnderOldIdentity"
	stateRefuses  = "Refuses"
	stateTrouble  = "Trouble"
	stateFollows  = "Follows"
)

func stateOf(s *standing) string {
	switch {
	case s.problem != nil:
		return stateUnread
	case s.fresh:
		return stateFresh
	case s.kept.Restored && (s.refusedID == 0 || s.refusedID == s.kept.Position.ClusterID):
		return stateRestored
	case s.refusedID != 0:
		return stateRefuses
	case s.trouble != "":
		return stateTrouble
	default:
		return stateFollows
	}
}

// explain says what a line of the table means, unless all is well.
func explain(t terminal, s *standing) {
	switch stateOf(s) {
	case stateUnread:
		_, _ = fmt.Fprintf(t.out, "\n%s: its cluster could not be read: %v\n", s.region, s.problem)
	case stateRestored:
		_, _ = fmt.Fprintf(t.out, "\n%s: refuses its store since %s: %s\n", s.region, s.since, s.refused)
	case stateRefuses:
		_, _ = fmt.Fprintf(t.out, "\n%s: refuses store %016x since %s: %s\n  If that is the store to follow: kubectl multiactive coordination adopt --cluster-id=%016x\n",
			s.region, s.refusedID, s.since, s.refused, s.refusedID)
	}
	if s.trouble != "" {
		_, _ = fmt.Fprintf(t.out, "\n%s: in trouble with the store since %s: %s\n", s.region, s.troubleSince, s.trouble)
	}
	if s.word != "" {
		_, _ = fmt.Fprintf(t.out, "%s: was told to adopt %s; %s\n", s.region, s.word, orElse(s.answer, "its member has not answered yet"))
	}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func storeID(id uint64) string { return fmt.Sprintf("%016x", id) }
