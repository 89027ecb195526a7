package clusters

import (
	"fmt"
	"net/url"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// KubeconfigError says which field of a kubeconfig is refused, why, and what to do. It never holds
// the field's value.
type KubeconfigError struct {
	Field, Problem, Remedy string
}

// Error implements error.
func (e *KubeconfigError) Error() string {
	return fmt.Sprintf("kubeconfig: %s %s; %s", e.Field, e.Problem, e.Remedy)
}

// Access is a kubeconfig that was found acceptable.
type Access struct {
	// Server is the API server's URL.
	Server string
	// CA verifies it (PEM); empty: the system's roots do.
	CA []byte
	// ServerName is what the server's certificate is verified against, if not the URL's host.
	ServerName string

	config *rest.Config
}

// Parse reads a kubeconfig's current context. Only inline credentials are accepted: whoever may
// write the Secret must not be able to run programs in the hub or to read its files.
func Parse(kubeconfig []byte) (*Access, error) {
	raw, err := clientcmd.Load(kubeconfig)
	if err != nil {
		// The parser's message may quote what it could not read: a credential.
		return nil, &KubeconfigError{"the document", "is not a kubeconfig", "store the output of `kubectl config view --raw --minify --flatten`"}
	}
	current, ok := raw.Contexts[raw.CurrentContext]
	if !ok {
		return nil, &KubeconfigError{"current-context", "names no context", "set it with `kubectl config use-context`"}
	}
	cluster, ok := raw.Clusters[current.Cluster]
	if !ok {
		return nil, &KubeconfigError{"contexts[].cluster", "names no cluster", "add the cluster, or name another"}
	}
	user, ok := raw.AuthInfos[current.AuthInfo]
	if !ok {
		return nil, &KubeconfigError{"contexts[].user", "names no user", "add the user with a token or a client certificate"}
	}
	if err := checkCluster(cluster); err != nil {
		return nil, err
	}
	if err := checkUser(user); err != nil {
		return nil, err
	}
	config, err := clientcmd.NewDefaultClientConfig(*raw, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, &KubeconfigError{"the current context", "cannot be used", "check that its certificates are valid base64 PEM"}
	}
	return &Access{
		Server: cluster.Server, CA: cluster.CertificateAuthorityData, ServerName: cluster.TLSServerName, config: config,
	}, nil
}

func checkCluster(c *clientcmdapi.Cluster) error {
	server, err := url.Parse(c.Server)
	switch {
	case err != nil || server.Scheme != "https" || server.Host == "" || server.User != nil:
		return &KubeconfigError{"clusters[].cluster.server", "is not an https URL with a host", "give the API server's https address"}
	case c.CertificateAuthority != "":
		return &KubeconfigError{"clusters[].cluster.certificate-authority", "names a file", "inline it as certificate-authority-data"}
	case c.InsecureSkipTLSVerify:
		return &KubeconfigError{"clusters[].cluster.insecure-skip-tls-verify", "would send credentials to anybody", "give certificate-authority-data"}
	}
	return nil
}

func checkUser(u *clientcmdapi.AuthInfo) error {
	const inline = "use an inline token or client certificate"
	switch {
	case u.Exec != nil:
		return &KubeconfigError{"users[].user.exec", "would run a program in the hub", inline}
	case u.AuthProvider != nil:
		return &KubeconfigError{"users[].user.auth-provider", "is not supported", inline}
	case u.TokenFile != "":
		return &KubeconfigError{"users[].user.tokenFile", "names a file", "inline it as token"}
	case u.ClientCertificate != "":
		return &KubeconfigError{"users[].user.client-certificate", "names a file", "inline it as client-certificate-data"}
	case u.ClientKey != "":
		return &KubeconfigError{"users[].user.client-key", "names a file", "inline it as client-key-data"}
	case u.Token == "" && len(u.ClientCertificateData) == 0 && u.Username == "":
		return &KubeconfigError{"users[].user", "has no credentials", inline}
	}
	return nil
}

// Config returns a copy of what a client of the cluster is made with.
func (a *Access) Config() *rest.Config { return rest.CopyConfig(a.config) }
