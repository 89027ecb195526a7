package postgres_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/postgres"
)

// ask runs a statement that returns one text.
func ask(ctx context.Context, server *postgres.Server, statement string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := server.Dial(ctx, postgres.Superuser, postgres.Password)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	var answer string
	err = conn.QueryRow(ctx, statement).Scan(&answer)
	return answer, err
}

// TestNothingIsLeft would else end the tests of a machine that has run many of them: the kernel's segments are few.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	server := postgres.Run(t, postgres.Options{})
	pid, err := os.ReadFile(filepath.Join(filepath.Dir(server.LogFile()), "..", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(strings.Split(string(pid), "\n")[6])
	there := func() bool {
		segments, err := os.ReadFile("/proc/sysvipc/shm")
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(strings.Split(string(segments), "\n"), func(line string) bool {
			of := strings.Fields(line)
			return len(of) > 1 && of[1] == fields[1]
		})
	}
	if !there() {
		t.Fatalf("a running server has no segment %s", fields[1])
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, func() error { // once the last of its processes has ended
		if there() {
			return fmt.Errorf("segment %s is there still", fields[1])
		}
		return nil
	})
}

func TestServerKeepsDataAndAddress(t *testing.T) {
	t.Parallel()
	server := postgres.Run(t, postgres.Options{Settings: map[string]string{"max_connections": "7"}})
	if got, err := ask(t.Context(), server, "SHOW max_connections"); err != nil || got != "7" {
		t.Fatalf("max_connections is %q, error %v", got, err)
	}
	for name, end := range map[string]func() error{
		"killed":  server.Kill,
		"stopped": func() error { return server.Stop(t.Context()) },
	} {
		if _, err := ask(t.Context(), server, fmt.Sprintf("CREATE TABLE %s (a int); SELECT ''", name)); err == nil {
			t.Fatal("two statements in one were accepted")
		}
		conn, err := server.Dial(t.Context(), postgres.Superuser, postgres.Password)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "CREATE TABLE "+name+" (a int)"); err != nil {
			t.Fatal(err)
		}
		if err := end(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := ask(t.Context(), server, "SELECT ''"); err == nil {
			t.Fatalf("it still answers after it was %s", name)
		}
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := ask(t.Context(), server, "SELECT to_regclass('"+name+"')::text"); err != nil || got != name {
			t.Fatalf("after it was %s there is the table %q, error %v", name, got, err)
		}
	}
}

func TestFreeze(t *testing.T) {
	t.Parallel()
	server := postgres.Run(t, postgres.Options{})
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := ask(ctx, server, "SELECT ''"); err == nil {
		t.Fatal("a frozen server answers")
	}
	if err := server.Continue(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		_, err := ask(t.Context(), server, "SELECT ''")
		return err
	})
}
