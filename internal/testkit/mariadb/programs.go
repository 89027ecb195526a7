package mariadb

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sync"
)

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

// template returns a data directory to copy, of the program's version. Making one takes longer than
// starting a server, so it stays for other packages and later runs.
func template(daemon string) (string, error) {
	making.Lock()
	defer making.Unlock()
	version, err := exec.CommandContext(context.Background(), daemon, "--no-defaults", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("asking %s for its version: %w", daemon, err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	parent := filepath.Join(cache, "multiactive")
	target := filepath.Join(parent, fmt.Sprintf("mariadb-%.8x", sha256.Sum256(append(version, username()...))))
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", err
	}
	return target, install(parent, target)
}

// install makes the data directory under another name, for somebody else may be making it as well.
func install(parent, target string) error {
	program, err := find("mariadb-install-db", "mysql_install_db")
	if err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(parent, ".mariadb")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	command := exec.CommandContext(context.Background(), program, "--no-defaults", "--datadir="+fresh, "--skip-test-db",
		"--auth-root-authentication-method=normal", "--user="+username(), "--innodb-log-file-size=8M")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	err = os.Rename(fresh, target)
	if _, there := os.Stat(target); there == nil {
		return nil // somebody was quicker
	}
	return err
}
