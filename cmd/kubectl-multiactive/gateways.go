package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/gateway"
)

// perGateway bounds one answer, which may be megabytes.
const perGateway = time.Minute

// gatewayCluster asks the gateways of one service in one cluster.
type gatewayCluster struct {
	namespace, service string
	core               kubernetes.Interface
	slices             client.Client
}

func newGatewayCluster(c *rest.Config, namespace, service string) (*gatewayCluster, error) {
	c = rest.CopyConfig(c)
	c.Timeout = perGateway
	core, err := kubernetes.NewForConfig(c)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	// Without a mapper of its own the client would ask the cluster for one.
	kinds := meta.NewDefaultRESTMapper(nil)
	kinds.Add(v1alpha1.GroupVersion.WithKind("RegionalService"), meta.RESTScopeNamespace)
	slices, err := client.New(c, client.Options{Scheme: scheme, Mapper: kinds})
	if err != nil {
		return nil, err
	}
	return &gatewayCluster{namespace, service, core, slices}, nil
}

// keys returns how the service's keys are normalised.
func (g *gatewayCluster) keys(ctx context.Context) (map[string][]string, error) {
	rs := &v1alpha1.RegionalService{}
	if err := g.slices.Get(ctx, client.ObjectKey{Namespace: g.namespace, Name: g.service}, rs); err != nil {
		return nil, fmt.Errorf("reading RegionalService %s/%s: %w", g.namespace, g.service, err)
	}
	out := map[string][]string{}
	for _, own := range rs.Spec.Ownership {
		for _, k := range own.Keys {
			steps := []string{}
			for _, n := range k.Normalize {
				steps = append(steps, string(n))
			}
			out[k.Name] = steps
		}
	}
	return out, nil
}

// pods returns the gateways that run.
func (g *gatewayCluster) pods(ctx context.Context) ([]string, error) {
	selector := labels.SelectorFromSet(regional.Selector(g.service, regional.ComponentGateway))
	list, err := g.core.CoreV1().Pods(g.namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil, fmt.Errorf("listing Pods in %s: %w", g.namespace, err)
	}
	var out []string
	for i := range list.Items {
		if list.Items[i].Status.Phase == corev1.PodRunning {
			out = append(out, list.Items[i].Name)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no gateway of " + g.namespace + "/" + g.service + " runs there")
	}
	return out, nil
}

// ask takes in what one gateway says.
func (g *gatewayCluster) ask(ctx context.Context, pod string, since time.Time, all *hit) error {
	params := map[string]string{}
	if !since.IsZero() {
		params["since"] = since.UTC().Format(time.RFC3339)
	}
	answer, err := g.core.CoreV1().Pods(g.namespace).ProxyGet("http", pod, strconv.Itoa(regional.GatewayAdminPort), gateway.OwnPrefix+"affected/users", params).Stream(ctx)
	if err != nil {
		return fmt.Errorf("asking Pod %s: %w; see --from in --help for another way", pod, err)
	}
	defer func() { _ = answer.Close() }() // only read
	return all.take(answer, "Pod "+pod)
}
