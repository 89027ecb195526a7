package gateway

import (
	"slices"

	"golang.org/x/text/language"

	"multiactive.dev/operator/internal/routing"
)

// maxAcceptLanguage bounds how much of an Accept-Language header is read.
const maxAcceptLanguage = 256

// allFlows in an announcement's flows means every flow.
const allFlows = "*"

// announcement is compiled to answer in the caller's language.
type announcement struct {
	routing.Announcement
	matcher language.Matcher
}

func compileAnnouncements(decls []routing.Announcement) (list []announcement, warnings []string) {
	for _, d := range decls {
		if len(d.Text) == 0 {
			continue
		}
		tags := make([]language.Tag, len(d.Text))
		for i, t := range d.Text {
			tag, err := language.Parse(t.Language)
			if err != nil {
				warnings = append(warnings, "announcements: language "+t.Language+" is not a BCP 47 tag; its text is shown as the fallback only")
			}
			tags[i] = tag
		}
		list = append(list, announcement{d, language.NewMatcher(tags)})
	}
	return list, warnings
}

// text returns what to tell users of a flow, and its language. An announcement that names the
// flow goes before one for all.
func announcementFor(list []announcement, flow, accept string) (text, lang string) {
	var chosen *announcement
	for i := range list {
		if slices.Contains(list[i].Flows, flow) {
			chosen = &list[i]
			break
		}
		if chosen == nil && slices.Contains(list[i].Flows, allFlows) {
			chosen = &list[i]
		}
	}
	if chosen == nil {
		return "", ""
	}
	index := 0
	if len(accept) <= maxAcceptLanguage {
		if wanted, _, err := language.ParseAcceptLanguage(accept); err == nil {
			_, index, _ = chosen.matcher.Match(wanted...)
		}
	}
	return chosen.Text[index].Value, chosen.Text[index].Language
}

// announce returns the announcement for the exchange's caller and names its language.
func (ex *exchange) announce(flow string) string {
	text, lang := announcementFor(ex.snap.router.announcements, flow, ex.r.Header.Get("Accept-Language"))
	if text != "" {
		ex.w.Header().Set("Content-Language", lang)
		ex.w.Header().Add("Vary", "Accept-Language")
	}
	return text
}
