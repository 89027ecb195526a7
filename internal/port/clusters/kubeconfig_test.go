package clusters_test

import (
	"errors"
	"strings"
	"testing"

	"multiactive.dev/operator/internal/port/clusters"
)

const secret = "do-not-show-this"

const valid = `apiVersion: v1
kind: Config
current-context: main
contexts:
- {name: main, context: {cluster: bj, user: hub}}
clusters:
- {name: bj, cluster: {server: "https://10.0.0.1:6443"}}
users:
- {name: hub, user: {token: ` + secret + `}}
`

func TestParse(t *testing.T) {
	t.Parallel()
	access, err := clusters.Parse([]byte(valid))
	if err != nil {
		t.Fatal(err)
	}
	if access.Server != "https://10.0.0.1:6443" {
		t.Errorf("server %s", access.Server)
	}
	for name, c := range map[string]struct {
		old, with string
		field     string
	}{
		"not a kubeconfig":        {valid, "users: " + secret, "the document"},
		"empty":                   {valid, "", "current-context"},
		"no such context":         {"current-context: main", "current-context: other", "current-context"},
		"no such cluster":         {"cluster: bj", "cluster: sh", "contexts[].cluster"},
		"no such user":            {"user: hub", "user: nobody", "contexts[].user"},
		"plain http":              {"https://", "http://", "clusters[].cluster.server"},
		"password in the address": {"https://", "https://me:" + secret + "@", "clusters[].cluster.server"},
		"CA in a file":            {`6443"`, `6443", certificate-authority: /etc/ca`, "clusters[].cluster.certificate-authority"},
		"unverified server":       {`6443"`, `6443", insecure-skip-tls-verify: true`, "clusters[].cluster.insecure-skip-tls-verify"},
		"exec":                    {"token: " + secret, "exec: {apiVersion: client.authentication.k8s.io/v1, command: cat, interactiveMode: Never}", "users[].user.exec"},
		"auth provider":           {"token: " + secret, "auth-provider: {name: oidc}", "users[].user.auth-provider"},
		"token in a file":         {"token: " + secret, "tokenFile: /var/run/token", "users[].user.tokenFile"},
		"certificate in a file":   {"token: " + secret, "client-certificate: /etc/crt", "users[].user.client-certificate"},
		"key in a file":           {"token: " + secret, "client-key: /etc/key", "users[].user.client-key"},
		"no credentials":          {"token: " + secret, "", "users[].user"},
		"a broken CA":             {`6443"`, `6443", certificate-authority-data: "!` + secret + `"`, "the document"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := clusters.Parse([]byte(strings.Replace(valid, c.old, c.with, 1)))
			var refused *clusters.KubeconfigError
			if !errors.As(err, &refused) {
				t.Fatalf("error %v, want a KubeconfigError", err)
			}
			if refused.Field != c.field {
				t.Errorf("field %q, want %q", refused.Field, c.field)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error shows a credential: %v", err)
			}
			if refused.Problem == "" || refused.Remedy == "" {
				t.Errorf("%v: says nothing of the problem or what to do", refused)
			}
		})
	}
}
