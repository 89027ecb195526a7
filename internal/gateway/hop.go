package gateway

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/url"
	"strconv"
	"strings"
)

// minPeerKey is the least length of a key that hops are signed with, in bytes.
const minPeerKey = 16

// hop is the proof that a gateway of the same service forwarded a request. It grants nothing but
// that the request is not forwarded again and that its original host is believed: the receiver
// finds flow, key and owner by itself. A repeated hop is therefore worth no more than the
// request without it: what it says of headers and body is proven on its own where it grants anything (passage,
// sessionProof). So it need not expire, and regions whose clocks differ go on forwarding.
type hop struct {
	from, to string
	// epoch that the sender acted on.
	epoch int64
	nonce string
	// host is the Host that the user asked for.
	host string
}

// errHop is all that a caller learns about a hop that does not prove itself.
var errHop = errors.New("the hop header does not prove that a gateway of this service forwarded the request")

const hopVersion = "v1"

// newNonce makes signatures of equal requests differ.
func newNonce() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// sign returns the header's value for a request to method and uri (escaped path and query).
func (h *hop) sign(peerKey []byte, uid, method, uri string) string {
	return strings.Join([]string{
		hopVersion, h.from, h.to, strconv.FormatInt(h.epoch, 10), h.nonce, url.QueryEscape(h.host),
		base64.RawURLEncoding.EncodeToString(h.mac(peerKey, uid, method, uri)),
	}, ",")
}

// mac covers everything that the receiver believes.
func (h *hop) mac(peerKey []byte, uid, method, uri string) []byte {
	return macOf(peerKey, "multiactive hop "+hopVersion, uid, h.from, h.to, strconv.FormatInt(h.epoch, 10), h.nonce, h.host, method, uri)
}

// verifyHop checks the header's value for a request that arrived at region.
func verifyHop(value string, peerKey []byte, uid, region, method, uri string) (*hop, error) {
	parts := strings.Split(value, ",")
	if len(parts) != 7 || parts[0] != hopVersion || len(peerKey) < minPeerKey {
		return nil, errHop
	}
	epoch, err := strconv.ParseInt(parts[3], 10, 64)
	if err != nil {
		return nil, errHop
	}
	host, err := url.QueryUnescape(parts[5])
	if err != nil {
		return nil, errHop
	}
	mac, err := base64.RawURLEncoding.Strict().DecodeString(parts[6])
	if err != nil {
		return nil, errHop
	}
	h := &hop{from: parts[1], to: parts[2], epoch: epoch, nonce: parts[4], host: host}
	if !hmac.Equal(mac, h.mac(peerKey, uid, method, uri)) || h.to != region || h.from == region {
		return nil, errHop
	}
	return h, nil
}
