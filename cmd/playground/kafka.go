package main

import (
	"context"
	"flag"
	"fmt"

	"multiactive.dev/operator/internal/port/kafka/embedded"
)

const kafkaUsage = `playground kafka runs one small Kafka with its data on disk, until it is ended.
The demo runs one in every region.

  playground kafka --listen=127.11.0.5:9092 --data=/tmp/kafka

`

// runKafka serves until ctx ends.
func runKafka(ctx context.Context, args []string) error {
	flags := newFlags("playground kafka", kafkaUsage)
	listen := flags.String("listen", "127.0.0.1:9092", "`address` to bind and to advertise")
	data := flags.String("data", "", "`directory` of the data; empty: in memory")
	if err := parse(flags, args); err != nil {
		return err
	}
	broker, err := embedded.Start(embedded.Options{Listen: *listen, DataDir: *data, ClusterID: "playground"})
	if err != nil {
		return err
	}
	defer broker.Close()
	<-ctx.Done()
	return nil
}

func newFlags(name, usage string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.Usage = func() {
		_, _ = fmt.Fprint(flags.Output(), usage, "Flags:\n") // nobody to tell
		flags.PrintDefaults()
	}
	return flags
}

func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see %s --help", flags.Arg(0), flags.Name())
	}
	return nil
}

// flagSet is what the commands add flags to.
type flagSet = *flag.FlagSet
