package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"multiactive.dev/operator/internal/ownca"
	"multiactive.dev/operator/internal/peertls"
	"multiactive.dev/operator/internal/routing"
)

// Names of the ways between two regions.
const (
	namePlainHop  = "HTTP, signed"
	nameMutualHop = "mutual TLS, signed"
)

// hopFigures are those of one way between regions: rounds at full speed, and at half of that speed beside rounds without
// any proxy.
type hopFigures struct {
	figures
	direct []result
	rate   float64
}

// measureHops measures requests whose users are at home in the other region: they pass a gateway here, one there, and
// reach the upstream there.
func measureHops(ctx context.Context, o *options, w *world, gateway string) ([]hopFigures, error) {
	var out []hopFigures
	for _, name := range []string{namePlainHop, nameMutualHop} {
		f, err := measureHop(ctx, o, w, name, gateway)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		progress("forwarded over %s: %.0f requests per second, at half of that p50 %s, p99 %s", name, f.perSecond(), f.p50(), f.p99())
		out = append(out, f)
	}
	return out, nil
}

func measureHop(ctx context.Context, o *options, w *world, name, gateway string) (hopFigures, error) {
	f := hopFigures{figures: figures{name: name}}
	c, err := startHop(ctx, w, name, gateway)
	if c != nil {
		defer c.stop()
	}
	if err != nil {
		return f, err
	}
	for range o.rounds {
		r, err := fullSpeed(ctx, o, c, w.remote)
		if err != nil {
			return f, fmt.Errorf("at full speed: %w", err)
		}
		f.full = append(f.full, r)
	}
	f.rate = f.perSecond() / 2
	direct := &contender{name: nameDirect, address: w.upstream[there].Addr().String(), direct: true, key: w.remote[0]}
	for range o.rounds {
		for who, rounds := range map[*contender]*[]result{c: &f.half, direct: &f.direct} {
			r, err := load(ctx, o, who, w.remote, f.rate)
			if err != nil {
				return f, fmt.Errorf("at %.0f requests per second, %s: %w", f.rate, who.name, err)
			}
			*rounds = append(*rounds, r)
		}
	}
	return f, nil
}

// startHop starts a gateway in each region.
func startHop(ctx context.Context, w *world, name, gateway string) (*contender, error) {
	at := map[string]*place{here: {}, there: {}}
	for region, p := range at {
		var err error
		if p.listen, err = freeAddress(); err != nil {
			return nil, err
		}
		if p.peers, err = freeAddress(); err != nil {
			return nil, err
		}
		if name == nameMutualHop {
			if err := p.certify(filepath.Join(w.dir, "peer-"+region), region); err != nil {
				return nil, err
			}
		}
	}
	var front *contender
	for _, region := range []string{there, here} {
		cfg := w.routing()
		cfg.Region, cfg.Upstream, cfg.PlainHopsRefused = region, w.url(region), name == nameMutualHop
		for i := range cfg.Regions {
			at[cfg.Regions[i].Name].declare(&cfg.Regions[i])
		}
		url, stop, err := serve(agentOf(cfg))
		if err != nil {
			return front, err
		}
		c, err := startGateway(ctx, url, name, gateway, append(at[region].args, "--listen="+at[region].listen)...)
		if err != nil {
			stop()
			return front, err
		}
		c.address, c.stops, c.behind, front = at[region].listen, stop, front, c
	}
	front.key = w.remote[0]
	return front, w.await(ctx, front)
}

// place is where the gateway of a region is.
type place struct {
	listen, peers string
	// authorities are empty without mutual TLS.
	authorities string
	args        []string
}

// certify gives it a certificate of an authority of its region.
func (p *place) certify(dir, region string) error {
	authority, err := ownca.ForGateways(region)(time.Now(), 24*time.Hour)
	if err != nil {
		return err
	}
	cert, key, err := authority.Issue(peertls.ID{Region: region, Namespace: "bench", Name: "bench"}, time.Now(), 12*time.Hour)
	if err != nil {
		return err
	}
	p.authorities = string(ownca.PEM(authority.Certificate))
	p.args = []string{"--peer-listen=" + p.peers, "--peer-tls-dir=" + dir}
	return writeFiles(dir, map[string][]byte{peertls.FileCertificate: cert, peertls.FileKey: key})
}

// declare tells the gateways how to reach it.
func (p *place) declare(r *routing.Region) {
	r.Endpoint = "http://" + p.listen
	if p.authorities != "" {
		r.PeerEndpoint, r.Authorities = "https://"+p.peers, p.authorities
	}
}
