package mysql

import (
	"context"
	"errors"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// Observe implements store.Server.
func (s *Server) Observe(ctx context.Context, w storage.Want) (storage.Observation, error) {
	var seen storage.Observation
	spoken, version, err := s.ask(ctx)
	if err != nil {
		return seen, err
	}
	seen.Version = version
	if err := s.plain.row(ctx, "SELECT NOT @@GLOBAL.read_only", nil, &seen.Writable); err != nil {
		return seen, s.explain(ctx, "reading read_only", err)
	}
	if !spoken.supports(version) {
		seen.Findings = []storage.Finding{tooOld(spoken, version)}
		return seen, nil
	}
	if seen.Prepared, err = s.prepared(ctx, spoken, w); err != nil {
		return seen, err
	}
	at, err := s.whereabouts(ctx, spoken, w.Region)
	if err != nil {
		return seen, err
	}
	seen.Positions = at.positions
	rows, err := s.status(ctx, spoken)
	switch {
	case errors.Is(err, errStuck):
		seen.Links = stuckLinks(w)
	case err != nil:
		return seen, err
	default:
		seen.Links = s.links(spoken, rows, at, w)
		s.noteLinks(seen.Links)
	}
	if seen.Retained, err = s.retained(ctx); err != nil {
		return seen, err
	}
	f := facts{want: w, origins: at.origins, own: at.own, written: at.written}
	seen.Findings, err = s.findings(ctx, spoken, f, rows)
	return seen, err
}

// prepared tells whether Prepare has nothing to do.
func (s *Server) prepared(ctx context.Context, spoken dialect, w storage.Want) (bool, error) {
	there, err := s.hasSchema(ctx)
	if err != nil {
		return false, s.explain(ctx, "looking for the operator's tables", err)
	}
	if !there || s.options.Replication.User == "" {
		return there, nil
	}
	there, err = s.hasUser(ctx, spoken, w)
	return there, s.explain(ctx, "logging in as the user that others replicate as", err)
}

// lacks returns which privileges the operator's user does not have, nil when it has all.
func (s *Server) lacks(ctx context.Context) *store.PrivilegeError {
	s.mu.Lock()
	spoken := s.spoken
	s.mu.Unlock()
	if spoken == nil {
		return nil
	}
	if granted, err := grantsOf(ctx, s.plain); err == nil {
		return s.lacking(spoken, granted)
	}
	return nil
}
