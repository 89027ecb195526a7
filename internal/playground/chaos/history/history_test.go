package history_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/playground/chaos/history"
)

func TestJournal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	if notes, _, err := history.ReadJournal(path, 0); err != nil || notes != nil {
		t.Fatalf("a journal that nobody has opened: %v, %v", notes, err)
	}
	j, err := history.OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	note := history.Note{Entry: history.Entry{Key: "k", ID: "a", Slot: 3}, What: history.Accepted, Begin: 1, End: 2}
	if err := j.Append(note); err != nil {
		t.Fatal(err)
	}
	notes, offset, err := history.ReadJournal(path, 0)
	if diff := cmp.Diff([]history.Note{note}, notes); diff != "" || err != nil {
		t.Fatalf("%v, notes (-want +got):\n%s", err, diff)
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if _, err := file.WriteString(`{"key":"half`); err != nil {
		t.Fatal(err)
	}
	if more, again, err := history.ReadJournal(path, offset); err != nil || more != nil || again != offset {
		t.Errorf("half a line: %v, offset %d after %d, %v", more, again, offset, err)
	}
	if _, err := file.WriteString("\"}\nnonsense\n"); err != nil {
		t.Fatal(err)
	}
	if more, _, err := history.ReadJournal(path, offset); err == nil || len(more) != 1 {
		t.Errorf("nonsense after a whole line: %v, %v", more, err)
	}
}
