package main

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"multiactive.dev/operator/internal/gateway"
	"multiactive.dev/operator/internal/ownership"
)

// hit is what gateways have recorded, taken together.
type hit struct {
	since   time.Time
	records map[hitUser]*gateway.CompensationRecord
	regions map[hitUser]map[string]bool
	// unrecorded counts the affected requests that are in no record, by "service in region"; silent has those
	// of them that record nobody.
	unrecorded map[string]int64
	silent     map[string]bool
}

type hitUser struct{ flow, key, user string }

func newHit(since time.Time) *hit {
	return &hit{
		since: since, records: map[hitUser]*gateway.CompensationRecord{}, regions: map[hitUser]map[string]bool{},
		unrecorded: map[string]int64{}, silent: map[string]bool{},
	}
}

// take adds what one gateway says. An answer that breaks off is an error, and what came of it counts.
func (h *hit) take(from io.Reader, where string) error {
	lines := json.NewDecoder(bufio.NewReader(from))
	var header gateway.CompensationHeader
	if err := lines.Decode(&header); err != nil || header.Service == "" {
		return fmt.Errorf("%s: this is not what a gateway says at /.multiactive/affected/users: %w", where, orUnexpected(err))
	}
	place := header.Service + " in " + header.Region
	h.unrecorded[place] += header.UnrecordedRequests
	h.silent[place] = h.silent[place] || !header.Recording
	for n := range header.Records {
		var r gateway.CompensationRecord
		if err := lines.Decode(&r); err != nil {
			return fmt.Errorf("%s: the answer breaks off after %d of %d records: %w", where, n, header.Records, err)
		}
		if !r.LastAt.Before(h.since) {
			h.add(r, header.Region)
		}
	}
	return nil
}

func orUnexpected(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (h *hit) add(r gateway.CompensationRecord, region string) {
	of := hitUser{r.Flow, r.Key, r.User}
	if h.regions[of] == nil {
		h.regions[of] = map[string]bool{}
	}
	h.regions[of][region] = true
	have := h.records[of]
	if have == nil {
		h.records[of] = &r
		return
	}
	have.RefusedRequests += r.RefusedRequests
	have.DegradedRequests += r.DegradedRequests
	if r.FirstAt.Before(have.FirstAt) {
		have.FirstAt = r.FirstAt
	}
	if r.LastAt.After(have.LastAt) {
		have.LastAt = r.LastAt
	}
}

// hitLine is one line of what is printed.
type hitLine struct {
	gateway.CompensationRecord
	Regions []string `json:"regions"`
	// Who is the user's key as the list of users has it.
	Who string `json:"who,omitempty"`
}

// print writes the records, and with a list of users only those that are in it.
func (h *hit) print(out io.Writer, format string, known *suspects) error {
	keys := map[string]bool{}
	for of := range h.records {
		keys[of.key] = true
	}
	who, err := known.of(keys)
	if err != nil {
		return err
	}
	put, flush := writerOf(out, format)
	for _, of := range slices.SortedFunc(maps.Keys(h.records), func(a, b hitUser) int {
		return cmp.Or(strings.Compare(a.flow, b.flow), strings.Compare(a.key, b.key), strings.Compare(a.user, b.user))
	}) {
		line := hitLine{*h.records[of], slices.Sorted(maps.Keys(h.regions[of])), who[of.key+" "+of.user]}
		if known != nil && line.Who == "" {
			continue
		}
		if err := put(line); err != nil {
			return err
		}
	}
	return flush()
}

// writerOf returns what writes lines in a format, and what ends them.
func writerOf(out io.Writer, format string) (put func(hitLine) error, flush func() error) {
	if format == "json" {
		lines := json.NewEncoder(out)
		return func(l hitLine) error { return lines.Encode(l) }, func() error { return nil }
	}
	w := csv.NewWriter(out)
	_ = w.Write([]string{"flow", "key", "user", "refused_requests", "degraded_requests", "first_at", "last_at", "regions", "who"}) // Flush tells
	return func(l hitLine) error {
			return w.Write([]string{
				l.Flow, l.Key, l.User, strconv.FormatInt(l.RefusedRequests, 10), strconv.FormatInt(l.DegradedRequests, 10),
				l.FirstAt.Format(time.RFC3339), l.LastAt.Format(time.RFC3339), strings.Join(l.Regions, " "), l.Who,
			})
		}, func() error {
			w.Flush()
			return w.Error()
		}
}

// tell says what is missing, and returns errAttention when something is.
func (h *hit) tell(t terminal, problems []error) error {
	attention := len(problems) > 0
	for _, p := range problems {
		_, _ = fmt.Fprintln(t.err, "not everything could be read:", p)
	}
	for _, place := range slices.Sorted(maps.Keys(h.unrecorded)) {
		n := h.unrecorded[place]
		if n == 0 {
			continue
		}
		attention = true
		why := "there was no room for more records (--compensation-records of the gateway)"
		if h.silent[place] {
			why = "there is no compensation-secret in the Secret <service>-gateway"
		}
		_, _ = fmt.Fprintf(t.err, "%s: %d affected requests are in no record: %s\n", place, n, why)
	}
	if attention {
		return errAttention
	}
	return nil
}

// suspects are users to find in records.
type suspects struct {
	users   []string
	secrets [][]byte
	// normalize says how each key is normalised; everyKey, if not nil, how all are.
	normalize map[string][]string
	everyKey  []string
}

// of returns who stands for "key user" in records with these keys.
func (s *suspects) of(keys map[string]bool) (map[string]string, error) {
	out := map[string]string{}
	if s == nil {
		return out, nil
	}
	for key := range keys {
		steps, known := s.normalize[key]
		if s.everyKey != nil {
			steps, known = s.everyKey, true
		}
		if !known {
			return nil, fmt.Errorf("--normalize: how key %s is normalised is not known; give it, or - for not at all", key)
		}
		for _, user := range s.users {
			value, err := ownership.Normalise(strings.TrimRight(user, "\r"), slices.DeleteFunc(slices.Clone(steps), func(step string) bool { return step == "-" }))
			if err != nil {
				return nil, fmt.Errorf("--normalize: %w", err)
			}
			for _, secret := range s.secrets {
				mac := gateway.CompensationUser(secret, key, value)
				out[key+" "+hex.EncodeToString(mac[:])] = strings.TrimRight(user, "\r")
			}
		}
	}
	return out, nil
}
