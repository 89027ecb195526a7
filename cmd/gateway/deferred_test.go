package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/kafka/embedded"
	"multiactive.dev/operator/internal/port/requestlog"
)

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSecretLog begins without the Secret, and goes on by each that comes.
func TestSecretLog(t *testing.T) {
	b, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0", User: "gateway", Password: "hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	admin, err := kafka.NewClient(kafka.Options{Brokers: []string{b.Addr()}, SASL: &kafka.SASL{Mechanism: kafka.MechanismPlain, User: "gateway", Password: "hunter2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	if err := admin.Create(t.Context(), kafka.NewTopic{Name: "a._deferred.u", Partitions: 1, ReplicationFactor: 1}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var logged strings.Builder
	d := deferral{topic: "a._deferred.u", brokers: b.Addr(), auth: true, secrets: secretDir(dir)}
	l, err := newSecretLog(d, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 10)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Follow(ctx, func(records []requestlog.Record) {
			for _, r := range records {
				got <- string(r.Value)
			}
		}, func(error) {})
	}()
	defer func() { cancel(); <-done }()
	store := func() error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		_, err := l.Append(ctx, 1, []byte("record"))
		return err
	}
	if err := store(); err == nil || !strings.Contains(err.Error(), "<service>-gateway") {
		t.Errorf("without the Secret: error is %v", err)
	}
	write(t, dir, map[string]string{"mechanism": "PLAIN", "username": "gateway", "password": "wr0ng"})
	l.look()
	if err := store(); err == nil || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("with a wrong password: error is %v", err)
	}
	write(t, dir, map[string]string{"password": "hunter2"})
	l.look()
	if err := store(); err != nil {
		t.Errorf("with the right password: %v", err)
	}
	select {
	case text := <-got:
		if text != "record" {
			t.Errorf("read %q", text)
		}
	case <-time.After(time.Minute):
		t.Error("nothing was read")
	}
	write(t, dir, map[string]string{"ca.crt": "no certificate"})
	l.look()
	if err := store(); err == nil || !strings.Contains(err.Error(), "ca.crt") {
		t.Errorf("with a wrong certificate: error is %v", err)
	}
	for _, secret := range []string{"wr0ng", "hunter2"} {
		if strings.Contains(logged.String(), secret) {
			t.Errorf("logged is a password: %s", logged.String())
		}
	}
}

func TestNotifySecret(t *testing.T) {
	dir := t.TempDir()
	d := deferral{secrets: secretDir(dir)}
	if _, err := d.notifySecret(); err == nil {
		t.Error("a secret was found")
	}
	write(t, dir, map[string]string{"notify-secret": "s"})
	if secret, err := d.notifySecret(); err != nil || string(secret) != "s" {
		t.Errorf("got %q, %v", secret, err)
	}
}
