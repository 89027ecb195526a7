package replicationlink

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"multiactive.dev/operator/internal/desired/regional"
)

const (
	mirrorsEvery   = 5 * time.Second
	mirrorTimeout  = time.Second
	mirrorMaxBytes = 16 << 10
	// mirrorMaxProblem bounds what is passed on of a problem.
	mirrorMaxProblem = 1024
	// lossPrefix begins the lines in which a mirror that is ready says what is lost.
	lossPrefix = "lost "
)

// said is what a mirror says of itself: what is wrong, or what is lost of which topic.
type said struct {
	problem string
	losses  []string
}

func (s said) is(other said) bool {
	return s.problem == other.problem && slices.Equal(s.losses, other.losses)
}

// Mirrors asks the mirrors that run what is wrong, and what is lost. It is safe for concurrent use.
type Mirrors struct {
	reader    client.Reader
	namespace string
	clock     clock.WithTicker
	http      *http.Client
	changed   chan event.GenericEvent

	mu   sync.Mutex
	said map[string]said // by source region
}

// NewMirrors returns mirrors that are asked while Start runs. reader is the cache.
func NewMirrors(reader client.Reader, namespace string, c clock.WithTicker) *Mirrors {
	return &Mirrors{
		reader: reader, namespace: namespace, clock: c, changed: make(chan event.GenericEvent, 16), said: map[string]said{},
		http: &http.Client{
			Timeout:       mirrorTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Changed announces source regions whose mirror says something else.
func (m *Mirrors) Changed() <-chan event.GenericEvent { return m.changed }

// Problem is what the mirror from a region last said is wrong; empty when nothing is, or when it
// does not say.
func (m *Mirrors) Problem(from string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.said[from].problem
}

// Losses is what the mirror from a region last said is lost, a line each: the topic, a colon, a sentence.
func (m *Mirrors) Losses(from string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.said[from].losses
}

// Start asks until ctx ends.
func (m *Mirrors) Start(ctx context.Context) error {
	tick := m.clock.NewTicker(mirrorsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C():
			m.round(ctx)
		}
	}
}

func (m *Mirrors) round(ctx context.Context) {
	pods := &corev1.PodList{}
	if err := m.reader.List(ctx, pods, client.InNamespace(m.namespace), client.HasLabels{regional.LabelMirrorFrom}); err != nil {
		return // asked again with the next tick
	}
	now := map[string]said{}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.DeletionTimestamp == nil && pod.Status.PodIP != "" {
			// A Pod that has ended, and one that only starts, do not take away what the other says.
			if s := m.ask(ctx, pod.Status.PodIP, ready(pod)); !s.is(said{}) {
				now[pod.Labels[regional.LabelMirrorFrom]] = s
			}
		}
	}
	m.mu.Lock()
	before := m.said
	m.said = now
	m.mu.Unlock()
	sources := maps.Clone(before)
	maps.Copy(sources, now)
	for from := range sources {
		if before[from].is(now[from]) {
			continue
		}
		announce(ctx, m.changed, from)
	}
}

// ask returns what a mirror's readiness check says. What is wrong with one that is ready passes by itself.
func (m *Mirrors) ask(ctx context.Context, address string, ready bool) said {
	url := "http://" + net.JoinHostPort(address, strconv.Itoa(regional.MirrorPort)) + "/readyz"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return said{}
	}
	answer, err := m.http.Do(request)
	if err != nil {
		return said{} // a network policy may keep the member out; the mirror's log says more
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, mirrorMaxBytes))
	if err != nil {
		return said{}
	}
	sound := strings.TrimSpace(strings.ToValidUTF8(string(text), ""))
	switch {
	case answer.StatusCode == http.StatusServiceUnavailable && !ready:
		return said{problem: strings.ToValidUTF8(sound[:min(len(sound), mirrorMaxProblem)], "")}
	case answer.StatusCode != http.StatusOK:
		return said{}
	}
	var out said
	for line := range strings.Lines(sound) {
		if loss, is := strings.CutPrefix(strings.TrimSpace(line), lossPrefix); is {
			out.losses = append(out.losses, loss)
		}
	}
	return out
}

func ready(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
