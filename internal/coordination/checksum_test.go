package coordination

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestChecksum(t *testing.T) {
	for _, record := range []string{`{}`, `{"epoch":1}`, `{"a":"\"checksum\":\"x\"}"}`, `{"deep":{"checksum":"1"},"list":[{}]}`} {
		written := WithChecksum([]byte(record))
		if !json.Valid(written) {
			t.Errorf("%s is no JSON", written)
		}
		if err := verify(written); err != nil {
			t.Errorf("%s: %v", written, err)
		}
		// Whatever single byte is changed, added or left out.
		for i := range written {
			for name, edited := range map[string]string{
				"changed": string(written[:i]) + string(written[i]^1) + string(written[i+1:]),
				"added":   string(written[:i]) + " " + string(written[i:]),
				"removed": string(written[:i]) + string(written[i+1:]),
			} {
				if verify([]byte(edited)) == nil {
					t.Errorf("byte %d %s: %s passes", i, name, edited)
				}
			}
		}
		if err := verify([]byte(record)); !errors.Is(err, errNoChecksum) {
			t.Errorf("%s without a checksum: %v", record, err)
		}
	}
	for _, record := range []string{"", "{", "null", strings.Repeat("}", 100), `"checksum":"` + strings.Repeat("0", 32) + `"}`} {
		if verify([]byte(record)) == nil {
			t.Errorf("%q passes", record)
		}
	}
}
