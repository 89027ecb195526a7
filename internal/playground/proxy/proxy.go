// Package proxy is the service proxy of a playground region: it listens on every Service's ClusterIP
// (loopback) and balances TCP connections to the ready Pods that the Service selects, as kube-proxy
// does. Pods are found by their labels: the API server takes no loopback addresses in EndpointSlices.
//
// While a Service has no ready Pod its address refuses connections. It must never listen on, or
// connect to, anything but loopback.
package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// Config is what a Proxy needs.
type Config struct {
	// Informers of the region's API server, started by the caller after New.
	Informers informers.SharedInformerFactory
	// External gives Services more addresses (host:port), as a load balancer's, for their first ports in order.
	External map[types.NamespacedName][]string
	Log      *slog.Logger
	// Listen opens an address; nil: on this machine.
	Listen func(ctx context.Context, address string) (net.Listener, error)
}

// Proxy serves the Services of one region.
type Proxy struct {
	config   Config
	services corelisters.ServiceLister
	pods     corelisters.PodLister
	synced   []cache.InformerSynced
	wake     chan struct{}

	mu        sync.Mutex
	listeners map[string]*listener // by address
	retired   []*listener          // without Pods, with connections that have not ended
}

// New returns a Proxy that does nothing until Run.
func New(c Config) (*Proxy, error) {
	if c.Listen == nil {
		c.Listen = func(ctx context.Context, address string) (net.Listener, error) {
			return (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		}
	}
	services, pods := c.Informers.Core().V1().Services(), c.Informers.Core().V1().Pods()
	p := &Proxy{
		config: c, services: services.Lister(), pods: pods.Lister(),
		wake: make(chan struct{}, 1), listeners: map[string]*listener{},
	}
	for _, informer := range []cache.SharedIndexInformer{services.Informer(), pods.Informer()} {
		registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { p.look() }, UpdateFunc: func(any, any) { p.look() }, DeleteFunc: func(any) { p.look() },
		})
		if err != nil {
			return nil, fmt.Errorf("preparing the service proxy: %w", err)
		}
		p.synced = append(p.synced, registration.HasSynced)
	}
	return p, nil
}

func (p *Proxy) look() {
	select {
	case p.wake <- struct{}{}:
	default: // it is going to look already
	}
}

// Run serves until ctx ends; then every address refuses and every connection is cut.
func (p *Proxy) Run(ctx context.Context) error {
	defer p.Kill()
	if !cache.WaitForCacheSync(ctx.Done(), p.synced...) {
		return context.Cause(ctx)
	}
	for {
		p.sync(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		}
	}
}

// Kill closes all addresses and cuts all connections at once, as the loss of the machine does.
func (p *Proxy) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for address, l := range p.listeners {
		l.close()
		delete(p.listeners, address)
	}
	for _, l := range p.retired {
		l.close()
	}
	p.retired = nil
}

// sync opens, changes and closes listeners so that they match the Services and Pods.
func (p *Proxy) sync(ctx context.Context) {
	wanted := p.wanted()
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	p.retired = slices.DeleteFunc(p.retired, func(l *listener) bool { return !l.retire() })
	for address, l := range p.listeners {
		if len(wanted[address]) > 0 {
			continue
		}
		if l.retire() {
			p.retired = append(p.retired, l)
		}
		delete(p.listeners, address)
	}
	for address, backends := range wanted {
		if len(backends) == 0 {
			continue
		}
		if l := p.listeners[address]; l != nil {
			l.set(backends)
			continue
		}
		l, err := p.listen(ctx, address, backends)
		if err != nil {
			p.config.Log.Warn("cannot listen on a Service's address", "address", address, "error", err)
			continue
		}
		p.listeners[address] = l
	}
}

// wanted returns the backends of every address.
func (p *Proxy) wanted() map[string][]string {
	out := map[string][]string{}
	services, err := p.services.List(labels.Everything())
	if err != nil {
		return out // a cache in memory does not fail
	}
	for _, service := range services {
		if len(service.Spec.Selector) == 0 {
			continue
		}
		external := p.config.External[types.NamespacedName{Namespace: service.Namespace, Name: service.Name}]
		for i, port := range service.Spec.Ports {
			if port.Protocol != corev1.ProtocolTCP && port.Protocol != "" {
				continue
			}
			backends := p.backends(service, port)
			if ip, err := netip.ParseAddr(service.Spec.ClusterIP); err == nil && ip.IsLoopback() {
				out[net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(port.Port)))] = backends
			}
			if i < len(external) {
				out[external[i]] = backends
			}
		}
	}
	return out
}

// backends returns the addresses of the ready Pods behind a port.
func (p *Proxy) backends(service *corev1.Service, port corev1.ServicePort) []string {
	pods, err := p.pods.Pods(service.Namespace).List(labels.SelectorFromSet(service.Spec.Selector))
	if err != nil {
		return nil
	}
	var out []string
	for _, pod := range pods {
		target := targetPort(pod, port)
		if target == 0 || pod.Status.PodIP == "" || pod.DeletionTimestamp != nil || !isReady(pod) {
			continue
		}
		out = append(out, net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(target))))
	}
	return out
}

func isReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// targetPort is 0 when the Pod has no port of that name.
func targetPort(pod *corev1.Pod, port corev1.ServicePort) int32 {
	switch {
	case port.TargetPort.Type == intstr.Int && port.TargetPort.IntVal != 0:
		return port.TargetPort.IntVal
	case port.TargetPort.Type == intstr.Int:
		return port.Port
	}
	for i := range pod.Spec.Containers {
		for _, c := range pod.Spec.Containers[i].Ports {
			if c.Name == port.TargetPort.StrVal {
				return c.ContainerPort
			}
		}
	}
	return 0
}
