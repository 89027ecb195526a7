// Package crowd is many services in one world: the smallest declarations that own keys, without a program of
// their own, and long polls at the regions' agents that stand for their gateways.
//
// It must never answer anybody: what it is for is to be counted.
package crowd

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/routing"
)

const (
	// Namespace of the services; no node runs what is in it.
	Namespace = "crowd"
	// application is the Service that all of them refer to.
	application = "application"
	port        = 80
	// pause after a question that was not answered.
	pause = 200 * time.Millisecond
	// pollTimeout is how long an agent may take beyond the wait.
	pollTimeout = 5 * time.Second
)

// Application is what the services refer to, in every cluster.
func Application() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: application, Namespace: Namespace},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: port}}},
	}
}

// Service returns the i-th service, in the regions by name with their users' addresses.
func Service(i int, regions []v1alpha1.ServiceRegion) *v1alpha1.MultiActiveService {
	s := &v1alpha1.MultiActiveService{ObjectMeta: metav1.ObjectMeta{Name: name(i), Namespace: Namespace}}
	for _, r := range regions {
		s.Spec.Regions = append(s.Spec.Regions, v1alpha1.ServiceRegion{Name: r.Name, Endpoint: r.Endpoint, Weight: r.Weight})
	}
	s.Spec.Partition = &v1alpha1.Partition{Keys: []v1alpha1.PartitionKey{{
		Name: "user", From: []v1alpha1.KeySource{{Type: v1alpha1.KeySourceHeader, Header: &v1alpha1.NamedSource{Name: "X-User"}}},
	}}}
	s.Spec.Workload = v1alpha1.Workload{
		Type: v1alpha1.WorkloadServiceRef, ServiceRef: &v1alpha1.ServiceReference{Name: application, Port: port},
	}
	s.Spec.Gateway = &v1alpha1.Gateway{Replicas: ptr.To[int32](1)} // who polls stands for it
	s.Spec.Flows = []v1alpha1.Flow{{
		Name: "pay", Tier: v1alpha1.TierCore, Key: "user", ServedBy: v1alpha1.ServedByHomeRegion,
		Match:      []v1alpha1.RequestMatch{{Method: http.MethodPut, Path: "/pay"}},
		OnHomeLoss: &v1alpha1.OnHomeLoss{Action: v1alpha1.HomeLossTakeover},
	}}
	return s
}

func name(i int) string { return fmt.Sprintf("service-%04d", i) }

// Gateways stand for one gateway of each service in one region.
type Gateways struct {
	agent   string
	clock   clock.WithTicker
	client  *http.Client
	running context.Context
	cancel  context.CancelFunc
	all     sync.WaitGroup

	mu     sync.Mutex
	begun  map[string]bool
	actsOn map[string]*routing.Config // by service
}

// Begin returns gateways, of at most so many services, that ask the agent until End. There are none before Start.
func Begin(ctx context.Context, agent string, most int, c clock.WithTicker) *Gateways {
	g := &Gateways{
		agent: agent, clock: c, begun: map[string]bool{}, actsOn: map[string]*routing.Config{},
		client: &http.Client{Timeout: routing.MaxWait + pollTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: most}},
	}
	g.running, g.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return g
}

// Poll begins to ask the agent for the routing of the first count services, as their gateways do, until End.
func Poll(ctx context.Context, agent string, count int, c clock.WithTicker) *Gateways {
	g := Begin(ctx, agent, count, c)
	for i := range count {
		g.Start(name(i), func() {})
	}
	return g
}

// Start has a service's gateway run, once, and calls routed when it has routing.
func (g *Gateways) Start(service string, routed func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.begun[service] || g.running.Err() != nil {
		return
	}
	g.begun[service] = true
	g.all.Go(func() { g.poll(g.running, service, routed) })
}

// End ends all of them, as the loss of their machines does.
func (g *Gateways) End() {
	g.cancel()
	g.all.Wait()
	g.client.CloseIdleConnections()
}

// Lowest returns the lowest epoch that one of them acts on, and how many have routing.
func (g *Gateways) Lowest() (epoch int64, routed int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.actsOn {
		if routed == 0 || c.Epoch < epoch {
			epoch = c.Epoch
		}
		routed++
	}
	return epoch, routed
}

// Routed returns whether a service's gateway has routing.
func (g *Gateways) Routed(service string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.actsOn[service] != nil
}

// Acting returns how many of them act on routing that is in force and has the region so.
func (g *Gateways) Acting(region string, is func(routing.Region) bool) (acting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.actsOn {
		for _, r := range c.Regions {
			if r.Name == region && !c.Closing && is(r) {
				acting++
			}
		}
	}
	return acting
}

// poll is one gateway.
func (g *Gateways) poll(ctx context.Context, service string, routed func()) {
	var version string
	var revision int64
	for ctx.Err() == nil {
		answer, err := g.ask(ctx, service, version, revision)
		if err != nil {
			timer := g.clock.NewTimer(pause)
			select {
			case <-timer.C():
			case <-ctx.Done():
				timer.Stop()
			}
			continue
		}
		first := version == ""
		version, revision = answer.Version, max(revision, answer.Revision)
		if answer.Config != nil {
			g.mu.Lock()
			g.actsOn[service] = answer.Config
			g.mu.Unlock()
		}
		if first {
			routed()
		}
	}
}

func (g *Gateways) ask(ctx context.Context, service, version string, revision int64) (*routing.Answer, error) {
	query := url.Values{
		routing.ParamNamespace: {Namespace}, routing.ParamName: {service}, routing.ParamGateway: {service + "-gateway"},
		routing.ParamWait: {routing.MaxWait.String()},
	}
	if version != "" {
		query.Set(routing.ParamVersion, version)
		query.Set(routing.ParamRevision, strconv.FormatInt(revision, 10))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.agent+routing.Path+"?"+query.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := g.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the agent answers %s", response.Status)
	}
	answer := &routing.Answer{}
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return nil, fmt.Errorf("reading the agent's answer: %w", err)
	}
	return answer, nil
}
