package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/kafka/embedded"
	"multiactive.dev/operator/internal/port/kafka/kafkatest"
)

func TestMain(m *testing.M) { os.Exit(kafkatest.Main(m, nil)) }

// silent accepts connections and never answers, like a broker that was cut off.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Every call against dead brokers ends within its timeout with an error of the
// kind, which names them.
func TestUnreachable(t *testing.T) {
	calls := map[string]func(context.Context, kafka.Admin) error{
		"Describe": func(ctx context.Context, a kafka.Admin) error { _, err := a.Describe(ctx, "t"); return err },
		"Create": func(ctx context.Context, a kafka.Admin) error {
			return a.Create(ctx, kafka.NewTopic{Name: "t", Partitions: 1})
		},
		"CreatePartitions": func(ctx context.Context, a kafka.Admin) error { return a.CreatePartitions(ctx, "t", 2) },
		"AlterConfigs": func(ctx context.Context, a kafka.Admin) error {
			return a.AlterConfigs(ctx, "t", map[string]string{"retention.ms": "1"})
		},
		"Brokers":      func(ctx context.Context, a kafka.Admin) error { _, err := a.Brokers(ctx); return err },
		"EndOffsets":   func(ctx context.Context, a kafka.Admin) error { _, err := a.EndOffsets(ctx, "t"); return err },
		"GroupOffsets": func(ctx context.Context, a kafka.Admin) error { _, err := a.GroupOffsets(ctx, "g"); return err },
		"CommitOffsets": func(ctx context.Context, a kafka.Admin) error {
			return a.CommitOffsets(ctx, "g", []kafka.GroupOffset{{Topic: "t", Offset: 1}})
		},
	}
	for kind, address := range map[string]string{"refusing": refusing(t), "silent": silent(t)} {
		for name, call := range calls {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				admin, err := kafka.NewClient(kafka.Options{Brokers: []string{address}, Timeout: 300 * time.Millisecond})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(admin.Close)
				begun := time.Now()
				err = call(t.Context(), admin)
				if !errors.Is(err, kafka.ErrUnreachable) || !strings.Contains(err.Error(), address) {
					t.Errorf("error is %v; want ErrUnreachable that names %s", err, address)
				}
				if took := time.Since(begun); took > 5*time.Second {
					t.Errorf("took %s with a timeout of 0.3s", took)
				}
			})
		}
	}
}

// A caller that gives up gets its own reason, not a verdict on the brokers.
func TestCallerGivesUp(t *testing.T) {
	admin := kafkatest.NewAdmin(t, silent(t))
	stop := errors.New("shutting down")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if _, err := admin.Brokers(ctx); !errors.Is(err, stop) || errors.Is(err, kafka.ErrUnreachable) {
		t.Errorf("error is %v; want the caller's reason", err)
	}
}

func TestAuthentication(t *testing.T) {
	b, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0", User: "admin", Password: "right"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	for password, want := range map[string]error{"right": nil, "wr0ng-one": kafka.ErrAuthentication} {
		admin, err := kafka.NewClient(kafka.Options{
			Brokers: []string{b.Addr()}, Timeout: 2 * time.Second,
			SASL: &kafka.SASL{Mechanism: kafka.MechanismPlain, User: "admin", Password: password},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(admin.Close)
		_, err = admin.Brokers(t.Context())
		if !errors.Is(err, want) {
			t.Errorf("password %s: error is %v, want %v", password, err, want)
		}
		if err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

// A group whose coordinator is on its way to a broker is asked for again, within the timeout.
func TestCoordinatorIsWaitedFor(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	left := 3 // the library itself tries twice
	cluster.ControlKey(int16(kmsg.FindCoordinator), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if left--; left < 0 {
			return nil, nil, false
		}
		req := r.(*kmsg.FindCoordinatorRequest)
		resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
		for _, k := range req.CoordinatorKeys {
			resp.Coordinators = append(resp.Coordinators, kmsg.FindCoordinatorResponseCoordinator{Key: k, NodeID: -1, Port: -1, ErrorCode: kerr.CoordinatorNotAvailable.Code})
		}
		return resp, nil, true
	})
	admin := kafkatest.NewAdmin(t, cluster.ListenAddrs()...)
	if got, err := admin.GroupOffsets(t.Context(), "g"); err != nil || len(got) > 0 {
		t.Errorf("offsets %v, error %v; want none", got, err)
	}
	left = 3
	if err := admin.CommitOffsets(t.Context(), "other", []kafka.GroupOffset{{Topic: "t", Offset: 3}}); err != nil {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	good := []string{"127.0.0.1:9092"}
	tests := map[string]struct {
		options kafka.Options
		say     string // empty: accepted
	}{
		"brokers":        {kafka.Options{Brokers: good}, ""},
		"sasl":           {kafka.Options{Brokers: good, SASL: &kafka.SASL{Mechanism: kafka.MechanismScramSHA512, User: "u", Password: "p"}}, ""},
		"no brokers":     {kafka.Options{}, "at least one"},
		"no port":        {kafka.Options{Brokers: []string{"kafka"}}, `"kafka" is not host:port`},
		"no host":        {kafka.Options{Brokers: []string{":9092"}}, "not host:port"},
		"no password":    {kafka.Options{Brokers: good, SASL: &kafka.SASL{Mechanism: kafka.MechanismPlain, User: "u"}}, "both needed"},
		"wild mechanism": {kafka.Options{Brokers: good, SASL: &kafka.SASL{Mechanism: "GSSAPI", User: "u", Password: "p"}}, `"GSSAPI" is not supported`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := kafka.ClientOptions(tt.options)
			if (err == nil) != (tt.say == "") || (err != nil && !strings.Contains(err.Error(), tt.say)) {
				t.Errorf("error is %v; want %q", err, tt.say)
			}
		})
	}
}

func TestPasswordIsNeverPrinted(t *testing.T) {
	o := kafka.Options{SASL: &kafka.SASL{Mechanism: kafka.MechanismPlain, User: "u", Password: "hunter2"}}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "sasl", *o.SASL, "pointer", o.SASL)
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %s", *o.SASL, *o.SASL, *o.SASL, o.SASL), fmt.Sprintf("%+v", o), log.String()} {
		if strings.Contains(s, "hunter2") {
			t.Errorf("printed: %s", s)
		}
	}
}

// A claim that is not understood must not read as a free topic.
func TestClaimsAreNeverGuessed(t *testing.T) {
	b, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	claims := kafka.NewClaims(kafkatest.NewAdmin(t, b.Addr()))
	if got, err := claims.Load(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("without the topic: %v, %v; want none", got, err)
	}
	if err := claims.Ensure(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	kafkatest.Produce(t, []string{b.Addr()}, &kgo.Record{Topic: kafka.ClaimsTopic, Key: []byte("a.t"), Value: []byte("{")})
	if _, err := claims.Load(t.Context()); err == nil || !strings.Contains(err.Error(), `"a.t"`) {
		t.Errorf("error is %v; want one that names the topic", err)
	}
}
