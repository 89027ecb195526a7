package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/flagenv"
	"multiactive.dev/operator/internal/ownership"
)

// The modes of the manager.
const (
	modeHub    = "hub"
	modeMember = "member"
	modePeer   = "peer"
)

// envPrefix of the variable that stands for a flag: --region is MULTIACTIVE_MANAGER_REGION.
const envPrefix = "MULTIACTIVE_MANAGER_"

const usage = `manager runs MultiActive's controllers.

  manager --mode=hub     in one cluster: reads Regions and MultiActiveServices, writes one
                         RegionalService into every region's cluster, reports what they say
  manager --mode=member  in every region's cluster: runs the workload, the gateways, the topics
                         and the region's agent
  manager --mode=peer    in every region's cluster instead of both: apply the same manifests in every
                         cluster; what most of them have is acted on, by the hub in the region that leads

All talk to the coordination store, an etcd with a member in every region. Name all of its
members: the store answers while a majority of them lives.

  manager --mode=hub --kubeconfig=hub.kubeconfig \
    --coordination-endpoints=http://10.1.0.5:2379,http://10.2.0.5:2379,http://10.3.0.5:2379

Every flag can be given as a variable: --region as ` + envPrefix + `REGION.

Flags:
`

// commonOptions are the flags of all modes.
type commonOptions struct {
	mode              string
	operatorNamespace string
	metricsAddress    string
	pprofAddress      string
	healthAddress     string
	leaderElect       bool
	timingsName       string
	showVersion       bool
	webhook           webhookOptions
	check             bool
	// podUID comes from the environment; empty when not in a Pod.
	podUID string

	coordinationEndpoints string
	coordinationPrefix    string
	coordinationCA        string
	coordinationCert      string
	coordinationKey       string
}

// options are all flags.
type options struct {
	common  commonOptions
	member  memberOptions
	logging zap.Options
}

// parse reads the flags, and the environment for those not given. With --help it writes the help to stdout and returns flag.ErrHelp.
func parse(args []string, env func(string) string, stdout io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("manager", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // the error says it all; the whole help would bury it
	o.common.bind(fs)
	o.member.bind(fs)
	o.logging.BindFlags(fs)
	config.RegisterFlags(fs)
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		fs.SetOutput(stdout)
		_, _ = io.WriteString(stdout, usage)
		fs.PrintDefaults()
		return options{}, err
	} else if err != nil {
		return options{}, fmt.Errorf("%w; see --help", err)
	}
	if fs.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q; flags only, see --help", fs.Arg(0))
	}
	if err := flagenv.Set(fs, envPrefix, env); err != nil {
		return options{}, err
	}
	if o.common.showVersion {
		return o, nil
	}
	return o, o.common.validate()
}

func (o *commonOptions) bind(fs *flag.FlagSet) {
	o.podUID = os.Getenv("POD_UID")
	fs.StringVar(&o.mode, "mode", "", "hub, member or peer (required)")
	fs.StringVar(&o.operatorNamespace, "operator-namespace", "multiactive-system",
		"namespace of the operator's own Secrets and leases, in this cluster and in the regions'")
	fs.StringVar(&o.metricsAddress, "metrics-bind-address", "0",
		"address that serves Prometheus metrics over plain HTTP, such as 127.0.0.1:8080; 0: none")
	fs.StringVar(&o.pprofAddress, "pprof-bind-address", "0",
		"address that serves profiles for go tool pprof over plain HTTP at /debug/pprof/, such as 127.0.0.1:6060; they show memory to whoever may connect; 0: none")
	fs.StringVar(&o.healthAddress, "health-probe-bind-address", ":8081", "address that serves /healthz and /readyz")
	fs.BoolVar(&o.leaderElect, "leader-elect", false,
		"let one of several managers act, chosen by a Lease in the operator's namespace")
	fs.StringVar(&o.timingsName, "timings", "default",
		"default: round trips between regions below 100 ms; fast: below 30 ms. The same for every manager")
	fs.BoolVar(&o.showVersion, "version", false, "print the version and end")
	o.webhook.bind(fs)
	fs.BoolVar(&o.check, "check", false,
		"look whether the resources of multiactive.dev can be read and the coordination store serves, print that and end: 0, or 1 when something is missing")
	fs.StringVar(&o.coordinationEndpoints, "coordination-endpoints", "",
		"comma-separated client URLs of all members of the coordination store, the nearest first: it is asked as long as it answers (required)")
	fs.StringVar(&o.coordinationPrefix, "coordination-prefix", coordination.DefaultPrefix,
		"prefix of all keys in the coordination store")
	fs.StringVar(&o.coordinationCA, "coordination-ca-file", "", "PEM file with the CA of https coordination endpoints")
	fs.StringVar(&o.coordinationCert, "coordination-cert-file", "", "PEM file with the client certificate for them")
	fs.StringVar(&o.coordinationKey, "coordination-key-file", "", "PEM file with the certificate's key")
}

func (o commonOptions) validate() error {
	switch o.mode {
	case modeHub, modeMember, modePeer:
	case "":
		return errors.New("--mode is required: hub, member or peer, see --help")
	default:
		return fmt.Errorf("--mode=%s is unknown: hub, member or peer, see --help", o.mode)
	}
	if o.coordinationEndpoints == "" {
		return errors.New("--coordination-endpoints is required: the client URLs of the coordination store's members")
	}
	if o.operatorNamespace == "" {
		return errors.New("--operator-namespace must not be empty")
	}
	if _, err := o.timings(); err != nil {
		return err
	}
	if err := o.webhook.validate(o.mode); err != nil {
		return err
	}
	if (o.coordinationCert == "") != (o.coordinationKey == "") {
		return errors.New("--coordination-cert-file and --coordination-key-file belong together: give both or none")
	}
	return nil
}

// timings returns the protocol's durations that --timings names.
func (o commonOptions) timings() (ownership.Timings, error) {
	switch o.timingsName {
	case "default":
		return ownership.DefaultTimings(), nil
	case "fast":
		return ownership.FastTimings(), nil
	default:
		return ownership.Timings{}, fmt.Errorf("--timings=%s is unknown: default or fast", o.timingsName)
	}
}

// timed is timings once validate has accepted them.
func (o commonOptions) timed() ownership.Timings {
	t, err := o.timings()
	if err != nil {
		panic("manager: the timings were accepted, and are not there: " + err.Error())
	}
	return t
}

// endpoints returns the coordination store's client URLs.
func (o commonOptions) endpoints() []string {
	var out []string
	for e := range strings.SplitSeq(o.coordinationEndpoints, ",") {
		if e = strings.TrimSpace(e); e != "" {
			out = append(out, e)
		}
	}
	return out
}

// connectStore returns a client of the coordination store. known is the position kept from
// earlier runs, if any, and restored whether that store is refused for good. It does not wait for the store to answer.
func (o commonOptions) connectStore(known coordination.Position, restored bool) (*coordination.Store, error) {
	credentials, err := coordination.NewCredentials(coordination.Files{CA: o.coordinationCA, Cert: o.coordinationCert, Key: o.coordinationKey})
	if err != nil {
		return nil, fmt.Errorf("--coordination-ca-file, --coordination-cert-file and --coordination-key-file: %w", err)
	}
	return coordination.Connect(coordination.Options{
		Endpoints: o.endpoints(), Prefix: o.coordinationPrefix, Credentials: credentials, Known: known, Restored: restored,
	})
}

// closing closes the store when the manager ends.
func closing(store *coordination.Store) manager.Runnable {
	return manager.RunnableFunc(func(ctx context.Context) error {
		<-ctx.Done()
		return store.Close()
	})
}
