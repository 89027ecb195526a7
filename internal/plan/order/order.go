// Package order says what the statuses of several kinds have to say of orders: what waits for one, and
// how a person gives it. It is pure. It must never decide anything: what becomes of an order is the
// leader's part.
package order

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
)

const (
	// maxName is what the coordination store takes as a name.
	maxName = 253
	// hashLength is the number of hexadecimal digits behind an order's name.
	hashLength = 8
)

// Name returns the name under which the coordination store knows an Operation. One that is made anew
// under the same name is another order.
func Name(o *v1alpha1.Operation) string {
	sum := sha256.Sum256([]byte(o.UID))
	name := o.Name[:min(len(o.Name), maxName-hashLength-1)]
	return name + "-" + hex.EncodeToString(sum[:])[:hashLength]
}

// SharedName returns the name under which the coordination store knows an Operation in peer mode: the same
// in whatever clusters it is applied, which makes them one order.
func SharedName(o *v1alpha1.Operation) string {
	sum := sha256.Sum256([]byte(o.Name))
	name := o.Name[:min(len(o.Name), maxName-hashLength-1)]
	return name + "-" + hex.EncodeToString(sum[:])[:hashLength]
}

// Command returns the shell command that gives an order. service may be nil.
func Command(kind v1alpha1.OperationType, region string, service *v1alpha1.ServiceKey) string {
	spec := map[string]any{"type": kind}
	about := region
	if region != "" {
		spec["region"] = region
	}
	if service != nil {
		spec["service"] = service
		about = service.Name
	}
	manifest, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "Operation",
		"metadata": map[string]any{"generateName": strings.ToLower(string(kind)) + "-" + about + "-"},
		"spec":     spec,
	})
	if err != nil {
		panic("order: a map of strings always marshals: " + err.Error())
	}
	return fmt.Sprintf("kubectl create -f - <<< '%s'", manifest)
}

// operation returns the name of the Operation that the coordination store knows under a name.
func operation(name string) string { return name[:max(0, len(name)-hashLength-1)] }

// Abort returns the shell command that ends a drill.
func Abort(name string) string {
	return "kubectl patch operations.multiactive.dev " + name + ` --type=merge -p '{"spec":{"drill":{"course":"Abort"}}}'`
}

// Drill says of a region that it is out for a drill, or on its way back from one; "" when it is neither.
func Drill(rec ownership.RegionRecord) string {
	switch {
	case rec.Drill == "":
		return ""
	case rec.State == ownership.RegionDrained:
		return "the region is out for a drill, Operation " + operation(rec.Drill) + ", and comes back by itself; to end that now: " + Abort(operation(rec.Drill))
	case rec.State == ownership.RegionReturning:
		return "the region was out for a drill, Operation " + operation(rec.Drill) + ", and takes its keys back by itself once it has caught up"
	}
	return ""
}

// AwaitsHandback reports whether a service waits for a person before a region that has returned, or is
// new, owns its keys (R12). One that was out for a drill gets them by itself.
func AwaitsHandback(c ownership.Configuration, region string, s ownership.ServiceRecord) bool {
	rec := c.View.Regions[region]
	return rec.State == ownership.RegionReturning && rec.Drill == "" && concerns(s, region) && s.Handback != ownership.HandbackAutomatic &&
		!slices.Contains(s.Excluded, region) && s.HandedBack[region] != rec.ReturnedEpoch
}

// AwaitsApproval reports whether nobody takes over the keys of a lost region for a service before a
// person has approved it.
func AwaitsApproval(c ownership.Configuration, region string, s ownership.ServiceRecord) bool {
	rec := c.View.Regions[region]
	return rec.State == ownership.RegionLost && rec.Unshipped && concerns(s, region) && s.Manual && s.Approved[region] != rec.LostEpoch
}

func concerns(s ownership.ServiceRecord, region string) bool {
	return !s.Deleted && (len(s.Regions) == 0 || slices.Contains(s.Regions, region))
}

// Services returns the services for which holds is true, as namespace/name, sorted.
func Services(c ownership.Configuration, region string, holds func(ownership.Configuration, string, ownership.ServiceRecord) bool) []string {
	var out []string
	for _, uid := range slices.Sorted(maps.Keys(c.Services)) {
		if s := c.Services[uid]; holds(c, region, s) {
			out = append(out, s.Namespace+"/"+s.Name)
		}
	}
	slices.Sort(out)
	return out
}

// listed bounds how many names a message has.
const listed = 10

// List writes names for a message.
func List(names []string) string {
	if len(names) <= listed {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:listed], ", ") + " and others"
}
