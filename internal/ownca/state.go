package ownca

import (
	"fmt"
	"time"

	"multiactive.dev/operator/internal/peertls"
)

// Keys of what Encode returns.
const (
	keyCurrent     = "current.crt"
	keyCurrentKey  = "current.key"
	keyNext        = "next.crt"
	keyNextKey     = "next.key"
	keyPrevious    = "previous.crt"
	keyPreviousEnd = "previous.retires"
)

// Decode reads what Encode returned; other keys do not matter. Its errors hold nothing of the keys.
func Decode(data map[string][]byte) (State, error) {
	var s State
	var err error
	if s.Current, err = ParseAuthority(data[keyCurrent], data[keyCurrentKey]); err != nil {
		return s, fmt.Errorf("%s: %w", keyCurrent, err)
	}
	if len(data[keyNext]) > 0 {
		if s.Next, err = ParseAuthority(data[keyNext], data[keyNextKey]); err != nil {
			return s, fmt.Errorf("%s: %w", keyNext, err)
		}
	}
	if len(data[keyPrevious]) > 0 {
		certs, err := peertls.ParseCertificates(data[keyPrevious])
		if err != nil {
			return s, fmt.Errorf("%s: %w", keyPrevious, err)
		}
		s.Previous = certs[0]
		if s.Retires, err = time.Parse(time.RFC3339, string(data[keyPreviousEnd])); err != nil {
			return s, fmt.Errorf("%s: it is no time", keyPreviousEnd)
		}
	}
	return s, nil
}

// Encode returns the data of a Secret, private keys among it.
func (s *State) Encode() (map[string][]byte, error) {
	data := map[string][]byte{}
	var err error
	if data[keyCurrent], data[keyCurrentKey], err = s.Current.Encode(); err != nil {
		return nil, err
	}
	if s.Next != nil {
		if data[keyNext], data[keyNextKey], err = s.Next.Encode(); err != nil {
			return nil, err
		}
	}
	if s.Previous != nil {
		data[keyPrevious], data[keyPreviousEnd] = PEM(s.Previous), []byte(s.Retires.UTC().Format(time.RFC3339))
	}
	return data, nil
}
