package lint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
	desired "multiactive.dev/operator/internal/desired/slices"
)

// The paths of fields.
func flowPath(i int) string             { return fmt.Sprintf("spec.flows[%d]", i) }
func classPath(i int) string            { return fmt.Sprintf("spec.dataClasses[%d]", i) }
func readPath(flow, i int) string       { return fmt.Sprintf("%s.reads[%d]", flowPath(flow), i) }
func writePath(flow, i int) string      { return fmt.Sprintf("%s.writes[%d]", flowPath(flow), i) }
func lossPath(flow int) string          { return flowPath(flow) + ".onHomeLoss" }
func syncPath(class, method int) string { return fmt.Sprintf("%s.sync[%d]", classPath(class), method) }

// class returns a class by its name, nil if there is none: another rule says so.
func (p *pass) class(name string) *v1alpha1.DataClass {
	for i := range p.spec.DataClasses {
		if p.spec.DataClasses[i].Name == name {
			return &p.spec.DataClasses[i]
		}
	}
	return nil
}

// flow returns a flow by its name, nil if there is none.
func (p *pass) flow(name string) *v1alpha1.Flow {
	for i := range p.spec.Flows {
		if p.spec.Flows[i].Name == name {
			return &p.spec.Flows[i]
		}
	}
	return nil
}

func anyRegion(f v1alpha1.Flow) bool {
	return cmp.Or(f.ServedBy, v1alpha1.ServedByAnyRegion) == v1alpha1.ServedByAnyRegion
}

// homeLoss is what a flow's requests meet when their home is lost.
func homeLoss(f v1alpha1.Flow) v1alpha1.HomeLossAction {
	if f.OnHomeLoss == nil {
		return v1alpha1.HomeLossReject
	}
	return f.OnHomeLoss.Action
}

func mutable(c v1alpha1.DataClass) bool {
	return cmp.Or(c.Mutability, v1alpha1.Mutable) == v1alpha1.Mutable
}

func global(c v1alpha1.DataClass) bool { return c.Uniqueness == v1alpha1.UniquenessGlobal }

func strong(c v1alpha1.DataClass) bool { return c.Consistency == v1alpha1.ConsistencyStrong }

// has reports whether a class is synchronised by any of the methods.
func has(c v1alpha1.DataClass, methods ...v1alpha1.SyncMethod) bool {
	return slices.ContainsFunc(methods, func(m v1alpha1.SyncMethod) bool { return desired.Sync(c, m) != nil })
}

// replicated reports whether copies of a class are made in other regions before anybody asks for them.
func replicated(c v1alpha1.DataClass) bool {
	return has(c, v1alpha1.SyncMessageQueue, v1alpha1.SyncStorageReplication)
}

// copiers names the methods that make these copies.
func copiers(c v1alpha1.DataClass) string {
	var out []string
	for _, s := range c.Sync {
		if s.Method == v1alpha1.SyncMessageQueue || s.Method == v1alpha1.SyncStorageReplication {
			out = append(out, string(s.Method))
		}
	}
	return strings.Join(out, " and ")
}

// synchronous reports whether every region has what any has accepted of a class: only a store that is consistent by
// itself does that. Unknown comes with the store that would have to be known.
func (p *pass) synchronous(c v1alpha1.DataClass) (answer v1alpha1.WorkState, store string) {
	r := desired.StorageReplication(c)
	if r == nil {
		return v1alpha1.No, ""
	}
	switch d := p.Stores[r.Store]; {
	case d == nil && !p.Complete:
		return v1alpha1.Unknown, r.Store
	case d != nil && d.Spec.Management == v1alpha1.StoreExternal:
		return v1alpha1.Yes, r.Store
	}
	return v1alpha1.No, r.Store
}

// asynchronous says how a class gets to other regions, for messages.
func asynchronous(c v1alpha1.DataClass) string {
	if by := copiers(c); by != "" {
		return "comes there by " + by + ", after the answer"
	}
	return "is not copied there"
}
