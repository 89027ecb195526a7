package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
)

const compensationUsage = `kubectl multiactive compensation lists whom outages have hit: the users whose requests to a service were refused,
or served worse, as its gateways have recorded them in the last seven days. Users are recorded as an HMAC by the
compensation-secret of the Secret <service>-gateway, so that only who has that secret can tell who they are:

  kubectl multiactive compensation -n accounts --service user --contexts bj,sh,sz > hit.csv
  kubectl multiactive compensation -n accounts --service user --contexts bj,sh,sz \
      --users all-users.txt --secret-file secret      # the same, and who: only those of the list are printed

A list of users has one key a line, as users write it. What gateways say can also be fetched by other means, and
given as files:

  kubectl -n accounts port-forward user-gateway-… 8081 &
  curl -s localhost:8081/.multiactive/affected/users > sh-1
  kubectl multiactive compensation --from sh-1,sh-2,sz-1

It needs the rights to list Pods, to get pods/proxy and to get RegionalServices in the namespace, in each region's
cluster.

Exit code 3 when a gateway could not be asked, or has affected requests that it did not record.`

// compensationOptions are the flags.
type compensationOptions struct {
	namespace, service, contexts, from, since string
	users, secretFiles, normalize, output     string
	// at is since as a time.
	at time.Time
}

func (o *compensationOptions) bind(fs *pflag.FlagSet) {
	fs.StringVarP(&o.namespace, "namespace", "n", "default", "namespace of the service")
	fs.StringVar(&o.service, "service", "", "name of the MultiActiveService")
	fs.StringVar(&o.contexts, "contexts", "", "contexts of the kubeconfig that are the regions' clusters, separated by commas (default: the current one)")
	fs.StringVar(&o.from, "from", "", "files with what gateways say, separated by commas, in place of asking; - is standard input")
	bindKubeconfig(fs)
	fs.StringVar(&o.since, "since", "", "only who was hit since then: a duration such as 2h, or a time such as 2026-01-02T15:04:05Z")
	fs.StringVar(&o.users, "users", "", "file with the keys of users to find in the records, one a line")
	fs.StringVar(&o.secretFiles, "secret-file", "", "files with the compensation-secret, and former ones, separated by commas; for --users")
	fs.StringVar(&o.normalize, "normalize", "", "how keys of --users are normalised, such as DigitsOnly, separated by commas (default: as the service declares; needed with --from)")
	fs.StringVarP(&o.output, "output", "o", "csv", "csv, or json for one object a line")
}

func (o *compensationOptions) check(now time.Time) error {
	switch {
	case o.service == "" && o.from == "":
		return fmt.Errorf("--service: which service? %w", errUsage)
	case o.output != "csv" && o.output != "json":
		return fmt.Errorf("-o: %q is neither csv nor json: %w", o.output, errUsage)
	case (o.users == "") != (o.secretFiles == ""):
		return fmt.Errorf("--users and --secret-file go together: %w", errUsage)
	case o.since == "":
		return nil
	}
	if d, err := time.ParseDuration(o.since); err == nil {
		o.at = now.Add(-d)
		return nil
	}
	at, err := time.Parse(time.RFC3339, o.since)
	if err != nil {
		return fmt.Errorf("--since: %q is neither a duration such as 2h nor a time such as 2026-01-02T15:04:05Z: %w", o.since, errUsage)
	}
	o.at = at
	return nil
}

func compensationCommand(t *terminal) *cobra.Command {
	var o compensationOptions
	return leaf("compensation", "Whom outages have hit", compensationUsage, o.bind, func(ctx context.Context) error { return compensation(ctx, &o, *t) })
}

func compensation(ctx context.Context, o *compensationOptions, t terminal) error {
	if err := o.check(t.clock()); err != nil {
		return err
	}
	all := newHit(o.at)
	steps, problems := o.gather(ctx, t, all)
	known, err := o.known(steps)
	if err != nil {
		return err
	}
	if err := all.print(t.out, o.output, known); err != nil {
		return err
	}
	return all.tell(t, problems)
}

// gather takes in what gateways say, from files or by asking, and returns how each key is normalised.
func (o *compensationOptions) gather(ctx context.Context, t terminal, all *hit) (steps map[string][]string, problems []error) {
	if o.from != "" {
		for name := range strings.SplitSeq(o.from, ",") {
			if err := o.takeFile(t, name, all); err != nil {
				problems = append(problems, err)
			}
		}
		return nil, problems
	}
	get := t.configOf
	for name := range strings.SplitSeq(o.contexts, ",") {
		found, err := o.askCluster(ctx, get, name, all)
		if err != nil {
			problems = append(problems, err)
		}
		if found != nil {
			steps = found
		}
	}
	return steps, problems
}

func (o *compensationOptions) takeFile(t terminal, name string, all *hit) error {
	if name == "-" {
		return all.take(t.in, "standard input")
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	return all.take(f, name)
}

// askCluster asks all gateways in one cluster. steps is nil when that is not known.
func (o *compensationOptions) askCluster(ctx context.Context, get func(string) (*rest.Config, error), name string, all *hit) (map[string][]string, error) {
	c, err := get(name)
	if err != nil {
		return nil, fmt.Errorf("context %q: %w; give --kubeconfig", name, err)
	}
	cluster, err := newGatewayCluster(c, o.namespace, o.service)
	if err != nil {
		return nil, fmt.Errorf("context %q: %w", name, err)
	}
	steps, err := cluster.keys(ctx)
	problems := []error{err}
	pods, err := cluster.pods(ctx)
	problems = append(problems, err)
	for _, pod := range pods {
		problems = append(problems, cluster.ask(ctx, pod, o.at, all))
	}
	if err := errors.Join(problems...); err != nil {
		return steps, fmt.Errorf("context %q: %w", name, err)
	}
	return steps, nil
}

// known reads the list of users and what stands for each in records; nil: there is no list.
func (o *compensationOptions) known(steps map[string][]string) (*suspects, error) {
	if o.users == "" {
		return nil, nil //nolint:nilnil // no list is no error
	}
	s := &suspects{normalize: steps}
	if o.normalize != "" {
		s.everyKey = strings.Split(o.normalize, ",")
	}
	for name := range strings.SplitSeq(o.secretFiles, ",") {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("--secret-file: %w", err)
		}
		s.secrets = append(s.secrets, []byte(strings.TrimRight(string(content), "\r\n")))
	}
	f, err := os.Open(o.users)
	if err != nil {
		return nil, fmt.Errorf("--users: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	content, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("--users: %w", err)
	}
	s.users = slices.DeleteFunc(strings.Split(string(content), "\n"), func(line string) bool { return strings.TrimSpace(line) == "" })
	return s, nil
}
