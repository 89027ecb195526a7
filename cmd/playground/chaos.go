package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/grpc/grpclog"
	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/playground/chaos"
	"multiactive.dev/operator/internal/playground/underlay"
	"multiactive.dev/operator/internal/testkit/binaries"
)

const chaosUsage = `playground chaos torments a world of three regions, in which nothing is made up but nodes: it
kills, freezes and restarts processes and whole regions, loses packets in one direction or
both, and sets clocks an hour forward or back, while writers write to many keys through every
gateway, people use the example, and orders move the keys about.

  playground chaos --runs 10             ten runs of a new seed
  playground chaos --seed 7 --runs 50    what the whole world can repeat
  playground chaos --duration 1h         until an hour is over
  playground chaos --seed 7 --first 12 --runs 1
                                         run 12 of seed 7 once more, as a verdict tells you to
  playground chaos --seed 7 --runs 3 --dry-run
                                         what would happen when
  playground chaos --flapping            a region is cut off whenever it has its keys

A run is 45 seconds of faults: one alone first, of those that must refuse no home write; then a
storm. Then every fault is undone, orders bring every region home, every key is written once
more, and what the writers were told and the service noted is judged:

  one owner        of a slot in every epoch, and none accepts a write once another, of a later
                   epoch, has begun to; by CLOCK_BOOTTIME, which all processes share
  nothing lost     what was acknowledged is in the key's chain, and every key is linearizable
                   (porcupine). Only what a lost region had not shipped may be missing, for keys
                   that may be taken over; it is counted
  users            the example's: one account for a number, no acknowledged registration, password
                   or profile lost, each transfer booked once, money neither made nor lost

A seed gives the same faults at the same times; what becomes of them differs, as real processes
do. After a violation the data, logs and the whole history stay.

Everything runs in network namespaces of its own: as root, or as anybody where unprivileged user
namespaces are allowed. Nothing of it is left after the end, also after a crash. --bin has to hold
programs whose clock can be set: ` + "`make chaos`" + ` builds them (hack/clockstep/build.sh).

`

// runChaos runs in namespaces of its own.
func runChaos(ctx context.Context, args []string) error {
	var o chaos.Options
	flags := newFlags("playground chaos", chaosUsage)
	flags.Uint64Var(&o.Seed, "seed", 0, "`number` that the faults are made from (default: a new one)")
	flags.IntVar(&o.First, "first", 1, "number of the first run")
	flags.IntVar(&o.Runs, "runs", 0, "how many runs (default 1, or as many as --duration gives)")
	flags.DurationVar(&o.Duration, "duration", 0, "begin no other run after this time, such as 10m; the run that has begun is ended and judged")
	flags.IntVar(&o.Keys, "keys", 18, "keys that every run writes to")
	flags.IntVar(&o.Rate, "load", 40, "writes per second, about")
	flags.IntVar(&o.Users, "users", 5, "people who use the example (examples/user) besides; 0: none")
	flags.BoolVar(&o.KeepGoing, "keep-going", false, "go on after a run that is broken")
	flags.StringVar(&o.Bin, "bin", "", "`directory` with manager, gateway and mirror whose clock can be set (default bin/clockstep of the source tree)")
	flags.StringVar(&o.Dir, "dir", "", "`directory` of data, logs and journals, kept at the end (default: a temporary one, removed at the end unless something is wrong)")
	flapping := flags.Bool("flapping", false, "instead: cut one region off whenever it has its keys, and judge how often it gets them back")
	dryRun := flags.Bool("dry-run", false, "print the faults of the runs and do nothing")
	noColor := flags.Bool("no-color", false, "plain text")
	if err := parse(flags, args); err != nil {
		return err
	}
	if err := checkChaos(&o); err != nil {
		return err
	}
	run := chaos.Run
	if *flapping {
		run, o.Users = chaos.Flap, 0
	}
	if *dryRun {
		chaos.PrintPlans(o, os.Stdout)
		return nil
	}
	if outside, err := underlay.Isolate(ctx); outside {
		return err
	}
	if o.Seed == 0 {
		o.Seed = uint64(rand.Uint32())
	}
	o.Again = fmt.Sprintf("playground chaos --keys %d --load %d --users %d", o.Keys, o.Rate, o.Users)
	o.Out, o.Color, o.Clock = os.Stdout, !*noColor, clock.RealClock{}
	if err := prepareChaos(&o); err != nil {
		return err
	}
	broken, err := run(ctx, o)
	if err == nil && broken {
		return errBroken
	}
	return err
}

// checkChaos refuses numbers that make no sense.
func checkChaos(o *chaos.Options) error {
	if o.Keys < 1 || o.Rate < 1 || o.Runs < 0 || o.First < 1 || o.Duration < 0 {
		return errors.New("--keys, --load and --first must be at least 1, --runs and --duration must not be negative")
	}
	if o.Users < 0 || o.Users == 1 {
		return errors.New("--users must be 0, or at least 2, who pay each other")
	}
	if o.Runs == 0 && o.Duration == 0 {
		o.Runs = 1
	}
	return nil
}

// prepareChaos fills in what depends on where the program is.
func prepareChaos(o *chaos.Options) (err error) {
	if o.Root, err = binaries.ModuleRoot(); err != nil {
		return err
	}
	if o.Self, err = os.Executable(); err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	if err := findChaosPrograms(o); err != nil {
		return err
	}
	if o.KeepDir = o.Dir != ""; !o.KeepDir {
		if o.Dir, err = os.MkdirTemp("", "chaos-"); err != nil {
			return err
		}
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	if content, err := os.ReadDir(o.Dir); err != nil || slices.ContainsFunc(content, func(e os.DirEntry) bool { return e.IsDir() }) {
		return fmt.Errorf("--dir %s has data of another series: give a new one (%w)", o.Dir, errors.Join(err, os.ErrExist))
	}
	log, err := os.OpenFile(filepath.Join(o.Dir, "playground.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	o.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	klogTo(o.Log)
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)) // members that are killed are no news
	return nil
}

// findChaosPrograms finds the operator's programs and the example.
func findChaosPrograms(o *chaos.Options) (err error) {
	if o.Bin == "" {
		o.Bin = filepath.Join(o.Root, "bin", "clockstep")
	}
	if o.Bin, err = filepath.Abs(o.Bin); err != nil { // Pods run in directories of their own
		return err
	}
	for _, name := range []string{"manager", "gateway", "mirror"} {
		if !exists(filepath.Join(o.Bin, name)) {
			return fmt.Errorf("%s has no %s: run `make chaos`, or hack/clockstep/build.sh", o.Bin, name)
		}
	}
	if o.Users > 0 {
		if o.Example = firstOf(filepath.Join(o.Bin, "user"), filepath.Join(o.Root, "bin", "user")); o.Example == "" {
			return fmt.Errorf("neither %s nor %s has the example, user: run `make chaos` or `make build-examples`, or give --users 0", o.Bin, filepath.Join(o.Root, "bin"))
		}
	}
	return nil
}

// firstOf is the first file that exists; empty: none does.
func firstOf(files ...string) string {
	for _, file := range files {
		if exists(file) {
			return file
		}
	}
	return ""
}
