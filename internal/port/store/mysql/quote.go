package mysql

import "strings"

// quote makes a string literal, for statements that a person is to read or run. Sessions of the operator do
// not have NO_BACKSLASH_ESCAPES.
func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", "''", "\x00", `\0`, "\n", `\n`, "\r", `\r`, "\x1a", `\Z`).Replace(text) + "'"
}

// identifier quotes a name.
func identifier(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// tableIdentifier quotes schema.table.
func tableIdentifier(table string) string {
	schema, name, _ := strings.Cut(table, ".")
	return identifier(schema) + "." + identifier(name)
}
