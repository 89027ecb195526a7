package clusters

import (
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// What is wrong with a connection. Get's errors match one of them.
var (
	// ErrUnknown: no cluster was set for the region.
	ErrUnknown = errors.New("no cluster is configured")
	// ErrNotConnected: the first attempt is under way; nothing is known yet.
	ErrNotConnected = errors.New("connecting")
	// ErrUnreachable: the API server does not answer.
	ErrUnreachable = errors.New("the API server does not answer")
	// ErrUnauthorized: the API server refuses the credentials, or what they may do is not enough.
	ErrUnauthorized = errors.New("the API server refuses the credentials")
	// ErrCRDsMissing: the cluster does not serve RegionalServices.
	ErrCRDsMissing = errors.New("the cluster does not serve multiactive.dev/v1alpha1")
)

// ConnectionError is what is wrong with one region's cluster.
type ConnectionError struct {
	Region string
	// Kind is one of the errors above.
	Kind error
	// Cause is what was met, if anything.
	Cause error
}

// Error implements error. It names the address, never a credential.
func (e *ConnectionError) Error() string {
	if e.Cause == nil {
		return fmt.Sprintf("cluster of region %s: %v", e.Region, e.Kind)
	}
	return fmt.Sprintf("cluster of region %s: %v: %v", e.Region, e.Kind, e.Cause)
}

// Unwrap lets callers match both the kind and the cause.
func (e *ConnectionError) Unwrap() []error { return []error{e.Kind, e.Cause} }

// classify names the kind of a failed request.
func classify(region string, err error) *ConnectionError {
	kind := ErrUnreachable
	switch {
	case apierrors.IsUnauthorized(err), apierrors.IsForbidden(err):
		kind = ErrUnauthorized
	case apierrors.IsNotFound(err):
		kind = ErrCRDsMissing
	}
	return &ConnectionError{Region: region, Kind: kind, Cause: err}
}
