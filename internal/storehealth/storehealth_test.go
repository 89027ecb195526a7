package storehealth

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	clocktesting "k8s.io/utils/clock/testing"

	"multiactive.dev/operator/internal/coordination"
)

type store struct{ coordination.Health }

func (s *store) Inspect(context.Context, time.Time) coordination.Health { return s.Health }

// What is wrong is told for as long as it is, and logged when it begins and ends.
func TestMonitor(t *testing.T) {
	var logged []string
	s := &store{}
	m := &Monitor{Store: s, Clock: clocktesting.NewFakeClock(time.Unix(0, 0)), Log: funcr.New(func(_, args string) { logged = append(logged, args) }, funcr.Options{})}
	for _, step := range []struct {
		health          coordination.Health
		broken, trouble string
		logs            string // empty: nothing more
	}{
		{coordination.Health{}, "", "", ""},
		{coordination.Health{Warnings: []string{"soon"}}, "", "soon", "soon"},
		{coordination.Health{Broken: []string{"full"}, Warnings: []string{"soon"}}, "full", "full; soon", "full"},
		{coordination.Health{Broken: []string{"full"}, Warnings: []string{"soon"}}, "full", "full; soon", ""},
		{coordination.Health{}, "", "", "any more"},
	} {
		s.Health, logged = step.health, nil
		m.look(t.Context())
		if m.Broken() != step.broken || m.Trouble() != step.trouble {
			t.Errorf("%+v: broken %q, trouble %q", step.health, m.Broken(), m.Trouble())
		}
		if step.logs == "" && len(logged) > 0 || step.logs != "" && (len(logged) != 1 || !strings.Contains(logged[0], step.logs)) {
			t.Errorf("%+v: logged %q, want %q", step.health, logged, step.logs)
		}
	}
}
