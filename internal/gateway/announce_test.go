package gateway

import (
	"testing"

	"multiactive.dev/operator/internal/routing"
)

// What is ordered is before what is declared: of two that name a flow the first is shown, in the caller's language.
func TestAnnouncementFor(t *testing.T) {
	t.Parallel()
	text := func(says string) []routing.LocalizedText {
		return []routing.LocalizedText{{Language: "zh", Value: says + " zh"}, {Language: "en", Value: says + " en"}}
	}
	list, warnings := compileAnnouncements([]routing.Announcement{
		{Flows: []string{"register"}, Text: text("ordered")},
		{Flows: []string{"register", "profile"}, Text: text("declared")},
		{Flows: []string{"*"}, Text: text("for all")},
		{Flows: []string{"*"}, Text: text("for all, later")},
	})
	if len(warnings) > 0 {
		t.Errorf("warnings %q", warnings)
	}
	for name, c := range map[string]struct{ flow, accept, text, lang string }{
		"in the caller's language":             {"register", "en-GB,en;q=0.9", "ordered en", "en"},
		"in another language":                  {"register", "zh-CN", "ordered zh", "zh"},
		"in the first for who reads neither":   {"register", "ja", "ordered zh", "zh"},
		"in one that has the same letters":     {"register", "fr", "ordered en", "en"},
		"for a flow that is declared alone":    {"profile", "en", "declared en", "en"},
		"for a flow that only all is for":      {"login", "en", "for all en", "en"},
		"for a request that no flow matches":   {"", "en", "for all en", "en"},
		"what cannot be read is no preference": {"register", "*;;q=x", "ordered zh", "zh"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if text, lang := announcementFor(list, c.flow, c.accept); text != c.text || lang != c.lang {
				t.Errorf("shown %q in %q, want %q in %q", text, lang, c.text, c.lang)
			}
		})
	}
}
