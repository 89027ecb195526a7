package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"multiactive.dev/operator/api/v1alpha1"
)

// objects looks at what the hub reports of regions, stores and services.
func (d *doctor) objects(ctx context.Context, seen *hubState) {
	if len(seen.regions) == 0 {
		d.add(levelFail, "regions", "no Region is declared", "kubectl multiactive join, or see examples/regions")
	}
	for _, name := range seen.regionNames() {
		d.region(seen.regions[name])
	}
	if voters := len(seen.regions); voters > 0 && voters < 3 {
		d.add(levelWarn, "regions", fmt.Sprintf("%s: with fewer than three places no region is failed over by itself", plural(voters, "region")),
			"join a third, or a Region of role Witness")
	}
	d.stores(ctx)
	for i := range seen.services {
		d.service(&seen.services[i])
	}
	for _, kind := range seen.unread {
		d.add(levelSkip, "services", "you may not list "+kind, "")
	}
}

func (d *doctor) region(rg *v1alpha1.Region) {
	about := "region/" + rg.Name
	ready := meta.FindStatusCondition(rg.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil:
		d.add(levelFail, about, "the hub has not looked at it", "see the manager in the hub: does it run?")
		return
	case ready.Status == metav1.ConditionTrue:
		d.ok(about, "Up, its agent beats, %s observers reach it", orElse(rg.Status.ObserversSummary, "no"))
		return
	}
	bad := false
	for _, kind := range []string{v1alpha1.ConditionClusterReachable, v1alpha1.ConditionLeaseHeld, v1alpha1.ConditionServing} {
		c := meta.FindStatusCondition(rg.Status.Conditions, kind)
		if c == nil || c.Status == metav1.ConditionTrue || c.Reason == v1alpha1.ReasonNoCluster {
			continue
		}
		level := levelFail
		if c.Reason == v1alpha1.ReasonRegionDrained || c.Reason == v1alpha1.ReasonRegionInDrill || c.Reason == v1alpha1.ReasonRegionReturning || c.Reason == v1alpha1.ReasonHandbackAwaited {
			level = levelWarn
		}
		bad = true
		d.add(level, about, kind+": "+plugin(c.Message), regionNext[c.Reason])
	}
	if !bad {
		d.add(levelWarn, about, plugin(ready.Message), "")
	}
}

// regionNext is what to do where a condition's message does not say it.
var regionNext = map[string]string{
	v1alpha1.ReasonSecretNotFound:     "kubectl multiactive join makes the Secret",
	v1alpha1.ReasonKubeconfigInvalid:  "kubectl multiactive join writes a kubeconfig that is taken",
	v1alpha1.ReasonUnauthorized:       "kubectl multiactive join makes new credentials",
	v1alpha1.ReasonCRDsMissing:        "install the chart with mode=member in that cluster",
	v1alpha1.ReasonClusterUnreachable: "look at the way from the hub to that API server; services there go on meanwhile",
	v1alpha1.ReasonRegionLost:         "kubectl multiactive status",
	v1alpha1.ReasonStoreUnreachable:   "kubectl multiactive coordination status",
}

func (d *doctor) stores(ctx context.Context) {
	var list v1alpha1.DataStoreList
	err := d.hub.List(ctx, &list)
	switch {
	case apierrors.IsForbidden(err):
		d.add(levelSkip, "stores", "you may not list DataStores", "")
	case err != nil:
		d.add(levelFail, "stores", err.Error(), "look at the API server")
	}
	for i := range list.Items {
		about := "store/" + list.Items[i].Name
		switch c := meta.FindStatusCondition(list.Items[i].Status.Conditions, v1alpha1.ConditionReady); {
		case c == nil:
			d.add(levelWarn, about, "the hub has not looked at it", "see the manager in the hub: does it run?")
		case c.Status != metav1.ConditionTrue && c.Reason != v1alpha1.ReasonNotUsed:
			d.add(levelWarn, about, c.Reason+": "+c.Message, "kubectl describe datastore "+list.Items[i].Name)
		default:
			d.ok(about, "%s", c.Message)
		}
	}
}

func (d *doctor) service(mas *v1alpha1.MultiActiveService) {
	about := "service/" + mas.Namespace + "/" + mas.Name
	core := meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionCoreAvailable)
	ready := meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionReady)
	next := fmt.Sprintf("kubectl multiactive status %s -n %s", mas.Name, mas.Namespace)
	switch {
	case core == nil || ready == nil:
		d.add(levelWarn, about, "the hub has not looked at it", "see the manager in the hub: does it run?")
	case core.Status == metav1.ConditionFalse:
		d.add(levelFail, about, plugin(core.Message), next)
	case ready.Status != metav1.ConditionTrue:
		d.add(levelWarn, about, plugin(ready.Message), next)
	default:
		d.ok(about, "ready")
	}
	for _, kind := range []string{v1alpha1.ConditionFieldsActedOn, v1alpha1.ConditionDesignSound, v1alpha1.ConditionDNSReady, v1alpha1.ConditionSpecInSync} {
		if c := meta.FindStatusCondition(mas.Status.Conditions, kind); c != nil && c.Status == metav1.ConditionFalse {
			d.add(levelWarn, about, kind+": "+c.Message, "")
		}
	}
}

// regions looks into every region's cluster, with the hub's credentials: at the Lease in which its member keeps which
// coordination store it follows.
func (d *doctor) regions(ctx context.Context) {
	all, err := d.o.connect(ctx, d.t)
	if err != nil {
		return // no region with a cluster: it was told
	}
	standings := d.o.look(ctx, all)
	for i := range standings {
		s := &standings[i]
		about := "member/" + s.region
		switch state := stateOf(s); state {
		case stateUnread:
			level, next := levelFail, "look at the way to its API server; its services go on meanwhile"
			switch {
			case apierrors.IsForbidden(s.problem):
				level, next = levelSkip, ""
			case apierrors.IsNotFound(s.problem):
				next = "kubectl multiactive join " + s.region + " makes it"
			}
			d.add(level, about, "its cluster could not be read: "+s.problem.Error(), next)
		case stateFresh:
			d.add(levelWarn, about, "its member has followed no coordination store yet", "install the chart with mode=member there, and give it every endpoint of the store")
		case stateFollows:
			d.ok(about, "follows coordination store %s, epoch %d", storeID(s.kept.Position.ClusterID), max(s.kept.Epoch, s.kept.AboveEpoch))
		default:
			d.add(levelFail, about, fmt.Sprintf("%s: %s", state, orElse(s.refused, s.trouble)), "kubectl multiactive coordination status")
		}
		if all[i].config != nil && s.problem == nil {
			d.access(ctx, about, all[i].config)
		}
	}
}

// access looks at the clock of a region's API server, and at how long the hub's credentials there last.
func (d *doctor) access(ctx context.Context, about string, config *rest.Config) {
	if _, drift, err := clock(ctx, config); err == nil {
		d.clock(about, drift)
	}
	what := "token"
	end, ok := tokenEnd(config.BearerToken)
	if cert, err := lastDay(config.CertData); err == nil && len(config.CertData) > 0 {
		what, end, ok = "certificate", cert, true
	}
	if !ok {
		return
	}
	if left := end.Sub(d.t.clock()); left < soonOver {
		level := levelWarn
		if left <= 0 {
			level = levelFail
		}
		d.add(level, about, "the hub's "+what+" there ends on "+end.UTC().Format(time.DateOnly), "run kubectl multiactive join again: it makes a new one")
	}
}

// tokenEnd returns when a token ends, if it is a JSON Web Token that says so.
func tokenEnd(token string) (time.Time, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	content, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		End int64 `json:"exp"`
	}
	if json.Unmarshal(content, &claims) != nil || claims.End == 0 {
		return time.Time{}, false
	}
	return time.Unix(claims.End, 0), true
}
