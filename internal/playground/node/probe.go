package node

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// firstLooks is how often a container is asked until it first answers: users of a playground wait for it.
const firstLooks = 100 * time.Millisecond

// ask runs a probe once against the container at ip. Probes that a process of this machine cannot
// answer (exec, gRPC) pass.
func ask(ctx context.Context, p *corev1.Probe, c *corev1.Container, ip string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(1, p.TimeoutSeconds))*time.Second)
	defer cancel()
	switch {
	case p.HTTPGet != nil:
		return askHTTP(ctx, p.HTTPGet, c, ip)
	case p.TCPSocket != nil:
		port, err := portNumber(p.TCPSocket.Port, c)
		if err != nil {
			return err
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(cmp.Or(p.TCPSocket.Host, ip), port))
		if err != nil {
			return err
		}
		return conn.Close()
	}
	return nil
}

func askHTTP(ctx context.Context, get *corev1.HTTPGetAction, c *corev1.Container, ip string) error {
	port, err := portNumber(get.Port, c)
	if err != nil {
		return err
	}
	url := "http://" + net.JoinHostPort(cmp.Or(get.Host, ip), port) + get.Path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	for _, h := range get.HTTPHeaders {
		request.Header.Set(h.Name, h.Value)
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	if answer.StatusCode >= http.StatusBadRequest || answer.StatusCode < http.StatusOK {
		return fmt.Errorf("%s answered %s", get.Path, answer.Status)
	}
	return nil
}

// portNumber resolves a port that may be named.
func portNumber(port intstr.IntOrString, c *corev1.Container) (string, error) {
	if port.Type == intstr.Int {
		return strconv.Itoa(int(port.IntVal)), nil
	}
	for _, p := range c.Ports {
		if p.Name == port.StrVal {
			return strconv.Itoa(int(p.ContainerPort)), nil
		}
	}
	return "", fmt.Errorf("container %s has no port named %q", c.Name, port.StrVal)
}

// watcher turns the answers of one probe into a verdict.
type watcher struct {
	probe     *corev1.Probe
	successes int32
	failures  int32
}

// record returns whether the probe has now reached its threshold of successes, or of failures.
func (w *watcher) record(err error) (passed, failed bool) {
	if err == nil {
		w.successes, w.failures = w.successes+1, 0
		return w.successes >= max(1, w.probe.SuccessThreshold), false
	}
	w.successes, w.failures = 0, w.failures+1
	threshold := w.probe.FailureThreshold
	if threshold == 0 {
		threshold = 3
	}
	return false, w.failures >= threshold
}

func period(p *corev1.Probe) time.Duration {
	if p == nil {
		return time.Hour // nobody asks
	}
	return time.Duration(cmp.Or(p.PeriodSeconds, 10)) * time.Second
}
