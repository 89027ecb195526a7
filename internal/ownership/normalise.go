package ownership

import (
	"fmt"
	"strings"
)

// Steps that normalise a partition key.
const (
	// NormaliseTrim drops white space (Unicode) at both ends.
	NormaliseTrim = "Trim"
	// NormaliseLowercase maps letters to lower case (Unicode, no locale).
	NormaliseLowercase = "Lowercase"
	// NormaliseDigitsOnly keeps the ASCII digits: "+86 138-0013" becomes "861380013".
	NormaliseDigitsOnly = "DigitsOnly"
)

// Normalise applies the steps in order, so that spellings of one key fall into one slot. An
// unknown step is an error: ignoring it would send a key to another region.
func Normalise(key string, steps []string) (string, error) {
	for _, step := range steps {
		switch step {
		case NormaliseTrim:
			key = strings.TrimSpace(key)
		case NormaliseLowercase:
			key = strings.ToLower(key)
		case NormaliseDigitsOnly:
			key = strings.Map(func(r rune) rune {
				if r < '0' || r > '9' {
					return -1
				}
				return r
			}, key)
		default:
			return "", fmt.Errorf("normalising a key: unknown step %q; use %s, %s or %s",
				step, NormaliseTrim, NormaliseLowercase, NormaliseDigitsOnly)
		}
	}
	return key, nil
}
