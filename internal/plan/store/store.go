// Package store decides what a region's member does with its server of a DataStore, and reports on the
// server and its links: values in, values out. It must never plan a step that copies, skips or discards
// data that nobody has accepted to lose, and never tell a lag that was not measured.
package store

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/storage"
)

// Defaults where a service declares nothing.
const (
	DefaultObjective = 5 * time.Minute
	DefaultOutage    = time.Hour
)

// Declared is one store as a region acts on it.
type Declared struct {
	// Slice that is acted on: of all that services were handed, the newest.
	Slice v1alpha1.StoreSlice
	// Endpoint is this region's.
	Endpoint v1alpha1.StoreEndpoint
	// Want is what the server is to be.
	Want storage.Want
	// Objective is the strictest staleness objective of the services that share the store.
	Objective time.Duration
	// Outages that classes mean to sit through.
	Outages []ClassOutage
	// Services that use the store, by UID, sorted.
	Services []string
	// Leaving: no service uses the store any more, and its links are taken down.
	Leaving bool
	// Disagreed are tables for which classes declare different conflict policies: there a person decides.
	Disagreed []string
}

// ClassOutage is the outage that a data class of a service means to sit through.
type ClassOutage struct {
	Class  string
	Outage time.Duration
}

// Managed reports whether the operator sets replication up, and not only watches it.
func (d *Declared) Managed() bool { return d.Slice.Management == v1alpha1.StoreManaged }

// Merge returns the stores of a region by name, from the services whose slices are acted on.
func Merge(services []v1alpha1.RegionalService, region string) map[string]*Declared {
	out := map[string]*Declared{}
	for i := range services {
		rs := &services[i]
		if rs.Spec.Region != region {
			continue
		}
		for j := range rs.Spec.Stores {
			add(out, rs, &rs.Spec.Stores[j], region)
		}
	}
	for _, d := range out {
		d.complete(region)
	}
	return out
}

// Leave returns a store that no service in the region uses any more, as it was handed to them last; nil when the region
// has no server of it, or its replication is not the operator's.
func Leave(s v1alpha1.StoreSlice, region string) *Declared {
	last := v1alpha1.RegionalService{Spec: v1alpha1.RegionalServiceSpec{Region: region, Stores: []v1alpha1.StoreSlice{s}}}
	d := Merge([]v1alpha1.RegionalService{last}, region)[s.Name]
	if d == nil || !d.Managed() {
		return nil
	}
	d.Leaving, d.Services = true, nil
	d.lead("")
	return d
}

func add(out map[string]*Declared, rs *v1alpha1.RegionalService, s *v1alpha1.StoreSlice, region string) {
	i := slices.IndexFunc(s.Endpoints, func(e v1alpha1.StoreEndpoint) bool { return e.Region == region })
	if i < 0 || s.Management == v1alpha1.StoreExternal {
		return
	}
	d := out[s.Name]
	if d == nil {
		d = &Declared{Slice: *s, Endpoint: s.Endpoints[i]}
		out[s.Name] = d
	}
	if newer(s, &d.Slice) {
		d.Slice, d.Endpoint = *s, s.Endpoints[i]
	}
	d.Services = append(d.Services, rs.Spec.ServiceID)
	for _, c := range s.Classes {
		d.Want.Tables = append(d.Want.Tables, c.Tables...)
		d.conflicts(c)
		objective, outage := DefaultObjective, DefaultOutage
		if c.Objective != nil {
			objective = c.Objective.Duration
		}
		if c.Outage != nil {
			outage = c.Outage.Duration
		}
		if d.Objective == 0 || objective < d.Objective {
			d.Objective = objective
		}
		d.Want.Outage = max(d.Want.Outage, outage)
		d.Outages = append(d.Outages, ClassOutage{c.Name, outage})
	}
}

// newer orders slices of one name. Of two stores that had the name after each other, which cannot be told by their
// generations, any is taken: the services are told alike soon.
func newer(a, b *v1alpha1.StoreSlice) bool {
	return cmp.Or(cmp.Compare(a.Generation, b.Generation), strings.Compare(a.StoreID, b.StoreID)) > 0
}

func (d *Declared) complete(region string) {
	w := &d.Want
	w.Store, w.Region = d.Slice.Name, region
	w.Mesh = d.Slice.Topology.Type == v1alpha1.TopologyMesh
	if !w.Mesh && d.Slice.Engine == v1alpha1.EnginePostgreSQL {
		w.Conflicts, d.Disagreed = nil, nil // a PostgreSQL that was the primary is not taken back to what others have
	}
	slices.Sort(d.Services)
	d.Services = slices.Compact(d.Services)
	slices.Sort(w.Tables)
	w.Tables = slices.Compact(w.Tables)
	slices.SortFunc(w.Conflicts, func(a, b storage.ConflictPolicy) int { return strings.Compare(a.Table, b.Table) })
	slices.Sort(d.Disagreed)
	d.Disagreed = slices.Compact(d.Disagreed)
	for _, e := range d.Slice.Endpoints {
		w.Regions = append(w.Regions, e.Region)
	}
	d.lead(d.Slice.Topology.Primary)
}

// Others are all servers of the store but the region's own.
func (d *Declared) Others() []storage.Source {
	var out []storage.Source
	for _, e := range d.Slice.Endpoints {
		if e.Region != d.Want.Region {
			out = append(out, storage.Source{Region: e.Region, Address: e.Address})
		}
	}
	return out
}

// Led returns the store with another region as the one that is written to, "" for none. For a mesh nothing changes.
func (d *Declared) Led(primary string) *Declared {
	out := *d
	out.lead(primary)
	return &out
}

// lead has the region that is written to, "" for none, say where changes come from.
func (d *Declared) lead(primary string) {
	w := &d.Want
	w.Writable = w.Mesh || primary == w.Region
	w.Sources = nil
	if d.Leaving {
		return
	}
	for _, e := range d.Slice.Endpoints {
		if e.Region != w.Region && (w.Mesh || e.Region == primary && !w.Writable) {
			w.Sources = append(w.Sources, storage.Source{Region: e.Region, Address: e.Address})
		}
	}
}

// WantAt is what the server of a source is to be.
func (d *Declared) WantAt(source string) storage.Want {
	other := *d
	other.Want.Region = source
	other.lead(source)
	return other.Want
}

// StepKind names a step.
type StepKind string

// The steps.
const (
	// StepMend carries out the statements of Findings.
	StepMend StepKind = "Mend"
	// StepPrepare makes the operator's own schema and user.
	StepPrepare StepKind = "Prepare"
	// StepConnect sets the link from Source up, repairs or starts it.
	StepConnect StepKind = "Connect"
	// StepPause stops the link From a region.
	StepPause StepKind = "Pause"
	// StepDisconnect removes the link From a region.
	StepDisconnect StepKind = "Disconnect"
)

// Step is one idempotent step. Only the fields of its kind are set.
type Step struct {
	Kind     StepKind
	Findings []storage.Finding
	Source   storage.Source
	From     string
}

// Seen is what a decision depends on.
type Seen struct {
	Observation storage.Observation
	// Paused are the source regions whose links somebody has paused.
	Paused map[string]bool
	// Held are the source regions that were lost, and from which nothing is to come before that is settled.
	Held map[string]string
	// Renewed says that the credentials are others than those that links were set up with.
	Renewed bool
}

// Steps compares what a server is to be with what it is. Links that are set up stay while something is found that
// keeps new ones from being made.
func Steps(d *Declared, seen Seen) []Step {
	var out []Step
	o := seen.Observation
	if !d.Managed() {
		if !o.Prepared {
			return []Step{{Kind: StepPrepare}}
		}
		return nil
	}
	blocked := false
	var mend []storage.Finding
	for _, f := range o.Findings {
		switch {
		case f.Online && f.Statement != "" && d.Slice.ManageSettings == v1alpha1.ChoiceYes:
			mend = append(mend, f)
		case f.Blocks:
			blocked = true
		}
	}
	if len(mend) > 0 {
		out = append(out, Step{Kind: StepMend, Findings: mend})
	}
	if !o.Prepared || seen.Renewed {
		out = append(out, Step{Kind: StepPrepare})
	}
	for _, source := range d.Want.Sources {
		if step, due := linkStep(source, o.Links, seen, blocked); due {
			out = append(out, step)
		}
	}
	for _, from := range slices.Sorted(maps.Keys(o.Links)) {
		if !slices.ContainsFunc(d.Want.Sources, func(s storage.Source) bool { return s.Region == from }) {
			out = append(out, Step{Kind: StepDisconnect, From: from})
		}
	}
	return out
}

// linkStep returns what is due for the link from a source.
func linkStep(source storage.Source, links map[string]storage.Link, seen Seen, blocked bool) (Step, bool) {
	connect := Step{Kind: StepConnect, Source: source}
	link, exists := links[source.Region]
	switch {
	case seen.Paused[source.Region]:
		return Step{Kind: StepPause, From: source.Region}, exists && !link.Stopped
	case seen.Held[source.Region] != "":
		return Step{}, false // whoever settles it has taken the link down
	case !exists:
		return connect, !blocked
	case link.Address != source.Address, seen.Renewed, link.Stopped:
		return connect, true
	case link.Fault != nil:
		// What the engine tries again by itself is left to it.
		return connect, link.Mendable || link.Fault.Kind == storage.FaultDisk || link.Fault.Kind == storage.FaultCredentials
	}
	return Step{}, false
}
