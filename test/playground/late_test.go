package playground_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"multiactive.dev/operator/internal/testkit"
)

// TestLateChangesAreSettled loses a region that has written what the other one has not received, to slots that the other
// one then writes to. When it is back both end with the same rows: what nobody else had written, and otherwise what the region that
// took over had. The incident tells how many there were, and the database keeps both versions.
func TestLateChangesAreSettled(t *testing.T) {
	w := ordersWorld(t)
	l := newLedger(t, w)
	l.declare()
	l.await("StoresReady")
	l.await("ReplicationHealthy")
	l.await("FieldsActedOn")

	const owned = "SELECT s.slot FROM multiactive.fence f JOIN multiactive.fence_slot s USING (service, slot_set) WHERE f.service = ? AND f.owner = 'south' ORDER BY s.slot LIMIT 2"
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
		if len(slots) != 2 {
			return fmt.Errorf("south owns %v", slots)
		}
		return rows.Err()
	})
	both, alone := slots[0], slots[1]
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
			err := l.root[region].QueryRowContext(t.Context(), "SELECT COALESCE(GROUP_CONCAT(slot, '/', n, ' ', region ORDER BY slot, n), '') FROM shop.ledger").Scan(&got)
			if err != nil || got != want {
				return fmt.Errorf("%s has %s, want %s (%w): %s", region, got, want, err, w.kubectl("hub", "-n", "shop", "get", "multiactiveservice", "orders", "-o", "jsonpath={.status.conditions}"))
			}
			return nil
		})
	}
	writes("south", both)
	has("north", fmt.Sprintf("%d/1 south", both))

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
	l.lose("south")
	testkit.Eventually(t, storyTimeout, func() error {
		risk := w.kubectl("hub", "get", "regionincidents", "-o", "jsonpath={.items[*].status.dataAtRisk}")
		if !strings.Contains(risk, link) {
			return errors.New("at risk the incident names " + risk)
		}
		t.Log("at risk: " + risk)
		return nil
	})
	w.kubectl("north", "annotate", "replicationlink", link, "multiactive.dev/paused-")
	writes("north", both)
	l.comeBack("south")
	want := fmt.Sprintf("%d/1 south,%d/2 north,%d/1 south", both, both, alone)
	has("north", want)
	has("south", want)
	testkit.Eventually(t, storyTimeout, func() error {
		told := w.kubectl("hub", "get", "regionincidents", "-o", "jsonpath={.items[*].status.lateChanges}")
		if !strings.Contains(told, `"ownerStands":1`) || !strings.Contains(told, `"applied":1`) || !strings.Contains(told, `"table":"shop.ledger"`) {
			return errors.New("the incident says " + told)
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
