// Command playground runs a multi-region world on this machine and shows what MultiActive does when a
// region is lost. It reads flags and wires; internal/playground does the work.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"multiactive.dev/operator/internal/playground/underlay"
)

// interruptedStatus is the exit status after Ctrl-C, as shells have it.
const interruptedStatus = 130

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	interrupted := ctx.Err() != nil
	stop()
	inner := &underlay.ExitError{}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case interrupted:
		os.Exit(interruptedStatus) // everything has been ended
	case errors.Is(err, errBroken):
		os.Exit(1) // the table has said it
	case errors.As(err, &inner):
		os.Exit(inner.Status) // it has said it
	default:
		fmt.Fprintln(os.Stderr, "playground: "+err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "kafka":
			return runKafka(ctx, args[1:])
		case "demo":
			return runDemo(ctx, args[1:])
		case "bench-failover":
			return runBench(ctx, args[1:])
		case "chaos":
			return runChaos(ctx, args[1:])
		case "register":
			return runRegister(ctx, args[1:])
		}
	}
	return runDemo(ctx, args)
}
