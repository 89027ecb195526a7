//go:build e2e

package kafka_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/kafka/kafkatest"
	"multiactive.dev/operator/internal/testkit/apachekafka"
)

const (
	adminUser, adminPassword = "admin", "c0rrect-horse"
	guestUser, guestPassword = "guest", "battery-stap1e"
)

var users = map[string]string{adminUser: adminPassword, guestUser: guestPassword}

func authority(t *testing.T) *apachekafka.Authority {
	t.Helper()
	a, err := apachekafka.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func trust(a *apachekafka.Authority) *tls.Config {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.PEM())
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
}

func login(mechanism kafka.Mechanism, user, password string) *kafka.SASL {
	return &kafka.SASL{Mechanism: mechanism, User: user, Password: password}
}

// secured runs a broker where clients log in over TLS, and only the administrator may do anything.
func secured(t *testing.T, ca *apachekafka.Authority) *apachekafka.Broker {
	t.Helper()
	return apachekafka.Run(t, apachekafka.Options{
		Name: "secured", Users: users, TLS: ca, Authorize: true,
		Properties: map[string]string{"super.users": "User:ANONYMOUS;User:" + adminUser},
	})
}

// Who logs in over TLS has all that the contract asks for; who does not prove who he is, or does not
// meet whom he trusts, is told which of the two it is.
func TestRealCredentials(t *testing.T) {
	ca := authority(t)
	over := map[string]*apachekafka.Broker{
		"TLS":   secured(t, ca),
		"plain": apachekafka.Run(t, apachekafka.Options{Name: "sasl", Users: users}),
	}
	options := func(name string, sasl *kafka.SASL) kafka.Options {
		o := kafka.Options{Brokers: []string{over[name].Addr()}, SASL: sasl, Timeout: 30 * time.Second}
		if name == "TLS" {
			o.TLS = trust(ca)
		}
		return o
	}
	for name := range over {
		for _, mechanism := range []kafka.Mechanism{kafka.MechanismPlain, kafka.MechanismScramSHA256, kafka.MechanismScramSHA512} {
			t.Run(name+"/"+string(mechanism), func(t *testing.T) {
				expect(t, options(name, login(mechanism, adminUser, adminPassword)), nil)
				expect(t, options(name, login(mechanism, adminUser, "wr0ng-one")), kafka.ErrAuthentication)
				expect(t, options(name, login(mechanism, "nobody", adminPassword)), kafka.ErrAuthentication)
			})
		}
	}
	t.Run("contract", func(t *testing.T) {
		kafkatest.Contract(t, options("TLS", login(kafka.MechanismScramSHA512, adminUser, adminPassword)))
	})
	sasl := login(kafka.MechanismScramSHA256, adminUser, adminPassword)
	t.Run("another authority", func(t *testing.T) {
		o := options("TLS", sasl)
		o.TLS = trust(authority(t))
		expect(t, o, kafka.ErrCertificate)
	})
	t.Run("another name", func(t *testing.T) {
		o := options("TLS", sasl)
		o.TLS.ServerName = "elsewhere.example.com"
		expect(t, o, kafka.ErrCertificate)
	})
	t.Run("no TLS where it is wanted", func(t *testing.T) {
		o := options("TLS", sasl)
		o.TLS, o.Timeout = nil, 3*time.Second
		// Brokers answer so that the library takes it for something else, and says what it guesses.
		_, err := kafkatest.NewAdminWith(t, o).Brokers(t.Context())
		if err == nil || !strings.Contains(err.Error(), "plaintext connection speaking to a tls endpoint") {
			t.Errorf("error is %v, want one that tells of TLS", err)
		}
	})
	t.Run("TLS where there is none", func(t *testing.T) {
		o := options("plain", sasl)
		o.TLS, o.Timeout = trust(ca), 3*time.Second
		expect(t, o, kafka.ErrUnreachable)
	})
	t.Run("no login", func(t *testing.T) {
		o := options("plain", nil)
		o.Timeout = 3 * time.Second
		expect(t, o, kafka.ErrUnreachable)
	})
}

// expect makes a call and compares the kind of its error, which must not show a password.
func expect(t *testing.T, o kafka.Options, want error) {
	t.Helper()
	client := kafkatest.NewAdminWith(t, o)
	_, err := client.Brokers(t.Context())
	if !errors.Is(err, want) {
		t.Errorf("error is %v, want %v", err, want)
	}
	if err != nil && o.SASL != nil && strings.Contains(err.Error(), o.SASL.Password) {
		t.Errorf("the error shows the password: %v", err)
	}
}

// Certificates of clients are taken, and missed.
func TestRealClientCertificates(t *testing.T) {
	ca := authority(t)
	b := apachekafka.Run(t, apachekafka.Options{Name: "certificates", TLS: ca, ClientCertificates: true})
	with := kafka.Options{Brokers: []string{b.Addr()}, TLS: trust(ca), Timeout: 30 * time.Second}
	certificate, key, err := ca.Client(adminUser)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	with.TLS.Certificates = []tls.Certificate{pair}
	expect(t, with, nil)
	without := with
	without.TLS, without.Timeout = trust(ca), 3*time.Second
	expect(t, without, kafka.ErrCertificate)
}

// A user without permissions is told so by every call, and what may be read is read.
func TestRealAuthorization(t *testing.T) {
	ca := authority(t)
	b := secured(t, ca)
	ctx := t.Context()
	admin := apachekafka.AdminOf(t, b)
	for _, name := range []string{"a.open", "a.closed"} {
		if _, err := admin.CreateTopic(ctx, 1, 1, nil, name); err != nil {
			t.Fatal(err)
		}
	}
	allow(t, admin, kadm.NewACLs().Allow("User:"+guestUser).AllowHosts().Topics("a.open").Operations(kadm.OpRead, kadm.OpDescribe, kadm.OpDescribeConfigs))
	guest := kafkatest.NewAdminWith(t, kafka.Options{
		Brokers: []string{b.Addr()}, TLS: trust(ca), SASL: login(kafka.MechanismScramSHA512, guestUser, guestPassword),
	})
	kafkatest.Eventually(t, "the access control list", func() error {
		_, err := guest.EndOffsets(ctx, "a.open")
		return err
	})
	rights, err := guest.Rights(ctx, "a.open", "a.closed")
	if want := map[string]kafka.Rights{"a.open": {Known: true, Read: true}, "a.closed": {Known: true}}; err != nil || !maps.Equal(rights, want) {
		t.Errorf("rights are %+v, %v; want %+v", rights, err, want)
	}
	got, err := guest.Describe(ctx, "a.open", "a.closed", "a.missing")
	if err != nil {
		t.Fatal(err)
	}
	if open := got["a.open"]; !open.Exists || open.Err != nil || open.Configs["retention.ms"] == "" {
		t.Errorf("the topic that may be read is %+v", open)
	}
	for _, name := range []string{"a.closed", "a.missing"} {
		if topic := got[name]; topic.Exists || !errors.Is(topic.Err, kafka.ErrAuthorization) {
			t.Errorf("topic %s is %+v, want ErrAuthorization", name, topic)
		}
	}
	for name, call := range map[string]func(context.Context) error{
		"Create": func(ctx context.Context) error {
			return guest.Create(ctx, kafka.NewTopic{Name: "a.new", Partitions: 1})
		},
		"CreatePartitions": func(ctx context.Context) error { return guest.CreatePartitions(ctx, "a.open", 2) },
		"AlterConfigs": func(ctx context.Context) error {
			return guest.AlterConfigs(ctx, "a.open", map[string]string{"retention.ms": "1"})
		},
		"EndOffsets":   func(ctx context.Context) error { _, err := guest.EndOffsets(ctx, "a.closed"); return err },
		"GroupOffsets": func(ctx context.Context) error { _, err := guest.GroupOffsets(ctx, "g"); return err },
		"CommitOffsets": func(ctx context.Context) error {
			return guest.CommitOffsets(ctx, "g", []kafka.GroupOffset{{Topic: "a.open", Offset: 1}})
		},
		"Ensure": func(ctx context.Context) error { return kafka.NewClaims(guest).Ensure(ctx, 1) },
		"Load":   func(ctx context.Context) error { _, err := kafka.NewClaims(guest).Load(ctx); return err },
		"Put": func(ctx context.Context) error {
			return kafka.NewClaims(guest).Put(ctx, "a.open", kafka.Claim{Name: "x"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := call(t.Context()); !errors.Is(err, kafka.ErrAuthorization) {
				t.Errorf("error is %v, want ErrAuthorization", err)
			}
		})
	}
}

func allow(t *testing.T, admin *kadm.Client, list *kadm.ACLBuilder) {
	t.Helper()
	results, err := admin.CreateACLs(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
}
