package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"multiactive.dev/operator/internal/mirror"
	"multiactive.dev/operator/internal/testkit/apachekafka"
	"multiactive.dev/operator/internal/testkit/poll"
	"multiactive.dev/operator/internal/testkit/ports"
	"multiactive.dev/operator/internal/testkit/process"
)

const (
	north, south = "north", "south"
	partitions   = 6
	startTimeout = 10 * time.Minute
)

// javaDefaults are the options that Kafka's own scripts start Java with.
var javaDefaults = []string{
	"-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent",
}

// Names of contenders, as the page has them.
const (
	nameBuiltin = "Builtin"
	nameMM2     = "MirrorMaker 2"
	nameSmall   = "MirrorMaker 2 with a small heap"
)

// Heaps of MirrorMaker 2 in MB: what its own script sets, and a small one.
const (
	defaultHeapMB = 2048
	smallHeapMB   = 256
)

// contender is one way of copying.
type contender struct {
	// name as the page has it, and how it was started.
	name, about string
	// topic at the source, which no other contender copies.
	topic string
	pid   int
}

// copied is its topic at the target.
func (c *contender) copied() string { return north + "." + c.topic }

// world is the two clusters.
type world struct {
	dir     string
	brokers map[string]*apachekafka.Broker
	admin   map[string]*kadm.Client
	end     []func() error
	payload [][]byte
}

func newWorld(ctx context.Context, dir string) (*world, error) {
	w := &world{dir: dir, brokers: map[string]*apachekafka.Broker{}, admin: map[string]*kadm.Client{}, payload: payloads()}
	var wait sync.WaitGroup
	errs := make([]error, 2)
	for i, name := range []string{north, south} {
		b, err := apachekafka.New(apachekafka.Options{
			Name: name, Dir: filepath.Join(dir, name), HeapMB: 1024, JVM: append([]string{"-Xms1g"}, javaDefaults...),
			Properties: map[string]string{"num.network.threads": "3", "num.io.threads": "8"},
		})
		if err != nil {
			return nil, errors.Join(err, w.closed())
		}
		w.brokers[name] = b
		w.end = append(w.end, b.Kill)
		wait.Go(func() { errs[i] = b.Start(ctx) })
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, w.closed())
	}
	for name, b := range w.brokers {
		admin, err := b.Admin()
		if err != nil {
			return nil, errors.Join(err, w.closed())
		}
		w.admin[name] = admin
	}
	return w, nil
}

func (w *world) close() { _ = w.closed() }

func (w *world) closed() error {
	for _, admin := range w.admin {
		admin.Close()
	}
	var errs []error
	for _, end := range slices.Backward(w.end) {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}

// start starts the contenders, each with a topic of its own, and waits until all copy.
func (w *world) start(ctx context.Context, program string) ([]*contender, error) {
	builtin := &contender{name: nameBuiltin, topic: "bench.builtin", about: "this source tree, " + runtime.Version() + ", as it is by default"}
	mm2 := &contender{name: nameMM2, topic: "bench.mm2"}
	small := &contender{name: nameSmall, topic: "bench.small"}
	for _, c := range []*contender{builtin, mm2, small} {
		if _, err := w.admin[north].CreateTopic(ctx, partitions, 1, nil, c.topic); err != nil {
			return nil, err
		}
	}
	if err := w.startBuiltin(ctx, builtin, program); err != nil {
		return nil, err
	}
	if err := w.startMirrorMaker(ctx, mm2, defaultHeapMB, "-Xms256M"); err != nil {
		return nil, err
	}
	if err := w.startMirrorMaker(ctx, small, smallHeapMB); err != nil {
		return nil, err
	}
	all := []*contender{builtin, mm2, small}
	for _, c := range all {
		if err := w.fill(ctx, c, partitions); err != nil {
			return nil, err
		}
		if err := w.await(ctx, c, partitions); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (w *world) startBuiltin(ctx context.Context, c *contender, program string) error {
	config, err := json.Marshal(mirror.Config{
		Origin: north, Topics: []string{c.topic},
		Source: mirror.Cluster{Brokers: []string{w.brokers[north].Addr()}}, Target: mirror.Cluster{Brokers: []string{w.brokers[south].Addr()}},
	})
	if err != nil {
		return err
	}
	file := filepath.Join(w.dir, "mirror.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return err
	}
	host := ports.Host()
	free, err := ports.Free(host, 1)
	if err != nil {
		return err
	}
	listen := net.JoinHostPort(host, strconv.Itoa(free[0]))
	p, err := process.Start(ctx, process.Spec{
		Name: "mirror", Path: program, Args: []string{"--config=" + file, "--listen=" + listen}, LogFile: filepath.Join(w.dir, "mirror.log"),
		Ready: func(ctx context.Context) error { return healthy(ctx, "http://"+listen+"/readyz") }, ReadyTimeout: startTimeout,
	})
	if err != nil {
		return err
	}
	w.end = append(w.end, p.Kill)
	c.pid = p.PID()
	return nil
}

func healthy(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", response.Status)
	}
	return nil
}

func (w *world) startMirrorMaker(ctx context.Context, c *contender, heapMB int, options ...string) error {
	name := strings.TrimPrefix(c.topic, "bench.")
	m, err := apachekafka.NewMirrorMaker(apachekafka.MirrorMakerOptions{
		Name: c.name, Dir: filepath.Join(w.dir, name), Clusters: []string{south}, HeapMB: heapMB, JVM: append(options, javaDefaults...),
		Config: w.mirrorMakerConfig(c.topic, name),
	})
	if err != nil {
		return err
	}
	w.end = append(w.end, m.Kill)
	if err := m.Start(ctx); err != nil {
		return err
	}
	c.pid = m.PID()
	c.about = fmt.Sprintf("Apache Kafka %s, %s, heap up to %d MB, `tasks.max=%d`, `plugin.discovery=service_load`, otherwise as it is by default", apachekafka.Version(), javaVersion(ctx), heapMB, runtime.NumCPU())
	return nil
}

// javaVersion returns the first line that Java says of its version.
func javaVersion(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "java", "-version").CombinedOutput()
	if err != nil {
		return "unknown Java"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.ReplaceAll(line, `"`, "")
}

// mirrorMakerConfig copies one topic. Its groups and internal topics are its own; there is one broker.
func (w *world) mirrorMakerConfig(topic, group string) string {
	return fmt.Sprintf(`clusters = north, south
north.bootstrap.servers = %s
south.bootstrap.servers = %s
north->south.enabled = true
north->south.topics = %s
tasks.max = %d
%ssouth.group.id = %s
south.offset.storage.topic = %[6]s-offsets
south.status.storage.topic = %[6]s-status
south.config.storage.topic = %[6]s-configs
`, w.brokers[north].Addr(), w.brokers[south].Addr(), topic, runtime.NumCPU(), apachekafka.SingleCopies, group)
}

// ends is how many records a topic has had.
func (w *world) ends(ctx context.Context, cluster, topic string) (n int64, err error) {
	listed, err := w.admin[cluster].ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	listed.Each(func(o kadm.ListedOffset) {
		n += o.Offset
		err = errors.Join(err, o.Err)
	})
	return n, err
}

// await waits until a contender's copy has n records.
func (w *world) await(ctx context.Context, c *contender, n int64) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("%s has not copied in %s", c.name, startTimeout))
	defer cancel()
	return poll.Until(ctx, 10*time.Millisecond, func(ctx context.Context) error {
		there, err := w.ends(ctx, south, c.copied())
		if err == nil && there < n {
			err = fmt.Errorf("%d of %d records are there", there, n)
		}
		return err
	})
}
