package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/jackc/pgx/v5"

	"multiactive.dev/operator/internal/port/store"
)

const (
	// publication is the name of what every server publishes.
	publication = store.Schema
	// longestPlain leaves room in the 63 bytes of a name (NAMEDATALEN, manual 4.1.1) for the prefix.
	longestPlain = 40
	longestShort = 30
	hashLength   = 8
)

// linkName is the name of the subscription that reads from a region, and of the slot that a region reads from.
// Slots allow lower-case letters, digits and underscores only (manual 27.2.6.1).
func linkName(region string) string {
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, region)
	if plain == region && len(plain) <= longestPlain {
		return store.Schema + "_" + plain
	}
	sum := sha256.Sum256([]byte(region))
	return store.Schema + "_" + plain[:min(len(plain), longestShort)] + "_" + hex.EncodeToString(sum[:])[:hashLength]
}

// linkNames are those of all regions, in the same order.
func linkNames(regions []string) []string {
	names := make([]string, len(regions))
	for i, region := range regions {
		names[i] = linkName(region)
	}
	return names
}

// quote makes an identifier.
func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// table is a declared table: schema.name, or a name of the schema public.
type table struct{ schema, name string }

// parseTable splits at the first dot: a schema's name has none, or nobody could say which is meant.
func parseTable(declared string) table {
	schema, name, found := strings.Cut(declared, ".")
	if !found {
		return table{schema: "public", name: declared}
	}
	return table{schema: schema, name: name}
}

func (t table) String() string { return t.schema + "." + t.name }

func (t table) quoted() string { return pgx.Identifier{t.schema, t.name}.Sanitize() }

// literal makes a string constant. The operator's connections have standard_conforming_strings on, which has
// been the default since 9.1; a backslash is written so that it does not matter.
func literal(text string) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\x00", ""), "'", "''")
	if strings.Contains(text, `\`) {
		return " E'" + strings.ReplaceAll(text, `\`, `\\`) + "'"
	}
	return "'" + text + "'"
}
