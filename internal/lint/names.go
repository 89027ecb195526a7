package lint

import (
	"fmt"
	"slices"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
)

// names finds what the declaration names and nobody declares, and requests of two flows.
func (p *pass) names() {
	p.sameRequests()
	for i, f := range p.spec.Flows {
		if f.Key != "" && !p.hasKey(f.Key) {
			p.unknownKey(flowPath(i)+".key", "flow "+f.Name, f.Key)
		}
		for _, uses := range []struct {
			field string
			names []string
		}{{"reads", f.Reads}, {"writes", f.Writes}} {
			for j, name := range uses.names {
				if p.class(name) == nil {
					p.tell(fmt.Sprintf("%s.%s[%d]", flowPath(i), uses.field, j), "name a class of spec.dataClasses, or declare it there",
						"flow %s %s class %s, and there is none", f.Name, uses.field, name)
				}
			}
		}
		for j, name := range f.DependsOn {
			if p.flow(name) == nil {
				p.tell(fmt.Sprintf("%s.dependsOn[%d]", flowPath(i), j), "name a flow of spec.flows", "flow %s depends on flow %s, and there is none", f.Name, name)
			}
		}
	}
	if u := p.spec.Unmatched; u != nil && u.Key != "" && !p.hasKey(u.Key) {
		p.unknownKey("spec.unmatched.key", "unmatched", u.Key)
	}
	p.announcedNames()
	p.homeNames()
	p.platformNames()
}

// announcedNames looks at what announcements are for.
func (p *pass) announcedNames() {
	for i, a := range p.spec.Announcements {
		for j, name := range a.Flows {
			if name != "*" && p.flow(name) == nil {
				p.tell(fmt.Sprintf("spec.announcements[%d].flows[%d]", i, j), `name a flow of spec.flows, or "*"`, "an announcement is for flow %s, and there is none", name)
			}
		}
	}
}

// homeNames looks at where classes are at home.
func (p *pass) homeNames() {
	for i, c := range p.spec.DataClasses {
		if c.Home == nil {
			continue
		}
		if c.Home.Key != "" && !p.hasKey(c.Home.Key) {
			p.unknownKey(classPath(i)+".home.key", "the home of class "+c.Name, c.Home.Key)
		}
		if c.Home.Pinned == nil {
			continue
		}
		for j, name := range c.Home.Pinned.Regions {
			if !slices.ContainsFunc(p.spec.Regions, func(r v1alpha1.ServiceRegion) bool { return r.Name == name }) {
				p.tell(fmt.Sprintf("%s.home.pinned.regions[%d]", classPath(i), j), "name a region of spec.regions",
					"the home of class %s is pinned to region %s, which the service does not run in", c.Name, name)
			}
		}
	}
}

// platformNames looks at what other objects have to be there for.
func (p *pass) platformNames() {
	for i, r := range p.spec.Regions {
		path := fmt.Sprintf("spec.regions[%d].name", i)
		switch {
		case p.Regions[r.Name] != nil:
		case p.Complete:
			p.tell(path, "name a Region that is there, or create it", "the service runs in region %s, and there is no Region of that name", r.Name)
		default:
			p.needs(path, "Region "+r.Name)
		}
	}
	p.methods(v1alpha1.SyncStorageReplication, func(path string, c v1alpha1.DataClass, s v1alpha1.SyncPolicy) {
		if s.StorageReplication == nil || p.Stores[s.StorageReplication.Store] != nil {
			return
		}
		path += ".storageReplication.store"
		if !p.Complete {
			p.needs(path, "DataStore "+s.StorageReplication.Store)
			return
		}
		p.tell(path, "name a DataStore that is there, or create it", "class %s is in DataStore %s, and there is none of that name", c.Name, s.StorageReplication.Store)
	})
}

func (p *pass) hasKey(name string) bool {
	return p.spec.Partition != nil && slices.ContainsFunc(p.spec.Partition.Keys, func(k v1alpha1.PartitionKey) bool { return k.Name == name })
}

func (p *pass) unknownKey(path, who, name string) {
	p.tell(path, "name a key of spec.partition.keys, or declare it there", "%s: there is no key %s", who, name)
}

// sameRequests finds matches that are the same but for the names of variables: the first one declared gets the requests.
func (p *pass) sameRequests() {
	first := map[string]int{}
	for i, f := range p.spec.Flows {
		for j, m := range f.Match {
			requests := requestsOf(m)
			k, taken := first[requests]
			if !taken {
				first[requests] = i
				continue
			}
			if k != i {
				p.tell(fmt.Sprintf("%s.match[%d]", flowPath(i), j), "remove one of the two, or make one more specific",
					"flows %s and %s match the same requests: %s", p.spec.Flows[k].Name, f.Name, strings.TrimSpace(m.Method+" "+m.Host+m.Path))
			}
		}
	}
}

// requestsOf names the requests of a match.
func requestsOf(m v1alpha1.RequestMatch) string {
	segments := strings.Split(m.Path, "/")
	for i, s := range segments {
		if strings.HasPrefix(s, "{") {
			segments[i] = "{}"
		}
	}
	return strings.ToLower(m.Host) + " " + m.Method + " " + strings.Join(segments, "/")
}
