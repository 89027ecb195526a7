package main

import (
	"bytes"
	"errors"
	"flag"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
)

// none is an environment without variables.
func none(string) string { return "" }

// TestParse, TestVariables, TestProfilesAreServedOnDemand and TestHelpTeaches run alone: controller-runtime keeps its flag in a variable of its own.
func TestParse(t *testing.T) {
	hub := []string{"--mode=hub", "--coordination-endpoints=http://a:2379, http://b:2379"}
	for name, c := range map[string]struct {
		args []string
		want string // in the error; empty: accepted
	}{
		"hub":                    {args: hub},
		"version needs no mode":  {args: []string{"--version"}},
		"no mode":                {args: nil, want: "--mode is required"},
		"peer":                   {args: []string{"--mode=peer", "--coordination-endpoints=http://a:2379", "--region=beijing"}},
		"unknown mode":           {args: []string{"--mode=both"}, want: "--mode=both is unknown"},
		"no store":               {args: []string{"--mode=hub"}, want: "--coordination-endpoints is required"},
		"unknown timings":        {args: append(hub[:2:2], "--timings=slow"), want: "--timings=slow is unknown"},
		"certificate and no key": {args: append(hub[:2:2], "--coordination-cert-file=x"), want: "give both or none"},
		"an argument":            {args: append(hub[:2:2], "start"), want: `unexpected argument "start"`},
		"no flag of a gateway":   {args: []string{"--mode=member", "--gateway-arg=access-log"}, want: "gateway-arg: it is no flag"},
		"the operator's flag":    {args: []string{"--mode=member", "--gateway-arg=--agent=http://x"}, want: "the operator gives --agent"},
		"a webhook":              {args: append(hub[:2:2], "--webhook-port=9443", "--webhook-host=a.b.svc")},
		"nobody calls it":        {args: append(hub[:2:2], "--webhook-port=9443"), want: "--webhook-host is required"},
		"no port of a webhook":   {args: append(hub[:2:2], "--webhook-port=70000"), want: "--webhook-port=70000 is no port"},
		"a member's webhook":     {args: []string{"--mode=member", "--coordination-endpoints=http://a:2379", "--region=a", "--webhook-port=9443"}, want: "for the modes hub and peer"},
		"an unknown flag":        {args: []string{"--mod=hub"}, want: "-mod; see --help"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(c.args, none, &bytes.Buffer{})
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}

// TestVariables: what installs the operator without writing its command line gives flags as variables.
func TestVariables(t *testing.T) {
	env := map[string]string{
		"MULTIACTIVE_MANAGER_MODE": "hub", "MULTIACTIVE_MANAGER_COORDINATION_ENDPOINTS": "http://a:2379", "MULTIACTIVE_MANAGER_TIMINGS": "fast",
		"MULTIACTIVE_MANAGER_ZAP_LOG_LEVEL": "debug",
	}
	o, err := parse([]string{"--timings=default"}, func(name string) string { return env[name] }, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	if o.common.mode != modeHub || o.common.coordinationEndpoints != "http://a:2379" || o.common.timingsName != "default" {
		t.Errorf("got mode %q, endpoints %q, timings %q: what the command line says wins", o.common.mode, o.common.coordinationEndpoints, o.common.timingsName)
	}
	env["MULTIACTIVE_MANAGER_WEBHOOK_PORT"] = "many"
	if _, err := parse(nil, func(name string) string { return env[name] }, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "MULTIACTIVE_MANAGER_WEBHOOK_PORT") {
		t.Errorf("the error is %v, and should name the variable", err)
	}
}

// TestProfilesAreServedOnDemand: what a profile shows is nobody's without being asked for.
func TestProfilesAreServedOnDemand(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"by default": {want: "0"},
		"an address": {args: []string{"--pprof-bind-address=127.0.0.1:6060"}, want: "127.0.0.1:6060"},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := parse(append([]string{"--mode=hub", "--coordination-endpoints=http://a:2379"}, c.args...), none, &bytes.Buffer{})
			if err != nil {
				t.Fatal(err)
			}
			if got := managerOptions(&o, runtime.NewScheme()).PprofBindAddress; got != c.want {
				t.Errorf("served at %q, want %q", got, c.want)
			}
		})
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	o := commonOptions{coordinationEndpoints: " http://a:2379,,http://b:2379 "}
	if diff := cmp.Diff([]string{"http://a:2379", "http://b:2379"}, o.endpoints()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestHelpTeaches(t *testing.T) {
	var out bytes.Buffer
	if _, err := parse([]string{"--help"}, none, &out); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("error %v, want %v", err, flag.ErrHelp)
	}
	for _, want := range []string{"--mode=hub", "--mode=member", "--mode=peer", "-coordination-endpoints", "-operator-namespace"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help does not mention %s", want)
		}
	}
}
