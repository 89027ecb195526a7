package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Options describe a world.
type Options struct {
	// Name of the world's directory below the one that Main has made; worlds of one test program differ in it.
	Name string
	// Regions, one to five.
	Regions []string
	// Images are archives that every node gets before anything runs; one has PauseImage.
	Images []string
	// DNS is the image of CoreDNS that runs in every cluster; empty: names are not resolved.
	DNS string
	// Watched are groups of users whose every request is logged, for Cluster.Denied.
	Watched []string
}

// World is the clusters of all regions and the network between them.
type World struct {
	options  Options
	dir      string
	network  *network
	clusters []*Cluster
}

// New prepares a world and starts nothing. There can be one at a time.
func New(o Options) (*World, error) {
	if os.Getenv(stageEnv) != stageTest {
		return nil, errors.New("whole clusters need namespaces of their own: call cluster.Main in TestMain")
	}
	if len(o.Regions) == 0 || len(o.Regions) > 5 {
		return nil, fmt.Errorf("a world has one to five regions, not %d", len(o.Regions))
	}
	w := &World{options: o, dir: filepath.Join(os.Getenv(dirEnv), o.Name)}
	var err error
	if w.network, err = newNetwork(); err != nil {
		return nil, err
	}
	for i, name := range o.Regions {
		c, err := newCluster(w, name, i+1)
		if err != nil {
			return nil, err
		}
		w.clusters = append(w.clusters, c)
	}
	return w, nil
}

// Clusters are those of all regions, in the order of Options.Regions.
func (w *World) Clusters() []*Cluster { return slices.Clone(w.clusters) }

// Cluster is that of one region, or nil.
func (w *World) Cluster(region string) *Cluster {
	i := slices.IndexFunc(w.clusters, func(c *Cluster) bool { return c.Name == region })
	if i < 0 {
		return nil
	}
	return w.clusters[i]
}

// Dir is the world's directory: <region>/logs, <region>/pods, <region>/kubeconfig.
func (w *World) Dir() string { return w.dir }

// Shared is the directory that has what Cluster.Shared makes.
func (w *World) Shared() string { return filepath.Join(w.dir, "shared") }

// Start starts all clusters, with their images and DNS.
func (w *World) Start(ctx context.Context) error {
	tasks := make([]func() error, 0, len(w.clusters))
	for _, c := range w.clusters {
		tasks = append(tasks, func() error {
			if err := c.Start(ctx); err != nil {
				return err
			}
			if err := c.Import(ctx, w.options.Images...); err != nil {
				return err
			}
			if w.options.DNS == "" {
				return nil
			}
			return c.startDNS(ctx, w.options.DNS)
		})
	}
	return together(tasks...)
}

// Stop ends every process of every region, and its network.
func (w *World) Stop() error {
	tasks := make([]func() error, 0, len(w.clusters))
	for _, c := range w.clusters {
		tasks = append(tasks, c.end)
	}
	return errors.Join(together(tasks...), w.network.clear())
}
