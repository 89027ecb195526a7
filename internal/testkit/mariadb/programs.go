package mariadb

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sync"

	"multiactive.dev/operator/internal/testkit/binaries"
)

// Programs are those of a product. The zero value stands for the machine's MariaDB.
type Programs struct {
	// name of the product, for what is kept in the cache.
	name, daemon string
	// small makes a server that starts quickly and takes little memory.
	small map[string]string
	// install is the program that makes a data directory, and with which options.
	install string
	options []string
}

// small settings of both products. What a killed process has written is safe in the kernel's memory: a lost machine ends the test
// anyway.
func small(more map[string]string) map[string]string {
	all := map[string]string{
		"innodb-buffer-pool-size": "24M", "innodb-log-buffer-size": "2M", "innodb-flush-log-at-trx-commit": "2", "sync-binlog": "0",
		"key-buffer-size": "1M", "innodb-fast-shutdown": "2", "innodb-buffer-pool-load-at-startup": "OFF",
		"innodb-buffer-pool-dump-at-shutdown": "OFF", "skip-name-resolve": "", "innodb-use-native-aio": "0",
	}
	maps.Copy(all, more)
	return all
}

// machines finds MariaDB as Debian's package has it.
func machines() (Programs, error) {
	daemon, err := find("mariadbd", "mysqld")
	if err != nil {
		return Programs{}, err
	}
	install, err := find("mariadb-install-db", "mysql_install_db")
	return Programs{
		name: "mariadb", daemon: daemon, install: install,
		options: []string{"--skip-test-db", "--auth-root-authentication-method=normal", "--innodb-log-file-size=8M"},
		small:   small(map[string]string{"innodb-log-file-size": "8M", "aria-pagecache-buffer-size": "1M"}),
	}, err
}

// MySQL returns the programs that `make mysql` fetches.
func MySQL() (Programs, error) {
	root, err := binaries.ModuleRoot()
	if err != nil {
		return Programs{}, err
	}
	daemon := filepath.Join(root, "bin", "mysql", "bin", "mysqld")
	if _, err := os.Stat(daemon); err != nil {
		return Programs{}, fmt.Errorf("%s is missing: run `make mysql`", daemon)
	}
	return Programs{
		name: "mysql", daemon: daemon, install: daemon,
		options: []string{"--initialize-insecure", "--skip-log-bin", "--innodb-redo-log-capacity=8M", "--secure-file-priv=NULL"},
		small:   small(map[string]string{"innodb-redo-log-capacity": "8M", "mysqlx": "OFF", "secure-file-priv": "NULL"}),
	}, nil
}

// Directory of the product's other programs, such as mysqldump; "" where they are on the PATH.
func (p Programs) Directory() string {
	if p.name != "mysql" {
		return ""
	}
	return filepath.Dir(p.daemon)
}

// find looks on PATH and in /usr/sbin, where distributions keep servers.
func find(names ...string) (string, error) {
	for _, name := range names {
		for _, candidate := range []string{name, "/usr/sbin/" + name, "/usr/bin/" + name} {
			if path, err := exec.LookPath(candidate); err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%s is not installed: run `hack/ensure.sh packages stores`", names[0])
}

// username is whom the server runs as: root does not do so by itself.
func username() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "root"
}

var making sync.Mutex

// template returns a data directory to copy, of the programs' version. Making one takes longer than
// starting a server, so it stays for other packages and later runs.
func (p Programs) template() (string, error) {
	making.Lock()
	defer making.Unlock()
	version, err := exec.CommandContext(context.Background(), p.daemon, "--no-defaults", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("asking %s for its version: %w", p.daemon, err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	parent := filepath.Join(cache, "multiactive")
	target := filepath.Join(parent, fmt.Sprintf("%s-%.8x", p.name, sha256.Sum256(append(version, username()...))))
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", err
	}
	return target, p.make(parent, target)
}

// make makes the data directory under another name, for somebody else may be making it as well.
func (p Programs) make(parent, target string) error {
	fresh, err := os.MkdirTemp(parent, "."+p.name)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	args := append([]string{"--no-defaults", "--datadir=" + fresh, "--user=" + username()}, p.options...)
	if out, err := exec.CommandContext(context.Background(), p.install, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", p.install, err, out)
	}
	// A server of MySQL has its identity in it.
	if err := os.Remove(filepath.Join(fresh, "auto.cnf")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err = os.Rename(fresh, target)
	if _, there := os.Stat(target); there == nil {
		return nil // somebody was quicker
	}
	return err
}
