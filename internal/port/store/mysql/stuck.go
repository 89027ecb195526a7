package mysql

import (
	"context"
	"errors"
	"fmt"
	"time"

	"multiactive.dev/operator/internal/storage"
)

// errStuck: the server answers, and not about links. While a link waits for room on the disk, a server answers no
// question about links until up to a minute after there is room (tested with MariaDB 10.11; MySQL's manual, "How
// MySQL Handles a Full Disk"), and each question takes a connection until then.
var errStuck = errors.New("the server answers, and not about its links: it does so while one of them waits for room on its disk")

// stuckAfter a question about links has waited for so long.
const stuckAfter = 2 * time.Second

// status asks for all links, unless a question of before still waits.
func (s *Server) status(ctx context.Context, spoken dialect) ([]map[string]string, error) {
	var waiting int
	err := s.plain.row(ctx, "SELECT COUNT(*) FROM information_schema.processlist WHERE info = ? AND time >= ?",
		[]any{spoken.statusQuery(), int(stuckAfter.Seconds())}, &waiting)
	if err != nil {
		return nil, s.explain(ctx, "looking for questions that wait", err)
	}
	if waiting > 0 {
		return nil, errStuck
	}
	short, cancel := context.WithTimeout(ctx, s.half(ctx))
	defer cancel()
	rows, err := s.plain.table(short, spoken.statusQuery())
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && s.plain.row(ctx, "SELECT 1", nil, &waiting) == nil {
		return nil, errStuck
	}
	return rows, s.explain(ctx, "looking at links", err)
}

// half of the time that there is.
func (s *Server) half(ctx context.Context) time.Duration {
	timeout := s.options.Timeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, deadline.Sub(now()))
	}
	return timeout / 2
}

// stuckLinks is what is known of links that the server does not tell about.
func stuckLinks(w storage.Want) map[string]storage.Link {
	links := map[string]storage.Link{}
	for _, source := range w.Sources {
		links[source.Region] = storage.Link{Received: -1, Fault: &storage.Fault{
			Kind: storage.FaultDisk, Message: fmt.Sprintf("%v.", errStuck),
			Remedy: "Make room on the server's disk: its error log names the file that cannot be written. It goes on within a minute.",
		}}
	}
	return links
}
