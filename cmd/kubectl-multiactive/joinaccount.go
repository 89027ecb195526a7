package main

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/storeposition"
)

// hubAccess is the name of the account that the hub acts as in a region's cluster, and of its roles.
const hubAccess = "multiactive-hub-access"

// account returns what the hub's account in the region's cluster consists of, as the chart has it (hub-access.yaml;
// a test compares them). Helm takes over what is marked as its own.
func (o *joinOptions) account() []client.Object {
	mine := metav1.ObjectMeta{
		Name: hubAccess, Labels: map[string]string{"app.kubernetes.io/managed-by": "Helm"},
		Annotations: map[string]string{"meta.helm.sh/release-name": o.release, "meta.helm.sh/release-namespace": o.namespace},
	}
	in := mine
	in.Namespace = o.namespace
	who := []rbacv1.Subject{{Kind: "ServiceAccount", Name: hubAccess, Namespace: o.namespace}}
	return []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: o.namespace}},
		&corev1.ServiceAccount{ObjectMeta: in},
		&rbacv1.ClusterRole{ObjectMeta: mine, Rules: clusterRules(o.mode)},
		&rbacv1.ClusterRoleBinding{ObjectMeta: mine, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: hubAccess}, Subjects: who},
		&rbacv1.Role{ObjectMeta: in, Rules: leaseRules()},
		&rbacv1.RoleBinding{ObjectMeta: in, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: hubAccess}, Subjects: who},
	}
}

// clusterRules are what the hub may do in the whole cluster.
func clusterRules(mode string) []rbacv1.PolicyRule {
	rules := []rbacv1.PolicyRule{{
		APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"regionalservices"},
		Verbs: []string{"get", "list", "watch", "create", "patch", "delete"},
	}}
	if mode == "peer" {
		rules = append(rules, rbacv1.PolicyRule{
			APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"multiactiveservices", "operations", "regions"}, Verbs: []string{"get", "list", "watch"},
		})
	}
	return rules
}

// leaseRules let a person who adopts a coordination store say so.
func leaseRules() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{
		APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: []string{storeposition.LeaseName}, Verbs: []string{"get", "patch"},
	}}
}

// managers returns the chart's Deployments in a cluster.
func managers(ctx context.Context, c client.Client, namespace string) ([]appsv1.Deployment, error) {
	var list appsv1.DeploymentList
	err := c.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabels{"app.kubernetes.io/name": "multiactive"})
	return list.Items, err
}
