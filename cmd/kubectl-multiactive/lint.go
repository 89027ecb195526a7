package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/lint"
)

const lintUsage = `kubectl multiactive lint checks the design of MultiActiveServices in files, without a cluster: whether what is
declared can survive the loss of a region. docs/lint.md has all rules.

  kubectl multiactive lint -f service.yaml
  kubectl multiactive lint -f service.yaml -f platform/ --complete     # a directory with Regions and DataStores
  kubectl kustomize overlays/production | kubectl multiactive lint -f - -o sarif

Regions and DataStores in the files are taken into account. What needs one that is not there is said not to be
checked; with --complete it is an error to name it. Objects of others in the files are passed over; directories are
read without those in them, for *.yaml, *.yml and *.json.

A warning can be accepted with a reason, by an annotation of the service; an error cannot:

  multiactive.dev/accept.MA105: customers rather repeat a transfer than wait for it

It does not repeat all that the API server checks of single fields: kubectl apply --server-side --dry-run=server does.

Exit codes: 0 no errors (there may be warnings), 1 errors, 2 a file cannot be read or the command line is wrong.`

// errFindings tells that there are errors among the findings, which have been printed.
var errFindings = errors.New("the design has errors")

// lintOptions are the flags of lint.
type lintOptions struct {
	files    []string
	output   string
	complete bool
}

func (o *lintOptions) bind(fs *pflag.FlagSet) {
	fs.StringArrayVarP(&o.files, "filename", "f", nil, "`file` or directory with objects, - for standard input; may be repeated (required)")
	fs.StringVarP(&o.output, "output", "o", "text", "text, json or sarif (2.1.0)")
	fs.BoolVar(&o.complete, "complete", false, "the files have all Regions and DataStores that there are")
}

// lintPrinters write the findings.
var lintPrinters = map[string]func(io.Writer, []linted) error{"text": printText, "json": printJSON, "sarif": printSARIF}

// linted is a service and what there is to say of it.
type linted struct {
	declared
	service *v1alpha1.MultiActiveService
	result  lint.Result
}

// name of the service for people.
func (l linted) name() string {
	if l.service.Namespace == "" {
		return l.service.Name
	}
	return l.service.Namespace + "/" + l.service.Name
}

func lintCommand(t *terminal) *cobra.Command {
	var o lintOptions
	return leaf("lint", "Whether what files declare can survive the loss of a region", lintUsage, o.bind, func(context.Context) error { return lintFiles(&o, *t) })
}

func lintFiles(o *lintOptions, t terminal) error {
	write := lintPrinters[o.output]
	switch {
	case len(o.files) == 0:
		return fmt.Errorf("-f is required: which files? %w", errUsage)
	case write == nil:
		return fmt.Errorf("-o: %q is neither text, json nor sarif: %w", o.output, errUsage)
	}
	found, err := readObjects(o.files, t.in)
	if err != nil {
		return err
	}
	if len(found.services) == 0 {
		return fmt.Errorf("%w: there is no MultiActiveService in the files", errInput)
	}
	failed := false
	for i := range found.services {
		s := &found.services[i]
		s.result = lint.Check(lint.Context{Service: s.service, Stores: found.stores, Regions: found.regions, Complete: o.complete})
		failed = failed || s.result.Count(lint.SeverityError) > 0
	}
	if err := write(t.out, found.services); err != nil {
		return err
	}
	if failed {
		return errFindings
	}
	return nil
}
