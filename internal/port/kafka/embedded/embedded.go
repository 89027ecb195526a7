// Package embedded runs a one-broker Kafka inside a process, with its data on
// disk, for tests and the playground. It speaks the real protocol, keeps
// topics, records, configurations and group offsets across a SIGKILL, and
// needs neither Java nor a download.
//
// It must never serve production data: it has one broker and no replication,
// knows fewer topic configurations than Apache Kafka and keeps values that it
// does not know without acting on them.
package embedded

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// Options say where the broker listens and where its data lie.
type Options struct {
	// Listen is the address it binds and advertises, such as "127.11.0.5:9092".
	// Port 0 takes a free one (see Broker.Addr). The address must be concrete:
	// clients are told to connect to it.
	Listen string
	// DataDir keeps the data; it is made when missing. Empty keeps everything
	// in memory.
	DataDir string
	// ClusterID is what metadata answers. Default "embedded".
	ClusterID string
	// User and Password, when set, demand SASL (PLAIN) from every client.
	User, Password string
}

// Broker is a running embedded Kafka.
type Broker struct {
	cluster *kfake.Cluster
	addr    string
}

// Start binds the address, loads what DataDir holds and serves until Close.
// Every produced batch is synced to disk before it is acknowledged.
func Start(o Options) (*Broker, error) {
	host, portText, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("embedded kafka: listen address %q: %w; use host:port", o.Listen, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("embedded kafka: listen address %q: port %q is not a number below 65536", o.Listen, portText)
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		return nil, fmt.Errorf("embedded kafka: listen address %q: needs a concrete host, because clients are told to connect to it", o.Listen)
	}
	id := o.ClusterID
	if id == "" {
		id = "embedded"
	}
	// A broker that was killed has forgotten what it had seen of its
	// producers. If it took any first sequence number from them, as brokers
	// since 2.5 do, the second of two requests on their way could be written
	// before the first, and the order of a key would be lost. Older brokers
	// ask such producers to start anew, which keeps it.
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.InitProducerID), 2)
	opts := []kfake.Opt{
		kfake.MaxVersions(versions),
		kfake.NumBrokers(1),
		kfake.ClusterID(id),
		kfake.Ports(int(port)),
		// The library always names 127.0.0.1; the playground gives every
		// region a loopback address of its own.
		kfake.ListenFn(func(network, _ string) (net.Listener, error) { return net.Listen(network, o.Listen) }),
		kfake.BrokerConfigs(map[string]string{"default.replication.factor": "1"}),
	}
	if o.DataDir != "" {
		opts = append(opts, kfake.DataDir(o.DataDir), kfake.SyncWrites())
	}
	if (o.User == "") != (o.Password == "") {
		return nil, errors.New("embedded kafka: user and password go together")
	}
	if o.User != "" {
		opts = append(opts, kfake.EnableSASL(), kfake.Superuser("PLAIN", o.User, o.Password))
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, fmt.Errorf("embedded kafka at %s with data in %q: %w", o.Listen, o.DataDir, err)
	}
	if o.User != "" {
		cluster.ControlKey(int16(kmsg.SASLAuthenticate), refuseOthers(cluster, o.User, o.Password))
	}
	return &Broker{cluster: cluster, addr: cluster.ListenAddrs()[0]}, nil
}

// refuseOthers answers wrong credentials as Kafka does, with an error code; the
// library would close the connection without a word.
func refuseOthers(c *kfake.Cluster, user, password string) func(kmsg.Request) (kmsg.Response, error, bool) {
	want := []byte(user + "\x00" + password)
	return func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req, ok := r.(*kmsg.SASLAuthenticateRequest)
		if !ok {
			return nil, nil, false
		}
		// The bytes are: identity to act as, NUL, user, NUL, password.
		if _, got, ok := bytes.Cut(req.SASLAuthBytes, []byte{0}); ok && subtle.ConstantTimeCompare(got, want) == 1 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
		return resp, nil, true
	}
}

// Addr is the bootstrap address.
func (b *Broker) Addr() string { return b.addr }

// Close writes what is left to disk and stops. It may be called twice.
func (b *Broker) Close() { b.cluster.Close() }
