// Package publicroots has a program know the public certificate authorities where its machine knows none: the image
// is empty but for the programs, and receivers of notifications, stores and brokers may have certificates of such
// authorities. Whatever the machine has (/etc/ssl/certs, SSL_CERT_FILE) counts instead, not besides.
//
// Programs import it for its effect. It must never be imported by a library.
package publicroots

import _ "golang.org/x/crypto/x509roots/fallback" // Mozilla's list, as Go's own package
