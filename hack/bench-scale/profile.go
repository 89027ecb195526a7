package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// profileLength is how long the processors are watched, from the declaration on.
const profileLength = 20 * time.Second

// profiled is one process that serves profiles.
type profiled struct {
	name, url string
	client    *http.Client
}

// profiling begins to take profiles of all managers and API servers into a directory, for go tool pprof. The function
// waits for them.
func (b *benched) profiling(ctx context.Context, dir string) (wait func() error, err error) {
	if dir == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	all, err := b.profiles()
	if err != nil {
		return nil, err
	}
	failures := make([]error, len(all))
	var done sync.WaitGroup
	for i, p := range all {
		done.Go(func() { failures[i] = p.take(ctx, filepath.Join(dir, fmt.Sprintf("%s-%d.pb.gz", p.name, b.services))) })
	}
	return func() error { done.Wait(); return errors.Join(failures...) }, nil
}

// profiles are the processes that can be watched.
func (b *benched) profiles() ([]profiled, error) {
	out := []profiled{{"manager-hub", b.Profiles(), http.DefaultClient}}
	api := func(name string, config *rest.Config, err error) error {
		if err != nil {
			return err
		}
		client, err := rest.HTTPClientFor(config)
		out = append(out, profiled{"api-" + name, config.Host + "/debug/pprof/", client})
		return err
	}
	config, err := b.HubConfig()
	failures := []error{api(hub, config, err)}
	for _, r := range b.Regions() {
		out = append(out, profiled{"manager-" + r.Name, r.Profiles(), http.DefaultClient})
		config, err := r.AdminConfig()
		failures = append(failures, api(r.Name, config, err))
	}
	return out, errors.Join(failures...)
}

// take writes one profile.
func (p profiled) take(ctx context.Context, file string) error {
	query := url.Values{"seconds": {fmt.Sprint(int(profileLength.Seconds()))}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"profile?"+query.Encode(), http.NoBody)
	if err != nil {
		return err
	}
	answer, err := p.client.Do(request)
	if err != nil {
		return fmt.Errorf("profiling %s: %w", p.name, err)
	}
	defer func() { _ = answer.Body.Close() }()
	content, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	if err != nil {
		return fmt.Errorf("profiling %s: %w", p.name, err)
	}
	return os.WriteFile(file, content, 0o600)
}
