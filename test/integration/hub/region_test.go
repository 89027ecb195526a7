package hub_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/testkit/apiserver"
)

// TestRegion declares regions whose kubeconfigs are wrong in every way, and mends one.
func TestRegion(t *testing.T) {
	w := newWorld(t)
	valid, err := w.servers["hub"].Kubeconfig(apiserver.Admin)
	must(t, err)
	const token = "token: "
	_, rest, _ := strings.Cut(string(valid), token)
	credential, _, _ := strings.Cut(rest, "\n")
	replaced := func(with string) []byte {
		return []byte(strings.Replace(string(valid), token+credential, with, 1))
	}
	for name, c := range map[string]struct {
		kubeconfig []byte // nil: no Secret
		reason     string
		words      []string
	}{
		"nothing":  {nil, v1alpha1.ReasonSecretNotFound, []string{"multiactive-system/nothing", "create it"}},
		"empty":    {[]byte{}, v1alpha1.ReasonKubeconfigInvalid, []string{"has no key kubeconfig"}},
		"garbage":  {[]byte("hello"), v1alpha1.ReasonKubeconfigInvalid, []string{"is not a kubeconfig"}},
		"runs":     {replaced("exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, interactiveMode: Never}"), v1alpha1.ReasonKubeconfigInvalid, []string{"users[].user.exec"}},
		"reads":    {replaced("tokenFile: /var/run/token"), v1alpha1.ReasonKubeconfigInvalid, []string{"users[].user.tokenFile"}},
		"outdated": {replaced("token: outdated"), v1alpha1.ReasonUnauthorized, []string{"renew the kubeconfig"}},
		"gone":     {[]byte(strings.Replace(string(valid), w.servers["hub"].URL(), "https://127.255.255.254:1", 1)), v1alpha1.ReasonClusterUnreachable, []string{"127.255.255.254"}},
	} {
		if c.kubeconfig != nil {
			w.kubeconfig(name, c.kubeconfig)
		}
		w.declare(name)
		eventually(w, w.hub, &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: name}}, func(r *v1alpha1.Region) error {
			if len(r.Status.Conditions) != 4 {
				return fmt.Errorf("%d conditions, want 4", len(r.Status.Conditions))
			}
			for _, condition := range r.Status.Conditions {
				if strings.Contains(condition.Message, credential) {
					t.Errorf("region %s shows a credential: %s", name, condition.Message)
				}
			}
			return is(r.Status.Conditions, "ClusterReachable", no, c.reason, c.words...)
		})
	}

	t.Log("a Secret that is mended connects; its API server becomes a probe")
	eventually(w, w.hub, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: "outdated"}}, func(s *corev1.Secret) error {
		s.Data["kubeconfig"] = valid
		return w.hub.Update(t.Context(), s)
	})
	eventually(w, w.hub, &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: "outdated"}}, func(r *v1alpha1.Region) error {
		return is(r.Status.Conditions, "ClusterReachable", yes, v1alpha1.ReasonConnected)
	})
	w.leader.retry(func(c ownership.Configuration) error {
		probes := c.RegionIntents["outdated"].Probes
		if len(probes) != 1 || probes[0].URL != w.servers["hub"].URL()+"/readyz" || len(probes[0].CABundle) == 0 {
			return fmt.Errorf("probes %+v", probes)
		}
		return nil
	})
	region := &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: "outdated"}}
	must(t, w.hub.Delete(t.Context(), region))
	w.leader.retry(func(c ownership.Configuration) error {
		if _, still := c.RegionIntents["outdated"]; still {
			return errors.New("the region is still proposed")
		}
		return nil
	})
}
