package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/gateway"
)

const hitSecret = "a secret of the service's owner"

var hitAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// recorded is a gateway's answer.
func recorded(region string, recording bool, unrecorded int64, records ...gateway.CompensationRecord) string {
	var out strings.Builder
	lines := json.NewEncoder(&out)
	_ = lines.Encode(gateway.CompensationHeader{Service: "accounts/user", Region: region, Recording: recording, Records: len(records), UnrecordedRequests: unrecorded})
	for _, r := range records {
		_ = lines.Encode(r)
	}
	return out.String()
}

func hitRecord(flow, phone string, refused int64, at time.Time) gateway.CompensationRecord {
	mac := gateway.CompensationUser([]byte(hitSecret), "phone", phone)
	return gateway.CompensationRecord{Flow: flow, Key: "phone", User: hex.EncodeToString(mac[:]), RefusedRequests: refused, FirstAt: at, LastAt: at.Add(time.Minute)}
}

// fakeCluster plays an API server with gateways: a real one connects to no Pod at a loopback address.
func fakeCluster(t *testing.T, answers map[string]string) *rest.Config {
	t.Helper()
	mux := http.NewServeMux()
	reply := func(w http.ResponseWriter, o any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(o); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("GET /api/v1/namespaces/accounts/pods", func(w http.ResponseWriter, r *http.Request) {
		if s := r.URL.Query().Get("labelSelector"); !strings.Contains(s, "user") || !strings.Contains(s, "gateway") {
			t.Errorf("selector %q", s)
		}
		list := corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}}
		for name := range answers {
			list.Items = append(list.Items, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.PodStatus{Phase: corev1.PodRunning}})
		}
		list.Items = append(list.Items, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "ended"}, Status: corev1.PodStatus{Phase: corev1.PodFailed}})
		reply(w, list)
	})
	mux.HandleFunc("GET /api/v1/namespaces/accounts/pods/{pod}/proxy/.multiactive/affected/users", func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimSuffix(strings.TrimPrefix(r.PathValue("pod"), "http:"), ":8081")
		if answer := answers[name]; answer != "" {
			_, _ = fmt.Fprint(w, answer)
			return
		}
		http.Error(w, "no route to host", http.StatusServiceUnavailable)
	})
	mux.HandleFunc("GET /apis/multiactive.dev/v1alpha1/namespaces/accounts/regionalservices/user", func(w http.ResponseWriter, _ *http.Request) {
		rs := v1alpha1.RegionalService{TypeMeta: metav1.TypeMeta{APIVersion: "multiactive.dev/v1alpha1", Kind: "RegionalService"}}
		rs.Namespace, rs.Name = "accounts", "user"
		rs.Spec.Ownership = []v1alpha1.OwnershipSlice{{Keys: []v1alpha1.PartitionKey{{Name: "phone", Normalize: []v1alpha1.Normalizer{v1alpha1.NormalizeDigitsOnly}}}}}
		reply(w, rs)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL}
}

// compensationOf runs the command.
func compensationOf(t *testing.T, config func(string) (*rest.Config, error), args ...string) (out, told string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	err = run(t.Context(), append([]string{"compensation"}, args...), terminal{
		in: strings.NewReader(""), out: &stdout, err: &stderr, config: config, sleep: func(context.Context, time.Duration) error { return nil },
	})
	return stdout.String(), stderr.String(), err
}

func fileOf(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// What gateways of several clusters say is taken together, and the owner learns who it was.
func TestCompensation(t *testing.T) {
	clusters := map[string]*rest.Config{
		"sh": fakeCluster(t, map[string]string{
			"g-1": recorded("shanghai", true, 0, hitRecord("register", "13800000001", 3, hitAt), hitRecord("register", "13800000002", 1, hitAt)),
			"g-2": recorded("shanghai", true, 0, hitRecord("register", "13800000001", 2, hitAt.Add(-time.Hour))),
		}),
		"sz": fakeCluster(t, map[string]string{"g-3": recorded("shenzhen", true, 0, hitRecord("register", "13800000001", 1, hitAt.Add(time.Hour)))}),
	}
	config := func(name string) (*rest.Config, error) { return clusters[name], nil }
	args := []string{"-n", "accounts", "--service", "user", "--contexts", "sh,sz"}
	out, told, err := compensationOf(t, config, args...)
	if lines := strings.Split(strings.TrimSpace(out), "\n"); err != nil || told != "" || len(lines) != 3 || strings.Contains(out, "138000") {
		t.Errorf("%v %q\n%s", err, told, out)
	}

	secret, users := fileOf(t, hitSecret+"\n"), fileOf(t, "+138 0000-0001\r\n\n13800000003\n")
	out, told, err = compensationOf(t, config, append(args, "--users", users, "--secret-file", secret)...)
	mac := gateway.CompensationUser([]byte(hitSecret), "phone", "13800000001")
	want := "flow,key,user,refused_requests,degraded_requests,first_at,last_at,regions,who\n" +
		"register,phone," + hex.EncodeToString(mac[:]) + ",6,0,2026-01-02T02:04:05Z,2026-01-02T04:05:05Z,shanghai shenzhen,+138 0000-0001\n"
	if err != nil || told != "" || out != want {
		t.Errorf("%v %q\n%s\nwant\n%s", err, told, out, want)
	}
	out, _, err = compensationOf(t, config, append(args, "-o", "json", "--users", users, "--secret-file", secret)...)
	var line hitLine
	if json.Unmarshal([]byte(out), &line) != nil || err != nil || line.Who != "+138 0000-0001" || line.RefusedRequests != 6 || len(line.Regions) != 2 {
		t.Errorf("%v\n%s", err, out)
	}
}

// What could not be read, or was not recorded, is said, and what could be is printed all the same.
func TestCompensationIsIncomplete(t *testing.T) {
	whole := recorded("shanghai", true, 7, hitRecord("register", "13800000001", 3, hitAt))
	config := func(name string) (*rest.Config, error) {
		if name == "away" {
			return &rest.Config{Host: "http://127.0.0.1:1"}, nil
		}
		return fakeCluster(t, map[string]string{"g-1": whole, "g-2": ""}), nil
	}
	out, told, err := compensationOf(t, config, "-n", "accounts", "--service", "user", "--contexts", "sh,away")
	if !errors.Is(err, errAttention) || strings.Count(out, "\n") != 2 {
		t.Errorf("%v\n%s", err, out)
	}
	for _, word := range []string{"asking Pod g-2", "--from", `context "away"`, "accounts/user in shanghai: 7 affected requests", "no room"} {
		if !strings.Contains(told, word) {
			t.Errorf("%q is not said:\n%s", word, told)
		}
	}

	half := fileOf(t, whole[:len(whole)-20])
	out, told, err = compensationOf(t, nil, "--from", half+","+fileOf(t, "404 page not found")+","+fileOf(t, recorded("shenzhen", false, 2)))
	if !errors.Is(err, errAttention) || strings.Count(out, "\n") != 1 {
		t.Errorf("%v\n%s", err, out)
	}
	for _, word := range []string{"breaks off after 0 of 1 records", "this is not what a gateway says", "2 affected requests", "no compensation-secret"} {
		if !strings.Contains(told, word) {
			t.Errorf("%q is not said:\n%s", word, told)
		}
	}
}

func TestCompensationSince(t *testing.T) {
	from := fileOf(t, recorded("shanghai", true, 0, hitRecord("a", "1", 1, hitAt), hitRecord("b", "2", 1, hitAt.Add(-time.Hour))))
	if out, _, err := compensationOf(t, nil, "--from", from, "--since", hitAt.Format(time.RFC3339)); err != nil || !strings.Contains(out, "\na,") || strings.Contains(out, "\nb,") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, _, err := compensationOf(t, nil, "--from", from, "--since", "1h"); err != nil || strings.Count(out, "\n") != 1 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestCompensationUsage(t *testing.T) {
	from := fileOf(t, recorded("shanghai", true, 0, hitRecord("a", "1", 1, hitAt)))
	for want, args := range map[string][]string{
		"--service":     {},
		"-o":            {"--service=user", "-o", "xml"},
		"go together":   {"--service=user", "--users", from},
		"--since":       {"--service=user", "--since", "yesterday"},
		"--normalize":   {"--from", from, "--users", from, "--secret-file", from},
		"unknown step":  {"--from", from, "--users", from, "--secret-file", from, "--normalize", "Uppercase"},
		"--secret-file": {"--from", from, "--users", from, "--secret-file", from + "-not-there"},
	} {
		if _, _, err := compensationOf(t, nil, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}
