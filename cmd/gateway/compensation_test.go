package main

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The secret is read when it comes, changes and goes; one that could be guessed is none.
func TestCompensationSecret(t *testing.T) {
	var log bytes.Buffer
	now := time.Unix(0, 0)
	s := &compensationSecret{secrets: secretDir(t.TempDir()), log: slog.New(slog.NewTextHandler(&log, nil)), now: func() time.Time { return now }}
	for _, step := range []struct{ write, want string }{
		{"", ""}, {"a secret of the owner\n", "a secret of the owner"}, {"another one of theirs", "another one of theirs"}, {"short", ""}, {"long enough again", "long enough again"},
	} {
		if step.write != "" {
			if err := os.WriteFile(filepath.Join(string(s.secrets), fileCompensation), []byte(step.write), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		before := string(s.get())
		now = now.Add(secretsEvery - 1)
		if got := string(s.get()); got != before {
			t.Errorf("%q: read again too soon: %q", step.write, got)
		}
		now = now.Add(1)
		if got := string(s.get()); got != step.want {
			t.Errorf("%q: got %q", step.write, got)
		}
	}
	if strings.Count(log.String(), "too short") != 1 || strings.Contains(log.String(), "=short") {
		t.Errorf("log: %s", &log)
	}
	if (&compensationSecret{}).get() != nil {
		t.Error("a secret without a directory")
	}
}

// kubectl port-forward reaches what listens at localhost, which a Pod's address is not.
func TestAdminListensAtLocalhost(t *testing.T) {
	for address, want := range map[string]bool{"10.1.2.3": true, "fd00::2": true, "127.0.0.9": false, "::1": false, "0.0.0.0": false, "::": false} {
		if got := leavesLocalhostOut(net.ParseIP(address)); got != want {
			t.Errorf("%s: %t", address, got)
		}
	}
	all, err := listenAdmin("127.0.0.9:0")
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	_ = all[0].Close()
}
