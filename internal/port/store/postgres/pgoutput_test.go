package postgres

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Messages as a server sends them: a transaction that came from another one, which changes a row of shop.orders.
var messages = []string{
	"B\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x0f\x42\x40\x00\x00\x00\x07",
	"O\x00\x00\x00\x00\x00\x00\x20\x00pg_16385\x00",
	"R\x00\x00\x40\x01shop\x00orders\x00f\x00\x03\x01id\x00\x00\x00\x00\x14\xff\xff\xff\xff\x01value\x00\x00\x00\x00\x19\xff\xff\xff\xff\x01long\x00\x00\x00\x00\x19\xff\xff\xff\xff",
	"U\x00\x00\x40\x01O\x00\x03t\x00\x00\x00\x011nt\x00\x00\x00\x01xN\x00\x03t\x00\x00\x00\x012t\x00\x00\x00\x04lateu",
	"T\x00\x00\x00\x01\x00\x00\x00\x40\x01",
	"C\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00\x10\x30\x00\x00\x00\x00\x00\x0f\x42\x40",
}

func TestDecoder(t *testing.T) {
	t.Parallel()
	var got []change
	d := &decoder{relations: map[uint32]described{}, take: func(c change) error { got = append(got, c); return nil }}
	for _, message := range messages {
		if err := d.read([]byte(message)); err != nil {
			t.Fatalf("%q: %v", message, err)
		}
	}
	one, two, x, text := "1", "2", "x", "late"
	want := change{
		table: table{"shop", "orders"}, columns: []string{"id", "value", "long"}, kind: 'U', whole: true, origin: "pg_16385", at: 0x1000,
		before: row{"id": &one, "value": nil, "long": &x}, after: row{"id": &two, "value": &text, "long": unchanged}, written: time.Date(2000, 1, 1, 0, 0, 1, 0, time.UTC),
	}
	emptied := want
	emptied.kind, emptied.before, emptied.after, emptied.whole = 'T', nil, nil, false
	if diff := cmp.Diff([]change{want, emptied}, got, cmp.AllowUnexported(change{}, table{})); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if got[0].after["long"] != unchanged {
		t.Error("a value that was left as it was is not told from an empty one")
	}
	if filled, ok := got[0].after.with(got[0].before); !ok || *filled["long"] != "x" {
		t.Errorf("the value that was left as it was is %v", filled)
	}
	if _, ok := got[0].after.with(row{"id": &one}); ok {
		t.Error("a value that is not known was filled in")
	}
}

// What is cut short is refused, and never taken for a row.
func TestDecoderRefuses(t *testing.T) {
	t.Parallel()
	for i, message := range messages[:len(messages)-1] {
		for length := range len(message) {
			d := &decoder{relations: map[uint32]described{}, take: func(c change) error {
				t.Errorf("%q is a change: %+v", message[:length], c)
				return nil
			}}
			for _, before := range messages[:i] {
				if before[0] != 'U' {
					_ = d.read([]byte(before))
				}
			}
			if err := d.read([]byte(message[:length])); err == nil {
				t.Errorf("%q is no message, and was taken for one", message[:length])
			}
		}
	}
	d := &decoder{relations: map[uint32]described{}}
	for _, message := range []string{"?", messages[3]} {
		if err := d.read([]byte(message)); err == nil {
			t.Errorf("%q was taken", message)
		}
	}
}
