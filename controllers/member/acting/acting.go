// Package acting marks the Pod of the one member that acts for its region, among those that stand
// by, so that a Service leads the region's gateways to it alone, also at once after a node died.
//
// It must never mark a Pod whose process does not act: marking runs while the process is elected,
// and what an earlier process of the Pod left is taken away before it stands for election.
package acting

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// +kubebuilder:rbac:groups="",namespace=multiactive-system,resources=pods,verbs=get;list;patch

const (
	// Label marks the acting member's Pod; the agent's Service selects it.
	Label = "multiactive.dev/acting"
	// Value is what Label has there. Elsewhere it is absent.
	Value = "true"
)

// Interval is how often the marks are looked at. A mark that another process sets late, because it
// was stopped when it lost the election, stands no longer than this.
const Interval = 5 * time.Second

// timeout bounds one look with its patches.
const timeout = 5 * time.Second

// Pod is the Pod that this process runs in. All fields but Log are required. It implements
// manager.Runnable, and runs only while the process is elected.
type Pod struct {
	Client client.Client
	// Reader reads from the API server.
	Reader          client.Reader
	Namespace, Name string
	Clock           clock.WithTicker
	Log             logr.Logger
}

// Clear takes the mark of an earlier process of this Pod away. It comes before standing for
// election.
func (p *Pod) Clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	pod, err := p.own(ctx)
	if err != nil {
		return err
	}
	return p.unmark(ctx, pod)
}

// Start marks this Pod, and no other of its namespace, until ctx ends. What fails is tried again at
// the next interval.
func (p *Pod) Start(ctx context.Context) error {
	ticker := p.Clock.NewTicker(Interval)
	defer ticker.Stop()
	for {
		if err := p.claim(ctx); err != nil && ctx.Err() == nil {
			p.Log.Info("Could not mark the acting Pod; gateways keep what they have. Trying again.", "error", err.Error())
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			if err := p.Clear(context.WithoutCancel(ctx)); err != nil {
				p.Log.Info("Could not take the mark of the acting Pod away; who acts next does.", "error", err.Error())
			}
			return nil
		}
	}
}

// claim marks this Pod first: gateways that are led to two for a moment try again, those that are
// led nowhere wait.
func (p *Pod) claim(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	pod, err := p.own(ctx)
	if err != nil {
		return err
	}
	if pod.Labels[Label] != Value {
		if err := p.patch(ctx, pod, Value); err != nil {
			return err
		}
	}
	var marked corev1.PodList
	if err := p.Reader.List(ctx, &marked, client.InNamespace(p.Namespace), client.HasLabels{Label}); err != nil {
		return fmt.Errorf("listing Pods with label %s: %w", Label, err)
	}
	var failures []error
	for i := range marked.Items {
		if marked.Items[i].Name != p.Name {
			failures = append(failures, p.unmark(ctx, &marked.Items[i]))
		}
	}
	return errors.Join(failures...)
}

func (p *Pod) own(ctx context.Context) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	err := p.Reader.Get(ctx, client.ObjectKey{Namespace: p.Namespace, Name: p.Name}, pod)
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("there is no Pod %s/%s: POD_NAME and POD_NAMESPACE must name the Pod that this process runs in, or both be absent",
			p.Namespace, p.Name)
	case err != nil:
		return nil, fmt.Errorf("reading Pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	return pod, nil
}

func (p *Pod) unmark(ctx context.Context, pod *corev1.Pod) error {
	if _, marked := pod.Labels[Label]; !marked {
		return nil
	}
	return client.IgnoreNotFound(p.patch(ctx, pod, nil))
}

// patch sets the label, or removes it when value is nil; refused for another Pod of the same name.
func (p *Pod) patch(ctx context.Context, pod *corev1.Pod, value any) error {
	content, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": pod.UID, "labels": map[string]any{Label: value},
	}})
	if err != nil {
		return fmt.Errorf("encoding a patch: %w", err)
	}
	if err := p.Client.Patch(ctx, pod, client.RawPatch(types.MergePatchType, content)); err != nil {
		return fmt.Errorf("patching label %s of Pod %s/%s: %w", Label, pod.Namespace, pod.Name, err)
	}
	return nil
}
