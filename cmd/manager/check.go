package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/coordination"
)

// checkWithin bounds all that --check does.
const checkWithin = 30 * time.Second

// errCheck is what --check ends with when it has found something; it has said what.
var errCheck = errors.New("something is missing, see above")

// check looks whether the manager would find what it needs: the resources of multiactive.dev, the right to read them, and
// the coordination store. It writes a line for each to out, and nothing anywhere else.
func check(ctx context.Context, o options, config *rest.Config, scheme *runtime.Scheme, now time.Time, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	failed := false
	say := func(what string, err error) {
		if err == nil {
			_, _ = fmt.Fprintf(out, "ok      %s\n", what)
			return
		}
		failed = true
		_, _ = fmt.Fprintf(out, "FAILED  %s: %v\n", what, err)
	}
	reader, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("reaching the Kubernetes API server: %w", err)
	}
	for _, kind := range checked(o.common.mode) {
		say(kind.resource, readable(ctx, reader, kind.list))
	}
	store, err := o.common.connectStore(coordination.Position{}, false)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	health := store.Inspect(ctx, now)
	for _, warning := range health.Warnings {
		_, _ = fmt.Fprintf(out, "warning coordination store: %s\n", warning)
	}
	for _, problem := range health.Broken {
		say("coordination store", errors.New(problem))
	}
	if len(health.Broken) == 0 {
		_, err := store.Read(ctx) // which a majority of its members must confirm
		say("coordination store", err)
	}
	if failed {
		return errCheck
	}
	return nil
}

type checkedKind struct {
	resource string
	list     client.ObjectList
}

// checked are the kinds that a mode works on.
func checked(mode string) []checkedKind {
	var kinds []checkedKind
	if mode != modeMember {
		kinds = append(kinds, checkedKind{"regions", &v1alpha1.RegionList{}}, checkedKind{"multiactiveservices", &v1alpha1.MultiActiveServiceList{}},
			checkedKind{"datastores", &v1alpha1.DataStoreList{}}, checkedKind{"operations", &v1alpha1.OperationList{}},
			checkedKind{"regionincidents", &v1alpha1.RegionIncidentList{}})
	}
	if mode != modeHub {
		kinds = append(kinds, checkedKind{"regionalservices", &v1alpha1.RegionalServiceList{}}, checkedKind{"replicationlinks", &v1alpha1.ReplicationLinkList{}})
	}
	return kinds
}

func readable(ctx context.Context, reader client.Reader, list client.ObjectList) error {
	err := reader.List(ctx, list, client.Limit(1))
	if meta.IsNoMatchError(err) {
		return errors.New("the cluster lacks the resource; apply the chart's crds directory: helm show crds <chart> | kubectl apply --server-side -f -")
	}
	return err
}
