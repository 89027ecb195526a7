package chart_test

import (
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// rights are the rules of a mode's installation, by kind and name of their roles.
func rights(t *testing.T, mode string) map[string][]rbacv1.PolicyRule {
	t.Helper()
	all := map[string][]rbacv1.PolicyRule{}
	arguments := append([]string{
		"template", "release", "charts/multiactive", "--namespace", namespace, "--kube-version", kubeVersion, "--set", "mode=" + mode, "--set", "region=north",
	}, endpoints...)
	for _, o := range decode(t, run(t, "helm", arguments...)) {
		if o.GetKind() != "ClusterRole" && o.GetKind() != "Role" {
			continue
		}
		var role rbacv1.ClusterRole
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role); err != nil {
			t.Fatal(err)
		}
		all[o.GetKind()+"/"+o.GetName()] = role.Rules
	}
	return all
}

// What the operator's accounts must never get, however a rule came about.
func TestRightsAreNarrow(t *testing.T) {
	for _, mode := range []string{"hub", "member", "peer"} {
		for name, rules := range rights(t, mode) {
			for _, r := range rules {
				for _, list := range [][]string{r.APIGroups, r.Resources, r.Verbs} {
					if slices.Contains(list, "*") {
						t.Errorf("%s: %v: a wildcard", name, r)
					}
				}
				for _, verb := range []string{"escalate", "bind", "deletecollection"} {
					if slices.Contains(r.Verbs, verb) {
						t.Errorf("%s: %v: %s", name, r, verb)
					}
				}
				// All writes of our own objects are patches: whoever may update them may write over what others have written.
				if slices.Contains(r.APIGroups, "multiactive.dev") && slices.Contains(r.Verbs, "update") {
					t.Errorf("%s: %v: nothing updates our own objects", name, r)
				}
				if slices.Contains(r.Resources, "secrets") && len(r.ResourceNames) == 0 && name[:7] == "Cluster" {
					t.Errorf("%s: %v: all Secrets of the cluster", name, r)
				}
				if slices.Contains(r.Verbs, "impersonate") && (mode == "hub" || !slices.Equal(r.Resources, []string{"serviceaccounts"})) {
					t.Errorf("%s: %v: impersonates others than service accounts", name, r)
				}
				if name == "ClusterRole/multiactive-hub" && !slices.Contains(r.APIGroups, "multiactive.dev") && !slices.Contains(r.APIGroups, "events.k8s.io") &&
					!slices.Equal(r.Resources, []string{"namespaces"}) && !slices.Equal(r.Resources, []string{"dnsendpoints"}) {
					t.Errorf("%s: %v: the hub touches nothing but what is declared", name, r)
				}
			}
		}
	}
}
