package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

const (
	here, there = "here", "there"
	keyHeader   = "X-User-Phone"
	// keysChecked are sent through every contender before it is measured.
	keysChecked = 400
)

// world is what all contenders have in common: two regions' applications, and who is at home where.
type world struct {
	dir      string
	upstream map[string]*upstream
	agentURL string
	stop     func()
	// local and remote are users at home here and there.
	local, remote []string
}

func newWorld(dir string) (*world, error) {
	w := &world{dir: dir, upstream: map[string]*upstream{}}
	for _, name := range []string{here, there} {
		var err error
		if w.upstream[name], err = newUpstream(name); err != nil {
			return nil, err
		}
	}
	for i := range keysChecked {
		key := fmt.Sprintf("138%08d", i)
		if ownerOf(ownership.Slot(key)) == here {
			w.local = append(w.local, key)
		} else {
			w.remote = append(w.remote, key)
		}
	}
	var err error
	w.agentURL, w.stop, err = serve(agentOf(w.routing()))
	return w, err
}

func (w *world) close() {
	w.stop()
	for _, u := range w.upstream {
		_ = u.Close()
	}
}

// ownerOf returns the region that serves a slot's users.
func ownerOf(slot int) string {
	return ownership.Rank(slot, []ownership.WeightedRegion{{Name: here, Weight: 1}, {Name: there, Weight: 1}})[0]
}

// agentOf stands for a region's agent: it gives the gateway its routing and renews its lease.
func agentOf(cfg *routing.Config) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		answer := routing.Answer{Version: "v1", Revision: 1, LeaseRemaining: 10 * time.Second}
		if r.URL.Query().Get(routing.ParamVersion) == "" {
			answer.Config = cfg
		} else {
			select {
			case <-r.Context().Done():
			case <-time.After(routing.MaxWait):
			}
		}
		_ = json.NewEncoder(rw).Encode(answer)
	})
}

// routing is a service whose every request is a home write, keyed by a header.
func (w *world) routing() *routing.Config {
	region := func(name string) routing.Region {
		return routing.Region{Name: name, Weight: 1, State: ownership.RegionServing, Endpoint: w.url(name)}
	}
	return &routing.Config{
		Namespace: "bench", Name: "bench", UID: "bench", Region: here, Epoch: 1, Upstream: w.url(here),
		Regions: []routing.Region{region(here), region(there)},
		Keys:    []routing.Key{{Name: "phone", From: []routing.Source{{Type: routing.SourceHeader, Name: keyHeader}}}},
		Flows: []routing.Flow{{
			Name: "all", Key: "phone", HomeRegion: true, OnHomeLoss: "Reject", Match: []routing.Match{{Path: "/"}},
		}},
		PeerKey: []byte("0123456789abcdef0123456789abcdef"),
	}
}

func (w *world) url(region string) string { return "http://" + w.upstream[region].Addr().String() }

// request is what users send.
func request(address, key string) []byte {
	return fmt.Appendf(nil, "GET /v1/profile HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n%s: %s\r\n\r\n", address, keyHeader, key)
}

// check sends users of both regions through a contender and looks who answers them.
func (w *world) check(ctx context.Context, c *contender) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	buf := make([]byte, 8<<10)
	for region, keys := range map[string][]string{here: w.local, there: w.remote} {
		if c.direct && region == there {
			continue
		}
		for _, key := range keys {
			if _, err := conn.Write(request(c.address, key)); err != nil {
				return err
			}
			head, err := readAnswer(conn, buf)
			if err != nil {
				return err
			}
			if !strings.Contains(strings.ToLower(string(head)), strings.ToLower(upstreamHeader+": "+region+"\r\n")) {
				return fmt.Errorf("a user at home %s was sent elsewhere; the answer's head is %q", region, head)
			}
		}
	}
	return nil
}

// await waits until a contender serves.
func (w *world) await(ctx context.Context, c *contender) error {
	last := errors.New("it did not start")
	for range 600 {
		if last = w.check(ctx, c); last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.ended:
			return fmt.Errorf("%s ended: %w\n%s", c.name, c.err, c.log.String())
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s: %w\n%s", c.name, last, c.log.String())
}
