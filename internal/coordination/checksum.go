package coordination

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
)

// checksumField is the last field of every record that was agreed on: half of the SHA-256 of what stands
// before it, in hex. It keeps nobody out who means to; it tells what a leader has written from what was
// edited, whatever the edit says.
const (
	checksumField = `"checksum":"`
	checksumBytes = sha256.Size / 2
	checksumTail  = len(checksumField) + 2*checksumBytes + len(`"}`)
)

var (
	errNoChecksum = errors.New("it has no checksum: no leader has written it")
	errChecksum   = errors.New("its checksum is of something else: it was edited")
)

// WithChecksum adds its checksum to a record, a JSON object as encoding/json writes it.
func WithChecksum(record []byte) []byte {
	head := bytes.TrimSuffix(record, []byte("}"))
	out := make([]byte, 0, len(head)+1+checksumTail)
	out = append(out, head...)
	if len(head) > 1 {
		out = append(out, ',')
	}
	out = append(out, checksumField...)
	out = hex.AppendEncode(out, checksum(out[:len(out)-len(checksumField)]))
	return append(out, `"}`...)
}

// verify says why a record is not what a leader has written, nil if it is.
func verify(record []byte) error {
	at := len(record) - checksumTail
	if at < 0 || !bytes.HasPrefix(record[at:], []byte(checksumField)) {
		return errNoChecksum
	}
	said := record[at+len(checksumField) : len(record)-len(`"}`)]
	if hex.EncodeToString(checksum(record[:at])) != string(said) || !bytes.HasSuffix(record, []byte(`"}`)) {
		return errChecksum
	}
	return nil
}

func checksum(head []byte) []byte {
	sum := sha256.Sum256(head)
	return sum[:checksumBytes]
}
