package dns_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/dns"
)

// service has a region for each endpoint, named a, b, c.
func service(endpoints ...string) *v1alpha1.MultiActiveService {
	mas := &v1alpha1.MultiActiveService{ObjectMeta: metav1.ObjectMeta{Namespace: "accounts", Name: "user"}}
	mas.Spec.DNS = &v1alpha1.DNS{Host: "user.example.com"}
	for i, e := range endpoints {
		mas.Spec.Regions = append(mas.Spec.Regions, v1alpha1.ServiceRegion{Name: string(rune('a' + i)), Endpoint: e})
	}
	return mas
}

func record(region, kind, target, weight string, ttl int64) any {
	return map[string]any{
		"dnsName": "user.example.com", "recordType": kind, "targets": []any{target}, "recordTTL": ttl, "setIdentifier": region,
		"providerSpecific": []any{map[string]any{"name": "aws/weight", "value": weight}},
	}
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	weighed := func(weights ...int32) func(*v1alpha1.MultiActiveService) {
		return func(m *v1alpha1.MultiActiveService) {
			for i, w := range weights {
				m.Spec.Regions[i].Weight = ptr.To(w)
			}
		}
	}
	lasting := func(d time.Duration) func(*v1alpha1.MultiActiveService) {
		return func(m *v1alpha1.MultiActiveService) { m.Spec.DNS.TTL = &metav1.Duration{Duration: d} }
	}
	for name, c := range map[string]struct {
		mas     *v1alpha1.MultiActiveService
		change  func(*v1alpha1.MultiActiveService)
		regions []string
		want    []any
	}{
		"in declared order, by default": {
			mas: service("https://User.A.example.com", "http://b.example.com.:8080"), regions: []string{"b", "a"},
			want: []any{record("a", "CNAME", "user.a.example.com", "100", 30), record("b", "CNAME", "b.example.com", "100", 30)},
		},
		"addresses": {
			mas: service("https://192.0.2.1:443", "https://[2001:DB8::1]", "https://[::ffff:192.0.2.2]"), regions: []string{"a", "b", "c"},
			want: []any{record("a", "A", "192.0.2.1", "100", 30), record("b", "AAAA", "2001:db8::1", "100", 30), record("c", "A", "192.0.2.2", "100", 30)},
		},
		"weights as declared": {
			mas: service("http://a.test", "http://b.test"), change: weighed(255, 0), regions: []string{"a", "b"},
			want: []any{record("a", "CNAME", "a.test", "255", 30), record("b", "CNAME", "b.test", "0", 30)},
		},
		"weights above what a record may have": {
			mas: service("http://a.test", "http://b.test", "http://c.test"), change: weighed(1000, 500, 1), regions: []string{"a", "b", "c"},
			want: []any{record("a", "CNAME", "a.test", "255", 30), record("b", "CNAME", "b.test", "128", 30), record("c", "CNAME", "c.test", "1", 30)},
		},
		"a region that is left out changes no other's": {
			mas: service("http://a.test", "http://b.test"), change: weighed(1000, 500), regions: []string{"b"},
			want: []any{record("b", "CNAME", "b.test", "128", 30)},
		},
		"time to live":                  {mas: service("http://a.test"), change: lasting(5 * time.Minute), regions: []string{"a"}, want: []any{record("a", "CNAME", "a.test", "100", 300)}},
		"part of a second":              {mas: service("http://a.test"), change: lasting(1500 * time.Millisecond), regions: []string{"a"}, want: []any{record("a", "CNAME", "a.test", "100", 2)}},
		"none, which would be anything": {mas: service("http://a.test"), change: lasting(0), regions: []string{"a"}, want: []any{record("a", "CNAME", "a.test", "100", 1)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.change != nil {
				c.change(c.mas)
			}
			want := map[string]any{
				"apiVersion": "externaldns.k8s.io/v1alpha1", "kind": "DNSEndpoint",
				"metadata": map[string]any{
					"namespace": "accounts", "name": "user",
					"labels": map[string]any{"app.kubernetes.io/managed-by": "multiactive", "multiactive.dev/service": "user"},
					"ownerReferences": []any{map[string]any{
						"apiVersion": "multiactive.dev/v1alpha1", "kind": "MultiActiveService", "name": "user", "uid": "u1", "controller": true,
					}},
				},
				"spec": map[string]any{"endpoints": c.want},
			}
			if diff := cmp.Diff(want, dns.Endpoint(c.mas, "u1", c.regions).Object); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestOwnedAndUpToDate(t *testing.T) {
	t.Parallel()
	mas := service("http://a.test", "http://b.test")
	made := func(change func(*unstructured.Unstructured)) *unstructured.Unstructured {
		obj := dns.Endpoint(mas, "u1", []string{"a", "b"})
		change(obj)
		return obj
	}
	owner := func(kind, name string) func(*unstructured.Unstructured) {
		return func(o *unstructured.Unstructured) {
			o.SetOwnerReferences([]metav1.OwnerReference{{Kind: kind, Name: name, Controller: ptr.To(true)}})
		}
	}
	for name, c := range map[string]struct {
		live            *unstructured.Unstructured
		owned, upToDate bool
	}{
		"the same": {made(func(*unstructured.Unstructured) {}), true, true},
		"with what others add": {made(func(o *unstructured.Unstructured) {
			o.SetAnnotations(map[string]string{"x": "y"})
			o.SetLabels(map[string]string{"app.kubernetes.io/managed-by": "multiactive", "multiactive.dev/service": "user", "x": "y"})
			o.Object["status"] = map[string]any{"observedGeneration": int64(1)}
		}), true, true},
		"a record more":            {dns.Endpoint(service("http://a.test", "http://b.test", "http://c.test"), "u1", []string{"a", "b", "c"}), true, false},
		"a record less":            {dns.Endpoint(mas, "u1", []string{"a"}), true, false},
		"of an earlier service":    {dns.Endpoint(mas, "u0", []string{"a", "b"}), true, false},
		"orphaned":                 {made(func(o *unstructured.Unstructured) { o.SetOwnerReferences(nil) }), true, false},
		"of another kind of owner": {made(owner("RegionalService", "user")), false, false},
		"of another service":       {made(owner("MultiActiveService", "cart")), false, false},
		"not made by the operator": {made(func(o *unstructured.Unstructured) { o.SetLabels(nil) }), false, false},
		"of another service by label": {made(func(o *unstructured.Unstructured) {
			o.SetLabels(map[string]string{"app.kubernetes.io/managed-by": "multiactive"})
		}), false, false},
	} {
		if got := dns.Owned(c.live, mas); got != c.owned {
			t.Errorf("%s: owned is %t, want %t", name, got, c.owned)
		}
		if got, err := dns.UpToDate(dns.Endpoint(mas, "u1", []string{"a", "b"}), c.live); err != nil || got != c.upToDate {
			t.Errorf("%s: up to date is %t, %v, want %t", name, got, err, c.upToDate)
		}
	}
}

func TestFlaw(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mas  *v1alpha1.MultiActiveService
		want string
	}{
		"names":               {service("http://a.test", "http://b.test"), ""},
		"addresses":           {service("http://192.0.2.1", "http://[2001:db8::1]"), ""},
		"both":                {service("http://a.test", "http://192.0.2.1", "http://c.test"), "of a, c are names and those of b are addresses"},
		"the name itself":     {service("http://a.test", "https://USER.example.com:8443"), "regions[b].endpoint has the host user.example.com, which is dns.host"},
		"something below it":  {service("http://a.user.example.com"), ""},
		"the same everywhere": {service("http://a.test", "http://a.test"), ""},
	} {
		got := dns.Flaw(c.mas.Spec)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestAllowed(t *testing.T) {
	t.Parallel()
	for annotation, want := range map[string]bool{
		"":                                     false,
		"user.example.com":                     true,
		"cart.example.com, user.example.com ,": true,
		"USER.example.com":                     true,
		"*.example.com":                        true,
		"*.com":                                true,
		"*":                                    false,
		"*.":                                   false,
		"*example.com":                         false,
		"example.com":                          false,
		"*.user.example.com":                   false,
		"*.ample.com":                          false,
		"x.user.example.com":                   false,
	} {
		if got := dns.Allowed(annotation, "user.example.com"); got != want {
			t.Errorf("%q: %t, want %t", annotation, got, want)
		}
	}
	if dns.Allowed("*.example.com", "example.com") {
		t.Error("a name is below itself")
	}
}
