// Command mirror copies the topics of one region's Kafka into this region's.
// It only reads flags and wires; internal/mirror does the work.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/mirror"
	_ "multiactive.dev/operator/internal/publicroots"
)

const usage = `mirror copies topics of one region's Kafka (the source) to this region's
Kafka (the target), as <origin>.<topic>, partition by partition, at least once
and in order. Run exactly one for every source region, in the region that
receives.

  mirror --config /etc/multiactive/mirror.yaml --listen 10.0.0.7:8080

The configuration (YAML or JSON; read again when it changes, or on SIGHUP):

  origin: beijing                        # the source region's name
  source: {brokers: ["kafka.bj:9092"]}
  target:
    brokers: ["kafka.sh:9092"]
    sasl:                                # optional, for either side
      mechanism: SCRAM-SHA-512           # PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
      userEnv: KAFKA_USER                # or userFile
      passwordFile: /secrets/password    # or passwordEnv; never in this file
    tls: {caFile: /secrets/ca.crt}       # optional: certFile, keyFile, serverName
  topics: [accounts.account]             # local names, without a prefix

multiactive.canary is always copied too. Target topics that are missing are
made with the source's partition count. With access control the users need

  source  topics as listed, and multiactive.canary: Read, DescribeConfigs
  target  topics that begin with <origin>.: Create, Alter, Read, Write,
          DescribeConfigs (Read is what Kafka asks of who stores positions)
          group multiactive.mirror.<origin>: Read

HTTP: /healthz (the process makes its rounds), /readyz (everything is being
copied; the answer lists what is not), /metrics (multiactive_mirror_*).
A cluster that is down is waited for; the process ends only when told to, or,
at the start, when its configuration is wrong (exit status 2).

Flags:
`

// gcPercent has memory collected sooner than Go does by itself: records are large and live for a moment, so
// that waiting until the heap has doubled would double the memory for next to no processor time.
const gcPercent = 40

// version is set by the linker.
var version = "dev"

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns the exit status: 0 after a signal, 1 when it cannot go on, 2 for
// wrong flags or a wrong configuration.
func run(ctx context.Context, arguments []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("mirror", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	path := flags.String("config", "", "configuration `file` (needed)")
	listen := flags.String("listen", "127.0.0.1:8080", "`address` for health checks and metrics")
	tell := flags.Bool("version", false, "print the version")
	buffer := flags.Int("buffer-bytes", 32<<20, "`bytes` read and not yet acknowledged by the target, at most")
	switch err := flags.Parse(arguments); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case *tell:
		fmt.Fprintln(stdout, version)
		return 0
	case *path == "":
		fmt.Fprintln(stderr, "mirror: --config is needed; mirror --help shows an example")
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "mirror: unexpected argument %q\n", flags.Arg(0))
		return 2
	case *buffer < 1<<20:
		fmt.Fprintf(stderr, "mirror: --buffer-bytes is %d; at least %d is needed\n", *buffer, 1<<20)
		return 2
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	service := mirror.NewService(*path, mirror.Settings{BufferBytes: *buffer}, clock.RealClock{}, log)
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		fmt.Fprintf(stderr, "mirror: --listen: %v\n", err)
		return 1
	}
	server := &http.Server{Handler: service.Handler(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with Close below
	defer func() { _ = server.Close() }()

	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	go func() {
		for range hup {
			service.Reload()
		}
	}()
	if err := service.Run(ctx); ctx.Err() == nil {
		fmt.Fprintf(stderr, "mirror: %v\n", err)
		return 2
	}
	return 0
}
