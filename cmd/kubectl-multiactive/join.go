package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/port/clusters"
)

const joinHelp = `kubectl multiactive join connects a region's cluster with the hub. It makes

  in the region's cluster  the account multiactive-hub-access with what the hub may do there: write RegionalServices, and
                           one Lease; nothing else. It is the chart's own, which takes it over when it is installed
  in the hub's cluster     a Secret with a kubeconfig of that account, and the Region

  kubectl multiactive join beijing --region-context bj --context hub --probe edge=https://edge.bj.example.com/healthz
  kubectl multiactive join beijing --region-context bj --dry-run

What is there already stays as it is, but for the token in the Secret, which is made anew: run it again before the token
ends (doctor tells). It says which helm command comes next.

Exit code 3 when the hub's new credentials do not work from here: they may work from the hub all the same.`

// joinOptions are the flags of join.
type joinOptions struct {
	hubOptions
	region, regionContext, server, caFile  string
	displayName, release, mode, namespaces string
	probes                                 []string
	lifetime                               time.Duration
	dryRun                                 bool
}

func joinCommand(t *terminal) *cobra.Command {
	o := &joinOptions{}
	c := &cobra.Command{
		Use: "join REGION", Short: "Connect a region's cluster with the hub", Long: joinHelp, Args: arguments(1, "the region"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.region = args[0]
			return o.run(cmd.Context(), *t)
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVar(&o.regionContext, "region-context", "", "`context` of the kubeconfig that is the region's cluster (required)")
	fs.StringVar(&o.server, "server", "", "https `address` by which the hub reaches the region's API server (default: the context's)")
	fs.StringVar(&o.caFile, "certificate-authority", "", "`file` with the authority of that address (default: the context's)")
	fs.StringArrayVar(&o.probes, "probe", nil, "`name=url` that the other regions ask to see whether this one is alive; may be repeated")
	fs.StringVar(&o.namespaces, "allowed-namespaces", "", "label `selector` of the namespaces whose services may run there, such as team=accounts (default: none)")
	fs.StringVar(&o.displayName, "display-name", "", "what people are shown, such as 北京")
	fs.StringVar(&o.mode, "mode", "member", "member, or peer: then the account may also read what the region declares")
	fs.StringVar(&o.release, "release", "multiactive", "`name` of the Helm release that will take the account over")
	fs.DurationVar(&o.lifetime, "token-lifetime", 365*24*time.Hour, "how long the token is good for; the cluster may allow less")
	fs.BoolVar(&o.dryRun, "dry-run", false, "say what would be made, and make nothing")
	o.bind(fs)
	return c
}

func (o *joinOptions) check() error {
	switch problems := validation.IsDNS1035Label(o.region); {
	case len(problems) > 0 || len(o.region) > 32:
		return fmt.Errorf("%q cannot be a region's name: it must be a DNS label of at most 32 characters that begins with a letter: %w", o.region, errUsage)
	case o.regionContext == "":
		return fmt.Errorf("--region-context is required: which context is the region's cluster? %w", errUsage)
	case o.mode != "member" && o.mode != "peer":
		return fmt.Errorf("--mode: %q is neither member nor peer: %w", o.mode, errUsage)
	case o.server != "" && !strings.HasPrefix(o.server, "https://"):
		return fmt.Errorf("--server: %q is no https address: %w", o.server, errUsage)
	case o.lifetime < 10*time.Minute:
		return fmt.Errorf("--token-lifetime: at least 10m: %w", errUsage)
	}
	for _, p := range o.probes {
		if name, url, found := strings.Cut(p, "="); !found || name == "" || !strings.HasPrefix(url, "http") {
			return fmt.Errorf("--probe: %q is not name=url: %w", p, errUsage)
		}
	}
	_, err := metav1.ParseToLabelSelector(o.namespaces)
	if err != nil {
		return fmt.Errorf("--allowed-namespaces: %w: %w", err, errUsage)
	}
	return nil
}

func (o *joinOptions) run(ctx context.Context, t terminal) error {
	if err := o.check(); err != nil {
		return err
	}
	config, err := t.configOf(o.regionContext)
	if err != nil {
		return fmt.Errorf("--region-context: %w", err)
	}
	hub, err := o.hub(t)
	if err != nil {
		return err
	}
	there, err := hubOptions{context: o.regionContext}.hub(t)
	if err != nil {
		return err
	}
	var regions v1alpha1.RegionList
	if err := hub.List(ctx, &regions); err != nil {
		return hubProblem("listing Regions in the hub", err)
	}
	rg := o.declared(regions.Items)
	if rg.Spec.Cluster == nil {
		return fmt.Errorf("the hub has Region %s as a witness without a cluster: take another name, or delete it first", o.region)
	}
	if err := o.makeAccount(ctx, t, there); err != nil {
		return err
	}
	kubeconfig, end, err := o.kubeconfig(ctx, config)
	if err != nil {
		return err
	}
	if err := o.make(ctx, t, hub, "hub's cluster", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: o.namespace}}); err != nil {
		return err
	}
	if err := o.store(ctx, t, hub, rg.Spec.Cluster.KubeconfigSecretRef.Name, kubeconfig, end); err != nil {
		return err
	}
	spec := rg.Spec
	rg.ResourceVersion = "" // one that is there is left as it is
	if err := o.make(ctx, t, hub, "hub's cluster", rg); err != nil {
		return err
	}
	o.next(ctx, t, hub, there, spec)
	if o.dryRun {
		t.say("\nNothing was made (--dry-run).")
		return nil
	}
	return o.works(ctx, kubeconfig)
}

// makeAccount makes the hub's account in the region's cluster.
func (o *joinOptions) makeAccount(ctx context.Context, t terminal, there client.Client) error {
	for _, obj := range o.account() {
		if err := o.make(ctx, t, there, "region's cluster", obj); err != nil {
			return err
		}
	}
	return nil
}

// declared returns the Region as the hub has it, else as it is to be declared.
func (o *joinOptions) declared(regions []v1alpha1.Region) *v1alpha1.Region {
	for i := range regions {
		if regions[i].Name == o.region {
			return &regions[i]
		}
	}
	return o.regionObject(o.region)
}

// make creates an object, unless it is there.
func (o *joinOptions) make(ctx context.Context, t terminal, c client.Client, where string, obj client.Object) error {
	what := obj.GetName()
	if ns := obj.GetNamespace(); ns != "" {
		what = ns + "/" + what
	}
	kind, err := c.GroupVersionKindFor(obj)
	if err != nil {
		return err
	}
	var how []client.CreateOption
	if o.dryRun {
		how = append(how, client.DryRunAll)
	}
	err = c.Create(ctx, obj, how...)
	switch {
	case err == nil:
		t.say("%-10s %s %s in the %s", "made", kind.Kind, what, where)
	case apierrors.IsAlreadyExists(err):
		t.say("%-10s %s %s in the %s", "there", kind.Kind, what, where)
	case o.dryRun && apierrors.IsNotFound(err): // its namespace is not there either
		t.say("%-10s %s %s in the %s", "made", kind.Kind, what, where)
	default:
		return fmt.Errorf("making %s %s in the %s: %w", kind.Kind, what, where, err)
	}
	return nil
}

// kubeconfig returns what the hub reaches the region's cluster with, and until when it is good.
func (o *joinOptions) kubeconfig(ctx context.Context, config *rest.Config) (content []byte, end time.Time, err error) {
	cluster := clientcmdapi.NewCluster()
	cluster.Server, cluster.TLSServerName = config.Host, config.ServerName
	if o.server != "" {
		cluster.Server, cluster.TLSServerName = o.server, ""
	}
	cluster.CertificateAuthorityData = config.CAData
	for _, file := range []string{config.CAFile, o.caFile} {
		if file != "" {
			if cluster.CertificateAuthorityData, err = os.ReadFile(file); err != nil {
				return nil, end, fmt.Errorf("reading the authority of the region's API server: %w", err)
			}
		}
	}
	user := clientcmdapi.NewAuthInfo()
	if user.Token, end, err = o.token(ctx, config); err != nil {
		return nil, end, err
	}
	content, err = clientcmd.Write(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{o.region: cluster}, AuthInfos: map[string]*clientcmdapi.AuthInfo{hubAccess: user},
		Contexts: map[string]*clientcmdapi.Context{o.region: {Cluster: o.region, AuthInfo: hubAccess}}, CurrentContext: o.region,
	})
	if err != nil {
		return nil, end, err
	}
	if _, err := clusters.Parse(content); err != nil {
		return nil, end, fmt.Errorf("the hub would refuse this kubeconfig: %w; see --server and --certificate-authority", err)
	}
	return content, end, nil
}

// token asks the region's cluster for one of the account.
func (o *joinOptions) token(ctx context.Context, config *rest.Config) (string, time.Time, error) {
	if o.dryRun {
		return "dry-run", time.Time{}, nil
	}
	config = rest.CopyConfig(config)
	config.Timeout = perRequest
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", time.Time{}, err
	}
	seconds := int64(o.lifetime.Seconds())
	answer, err := core.CoreV1().ServiceAccounts(o.namespace).CreateToken(ctx, hubAccess, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(seconds)},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("asking for a token of account %s/%s in the region's cluster: %w", o.namespace, hubAccess, err)
	}
	return answer.Status.Token, answer.Status.ExpirationTimestamp.Time, nil
}

// store puts the kubeconfig into the Secret that the Region names.
func (o *joinOptions) store(ctx context.Context, t terminal, hub client.Client, name string, kubeconfig []byte, end time.Time) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: name}, Data: map[string][]byte{kubeconfigKey: kubeconfig}}
	until := ""
	if !end.IsZero() {
		until = ", good until " + end.UTC().Format(time.DateOnly)
	}
	if o.dryRun {
		t.say("%-10s Secret %s/%s in the hub's cluster", "written", o.namespace, name)
		return nil
	}
	err := hub.Create(ctx, secret)
	if apierrors.IsAlreadyExists(err) {
		base := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: name}}
		changed := base.DeepCopy()
		changed.Data = secret.Data
		err = hub.Patch(ctx, changed, client.MergeFrom(base))
	}
	if err != nil {
		return fmt.Errorf("writing Secret %s/%s in the hub's cluster: %w", o.namespace, name, err)
	}
	t.say("%-10s Secret %s/%s in the hub's cluster%s", "written", o.namespace, name, until)
	return nil
}

// regionObject returns the Region as it is declared if it is not there.
func (o *joinOptions) regionObject(secret string) *v1alpha1.Region {
	rg := &v1alpha1.Region{
		ObjectMeta: metav1.ObjectMeta{Name: o.region},
		Spec: v1alpha1.RegionSpec{
			DisplayName: o.displayName, Role: v1alpha1.RegionRoleActive,
			Cluster: &v1alpha1.ClusterAccess{KubeconfigSecretRef: v1alpha1.SecretReference{Name: secret}},
		},
	}
	for _, p := range o.probes {
		name, url, _ := strings.Cut(p, "=")
		rg.Spec.Probes = append(rg.Spec.Probes, v1alpha1.RegionProbe{Name: name, HTTP: v1alpha1.HTTPProbe{URL: url}})
	}
	if selector, err := metav1.ParseToLabelSelector(o.namespaces); err == nil && o.namespaces != "" {
		rg.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{Selector: selector}
	}
	return rg
}

// works tries the new credentials.
func (o *joinOptions) works(ctx context.Context, kubeconfig []byte) error {
	access, err := clusters.Parse(kubeconfig)
	if err != nil {
		return err
	}
	config := access.Config()
	config.Timeout = perRequest
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	answer, err := core.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: "create", Group: v1alpha1.GroupVersion.Group, Resource: "regionalservices",
		}},
	}, metav1.CreateOptions{})
	switch {
	case err != nil:
		return attention(fmt.Sprintf("the new credentials do not work from here: %v; if the hub reaches the cluster by another address, give --server", err))
	case !answer.Status.Allowed:
		return attention("the account may not write RegionalServices: its ClusterRole " + hubAccess + " in the region's cluster is another one than the chart's")
	}
	return nil
}

// next says, for a Region so declared, which command comes next, with what the hub knows already.
func (o *joinOptions) next(ctx context.Context, t terminal, hub, there client.Client, spec v1alpha1.RegionSpec) {
	if running, err := managers(ctx, there, o.namespace); err == nil && len(running) > 0 {
		t.say("\nThe member is installed there. Next:\n  kubectl get region %s --watch", o.region)
		return
	}
	endpoints := "https://…:2379"
	if running, err := managers(ctx, hub, o.namespace); err == nil {
		for i := range running {
			for _, c := range running[i].Spec.Template.Spec.Containers {
				for _, arg := range c.Args {
					if list, found := strings.CutPrefix(arg, "--coordination-endpoints="); found {
						endpoints = list
					}
				}
			}
		}
	}
	t.say("\nNext, install the member there, and see it come up:")
	t.say("  helm install %s charts/multiactive --kube-context %s -n %s --create-namespace --set mode=%s --set region=%s \\", o.release, o.regionContext, o.namespace, o.mode, o.region)
	t.say("    --set 'coordination.endpoints={%s}'", endpoints)
	t.say("  kubectl get region %s --watch", o.region)
	if len(spec.Probes) == 0 {
		t.say("Without probes the others see only whether its agent beats: give the Region spec.probes that ask its edge.")
	}
	if spec.AllowedNamespaces == nil {
		t.say("No service may run there before the Region has spec.allowedNamespaces.")
	}
}
