// Command kubectl-multiactive is the plugin of kubectl for those who run MultiActive: it works as
// `kubectl multiactive`, and under its own name. It reads and writes API objects, and asks
// gateways by way of API servers, with the caller's own rights; only for regions' stores it takes the hub's. It
// never talks to a coordination store.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/term"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
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

// Errors that choose the exit code.
var (
	errUsage     = errors.New("see --help")
	errAttention = errors.New("a region needs attention")
	// errNotDone is of an order that has ended without being done; everything has been said.
	errNotDone = errors.New("the order was not carried out")
)

// terminal is what a command speaks through, and the time that it takes.
type terminal struct {
	in       io.Reader
	out, err io.Writer
	sleep    func(ctx context.Context, d time.Duration) error
	// now is the time of day. Default: the machine's.
	now func() time.Time
	// config returns the cluster of a context; the command line chooses it.
	config func(context string) (*rest.Config, error)
	// screen: out is a terminal. asks: in is one, and a person can be asked. colour: out shows colours.
	screen, asks, colour bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard()) // a watch that breaks off is made anew
	screen := term.IsTerminal(int(os.Stdout.Fd()))
	code := exitCode(run(ctx, os.Args[1:], terminal{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, sleep: sleep, now: time.Now,
		screen: screen, asks: term.IsTerminal(int(os.Stdin.Fd())), colour: screen && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
	}), os.Stderr)
	stop()
	os.Exit(code)
}

func exitCode(err error, stderr io.Writer) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errAttention):
		if err != errAttention { //nolint:errorlint // bare, everything has been said
			_, _ = fmt.Fprintln(stderr, err)
		}
		return exitAttention
	}
	if err == errFindings || err == errNotDone || err == errSick { //nolint:errorlint // bare: everything has been said
		return exitFailed
	}
	_, _ = fmt.Fprintln(stderr, "kubectl multiactive:", err)
	if errors.Is(err, errUsage) || errors.Is(err, errInput) {
		return exitUsage
	}
	return exitFailed
}

func run(ctx context.Context, args []string, t terminal) error {
	root := newRoot(&t)
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

// clock returns the time of day.
func (t *terminal) clock() time.Time {
	if t.now == nil {
		return time.Now()
	}
	return t.now()
}

// say writes a line.
func (t *terminal) say(format string, a ...any) { _, _ = fmt.Fprintf(t.out, format+"\n", a...) }

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
