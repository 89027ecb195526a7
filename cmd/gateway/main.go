// Command gateway is the regional gateway of one service: it routes users' requests by partition
// key to the local application or to the gateway of the region that owns the key. It holds
// flags, listeners and signals only; the request path is in internal/gateway. It must never need
// anything but its agent to start: no Kubernetes API, no disk, no other region.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"

	_ "multiactive.dev/operator/internal/publicroots"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Getenv)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprintln(os.Stderr, "gateway:", err) // nobody else to tell
		os.Exit(1)
	}
}

// run serves until ctx ends and the last request has been answered.
func run(ctx context.Context, args []string, env func(string) string) error {
	if slices.Equal(args, []string{"version"}) || slices.Equal(args, []string{"--version"}) {
		_, err := fmt.Fprintln(os.Stdout, version)
		return err
	}
	c, err := parse(args, env, os.Stderr)
	if err != nil {
		return err
	}
	c.options.Log = slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: c.logLevel}))
	// net/http tells the standard logger what it cannot tell anybody else, with parts of answers.
	slog.SetLogLoggerLevel(slog.LevelDebug)
	slog.SetDefault(c.options.Log)
	tuneMemory(env, c.options.Log)
	if c.fastPath {
		c.options.Loops = spareForLoops()
	}
	return serve(ctx, c)
}
