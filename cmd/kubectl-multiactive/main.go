// Command kubectl-multiactive is the plugin of kubectl for those who run MultiActive: it works as
// `kubectl multiactive`, and under its own name. It reads and writes API objects, and asks
// gateways by way of API servers, with the caller's own rights; only for regions' stores it takes the hub's. It
// never talks to a coordination store.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
)

// version is set by the linker.
var version = "dev"

// Exit codes.
const (
	exitFailed    = 1
	exitUsage     = 2
	exitAttention = 3
)

const usage = `kubectl-multiactive looks after MultiActive. With it in the PATH, kubectl knows it as a plugin.

  kubectl multiactive coordination status   which coordination store every region follows or refuses
  kubectl multiactive coordination adopt    let the regions follow a store that was replaced or restored
  kubectl multiactive compensation          whom outages have hit
  kubectl multiactive version

The first two use the kubeconfig of the hub's cluster, compensation those of the regions'. Each has --help.

Exit codes: 0 all is well, 1 it failed, 2 the command line is wrong, 3 a region needs attention, or something
is missing from the answer.
`

// Errors that choose the exit code.
var (
	errUsage     = errors.New("see --help")
	errAttention = errors.New("a region needs attention")
)

// terminal is what a command speaks through, and the time that it takes.
type terminal struct {
	in       io.Reader
	out, err io.Writer
	sleep    func(ctx context.Context, d time.Duration) error
	// config returns the hub's; the command line chooses it.
	config func(context string) (*rest.Config, error)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctrl.SetLogger(logr.Discard())
	code := exitCode(run(ctx, os.Args[1:], terminal{in: os.Stdin, out: os.Stdout, err: os.Stderr, sleep: sleep}), os.Stderr)
	stop()
	os.Exit(code)
}

func exitCode(err error, stderr io.Writer) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errAttention):
		if err != errAttention { //nolint:errorlint // bare, everything has been said
			_, _ = fmt.Fprintln(stderr, err)
		}
		return exitAttention
	}
	_, _ = fmt.Fprintln(stderr, "kubectl multiactive:", err)
	if errors.Is(err, errUsage) {
		return exitUsage
	}
	return exitFailed
}

func run(ctx context.Context, args []string, t terminal) error {
	if len(args) > 0 && args[0] == "compensation" {
		return compensationCommand(ctx, args[1:], t)
	}
	command := strings.Join(args[:min(2, len(args))], " ")
	switch command {
	case "coordination status":
		return status(ctx, args[2:], t)
	case "coordination adopt":
		return adopt(ctx, args[2:], t)
	case "version", "--version":
		_, err := fmt.Fprintln(t.out, version)
		return err
	case "", "help", "-h", "--help", "coordination", "coordination -h", "coordination --help":
		_, err := io.WriteString(t.out, usage)
		return err
	default:
		return fmt.Errorf("there is no command %q: %w", command, errUsage)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
