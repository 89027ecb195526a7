package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"multiactive.dev/operator/internal/playground/chaos/history"
	"multiactive.dev/operator/internal/playground/chaos/register"
)

const registerUsage = `playground register is the service that chaos torments, as one Pod of one region: it appends
writes to keys' chains, keeps them in the region's Kafka, and notes what it accepts.

  PUT, POST /keys/KEY?id=ID   append; the answer names the write before
  GET /keys/KEY               the newest
  GET /ready                  200 once it has read everything

`

// runRegister serves until ctx ends.
func runRegister(ctx context.Context, args []string) error {
	flags := newFlags("playground register", registerUsage)
	listen := flags.String("listen", "127.0.0.1:9000", "`address`")
	region := flags.String("region", "", "`name` of the region")
	brokers := flags.String("kafka", "", "bootstrap `addresses`, separated by commas")
	topic := flags.String("topic", "", "the region's own `topic`")
	topics := flags.String("topics", "", "`pattern` of that topic and of those mirrored here")
	group := flags.String("group", "", "consumer `group` that is told how far they are applied")
	path := flags.String("journal", "", "`file` of what is noted")
	if err := parse(flags, args); err != nil {
		return err
	}
	if *region == "" || *brokers == "" || *topic == "" || *topics == "" || *group == "" || *path == "" {
		return errors.New("--region, --kafka, --topic, --topics, --group and --journal are required; see playground register --help")
	}
	state := register.New()
	if err := os.MkdirAll(filepath.Dir(*path), 0o700); err != nil {
		return err
	}
	former, _, err := history.ReadJournal(*path, 0)
	if err != nil {
		return err
	}
	for i := range former {
		state.Tried(former[i].Key, former[i].Seq)
	}
	journal, err := history.OpenJournal(*path)
	if err != nil {
		return err
	}
	queue, err := register.NewQueue(register.QueueOptions{
		Brokers: strings.Split(*brokers, ","), Topic: *topic, Topics: *topics, Group: *group, Register: state,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	service := &register.Service{Region: *region, Register: state, Log: queue, Journal: journal}
	server := &http.Server{Addr: *listen, Handler: service.Handler(), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close() // the process ends anyway
	}()
	go queue.Run(ctx)
	if err := server.ListenAndServe(); ctx.Err() == nil {
		return fmt.Errorf("serving the register: %w", err)
	}
	return nil
}
