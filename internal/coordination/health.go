package coordination

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Warnings come before what they warn of.
const (
	// nearlyFull is the part of its quota from which on a database is reported.
	nearlyFull = 0.8
	// expiresSoon and lastPart say from when on a certificate is reported: that long before its end, or
	// in that part of its life if that is shorter, so that short-lived ones are not reported all the time.
	expiresSoon = 14 * 24 * time.Hour
	lastPart    = 5
)

// Health is what a person should know of the store before it fails, or of why it does.
type Health struct {
	// Broken is what keeps it from serving, Warnings what will. Both in words that stay the same.
	Broken, Warnings []string
	// Certificates that the connections depend on.
	Certificates []Certificate
	// Size and Quota of the largest database of a member, in bytes; 0 when not known.
	Size, Quota int64
}

// Inspect looks at every member that answers within the request timeout, and at the files.
func (s *Store) Inspect(ctx context.Context, now time.Time) Health {
	var h Health
	if s.credentials != nil {
		h.Certificates = s.credentials.Certificates()
		if unread := s.credentials.Unread(); unread != "" {
			h.Broken = append(h.Broken, unread+": what it held before goes on to be used")
		}
		h.Broken = append(h.Broken, s.credentials.Refused()...)
	}
	for _, c := range h.Certificates {
		broken, warning := standing(c, now)
		h.Broken, h.Warnings = appendIf(h.Broken, broken), appendIf(h.Warnings, warning)
	}
	s.inspectAlarms(ctx, &h)
	for _, m := range s.members.all {
		s.inspectMember(ctx, m, &h)
	}
	slices.Sort(h.Broken)
	h.Broken = slices.Compact(h.Broken)
	slices.Sort(h.Warnings)
	return h
}

func (s *Store) inspectAlarms(ctx context.Context, h *Health) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	answer, err := ask(ctx, s, func(ctx context.Context, c *clientv3.Client) (*clientv3.AlarmResponse, error) {
		return c.AlarmList(ctx)
	})
	if err != nil {
		h.Broken = appendIf(h.Broken, Explain(err))
		return
	}
	for _, alarm := range answer.Alarms {
		switch alarm.GetAlarm() {
		case etcdserverpb.AlarmType_NOSPACE:
			h.Broken = append(h.Broken, Full)
		case etcdserverpb.AlarmType_CORRUPT:
			h.Broken = append(h.Broken, Corrupt)
		case etcdserverpb.AlarmType_NONE:
		}
	}
}

func (s *Store) inspectMember(ctx context.Context, m *member, h *Health) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	status, err := m.client.Status(ctx, m.endpoint)
	if err != nil {
		return // the alarms, or the credentials, tell what is known of it
	}
	if status.DbSize > h.Size {
		h.Size, h.Quota = status.DbSize, status.DbSizeQuota
	}
	if quota := float64(status.DbSizeQuota); quota > 0 && float64(status.DbSize) >= nearlyFull*quota {
		h.Warnings = append(h.Warnings, fmt.Sprintf("%s: its database is above %.0f %% of its quota of %d bytes, and takes no writes when it is full: "+
			"is it compacted (--auto-compaction-mode=periodic), and used by nothing else?", m.endpoint, nearlyFull*100, status.DbSizeQuota))
	}
}

// standing says that a certificate does not serve, or soon will not.
func standing(c Certificate, now time.Time) (broken, warning string) {
	until := c.NotAfter.UTC().Format(time.RFC3339)
	switch left := c.NotAfter.Sub(now); {
	case left <= 0:
		return fmt.Sprintf("%s has expired on %s: renew it; managers take it up by themselves", c.What, until), ""
	case now.Before(c.NotBefore):
		return fmt.Sprintf("%s is not valid before %s: see the clocks", c.What, c.NotBefore.UTC().Format(time.RFC3339)), ""
	case left < min(expiresSoon, c.NotAfter.Sub(c.NotBefore)/lastPart):
		return "", fmt.Sprintf("%s expires on %s: renew it; managers take it up by themselves", c.What, until)
	}
	return "", ""
}

func appendIf(to []string, text string) []string {
	if text == "" {
		return to
	}
	return append(to, text)
}
