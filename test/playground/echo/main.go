// Command echo is a service for the playground's test: it tells what reached it and what it was given.
// It shares nothing with the example, so that the playground cannot work for the example alone.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	listen := flag.String("http", "", "address")
	greeting := flag.String("greeting-file", "", "file with what to say")
	flag.Parse()
	if err := serve(*listen, *greeting); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1) //nolint:forbidigo // a program of its own, which only looks like a test
	}
}

func serve(listen, greetingFile string) error {
	greeting, err := os.ReadFile(greetingFile)
	if err != nil {
		return fmt.Errorf("reading the greeting: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /alive", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answer := map[string]string{
			"greeting": strings.TrimSpace(string(greeting)), "city": os.Getenv("CITY"), "secret": os.Getenv("PASSPHRASE"),
			"pod": os.Getenv("POD"), "method": r.Method, "path": r.URL.Path, "owner": r.Header.Get("Multiactive-Owner"),
			"epoch": r.Header.Get("Multiactive-Epoch"), "slot": r.Header.Get("Multiactive-Slot"), "protocol": r.Proto,
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer) // nobody to tell
	})
	server := &http.Server{Addr: listen, Handler: mux, ReadHeaderTimeout: 5 * time.Second, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		_ = server.Close() // the process ends anyway
	}()
	if err := server.ListenAndServe(); ctx.Err() == nil {
		return err
	}
	return nil
}
