package redis

import (
	"context"
	"fmt"
	"slices"
	"time"

	"multiactive.dev/operator/internal/storage"
)

// probeTimeout bounds how long an observation waits for the source of a link that does not run.
const probeTimeout = time.Second

// Observe implements store.Server. For a link that does not run it asks the source, for a second: the server does not tell why.
func (s *Server) Observe(ctx context.Context, w storage.Want) (storage.Observation, error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	seen, err := s.observe(ctx, w)
	return seen, s.explain("observing the server", err)
}

func (s *Server) observe(ctx context.Context, w storage.Want) (storage.Observation, error) {
	var seen storage.Observation
	i, err := readInfo(ctx, s.client)
	if err != nil {
		return seen, err
	}
	seen.Version = i["redis_version"]
	if !supported(seen.Version) {
		seen.Findings = []storage.Finding{tooOld(seen.Version)}
		return seen, nil
	}
	settings, err := s.settings(ctx)
	if err != nil {
		return seen, err
	}
	seen.Writable = !i.replica() && settings.number(replicasToWrite) < shutBy
	seen.Retained = s.retained(i, settings)
	seen.Findings = findings(w, i, settings, seen.Retained)
	if open, err := s.openFinding(ctx); err != nil {
		return seen, err
	} else if open != nil {
		seen.Findings = append(seen.Findings, *open)
	}
	if seen.Prepared, err = s.userReady(ctx); err != nil {
		return seen, err
	}
	// A server that takes no writes cannot name its data yet, and is not kept from becoming the primary by that.
	if named, err := s.lineageReady(ctx, w); err != nil {
		return seen, err
	} else if !named && seen.Writable {
		seen.Prepared = false
	}
	seen.Links = map[string]storage.Link{}
	if i.replica() {
		region, err := s.sourceRegion(ctx, w)
		if err != nil {
			return seen, err
		}
		seen.Links[region] = s.link(ctx, region, i, settings)
	}
	seen.Positions, err = s.positions(ctx, w, i)
	return seen, err
}

// sourceRegion is the region that a replica reads from: the one that is wanted, or, where none is, the one whose
// canary is the newest.
func (s *Server) sourceRegion(ctx context.Context, w storage.Want) (string, error) {
	if len(w.Sources) > 0 {
		return w.Sources[0].Region, nil
	}
	regions, _, err := readCanaries(ctx, s.client, nil)
	if err != nil {
		return "", err
	}
	_, canaries, err := readCanaries(ctx, s.client, regions)
	if err != nil {
		return "", err
	}
	canaries = slices.DeleteFunc(canaries, func(c storage.Canary) bool { return c.Region == w.Region })
	if len(canaries) > 0 {
		return slices.MaxFunc(canaries, func(a, b storage.Canary) int { return a.Time.Compare(b.Time) }).Region, nil
	}
	for _, region := range w.Regions {
		if region != w.Region {
			return region, nil
		}
	}
	return "", nil
}

func (s *Server) link(ctx context.Context, region string, i info, settings settings) storage.Link {
	up := i["master_link_status"] == "up"
	link := storage.Link{
		Address: i.source(), Receiving: up || i["master_sync_in_progress"] == "1", Applying: up,
		Stopped: settings["masteruser"] == pausedUser, Received: max(i.number("slave_read_repl_offset"), i.number("slave_repl_offset")),
	}
	if link.Stopped {
		link.Receiving, link.Applying = false, false
	}
	if !link.Stopped && !link.Receiving {
		link.Fault = s.fault(ctx, region, i, settings)
	}
	return link
}

// fault finds out why a link does not run.
func (s *Server) fault(ctx context.Context, region string, i info, settings settings) *storage.Fault {
	if i["rdb_last_bgsave_status"] == "err" || i["aof_last_write_status"] == "err" {
		return &storage.Fault{Kind: storage.FaultDisk, Message: "the server cannot write to its disk", Remedy: "Give the server's disk room: the link goes on by itself."}
	}
	credentials := &storage.Fault{Kind: storage.FaultCredentials, Code: "WRONGPASS",
		Remedy: fmt.Sprintf("Let region %s accept user %s with the password of the store's Secret; the operator sets both when it prepares the servers.", region, s.options.Replication.User)}
	if settings["masteruser"] != s.options.Replication.User || settings["masterauth"] != s.options.Replication.Password {
		credentials.Message = "the server logs in at its source with another user or password than the store's"
		return credentials
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	client := newClient(i.source(), s.options.Replication, probeTimeout)
	defer func() { _ = client.Close() }()
	err := client.Ping(ctx).Err()
	if refused(err) || says(err, "NOPERM") {
		credentials.Message = s.message(err.Error())
		return credentials
	}
	fault := &storage.Fault{Kind: storage.FaultConnection, Remedy: "Nothing as long as the source is away: the link goes on when it answers. Otherwise look at its address."}
	if err != nil {
		fault.Message = s.message(err.Error())
		return fault
	}
	if i.number("master_link_down_since_seconds") <= int64(probeTimeout/time.Second)*2 {
		return nil // it is about to connect
	}
	fault.Message = fmt.Sprintf("the server is not connected to %s, which answers the operator", i.source())
	return fault
}

// Positions implements store.Server. They are offsets of the primary's log, which a replica that takes over goes
// on with; a replica writes nothing of its own.
func (s *Server) Positions(ctx context.Context, w storage.Want) (storage.Positions, error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	i, err := readInfo(ctx, s.client)
	if err != nil {
		return nil, s.explain("reading positions", err)
	}
	positions, err := s.positions(ctx, w, i)
	return positions, s.explain("reading positions", err)
}

func (s *Server) positions(ctx context.Context, w storage.Want, i info) (storage.Positions, error) {
	if !i.replica() {
		return storage.Positions{w.Region: i.number("master_repl_offset")}, nil
	}
	region, err := s.sourceRegion(ctx, w)
	if err != nil {
		return nil, err
	}
	return storage.Positions{w.Region: 0, region: i.number("slave_repl_offset")}, nil
}
