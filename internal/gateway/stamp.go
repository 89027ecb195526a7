package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"

	"multiactive.dev/operator/internal/ownership"
)

// stampPrefix begins every stamped token.
const stampPrefix = "ma1."

// stampMACBytes of the signature are kept: cookies are short, and a forger has to ask a gateway for each try.
const stampMACBytes = 16

// stamp says where a session is, and which user it is of. It is written before the token:
// ma1.<region>.<key>.<slot>.<mac>.<token>. Applications never see it. A stamp grants nothing: whether the
// token is one, the application alone decides.
type stamp struct {
	region string
	// key is the name of the partition key that gave the slot; both are missing when the gateway knew none.
	key  string
	slot int
}

// noSlot is the slot of a session whose user's key was not known.
const noSlot = -1

// stampState is what a token says of itself.
type stampState int

const (
	unstamped stampState = iota
	genuine
	// forged: it looks like a stamped one and was not made for this token, class and service.
	forged
)

// sealer signs the stamps of one class of sessions.
type sealer struct {
	peerKey    []byte
	uid, class string
}

// seal returns the token with the stamp.
func (s *sealer) seal(m stamp, token string) string {
	slot := m.slotText()
	mac := base64.RawURLEncoding.EncodeToString(s.mac(m, slot, token))
	return stampPrefix + m.region + "." + m.key + "." + slot + "." + mac + "." + token
}

func (m *stamp) slotText() string {
	if m.slot == noSlot {
		return ""
	}
	return strconv.Itoa(m.slot)
}

// open takes the stamp off a token. The token of a forged one is the value as it is.
func (s *sealer) open(value string) (stamp, string, stampState) {
	rest, stamped := strings.CutPrefix(value, stampPrefix)
	if !stamped {
		return stamp{}, value, unstamped
	}
	parts := strings.SplitN(rest, ".", 5)
	if len(parts) != 5 || parts[4] == "" || len(s.peerKey) < minPeerKey {
		return stamp{}, value, forged
	}
	m, token := stamp{region: parts[0], key: parts[1], slot: noSlot}, parts[4]
	if parts[2] != "" {
		n, err := strconv.Atoi(parts[2])
		if err != nil || n < 0 || n >= ownership.SlotCount {
			return stamp{}, value, forged
		}
		m.slot = n
	}
	mac, err := base64.RawURLEncoding.Strict().DecodeString(parts[3])
	if err != nil || !hmac.Equal(mac, s.mac(m, parts[2], token)) {
		return stamp{}, value, forged
	}
	return m, token, genuine
}

func (s *sealer) mac(m stamp, slot, token string) []byte {
	return macOf(s.peerKey, "multiactive session v1", s.uid, s.class, m.region, m.key, slot, token)[:stampMACBytes]
}

// macOf signs parts; each goes with its length, so that no two lists have the same text.
func macOf(key []byte, parts ...string) []byte {
	m := hmac.New(sha256.New, key)
	for _, part := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		m.Write(n[:])
		m.Write([]byte(part))
	}
	return m.Sum(nil)
}
