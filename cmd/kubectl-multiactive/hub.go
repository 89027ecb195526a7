package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"multiactive.dev/operator/api/v1alpha1"
)

// configOf returns the cluster of a context of the kubeconfig, "" for the current one.
func (t *terminal) configOf(name string) (*rest.Config, error) {
	if t.config != nil {
		return t.config(name)
	}
	return config.GetConfigWithContext(name)
}

// hub connects to the hub's API server. A plain request of its client ends within perRequest; a watch goes on.
func (o hubOptions) hub(t terminal) (client.WithWatch, error) {
	c, err := t.configOf(o.context)
	if err != nil {
		return nil, fmt.Errorf("finding the hub's API server: %w; give --kubeconfig", err)
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	c = rest.CopyConfig(c)
	c.Wrap(func(next http.RoundTripper) http.RoundTripper { return patience{next, perRequest} })
	hub, err := client.NewWithWatch(c, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connecting to the hub: %w", err)
	}
	return hub, nil
}

// patience ends requests whose answer does not begin in time. A watch may go on for as long as it likes.
type patience struct {
	next http.RoundTripper
	time.Duration
}

// RoundTrip sends a request.
func (p patience) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	timer := time.AfterFunc(p.Duration, func() { cancel(fmt.Errorf("%s does not answer within %s", r.URL.Host, p.Duration)) })
	defer timer.Stop()
	answer, err := p.next.RoundTrip(r.WithContext(ctx))
	if cause := context.Cause(ctx); err != nil && cause != nil && r.Context().Err() == nil {
		return nil, cause
	}
	return answer, err
}

// serviceOptions are the flags of commands about services.
type serviceOptions struct {
	hubOptions
	serviceNamespace string
}

// in returns the namespace of services: as given, else that of the kubeconfig's context.
func (o *serviceOptions) in() string {
	if o.serviceNamespace != "" {
		return o.serviceNamespace
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	if o.kubeconfig != nil {
		rules.ExplicitPath = o.kubeconfig.Value.String()
	}
	name, _, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: o.context}).Namespace()
	if err != nil || name == "" {
		return "default"
	}
	return name
}

// hubProblem says what to do about an error of the hub's API server.
func hubProblem(doing string, err error) error {
	if meta.IsNoMatchError(err) {
		return fmt.Errorf("%s: the cluster does not have the resources of multiactive.dev; is this the hub's kubeconfig? See --context and --kubeconfig", doing)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
