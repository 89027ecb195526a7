package chart_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/etcdstore"
	"multiactive.dev/operator/internal/testkit/ports"
	"multiactive.dev/operator/internal/testkit/process"
)

// A manager tells of the objects that it works on, also one that stands by: alerts must not depend on who acts.
func TestManagersTellOfObjects(t *testing.T) {
	manager := buildManager(t)
	server := testkit.StartServer(t, apiserver.Options{})
	testkit.InstallCRDs(t, server)
	store := testkit.StartStore(t, etcdstore.Options{}, "north")
	c := newCluster(t, server)
	c.apply(t, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "multiactive.dev/v1alpha1", "kind": "Region", "metadata": map[string]any{"name": "beijing"}, "spec": map[string]any{"role": "Witness"},
	}})
	kubeconfig := adminKubeconfig(t, server)
	for _, name := range []string{"first", "second"} {
		host := ports.Host()
		free, err := ports.Free(host, 1)
		if err != nil {
			t.Fatal(err)
		}
		address := net.JoinHostPort(host, strconv.Itoa(free[0]))
		p, err := process.Start(t.Context(), process.Spec{
			Name: name, Path: manager, LogFile: filepath.Join(t.TempDir(), "log"), ReadyTimeout: time.Minute,
			Args: []string{
				"--mode=hub", "--kubeconfig=" + kubeconfig, "--coordination-endpoints=" + strings.Join(store.Endpoints(), ","), "--leader-elect=true",
				"--operator-namespace=" + namespace, "--metrics-bind-address=" + address, "--health-probe-bind-address=0",
			},
			Ready: func(ctx context.Context) error {
				text, err := scrape(ctx, "http://"+address+"/metrics")
				if err != nil {
					return err
				}
				for _, want := range []string{`multiactive_condition{kind="Region",name="beijing",namespace="",`, `type="LeaseHeld"} 1`, "multiactive_coordination_broken 0"} {
					if !strings.Contains(text, want) {
						return errors.New("nothing says " + want)
					}
				}
				return nil
			},
		})
		if err != nil {
			t.Fatalf("the %s manager: %v", name, err)
		}
		t.Cleanup(func() { _ = p.Kill() })
	}
}

func scrape(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answered %s: %s", url, answer.Status, text)
	}
	return string(text), err
}
