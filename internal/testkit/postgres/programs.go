package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/process"
)

// EnvPrograms names the directory of PostgreSQL's programs. Default: the newest that Debian's package has.
const EnvPrograms = "MULTIACTIVE_POSTGRES"

// ErrNotFound is wrapped when PostgreSQL is missing.
var ErrNotFound = errors.New("program not found")

// programs of PostgreSQL, and the user that they run as: none of them runs as root.
type programs struct {
	dir string
	// prefix runs a program as another user; empty where nobody is root.
	prefix   []string
	uid, gid int
}

func find(dir string) (programs, error) {
	if dir == "" {
		dir = os.Getenv(EnvPrograms)
	}
	if dir == "" {
		found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
		if err != nil || len(found) == 0 {
			return programs{}, fmt.Errorf("%w: postgres: run `apt-get install postgresql`, or set %s to the directory of PostgreSQL's programs",
				ErrNotFound, EnvPrograms)
		}
		dir = filepath.Dir(slices.MaxFunc(found, byVersion))
	}
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return programs{}, fmt.Errorf("%w: initdb in %s", ErrNotFound, dir)
	}
	p := programs{dir: dir, uid: os.Getuid(), gid: os.Getgid()}
	if p.uid != 0 {
		return p, nil
	}
	err := p.asAnother()
	return p, err
}

// asAnother chooses the user that the package makes, or nobody.
func (p *programs) asAnother() error {
	account, err := user.Lookup("postgres")
	if err != nil {
		if account, err = user.Lookup("nobody"); err != nil {
			return fmt.Errorf("PostgreSQL does not run as root, and there is neither a user postgres nor nobody: %w", err)
		}
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		return fmt.Errorf("%w: setpriv: run `apt-get install util-linux`", ErrNotFound)
	}
	if p.uid, err = strconv.Atoi(account.Uid); err != nil {
		return fmt.Errorf("user %s: %w", account.Username, err)
	}
	if p.gid, err = strconv.Atoi(account.Gid); err != nil {
		return fmt.Errorf("user %s: %w", account.Username, err)
	}
	// The kernel forgets whose child it is to kill when a process becomes another user's.
	p.prefix = []string{setpriv, "--reuid", account.Uid, "--regid", account.Gid, "--clear-groups", "--pdeathsig", "KILL", "--"}
	return nil
}

// byVersion compares paths such as /usr/lib/postgresql/15/bin/postgres.
func byVersion(a, b string) int { return versionOf(a) - versionOf(b) }

func versionOf(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// Newer is the directory of the programs that `make postgres16` fetches: a version that replicates in meshes.
func Newer() (string, error) {
	root, err := binaries.ModuleRoot()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, "bin", "postgres16", "bin")
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return "", fmt.Errorf("%w: initdb in %s: run `make postgres16`", ErrNotFound, dir)
	}
	return dir, nil
}

// spec runs one of the programs.
func (p programs) spec(name string, args ...string) process.Spec {
	command := slices.Concat(p.prefix, []string{filepath.Join(p.dir, name)}, args)
	return process.Spec{Path: command[0], Args: command[1:], Env: []string{"LC_ALL=C.UTF-8"}, Dir: "/"}
}

// initialise makes a server's data.
func (p programs) initialise(ctx context.Context, dir, data string) error {
	if err := errors.Join(os.MkdirAll(data, 0o755), os.Chown(data, p.uid, p.gid)); err != nil {
		return err
	}
	secret := filepath.Join(dir, "password")
	if err := errors.Join(os.WriteFile(secret, []byte(Password+"\n"), 0o600), os.Chown(secret, p.uid, p.gid)); err != nil {
		return err
	}
	spec := p.spec("initdb", "--pgdata", data, "--username", Superuser, "--pwfile", secret, "--auth", "scram-sha-256",
		"--encoding", "UTF8", "--no-locale", "--no-sync", "--no-instructions",
		// Small segments of the log: tests have a server delete some of it.
		"--wal-segsize", "1")
	command := exec.CommandContext(ctx, spec.Path, spec.Args...)
	command.Dir, command.Env = spec.Dir, spec.Env
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("making the server's data: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
