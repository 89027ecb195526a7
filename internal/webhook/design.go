// Package webhook judges objects before the API server stores them, where its own rules cannot: it refuses designs
// that lose data in an outage. It must never wait for a region, and never refuse what was stored before.
package webhook

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/lint"
)

// DesignPath is where Design is served.
const DesignPath = "/validate-multiactive-dev-v1alpha1-multiactiveservice"

const (
	// mostWarnings that a request is answered with; kubectl prints each on a line.
	mostWarnings = 10
	// longestWarning in bytes: the API server cuts what is longer.
	longestWarning = 250
)

// Design checks the designs of MultiActiveServices.
type Design struct {
	// Reader of Regions and DataStores. It may be a cache.
	Reader client.Reader
}

var _ admission.Validator[*v1alpha1.MultiActiveService] = (*Design)(nil)

// SetupWithManager has the manager's webhook server serve d.
func (d *Design) SetupWithManager(mgr ctrl.Manager) error {
	err := ctrl.NewWebhookManagedBy(mgr, &v1alpha1.MultiActiveService{}).WithValidator(d).WithValidatorCustomPath(DesignPath).Complete()
	if err != nil {
		return fmt.Errorf("adding the webhook of designs: %w", err)
	}
	return nil
}

// ValidateCreate refuses a design with errors.
func (d *Design) ValidateCreate(ctx context.Context, mas *v1alpha1.MultiActiveService) (admission.Warnings, error) {
	return d.judge(ctx, mas, nil)
}

// ValidateUpdate refuses errors that the object did not have before: a newer operator may know more rules, and what
// is stored must stay open to changes.
func (d *Design) ValidateUpdate(ctx context.Context, before, mas *v1alpha1.MultiActiveService) (admission.Warnings, error) {
	if !mas.DeletionTimestamp.IsZero() {
		return nil, nil
	}
	return d.judge(ctx, mas, before)
}

// ValidateDelete accepts.
func (*Design) ValidateDelete(context.Context, *v1alpha1.MultiActiveService) (admission.Warnings, error) {
	return nil, nil
}

func (d *Design) judge(ctx context.Context, mas, before *v1alpha1.MultiActiveService) (admission.Warnings, error) {
	services := []*v1alpha1.MultiActiveService{mas}
	if before != nil {
		services = append(services, before)
	}
	known, err := d.known(ctx, services...)
	if err != nil {
		return nil, err
	}
	known.Service, known.Stored = mas, before
	result := lint.Check(known)
	had := map[[2]string]bool{}
	if before != nil && result.Count(lint.SeverityError) > 0 {
		known.Service, known.Stored = before, nil
		for _, f := range lint.Check(known).Findings {
			had[[2]string{f.Code, f.Message}] = true // places in lists may have changed
		}
	}
	var refused field.ErrorList
	var warnings admission.Warnings
	for _, f := range result.Findings {
		switch {
		case f.Accepted != "":
		case f.Severity == lint.SeverityError && !had[[2]string{f.Code, f.Message}]:
			refused = append(refused, &field.Error{
				Type: field.ErrorTypeForbidden, Field: f.Path,
				Detail: fmt.Sprintf("%s: %s: %s; to mend it: %s", f.Code, f.Message, f.Consequence, f.Fix),
			})
		default:
			warnings = append(warnings, cut(fmt.Sprintf("%s %s: %s; %s", f.Code, f.Path, f.Message, f.Fix)))
		}
	}
	if more := len(warnings) - mostWarnings; more > 0 {
		warnings = append(warnings[:mostWarnings], fmt.Sprintf("and %d more: kubectl multiactive lint -f FILE", more))
	}
	if len(refused) > 0 {
		return warnings, apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("MultiActiveService").GroupKind(), mas.Name, refused)
	}
	return warnings, nil
}

// known are the objects that the services name, as far as they are there. Others may be applied a moment later.
func (d *Design) known(ctx context.Context, services ...*v1alpha1.MultiActiveService) (lint.Context, error) {
	out := lint.Context{Stores: map[string]*v1alpha1.DataStore{}, Regions: map[string]*v1alpha1.Region{}}
	for _, mas := range services {
		for _, name := range slices.StoreNames(mas.Spec) {
			store := &v1alpha1.DataStore{}
			if found, err := d.get(ctx, name, store); err != nil {
				return out, err
			} else if found {
				out.Stores[name] = store
			}
		}
		for _, declared := range mas.Spec.Regions {
			region := &v1alpha1.Region{}
			if found, err := d.get(ctx, declared.Name, region); err != nil {
				return out, err
			} else if found {
				out.Regions[declared.Name] = region
			}
		}
	}
	return out, nil
}

func (d *Design) get(ctx context.Context, name string, into client.Object) (found bool, err error) {
	err = d.Reader.Get(ctx, client.ObjectKey{Name: name}, into)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", name, err)
	}
	return true, nil
}

// cut shortens a text at the end of a character.
func cut(text string) string {
	if len(text) <= longestWarning {
		return text
	}
	end := 0
	for i := range text {
		if i > longestWarning-len("…") {
			break
		}
		end = i
	}
	return text[:end] + "…"
}
