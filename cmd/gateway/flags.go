package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"multiactive.dev/operator/internal/flagenv"
	"multiactive.dev/operator/internal/gateway"
)

// envPrefix of the variable that stands for a flag: --owner-wait is MULTIACTIVE_GATEWAY_OWNER_WAIT.
const envPrefix = "MULTIACTIVE_GATEWAY_"

// config is all that the command line says.
type config struct {
	options             gateway.Options
	listen, adminListen string
	// peerListen is empty without a port for peers; peerFiles has the certificate for it.
	peerListen, peerFiles string
	fastPath              bool
	headerTimeout         time.Duration
	idleTimeout           time.Duration
	drainDelay            time.Duration
	drainTimeout          time.Duration
	logLevel              slog.Level
	secrets               secretDir
	deferral              deferral
	tracing               tracing
}

const usage = `gateway routes one service's requests by partition key.

It asks its region's agent for the routing and for how long it may accept home
writes, and is not ready before it has had an answer. When the agent is away it
goes on with the last routing; once the lease has run out it refuses home writes
and still serves any-region flows.

  gateway --agent=http://multiactive-agent:9441 --namespace=accounts --name=user

Users' requests      --listen        also /.multiactive/endpoints, /.multiactive/healthz (this region
                                     serves) and /.multiactive/healthz/app (the application takes
                                     connections: for the probes of the Region)
Other regions'       --peer-listen   over mutual TLS with the certificate in --peer-tls-dir; what they
                                     forward to --listen is then refused, if the routing says so
The cluster's own    --admin-listen  /readyz /healthz /metrics, and who owns a key and why:
                                     curl 'http://POD:9090/.multiactive/routing?key=13800000000'
                                     and whom outages have hit: /.multiactive/affected

SIGTERM: not ready at once, serving for --drain-delay, with the last answer of each
connection, then no new connections, and out when the last request has ended or
after --drain-timeout.

Every flag can be given as a variable: --owner-wait as ` + envPrefix + `OWNER_WAIT.
A listen address without a host uses POD_IP when that is set. POD_NAME names this
gateway to the agent (default: the host name).

Flags:
`

// parse reads flags, and the environment for those not given.
func parse(args []string, env func(string) string, out io.Writer) (*config, error) {
	c := &config{}
	o := &c.options
	flags := flag.NewFlagSet("gateway", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.Usage = func() {
		_, _ = fmt.Fprint(out, usage) // nobody to tell
		flags.PrintDefaults()
	}
	flags.StringVar(&o.Agent, "agent", "", "base `URL` of the region's agent (required)")
	flags.StringVar(&o.Namespace, "namespace", "", "`namespace` of the MultiActiveService (required)")
	flags.StringVar(&o.Name, "name", "", "`name` of the MultiActiveService (required)")
	flags.StringVar(&c.listen, "listen", ":8080", "`address` for users' and other regions' requests")
	flags.StringVar(&c.adminListen, "admin-listen", ":9090", "`address` for probes, metrics and on-call; keep it inside the cluster")
	flags.StringVar(&c.peerListen, "peer-listen", "", "`address` for other regions' gateways, over mutual TLS; empty: none")
	flags.StringVar(&c.peerFiles, "peer-tls-dir", "", "`directory` with tls.crt and tls.key to show other regions' gateways, and ca.crt if their authorities "+
		"are not to come from the agent; it is read again and again, and may be empty at first")
	flags.DurationVar(&o.OwnerWait, "owner-wait", gateway.DefaultOwnerWait, "how long a home request waits while owners change; negative: not at all")
	flags.Int64Var(&o.MaxInFlight, "max-in-flight", gateway.DefaultMaxInFlight, "requests under way before others get 503")
	flags.Int64Var(&o.KeyBodyBytes, "key-body-bytes", gateway.DefaultKeyBodyBytes, "how much of a body is read for a partition key before it gets 413")
	flags.Int64Var(&o.MaxBodyBytes, "max-body-bytes", gateway.DefaultMaxBodyBytes, "largest request body before it gets 413, except gRPC; negative: unbounded")
	flags.Int64Var(&o.MaxHeaderBytes, "max-header-bytes", gateway.DefaultMaxHeaderBytes, "largest request line and header before they get 414 or 431")
	flags.DurationVar(&c.headerTimeout, "header-timeout", 10*time.Second, "how long a request's header may take")
	flags.DurationVar(&c.idleTimeout, "idle-timeout", 2*time.Minute, "how long a connection without request is kept")
	flags.DurationVar(&o.IOTimeout, "io-timeout", gateway.DefaultIOTimeout, "how long one read of a body or one write of an answer may take")
	hardeningFlags(flags, o)
	flags.DurationVar(&o.UpstreamTimeout, "upstream-timeout", gateway.DefaultUpstreamTimeout, "how long the application may take to begin its answer; negative: for ever")
	flags.DurationVar(&c.drainDelay, "drain-delay", 5*time.Second, "time between not ready and no new connections")
	flags.DurationVar(&c.drainTimeout, "drain-timeout", 30*time.Second, "how long requests under way may take after that")
	deferralFlags(flags, c)
	tellingFlags(flags, c)
	flags.BoolVar(&c.fastPath, "fast-path", true, "serve plain HTTP/1.1 requests for the local application without net/http; false only to find out whether it is at fault")
	flags.TextVar(&c.logLevel, "log-level", slog.LevelInfo, "least `level` to log: debug, info, warn, error")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q; see --help", flags.Arg(0))
	}
	if err := flagenv.Set(flags, envPrefix, env); err != nil {
		return nil, err
	}
	o.NoFastPath = !c.fastPath
	if err := c.place(env); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.peerFiles != "" {
		o.PeerIdentity = peerIdentity(c.peerFiles)
	}
	o.ListensForPeers = c.peerListen != ""
	c.deferral.secrets = c.secrets
	return c, nil
}

// deferralFlags adds the flags of requests that are kept for later.
func deferralFlags(flags *flag.FlagSet, c *config) {
	o := &c.options
	flags.StringVar(&c.deferral.topic, "deferred-topic", "", "`topic` that keeps requests for later; none: flows with onHomeLoss Defer are refused on home loss")
	flags.StringVar(&c.deferral.brokers, "kafka-brokers", "", "`addresses` of the region's Kafka, host:port, with commas between them; needed by --deferred-topic")
	flags.BoolVar(&c.deferral.auth, "kafka-auth", false, "the brokers want the credentials in --secret-dir")
	flags.StringVar((*string)(&c.secrets), "secret-dir", "", "`directory` with the files mechanism, username, password, ca.crt, notify-secret and compensation-secret, as far as they are needed")
	flags.IntVar(&o.DeferredLimits.Requests, "deferred-requests", gateway.DefaultDeferredRequests, "deferred requests, pending or with a kept outcome, before others get 503")
	flags.IntVar(&o.DeferredLimits.Bytes, "deferred-bytes", gateway.DefaultDeferredBytes, "bytes of pending deferred requests, which are kept in memory, before others get 503")
	flags.IntVar(&o.DeferredLimits.PerKey, "deferred-per-key", gateway.DefaultDeferredPerKey, "pending deferred requests of one key before others get 503")
	flags.Int64Var(&o.DeferredBodyBytes, "deferred-body-bytes", gateway.DefaultDeferredBodyBytes, "largest body of a request that is deferred, before it gets 413")
}

// tellingFlags adds the flags of what is told of requests.
func tellingFlags(flags *flag.FlagSet, c *config) {
	o := &c.options
	flags.IntVar(&o.CompensationRecords, "compensation-records", gateway.DefaultCompensationRecords, "records of whom outages have hit, one for each user and flow, about 200 bytes each")
	flags.BoolVar(&o.AccessLog, "access-log", false, "log requests, without keys, queries and credentials")
	flags.Int64Var(&o.AccessLogEvery, "access-log-every", 1, "log one in so many of the requests that are answered as usual; all others are logged")
	flags.StringVar(&c.tracing.endpoint, "trace-endpoint", "", "`URL` that takes traces as OTLP over HTTP, such as http://collector:4318/v1/traces; none: no traces")
	flags.Float64Var(&c.tracing.ratio, "trace-ratio", 0.01, "share of the traces that are recorded, from 0 to 1, whatever callers ask for")
}

// hardeningFlags adds the flags against clients that hold on, and the addresses that are told nothing: by default
// those of this machine.
func hardeningFlags(flags *flag.FlagSet, o *gateway.Options) {
	flags.Int64Var(&o.MinRate, "min-rate", gateway.DefaultMinRate, "`bytes` per second at which a client has to send a body, except gRPC's, and to take an answer; negative: any")
	flags.Int64Var(&o.MaxConnections, "max-connections", gateway.DefaultMaxConnections, "users' connections before others get 503 and are closed")
	o.NotifyRefuse = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	flags.Func("notify-refuse", "`ranges` of addresses, with commas between them, that are told no outcomes of deferred requests, "+
		"whatever name leads there (default 127.0.0.0/8,::1/128; those that are link-local or of a metadata service never are)",
		func(text string) (err error) {
			o.NotifyRefuse, err = parseRanges(text)
			return err
		})
}

// parseRanges reads ranges of addresses; none is fine.
func parseRanges(text string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		p, err := netip.ParsePrefix(part)
		if err != nil {
			return nil, fmt.Errorf("%q is no range such as 10.0.0.0/8", part)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// place names this gateway, and completes its addresses.
func (c *config) place(env func(string) string) error {
	if c.options.Gateway = env("POD_NAME"); c.options.Gateway == "" {
		c.options.Gateway, _ = os.Hostname() // an empty name is reported later
	}
	for name, address := range map[string]*string{"listen": &c.listen, "admin-listen": &c.adminListen, "peer-listen": &c.peerListen} {
		if *address == "" && address == &c.peerListen {
			continue
		}
		complete, err := listenAddress(name, *address, env("POD_IP"))
		if err != nil {
			return err
		}
		*address = complete
	}
	return nil
}

// check refuses limits that would switch protection off by mistake.
func (c *config) check() error {
	var errs []error
	for name, value := range map[string]int64{
		"max-connections": c.options.MaxConnections, "access-log-every": c.options.AccessLogEvery,
		"max-in-flight": c.options.MaxInFlight, "key-body-bytes": c.options.KeyBodyBytes,
		"max-header-bytes": c.options.MaxHeaderBytes, "header-timeout": int64(c.headerTimeout),
		"deferred-requests": int64(c.options.DeferredLimits.Requests), "deferred-bytes": int64(c.options.DeferredLimits.Bytes),
		"compensation-records": int64(c.options.CompensationRecords), "deferred-per-key": int64(c.options.DeferredLimits.PerKey), "deferred-body-bytes": c.options.DeferredBodyBytes,
		"idle-timeout": int64(c.idleTimeout), "io-timeout": int64(c.options.IOTimeout),
	} {
		if value <= 0 {
			errs = append(errs, fmt.Errorf("--%s: must be more than 0", name))
		}
	}
	for name, value := range map[string]time.Duration{"drain-delay": c.drainDelay, "drain-timeout": c.drainTimeout} {
		if value < 0 {
			errs = append(errs, fmt.Errorf("--%s: must not be negative", name))
		}
	}
	errs = append(errs, c.tracing.check())
	if c.deferral.topic != "" && c.deferral.brokers == "" {
		errs = append(errs, errors.New("--kafka-brokers: must be given with --deferred-topic"))
	}
	if c.peerListen != "" && c.peerFiles == "" {
		errs = append(errs, errors.New("--peer-tls-dir: must be given with --peer-listen"))
	}
	return errors.Join(errs...)
}

// listenAddress completes an address without a host.
func listenAddress(name, address, podIP string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("--%s: %q is not host:port: %w", name, address, err)
	}
	if host == "" {
		host = podIP
	}
	return net.JoinHostPort(host, port), nil
}
