package store

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/storage"
)

// defaultSkew is what clocks of writers may differ by where nothing is declared.
const defaultSkew = time.Second

// conflicts takes the policy of a class for its tables. Without any in the store, what a lost region had not shipped arrives as it is.
func (d *Declared) conflicts(c v1alpha1.StoreClass) {
	if c.Conflict == nil {
		return
	}
	for _, table := range c.Tables {
		p := storage.ConflictPolicy{Table: table, Winner: storage.WinnerNobody}
		switch last := c.Conflict.LastWriterWins; {
		case c.Conflict.Policy == v1alpha1.ConflictOwnerWins:
			p.Winner = storage.WinnerOwner
		case c.Conflict.Policy == v1alpha1.ConflictLastWriterWins && last != nil:
			p.Winner, p.TimestampColumn, p.MaxClockSkew = storage.WinnerLast, last.TimestampColumn, defaultSkew
			if last.MaxClockSkew != nil {
				p.MaxClockSkew = last.MaxClockSkew.Duration
			}
		}
		i := slices.IndexFunc(d.Want.Conflicts, func(have storage.ConflictPolicy) bool { return have.Table == table })
		switch {
		case i < 0:
			d.Want.Conflicts = append(d.Want.Conflicts, p)
		case d.Want.Conflicts[i] != p:
			d.Want.Conflicts[i] = storage.ConflictPolicy{Table: table, Winner: storage.WinnerNobody}
			d.Disagreed = append(d.Disagreed, table)
		}
	}
}

// disagreed tells of tables whose classes do not agree; empty when all do.
func (d *Declared) disagreed() string {
	if len(d.Disagreed) == 0 {
		return ""
	}
	return fmt.Sprintf("classes declare different policies in dataClasses.conflict for %s: a person decides there, until they agree", strings.Join(d.Disagreed, ", "))
}

// late tells what became of late changes, of the newest outage of each region.
func late(look Look) []v1alpha1.LateChanges {
	var out []v1alpha1.LateChanges
	for _, l := range look.Late {
		if l.Applied+l.OwnerStands+l.LateStands+l.Open == 0 {
			continue
		}
		one := v1alpha1.LateChanges{
			Region: l.Region, LostAt: metav1.NewMicroTime(time.UnixMicro(l.ID).UTC()),
			Applied: l.Applied, OwnerStands: l.OwnerStands, LateStands: l.LateStands, Open: l.Open,
		}
		for _, c := range l.Conflicts {
			one.Conflicts = append(one.Conflicts, v1alpha1.RowConflict{Table: truncate(c.Table, 320), Key: truncate(c.Key, 256), Outcome: string(c.Outcome)})
		}
		out = append(out, one)
	}
	return out
}

// open tells of conflicts that wait for a person; empty without any.
func open(look Look) string {
	for _, l := range look.Late {
		if l.Open > 0 {
			return fmt.Sprintf("rows that %s had changed before it was lost, and others since, wait for a person: they are in multiactive.conflict with "+
				"outcome Open, and what others have stands; write what is to stand, then set their outcome to Settled", l.Region)
		}
	}
	return ""
}

// errant tells of transactions that only this server has.
func errant(e *storage.Errant) string {
	text := fmt.Sprintf("this server alone has %d transactions of its region, numbers %d to %d: the region was lost before any other had received them", e.Transactions, e.First, e.Last)
	if len(e.Tables) > 0 {
		text += "; they change " + strings.Join(e.Tables[:min(maxFindings, len(e.Tables))], ", ")
	}
	if more := len(e.Tables) - maxFindings; more > 0 {
		text += fmt.Sprintf(" and %d more tables", more)
	}
	if e.Statements > 0 {
		text += fmt.Sprintf("; %d are statements such as CREATE TABLE", e.Statements)
	}
	if !e.Complete {
		text += "; not all of them could be read"
	}
	return text + ". They reach the others when the region is written to again, and what does not fit then stops links: look at them, and write or undo by " +
		"hand what is needed, or declare dataClasses.conflict. " + e.Command
}
