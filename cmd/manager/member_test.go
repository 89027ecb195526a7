package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/ownca"
	"multiactive.dev/operator/internal/testkit"
)

// TestMemberOptions runs alone, as TestParse does.
func TestMemberOptions(t *testing.T) {
	lifetimes := ownca.Lifetimes{Certificate: ownca.DefaultCertificate, Authority: ownca.DefaultAuthority}
	for name, test := range map[string]struct {
		args    []string
		want    memberOptions
		problem string
	}{
		"defaults": {
			args: []string{"--region=beijing", "--gateway-image=op:1"},
			want: memberOptions{region: "beijing", gatewayImage: "op:1", mirrorImage: "op:1", agentAddress: ":8090", agentURL: "http://multiactive-agent.multiactive-system.svc:8090", peers: lifetimes},
		},
		"all given": {
			args: []string{
				"--region=beijing", "--gateway-image=op:1", "--mirror-image=m:1", "--mirrormaker-image=k:1", "--agent-bind-address=127.0.0.1:1", "--agent-url=http://127.0.0.1:1",
				"--gateway-arg=--access-log", "--gateway-arg=--trace-ratio=1",
			},
			want: memberOptions{
				region: "beijing", gatewayImage: "op:1", mirrorImage: "m:1", mirrorMakerImage: "k:1", agentAddress: "127.0.0.1:1", agentURL: "http://127.0.0.1:1", peers: lifetimes,
				gatewayArgs: []string{"--access-log", "--trace-ratio=1"},
			},
		},
		"no region": {args: []string{"--gateway-image=op:1"}, problem: "--region is required"},
		"short-lived authority": {
			args: []string{"--region=beijing", "--gateway-image=op:1", "--peer-authority-lifetime=24h"}, problem: "--peer-authority-lifetime",
		},
		"no image": {args: []string{"--region=beijing"}, problem: "--gateway-image is required"},
		"wild URL": {args: []string{"--region=beijing", "--gateway-image=op:1", "--agent-url=agent:8090"}, problem: "--agent-url=agent:8090"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"--mode=member", "--coordination-endpoints=http://127.0.0.1:2379"}, test.args...)
			o, err := parse(args, none, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			o.member.common = o.common
			err = o.member.complete()
			if test.problem != "" {
				if err == nil || !strings.Contains(err.Error(), test.problem) {
					t.Errorf("error %v, want %q", err, test.problem)
				}
				return
			}
			got := o.member
			got.common = commonOptions{}
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("options %+v, error %v; want %+v", got, err, test.want)
			}
		})
	}
}

// A long poll under way keeps the server from nothing: another member takes over at once.
func TestAgentServer(t *testing.T) {
	t.Parallel()
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(testkit.FreePort(t, "127.0.0.1")))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	polling := make(chan struct{})
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/poll" {
			close(polling)
			<-r.Context().Done()
		}
	})
	ended := make(chan error, 1)
	go func() { ended <- agentServer{address, handler}.Start(ctx) }()
	testkit.Eventually(t, 20*time.Second, func() error {
		answer, err := http.Get("http://" + address)
		if err != nil {
			return err
		}
		return answer.Body.Close()
	})
	go func() {
		if answer, err := http.Get("http://" + address + "/poll"); err == nil {
			_ = answer.Body.Close()
		}
	}()
	<-polling
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the server ended with %v", err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("the address is still taken: %v", err)
	}
	defer func() { _ = listener.Close() }()
	if err := (agentServer{address, handler}).Start(t.Context()); err == nil || !strings.Contains(err.Error(), "--agent-bind-address") {
		t.Errorf("error %v, want one that names the flag", err)
	}
}
