// Package apiserver runs one real Kubernetes control plane, kube-apiserver and the etcd that stores its
// objects, as processes: a region's cluster that a test or the playground can kill, freeze and bring
// back with its data, its address and its credentials.
//
// No controller runs: Deployments make no Pods, deleted namespaces stay Terminating, owners take
// nothing with them, and service accounts exist only when somebody made them. RBAC, admission, CEL and
// server-side apply are real. Services and Pods may have loopback addresses; Endpoints and EndpointSlices
// may not, so whoever routes to Pods reads their status.
//
// It is for tests and the playground only: it must never listen on anything but loopback, or addresses of
// a network namespace that it is given.
package apiserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/etcdstore"
	"multiactive.dev/operator/internal/testkit/process"
)

// storageMember names the only member of the storage etcd.
const storageMember = "storage"

// The storage has one member and elects it sooner than a store that spans regions does.
const (
	storageHeartbeat = 50 * time.Millisecond
	storageElection  = 500 * time.Millisecond
)

// Server is one control plane. It can be started, ended and started again. Its methods may be called
// from several goroutines; Start, Stop and Kill run one after the other.
type Server struct {
	options Options
	port    int
	ca      []byte
	tokens  map[string]string
	program string
	storage *etcdstore.Store
	probe   *http.Client

	mu  sync.Mutex
	api *process.Process // nil: not started
}

// New prepares a control plane, or finds the one that o.Dir holds, and starts nothing.
func New(o Options) (*Server, error) {
	o = withDefaults(o)
	if err := validate(o); err != nil {
		return nil, fmt.Errorf("preparing API server %q: %w", o.Name, err)
	}
	s := &Server{options: o}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("preparing API server %s: %w", o.Name, err)
	}
	return s, nil
}

func (s *Server) prepare() (err error) {
	o := s.options
	if s.program, err = binaries.Find(binaries.KubeAPIServer); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	if s.port, err = choosePort(o); err != nil {
		return err
	}
	if s.ca, err = ensurePKI(o.Dir, o.Host, o.ServiceClusterIPRange); err != nil {
		return err
	}
	if s.tokens, err = ensureTokens(o.Dir, o.Users); err != nil {
		return err
	}
	if o.Audit {
		if err := ensureAuditPolicy(o.Dir, o.AuditUsers); err != nil {
			return err
		}
	}
	s.storage, err = etcdstore.New(etcdstore.Options{
		Dir: filepath.Join(o.Dir, "etcd"), StartTimeout: o.StartTimeout,
		HeartbeatInterval: storageHeartbeat, ElectionTimeout: storageElection,
		Members: []etcdstore.MemberOptions{{
			Name: storageMember, Host: o.Host, ClientPort: o.EtcdClientPort, PeerPort: o.EtcdPeerPort, Network: o.Network,
		}},
	})
	s.probe = probeClient(s.ca)
	return err
}

// Name returns the name given in Options.
func (s *Server) Name() string { return s.options.Name }

// URL returns the API server's address.
func (s *Server) URL() string {
	return "https://" + net.JoinHostPort(s.options.Host, strconv.Itoa(s.port))
}

// LogFile returns the path of kube-apiserver's log.
func (s *Server) LogFile() string { return filepath.Join(s.options.Dir, "kube-apiserver.log") }

// Start runs storage and API server on the data in Dir, or does nothing when both run. It returns once
// the server is ready and has its built-in roles and namespaces. On an error nothing is left running.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.storage.Start(ctx); err != nil {
		return fmt.Errorf("starting API server %s: %w", s.options.Name, err)
	}
	if s.apiRuns() {
		return nil
	}
	api, err := process.Start(ctx, process.Spec{
		Name: "kube-apiserver " + s.options.Name, Path: s.program, Args: s.arguments(), LogFile: s.LogFile(),
		Env:   []string{"GOGC=" + strconv.Itoa(s.options.GCPercent)},
		Ready: s.ready, ReadyTimeout: s.options.StartTimeout, Network: s.options.Network,
	})
	if err != nil {
		return errors.Join(err, s.storage.Kill())
	}
	s.api = api
	return nil
}

// Stop ends both processes gracefully.
func (s *Server) Stop(ctx context.Context) error {
	return s.end(
		func(p *process.Process) error { return p.Stop(ctx) },
		func(st *etcdstore.Store) error { return st.Stop(ctx) })
}

// Kill ends both processes at once, as the loss of the region does. Everything acknowledged stays in
// Dir, for Start. A Start under way is awaited first; end that one by its context.
func (s *Server) Kill() error {
	return s.end((*process.Process).Kill, (*etcdstore.Store).Kill)
}

// Freeze halts both processes: connections stay open and nothing answers.
func (s *Server) Freeze() error {
	return s.both((*process.Process).Freeze, (*etcdstore.Member).Freeze)
}

// Continue undoes Freeze.
func (s *Server) Continue() error {
	return s.both((*process.Process).Continue, (*etcdstore.Member).Continue)
}

// Process returns kube-apiserver's process, or nil when it does not run.
func (s *Server) Process() *process.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.apiRuns() {
		return nil
	}
	return s.api
}

// Storage returns the etcd member that holds the server's objects.
func (s *Server) Storage() *etcdstore.Member { return s.storage.Member(storageMember) }

func (s *Server) end(api func(*process.Process) error, storage func(*etcdstore.Store) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.api != nil {
		err = api(s.api)
		s.api = nil
	}
	return errors.Join(err, storage(s.storage))
}

func (s *Server) both(api func(*process.Process) error, storage func(*etcdstore.Member) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.apiRuns() {
		return fmt.Errorf("API server %s does not run", s.options.Name)
	}
	return errors.Join(api(s.api), storage(s.Storage()))
}

// apiRuns must be called with mu held.
func (s *Server) apiRuns() bool {
	if s.api == nil {
		return false
	}
	select {
	case <-s.api.Done():
		return false
	default:
		return true
	}
}

func (s *Server) arguments() []string {
	file := func(name string) string { return filepath.Join(s.options.Dir, name) }
	args := []string{
		"--etcd-servers=" + s.Storage().Endpoint(),
		"--bind-address=" + s.options.Host,
		"--advertise-address=" + s.options.Host,
		"--secure-port=" + strconv.Itoa(s.port),
		"--tls-cert-file=" + file(serverCertFile),
		"--tls-private-key-file=" + file(serverKeyFile),
		"--token-auth-file=" + file(tokensFile),
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + file(serviceAccountFile),
		"--service-account-signing-key-file=" + file(serviceAccountFile),
		"--service-cluster-ip-range=" + s.options.ServiceClusterIPRange,
		"--profiling=false",
	}
	if s.options.Whole {
		// Nobody resolves the names of nodes.
		args = append(args, "--kubelet-preferred-address-types=InternalIP")
	} else {
		args = append(args,
			// Endpoints may not hold loopback addresses, so the server cannot publish its own.
			"--endpoint-reconciler-type=none",
			// It refuses every Pod whose service account no controller has made yet.
			"--disable-admission-plugins=ServiceAccount")
	}
	if s.options.Audit {
		args = append(args, auditArguments(s.options.Dir)...)
	}
	return append(args, s.options.ExtraArgs...)
}

// ready asks for what a client's first request needs: the server's own checks, which include the
// built-in roles, and the namespace "default".
func (s *Server) ready(ctx context.Context) error {
	for _, path := range []string{"/readyz", "/api/v1/namespaces/default"} {
		if err := s.get(ctx, path); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) get(ctx context.Context, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+path, http.NoBody)
	if err != nil {
		return fmt.Errorf("asking for %s: %w", path, err)
	}
	request.Header.Set("Authorization", "Bearer "+s.tokens[Admin])
	response, err := s.probe.Do(request)
	if err != nil {
		return fmt.Errorf("asking for %s: %w", path, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(response.Body, 2048))
	return fmt.Errorf("asking for %s: %s: %s", path, response.Status, strings.TrimSpace(string(body)))
}

// probeClient trusts the server's CA alone and keeps no connection: a kept one could belong to the
// server's previous life.
func probeClient(ca []byte) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &http.Client{
		Timeout: 2 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		},
	}
}
