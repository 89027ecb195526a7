package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net/http"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	admission "sigs.k8s.io/controller-runtime/pkg/webhook"

	"multiactive.dev/operator/controllers/hub/webhookcerts"
	"multiactive.dev/operator/internal/ownca"
	"multiactive.dev/operator/internal/webhook"
)

// webhookOptions are the flags of the webhook that refuses bad designs.
type webhookOptions struct {
	port                        int
	host, secret, configuration string
	certDir                     string

	// certificates of the server are made here; nil when somebody else keeps them.
	certificates *webhookcerts.Reconciler
}

func (o *webhookOptions) bind(fs *flag.FlagSet) {
	fs.IntVar(&o.port, "webhook-port", 0, "modes hub and peer: port that serves the webhook that refuses bad designs; 0: none")
	fs.StringVar(&o.host, "webhook-host", "", "modes hub and peer: host that the API server calls, such as multiactive-webhook.multiactive-system.svc")
	fs.StringVar(&o.secret, "webhook-secret", "multiactive-webhook",
		"modes hub and peer: Secret in the operator's namespace that keeps the webhook's certificate and the authority that signs it; it has to be there, empty at first")
	fs.StringVar(&o.configuration, "webhook-configuration", "multiactive",
		"modes hub and peer: ValidatingWebhookConfiguration that is told which authority to trust")
	fs.StringVar(&o.certDir, "webhook-cert-dir", "",
		"modes hub and peer: directory with tls.crt and tls.key that somebody else keeps, such as cert-manager. Default: the hub makes and renews them")
}

func (o *webhookOptions) validate(mode string) error {
	switch {
	case o.port == 0:
		return nil
	case o.port < 0 || o.port > 65535:
		return fmt.Errorf("--webhook-port=%d is no port: 1 to 65535, or 0 for none", o.port)
	case mode == modeMember:
		return errors.New("--webhook-port is for the modes hub and peer: a member has no designs to judge")
	case o.certDir == "" && o.host == "":
		return errors.New("--webhook-host is required with --webhook-port: the host that the API server calls, or give --webhook-cert-dir")
	}
	return nil
}

// server returns the manager's webhook server, nil for none.
func (o *webhookOptions) server() admission.Server {
	if o.port == 0 {
		return nil
	}
	s := admission.Options{Port: o.port, CertDir: o.certDir, TLSOpts: []func(*tls.Config){func(c *tls.Config) { c.MinVersion = tls.VersionTLS12 }}}
	if o.certDir == "" {
		o.certificates = &webhookcerts.Reconciler{Clock: clock.RealClock{}}
		s.TLSOpts = append(s.TLSOpts, func(c *tls.Config) { c.GetCertificate = o.certificates.GetCertificate })
	}
	return admission.NewServer(s)
}

// cached is the only webhook configuration that is kept in memory.
func (o *webhookOptions) cached() map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		&admissionv1.ValidatingWebhookConfiguration{}: {Field: fields.OneTermEqualSelector("metadata.name", o.configuration)},
	}
}

// setup serves the webhook, and keeps its certificate.
func (o *webhookOptions) setup(mgr ctrl.Manager, namespace string) error {
	if o.port == 0 {
		return nil
	}
	if r := o.certificates; r != nil {
		r.Client = mgr.GetClient()
		r.Options = webhookcerts.Options{
			Namespace: namespace, Secret: o.secret, Configuration: o.configuration, Host: o.host,
			Lifetimes: ownca.Lifetimes{Certificate: ownca.DefaultCertificate, Authority: ownca.DefaultAuthority},
		}
		if err := r.SetupWithManager(mgr); err != nil {
			return err
		}
		// Until then the API server would call in vain: other replicas, or those of the version before, answer.
		if err := mgr.AddReadyzCheck("webhook", func(*http.Request) error { _, err := r.GetCertificate(nil); return err }); err != nil {
			return fmt.Errorf("adding the readiness check of the webhook: %w", err)
		}
	}
	return (&webhook.Design{Reader: mgr.GetClient()}).SetupWithManager(mgr)
}
