package store

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"multiactive.dev/operator/internal/storage"
)

// Uncompared is the token of a comparison that could not be made.
const Uncompared = "uncompared"

// Compared is the state of a comparison of the region's rows with a source's. It is not changed once it is handed out.
type Compared struct {
	// Return is the epoch of the region's return that it belongs to.
	Return int64
	// Done: Rows is the outcome.
	Done bool
	Rows storage.Comparison
	// Problem keeps it from being made; empty while nothing does.
	Problem string
	// Progress says how far it is, in coarse steps; empty where nothing is known of that.
	Progress string
}

// Token names an outcome that a person may accept, "" where there is nothing to accept.
func (c *Compared) Token() string {
	switch {
	case c == nil:
		return ""
	case c.Problem != "":
		return Uncompared
	case !c.Done || len(c.Rows.Differences) == 0:
		return ""
	}
	text, err := json.Marshal(c.Rows.Differences)
	if err != nil {
		panic(err) // texts and numbers can always be written
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:4])
}

// Agrees reports whether the rows are the source's, as was found for a return of the region, or a person accepts
// what was found.
func (l LinkLook) Agrees(epoch int64) bool {
	c := l.Compared
	if c == nil || c.Return != epoch {
		return false
	}
	if token := c.Token(); token != "" {
		return l.Accepted == token
	}
	return c.Done
}

// told lists what differs, and how it is gone on from there.
func (c *Compared) told(from, annotation string) string {
	accept := fmt.Sprintf("the region gets its keys back once this is mended, or accepted with the annotation %s=%s on this link", annotation, c.Token())
	if c.Problem != "" {
		text := "the rows could not be compared with those of " + from + ", which is tried again: " + c.Problem
		if c.Progress != "" {
			text += "; it goes on " + c.Progress
		}
		return text + "; " + accept
	}
	var texts []string
	for i, d := range c.Rows.Differences {
		if i == maxFindings {
			texts = append(texts, fmt.Sprintf("and %d more parts", len(c.Rows.Differences)-i))
			break
		}
		texts = append(texts, fmt.Sprintf("%s %s: %d rows here, %d in %s", d.Table, keys(d), d.Here, d.There, from))
	}
	return "rows differ from those of " + from + ": " + strings.Join(append(texts, c.Rows.Skipped...), "; ") +
		"; compare them and mend them in one region, they are compared again every minute; " + accept
}

// keys names a range of them.
func keys(d storage.Difference) string {
	switch {
	case d.After == "" && d.UpTo == "":
		return "(all keys)"
	case d.After == "":
		return "(keys up to " + d.UpTo + ")"
	case d.UpTo == "":
		return "(keys after " + d.After + ")"
	}
	return "(keys after " + d.After + " up to " + d.UpTo + ")"
}

// same says what was found the same.
func (c *Compared) same(from string) string {
	text := fmt.Sprintf("%d rows of %d tables were compared with those of %s when the region came back, and are the same", c.Rows.Rows, c.Rows.Tables, from)
	if len(c.Rows.Skipped) > 0 {
		text += "; not compared: " + strings.Join(c.Rows.Skipped, "; ")
	}
	return text
}
