package apachekafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"multiactive.dev/operator/internal/testkit/process"
)

// MirrorMakerOptions describe a MirrorMaker 2 in its dedicated mode.
type MirrorMakerOptions struct {
	// Name appears in errors. Default "MirrorMaker".
	Name string
	// Dir holds configuration and log. Required.
	Dir string
	// Config is the content of its properties file. Required.
	Config string
	// Clusters are the aliases of those that it writes to; empty means all that Config names.
	Clusters []string
	// Env is the environment, KEY=value, for configurations that refer to it.
	Env []string
	// HeapMB bounds the Java heap. Default 256.
	HeapMB int
	// JVM are further options of Java. Default: those with which it starts with little work, and is
	// not fast.
	JVM []string
}

// MirrorMaker is one process. It can be started, ended and started again; one goroutine may use it at a
// time.
type MirrorMaker struct {
	options  MirrorMakerOptions
	programs programs
	process  *process.Process
}

// NewMirrorMaker prepares one and starts nothing.
func NewMirrorMaker(o MirrorMakerOptions) (*MirrorMaker, error) {
	if o.Name == "" {
		o.Name = "MirrorMaker"
	}
	if o.HeapMB == 0 {
		o.HeapMB = 256
	}
	if o.Dir == "" || o.Config == "" {
		return nil, fmt.Errorf("preparing %s: Dir and Config are required", o.Name)
	}
	found, err := find()
	if err != nil {
		return nil, fmt.Errorf("preparing %s: %w", o.Name, err)
	}
	m := &MirrorMaker{options: o, programs: found}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("preparing %s: %w", o.Name, err)
	}
	err = errors.Join(m.SetConfig(o.Config), os.WriteFile(m.file("log4j2.xml"), []byte(logging), 0o600))
	if err != nil {
		return nil, fmt.Errorf("preparing %s: %w", o.Name, err)
	}
	return m, nil
}

// SetConfig replaces the properties file, for the next start.
func (m *MirrorMaker) SetConfig(config string) error {
	return os.WriteFile(m.file("mirrormaker.properties"), []byte(config), 0o600)
}

func (m *MirrorMaker) file(name string) string { return filepath.Join(m.options.Dir, name) }

// LogFile is what it writes, from all its runs.
func (m *MirrorMaker) LogFile() string { return m.file("mirrormaker.log") }

// PID is the number of its process. It is meaningless when it does not run.
func (m *MirrorMaker) PID() int { return m.process.PID() }

// Start runs it. It returns once the process says that its workers have begun; they find topics and
// copy some time after that, which shows at the target alone.
func (m *MirrorMaker) Start(ctx context.Context) error {
	o := &m.options
	args := []string{m.file("mirrormaker.properties")}
	if len(o.Clusters) > 0 {
		args = append(append(args, "--clusters"), o.Clusters...)
	}
	spec := m.programs.java(o.HeapMB, o.JVM, m.file("log4j2.xml"), "org.apache.kafka.connect.mirror.MirrorMaker", args...)
	spec.Name, spec.LogFile, spec.Env = o.Name, m.LogFile(), append(spec.Env, o.Env...)
	spec.ReadyTimeout, spec.StopTimeout = startTimeout, stopTimeout
	before, err := m.said()
	if err != nil {
		return err
	}
	spec.Ready = func(context.Context) error {
		now, err := m.said()
		if err == nil && now <= before {
			err = errors.New("it has not begun")
		}
		return err
	}
	m.process, err = process.Start(ctx, spec)
	return err
}

// said counts how often the log says that it has begun.
func (m *MirrorMaker) said() (int, error) {
	text, err := os.ReadFile(m.LogFile())
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	return strings.Count(string(text), "Kafka MirrorMaker started"), err
}

// Kill ends it at once (SIGKILL).
func (m *MirrorMaker) Kill() error {
	if m.process == nil {
		return nil
	}
	return m.process.Kill()
}

// Stop ends it gracefully.
func (m *MirrorMaker) Stop(ctx context.Context) error {
	if m.process == nil {
		return nil
	}
	return m.process.Stop(ctx)
}

// LogTail is the end of its log.
func (m *MirrorMaker) LogTail() string {
	if m.process == nil {
		return "(not started)"
	}
	return m.process.LogTail()
}

// SingleCopies are the settings of a MirrorMaker between clusters of one broker: one copy of every topic that it makes.
// How plugins are found changes the start alone.
const SingleCopies = `plugin.discovery = service_load
replication.factor = 1
checkpoints.topic.replication.factor = 1
heartbeats.topic.replication.factor = 1
offset-syncs.topic.replication.factor = 1
offset.storage.replication.factor = 1
status.storage.replication.factor = 1
config.storage.replication.factor = 1
`
