package main

import (
	"log/slog"
	"sync"
	"time"
)

// fileCompensation is the file of the gateway's Secret with what stands for users in records.
const fileCompensation = "compensation-secret"

// minCompensation is its least length in bytes: phone numbers could be tried one by one with a short one.
const minCompensation = 16

// compensationSecret reads the file, and looks again every secretsEvery.
type compensationSecret struct {
	secrets secretDir
	log     *slog.Logger
	now     func() time.Time

	mu    sync.Mutex
	next  time.Time
	value []byte
	short bool
}

// get returns the secret, nil while there is none that is long enough.
func (s *compensationSecret) get() []byte {
	if s.secrets == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if now.Before(s.next) {
		return s.value
	}
	s.next = now.Add(secretsEvery)
	s.value = []byte(s.secrets.read(fileCompensation))
	if short := len(s.value) > 0 && len(s.value) < minCompensation; short != s.short {
		if s.short = short; short {
			s.log.Warn("nobody is recorded for compensation: the secret is too short", slog.String("file", fileCompensation), slog.Int("leastBytes", minCompensation))
		}
	}
	if s.short {
		s.value = nil
	}
	return s.value
}
