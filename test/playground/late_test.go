package playground_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/testkit"
)

// TestLateChangesAreSettled loses a region that has written what the other one has not received, to slots that the other
// one then writes to. When it is back both end with the same rows: what nobody else had written, and otherwise what the region that
// took over had. The incident tells how many there were, and the database keeps both versions. How long the outage was and how much
// was at risk it tells as somebody measures it who knows nothing of the operator.
func TestLateChangesAreSettled(t *testing.T) {
	w := ordersWorld(t)
	l := newLedger(t, w)
	l.declare()
	l.await("StoresReady")
	l.await("ReplicationHealthy")
	l.await("FieldsActedOn")

	const owned = "SELECT s.slot FROM multiactive.fence f JOIN multiactive.fence_slot s USING (service, slot_set) WHERE f.service = ? AND f.owner = 'south' ORDER BY s.slot LIMIT 3"
	var slots []int
	testkit.Eventually(t, storyTimeout, func() error {
		slots = nil
		rows, err := l.root["south"].QueryContext(t.Context(), owned, ledgerService)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var slot int
			if err := rows.Scan(&slot); err != nil {
				return err
			}
			slots = append(slots, slot)
		}
		if len(slots) != 3 {
			return fmt.Errorf("south owns %v", slots)
		}
		return rows.Err()
	})
	both, alone, steady := slots[0], slots[1], slots[2]
	writes := func(region string, slot int) {
		t.Helper()
		testkit.Eventually(t, storyTimeout, func() error {
			wrote, err := entry(t.Context(), l.dbs[region], region, slot)
			if err == nil && !wrote {
				err = errors.New("the fence does not let it")
			}
			return err
		})
	}
	has := func(region, want string) {
		t.Helper()
		testkit.Eventually(t, storyTimeout, func() error {
			var got string
			err := l.root[region].QueryRowContext(t.Context(), "SELECT COALESCE(GROUP_CONCAT(slot, '/', n, ' ', region ORDER BY slot, n), '') FROM shop.ledger WHERE slot <> ?", steady).Scan(&got)
			if err != nil || got != want {
				return fmt.Errorf("%s has %s, want %s (%w): %s", region, got, want, err, w.kubectl("hub", "-n", "shop", "get", "multiactiveservice", "orders", "-o", "jsonpath={.status.conditions}"))
			}
			return nil
		})
	}
	writes("south", both)
	has("north", fmt.Sprintf("%d/1 south", both))

	outside := watchFromOutside(w, l, "north", "south", steady)
	outside.writes(20)

	// A link that is paused stands for one that is slow.
	const link = "store-orders-db-from-south"
	w.kubectl("north", "annotate", "replicationlink", link, "multiactive.dev/paused=yes")
	testkit.Eventually(t, storyTimeout, func() error {
		var stopped string
		err := l.root["north"].QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.processlist WHERE command = 'Slave_IO'").Scan(&stopped)
		if err != nil || stopped != "0" {
			return fmt.Errorf("north still receives (%w)", err)
		}
		return nil
	})
	writes("south", both)
	writes("south", alone)
	outside.writes(200) // ten seconds
	lost := time.Now()
	l.lose("south")
	recovery, lag, status := w.incident("south", link)
	outside.end()
	unshipped := l.measure(outside, steady, lost, recovery, lag, status)
	w.kubectl("north", "annotate", "replicationlink", link, "multiactive.dev/paused-")
	writes("north", both)
	l.comeBack("south")
	want := fmt.Sprintf("%d/1 south,%d/2 north,%d/1 south", both, both, alone)
	has("north", want)
	has("south", want)
	testkit.Eventually(t, storyTimeout, func() error {
		_, _, status := w.incident("south", link)
		// An entry whose answer was cut off by the kill may be there.
		if late := status.LateChanges; len(late) != 1 || late[0].OwnerStands != 1 || late[0].Applied < 1+unshipped || late[0].Applied > 2+unshipped ||
			len(late[0].Conflicts) != 1 || late[0].Conflicts[0].Table != "shop.ledger" {
			return fmt.Errorf("of %d unshipped entries and two more the incident says %+v", unshipped, late)
		}
		return nil
	})
	for _, region := range []string{"north", "south"} {
		var late, other string
		if err := l.root[region].QueryRowContext(t.Context(), "SELECT late_row, other_row FROM multiactive.conflict WHERE outcome = 'OwnerStands'").Scan(&late, &other); err != nil ||
			!strings.Contains(late, `"region":"south"`) || !strings.Contains(other, `"region":"north"`) {
			t.Errorf("%s has the versions %s and %s (%v)", region, late, other, err)
		}
	}
}

// measure compares what the incident tells with what was seen outside: for how long payments were refused, and how much time of
// acknowledged entries has not arrived in the north. It returns how many these are.
func (l *ledger) measure(outside *outsider, slot int, lost time.Time, recovery, lag time.Duration, status v1alpha1.RegionIncidentStatus) int64 {
	l.t.Helper()
	reads, _ := outside.outage(http.MethodGet, lost)
	paying, met := outside.outage(http.MethodPut, lost)
	if reads > time.Second || met == 0 {
		l.t.Errorf("reads were not served for %s; of customers who could not pay for a while there are %d", reads, met)
	}
	l.t.Logf("the incident tells %+v", status.Timeline)
	near(l.t, "recovery", recovery, paying)

	var arrived int
	if err := l.root["north"].QueryRowContext(l.t.Context(), "SELECT COUNT(*) FROM shop.ledger WHERE slot = ?", slot).Scan(&arrived); err != nil {
		l.t.Fatal(err)
	}
	entries, span := outside.unshipped(arrived)
	if entries < 200 {
		l.t.Errorf("%d entries were acknowledged and have not arrived, though the link was paused for 200", entries)
	}
	near(l.t, "data at risk", lag, span)
	if summary, err := time.ParseDuration(status.DataAtRiskSummary); err != nil || summary != lag {
		l.t.Errorf("in short %q is at risk, want %s", status.DataAtRiskSummary, lag)
	}
	if most := status.DataAtRisk[0].AtMost; most == nil || most.Duration < lag {
		l.t.Errorf("at most %v is at risk, of %s", most, lag)
	} else {
		l.t.Logf("at most %s is at risk", most.Duration)
	}
	return int64(entries)
}
