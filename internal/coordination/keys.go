package coordination

import (
	"fmt"
	"regexp"
	"strings"
)

// Keys below the prefix.
const (
	dirLeader        = "leader/"
	keyView          = "view"
	keyHeld          = "held"
	keyBallot        = "ballot"
	dirService       = "service/"
	dirGate          = "gate/"
	dirAgent         = "agent/"
	dirRival         = "rival/"
	dirAsk           = "ask/"
	dirBeat          = "beat/"
	dirEvidence      = "evidence/"
	dirIncident      = "incident/"
	dirAck           = "ack/"
	dirDebt          = "debt/"
	dirOrder         = "order/"
	dirTrust         = "trust/"
	dirRegionIntent  = "intent/region/"
	dirServiceIntent = "intent/service/"
	dirOrderIntent   = "intent/order/"
)

// validName is what may stand behind a directory: a name without a slash, so that no name can
// reach into another directory.
var validName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$`)

func checkName(what, name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%s %q is not usable as a key; use 1 to 253 letters, digits, '-', '.' and '_', "+
			"starting and ending with a letter or digit", what, name)
	}
	return nil
}

// normalisePrefix makes the prefix end in exactly one slash.
func normalisePrefix(prefix string) string {
	return strings.TrimRight(prefix, "/") + "/"
}
