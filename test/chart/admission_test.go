package chart_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/binaries"
)

// Users as the API server knows them.
const (
	hubUser     = "system:serviceaccount:" + namespace + ":multiactive-hub-access"
	memberUser  = "system:serviceaccount:" + namespace + ":multiactive-member"
	cleanerUser = "system:serviceaccount:kube-system:namespace-controller"
	editorUser  = "editor"
	foreignHub  = "hub-of-old"
)

var (
	slicesResource = schema.GroupVersionResource{Group: "multiactive.dev", Version: "v1alpha1", Resource: "regionalservices"}
	linksResource  = schema.GroupVersionResource{Group: "multiactive.dev", Version: "v1alpha1", Resource: "replicationlinks"}
)

// guarded is a region's cluster with the chart's accounts, rights and policies, and people who may edit everything.
type guarded struct {
	t       *testing.T
	clients map[string]dynamic.Interface
	slice   []byte
}

func newGuarded(t *testing.T, manifests []byte) *guarded {
	t.Helper()
	users := []string{hubUser, memberUser, cleanerUser, editorUser, foreignHub}
	var options apiserver.Options
	for _, name := range users {
		options.Users = append(options.Users, apiserver.User{Name: name})
	}
	server := testkit.StartServer(t, options)
	g := &guarded{t: t, clients: map[string]dynamic.Interface{}}
	admin, err := kubernetes.NewForConfig(testkit.Config(t, server, apiserver.Admin))
	if err != nil {
		t.Fatal(err)
	}
	c := newCluster(t, server)
	testkit.InstallCRDs(t, server)
	for _, o := range decode(t, manifests) {
		if o.GetKind() != "CustomResourceDefinition" && o.GetKind() != "Pod" {
			c.apply(t, o)
		}
	}
	c.apply(t, &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "accounts"}}})
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "editors"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
	}
	for _, name := range []string{editorUser, cleanerUser, foreignHub} {
		binding.Subjects = append(binding.Subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name})
	}
	if _, err := admin.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range users {
		if g.clients[name], err = dynamic.NewForConfig(testkit.Config(t, server, name)); err != nil {
			t.Fatal(err)
		}
	}
	g.slice = g.sample("test/api/testdata/regionalservice.yaml", "accounts")
	return g
}

// sample is the object that the API's tests start from, for the namespace.
func (g *guarded) sample(path, in string) []byte {
	g.t.Helper()
	root, err := binaries.ModuleRoot()
	if err != nil {
		g.t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		g.t.Fatal(err)
	}
	var file struct {
		Bases map[string]map[string]any `json:"bases"`
	}
	if err := yaml.Unmarshal(content, &file); err != nil || file.Bases["default"] == nil {
		g.t.Fatalf("%s has no base: %v", path, err)
	}
	o := unstructured.Unstructured{Object: file.Bases["default"]}
	o.SetName("sample")
	o.SetNamespace(in)
	out, err := o.MarshalJSON()
	if err != nil {
		g.t.Fatal(err)
	}
	return out
}

// apply writes the whole slice as a user.
func (g *guarded) apply(user string, dryRun ...string) error {
	force := true
	_, err := g.clients[user].Resource(slicesResource).Namespace("accounts").Patch(g.t.Context(), "sample", types.ApplyPatchType, g.slice,
		metav1.PatchOptions{FieldManager: "hub", Force: &force, DryRun: dryRun})
	return err
}

func (g *guarded) patch(user, patch string, subresource ...string) error {
	_, err := g.clients[user].Resource(slicesResource).Namespace("accounts").Patch(g.t.Context(), "sample", types.MergePatchType, []byte(patch),
		metav1.PatchOptions{}, subresource...)
	return err
}

func (g *guarded) remove(user string) error {
	return g.clients[user].Resource(slicesResource).Namespace("accounts").Delete(g.t.Context(), "sample", metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}})
}

func (g *guarded) allowed(what string, err error) {
	g.t.Helper()
	if err != nil {
		g.t.Errorf("%s: %v", what, err)
	}
}

func (g *guarded) refused(what string, err error, says string) {
	g.t.Helper()
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), says) {
		g.t.Errorf("%s: %v, want it forbidden with %q", what, err, says)
	}
}

// awaitPolicies waits until the server enforces them: it takes them up some time after they were written.
func (g *guarded) awaitPolicies(link []byte) {
	g.t.Helper()
	testkit.Eventually(g.t, 30*time.Second, func() error {
		err := g.apply(editorUser, metav1.DryRunAll)
		if apierrors.IsForbidden(err) {
			return nil
		}
		return errors.New("the policy of slices is not enforced: " + fmt.Sprint(err))
	})
	testkit.Eventually(g.t, 30*time.Second, func() error {
		if _, err := g.writeLink(editorUser, link, metav1.DryRunAll); !apierrors.IsForbidden(err) {
			return errors.New("the policy of links is not enforced: " + fmt.Sprint(err))
		}
		return nil
	})
}

func (g *guarded) writeLink(user string, link []byte, dryRun ...string) (*unstructured.Unstructured, error) {
	force := true
	return g.clients[user].Resource(linksResource).Patch(g.t.Context(), "sample", types.ApplyPatchType, link,
		metav1.PatchOptions{FieldManager: "member", Force: &force, DryRun: dryRun})
}

func TestSlicesAreLeftToTheirWriters(t *testing.T) {
	for name, manifests := range map[string][]byte{
		"chart": run(t, "helm", append([]string{
			"template", "release", "charts/multiactive", "--namespace", namespace, "--kube-version", kubeVersion, "--set", "mode=member", "--set", "region=beijing",
			"--set", "admissionPolicies.hubUsers={" + foreignHub + "}",
		}, endpoints...)...),
		"kustomize": run(t, "kustomize", "build", "config/member"),
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuarded(t, manifests)
			link := g.sample("test/api/testdata/replicationlink.yaml", "")
			g.awaitPolicies(link)

			const byHand = "change the MultiActiveService accounts/sample in the cluster of the hub"
			g.refused("somebody creates a slice", g.apply(editorUser), byHand)
			g.refused("the member creates one", g.apply(memberUser), "")
			g.allowed("the hub creates it", g.apply(hubUser))
			g.allowed("the hub writes it again", g.apply(hubUser))

			g.refused("somebody edits it", g.patch(editorUser, `{"spec":{"stamp":{"generation":99}}}`), byHand)
			g.refused("somebody takes its finalizers", g.patch(editorUser, `{"metadata":{"finalizers":[]}}`), byHand)
			g.refused("somebody writes its status", g.patch(editorUser, `{"status":{"epoch":99}}`, "status"), byHand)
			g.refused("somebody deletes it", g.remove(editorUser), "RegionalServices are written by MultiActive alone, not by "+editorUser)

			g.refused("the member edits its spec", g.patch(memberUser, `{"spec":{"stamp":{"generation":99}}}`), "written by the hub alone")
			g.allowed("the member sets a finalizer", g.patch(memberUser, `{"metadata":{"finalizers":["multiactive.dev/member"]}}`))
			g.allowed("the member reports", g.patch(memberUser, `{"status":{"epoch":7}}`, "status"))
			g.allowed("the hub deletes it", g.remove(hubUser))
			g.allowed("its namespace goes", g.remove(cleanerUser))
			if name == "chart" {
				g.allowed("a hub with an account of its own writes it", g.apply(foreignHub))
				g.refused("that hub writes a status", g.patch(foreignHub, `{"status":{"epoch":9}}`, "status"), "by its member alone")
			}
			g.links(link)
		})
	}
}

// links: people may pause them, and nothing else.
func (g *guarded) links(link []byte) {
	g.t.Helper()
	_, err := g.writeLink(memberUser, link)
	g.allowed("the member creates a link", err)
	patch := func(user, text string, subresource ...string) error {
		_, err := g.clients[user].Resource(linksResource).Patch(g.t.Context(), "sample", types.MergePatchType, []byte(text), metav1.PatchOptions{}, subresource...)
		return err
	}
	g.allowed("somebody pauses it", patch(editorUser, `{"metadata":{"annotations":{"multiactive.dev/paused":"repair"}}}`))
	g.refused("somebody writes its status", patch(editorUser, `{"status":{"state":"Streaming"}}`, "status"), "multiactive.dev/paused")
	g.refused("somebody changes its engine", patch(editorUser, `{"spec":{"engine":"MirrorMaker2"}}`), "by the member of their region alone")
	g.refused("somebody deletes it",
		g.clients[editorUser].Resource(linksResource).Delete(g.t.Context(), "sample", metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}), "by the member of their region alone")
	g.allowed("the member reports", patch(memberUser, `{"status":{"state":"Streaming"}}`, "status"))
}
