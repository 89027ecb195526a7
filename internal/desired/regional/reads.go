package regional

import (
	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/routing"
)

// secondRead says how a flow's gateway asks the data's owner after a local miss.
func secondRead(s *v1alpha1.SecondReadSync, homes []string) *routing.SecondRead {
	out := &routing.SecondRead{Homes: homes, AnswerLocally: s.WhenUnreachable == v1alpha1.WhenUnreachableAnswerLocally}
	if s.Timeout != nil {
		out.Timeout = s.Timeout.Duration
	}
	return out
}

// sessions says where the tokens of sessions are, and how their origin is asked.
func sessions(declared []v1alpha1.SessionSlice) []routing.Session {
	var out []routing.Session
	for _, d := range declared {
		s := routing.Session{
			Class: d.DataClass, Cookie: d.OriginRead.Token.Cookie, Header: d.OriginRead.Token.Header,
			OriginClaim: d.OriginRead.Token.OriginClaim, Regenerate: d.Regenerate == v1alpha1.ChoiceYes,
		}
		if f := d.OriginRead.FetchSession; f != nil && d.OriginRead.Type == v1alpha1.OriginFetchSession {
			s.FetchPath = f.Path
		}
		if d.OriginRead.Timeout != nil {
			s.Timeout = d.OriginRead.Timeout.Duration
		}
		out = append(out, s)
	}
	return out
}
