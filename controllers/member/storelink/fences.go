package storelink

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/storekeeper"
)

// refence is how often fences are reckoned without news, for services that came or went.
const refence = time.Second

// Fences has the fences in the region's stores follow the agreed configuration, in the member's process.
type Fences struct {
	// Client reads from a cache.
	Client  client.Reader
	Region  string
	Agent   Agent
	Keepers *storekeeper.Keepers
	Clock   clock.WithTicker
	Log     logr.Logger

	// last has the specs that were acted on, by <namespace>/<name>: one whose next slice is not acted on yet goes by them.
	last map[string]*v1alpha1.RegionalServiceSpec
}

// Start follows until ctx ends.
func (f *Fences) Start(ctx context.Context) error {
	news, cancel := f.Agent.Subscribe()
	defer cancel()
	ticker := f.Clock.NewTicker(refence)
	defer ticker.Stop()
	for {
		if err := f.once(ctx); err != nil && ctx.Err() == nil {
			f.Log.Error(err, "The fences could not be reckoned; they stay as they are, and are reckoned again.")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-news:
		case <-ticker.C():
		}
	}
}

func (f *Fences) once(ctx context.Context) error {
	c, known := f.Agent.Snapshot()
	if !known {
		return nil
	}
	services, held, err := acted(ctx, f.Client, f.Region)
	if err != nil {
		return err
	}
	specs := map[string]*v1alpha1.RegionalServiceSpec{}
	for i := range services {
		specs[nameOf(&services[i])] = &services[i].Spec
	}
	for i := range held {
		last := f.last[nameOf(&held[i])]
		if last == nil && len(held[i].Spec.Stores) > 0 && held[i].Status.ActedStamp != nil {
			return nil // what it was acted on by is not known: its rows stay, and nothing counts as fenced
		}
		if last != nil {
			specs[nameOf(&held[i])] = last
		}
	}
	stores, primaries := map[string]map[string]storage.Fences{}, map[string]string{}
	for name, spec := range specs {
		fences := regional.Fences(name, spec, c)
		for _, s := range spec.Stores {
			if stores[s.Name] == nil {
				stores[s.Name] = map[string]storage.Fences{}
			}
			stores[s.Name][name] = fences
			primary := regional.Primary(spec, &s, c)
			if other, told := primaries[s.Name]; told && other != primary {
				primary = "" // two services share what one writes to: the hub hands it to one of them
			}
			primaries[s.Name] = primary
		}
	}
	f.last = specs
	f.Keepers.SetFences(c, stores, primaries)
	return nil
}

func nameOf(rs *v1alpha1.RegionalService) string { return rs.Namespace + "/" + rs.Name }
