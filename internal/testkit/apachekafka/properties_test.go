package apachekafka

import (
	"regexp"
	"strings"
	"testing"
)

func TestProperties(t *testing.T) {
	ca, err := NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	users := map[string]string{"mirror": "right", "admin": "other"}
	tests := map[string]struct {
		options Options
		has     map[string]string
		without []string
	}{
		"plain": {
			Options{},
			map[string]string{
				"listeners":                      "INSIDE://127.64.0.1:1,CONTROLLER://127.64.0.1:3",
				"advertised.listeners":           "INSIDE://127.64.0.1:1",
				"listener.security.protocol.map": "INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
				"controller.quorum.voters":       "1@127.64.0.1:3",
			},
			[]string{"authorizer.class.name", "super.users"},
		},
		"users": {
			Options{Users: users},
			map[string]string{
				"advertised.listeners":                         "INSIDE://127.64.0.1:1,CLIENTS://127.64.0.1:2",
				"listener.security.protocol.map":               "INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENTS:SASL_PLAINTEXT",
				"listener.name.clients.plain.sasl.jaas.config": `org.apache.kafka.common.security.plain.PlainLoginModule required user_admin="other" user_mirror="right";`,
			},
			[]string{"listener.name.clients.ssl.keystore.location"},
		},
		"users and TLS": {
			Options{Users: users, TLS: ca, Authorize: true},
			map[string]string{
				"listener.security.protocol.map":              "INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENTS:SASL_SSL",
				"listener.name.clients.ssl.keystore.location": "/data/broker.pem",
				"super.users": "User:ANONYMOUS",
			},
			[]string{"listener.name.clients.ssl.client.auth"},
		},
		"certificates": {
			Options{TLS: ca, ClientCertificates: true},
			map[string]string{
				"listener.security.protocol.map":        "INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENTS:SSL",
				"listener.name.clients.ssl.client.auth": "required",
			},
			[]string{"listener.name.clients.plain.sasl.jaas.config"},
		},
		"one's own": {
			Options{Properties: map[string]string{"node.id": "7", "log.retention.ms": "1000"}},
			map[string]string{"node.id": "7", "log.retention.ms": "1000", "process.roles": "broker,controller"},
			nil,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.options.Dir, tt.options.Host = "/data", "127.64.0.1"
			b := &Broker{options: tt.options, inside: 1, clients: 2, controller: 3}
			got := b.properties()
			for k, want := range tt.has {
				if got[k] != want {
					t.Errorf("%s is %q, want %q", k, got[k], want)
				}
			}
			for _, k := range tt.without {
				if v, there := got[k]; there {
					t.Errorf("%s is there: %q", k, v)
				}
			}
		})
	}
}

// Two brokers do not share what one of them is told.
func TestPropertiesAreNotShared(t *testing.T) {
	(&Broker{options: Options{Properties: map[string]string{"node.id": "7"}}}).properties()
	if got := (&Broker{}).properties()["node.id"]; got != "1" {
		t.Errorf("node.id is %s for a broker that was told nothing", got)
	}
}

func TestRender(t *testing.T) {
	if got, want := render(map[string]string{"b": `x\y`, "a": "1=2"}), "a=1=2\nb=x\\\\y\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestClusterID(t *testing.T) {
	for range 100 {
		if id := clusterID(); !regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{21}$`).MatchString(id) {
			t.Fatalf("%q is no cluster's name", id)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Setenv(EnvJars, t.TempDir())
	for name, test := range map[string]struct {
		options Options
		say     string
	}{
		"no directory":    {Options{}, "no Dir"},
		"a quote":         {Options{Dir: t.TempDir(), Users: map[string]string{"u": `a"b`}}, "quotes"},
		"no password":     {Options{Dir: t.TempDir(), Users: map[string]string{"u": ""}}, "one character or more"},
		"no authority":    {Options{Dir: t.TempDir(), ClientCertificates: true}, "needs TLS"},
		"no Apache Kafka": {Options{Dir: t.TempDir()}, "make kafka"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(test.options)
			if err == nil || !strings.Contains(err.Error(), test.say) || strings.Contains(err.Error(), `a"b`) {
				t.Errorf("error is %v, want one that says %q and no password", err, test.say)
			}
		})
	}
}

func TestNewMirrorMakerRefuses(t *testing.T) {
	t.Setenv(EnvJars, t.TempDir())
	for say, o := range map[string]MirrorMakerOptions{
		"required":   {Dir: t.TempDir()},
		"make kafka": {Dir: t.TempDir(), Config: "clusters = a, b"},
	} {
		if _, err := NewMirrorMaker(o); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("error is %v, want one that says %q", err, say)
		}
	}
}
