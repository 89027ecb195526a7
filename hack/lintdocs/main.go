// Command lintdocs writes docs/lint.md, the page of the design rules, from the rules.
//
// Usage: lintdocs >docs/lint.md
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"multiactive.dev/operator/internal/lint"
)

const intro = `<!-- Written by 'make generate' from internal/lint. Do not edit. -->
# Design rules

A declaration can be valid and still not survive the loss of a region. These rules find such designs before an
outage does. ` + "`kubectl multiactive lint`" + ` checks files, without a cluster:

` + "```console" + `
$ kubectl multiactive lint -f service.yaml
$ kubectl multiactive lint -f service.yaml -f regions/ -f stores.yaml --complete
$ kubectl kustomize overlays/production | kubectl multiactive lint -f - -o sarif
` + "```" + `

Each finding names the rule, the field, what would happen in an outage, and the change that mends it. Exit code 1
means errors, 2 that a file cannot be read; warnings alone give 0. Some rules need to know the Regions and DataStores:
give the files that have them. What is named and not in the files is said not to be checked; with ` + "`--complete`" + `
the files have all that there are, and it is an error.

A service in a cluster says the same in its condition ` + "`DesignSound`" + `: ` + "`False`" + ` with errors (` + "`DesignErrors`" + `), ` + "`True`" + ` with
warnings alone (` + "`DesignWarnings`" + `). Readiness does not depend on it.

The hub's webhook refuses a service with errors when it is created, and an update that brings errors which the stored
service has not got; warnings are printed by ` + "`kubectl apply`" + `. While no hub answers, changed designs are refused (the
chart's value ` + "`webhook.failurePolicy`" + `); everything else about a service can be changed. Regions and DataStores that are not
there yet are not missed: ` + "`DesignSound`" + ` tells later.

**Errors** lose data, or the service, in an outage. They cannot be accepted. **Warnings** may be meant: accept one with
a reason, and it is listed as accepted.

` + "```yaml" + `
metadata:
  annotations:
    multiactive.dev/accept.MA105: "customers rather repeat a transfer than wait for it"
` + "```" + `

What is told of a change, such as MA017, is told by the webhook and by ` + "`kubectl multiactive plan -f`" + `, which know what is in force. What is observed in regions' clusters, such as how long
their databases keep their binary logs (MA009), is told by ` + "`DesignSound`" + ` alone.

Rules judge what is declared and observed, and never guess. What nothing measures is not judged: what an application carries (MA106 compares with
what survivors are scaled to at least), the round trip between regions (MA107 has the bound that holds for any), and which classes are
bulky. What a flow is called by is known when a request comes: MA114 knows gRPC by the form that its paths have.

Codes never change their meaning; numbers that are missing are not in use. A service in one region has no other to
differ from: most rules say nothing of it.

`

func main() {
	out := bufio.NewWriter(os.Stdout)
	write(out, lint.Rules())
	if err := out.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, "lintdocs:", err)
		os.Exit(1)
	}
}

func write(w io.Writer, rules []lint.Rule) {
	_, _ = io.WriteString(w, intro)
	_, _ = io.WriteString(w, "| code | severity | finds |\n|---|---|---|\n")
	for _, r := range rules {
		_, _ = fmt.Fprintf(w, "| [%s](#%s) | %s | %s |\n", r.Code, strings.ToLower(r.Code), r.Severity, r.Title)
	}
	for _, r := range rules {
		_, _ = fmt.Fprintf(w, "\n## %s\n%s: %s.\n\nIn an outage: %s.\n\n", r.Code, heading(r.Severity), r.Title, r.Why)
		if r.Example.Complete {
			_, _ = io.WriteString(w, "With `--complete`, in a service of two regions:\n\n")
		}
		if r.Example.Stored != "" {
			_, _ = fmt.Fprintf(w, "In force:\n\n```yaml\n%s```\n\nChanged:\n\n", r.Example.Stored)
		}
		_, _ = fmt.Fprintf(w, "```yaml\n%s```\n\nMended:\n\n```yaml\n%s```\n", r.Example.Before, r.Example.After)
	}
}

func heading(s lint.Severity) string {
	if s == lint.SeverityError {
		return "**Error**"
	}
	return "**Warning**"
}
