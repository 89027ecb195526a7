// Package flow turns the typed ends of a reconcile into what the controller runtime should do
// next. It must never swallow an error that a person has to see: those are in conditions by the
// time they get here.
package flow

import (
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Waiting ends a reconcile that can go on only after something else happened.
type Waiting struct {
	// Reason says what is awaited.
	Reason string
	// After is when to look again even if nothing is announced; 0: only when announced.
	After time.Duration
}

// Error implements error.
func (w Waiting) Error() string { return "waiting: " + w.Reason }

// Stalled ends a reconcile that cannot succeed before the object's spec changes.
type Stalled struct {
	// Reason says what must be changed.
	Reason string
}

// Error implements error.
func (s Stalled) Error() string { return "stalled: " + s.Reason }

// Resolve returns what a reconcile returns, given its own end and that of patching the status:
// Waiting requeues without an error, Stalled stops until the object changes, a conflict retries
// quietly, and everything else backs off. An object that is gone needs no status.
func Resolve(res ctrl.Result, err, patch error) (ctrl.Result, error) {
	if apierrors.IsNotFound(patch) {
		patch = nil
	}
	if patch != nil {
		patch = fmt.Errorf("patching the status: %w", patch)
	}
	var waiting Waiting
	var stalled Stalled
	switch {
	case errors.As(err, &waiting):
		res, err = ctrl.Result{RequeueAfter: waiting.After}, nil
	case errors.As(err, &stalled):
		err = reconcile.TerminalError(err)
	case apierrors.IsConflict(err):
		res, err = ctrl.Result{RequeueAfter: time.Second}, nil
	}
	if patch != nil {
		return ctrl.Result{}, errors.Join(err, patch)
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	return res, nil
}
