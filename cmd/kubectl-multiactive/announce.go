package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/announcement"
)

// minAnnounce, maxAnnounce and maxText are what the API takes.
const (
	minAnnounce, maxAnnounce = time.Minute, 168 * time.Hour
	maxText                  = 1024
)

// announceOptions are the flags of an announcement.
type announceOptions struct {
	texts, flows, regions []string
	end                   bool
}

func (a *announceOptions) bind(fs *pflag.FlagSet, lasts *time.Duration) {
	fs.StringArrayVar(&a.texts, "text", nil, "`LANGUAGE=TEXT` to show, such as en=\"We know, and are on it.\"; once for each language; who reads none of them is shown the first in their script, or else the first")
	fs.StringSliceVar(&a.flows, "flow", nil, "`flows` to show it for (default: all)")
	fs.StringSliceVar(&a.regions, "region", nil, "`regions` to show it in (default: all of the service's)")
	fs.DurationVar(lasts, "for", 0, "how long it is shown, 1m to 168h (default: 1h)")
	fs.BoolVar(&a.end, "end", false, "end what is shown now")
}

// check refuses what the API would, in the words of the command line.
func (a *announceOptions) check(lasts time.Duration) error {
	switch {
	case a.end && (len(a.texts) > 0 || len(a.flows) > 0 || len(a.regions) > 0 || lasts != 0):
		return fmt.Errorf("--end ends what is shown and takes no --text, --flow, --region or --for; --name ends one of several: %w", errUsage)
	case a.end:
		return nil
	case len(a.texts) == 0:
		return fmt.Errorf("--text is missing: say what to show, such as --text en=\"We know, and are on it.\": %w", errUsage)
	case lasts != 0 && (lasts < minAnnounce || lasts > maxAnnounce):
		return fmt.Errorf("--for: %s is not between %s and %s: %w", lasts, minAnnounce, maxAnnounce, errUsage)
	}
	return a.checkTexts()
}

func (a *announceOptions) checkTexts() error {
	var known []string
	for _, text := range a.texts {
		language, value, found := strings.Cut(text, "=")
		switch {
		case !found || language == "" || value == "":
			return fmt.Errorf("--text: %q is not LANGUAGE=TEXT, such as zh=我们已知晓，正在处理: %w", text, errUsage)
		case slices.Contains(known, language):
			return fmt.Errorf("--text: language %s is there twice: %w", language, errUsage)
		case utf8.RuneCountInString(value) > maxText:
			return fmt.Errorf("--text: the text in %s has %d characters, and there is room for %d: %w", language, utf8.RuneCountInString(value), maxText, errUsage)
		}
		known = append(known, language)
	}
	return nil
}

// spec is what is announced.
func (a *announceOptions) spec(lasts time.Duration) *v1alpha1.AnnounceSpec {
	out := &v1alpha1.AnnounceSpec{Flows: a.flows, Regions: a.regions}
	for _, text := range a.texts {
		language, value, _ := strings.Cut(text, "=")
		out.Text = append(out.Text, v1alpha1.LocalizedText{Language: language, Value: value})
	}
	if lasts > 0 {
		out.Duration = &metav1.Duration{Duration: lasts}
	}
	return out
}

// previewAnnounce says who will be told what.
func (o *orderOptions) previewAnnounce(t terminal, seen *hubState) {
	mas := seen.service(o.in(), o.service)
	regions, flows, lasts := o.announce.regions, o.announce.flows, o.lasts
	if len(regions) == 0 {
		regions = regionsOf(mas)
	}
	if len(flows) == 0 {
		flows = []string{"every flow"}
	}
	if lasts == 0 {
		lasts = announcement.DefaultDuration
	}
	t.say("Whom %s/%s cannot serve is told, for %s, in %s, for %s:", mas.Namespace, mas.Name, strings.Join(flows, ", "), strings.Join(regions, ", "), lasts)
	for _, text := range o.announce.spec(0).Text {
		t.say("  %-6s %s", text.Language, text.Value)
	}
	for i := range seen.orders {
		op := &seen.orders[i]
		if o.announces(op) && op.Status.State == v1alpha1.OperationRunning {
			t.say("%s", t.tint(yellow, fmt.Sprintf("Operation %s is shown now (%q): this goes before it, and ends it if it is for the same flows and regions, or more.",
				op.Name, op.Spec.Announce.Text[0].Value)))
		}
	}
}

// announces reports whether an order is an announcement of the service.
func (o *orderOptions) announces(op *v1alpha1.Operation) bool {
	s := op.Spec.Service
	return op.Spec.Announce != nil && s != nil && s.Name == o.service && s.Namespace == o.in()
}

// ends is how the announcements of the service are ended.
func (o *orderOptions) ends() ending {
	return ending{
		about: o.announces, none: fmt.Sprintf("no ordered announcement of %s/%s is shown", o.in(), o.service),
		patch: `{"spec":{"announce":{"course":"End"}}}`, verb: "end", verbed: "ended", after: "Users are told what spec.announcements says again.",
	}
}

// announced reports whether an announcement is where it was to be: there is nothing to wait for any more.
func announced(op *v1alpha1.Operation) bool {
	c := meta.FindStatusCondition(op.Status.Conditions, v1alpha1.ConditionComplete)
	return op.Spec.Announce != nil && op.Spec.Announce.Course != v1alpha1.AnnounceEnd && c != nil && c.Reason == v1alpha1.ReasonAnnounced
}
