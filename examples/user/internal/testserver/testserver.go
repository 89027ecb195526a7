// Package testserver starts the real MariaDB and Redis of the machine for
// tests: on a temporary directory, on loopback, as children that end with the
// test. It must never touch a server that it has not started.
package testserver

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // registers the driver "mysql"
)

// startLimit bounds the start of a server on a busy machine.
const startLimit = 90 * time.Second

var databases atomic.Int64

// MariaDB is a running server.
type MariaDB struct{ addr string }

// StartMariaDB starts a server that ends with the test. Without the program
// the test fails and says what to install.
func StartMariaDB(t *testing.T) *MariaDB {
	t.Helper()
	install := find(t, "mariadb-server", "mariadb-install-db", "mysql_install_db")
	daemon := find(t, "mariadb-server", "mariadbd", "mysqld")
	dir := shortDir(t)
	data := filepath.Join(dir, "data")
	setup := exec.CommandContext(t.Context(), install, "--no-defaults", "--datadir="+data, "--skip-test-db",
		"--auth-root-authentication-method=normal", "--user="+username())
	if out, err := setup.CombinedOutput(); err != nil {
		t.Fatalf("preparing MariaDB's data directory: %v\n%s", err, out)
	}
	addr := freeAddr(t)
	host, port, _ := net.SplitHostPort(addr)
	run(t, "ready for connections", daemon, "--no-defaults", "--datadir="+data, "--user="+username(),
		"--socket="+filepath.Join(dir, "s"), "--bind-address="+host, "--port="+port,
		"--pid-file="+filepath.Join(dir, "pid"), "--innodb-buffer-pool-size=32M",
		// Safe against a killed server is enough here; a lost machine ends the test anyway.
		"--innodb-flush-log-at-trx-commit=2", "--lc-messages-dir=/usr/share/mysql")
	return &MariaDB{addr: addr}
}

// DSN makes an empty database and returns how to connect to it.
func (m *MariaDB) DSN(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("users%d", databases.Add(1))
	db, err := sql.Open("mysql", "root@tcp("+m.addr+")/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatalf("making a database: %v", err)
	}
	return "root@tcp(" + m.addr + ")/" + name
}

// StartRedis starts a server that ends with the test and returns its address.
func StartRedis(t *testing.T) string {
	t.Helper()
	daemon := find(t, "redis-server", "redis-server")
	addr := freeAddr(t)
	host, port, _ := net.SplitHostPort(addr)
	run(t, "Ready to accept connections", daemon, "--bind", host, "--port", port,
		"--dir", shortDir(t), "--save", "", "--appendonly", "no", "--daemonize", "no")
	return addr
}

// find looks on PATH and in /usr/sbin, where distributions keep servers.
func find(t *testing.T, debianPackage string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
		if path, err := exec.LookPath("/usr/sbin/" + name); err == nil {
			return path
		}
	}
	t.Fatalf("%s is not installed: run `apt-get install %s`", names[0], debianPackage)
	return ""
}

// shortDir returns a directory whose path is short enough for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "user") //nolint:usetesting // t.TempDir is too long a path for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func username() string {
	if os.Geteuid() == 0 {
		return "root"
	}
	return os.Getenv("USER")
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// run starts a program and returns when it has printed the words.
func run(t *testing.T, words, program string, args ...string) {
	t.Helper()
	// Not the test's own context: it ends before the cleanups that use the server.
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	r, w, err := os.Pipe()
	if err != nil {
		stop()
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		stop()
		t.Fatalf("starting %s: %v", program, err)
	}
	_ = w.Close()
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait()
		_ = r.Close()
	})
	ready := make(chan string, 1)
	go watch(r, words, ready)
	select {
	case said := <-ready:
		if said != "" {
			t.Fatalf("%s ended before it was ready:\n%s", program, said)
		}
	case <-time.After(startLimit):
		t.Fatalf("%s was not ready after %s", program, startLimit)
	}
}

// watch sends "" when the words come, or all that was said when the output
// ends without them, and goes on reading so that the program never blocks.
func watch(r io.Reader, words string, ready chan<- string) {
	var said strings.Builder
	in := bufio.NewScanner(r)
	for in.Scan() {
		said.WriteString(in.Text() + "\n")
		if strings.Contains(in.Text(), words) {
			ready <- ""
			_, _ = io.Copy(io.Discard, r)
			return
		}
	}
	ready <- said.String() + "(end of output)"
}
