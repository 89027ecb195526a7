package flow_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"multiactive.dev/operator/internal/flow"
)

func TestResolve(t *testing.T) {
	t.Parallel()
	gone := apierrors.NewNotFound(schema.GroupResource{Resource: "regions"}, "beijing")
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "regions"}, "beijing", errors.New("changed"))
	broken := errors.New("broken")
	later := ctrl.Result{RequeueAfter: time.Minute}
	for name, c := range map[string]struct {
		err, patch  error
		want        ctrl.Result
		wantErr     error
		wantStopped bool
	}{
		"success keeps the deadline":           {want: later},
		"waiting requeues without an error":    {err: fmt.Errorf("x: %w", flow.Waiting{Reason: "cache", After: time.Second}), want: ctrl.Result{RequeueAfter: time.Second}},
		"a conflict retries quietly":           {err: fmt.Errorf("x: %w", conflict), want: ctrl.Result{RequeueAfter: time.Second}},
		"an error backs off":                   {err: broken, wantErr: broken},
		"stalled stops":                        {err: flow.Stalled{Reason: "name"}, wantErr: flow.Stalled{Reason: "name"}, wantStopped: true},
		"no status for an object that is gone": {patch: gone, want: later},
		"an unpatched status is an error":      {patch: broken, wantErr: broken},
		"both errors are told":                 {err: broken, patch: conflict, wantErr: broken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := flow.Resolve(later, c.err, c.patch)
			if got != c.want {
				t.Errorf("result %v, want %v", got, c.want)
			}
			if !errors.Is(err, c.wantErr) {
				t.Errorf("error %v, want %v", err, c.wantErr)
			}
			if stopped := errors.Is(err, reconcile.TerminalError(nil)); stopped != c.wantStopped {
				t.Errorf("stopped %t, want %t", stopped, c.wantStopped)
			}
		})
	}
}
