// Package announcement reckons which of the announcements that people have ordered users of a service are told now:
// values in, values out. The service's controller puts those into the regions' slices, the order's reports them. It
// must never show what nobody has looked at, or bring one back that a later one has ended.
package announcement

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
)

// DefaultDuration is how long an announcement is shown that does not say.
const DefaultDuration = time.Hour

// everyFlow in an announcement's flows means all of them.
const everyFlow = "*"

// Running is how many ordered announcements of a service are shown in a region at once.
const Running = 16

// Most is how many announcements a slice has room for, Known how many that of a member has which does not say Feature.
const (
	Most  = 32
	Known = 16
)

// Feature is reported by members whose RegionalServices have room for ordered announcements beside all declared ones.
const Feature = "OrderedAnnouncements"

// Ordered is one announcement that somebody has ordered.
type Ordered struct {
	// Name of the Operation. In peer mode those of one name, in several clusters, are one order.
	Name string
	// From is when it was ordered, Until when its time is up.
	From, Until time.Time
	Text        []v1alpha1.LocalizedText
	Flows       []string
	// Regions that show it; none: all.
	Regions []string
	// Ended: somebody has ended it.
	Ended bool
	// accepted: its controller has taken it up, now or before.
	accepted bool
	// shows: it has not ended by what its status says.
	shows bool
}

// Of returns the announcement that an Operation orders; nil when it orders none.
func Of(o *v1alpha1.Operation) *Ordered {
	a := o.Spec.Announce
	if o.Spec.Type != v1alpha1.OperationAnnounce || a == nil || o.Spec.Service == nil {
		return nil
	}
	out := &Ordered{
		Name: o.Name, From: o.CreationTimestamp.Time, Until: o.CreationTimestamp.Add(duration(a.Duration)), Text: a.Text, Flows: a.Flows,
		Regions: a.Regions, Ended: a.Course == v1alpha1.AnnounceEnd,
		accepted: o.Status.State == v1alpha1.OperationRunning || o.Status.State == v1alpha1.OperationSucceeded,
		shows:    o.Status.State == v1alpha1.OperationRunning && o.DeletionTimestamp.IsZero(),
	}
	if len(out.Flows) == 0 {
		out.Flows = []string{everyFlow}
	}
	return out
}

func duration(d *metav1.Duration) time.Duration {
	if d == nil || d.Duration <= 0 {
		return DefaultDuration
	}
	return d.Duration
}

// all returns what was ordered for a service, the latest first.
func all(service v1alpha1.ServiceKey, orders []v1alpha1.Operation) []Ordered {
	var out []Ordered
	for i := range orders {
		a := Of(&orders[i])
		if a == nil || *orders[i].Spec.Service != service {
			continue
		}
		if known := slices.IndexFunc(out, func(x Ordered) bool { return x.Name == a.Name }); known >= 0 {
			out[known].join(a)
			continue
		}
		out = append(out, *a)
	}
	slices.SortFunc(out, func(a, b Ordered) int { return cmp.Or(b.From.Compare(a.From), cmp.Compare(b.Name, a.Name)) })
	return out
}

// join takes what another cluster's copy says into account: it is shown for as long as one of them lasts, and ended in one
// it is ended in all.
func (o *Ordered) join(other *Ordered) {
	if other.From.Before(o.From) {
		o.From = other.From
	}
	if other.Until.After(o.Until) {
		o.Until = other.Until
	}
	o.Ended = o.Ended || other.Ended
	o.accepted, o.shows = o.accepted || other.accepted, o.shows || other.shows
}

// covers reports whether an order says something for all flows and all regions of another one.
func (o *Ordered) covers(other *Ordered) bool {
	return (slices.Contains(o.Flows, everyFlow) || within(other.Flows, o.Flows)) &&
		(len(o.Regions) == 0 || len(other.Regions) > 0 && within(other.Regions, o.Regions))
}

func within(some, all []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

// Joined returns what an order comes to with its copies in other clusters, and the name of the later order that has
// ended it, "" when none has.
func Joined(o *v1alpha1.Operation, orders []v1alpha1.Operation) (joined Ordered, endedBy string) {
	own := Of(o)
	if own == nil {
		return Ordered{}, ""
	}
	list := all(*o.Spec.Service, orders)
	i := slices.IndexFunc(list, func(x Ordered) bool { return x.Name == own.Name })
	if i < 0 { // the list is older than the order
		return *own, ""
	}
	return list[i], endedByLater(list, i)
}

// endedByLater returns the name of the order that has ended the i-th, of a list with the latest first. One whose time is
// up has too: what it has ended does not come back.
func endedByLater(list []Ordered, i int) string {
	for j := range list[:i] {
		if list[j].accepted && list[j].covers(&list[i]) {
			return list[j].Name
		}
	}
	return ""
}

// Shown returns what a service's users are to be told now besides what is declared, the latest first.
func Shown(now time.Time, service v1alpha1.ServiceKey, orders []v1alpha1.Operation) []Ordered {
	var out []Ordered
	list := all(service, orders)
	for i, o := range list {
		if o.shows && !o.Ended && now.Before(o.Until) && endedByLater(list, i) == "" {
			out = append(out, o)
		}
	}
	return out
}

// Next returns how long it is until the first of them ends; 0: there is none.
func Next(now time.Time, shown []Ordered) time.Duration {
	next := time.Duration(0)
	for _, o := range shown {
		if left := o.Until.Sub(now); next == 0 || left < next {
			next = left
		}
	}
	return next
}

// In returns what a region's gateways are given: the ordered announcements, the latest first, then the declared ones, at most
// so many. Behind an ordered one for all flows there is nothing: nobody would be shown it, and gateways show what names a
// flow before what is for all.
func In(region string, shown []Ordered, declared []v1alpha1.Announcement, most int) []v1alpha1.Announcement {
	var out []v1alpha1.Announcement
	for _, o := range shown {
		if len(out) == Running || len(o.Regions) > 0 && !slices.Contains(o.Regions, region) {
			continue
		}
		out = append(out, v1alpha1.Announcement{Flows: o.Flows, Text: o.Text})
		if slices.Contains(o.Flows, everyFlow) {
			return out
		}
	}
	out = append(out, declared...)
	return out[:min(len(out), most)]
}

// Has reports whether a slice's announcements have an ordered one.
func Has(announcements []v1alpha1.Announcement, o Ordered) bool {
	return slices.ContainsFunc(announcements, func(a v1alpha1.Announcement) bool {
		return slices.Equal(a.Flows, o.Flows) && slices.Equal(a.Text, o.Text)
	})
}
