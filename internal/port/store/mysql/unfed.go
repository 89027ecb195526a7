package mysql

import (
	"errors"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// unfed is what a server has shown of whether it has to be seeded. The Server's mutex guards it.
type unfed struct {
	// refused are the regions from which nothing can come before that, as setting the links up has shown.
	refused map[string]bool
	// receives: some link was connected to its source when it was last looked. purged: one of them cannot go on.
	receives, purged bool
}

// mute reports whether the operator writes no canaries: the server receives from nobody, and has to be seeded. What it writes itself
// meanwhile its source does not have, and no seed can take back (errors 1947 and 3546).
func (s *Server) mute() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.unfed.receives && (s.unfed.purged || len(s.unfed.refused) > 0)
}

// noteConnect takes what came of setting a link up.
func (s *Server) noteConnect(region string, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, needed := errors.AsType[*store.BootstrapError](err); !needed {
		delete(s.unfed.refused, region)
		return err
	}
	if s.unfed.refused == nil {
		s.unfed.refused = map[string]bool{}
	}
	s.unfed.refused[region] = true
	return err
}

// noteLinks takes what links say.
func (s *Server) noteLinks(links map[string]storage.Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unfed.receives, s.unfed.purged = false, false
	for _, link := range links {
		s.unfed.receives = s.unfed.receives || link.Receiving
		s.unfed.purged = s.unfed.purged || link.Bootstrap != nil
	}
}
