//go:build !linux || !(amd64 || arm64)

package gateway

type poller struct{}

type pollEvent struct {
	fd    int
	ended bool
}

func newPoller() (*poller, error)            { return nil, errNoRawReads }
func (*poller) close()                       {}
func (*poller) add(int) error                { return errNoRawReads }
func (*poller) remove(int)                   {}
func (*poller) wait([]pollEvent) []pollEvent { return nil }
func (*poller) wake()                        {}
