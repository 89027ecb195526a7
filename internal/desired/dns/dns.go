// Package dns builds the DNSEndpoint from which ExternalDNS makes a service's records: one for each region that
// users are to be sent to, all under one name.
//
// It is written without ExternalDNS's types: a handful of fields is needed, and the schema of the cluster that it is
// written into checks them. It is pure. It must never build an object without a record: what becomes of a name
// without one, resolvers remember.
//
// What fields mean is from ExternalDNS's own documentation of 0.23.
package dns

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
)

// Kind that is written, and the resource that a cluster has for it.
var Kind = schema.GroupVersionKind{Group: "externaldns.k8s.io", Version: "v1alpha1", Kind: "DNSEndpoint"}

// Resource is the name of its definition.
const Resource = "dnsendpoints.externaldns.k8s.io"

const (
	// propertyWeight is the one way that ExternalDNS documents to weigh records, and only providers that know it
	// act on it.
	propertyWeight = "aws/weight"
	// maxWeight is the highest that it takes.
	maxWeight = 255
	// defaultWeight is that of a region that declares none.
	defaultWeight = 100
	defaultTTL    = 30 * time.Second
)

// Types of records.
const (
	typeName = "CNAME"
	typeIPv4 = "A"
	typeIPv6 = "AAAA"
)

// Empty returns the object of a service without content, to read it into.
func Empty(mas *v1alpha1.MultiActiveService) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	obj.SetGroupVersionKind(Kind)
	obj.SetNamespace(mas.Namespace)
	obj.SetName(mas.Name)
	return obj
}

// Endpoint returns the DNSEndpoint of a service that declares dns, with the records of the given regions in the order
// in which the service declares them. owner is the UID of the service's object in the cluster that it is for.
func Endpoint(mas *v1alpha1.MultiActiveService, owner types.UID, regions []string) *unstructured.Unstructured {
	obj := Empty(mas)
	obj.SetLabels(map[string]string{regional.LabelManagedBy: regional.ManagedBy, regional.LabelService: mas.Name})
	obj.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "MultiActiveService", Name: mas.Name, UID: owner, Controller: ptr.To(true),
	}})
	weigh := weigher(mas.Spec.Regions)
	records := []any{}
	for _, r := range mas.Spec.Regions {
		if !slices.Contains(regions, r.Name) {
			continue
		}
		kind, target := targetOf(r.Endpoint)
		records = append(records, map[string]any{
			"dnsName": mas.Spec.DNS.Host, "recordType": kind, "targets": []any{target}, "recordTTL": seconds(mas.Spec.DNS.TTL),
			"setIdentifier":    r.Name,
			"providerSpecific": []any{map[string]any{"name": propertyWeight, "value": strconv.Itoa(weigh(r))}},
		})
	}
	obj.Object["spec"] = map[string]any{"endpoints": records}
	return obj
}

// Owned reports whether an object was made for this service, also for an earlier one of the same name.
func Owned(obj *unstructured.Unstructured, mas *v1alpha1.MultiActiveService) bool {
	owner := metav1.GetControllerOfNoCopy(obj)
	return regional.Made(obj) && obj.GetLabels()[regional.LabelService] == mas.Name &&
		(owner == nil || owner.Kind == "MultiActiveService" && owner.Name == mas.Name)
}

// UpToDate reports whether live says what want does, and has no record more.
func UpToDate(want, live *unstructured.Unstructured) (bool, error) {
	same, err := regional.UpToDate(want, live)
	return same && reflect.DeepEqual(want.Object["spec"], live.Object["spec"]), err
}

// Flaw says why the endpoints of a service's regions cannot be records of the name that it declares; empty when they
// can.
func Flaw(spec v1alpha1.MultiActiveServiceSpec) string {
	var names, addresses []string
	for _, r := range spec.Regions {
		kind, target := targetOf(r.Endpoint)
		switch {
		case target == spec.DNS.Host:
			return fmt.Sprintf("regions[%s].endpoint has the host %s, which is dns.host, and no name leads to itself: give the region's gateways "+
				"a name of their own", r.Name, target)
		case kind == typeName:
			names = append(names, r.Name)
		default:
			addresses = append(addresses, r.Name)
		}
	}
	if len(names) > 0 && len(addresses) > 0 {
		return fmt.Sprintf("the endpoints of %s are names and those of %s are addresses, and no name may have records of both kinds: "+
			"give the latter names as well", strings.Join(names, ", "), strings.Join(addresses, ", "))
	}
	return ""
}

// Allowed reports whether a namespace's annotation, a list of hosts divided by commas, has a host: by name, or as
// *.example.com, which has everything below example.com.
func Allowed(annotation, host string) bool {
	for entry := range strings.SplitSeq(annotation, ",") {
		entry = strings.ToLower(strings.TrimSpace(entry))
		if suffix, below := strings.CutPrefix(entry, "*"); entry == host || below && strings.HasPrefix(suffix, ".") && strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}

// targetOf returns what a record for an endpoint says.
func targetOf(endpoint string) (kind, target string) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return typeName, endpoint // the API server has refused it
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	address, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return typeName, host
	case address.Unmap().Is4():
		return typeIPv4, address.Unmap().String()
	default:
		return typeIPv6, address.WithZone("").String()
	}
}

// weigher returns the weights of records: the regions' own, in proportion when the highest of them is above what a
// record may have. What the others have does not change when a region is left out.
func weigher(regions []v1alpha1.ServiceRegion) func(v1alpha1.ServiceRegion) int {
	own := func(r v1alpha1.ServiceRegion) int { return int(ptr.Deref(r.Weight, defaultWeight)) }
	heaviest := slices.MaxFunc(regions, func(a, b v1alpha1.ServiceRegion) int { return cmp.Compare(own(a), own(b)) })
	highest := own(heaviest)
	return func(r v1alpha1.ServiceRegion) int {
		w := own(r)
		if highest <= maxWeight || w == 0 {
			return w
		}
		return max(1, (w*maxWeight+highest/2)/highest)
	}
}

// seconds returns a time to live as records have it: whole seconds, and never 0, which would leave it to the provider.
func seconds(ttl *metav1.Duration) int64 {
	d := defaultTTL
	if ttl != nil {
		d = ttl.Duration
	}
	return max(1, int64((d+time.Second-1)/time.Second))
}
