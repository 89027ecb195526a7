package world

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/crds"
)

const (
	hubRole    = "hub"
	memberRole = "member"
	peerRole   = "peer"
	// remoteUser is whom the hub is in the regions' clusters.
	remoteUser   = "multiactive-hub"
	fieldManager = "playground"
	// labelAllowed on a namespace lets services run there.
	labelAllowed = "multiactive.dev/services"
)

// account is the operator's service account as a user with a token.
func account(role string) apiserver.User {
	return apiserver.User{
		Name:   "system:serviceaccount:" + Namespace + ":multiactive-" + role,
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + Namespace},
	}
}

// installHub installs CRDs, roles, the service's namespace and the Regions.
func (w *World) installHub(ctx context.Context) error {
	roles := []string{hubRole}
	if w.witness != nil {
		roles = append(roles, memberRole)
	}
	c, err := w.install(ctx, w.hub, roles...)
	if err != nil {
		return err
	}
	for _, r := range w.regions {
		if err := w.joinRegion(ctx, c, r); err != nil {
			return err
		}
	}
	if w.witness == nil {
		return nil
	}
	region := &v1alpha1.Region{Spec: v1alpha1.RegionSpec{Role: v1alpha1.RegionRoleWitness}}
	region.Name = WitnessName
	return apply(ctx, c, region)
}

// installRegion installs CRDs, roles and what the service needs into a region's cluster.
func (w *World) installRegion(ctx context.Context, r *Region) error {
	c, err := w.install(ctx, r.cluster, w.regionRole())
	if err != nil {
		return err
	}
	return applyAll(ctx, c, w.remoteRole()...)
}

// joinPeers declares every region in every region's cluster, in peer mode.
func (w *World) joinPeers(ctx context.Context) error {
	if !w.options.Peer {
		return nil
	}
	for _, at := range w.regions {
		c, err := at.Client()
		if err != nil {
			return err
		}
		for _, r := range w.regions {
			if err := w.joinRegion(ctx, c, r); err != nil {
				return fmt.Errorf("declaring region %s in %s: %w", r.Name, at.Name, err)
			}
		}
	}
	return nil
}

// install does what the hub and the regions have in common, and returns a client.
func (w *World) install(ctx context.Context, server *apiserver.Server, roles ...string) (client.Client, error) {
	config, err := server.Config(apiserver.Admin)
	if err != nil {
		return nil, err
	}
	if _, err := crds.InstallDir(ctx, config, filepath.Join(w.options.Root, "config", "crd", "bases")); err != nil {
		return nil, err
	}
	c, err := newClient(config)
	if err != nil {
		return nil, err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: Namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	if err := apply(ctx, c, namespace); err != nil {
		return nil, err
	}
	for _, role := range roles {
		objects, err := w.roleObjects(role)
		if err != nil {
			return nil, err
		}
		if err := applyAll(ctx, c, objects...); err != nil {
			return nil, err
		}
		if err := w.writeKubeconfig(server, role); err != nil {
			return nil, err
		}
	}
	for _, m := range w.options.manifests() {
		if err := applyAll(ctx, c, m.tenantObjects()...); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// roleObjects reads the operator's roles from config/rbac.
func (w *World) roleObjects(role string) ([]client.Object, error) {
	dir := filepath.Join(w.options.Root, "config", "rbac", role)
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("reading the roles of the %s: %w", role, err)
	}
	var out []client.Object
	hasRole := false
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		hasRole = hasRole || filepath.Base(file) == "role.yaml"
		documents, err := readDocuments(file)
		if err != nil {
			return nil, fmt.Errorf("reading the roles of the %s: %w", role, err)
		}
		for _, document := range documents {
			if !strings.HasPrefix(document.GetKind(), "Cluster") {
				document.SetNamespace(Namespace)
			}
			out = append(out, document)
		}
	}
	if !hasRole {
		return nil, fmt.Errorf("reading the roles of the %s: %s has no role.yaml: run `make generate`", role, dir)
	}
	return out, nil
}

// remoteRole lets the hub do in a region's cluster what it has to: write slices, see that the cluster is
// there, and, in peer mode, read its copies of what is declared.
func (w *World) remoteRole() []client.Object {
	name := metav1.ObjectMeta{Name: "multiactive-hub-remote"}
	role := &rbacv1.ClusterRole{ObjectMeta: name, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"regionalservices"},
			Verbs: []string{"get", "list", "watch", "create", "update", "patch", "delete"}},
		{NonResourceURLs: []string{"/readyz", "/readyz/*", "/version"}, Verbs: []string{"get"}},
	}}
	if w.options.Peer {
		role.Rules = append(role.Rules, rbacv1.PolicyRule{
			APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"multiactiveservices", "operations", "regions"}, Verbs: []string{"get", "list", "watch"},
		})
	}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: name,
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: remoteUser}},
	}
	return []client.Object{role, binding}
}

// tenantObjects are what the service needs in every cluster: the manifest's, or the least that works.
func (m *Manifest) tenantObjects() []client.Object {
	var first, rest []client.Object
	for _, o := range m.Others {
		if o.GetKind() == "Namespace" {
			first = append(first, o.DeepCopy())
		} else {
			rest = append(rest, o.DeepCopy())
		}
	}
	if !m.hasNamespace() {
		first = append(first, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: m.Service.Namespace, Labels: map[string]string{labelAllowed: "allowed"},
		}})
		rest = append(rest, deployer(m.Service)...)
	}
	return append(first, rest...)
}

// deployer is the account that the workload is written as, and its role.
func deployer(s *v1alpha1.MultiActiveService) []client.Object {
	name := s.Spec.Workload.ServiceAccountName
	if name == "" {
		return nil
	}
	meta := metav1.ObjectMeta{Name: name, Namespace: s.Namespace}
	verbs := []string{"get", "list", "watch", "create", "update", "patch", "delete"}
	return []client.Object{
		&corev1.ServiceAccount{ObjectMeta: meta},
		&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: verbs},
			{APIGroups: []string{""}, Resources: []string{"services"}, Verbs: verbs},
		}},
		&rbacv1.RoleBinding{ObjectMeta: meta,
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: name, Namespace: s.Namespace}},
		},
	}
}

// joinRegion declares a region to the hub, with the kubeconfig of a narrow user.
func (w *World) joinRegion(ctx context.Context, c client.Client, r *Region) error {
	kubeconfig, err := r.cluster.Kubeconfig(remoteUser)
	if err != nil {
		return err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: r.Name, Namespace: Namespace},
		Data:       map[string][]byte{"kubeconfig": kubeconfig},
	}
	region := &v1alpha1.Region{}
	if known := w.options.Manifest.Regions[r.Name]; known != nil {
		region.Spec.DisplayName = known.Spec.DisplayName
	}
	region.Name = r.Name
	region.Spec.Role = v1alpha1.RegionRoleActive
	region.Spec.Cluster = &v1alpha1.ClusterAccess{KubeconfigSecretRef: v1alpha1.SecretReference{Name: r.Name}}
	region.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{labelAllowed: "allowed"}},
	}
	region.Spec.Kafka = &v1alpha1.RegionKafka{
		BootstrapServers: []string{r.Kafka()},
		Management:       &v1alpha1.KafkaManagement{Type: v1alpha1.KafkaManagementAdmin},
	}
	region.Spec.Probes = []v1alpha1.RegionProbe{{Name: "agent", HTTP: v1alpha1.HTTPProbe{URL: r.network.agentURL() + "/healthz"}}}
	return applyAll(ctx, c, secret, region)
}

// kubeconfigFile is where the kubeconfig of a role, or of the administrator, lies.
func (w *World) kubeconfigFile(cluster, role string) string {
	return filepath.Join(w.options.Dir, "kubeconfigs", cluster+"-"+role+".yaml")
}

func (w *World) writeKubeconfig(server *apiserver.Server, role string) error {
	dir := filepath.Join(w.options.Dir, "kubeconfigs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("writing kubeconfigs: %w", err)
	}
	for name, user := range map[string]string{role: account(role).Name, apiserver.Admin: apiserver.Admin} {
		content, err := server.Kubeconfig(user)
		if err != nil {
			return err
		}
		if err := os.WriteFile(w.kubeconfigFile(server.Name(), name), content, 0o600); err != nil {
			return fmt.Errorf("writing kubeconfigs: %w", err)
		}
	}
	return nil
}

func newScheme() (*runtime.Scheme, error) {
	types := runtime.NewScheme()
	return types, errors.Join(scheme.AddToScheme(types), v1alpha1.AddToScheme(types))
}

func newClient(config *rest.Config) (client.Client, error) {
	types, err := newScheme()
	if err != nil {
		return nil, err
	}
	return client.New(config, client.Options{Scheme: types})
}

func applyAll(ctx context.Context, c client.Client, objects ...client.Object) error {
	for _, o := range objects {
		if err := apply(ctx, c, o); err != nil {
			return err
		}
	}
	return nil
}

// apply writes an object as `kubectl apply --server-side` does.
func apply(ctx context.Context, c client.Client, object client.Object) error {
	u, ok := object.(*unstructured.Unstructured)
	if !ok {
		kind, err := apiutil.GVKForObject(object, c.Scheme())
		if err != nil {
			return fmt.Errorf("applying %s: %w", object.GetName(), err)
		}
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			return fmt.Errorf("applying %s %s: %w", kind.Kind, object.GetName(), err)
		}
		u = &unstructured.Unstructured{Object: content}
		u.SetGroupVersionKind(kind)
		unstructured.RemoveNestedField(u.Object, "status")
		unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	}
	if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("applying %s %s: %w", u.GetKind(), u.GetName(), err)
	}
	return nil
}

// open waits until an address takes connections.
func open(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}
