package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiversion "k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/rest"

	"multiactive.dev/operator/api/v1alpha1"
)

// kinds are the resources that the hub's cluster has to have.
var kinds = []string{"datastores", "multiactiveservices", "operations", "regionalservices", "regionincidents", "regions", "replicationlinks"}

// clock asks an API server for its version, and by how much its clock is ahead of this machine's, to a second or two.
func clock(ctx context.Context, config *rest.Config) (string, time.Duration, error) {
	wire, err := rest.HTTPClientFor(config)
	if err != nil {
		return "", 0, err
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return "", 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath("version").String(), nil)
	if err != nil {
		return "", 0, err
	}
	answer, err := wire.Do(request)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = answer.Body.Close() }() // only read
	var v apiversion.Info
	if err := json.NewDecoder(answer.Body).Decode(&v); err != nil || v.GitVersion == "" {
		return "", 0, fmt.Errorf("it answers %s, and not with its version", answer.Status)
	}
	there, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil { // it does not tell its time
		return v.GitVersion, 0, nil
	}
	return v.GitVersion, time.Until(there), nil
}

// resources looks whether the cluster has the kinds of multiactive.dev. Without them nothing else can be said.
func (d *doctor) resources() bool {
	list, err := d.core.Discovery().ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
	switch {
	case apierrors.IsNotFound(err):
		d.add(levelFail, "resources", "the cluster does not have the resources of "+v1alpha1.GroupVersion.String(),
			"is this the hub's kubeconfig? If it is, install: helm install multiactive charts/multiactive -n "+d.o.namespace+" --create-namespace --set mode=hub")
		return false
	case err != nil:
		d.add(levelFail, "resources", err.Error(), "look at the API server")
		return false
	}
	var missing []string
	for _, kind := range kinds {
		if !slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == kind }) {
			missing = append(missing, kind)
		}
	}
	if len(missing) > 0 {
		d.add(levelFail, "resources", "missing: "+strings.Join(missing, ", "), "apply the chart's crds directory with kubectl apply --server-side: helm upgrade leaves CRDs as they are")
		return false
	}
	d.ok("resources", "%s are served as %s", plural(len(kinds), "kind"), v1alpha1.GroupVersion)
	return true
}

// manager looks at the manager's Deployments in the hub's cluster, at who leads, and at their version.
func (d *doctor) manager(ctx context.Context) {
	list, err := d.core.AppsV1().Deployments(d.o.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=multiactive"})
	switch {
	case apierrors.IsForbidden(err):
		d.add(levelSkip, "manager", "you may not list Deployments in "+d.o.namespace, "")
		return
	case err != nil:
		d.add(levelFail, "manager", err.Error(), "look at the API server")
		return
	case len(list.Items) == 0:
		d.add(levelFail, "manager", "no Deployment of the chart is in namespace "+d.o.namespace, "install the hub there, or give --operator-namespace")
		return
	}
	for i := range list.Items {
		d.deployment(&list.Items[i])
		if mode := list.Items[i].Labels["app.kubernetes.io/component"]; mode == "hub" || mode == "peer" {
			d.leads(ctx, "multiactive-"+mode)
		}
	}
}

func (d *doctor) deployment(dep *appsv1.Deployment) {
	about, want := "manager/"+dep.Name, int32(1)
	if dep.Spec.Replicas != nil {
		want = *dep.Spec.Replicas
	}
	image := ""
	if c := dep.Spec.Template.Spec.Containers; len(c) > 0 {
		image = c[0].Image
	}
	next := fmt.Sprintf("kubectl -n %s describe deployment %s; kubectl -n %s logs deployment/%s", dep.Namespace, dep.Name, dep.Namespace, dep.Name)
	switch {
	case dep.Status.ReadyReplicas == 0:
		d.add(levelFail, about, fmt.Sprintf("0/%d ready, %s", want, image), next)
	case dep.Status.ReadyReplicas < want:
		d.add(levelWarn, about, fmt.Sprintf("%d/%d ready, %s", dep.Status.ReadyReplicas, want, image), next)
	default:
		d.ok(about, "%d/%d ready, %s", dep.Status.ReadyReplicas, want, image)
	}
	if tag := tagOf(image); skewed(tag) {
		d.add(levelWarn, about, fmt.Sprintf("it runs version %s, and this command is %s", tag, version), "use the command of the version that runs, or upgrade it: members first, then the hub")
	}
}

// skewed reports whether a version that runs is another one than this command's. One that was built by hand is of none.
func skewed(tag string) bool {
	return tag != "" && version != "dev" && strings.TrimPrefix(tag, "v") != strings.TrimPrefix(version, "v")
}

// tagOf returns the tag of an image, empty for a digest or none.
func tagOf(image string) string {
	name := image[strings.LastIndexByte(image, '/')+1:]
	if strings.Contains(name, "@") {
		return ""
	}
	_, tag, _ := strings.Cut(name, ":")
	return tag
}

// leads looks whether some manager acts.
func (d *doctor) leads(ctx context.Context, name string) {
	lease, err := d.core.CoordinationV1().Leases(d.o.namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err):
		d.add(levelSkip, "leader", "you may not get Lease "+name+" in "+d.o.namespace, "")
		return
	case apierrors.IsNotFound(err):
		d.add(levelWarn, "leader", "there is no Lease "+name+": no manager has acted yet, or leaderElection is off", "kubectl -n "+d.o.namespace+" logs -l app.kubernetes.io/name=multiactive")
		return
	case err != nil:
		d.add(levelFail, "leader", err.Error(), "look at the API server")
		return
	}
	holder, lasts := "", 15*time.Second
	if lease.Spec.HolderIdentity != nil {
		holder = *lease.Spec.HolderIdentity
	}
	if n := lease.Spec.LeaseDurationSeconds; n != nil {
		lasts = time.Duration(*n) * time.Second
	}
	if r := lease.Spec.RenewTime; holder == "" || r == nil || d.t.clock().Sub(r.Time) > lasts+maxDrift {
		d.add(levelFail, "leader", "nobody holds Lease "+name+" now: no manager acts", "kubectl -n "+d.o.namespace+" logs -l app.kubernetes.io/name=multiactive")
		return
	}
	d.ok("leader", "%s acts", holder)
}

// needs are what commands do, and what they need for it.
var needs = []struct {
	verb, group, resource string
	operator              bool
	lacking               string
}{
	{"list", v1alpha1.GroupVersion.Group, "regions", false, "nothing can be said at all"},
	{"list", v1alpha1.GroupVersion.Group, "multiactiveservices", false, "status and plan leave services out; give -n with a namespace where you may"},
	{"list", v1alpha1.GroupVersion.Group, "regionincidents", false, "incident cannot be used"},
	{"create", v1alpha1.GroupVersion.Group, "operations", false, "you can give no orders: drain, handback, approve, declare-lost"},
	{"watch", v1alpha1.GroupVersion.Group, "operations", false, "orders and --watch look again and again instead of being told"},
	{"get", "", "secrets", true, "coordination and this command cannot look into the regions' clusters"},
}

// rights looks what the caller may do.
func (d *doctor) rights(ctx context.Context) {
	allowed := 0
	for _, n := range needs {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: n.verb, Group: n.group, Resource: n.resource},
		}}
		what := n.verb + " " + n.resource
		if n.operator {
			review.Spec.ResourceAttributes.Namespace = d.o.namespace
			what += " in " + d.o.namespace
		}
		answer, err := d.core.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		switch {
		case err != nil:
			d.add(levelSkip, "you", "what you may do is not known: "+err.Error(), "")
			return
		case answer.Status.Allowed:
			allowed++
		default:
			d.add(levelWarn, "you", "you may not "+what+": "+n.lacking, "ask for the right, if it is your task")
		}
	}
	d.ok("you", "you may do %d of the %d things that commands need", allowed, len(needs))
}

// soonOver is how long before its end a certificate is told of.
const soonOver = 14 * 24 * time.Hour

// webhooks looks at those that check our resources.
func (d *doctor) webhooks(ctx context.Context) {
	list, err := d.core.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		d.add(levelSkip, "webhook", "you may not list ValidatingWebhookConfigurations", "")
		return
	}
	for i := range list.Items {
		for _, w := range list.Items[i].Webhooks {
			about := "webhook/" + list.Items[i].Name
			ours := false
			for _, r := range w.Rules {
				ours = ours || slices.Contains(r.APIGroups, v1alpha1.GroupVersion.Group)
			}
			if !ours {
				continue
			}
			end, err := lastDay(w.ClientConfig.CABundle)
			switch left := end.Sub(d.t.clock()); {
			case err != nil:
				d.add(levelFail, about, "its caBundle cannot be used: "+err.Error(), "kubectl describe validatingwebhookconfiguration "+list.Items[i].Name)
			case left <= 0:
				d.add(levelFail, about, "the authority in its caBundle has expired on "+end.Format(time.DateOnly), "restart the manager that keeps it, or see cert-manager")
			case left < soonOver:
				d.add(levelWarn, about, "the authority in its caBundle expires on "+end.Format(time.DateOnly), "see that it is renewed")
			default:
				d.ok(about, "%s is there", w.Name)
			}
		}
	}
}

// lastDay returns when the first certificate of a bundle ends.
func lastDay(bundle []byte) (time.Time, error) {
	block, _ := pem.Decode(bytes.TrimSpace(bundle))
	if block == nil {
		return time.Time{}, fmt.Errorf("it has no certificate")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, err
	}
	return c.NotAfter, nil
}
