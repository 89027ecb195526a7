package postgres

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/text/secure/precis"
)

const (
	scramPrefix     = "SCRAM-SHA-256"
	scramIterations = 4096 // the server's own default (manual 20.3.2)
	scramSalt       = 16   // bytes
)

// verifier is what a server keeps of a password (RFC 5803): with it the password itself never gets into a
// statement, and so into no log of the server.
func verifier(password string, salt []byte, iterations int) (string, error) {
	if prepared, err := precis.OpaqueString.String(password); err == nil {
		password = prepared // as clients do before they log in; what cannot be prepared is taken as it is
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("deriving the verifier of a password: %w", err)
	}
	stored := sha256.Sum256(keyed(salted, "Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s$%d:%s$%s:%s", scramPrefix, iterations, encode(salt), encode(stored[:]), encode(keyed(salted, "Server Key"))), nil
}

func keyed(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(text))
	return mac.Sum(nil)
}

// newVerifier chooses a salt.
func newVerifier(password string) (string, error) {
	salt := make([]byte, scramSalt)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	return verifier(password, salt, scramIterations)
}

// verifies tells whether what a server keeps is of the password.
func verifies(kept, password string) bool {
	fields := strings.FieldsFunc(kept, func(r rune) bool { return r == '$' || r == ':' })
	if len(fields) != 5 || fields[0] != scramPrefix {
		return false
	}
	iterations, err := strconv.Atoi(fields[1])
	if err != nil || iterations < 1 {
		return false
	}
	salt, err := base64.StdEncoding.DecodeString(fields[2])
	if err != nil {
		return false
	}
	made, err := verifier(password, salt, iterations)
	return err == nil && hmac.Equal([]byte(made), []byte(kept))
}
