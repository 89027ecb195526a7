package redis

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"multiactive.dev/operator/internal/storage"
)

// notKnown is an estimate that cannot be made.
const notKnown = -1

// lossOf estimates what a server has that a source lacks.
func lossOf(w storage.Want, from storage.Source, source, mine past, keys int64) storage.Loss {
	loss := storage.Loss{Keys: keys, Span: notKnown, Bytes: notKnown}
	loss.Returning = mine.lineage != "" && mine.lineage == source.lineage
	state := []string{fmt.Sprintf("%q %q %q %q", w.Region, from.Region, mine.lineage, source.info["master_replid"])}
	for _, region := range slices.Sorted(maps.Keys(mine.canaries)) {
		state = append(state, fmt.Sprintf("%q %d", region, mine.canaries[region].Sequence))
	}
	sum := sha256.Sum256([]byte(strings.Join(state, " ")))
	loss.Token = hex.EncodeToString(sum[:4])
	if !loss.Returning {
		return loss
	}
	loss.Span = span(source.canaries, mine.canaries)
	// What the source had read of this server's log when it became the primary itself (manual, "Replication ID explained").
	if id := mine.info["master_replid"]; id != "" && id == source.info["master_replid2"] {
		loss.Bytes = max(0, mine.info.number("master_repl_offset")-source.info.number("second_repl_offset")+1)
	}
	return loss
}

// span is between the newest canary that the source has of a region and the newest that is here: a primary writes one every second.
func span(there, here map[string]storage.Canary) time.Duration {
	longest := time.Duration(notKnown)
	for region, mine := range here {
		theirs, has := there[region]
		if !has {
			return notKnown
		}
		longest = max(longest, mine.Time.Sub(theirs.Time), 0)
	}
	return longest
}

// estimate says how much would be lost, in steps of a second.
func estimate(loss storage.Loss) string {
	switch {
	case !loss.Returning:
		return "they may be other data altogether, for they do not come from that region's primary"
	case loss.Span < 0:
		return "how much is not known"
	}
	seconds := int64((loss.Span+time.Second-1)/time.Second) + 1 // and until the next canary
	text := fmt.Sprintf("what was written in about the last %d s before the region was lost", seconds)
	if loss.Bytes >= 0 {
		text += fmt.Sprintf(", %d bytes of its log", loss.Bytes)
	}
	return text
}
