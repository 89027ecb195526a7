package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"multiactive.dev/operator/internal/ownership"
)

// Names of contenders, as the page has them.
const (
	nameDirect  = "no proxy"
	nameGateway = "the gateway"
	nameSlow    = "the gateway, `--fast-path=false`"
	nameNginx   = "nginx with Lua"
	nameHAProxy = "HAProxy"
)

// contender is one way to the upstreams.
type contender struct {
	name, address string
	// version as it tells itself.
	version string
	// admin is where a gateway tells what it has allocated; empty for others.
	admin string
	// direct: there is nothing in between.
	direct bool
	// key of a user, for a connection's first request.
	key string
	// behind is the other region's gateway, if requests pass one; stops ends what else was started for it.
	behind *contender
	stops  func()
	cmd    *exec.Cmd
	log    *output
	// ended is closed after the process has ended; err says how.
	ended chan struct{}
	err   error
}

// output keeps what a process says.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// install is what a person on Debian has to do to have all contenders.
const install = "apt-get install nginx libnginx-mod-http-lua haproxy"

// start starts every contender that is installed, and says which are not.
func start(ctx context.Context, w *world, gateway string) (list []*contender, missing []string, err error) {
	list = append(list, &contender{name: nameDirect, address: w.upstream[here].Addr().String(), direct: true})
	for _, begin := range []func(context.Context, *world) (*contender, error){
		func(ctx context.Context, w *world) (*contender, error) {
			return startGateway(ctx, w.agentURL, nameGateway, gateway)
		},
		func(ctx context.Context, w *world) (*contender, error) {
			return startGateway(ctx, w.agentURL, nameSlow, gateway, "--fast-path=false")
		},
		startNginx, startHAProxy,
	} {
		c, err := begin(ctx, w)
		if errors.Is(err, exec.ErrNotFound) {
			missing = append(missing, err.Error())
			continue
		}
		if err == nil {
			list = append(list, c)
			err = w.await(ctx, c)
		}
		if err != nil {
			return list, missing, err
		}
	}
	return list, missing, nil
}

// launch starts a process that ends with this one.
func launch(ctx context.Context, c *contender, env []string, program string, args ...string) (*contender, error) {
	c.log, c.ended = &output{}, make(chan struct{})
	c.cmd = exec.CommandContext(ctx, program, args...) //nolint:gosec // what is measured is what the caller names
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.name, err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}

// stop ends a contender and waits for its end.
func (c *contender) stop() {
	if c.cmd == nil {
		return
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	<-c.ended
	if c.stops != nil {
		c.stops()
	}
	if c.behind != nil {
		c.behind.stop()
	}
}

// startGateway starts a gateway that asks the agent at a URL.
func startGateway(ctx context.Context, agent, name, program string, args ...string) (*contender, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	c := &contender{name: name, address: address, admin: admin, version: "this source tree, " + runtime.Version()}
	return launch(ctx, c, []string{"POD_NAME=" + strings.ReplaceAll(name, " ", "-")}, program, append([]string{
		"--agent=" + agent, "--namespace=bench", "--name=bench", "--listen=" + address, "--admin-listen=" + admin,
		"--drain-delay=0s", "--drain-timeout=1s",
	}, args...)...)
}

// luaModules are where Debian has them.
var luaModules = []string{"ndk_http_module.so", "ngx_http_lua_module.so"}

func startNginx(ctx context.Context, w *world) (*contender, error) {
	program, err := find("nginx")
	if err != nil {
		return nil, err
	}
	const modules = "/usr/lib/nginx/modules"
	if _, err := os.Stat(filepath.Join(modules, luaModules[1])); err != nil {
		return nil, fmt.Errorf("nginx is there without its module for Lua: %w", exec.ErrNotFound)
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(w.dir, "nginx")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var table strings.Builder
	for slot := range ownership.SlotCount {
		fmt.Fprintf(&table, "%q,", ownerOf(slot))
	}
	account := ""
	if os.Getuid() == 0 {
		account = "user root;" // workers could not read the directory otherwise
	}
	text := strings.NewReplacer(
		"@account@", account, "@modules@", modules, "@dir@", dir, "@listen@", address, "@table@", table.String(),
		"@here@", w.upstream[here].Addr().String(), "@there@", w.upstream[there].Addr().String(),
	).Replace(nginxConfig)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	c := &contender{name: nameNginx, address: address, version: versionOf(ctx, program, "-v")}
	return launch(ctx, c, nil, program, "-p", dir, "-c", file, "-e", filepath.Join(dir, "error.log"))
}

func startHAProxy(ctx context.Context, w *world) (*contender, error) {
	program, err := find("haproxy")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	var table strings.Builder
	for slot := range ownership.SlotCount {
		fmt.Fprintf(&table, "%d %s\n", slot, ownerOf(slot))
	}
	slots, file := filepath.Join(w.dir, "slots.map"), filepath.Join(w.dir, "haproxy.cfg")
	text := strings.NewReplacer(
		"@listen@", address, "@slots@", slots, "@threads@", fmt.Sprint(runtime.NumCPU()),
		"@here@", w.upstream[here].Addr().String(), "@there@", w.upstream[there].Addr().String(),
	).Replace(haproxyConfig)
	if err := errors.Join(os.WriteFile(slots, []byte(table.String()), 0o600), os.WriteFile(file, []byte(text), 0o600)); err != nil {
		return nil, err
	}
	c := &contender{name: nameHAProxy, address: address, version: versionOf(ctx, program, "-v")}
	return launch(ctx, c, nil, program, "-db", "-f", file)
}

// find looks for a server, also outside a plain user's path.
func find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	i := slices.IndexFunc([]string{"/usr/sbin/", "/usr/local/sbin/"}, func(dir string) bool {
		_, err := os.Stat(dir + name)
		return err == nil
	})
	if i < 0 {
		return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
	}
	return []string{"/usr/sbin/", "/usr/local/sbin/"}[i] + name, nil
}

// versionOf returns the first line that a program says of its version.
func versionOf(ctx context.Context, program, flag string) string {
	out, err := exec.CommandContext(ctx, program, flag).CombinedOutput() //nolint:gosec // found by name
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	line, _, _ = strings.Cut(line, " - ")
	return strings.TrimPrefix(strings.TrimSpace(line), "nginx version: ")
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
