package acts_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/playground/chaos/acts"
)

func TestReadTables(t *testing.T) {
	const export = `{"table":"account","row":{"phone":"1","id":"a","name":"n","created_at":5}}
{"table":"account","row":{"phone":"9","id":"of another run","name":"n","created_at":5}}
{"table":"password","row":{"phone":"1","changed_at":7}}
{"table":"profile","row":{"phone":"1","name":"n","about":"3","changed_at":8}}
{"table":"entry","row":{"id":"e","transfer_id":"b","phone":"1","amount":-4,"created_at":9}}
{"table":"transfer","row":{"payer":"1","idempotency_key":"t1","id":"b","payee":"2","amount":4,"created_at":9}}
{"table":"outbox","row":{"seq":1,"kind":"account","record_key":"9"}}
{"table":"quarantine","row":{"topic":"t","part":0,"record_offset":1,"reason":"r"}}
`
	got, err := acts.ReadTables(strings.NewReader(export), map[string]bool{"1": true, "2": true})
	if err != nil {
		t.Fatal(err)
	}
	want := acts.Tables{
		Accounts: []acts.Account{{Phone: "1", ID: "a"}}, Profiles: map[string]int{"1": 3}, Passwords: map[string]int64{"1": 7},
		Entries:  []acts.Entry{{ID: "e", Transfer: "b", Phone: "1", Amount: -4}},
		Bookings: []acts.Booking{{Payer: "1", Once: "t1", ID: "b", Payee: "2", Amount: 4}},
		Unsent:   1, Aside: 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
	for name, wrong := range map[string]string{
		"no JSON":            "not a row",
		"a table of unknown": `{"table":"secrets","row":{"phone":"1"}}`,
		"a strange profile":  `{"table":"profile","row":{"phone":"1","about":"tea"}}`,
	} {
		if _, err := acts.ReadTables(strings.NewReader(wrong), map[string]bool{"1": true}); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestTold(t *testing.T) {
	a := acts.Act{
		Kind: acts.Transfer, Phone: "1", At: "north", Call: 3 * time.Second, Return: 3500 * time.Millisecond, Status: 201,
		Payee: "2", Amount: 4, Once: "t1", Booked: "b",
	}
	if got, want := a.Told(time.Second), "2.00s + 0.50s 1 at north: transfer of 4 to 2, key t1 -> 201 b"; got != want {
		t.Errorf("it is told as %q, want %q", got, want)
	}
}
