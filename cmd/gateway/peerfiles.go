package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"multiactive.dev/operator/internal/peertls"
)

// peerIdentity returns what reads the certificate for peers from a directory. Files of two Secrets, or halves
// of one, are read together while they are replaced: they do not fit each other, and are read again.
func peerIdentity(dir string) func() (*peertls.Identity, error) {
	return func() (*peertls.Identity, error) {
		cert, certErr := os.ReadFile(filepath.Join(dir, peertls.FileCertificate))
		key, keyErr := os.ReadFile(filepath.Join(dir, peertls.FileKey))
		authorities, caErr := os.ReadFile(filepath.Join(dir, peertls.FileAuthorities))
		if errors.Is(caErr, fs.ErrNotExist) {
			caErr = nil // then the routing has them
		}
		if err := errors.Join(certErr, keyErr, caErr); err != nil {
			return nil, fmt.Errorf("reading --peer-tls-dir: %w", err)
		}
		return peertls.ParseIdentity(cert, key, authorities)
	}
}
