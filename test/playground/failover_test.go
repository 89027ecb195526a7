package playground_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"multiactive.dev/operator/internal/testkit/binaries"
)

const (
	// mostTransactions is what a failover may write to the coordination store, beats aside, whatever the number
	// of services.
	mostTransactions = 10
	// manyServices are enough for anything that is done for each of them to show.
	manyServices = 100
	// failoverAttempts: on a machine that does everything at once agents may see more than there is, such as a
	// region that does not answer for a moment, and write it.
	failoverAttempts = 2
	failoverTimeout  = 8 * time.Minute
)

// A region is lost: until the last gateway acts on its users' new owners that is at most ten transactions in
// the coordination store and no write to any API server, with one service and with many. The API servers, the
// store, managers and agents are real processes, and so are the gateways of one service; long polls stand for
// those of the others.
func TestFailoverWritesTheSameForManyServices(t *testing.T) {
	bin := filepath.Join(buildExample(t), "user")
	for _, services := range []int{1, manyServices} {
		t.Run(strconv.Itoa(services), func(t *testing.T) {
			for attempt := range failoverAttempts {
				out := failover(t, bin, services)
				transactions, writes := counted(t, out, "transactions", services), counted(t, out, "writes to API servers", services)
				if transactions <= mostTransactions && writes == 0 {
					return
				}
				if message := fmt.Sprintf("%d transactions, %d writes to API servers:\n%s", transactions, writes, out); attempt == failoverAttempts-1 {
					t.Error(message)
				} else {
					t.Log(message)
				}
			}
		})
	}
}

// failover kills a region in a world of its own, and returns what the playground says of it.
func failover(t *testing.T, user string, services int) string {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), failoverTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "playground"), "bench-failover", "--only=many", "--services="+strconv.Itoa(services),
		"--people=12", "--no-color", "--bin="+bin, "--program=multiactive.dev/examples/user="+user, "--dir="+filepath.Join(t.TempDir(), "world"))
	out, err := cmd.CombinedOutput() // its exit status tells of goals, which are held below
	if ctx.Err() != nil {
		t.Fatalf("the playground does not end (%v):\n%s", err, out)
	}
	return string(out)
}

// counted returns a row of the playground's table.
func counted(t *testing.T, out, what string, services int) int {
	t.Helper()
	row := regexp.MustCompile(fmt.Sprintf(`(?m)^ +%s until then, with %d services +1 +(\d+) `, what, services)).FindStringSubmatch(out)
	if row == nil {
		t.Fatalf("the playground has not counted %s:\n%s", what, out)
	}
	n, err := strconv.Atoi(row[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// buildExample builds the example service, which is a module of its own.
func buildExample(t *testing.T) string {
	t.Helper()
	root, err := binaries.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(dir, "user"), ".")
	cmd.Dir = filepath.Join(root, "examples", "user")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the example: %v\n%s", err, out)
	}
	return dir
}
