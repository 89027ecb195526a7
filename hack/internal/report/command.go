package report

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Run is the end of a command's main: it runs until it is done or told to stop, says what went wrong, and then exits
// with 1.
func Run(command string, run func(context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "%s: %v\n", command, err)
		os.Exit(1)
	}
}

// Publish prints what a command has measured and, with a page, puts it there as Save does. It is printed also when it
// cannot be saved: it took long to measure.
func Publish(page, command string, text []byte) error {
	var saved error
	if page != "" {
		saved = Save(page, command, text)
	}
	_, err := os.Stdout.Write(text)
	return errors.Join(saved, err)
}
