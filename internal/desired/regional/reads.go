package regional

import (
	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/routing"
)

// secondRead says how a flow's gateway asks the key's owner after a local miss.
func secondRead(s *v1alpha1.SecondReadSync) *routing.SecondRead {
	out := &routing.SecondRead{AnswerLocally: s.WhenUnreachable == v1alpha1.WhenUnreachableAnswerLocally}
	if s.Timeout != nil {
		out.Timeout = s.Timeout.Duration
	}
	return out
}
