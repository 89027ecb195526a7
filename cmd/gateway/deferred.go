package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/requestlog"
	"multiactive.dev/operator/internal/port/requestlog/kafkalog"
)

// Files of the gateway's Secret.
const (
	fileMechanism = "mechanism"
	fileUser      = "username"
	filePassword  = "password"
	fileCA        = "ca.crt"
	fileNotify    = "notify-secret"
)

// kafkaTimeout bounds one call.
const kafkaTimeout = 5 * time.Second

// deferral is where and how deferred requests are kept.
type deferral struct {
	topic   string
	brokers string
	// auth: the brokers want the credentials among the secrets.
	auth    bool
	secrets secretDir
}

// errNoCredentials is why nothing can be kept until somebody makes the Secret.
var errNoCredentials = errors.New("the brokers want credentials, and there are none: create the Secret <service>-gateway with mechanism, username and password")

// options reads the Secret's files. Its error never holds a value.
func (d *deferral) options() (kafka.Options, error) {
	o := kafka.Options{Brokers: strings.Split(d.brokers, ","), ClientID: "multiactive-gateway", Timeout: kafkaTimeout}
	if d.auth {
		o.SASL = &kafka.SASL{Mechanism: kafka.Mechanism(d.secrets.read(fileMechanism)), User: d.secrets.read(fileUser), Password: d.secrets.read(filePassword)}
		if o.SASL.User == "" || o.SASL.Password == "" {
			return o, errNoCredentials
		}
	}
	if ca := d.secrets.read(fileCA); ca != "" {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
		if !o.TLS.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return o, fmt.Errorf("%s holds no PEM certificate", fileCA)
		}
	}
	return o, nil
}

// notifySecret returns what notifications are signed with. Without it nobody is told: a receiver could not
// know who speaks.
func (d *deferral) notifySecret() ([]byte, error) {
	if secret := d.secrets.read(fileNotify); secret != "" {
		return []byte(secret), nil
	}
	return nil, errors.New("there is no " + fileNotify + " in the Secret <service>-gateway")
}

// state names what the files say, to notice a change; it is never shown.
func (d *deferral) state() string {
	var b strings.Builder
	for _, name := range []string{fileMechanism, fileUser, filePassword, fileCA} {
		fmt.Fprintf(&b, "%q", d.secrets.read(name))
	}
	return b.String()
}

// secretLog is the log by the present credentials. It is a requestlog.Log.
type secretLog struct {
	deferral
	log *slog.Logger

	mu      sync.Mutex
	now     requestlog.Log
	state   string
	why     error
	changed chan struct{}
}

// newSecretLog opens the log, as far as the files let it.
func newSecretLog(d deferral, log *slog.Logger) (*secretLog, error) {
	if _, err := kafka.ClientOptions(kafka.Options{Brokers: strings.Split(d.brokers, ",")}); err != nil {
		return nil, fmt.Errorf("--kafka-%w", err)
	}
	l := &secretLog{deferral: d, log: log, changed: make(chan struct{})}
	l.open(l.deferral.state())
	return l, nil
}

// open replaces the log. The caller holds the lock, or is alone.
func (l *secretLog) open(state string) {
	if l.now != nil {
		l.now.Close()
	}
	l.state, l.now = state, nil
	o, err := l.options()
	if err == nil {
		var opened *kafkalog.Log
		if opened, err = kafkalog.New(kafkalog.Options{Kafka: o, Topic: l.topic}); err == nil {
			l.now = opened
		}
	}
	if l.why = err; err != nil {
		l.log.Warn("requests cannot be deferred", slog.Any("error", err))
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// watch follows the files until ctx ends.
func (l *secretLog) watch(ctx context.Context) {
	tick := time.NewTicker(secretsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.look()
		}
	}
}

// look opens the log anew when the files have changed.
func (l *secretLog) look() {
	state := l.deferral.state()
	l.mu.Lock()
	defer l.mu.Unlock()
	if state != l.state {
		l.log.Info("the credentials for Kafka have changed")
		l.open(state)
	}
}

func (l *secretLog) current() (requestlog.Log, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now, l.changed, l.why
}

// Append implements requestlog.Log.
func (l *secretLog) Append(ctx context.Context, slot int, value []byte) (requestlog.Position, error) {
	log, _, err := l.current()
	if err != nil {
		return requestlog.Position{}, err
	}
	return log.Append(ctx, slot, value)
}

// AppendTo implements requestlog.Log.
func (l *secretLog) AppendTo(ctx context.Context, partition int32, value []byte) (requestlog.Position, error) {
	log, _, err := l.current()
	if err != nil {
		return requestlog.Position{}, err
	}
	return log.AppendTo(ctx, partition, value)
}

// Bounds implements requestlog.Log.
func (l *secretLog) Bounds(ctx context.Context) (map[int32]requestlog.Bounds, error) {
	log, _, err := l.current()
	if err != nil {
		return nil, err
	}
	return log.Bounds(ctx)
}

// Follow implements requestlog.Log: from the beginning again after a change, which its users expect.
func (l *secretLog) Follow(ctx context.Context, take func([]requestlog.Record), failed func(error)) {
	l.through(ctx, failed, func(ctx context.Context, log requestlog.Log) { log.Follow(ctx, take, failed) })
}

// Hold implements requestlog.Log: everything is lost for a moment at a change.
func (l *secretLog) Hold(ctx context.Context, gained, lost func(int32)) {
	l.through(ctx, func(error) {}, func(ctx context.Context, log requestlog.Log) { log.Hold(ctx, gained, lost) })
}

// through calls use with each log after the other.
func (l *secretLog) through(ctx context.Context, failed func(error), use func(context.Context, requestlog.Log)) {
	for ctx.Err() == nil {
		log, changed, err := l.current()
		if err != nil {
			failed(err)
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		one, cancel := context.WithCancel(ctx)
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			select {
			case <-changed:
				cancel()
			case <-one.Done():
			}
		}()
		use(one, log)
		cancel()
		<-stop
	}
}

// Close implements requestlog.Log.
func (l *secretLog) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now != nil {
		l.now.Close()
		l.now, l.why = nil, errors.New("the log is closed")
	}
}
