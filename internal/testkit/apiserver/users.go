package apiserver

import (
	"crypto/rand"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Admin is a user that every server has; it may do everything (group system:masters).
const Admin = "admin"

// Requests per second of a client, above what any test does: a test waits for the server, never for
// its own client.
const (
	clientQPS   = 1000
	clientBurst = 2000
)

// tokensFile has the columns token, user, uid and groups, as kube-apiserver's --token-auth-file wants.
const (
	tokensFile   = "tokens.csv"
	tokenColumns = 4
)

// User is somebody who can log in with a token; roles are given by RBAC objects as usual.
type User struct {
	// Name as RBAC knows it, for example "multiactive:hub". Required, without commas, quotes, spaces.
	Name string
	// Groups the user belongs to, besides system:authenticated. Same characters as Name.
	Groups []string
}

// Config returns a client configuration for the user, which must be Admin or one of Options.Users. Each
// call returns a new one that the caller may change. It has no timeout, because watches have none.
func (s *Server) Config(user string) (*rest.Config, error) {
	token, err := s.token(user)
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host: s.URL(), BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: slices.Clone(s.ca)},
		QPS: clientQPS, Burst: clientBurst,
	}, nil
}

// Kubeconfig returns a self-contained kubeconfig file for the user. It holds a credential.
func (s *Server) Kubeconfig(user string) ([]byte, error) {
	token, err := s.token(user)
	if err != nil {
		return nil, err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters[s.options.Name] = &clientcmdapi.Cluster{Server: s.URL(), CertificateAuthorityData: s.ca}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts[s.options.Name] = &clientcmdapi.Context{Cluster: s.options.Name, AuthInfo: user}
	config.CurrentContext = s.options.Name
	content, err := clientcmd.Write(*config)
	if err != nil {
		return nil, fmt.Errorf("writing the kubeconfig of %s for %s: %w", s.options.Name, user, err)
	}
	return content, nil
}

func (s *Server) token(user string) (string, error) {
	token, ok := s.tokens[user]
	if !ok {
		return "", fmt.Errorf("API server %s has no user %q; add it to Options.Users", s.options.Name, user)
	}
	return token, nil
}

// ensureTokens writes the file of users and tokens, keeping the tokens of users known from an earlier
// run, and returns the tokens by user.
func ensureTokens(dir string, users []User) (map[string]string, error) {
	path := filepath.Join(dir, tokensFile)
	known, err := knownTokens(path)
	if err != nil {
		return nil, err
	}
	tokens := make(map[string]string, len(users)+1)
	var lines strings.Builder
	out := csv.NewWriter(&lines)
	for _, user := range append([]User{{Name: Admin, Groups: []string{"system:masters"}}}, users...) {
		token := known[user.Name]
		if token == "" {
			token = rand.Text()
		}
		tokens[user.Name] = token
		if err := out.Write([]string{token, user.Name, user.Name, strings.Join(user.Groups, ",")}); err != nil {
			return nil, fmt.Errorf("writing tokens: %w", err)
		}
	}
	out.Flush()
	if err := errors.Join(out.Error(), os.WriteFile(path, []byte(lines.String()), 0o600)); err != nil {
		return nil, fmt.Errorf("writing tokens: %w", err)
	}
	return tokens, nil
}

func knownTokens(path string) (map[string]string, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading tokens: %w", err)
	}
	defer func() { _ = file.Close() }()
	reader := csv.NewReader(file)
	reader.FieldsPerRecord = tokenColumns
	rows, err := reader.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("reading tokens from %s: %w", path, err)
	}
	known := make(map[string]string, len(rows))
	for _, row := range rows {
		known[row[1]] = row[0]
	}
	return known, nil
}

func validateUsers(users []User) error {
	seen := map[string]bool{Admin: true}
	for i, user := range users {
		for _, name := range append([]string{user.Name}, user.Groups...) {
			if name == "" || strings.ContainsAny(name, ", \"\t\r\n") {
				return fmt.Errorf("option Users[%d]: %q is no name of a user or group; use one without spaces, commas and quotes", i, name)
			}
		}
		if seen[user.Name] {
			return fmt.Errorf("option Users[%d].Name %q is taken; give every user its own name (%q always exists)", i, user.Name, Admin)
		}
		seen[user.Name] = true
	}
	return nil
}
