package agent

import (
	"bytes"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

// TestOnlyConcernedRoutingIsBuilt: a decision about one service is no work for the others, and gateways of all know how
// current their routing is.
func TestOnlyConcernedRoutingIsBuilt(t *testing.T) {
	t.Parallel()
	conf := ownership.Configuration{Revision: 1, Decided: 1, View: ownership.View{Epoch: 1}, Services: map[string]ownership.ServiceRecord{}}
	p := newPublisher(func() (ownership.Configuration, bool) { return conf, true })
	built := map[string]int{}
	for _, name := range []string{"a", "b"} {
		if err := p.Publish("shop", name, func(c ownership.Configuration) routing.Config {
			built[name]++
			return routing.Config{UID: "uid-" + name, Epoch: c.View.Epoch, PeerKey: c.Services["uid-"+name].PeerKey}
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		then func()
		want map[string]int
	}{
		{"a beat", func() {}, map[string]int{}},
		{"a service was accepted", func() {
			conf.Services = maps.Clone(conf.Services)
			conf.Services["uid-a"] = ownership.ServiceRecord{PeerKey: []byte("k")}
			conf.Decided = conf.Revision
		}, map[string]int{"a": 1}},
		{"another service than these", func() {
			conf.Services = maps.Clone(conf.Services)
			conf.Services["uid-c"] = ownership.ServiceRecord{PeerKey: []byte("k")}
			conf.Decided = conf.Revision
		}, map[string]int{}},
		{"the view", func() { conf.View.Epoch, conf.Decided = 2, conf.Revision }, map[string]int{"a": 1, "b": 1}},
		{"whom regions trust", func() {
			conf.Trusts, conf.Decided = map[string]ownership.Trust{"north": {}}, conf.Revision
		}, map[string]int{"a": 1, "b": 1}},
		{"a service was forgotten", func() {
			conf.Services, conf.Decided = nil, conf.Revision
		}, map[string]int{"a": 1}},
	} {
		clear(built)
		conf.Revision++
		c.then()
		if err := p.update(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, built); diff != "" {
			t.Errorf("%s: built (-want +got)\n%s", c.name, diff)
		}
		for _, name := range []string{"a", "b"} {
			got := p.Config("shop", name)
			if got.Revision != conf.Revision || got.Config.Epoch != conf.View.Epoch || !bytes.Equal(got.Config.PeerKey, conf.Services["uid-"+name].PeerKey) {
				t.Errorf("%s: %s has the routing %+v of revision %d", c.name, name, got.Config, got.Revision)
			}
		}
	}
}
