// Package history holds what really happened, as those saw it who did it: what writers asked for and were
// told, what the service accepted, which regions were lost. It knows nothing of the operator; package
// check judges it.
package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Now is the true time: CLOCK_BOOTTIME, which all processes of one machine share and nobody can set.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(fmt.Sprintf("reading CLOCK_BOOTTIME: %v", err)) // Linux has had it since 2.6.39
	}
	return time.Duration(ts.Nano())
}

// Entry is one write as the service numbers it: a link of the key's chain.
type Entry struct {
	Key string `json:"key"`
	// ID is the writer's name for the write, unique in a history.
	ID string `json:"id"`
	// Prev is the ID that the key had before, empty for none; Seq counts the links.
	Prev string `json:"prev,omitempty"`
	Seq  int64  `json:"seq"`
	// Slot, Epoch and Owner are the fencing token that came with the request.
	Slot  int    `json:"slot"`
	Epoch int64  `json:"epoch"`
	Owner string `json:"owner"`
	// Region that wrote it.
	Region string `json:"region"`
	// Strict: nobody may have taken the write over for a lost home.
	Strict bool `json:"strict,omitempty"`
}

// Newer tells whether an entry replaces another: by fencing token, then by number.
func (e Entry) Newer(than Entry) bool {
	if e.Epoch != than.Epoch {
		return e.Epoch > than.Epoch
	}
	return e.Seq > than.Seq
}

// What a service notes of an entry.
const (
	// Attempted: it is about to be made durable.
	Attempted = "attempted"
	// Accepted: it is durable, and the answer is about to be given.
	Accepted = "accepted"
	// TooLate: it became durable after the request had broken off; nobody was told that it was accepted.
	TooLate = "tooLate"
	// Fenced: it was refused because a newer fencing token had been here.
	Fenced = "fenced"
)

// Note is one line of a service's journal.
type Note struct {
	Entry
	What string `json:"what"`
	// Begin is the true time at which the service had the request, End that of the note.
	Begin time.Duration `json:"begin"`
	End   time.Duration `json:"end"`
}

// Op is one write as a writer saw it.
type Op struct {
	Key, ID string
	Strict  bool
	// Asked is the region whose gateway was asked.
	Asked string
	// Call and Return are true times.
	Call, Return time.Duration
	// Status is 0 without an answer.
	Status int
	// Reason of the gateway for a refusal.
	Reason string
	// Entry is the answer when Status is 200.
	Entry Entry
}

// Acknowledged reports whether the writer was told that the write is accepted.
func (o *Op) Acknowledged() bool { return o.Status == 200 }

// Loss says that the regions agreed on the loss of one of them.
type Loss struct {
	Region string
	// Epoch from which on others may own what was the region's.
	Epoch int64
}

// Stall says when the processes of a region's service stood still: they may go on with requests that have
// broken off meanwhile.
type Stall struct {
	Region      string
	From, Until time.Duration
}

// History is what package check judges.
type History struct {
	Ops    []Op
	Notes  []Note
	Losses []Loss
	Stalls []Stall
}

// Journal appends notes to a file; they survive the process's death.
type Journal struct{ file *os.File }

// OpenJournal opens or makes a journal.
func OpenJournal(path string) (*Journal, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	return &Journal{file: file}, nil
}

// Append writes one note with one call, so that several processes may share the file.
func (j *Journal) Append(n Note) error {
	line, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	return nil
}

// ReadJournal reads the notes after offset, and returns the offset behind the last whole line. A journal
// that nobody has opened yet is empty.
func ReadJournal(path string, offset int64) ([]Note, int64, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, offset, nil
	}
	if err != nil {
		return nil, offset, fmt.Errorf("reading a journal: %w", err)
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Seek(offset, 0); err != nil {
		return nil, offset, fmt.Errorf("reading a journal: %w", err)
	}
	var out []Note
	reader := bufio.NewReader(file)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			return out, offset, nil // the end, or a line that is being written
		}
		var n Note
		if err := json.Unmarshal(line, &n); err != nil {
			return out, offset, fmt.Errorf("reading %s at byte %d: %w", path, offset, err)
		}
		offset += int64(len(line))
		out = append(out, n)
	}
}
