package mysql

import (
	"context"
	"errors"
	"fmt"
	"net"

	"multiactive.dev/operator/internal/storage"
)

// pointed is how this process last set a link up.
type pointed struct {
	address, user, password string
	encrypted               bool
}

// Connect implements store.Server.
func (s *Server) Connect(ctx context.Context, w storage.Want, from storage.Source) error {
	return s.noteConnect(from.Region, s.connect(ctx, w, from))
}

func (s *Server) connect(ctx context.Context, w storage.Want, from storage.Source) error {
	host, port, err := net.SplitHostPort(from.Address)
	if err != nil {
		return fmt.Errorf("address %q of region %s is not host:port: %w", from.Address, from.Region, err)
	}
	spoken, err := s.dialect(ctx)
	if err != nil {
		return err
	}
	rows, err := s.status(ctx, spoken)
	if err != nil {
		return err
	}
	link, exists := find(spoken, rows, from.Region)
	who := s.options.Replication
	wanted := pointed{from.Address, who.User, who.Password, who.TLS != nil}
	s.mu.Lock()
	same := exists && s.set[from.Region] == wanted && link.Address == from.Address
	s.mu.Unlock()
	if same && link.Receiving && link.Applying {
		return nil
	}
	at, err := s.place(ctx, spoken)
	if err != nil {
		return err
	}
	if err := s.checkSource(ctx, spoken, w, from, at); err != nil {
		return err
	}
	if err := s.countOwn(ctx, spoken, rows, from, at, link); err != nil {
		return err
	}
	if err := s.do(ctx, spoken.connect(from.Region, host, port, who, exists)); err != nil {
		return s.explain(ctx, fmt.Sprintf("setting up the link from %s", from.Region), err)
	}
	s.mu.Lock()
	s.set[from.Region] = wanted
	s.mu.Unlock()
	return nil
}

// countOwn has the server count its own transactions among what it has applied, where no link runs; where the link that is to be set up
// is refused for them, those that its source has. A link that somebody has stopped since, to seed the server, is not.
func (s *Server) countOwn(ctx context.Context, spoken dialect, rows []map[string]string, from storage.Source, at place, link storage.Link) error {
	if f := link.Fault; f != nil && f.Kind == storage.FaultPurged && spoken.asksForOwn() && link.Applying && link.Address == from.Address {
		return s.goOn(ctx, spoken, from, at)
	}
	own := spoken.knowOwn(at.own, at.here, at.applied)
	if own == nil || !idle(spoken, rows) {
		return nil
	}
	return s.explain(ctx, counting, s.do(ctx, []statement{*own}))
}

const counting = "counting the server's own changes among those that it has"

// goOn counts among what the server has applied those of its own transactions that a source has. A source that was seeded, and has
// replicated since, has them in its binary log from the seed on alone; where the server stood before that, it would be sent them
// anew, and the source refuses it (error 1236), though nothing is lacking. All links stand still for that moment. Where there are none,
// the source was behind when it refused the link: in a mesh that is just set up a server may have a third one's changes sooner.
// The link is tried anew then, and says itself when that was not it: checkSource has found that nothing is lacking.
func (s *Server) goOn(ctx context.Context, spoken dialect, from storage.Source, at place) error {
	var there place
	if err := s.asReplica(ctx, from.Address, func(p *pool) (err error) {
		there, err = placeOf(ctx, p, spoken)
		return err
	}); err != nil {
		return s.explain(ctx, "asking the server of "+from.Region+" how much it has of this region's changes", err)
	}
	own := spoken.knowOwnOf(at.own, at.here, at.applied, there.here)
	if own == nil {
		return nil
	}
	started, err := s.halt(ctx, spoken, nil)
	if err == nil {
		err = s.do(ctx, []statement{*own})
	}
	return s.explain(ctx, counting, errors.Join(err, s.do(ctx, started)))
}

// Pause implements store.Server.
func (s *Server) Pause(ctx context.Context, from string) error {
	spoken, err := s.dialect(ctx)
	if err != nil {
		return err
	}
	if exists, err := s.exists(ctx, spoken, from); err != nil || !exists {
		return err
	}
	return s.explain(ctx, fmt.Sprintf("stopping the link from %s", from), s.do(ctx, spoken.pause(from)))
}

// Disconnect implements store.Server. A source keeps nothing for those that read from it.
func (s *Server) Disconnect(ctx context.Context, _ storage.Want, from string) error {
	spoken, err := s.dialect(ctx)
	if err != nil {
		return err
	}
	if exists, err := s.exists(ctx, spoken, from); err != nil || !exists {
		return err
	}
	return s.explain(ctx, fmt.Sprintf("removing the link from %s", from), s.do(ctx, spoken.disconnect(from)))
}

// do runs statements in order, in sessions without a binary log.
func (s *Server) do(ctx context.Context, all []statement) error {
	for _, one := range all {
		if _, err := s.local.exec(ctx, one.text, one.args...); err != nil {
			return err
		}
	}
	return nil
}

// exists tells whether there is a link from a region.
func (s *Server) exists(ctx context.Context, spoken dialect, region string) (bool, error) {
	rows, err := s.status(ctx, spoken)
	if err != nil {
		return false, err
	}
	_, found := find(spoken, rows, region)
	return found, nil
}

// find looks for one link.
func find(spoken dialect, rows []map[string]string, region string) (storage.Link, bool) {
	for _, row := range rows {
		if name, link, _ := spoken.link(row); name == region {
			return link, true
		}
	}
	return storage.Link{}, false
}

// idle tells whether no link runs, or tries to.
func idle(spoken dialect, rows []map[string]string) bool {
	for _, row := range rows {
		if _, link, _ := spoken.link(row); !link.Stopped {
			return false
		}
	}
	return true
}

// links reads all that are the operator's, and those that make it superfluous.
func (s *Server) links(spoken dialect, rows []map[string]string, at whereabouts, w storage.Want) map[string]storage.Link {
	all := make(map[string]storage.Link, len(rows))
	for _, row := range rows {
		name, link, received := spoken.link(row)
		region, ok := s.whose(w, name, userOf(row), link.Address)
		if !ok {
			continue
		}
		link.Received = -1
		if origin, ok := at.origins[region]; ok {
			link.Received = max(received[origin], at.positions[region])
		}
		if fault := link.Fault; fault != nil {
			switch fault.Kind {
			case storage.FaultPurged:
				link.Bootstrap, link.Mendable = bootstrap(spoken, region, link.Address, fault.Message), spoken.asksForOwn()
			case storage.FaultConflict, storage.FaultOther:
				fault.Remedy += " Then: " + spoken.start(name)
			default: // it goes on by itself
			}
		}
		all[region] = link
	}
	return all
}

func userOf(row map[string]string) string { return row["Master_User"] + row["Source_User"] }

// whose is the region that a link comes from. Links of others are left alone: those that are named after no region
// and log in as another user. Where the operator makes none itself, a link is known by its address.
func (s *Server) whose(w storage.Want, name, user, address string) (string, bool) {
	mine := s.options.Replication.User
	if numberOf(w, name) > 0 || (mine != "" && user == mine) {
		return name, true
	}
	if mine == "" {
		for _, source := range w.Sources {
			if source.Address == address {
				return source.Region, true
			}
		}
	}
	return "", false
}

// foreignFindings tells of links of others.
func (s *Server) foreignFindings(spoken dialect, rows []map[string]string, w storage.Want) []storage.Finding {
	var found []storage.Finding
	for _, row := range rows {
		name, link, _ := spoken.link(row)
		if _, ok := s.whose(w, name, userOf(row), link.Address); !ok {
			found = append(found, storage.Finding{
				Check: "link " + quote(name), Problem: fmt.Sprintf("The server replicates from %s as well, by the link %s, which the operator did not make "+
					"and leaves alone: what comes from there reaches all regions. Remove it if that is not meant.", link.Address, quote(name)),
			})
		}
	}
	return found
}
