package mirror

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/port/kafka/kafkatest"
)

var (
	soakRegions = []string{"beijing", "shanghai", "shenzhen"}
	soakEnds    = [2]string{"source", "target"}
)

// soakCluster is a region's Kafka, which all runs share.
type soakCluster struct {
	region, addr string
	broker       interface {
		Kill()
		Start()
	}
	down bool
	// kills of this run.
	kills int
}

func newSoakCluster(t *testing.T, region string) *soakCluster {
	t.Helper()
	b := startKafka(t, region)
	return &soakCluster{region: region, addr: b.Addr, broker: b}
}

// soak is one run.
type soak struct {
	t        *testing.T
	random   *rand.Rand
	clusters map[string]*soakCluster
	mirrors  []*soakMirror
	sources  []*soakSource
	history  string
}

func newSoak(t *testing.T, seed uint64, run int, clusters map[string]*soakCluster) *soak {
	t.Helper()
	s := &soak{t: t, random: rand.New(rand.NewPCG(seed, 0)), clusters: clusters}
	names := []string{fmt.Sprintf("run%d.one", run), fmt.Sprintf("run%d.two", run)}
	for _, from := range soakRegions {
		clusters[from].kills = 0
		for i, name := range names {
			src := newSoakSource(t, clusters[from], name, 2+i)
			s.sources = append(s.sources, src)
			src.begin(t)
		}
		for _, to := range soakRegions {
			if from != to {
				s.mirrors = append(s.mirrors, newSoakMirror(t, clusters[from], clusters[to], names))
			}
		}
	}
	return s
}

// anyMirror returns one of those that a condition holds for, or nil.
func (s *soak) anyMirror(is func(*soakMirror) bool) *soakMirror {
	return oneOf(s.random, s.mirrors, is)
}

func (s *soak) anySource(is func(*soakSource) bool) *soakSource {
	return oneOf(s.random, s.sources, is)
}

func oneOf[T any](random *rand.Rand, all []*T, is func(*T) bool) *T {
	some := slices.DeleteFunc(slices.Clone(all), func(one *T) bool { return !is(one) })
	if len(some) == 0 {
		return nil
	}
	return some[random.IntN(len(some))]
}

// soakMirror is the mirror from one region to another, a process of its own behind a link to each of both.
type soakMirror struct {
	from, to    *soakCluster
	links       [2]*kafkatest.Link
	cut         [2]bool
	config, log string
	process     *kafkatest.Process
	// watched has the topics that it knew the end of when they were deleted.
	watched map[string]bool
}

func newSoakMirror(t *testing.T, from, to *soakCluster, topics []string) *soakMirror {
	t.Helper()
	m := &soakMirror{from: from, to: to, watched: map[string]bool{}, log: filepath.Join(t.TempDir(), "log")}
	m.links = [2]*kafkatest.Link{kafkatest.NewLink(t, from.addr), kafkatest.NewLink(t, to.addr)}
	m.config = write(t, config(from.region, m.links[0].Addr(), m.links[1].Addr(), topics...))
	m.start(t)
	return m
}

func (m *soakMirror) name() string { return "from " + m.from.region + " to " + m.to.region }

func (m *soakMirror) start(t *testing.T) {
	t.Helper()
	m.process = kafkatest.Spawn(t, "soaked", m.config, m.log)
}

func (m *soakMirror) setCut(end int, cut bool) {
	m.cut[end] = cut
	m.links[end].Cut(cut)
}

// known asks the mirror how far it has seen a topic of its source come.
func (m *soakMirror) known(ctx context.Context, topic string) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.process.Ready+"/ends", nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	all := map[string]int64{}
	err = json.NewDecoder(answer.Body).Decode(&all)
	return all[topic], err
}

// soaked runs the service as a process that a test can kill, tells it what the engine knows, and what it logs.
func soaked(ctx context.Context, arguments []string) error {
	log, err := os.OpenFile(arguments[1], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	set := fast
	set.BufferBytes = 8 << 10 // so that something is left at the source when the target is away
	s := NewService(arguments[0], set, clock.RealClock{}, slog.New(slog.NewJSONHandler(log, nil)))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		e := s.engine
		s.mu.Unlock()
		if e == nil {
			http.Error(w, "not started", http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(knownEnds(e))
	})}
	go func() { _ = server.Serve(listener) }()
	fmt.Println(listener.Addr())
	return s.Run(ctx)
}

// logged is a line of a mirror's log.
type logged struct {
	Msg       string
	Topic     string
	TopicID   string
	Partition int32
	Offset    int64
	Lost      int64
}

func (m *soakMirror) lines(t *testing.T) []logged {
	t.Helper()
	file, err := os.Open(m.log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var out []logged
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var l logged
		// The last line of one that was killed may not be whole.
		if json.Unmarshal(lines.Bytes(), &l) == nil {
			out = append(out, l)
		}
	}
	return out
}
