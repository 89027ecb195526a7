package mysql

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// value of a column as statements and the operator's tables have it: nil, a number (json.Number), text (string), or
// bytes of any other kind ([]byte).
type value any

// row by column name; nil where there is none.
type row map[string]value

// valueOf turns what a binary log has into a value. Binary logs do not tell whether a number has a sign.
func (c *field) valueOf(logged any) (value, error) {
	switch v := logged.(type) {
	case nil:
		return nil, nil
	case int8:
		return c.integer(int64(v), 8), nil
	case int16:
		return c.integer(int64(v), 16), nil
	case int32:
		if c.dataType == "mediumint" {
			return c.integer(int64(v), 24), nil
		}
		return c.integer(int64(v), 32), nil
	case int64:
		return c.integer(v, 64), nil
	case int:
		return c.integer(int64(v), 64), nil
	case uint8, uint16, uint32, uint64:
		return json.Number(fmt.Sprint(v)), nil
	case float32:
		// What the server compares: a FLOAT as a DOUBLE, with all of its digits.
		return json.Number(strconv.FormatFloat(float64(v), 'e', -1, 64)), nil
	case float64:
		return json.Number(strconv.FormatFloat(v, 'e', -1, 64)), nil
	case string:
		return c.textual([]byte(v)), nil
	case []byte:
		return c.textual(v), nil
	}
	return nil, fmt.Errorf("column %s: a binary log has it as %T, which is not known", c.name, logged)
}

func (c *field) integer(v int64, bits int) value {
	unsigned := c.unsigned || c.kind == kindOrdinal
	if unsigned && bits < 64 {
		v &= 1<<bits - 1
	}
	if unsigned && bits == 64 {
		return json.Number(strconv.FormatUint(uint64(v), 10)) //nolint:gosec // the same 64 bits, without their sign
	}
	return json.Number(strconv.FormatInt(v, 10))
}

func (c *field) textual(v []byte) value {
	switch c.kind {
	case kindNumber, kindFloat, kindOrdinal:
		return json.Number(v)
	case kindBytes:
		if c.dataType == "binary" && len(v) < c.octets {
			v = append(bytes.Clone(v), make([]byte, c.octets-len(v))...) // binary logs leave zeros at the end out
		}
		if c.charset != "" && readable(c.charset, v) {
			return string(v)
		}
		return bytes.Clone(v)
	default:
		return string(v)
	}
}

// strange character sets do not have ASCII's characters as ASCII has them.
var strange = []string{"ucs2", "utf16", "utf16le", "utf32", "sjis", "cp932", "eucjpms", "swe7"}

// readable reports whether bytes of a character set are ASCII, which people can read in a quarantine.
func readable(charset string, v []byte) bool {
	return !slices.Contains(strange, charset) && !slices.ContainsFunc(v, func(b byte) bool { return b >= 0x80 })
}

// literal writes a value for a statement.
func (c *field) literal(v value) string {
	switch v := v.(type) {
	case json.Number:
		return v.String()
	case string:
		return "_utf8mb4" + quote(v)
	case []byte:
		text := "x'" + hex.EncodeToString(v) + "'"
		if c.charset != "" {
			return "CONVERT(" + text + " USING " + c.charset + ")"
		}
		return text
	}
	return "NULL"
}

// equals is a condition that holds if the column has exactly this value.
func (c *field) equals(v value) string {
	name := identifier(c.name)
	switch {
	case v == nil:
		return name + " IS NULL"
	case c.kind == kindOrdinal:
		return name + " + 0 <=> " + c.literal(v)
	case c.kind == kindText, c.kind == kindBytes:
		return "CAST(" + name + " AS BINARY) <=> CAST(" + c.literal(v) + " AS BINARY)"
	case c.kind == kindMoment:
		text, _ := v.(string)
		return name + " <=> " + quote(text)
	}
	return name + " <=> " + c.literal(v)
}

// shown is an expression whose text read parses.
func (c *field) shown() string {
	name := identifier(c.name)
	switch c.kind {
	case kindOrdinal:
		return name + " + 0"
	case kindFloat:
		return name + " + 0e0"
	case kindText:
		return name
	case kindBytes:
		return "HEX(" + name + ")"
	default:
		return "CAST(" + name + " AS CHAR)"
	}
}

func (c *field) read(text *string) (value, error) {
	if text == nil {
		return nil, nil
	}
	switch c.kind {
	case kindNumber, kindFloat, kindOrdinal:
		return json.Number(*text), nil
	case kindBytes:
		decoded, err := hex.DecodeString(*text)
		return c.textual(decoded), err
	default:
		return *text, nil
	}
}

// encode writes columns of a row as a JSON object, in their order.
func encode(columns []*field, r row) (string, error) {
	if r == nil {
		return "", nil
	}
	var out bytes.Buffer
	out.WriteByte('{')
	for i, c := range columns {
		if i > 0 {
			out.WriteByte(',')
		}
		var v any = r[c.name]
		if raw, is := v.([]byte); is {
			v = map[string]string{"hex": hex.EncodeToString(raw)}
		}
		for j, part := range []any{c.name, v} {
			if j == 1 {
				out.WriteByte(':')
			}
			encoder := json.NewEncoder(&out)
			encoder.SetEscapeHTML(false)
			if err := encoder.Encode(part); err != nil {
				return "", err
			}
			out.Truncate(out.Len() - 1) // its newline
		}
	}
	out.WriteByte('}')
	return out.String(), nil
}

// decode reads what encode wrote.
func decode(text string) (row, error) {
	if text == "" {
		return nil, nil
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var raw map[string]any
	if err := decoder.Decode(&raw); err != nil {
		return nil, err
	}
	r := row{}
	for name, v := range raw {
		if object, is := v.(map[string]any); is {
			text, _ := object["hex"].(string)
			decoded, err := hex.DecodeString(text)
			if err != nil {
				return nil, err
			}
			r[name] = decoded
			continue
		}
		r[name] = v
	}
	return r, nil
}
