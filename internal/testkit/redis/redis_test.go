package redis_test

import (
	"context"
	"testing"
	"time"

	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/redis"
)

func TestServerKeepsDataAndAddress(t *testing.T) {
	t.Parallel()
	server := redis.Run(t, redis.Options{Settings: map[string]string{"maxclients": "77"}})
	client := server.Client("default", redis.Password)
	defer func() { _ = client.Close() }()
	if got := client.ConfigGet(t.Context(), "maxclients").Val()["maxclients"]; got != "77" {
		t.Errorf("maxclients is %q", got)
	}
	for name, end := range map[string]func() error{
		"killed": server.Kill, "stopped": func() error { return server.Stop(t.Context()) },
	} {
		if err := client.Set(t.Context(), name, "1", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if err := end(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if client.Ping(t.Context()).Err() == nil {
			t.Fatalf("it still answers after it was %s", name)
		}
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := client.Get(t.Context(), name).Result(); err != nil || got != "1" {
			t.Errorf("after it was %s the key is %q, error %v", name, got, err)
		}
	}
}

func TestFreeze(t *testing.T) {
	t.Parallel()
	server := redis.Run(t, redis.Options{})
	client := server.Client("default", redis.Password)
	defer func() { _ = client.Close() }()
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if client.Ping(ctx).Err() == nil {
		t.Error("a frozen server answers")
	}
	if err := server.Continue(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, func() error { return client.Ping(t.Context()).Err() })
}
