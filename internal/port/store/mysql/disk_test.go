//go:build !e2e

package mysql_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"multiactive.dev/operator/internal/port/store/mysql"
	"multiactive.dev/operator/internal/port/store/mysql/mysqltest"
	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/mariadb"
)

// smallDisk mounts a file system of its own, that ends with the test.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "disk") //nolint:usetesting // t.TempDir is too long a path for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	err = unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size)
	if errors.Is(err, fs.ErrPermission) && os.Getenv("CI") != "true" {
		t.Skip("a file system can be mounted by root alone")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// A target whose disk is full says so, and goes on once there is room; nothing is lost.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "48m")
	from := mysqltest.RunOne(t, mariadb.Options{Name: "beijing", Settings: mysqltest.Settings(1, 2)})
	settings := mysqltest.Settings(2, 2)
	settings["relay-log"] = filepath.Join(disk, "relay")
	to := mysqltest.RunOne(t, mariadb.Options{Name: "shanghai", Settings: settings})
	w := storage.Want{Region: "shanghai", Regions: []string{"beijing", "shanghai"}, Mesh: true, Writable: true}
	source, target := openNode(t, from), openNode(t, to)
	for _, server := range []*mysql.Server{source, target} {
		if err := server.Prepare(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	if err := target.Connect(t.Context(), w, storage.Source{Region: "beijing", Address: from.Addr()}); err != nil {
		t.Fatal(err)
	}
	const rows = 150
	filler := filepath.Join(disk, "filler")
	fill(t, filler, disk)
	for id := range int64(rows) {
		if err := from.Put(t.Context(), id, strings.Repeat("x", 60_000)); err != nil {
			t.Fatal(err)
		}
	}
	w.Sources = []storage.Source{{Region: "beijing", Address: from.Addr()}}
	testkit.Eventually(t, time.Minute, func() error {
		seen, err := target.Observe(t.Context(), w)
		if err != nil {
			return err
		}
		fault := seen.Links["beijing"].Fault
		if fault == nil || fault.Kind != storage.FaultDisk || !fault.Kind.Restartable() || fault.Remedy == "" {
			return fmt.Errorf("link is %+v, fault %+v, want one of its disk", seen.Links["beijing"], fault)
		}
		return nil
	})
	// Questions that get no answer take connections, until there are none.
	for range 5 {
		if _, err := target.Observe(t.Context(), w); err != nil {
			t.Error(err)
		}
	}
	db := to.Superuser()
	defer func() { _ = db.Close() }()
	var waiting int
	if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SHOW ALL%'").Scan(&waiting); err != nil {
		t.Fatal(err)
	}
	if waiting > 2 {
		t.Errorf("%d questions about links wait at the server, want no more than before", waiting)
	}
	// The server goes on by itself, a minute after there is room; or at once when it is started again.
	if err := errors.Join(to.Kill(), os.Remove(filler), to.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, func() error {
		got, err := to.Rows(t.Context())
		if err == nil && len(got) != rows {
			err = fmt.Errorf("%d rows arrived, want %d", len(got), rows)
		}
		return err
	})
}

// fill leaves a megabyte of a file system.
func fill(t *testing.T, file, disk string) {
	t.Helper()
	var space unix.Statfs_t
	if err := unix.Statfs(disk, &space); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, make([]byte, int64(space.Bavail)*space.Bsize-1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
}
