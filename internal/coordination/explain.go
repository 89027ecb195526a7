package coordination

import (
	"errors"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// Full is what is wrong with a store that takes no writes, and what a person does about it.
const Full = "its database is full (NOSPACE) and takes no writes: raise --quota-backend-bytes or make room, with the clients' certificate " +
	"`etcdctl compact <revision>`, then `etcdctl defrag --cluster`, then `etcdctl alarm disarm`"

// Corrupt is what is wrong with a store of which a member holds other data than the others.
const Corrupt = "a member has found its database corrupt (CORRUPT), and the store takes no requests: remove that member and add it anew"

// Explain says what a person should know of why the store does not serve, and what to do, in words that are
// the same for every failure of one cause; empty when the cause is not known.
func Explain(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	var other *OtherStoreError
	switch {
	case errors.As(err, &other):
		return other.Error()
	case errors.Is(err, rpctypes.ErrNoSpace), strings.Contains(text, rpctypes.ErrorDesc(rpctypes.ErrGRPCNoSpace)):
		return Full
	case errors.Is(err, rpctypes.ErrCorrupt), strings.Contains(text, rpctypes.ErrorDesc(rpctypes.ErrGRPCCorrupt)):
		return Corrupt
	case strings.Contains(text, "x509: certificate signed by unknown authority"):
		return "its certificate is signed by an authority that --coordination-ca-file does not hold"
	case strings.Contains(text, "x509: certificate has expired"):
		return "the certificate that its member shows has expired: renew Secret coordination-server"
	case strings.Contains(text, "x509: certificate is"), strings.Contains(text, "x509: cannot validate certificate"):
		return "the certificate that its member shows is for other names than the endpoint's: " + after(text, "x509: ")
	case strings.Contains(text, "remote error: tls: "):
		return "it refuses the client's certificate (" + after(text, "remote error: ") + "): see --coordination-cert-file"
	case errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrAuthFailed), errors.Is(err, rpctypes.ErrUserEmpty):
		return "it demands an account of its own and MultiActive has none: let clients show certificates, and switch its authentication off"
	}
	return ""
}

// after returns the text from the mark on, up to a quote.
func after(text, mark string) string {
	_, rest, _ := strings.Cut(text, mark)
	rest, _, _ = strings.Cut(rest, `"`)
	return strings.TrimSpace(rest)
}
