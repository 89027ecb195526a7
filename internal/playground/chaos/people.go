package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"multiactive.dev/operator/internal/playground/chaos/acts"
	"multiactive.dev/operator/internal/playground/chaos/users"
	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/testkit/poll"
)

const (
	// usersPause is about how long a user of the example pauses between two acts.
	usersPause = 700 * time.Millisecond
	// exampleService is the example's place among the world's services.
	exampleService = 1
	exportTimeout  = 20 * time.Second
)

// manifest reads a declaration that is part of this program.
func (s *storm) manifest(name string, content []byte) (*world.Manifest, error) {
	file := filepath.Join(s.dir, name, "multiactiveservice.yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return nil, err
	}
	return world.ReadManifest(file)
}

// people begins the lives of users of the example.
func (s *storm) people(ctx context.Context, run, count int) *users.Users {
	var endpoints []users.Endpoint
	for _, r := range s.world.Regions() {
		endpoints = append(endpoints, users.Endpoint{Region: r.Name, URL: r.EdgeOf(exampleService)})
	}
	return users.Live(ctx, run, endpoints, count, usersPause)
}

// finish waits until users can do everything again, and the regions of the example have the same data.
func (s *storm) finish(ctx context.Context, people *users.Users) error {
	if s.options.Users == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, settleLimit, fmt.Errorf("not within %s", settleLimit))
	defer cancel()
	if err := people.Finish(ctx); err != nil {
		return fmt.Errorf("users of the example: %w", err)
	}
	return poll.Until(ctx, recoverLook, func(ctx context.Context) error {
		tables, err := s.tables(ctx, people.Phones())
		if err != nil {
			return err
		}
		for _, name := range Regions {
			if n := tables[name].Unsent; n > 0 {
				return fmt.Errorf("the example in %s has not sent %d records", name, n)
			}
			if err := acts.Difference(tables[Regions[0]], tables[name]); err != nil {
				return fmt.Errorf("the example in %s and %s differs: %w", Regions[0], name, err)
			}
		}
		return nil
	})
}

// lives are what users did, and what the example has of it in the end; nil: there is no example.
func (s *storm) lives(ctx context.Context, people *users.Users) (*acts.History, error) {
	done := people.End()
	if s.options.Users == 0 {
		return nil, nil
	}
	tables, err := s.tables(ctx, people.Phones())
	return &acts.History{Acts: done, Tables: tables, Opening: users.Opening, Objective: users.Objective}, err
}

// tables are what the example has in every region.
func (s *storm) tables(ctx context.Context, of map[string]bool) (map[string]acts.Tables, error) {
	out := map[string]acts.Tables{}
	for _, name := range Regions {
		t, err := s.export(ctx, name, of)
		if err != nil {
			return nil, fmt.Errorf("what the example has in %s: %w", name, err)
		}
		out[name] = t
	}
	return out, nil
}

// export has the example's own program read the region's file.
func (s *storm) export(ctx context.Context, region string, of map[string]bool) (acts.Tables, error) {
	ctx, cancel := context.WithTimeout(ctx, exportTimeout)
	defer cancel()
	var out, failed bytes.Buffer
	cmd := exec.CommandContext(ctx, s.options.Example, "export", "-data-dir", filepath.Join(s.dir, region, "root", "data", "user"))
	cmd.Stdout, cmd.Stderr = &out, &failed
	if err := cmd.Run(); err != nil {
		return acts.Tables{}, errors.Join(err, errors.New(failed.String()))
	}
	return acts.ReadTables(&out, of)
}
