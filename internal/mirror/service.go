package mirror

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/utils/clock"
)

const (
	// watchInterval is how often the configuration file is compared. It is
	// read, not watched: a mounted ConfigMap is replaced by moving links.
	watchInterval = 2 * time.Second
	// staleAfter is how old the last comparison of the clusters may be before
	// the process counts as stuck. It exceeds all timeouts of one comparison.
	staleAfter = 2 * time.Minute
)

// Service runs an engine from a configuration file, replaces it when the file
// (or a credential that it names) changes, and answers health checks.
type Service struct {
	path     string
	settings Settings
	clock    clock.WithTicker
	log      *slog.Logger
	registry *prometheus.Registry
	metrics  *Metrics
	reload   chan struct{}
	started  time.Time

	mu     sync.Mutex
	engine *Engine
	// broken is why the file on disk is not the configuration that runs.
	broken error
}

// NewService prepares a service for a configuration file.
func NewService(path string, s Settings, c clock.WithTicker, log *slog.Logger) *Service {
	r := prometheus.NewRegistry()
	return &Service{
		path: path, settings: s, clock: c, log: log, registry: r, metrics: NewMetrics(r),
		reload: make(chan struct{}, 1), started: c.Now(),
	}
}

// Reload makes the service look at the file now.
func (s *Service) Reload() {
	select {
	case s.reload <- struct{}{}:
	default: // one is due already
	}
}

// Run mirrors until the context ends, whose cause it returns. It returns at
// once with an error when the file is missing or wrong at the start; later a
// wrong file is reported and what ran before goes on.
func (s *Service) Run(ctx context.Context) error {
	engine, seen, err := s.read()
	if err != nil {
		return err
	}
	tick := s.clock.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		stop := s.launch(ctx, engine)
		for next := (*Engine)(nil); next == nil; {
			select {
			case <-ctx.Done():
				stop()
				return context.Cause(ctx)
			case <-tick.C():
			case <-s.reload:
			}
			next, seen = s.changed(seen)
			if next != nil {
				engine = next
			}
		}
		s.log.Info("configuration changed; starting again with it")
		stop()
	}
}

// launch runs an engine; the returned function stops it and waits.
func (s *Service) launch(ctx context.Context, e *Engine) (stop func()) {
	s.mu.Lock()
	if s.engine != nil {
		e.inherit(s.engine)
	}
	s.engine, s.broken = e, nil
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = e.Run(ctx) // only ever the end of ctx
	}()
	return func() { cancel(); <-done }
}

// changed returns a new engine when the file differs from what was seen and is
// sound.
func (s *Service) changed(seen [sha256.Size]byte) (*Engine, [sha256.Size]byte) {
	raw, err := os.ReadFile(s.path)
	if err == nil {
		var cfg Config
		if cfg, err = Parse(raw); err == nil && fingerprint(raw, cfg) == seen {
			s.setBroken(nil)
			return nil, seen
		}
	}
	var engine *Engine
	if err == nil {
		engine, seen, err = s.read()
	}
	if err != nil {
		s.setBroken(err)
		return nil, seen
	}
	return engine, seen
}

func (s *Service) setBroken(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && (s.broken == nil || s.broken.Error() != err.Error()) {
		s.metrics.errors.WithLabelValues(s.engine.cfg.Origin, stageConfig).Inc()
		s.log.Error("the changed configuration is wrong; the one before stays in force", "error", err)
	}
	s.broken = err
}

func (s *Service) read() (*Engine, [sha256.Size]byte, error) {
	raw, err := os.ReadFile(s.path)
	if err != nil {
		return nil, [sha256.Size]byte{}, fmt.Errorf("reading the configuration: %w", err)
	}
	cfg, err := Parse(raw)
	if err != nil {
		return nil, [sha256.Size]byte{}, fmt.Errorf("%s: %w", s.path, err)
	}
	// The print is taken before the credentials are read: a change between
	// the two shows at the next comparison.
	seen := fingerprint(raw, cfg)
	engine, err := New(cfg, s.settings, s.clock, s.log, s.metrics)
	if err != nil {
		return nil, [sha256.Size]byte{}, fmt.Errorf("%s: %w", s.path, err)
	}
	return engine, seen, nil
}

// fingerprint covers the file and the files that it names, so that a rotated
// password is noticed.
func fingerprint(raw []byte, c Config) [sha256.Size]byte {
	h := sha256.New()
	h.Write(raw)
	for _, cluster := range []Cluster{c.Source, c.Target} {
		var files []string
		if cluster.SASL != nil {
			files = append(files, cluster.SASL.UserFile, cluster.SASL.PasswordFile)
		}
		if cluster.TLS != nil {
			files = append(files, cluster.TLS.CAFile, cluster.TLS.CertFile, cluster.TLS.KeyFile)
		}
		for _, f := range files {
			content, err := os.ReadFile(f)
			fmt.Fprintf(h, "%q %v %x\n", f, err != nil, sha256.Sum256(content))
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// Problems says what is wrong now; empty when everything runs.
func (s *Service) Problems() []string {
	s.mu.Lock()
	engine, broken := s.engine, s.broken
	s.mu.Unlock()
	if engine == nil {
		return []string{"not started"}
	}
	out := engine.Status().Problems()
	if broken != nil {
		out = append(out, fmt.Sprintf("configuration on disk not in force: %v", broken))
	}
	return out
}

// alive says whether the engine still makes its rounds.
func (s *Service) alive() error {
	s.mu.Lock()
	engine := s.engine
	s.mu.Unlock()
	if engine == nil {
		return errors.New("not started")
	}
	last := engine.Status().LookedAt
	if last.IsZero() {
		last = s.started
	}
	if age := s.clock.Since(last); age > staleAfter {
		return fmt.Errorf("the clusters were last compared %s ago", age.Round(time.Second))
	}
	return nil
}

func (s *Service) losses() []string {
	s.mu.Lock()
	engine := s.engine
	s.mu.Unlock()
	if engine == nil {
		return nil
	}
	return engine.Losses()
}

// Handler answers /healthz (the process makes its rounds), /readyz (all
// topics run; the body lists what does not, or in lines that begin with "lost"
// what is known to be lost of which topic) and /metrics.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.alive(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if p := s.Problems(); len(p) > 0 {
			http.Error(w, strings.Join(p, "\n"), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, strings.Join(append([]string{"ok"}, s.losses()...), "\nlost "))
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	return mux
}
