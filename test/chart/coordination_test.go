package chart_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/ports"
	"multiactive.dev/operator/internal/testkit/process"
)

// storeValues is the example that the guide is about: three regions, https, Secrets.
const storeValues = "examples/coordination/values.yaml"

// The URLs of the example and the members that they belong to.
var storeHosts = map[string]string{
	"beijing": "etcd.bj.example.com", "shanghai": "etcd.sh.example.com", "shenzhen": "etcd.sz.example.com", "nanjing": "etcd.nj.example.com",
}

// region is one region's release as processes: what the chart renders, with loopback addresses in
// place of the URLs and a directory in place of what is mounted.
type region struct {
	name, dir, host       string
	client, peer, metrics int // ports
	set                   *appsv1.StatefulSet
	manager               *appsv1.Deployment // nil for a witness
	process               *process.Process
}

// release renders one region's release.
func release(t *testing.T, name string, arguments ...string) *region {
	t.Helper()
	r := &region{name: name, dir: t.TempDir(), host: ports.Host()}
	free, err := ports.Free(r.host, 3)
	if err != nil {
		t.Fatal(err)
	}
	r.client, r.peer, r.metrics = free[0], free[1], free[2]
	all := []string{
		"template", "release", "charts/multiactive", "--namespace", namespace, "--kube-version", kubeVersion,
		"--values", storeValues, "--set", "region=" + name,
	}
	for _, object := range decode(t, run(t, "helm", append(all, arguments...)...)) {
		switch object.GetKind() {
		case "StatefulSet":
			r.set = &appsv1.StatefulSet{}
			err = runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, r.set, true)
		case "Deployment":
			r.manager = &appsv1.Deployment{}
			err = runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, r.manager, true)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// here translates what was rendered: URLs of all regions, the addresses that are listened on, mounts.
func (r *region) here(pod corev1.PodSpec, all []*region, text string) string {
	var pairs []string
	for _, o := range all {
		pairs = append(pairs,
			storeHosts[o.name]+":2379", net.JoinHostPort(o.host, strconv.Itoa(o.client)),
			storeHosts[o.name]+":2380", net.JoinHostPort(o.host, strconv.Itoa(o.peer)))
	}
	for port, own := range map[string]int{"2379": r.client, "2380": r.peer, "2381": r.metrics} {
		pairs = append(pairs, "0.0.0.0:"+port, net.JoinHostPort(r.host, strconv.Itoa(own)))
	}
	for _, mount := range pod.Containers[0].VolumeMounts {
		source := mount.Name
		for _, volume := range pod.Volumes {
			if volume.Name == mount.Name {
				source = volume.Secret.SecretName
			}
		}
		pairs = append(pairs, "="+mount.MountPath+"/", "="+filepath.Join(r.dir, source)+"/")
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// start runs the region's member until the named probe of its Pod succeeds.
func (r *region) start(t *testing.T, all []*region, probe func(corev1.Container) *corev1.Probe) error {
	t.Helper()
	pod := r.set.Spec.Template.Spec
	container := pod.Containers[0]
	program, err := binaries.Find(container.Command[0])
	if err != nil {
		t.Fatal(err)
	}
	var args, env []string
	for _, argument := range container.Args {
		args = append(args, r.here(pod, all, argument))
	}
	for _, variable := range container.Env {
		env = append(env, variable.Name+"="+r.here(pod, all, variable.Value))
	}
	if err := os.MkdirAll(filepath.Join(r.dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.process, err = process.Start(t.Context(), process.Spec{
		Name: "etcd " + r.name, Path: program, Args: append(args, "--unsafe-no-fsync=true"), Env: env,
		LogFile: filepath.Join(r.dir, "log"), ReadyTimeout: 20 * time.Second,
		Ready: func(ctx context.Context) error { return r.probe(ctx, probe(container)) },
	})
	if err == nil {
		t.Cleanup(func() { _ = r.process.Kill() })
	}
	return err
}

// probe asks as the kubelet does: over http, without a certificate.
func (r *region) probe(ctx context.Context, probe *corev1.Probe) error {
	if probe.HTTPGet.Port.String() != "metrics" || probe.HTTPGet.Scheme != "" {
		return fmt.Errorf("the probe asks %+v, want plain http at the port metrics", probe.HTTPGet)
	}
	url := "http://" + net.JoinHostPort(r.host, strconv.Itoa(r.metrics)) + probe.HTTPGet.Path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: time.Duration(probe.TimeoutSeconds) * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return errors.Join(err, response.Body.Close())
}

func live(c corev1.Container) *corev1.Probe  { return c.LivenessProbe }
func ready(c corev1.Container) *corev1.Probe { return c.ReadinessProbe }

// managerFlag returns a flag of the region's manager.
func (r *region) managerFlag(t *testing.T, all []*region, name string) string {
	t.Helper()
	pod := r.manager.Spec.Template.Spec
	for _, argument := range pod.Containers[0].Args {
		if value, ok := strings.CutPrefix(r.here(pod, all, argument), "--"+name+"="); ok {
			return value
		}
	}
	t.Fatalf("the manager of %s has no --%s", r.name, name)
	return ""
}

// connect opens the store as the region's manager does.
func (r *region) connect(t *testing.T, all []*region, change func(*tls.Config)) *coordination.Store {
	t.Helper()
	config := clientTLS(t, r.managerFlag(t, all, "coordination-ca-file"),
		r.managerFlag(t, all, "coordination-cert-file"), r.managerFlag(t, all, "coordination-key-file"))
	change(config)
	store, err := coordination.Connect(coordination.Options{
		Endpoints: strings.Split(r.managerFlag(t, all, "coordination-endpoints"), ","), TLS: config,
		RequestTimeout: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func clientTLS(t *testing.T, ca, cert, key string) *tls.Config {
	t.Helper()
	content, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool(), Certificates: []tls.Certificate{pair}}
	c.RootCAs.AppendCertsFromPEM(content)
	return c
}

// authority signs the certificates of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := authority{key: key, cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	return a
}

// secret writes a directory as a Secret is mounted: ca.crt, tls.crt and tls.key, for the hosts.
func (a authority) secret(t *testing.T, dir string, usages []x509.ExtKeyUsage, hosts ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: filepath.Base(dir)}, NotBefore: a.cert.NotBefore,
		NotAfter: a.cert.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usages,
	}
	for _, host := range hosts {
		leaf.IPAddresses = append(leaf.IPAddresses, net.ParseIP(host))
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "tls.key"), &pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	for name, c := range map[string]struct {
		template *x509.Certificate
		key      *ecdsa.PrivateKey
	}{"ca.crt": {a.cert, a.key}, "tls.crt": {leaf, key}} {
		der, err := x509.CreateCertificate(rand.Reader, c.template, a.cert, &c.key.PublicKey, a.key)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
}

func write(t *testing.T, path string, block *pem.Block) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
}

// certificates gives every region the Secrets that the guide tells to make.
func certificates(t *testing.T, peers, clients authority, all ...*region) {
	t.Helper()
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, r := range all {
		peers.secret(t, filepath.Join(r.dir, "coordination-peer"), both, r.host)
		clients.secret(t, filepath.Join(r.dir, "coordination-server"), both, r.host)
		clients.secret(t, filepath.Join(r.dir, "coordination-client"), both[1:])
	}
}

// What three releases render, a member, a hub and a witness, is one store that demands certificates
// and survives one member.
func TestThreeReleasesAreOneStore(t *testing.T) {
	beijing, shanghai, shenzhen := release(t, "beijing", "--set", "mode=member"), release(t, "shanghai"), release(t, "shenzhen", "--set", "mode=witness")
	all := []*region{beijing, shanghai, shenzhen}
	if shenzhen.manager != nil {
		t.Error("a witness runs a manager")
	}
	peers, clients := newAuthority(t, "peers"), newAuthority(t, "clients")
	certificates(t, peers, clients, all...)

	// Alone a member lives, so that nobody restarts it, and is not ready.
	if err := beijing.start(t, all, live); err != nil {
		t.Fatal(err)
	}
	if err := beijing.probe(t.Context(), ready(beijing.set.Spec.Template.Spec.Containers[0])); err == nil {
		t.Error("one of three members is ready alone")
	}
	for _, r := range []*region{shanghai, shenzhen} {
		if err := r.start(t, all, ready); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []*region{beijing, shanghai} {
		store := r.connect(t, all, func(*tls.Config) {})
		testkit.Eventually(t, 10*time.Second, func() error { return writeAndRead(t, store, r.name) })
		if endpoints := r.managerFlag(t, all, "coordination-endpoints"); !strings.HasPrefix(endpoints, "https://"+r.host+":") {
			t.Errorf("the manager of %s asks %s, want its own member first", r.name, endpoints)
		}
	}
	t.Run("strangers are refused", func(t *testing.T) { checkStrangers(t, beijing, all) })

	if err := shenzhen.process.Kill(); err != nil {
		t.Fatal(err)
	}
	store := beijing.connect(t, all, func(*tls.Config) {})
	testkit.Eventually(t, 10*time.Second, func() error { return writeAndRead(t, store, "without-shenzhen") })

	// Its region is given up: nanjing's release takes its place.
	nanjing := release(t, "nanjing", "--set", "mode=witness", "--set", "coordination.server.initialClusterState=existing",
		"--set", "coordination.server.members[2].name=nanjing", "--set", "coordination.server.members[2].peerURL=https://etcd.nj.example.com:2380",
		"--set", "coordination.server.members[2].clientURL=https://etcd.nj.example.com:2379")
	certificates(t, peers, clients, nanjing)
	replace(t, []*region{beijing, shanghai, nanjing}, "shenzhen")
}

// replace takes the lost member out and lets the last region's take its place, as the guide says.
func replace(t *testing.T, all []*region, lost string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	last := all[len(all)-1]
	admin := filepath.Join(all[0].dir, "coordination-client")
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"https://" + net.JoinHostPort(all[0].host, strconv.Itoa(all[0].client))}, Logger: zap.NewNop(),
		TLS: clientTLS(t, filepath.Join(admin, "ca.crt"), filepath.Join(admin, "tls.crt"), filepath.Join(admin, "tls.key")),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	members, err := client.MemberList(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, member := range members.Members {
		if member.Name == lost {
			// etcd refuses for some seconds after it has lost a connection.
			testkit.Eventually(t, 20*time.Second, func() error {
				_, err := client.MemberRemove(ctx, member.ID)
				return err
			})
		}
	}
	var added *clientv3.MemberAddResponse
	testkit.Eventually(t, 20*time.Second, func() (err error) {
		added, err = client.MemberAddAsLearner(ctx, []string{"https://" + net.JoinHostPort(last.host, strconv.Itoa(last.peer))})
		return err
	})
	if err := last.start(t, all, live); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		_, err := client.MemberPromote(ctx, added.Member.ID)
		return err
	})
	testkit.Eventually(t, 10*time.Second, func() error {
		return last.probe(ctx, ready(last.set.Spec.Template.Spec.Containers[0]))
	})
	if got := len(added.Members); got != 3 {
		t.Errorf("%d members, want 3", got)
	}
}

func writeAndRead(t *testing.T, store *coordination.Store, name string) error {
	t.Helper()
	if _, err := store.PutRegionIntent(t.Context(), ownership.RegionIntent{Name: name}); err != nil {
		return err
	}
	got, err := store.Read(t.Context())
	if _, ok := got.RegionIntents[name]; err == nil && !ok {
		err = fmt.Errorf("%s was written and is not there: %v", name, got.RegionIntents)
	}
	return err
}

// checkStrangers shows nothing, and then what only peers should have.
func checkStrangers(t *testing.T, r *region, all []*region) {
	peer := filepath.Join(r.dir, "coordination-peer")
	pair, err := tls.LoadX509KeyPair(filepath.Join(peer, "tls.crt"), filepath.Join(peer, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, shown := range map[string][]tls.Certificate{"no certificate": nil, "a peer's certificate": {pair}} {
		t.Run(name, func(t *testing.T) {
			var config *tls.Config
			store := r.connect(t, all, func(c *tls.Config) {
				c.Certificates = nil
				if shown != nil { // shown whatever authorities the server asks for
					c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown[0], nil }
				}
				config = c.Clone()
			})
			if c, err := store.Read(t.Context()); err == nil {
				t.Errorf("read %+v", c)
			}
			client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: config}}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+net.JoinHostPort(r.host, strconv.Itoa(r.client))+"/version", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			response, err := client.Do(request)
			if err == nil {
				_ = response.Body.Close()
			}
			if err == nil || !strings.Contains(err.Error(), "certificate") {
				t.Errorf("asking answered %v, want the certificate refused", err)
			}
		})
	}
}
