package peertls

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"
)

// trustDomain is the host of every name. The names of two installations may be equal: what tells them
// apart are the authorities that each of them trusts.
const trustDomain = "multiactive.dev"

// ID is whom a certificate belongs to: the gateways of one service in one region.
type ID struct {
	Region string
	// Namespace and Name of the MultiActiveService.
	Namespace, Name string
}

// URI is the name that a certificate carries, as its only URI:
// spiffe://multiactive.dev/region/beijing/ns/accounts/service/user.
func (id ID) URI() *url.URL {
	return &url.URL{Scheme: "spiffe", Host: trustDomain, Path: "/region/" + id.Region + "/ns/" + id.Namespace + "/service/" + id.Name}
}

// String returns URI as text.
func (id ID) String() string { return id.URI().String() }

// IDOf returns whom a certificate names.
func IDOf(cert *x509.Certificate) (ID, error) {
	if len(cert.URIs) != 1 {
		return ID{}, fmt.Errorf("the certificate has %d URIs, and must have one, such as %s", len(cert.URIs),
			ID{Region: "beijing", Namespace: "accounts", Name: "user"})
	}
	uri := cert.URIs[0]
	parts := strings.Split(uri.Path, "/")
	if len(parts) != 7 || parts[1] != "region" || parts[3] != "ns" || parts[5] != "service" {
		return ID{}, errForeignName
	}
	id := ID{Region: parts[2], Namespace: parts[4], Name: parts[6]}
	if id.Region == "" || id.Namespace == "" || id.Name == "" || uri.String() != id.String() {
		return ID{}, errForeignName
	}
	return id, nil
}
