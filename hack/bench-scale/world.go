package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/hack/internal/crowdworld"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/playground/crowd"
	"multiactive.dev/operator/internal/playground/world"
)

// creators declare services at a time, as a person's or a pipeline's apply does.
const creators = 8

// gcPercent is GOGC of the API servers. Theirs is small where they share a developer's machine, and collecting garbage
// would be a third of all that is measured.
const gcPercent = 200

// memoryLimit is GOMEMLIMIT of managers: what they may have at most, with what is not the heap's.
const memoryLimit = "350MiB"

// benched is the world that is measured.
type benched struct {
	*crowdworld.World
	services int
	// declared has what the hub says of the services: to list a thousand again and again would be much of what its API
	// server does.
	declared cache.Cache
	// running is what runs in the regions, by name.
	running map[string]*running
}

// running stands for the gateways of one region and for what runs Deployments there.
type running struct {
	gateways  *crowd.Gateways
	workloads *crowd.Workloads
}

// boot starts a world with no service in it.
func boot(ctx context.Context, bin, dir string, services int, profiles bool) (*benched, error) {
	w, err := crowdworld.Start(ctx, bin, dir, func(o *world.Options) {
		o.Audit, o.GCPercent, o.Env, o.Profiles = true, gcPercent, environment, profiles
	})
	if err != nil {
		return nil, err
	}
	b := &benched{World: w, services: services, running: map[string]*running{}}
	for _, r := range w.Regions() {
		if err := b.run(ctx, r); err != nil {
			return nil, errors.Join(err, b.end())
		}
	}
	if b.declared, err = b.watched(ctx); err == nil {
		err = await(ctx, returnTimeout, lookEvery, b.serving)
	}
	if err != nil {
		return nil, errors.Join(err, b.end())
	}
	return b, nil
}

// end stops everything.
func (b *benched) end() error {
	for _, r := range b.running {
		r.end()
	}
	return b.Stop()
}

func (r *running) end() {
	r.workloads.End()
	r.gateways.End()
}

// run begins to run what is in a region.
func (b *benched) run(ctx context.Context, r *world.Region) error {
	config, err := r.AdminConfig()
	if err != nil {
		return err
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	x := &running{gateways: crowd.Begin(ctx, r.AgentURL(), b.services, clock.RealClock{})}
	if x.workloads, err = crowd.Run(ctx, kube, x.gateways); err != nil {
		return err
	}
	b.running[r.Name] = x
	return nil
}

// watched is what the hub has, until ctx ends.
func (b *benched) watched(ctx context.Context) (cache.Cache, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	config, err := b.HubConfig()
	if err != nil {
		return nil, err
	}
	c, err := cache.New(rest.CopyConfig(config), cache.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	go func() { _ = c.Start(ctx) }() // only ever the end of its context
	return c, nil
}

// declare creates the services.
func (b *benched) declare(ctx context.Context) error {
	failures := make([]error, b.services)
	turns := make(chan struct{}, creators)
	var all sync.WaitGroup
	for i := range b.services {
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			s := crowd.Service(i, b.Serving)
			s.Spec.Failover = &v1alpha1.Failover{Handback: "Automatic"}
			failures[i] = b.Hub.Create(ctx, s)
		})
	}
	all.Wait()
	return errors.Join(failures...)
}

// ready says what is missing until all services are Ready.
func (b *benched) ready(ctx context.Context) error {
	list := &v1alpha1.MultiActiveServiceList{}
	if err := b.declared.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	ready := 0
	why := ""
	for i := range list.Items {
		s := &list.Items[i]
		c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady)
		switch {
		case s.Status.ObservedGeneration == s.Generation && meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ConditionReady):
			ready++
		case c != nil:
			why = s.Name + ": " + c.Reason + ": " + c.Message
		}
	}
	if ready < b.services {
		return fmt.Errorf("%d of %d services are Ready; %s", ready, b.services, why)
	}
	return nil
}

// serving says which region does not serve yet: what is told of that is no part of what services cost.
func (b *benched) serving(ctx context.Context) error {
	for _, r := range b.Regions() {
		var seen struct{ Configuration ownership.Configuration }
		if err := ask(ctx, r.AgentURL()+"/v1/view", &seen); err != nil {
			return err
		}
		for _, other := range b.Regions() {
			if rec := seen.Configuration.View.Regions[other.Name]; rec.State != ownership.RegionServing || rec.Suspect {
				return fmt.Errorf("%s has %s as %q", r.Name, other.Name, rec.State)
			}
		}
	}
	return nil
}

// leader is the region whose agent leads.
func (b *benched) leader(ctx context.Context) (string, error) {
	for _, r := range b.Regions() {
		var view struct{ IsLeader bool }
		if err := ask(ctx, r.AgentURL()+"/v1/view", &view); err == nil && view.IsLeader {
			return r.Name, nil
		}
	}
	return "", errors.New("no agent says that it leads")
}

// askTimeout bounds one question about all services.
const askTimeout = 10 * time.Second

func ask(ctx context.Context, url string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, answer.Status)
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

// environment has managers collect garbage hard where their goal would be missed.
func environment(_, program string) []string {
	if program != "manager" {
		return nil
	}
	return []string{"GOMEMLIMIT=" + memoryLimit}
}
