package mirror

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/port/kafka"
)

const sound = `
origin: beijing
source: {brokers: ["127.0.0.1:1"]}
target: {brokers: ["127.0.0.1:2"]}
topics: [b.t, a.t, b.t]
`

func TestParse(t *testing.T) {
	c, err := Parse([]byte(sound))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"a.t", "b.t", "multiactive.canary"}, c.topics()); d != "" {
		t.Errorf("topics (-want +got):\n%s", d)
	}
}

func TestParseRefuses(t *testing.T) {
	tests := map[string]struct {
		from, to string // replaced in a sound configuration
		say      []string
	}{
		"a wrong origin":        {"origin: beijing", "origin: Beijing_1", []string{"origin", "Beijing_1", "DNS label"}},
		"no origin":             {"origin: beijing", "", []string{"origin"}},
		"no brokers":            {`source: {brokers: ["127.0.0.1:1"]}`, "source: {}", []string{"source.brokers", "none given"}},
		"a broker without port": {`"127.0.0.1:2"`, `"kafka"`, []string{"target.brokers", `"kafka"`, "host:port"}},
		"one cluster":           {"127.0.0.1:2", "127.0.0.1:1", []string{"share an address"}},
		"a copy as a topic":     {"a.t", "beijing.a.t", []string{"topics[1]", "beijing.a.t", "local names"}},
		"a strange topic":       {"a.t", `"a t"`, []string{"topics[1]", "not a topic name"}},
		"the claims":            {"a.t", kafka.ClaimsTopic, []string{kafka.ClaimsTopic, "never mirrored"}},
		"an unknown field":      {"topics:", "topic:", []string{"topic", "known fields"}},
		"a password":            {`source: {`, `source: {sasl: {password: hunter2}, `, []string{"password", "passwordFile"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			raw := strings.Replace(sound, tt.from, tt.to, 1)
			if raw == sound {
				t.Fatal("nothing was replaced")
			}
			_, err := Parse([]byte(raw))
			if err == nil {
				t.Fatal("accepted")
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows the password: %v", err)
			}
			for _, s := range tt.say {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("error %q does not say %q", err, s)
				}
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MIRROR_TEST_USER", "mirror")
	c := Cluster{Brokers: []string{"127.0.0.1:1"}, SASL: &SASL{Mechanism: "PLAIN", UserEnv: "MIRROR_TEST_USER", PasswordFile: file}}
	o, err := c.options("id")
	if err != nil {
		t.Fatal(err)
	}
	if o.SASL.User != "mirror" || o.SASL.Password != "s3cret" {
		t.Errorf("got user %q and a password of %d bytes", o.SASL.User, len(o.SASL.Password))
	}
	tests := map[string]struct {
		sasl SASL
		say  string
	}{
		"both a file and a variable": {SASL{UserFile: file, UserEnv: "X", PasswordFile: file}, "sasl.user"},
		"neither":                    {SASL{UserEnv: "MIRROR_TEST_USER"}, "sasl.password"},
		"a missing file":             {SASL{UserEnv: "MIRROR_TEST_USER", PasswordFile: file + "x"}, "sasl.passwordFile"},
		"an unset variable":          {SASL{UserEnv: "MIRROR_TEST_UNSET", PasswordFile: file}, "MIRROR_TEST_UNSET"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c.SASL = &tt.sasl
			_, err := c.options("id")
			if err == nil || !strings.Contains(err.Error(), tt.say) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error is %v; want one that says %q", err, tt.say)
			}
		})
	}
}
