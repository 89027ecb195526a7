package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

// deferredTopic is where the gateways of these tests keep requests.
const deferredTopic = "accounts._deferred.user"

// kafka starts a broker whose writes may go wrong.
func kafkaBroker(t *testing.T, produce func(*kmsg.ProduceRequest) (kmsg.Response, error, bool)) string {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, deferredTopic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if produce != nil {
		c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			return produce(r.(*kmsg.ProduceRequest))
		})
	}
	return c.ListenAddrs()[0]
}

// refuseWith answers a write with an error of Kafka's.
func refuseWith(r *kmsg.ProduceRequest, code *kerr.Error) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.ProduceResponse)
	for _, topic := range r.Topics {
		out := kmsg.NewProduceResponseTopic()
		out.Topic, out.TopicID = topic.Topic, topic.TopicID
		for _, p := range topic.Partitions {
			part := kmsg.NewProduceResponseTopicPartition()
			part.Partition, part.ErrorCode = p.Partition, code.Code
			out.Partitions = append(out.Partitions, part)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// withTransfers adds a flow that is kept for later, since shanghai is lost.
func withTransfers(c *routing.Config) {
	c.Flows = append(c.Flows, routing.Flow{
		Name: "transfer", Key: "phone", HomeRegion: true, OnHomeLoss: "Defer", Match: []routing.Match{{Method: "POST", Path: "/v1/transfers"}},
		ReadsSessions: []string{"session"},
		Defer:         &routing.Defer{AdmitPath: "/v1/open/admit", ExpireAfter: time.Hour, IdempotencyHeader: "Idempotency-Key"},
	})
}

// deferring has a gateway keep requests in a Kafka that works, unless the arguments say another.
func deferring(t *testing.T, change func(*routing.Config), args ...string) *hostility {
	t.Helper()
	if !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--kafka-brokers") }) {
		args = append(args, "--kafka-brokers="+kafkaBroker(t, nil))
	}
	return hostile(t, func(c *routing.Config) {
		change(c)
		withTransfers(c)
	}, append(args, "--deferred-topic="+deferredTopic)...)
}

// lostShanghai is a region that nobody reaches.
func lostShanghai(c *routing.Config) {
	*c = twoRegions(c, "http://127.0.0.1:1")
	c.Regions[1].State, c.Regions[1].Unshipped = ownership.RegionLost, true
}

// transfer asks for one of a user whose home is lost.
func transfer(t *testing.T, h *hostility, lines string) *answer {
	t.Helper()
	return h.exchangeOnce(t, fmt.Sprintf("POST /v1/transfers HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-User-Phone: %s\r\nIdempotency-Key: a\r\nContent-Length: 2\r\n%s\r\n{}",
		keyAt(t, "shanghai"), lines))
}

// reads waits until the gateway has read its topic, and so may keep requests.
func (h *hostility) reads(t *testing.T) {
	eventually(t, "the topic is read", func() bool { return strings.Contains(h.log.String(), "the deferred requests are read") })
}

func unavailable(t *testing.T, a *answer) {
	t.Helper()
	if len(a.responses) != 1 || a.responses[0].StatusCode != http.StatusServiceUnavailable || !strings.Contains(a.bodies[0], `"deferral-unavailable"`) {
		t.Errorf("got %v", a)
	}
}

var kafkaCases = []scenario{
	{row{"a Kafka that refuses connections", "503 `deferral-unavailable`: never a 202", "by flow and reason; logged once"}, func(t *testing.T, way []string) {
		unavailable(t, transfer(t, deferring(t, lostShanghai, append(slices.Clone(way), "--kafka-brokers="+ownAddress(t))...), ""))
	}},
	{row{"a Kafka whose disk is full", "503 `deferral-unavailable`, and 202 once there is room", "by flow and reason; logged once"}, func(t *testing.T, way []string) {
		var full atomic.Bool
		full.Store(true)
		broker := kafkaBroker(t, func(r *kmsg.ProduceRequest) (kmsg.Response, error, bool) {
			if full.Load() {
				return refuseWith(r, kerr.KafkaStorageError), nil, true
			}
			return nil, nil, false
		})
		h := deferring(t, lostShanghai, append(slices.Clone(way), "--kafka-brokers="+broker)...)
		h.reads(t)
		unavailable(t, transfer(t, h, ""))
		full.Store(false)
		eventually(t, "it is kept", func() bool {
			a := transfer(t, h, "")
			return len(a.responses) == 1 && a.responses[0].StatusCode == http.StatusAccepted
		})
	}},
	{row{"a Kafka with too few copies", "503 `deferral-unavailable`", "by flow and reason; logged once"}, func(t *testing.T, way []string) {
		broker := kafkaBroker(t, func(r *kmsg.ProduceRequest) (kmsg.Response, error, bool) {
			return refuseWith(r, kerr.NotEnoughReplicas), nil, true
		})
		h := deferring(t, lostShanghai, append(slices.Clone(way), "--kafka-brokers="+broker)...)
		h.reads(t)
		unavailable(t, transfer(t, h, ""))
	}},
	{row{"an application that is gone when it should admit a request", "503 `upstream-unreachable`; the query is in no log, for it may hold a credential", "by flow and reason; logged with the instance"}, func(t *testing.T, way []string) {
		h := deferring(t, func(c *routing.Config) {
			lostShanghai(c)
			c.Upstream = "http://" + ownAddress(t)
		}, way...)
		h.reads(t)
		got := h.exchangeOnce(t, fmt.Sprintf("POST /v1/transfers?access_token=s3cret HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-User-Phone: %s\r\nContent-Length: 2\r\n\r\n{}", keyAt(t, "shanghai")))
		if len(got.responses) != 1 || !strings.Contains(got.bodies[0], `"upstream-unreachable"`) {
			t.Errorf("got %v", got)
		}
		eventually(t, "it is logged", func() bool { return strings.Contains(h.log.String(), `"msg":"no answer"`) })
		if strings.Contains(h.log.String(), "s3cret") {
			t.Errorf("logged is the credential: %s", h.log)
		}
	}},
	{row{"a forged idempotency key of another user", "another request with an ID of its own: keys are one user's", "by flow and outcome"}, func(t *testing.T, way []string) {
		h := deferring(t, lostShanghai, way...)
		h.reads(t)
		ids := map[string]bool{}
		h.app.handle(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Multiactive-Subject", r.Header.Get("Cookie"))
		})
		for _, user := range []string{"a", "b"} {
			a := transfer(t, h, "Cookie: u="+user+"\r\n")
			if len(a.responses) != 1 || a.responses[0].StatusCode != http.StatusAccepted {
				t.Fatalf("got %v", a)
			}
			ids[a.responses[0].Header.Get("Location")] = true
		}
		if len(ids) != 2 {
			t.Errorf("the IDs are %v", ids)
		}
	}},
	{row{"`Multiactive-Subject` and `Multiactive-Flow` from outside, to a request that is kept", "the application is asked without them", "by flow and outcome"}, func(t *testing.T, way []string) {
		h := deferring(t, lostShanghai, way...)
		h.reads(t)
		if a := transfer(t, h, "Multiactive-Subject: forged\r\nMultiactive-Flow: forged\r\nConnection: X-B\r\nX-B: forged\r\n"); len(a.responses) != 1 || a.responses[0].StatusCode != http.StatusAccepted {
			t.Fatalf("got %v", a)
		}
		if raw, _ := h.app.take(); strings.Contains(fmt.Sprintf("%q", raw), "forged") {
			t.Errorf("the application got %q", raw)
		}
	}},
}
