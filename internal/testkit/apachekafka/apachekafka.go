// Package apachekafka runs Apache Kafka as processes: brokers of one node each, in KRaft mode and
// without ZooKeeper, that a test can kill and bring back with their data and their address, and
// MirrorMaker 2. Every broker has a plain listener for its superuser; on request clients meet SASL,
// TLS and access control on a listener of their own.
//
// It is for tests (build tag e2e) and benchmarks only; `make test` has the embedded Kafka instead. It
// must never listen on anything but loopback, and never fetch anything: `make kafka` does.
package apachekafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/testkit/ports"
	"multiactive.dev/operator/internal/testkit/process"
)

// Java starts slowly beside other work, and a broker that stops writes everything first.
const (
	startTimeout = 4 * time.Minute
	stopTimeout  = time.Minute
	probeTimeout = 2 * time.Second
)

// Options describe a broker.
type Options struct {
	// Name appears in errors. Default "kafka".
	Name string
	// Dir holds configuration, data and log. Required.
	Dir string
	// Host is the loopback address to listen on. Default: one that nobody else uses.
	Host string
	// Users and their passwords: clients have to log in, with PLAIN or SCRAM.
	Users map[string]string
	// TLS, when set, signs the broker's certificate: clients have to use TLS.
	TLS *Authority
	// ClientCertificates demands a certificate of TLS from every client; its common name is the user.
	ClientCertificates bool
	// Authorize refuses everything to clients that no access control list allows.
	Authorize bool
	// HeapMB bounds the Java heap. Default 256.
	HeapMB int
	// JVM are further options of Java. Default: those with which it starts with little work, and is
	// not fast.
	JVM []string
	// Properties are added to the broker's configuration, and replace what it has.
	Properties map[string]string
}

// secured tells whether clients have a listener of their own.
func (o *Options) secured() bool { return len(o.Users) > 0 || o.TLS != nil }

// Broker is one broker. It can be started, ended and started again; one goroutine may use it at a time.
type Broker struct {
	options                     Options
	programs                    programs
	inside, clients, controller int
	formatted, seeded           bool
	process                     *process.Process
}

// New prepares a broker and starts nothing.
func New(o Options) (*Broker, error) {
	if o.Name == "" {
		o.Name = "kafka"
	}
	if o.HeapMB == 0 {
		o.HeapMB = 256
	}
	if o.Host == "" {
		o.Host = ports.Host()
	}
	b := &Broker{options: o}
	if err := b.prepare(); err != nil {
		return nil, fmt.Errorf("preparing broker %s: %w", o.Name, err)
	}
	return b, nil
}

func (b *Broker) prepare() error {
	o := &b.options
	if o.Dir == "" {
		return errors.New("no Dir is given")
	}
	if o.ClientCertificates && o.TLS == nil {
		return errors.New("ClientCertificates needs TLS")
	}
	if err := checkUsers(o.Users); err != nil {
		return err
	}
	var err error
	if b.programs, err = find(); err != nil {
		return err
	}
	free, err := ports.Free(o.Host, 3)
	if err != nil {
		return err
	}
	b.inside, b.clients, b.controller = free[0], free[1], free[2]
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	if o.TLS != nil {
		if err := o.TLS.brokerFiles(o.Dir, o.Host); err != nil {
			return err
		}
	}
	return b.configure()
}

// configure writes the broker's files.
func (b *Broker) configure() error {
	return errors.Join(
		os.WriteFile(b.file("server.properties"), []byte(render(b.properties())), 0o600),
		os.WriteFile(b.file("log4j2.xml"), []byte(logging), 0o600),
	)
}

func (b *Broker) file(name string) string { return filepath.Join(b.options.Dir, name) }

func (b *Broker) address(port int) string {
	return net.JoinHostPort(b.options.Host, strconv.Itoa(port))
}

// Addr is the address for clients. It stays the same through restarts.
func (b *Broker) Addr() string {
	if b.options.secured() {
		return b.address(b.clients)
	}
	return b.Inside()
}

// Inside is the plain address of the superuser.
func (b *Broker) Inside() string { return b.address(b.inside) }

// LogFile is what the broker writes, from all its runs.
func (b *Broker) LogFile() string { return b.file("kafka.log") }

// PID is the number of the broker's process. It is meaningless when it does not run.
func (b *Broker) PID() int { return b.process.PID() }

// Start runs the broker on what its directory holds and returns when it serves. On an error nothing is
// left running.
func (b *Broker) Start(ctx context.Context) error {
	if err := b.format(ctx); err != nil {
		return err
	}
	spec := b.programs.java(b.options.HeapMB, b.options.JVM, b.file("log4j2.xml"), "kafka.Kafka", b.file("server.properties"))
	spec.Name, spec.LogFile = "broker "+b.options.Name, b.LogFile()
	spec.Ready, spec.ReadyTimeout, spec.StopTimeout = b.ready, startTimeout, stopTimeout
	var err error
	if b.process, err = process.Start(ctx, spec); err != nil {
		return err
	}
	if b.seeded {
		return nil
	}
	for user, password := range b.options.Users {
		if err := b.SetPassword(ctx, user, password); err != nil {
			return errors.Join(err, b.Kill())
		}
	}
	b.seeded = true
	return nil
}

// format makes the directory one of a cluster's. It is done once.
func (b *Broker) format(ctx context.Context) error {
	if b.formatted {
		return nil
	}
	spec := b.programs.java(b.options.HeapMB, nil, b.file("log4j2.xml"), "kafka.tools.StorageTool",
		"format", "--ignore-formatted", "--cluster-id", clusterID(), "--config", b.file("server.properties"))
	spec.Name, spec.LogFile = "formatting broker "+b.options.Name, b.LogFile()
	p, err := process.Start(ctx, spec)
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), p.Kill())
	}
	if err := p.Err(); err != nil {
		return fmt.Errorf("formatting the directory of broker %s: %w\n%s", b.options.Name, err, p.LogTail())
	}
	b.formatted = true
	return nil
}

// ready tells whether the broker has joined its own cluster.
func (b *Broker) ready(ctx context.Context) error {
	client, err := kafka.NewClient(kafka.Options{Brokers: []string{b.Inside()}, Timeout: probeTimeout})
	if err != nil {
		return err
	}
	defer client.Close()
	n, err := client.Brokers(ctx)
	if err == nil && n == 0 {
		err = errors.New("it serves no topics yet")
	}
	return err
}

// Kill ends the broker as a power failure would (SIGKILL). Its data stay.
func (b *Broker) Kill() error {
	if b.process == nil {
		return nil
	}
	return b.process.Kill()
}

// Stop ends the broker gracefully.
func (b *Broker) Stop(ctx context.Context) error {
	if b.process == nil {
		return nil
	}
	return b.process.Stop(ctx)
}

// LogTail is the end of the broker's log.
func (b *Broker) LogTail() string {
	if b.process == nil {
		return "(not started)"
	}
	return b.process.LogTail()
}

// Admin returns a client of the superuser; the caller closes it.
func (b *Broker) Admin() (*kadm.Client, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Inside()))
	if err != nil {
		return nil, fmt.Errorf("administering broker %s: %w", b.options.Name, err)
	}
	return kadm.NewClient(client), nil
}

// SetPassword changes a user's password for SCRAM. That of PLAIN stays as it was at the start: Kafka
// has it in its configuration.
func (b *Broker) SetPassword(ctx context.Context, user, password string) error {
	admin, err := b.Admin()
	if err != nil {
		return err
	}
	defer admin.Close()
	// A request may name a user once only.
	for _, mechanism := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} {
		altered, err := admin.AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{{User: user, Mechanism: mechanism, Iterations: 4096, Password: password}})
		if err == nil {
			err = altered.Error()
		}
		if err != nil {
			return fmt.Errorf("setting the password of user %s at broker %s: %w", user, b.options.Name, err)
		}
	}
	return nil
}
