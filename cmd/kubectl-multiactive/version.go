package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const versionHelp = `kubectl multiactive version says which version this command is, and which versions run: in the hub's cluster, and in
those of --contexts.

  kubectl multiactive version
  kubectl multiactive version --client                 without asking any cluster
  kubectl multiactive version --contexts bj,sh,sz

Members may be one minor version ahead of the hub while an upgrade is under way: members are upgraded first.
Exit code 3 when versions differ.`

// versionOptions are the flags of version.
type versionOptions struct {
	hubOptions
	client   bool
	contexts string
}

func versionCommand(t *terminal) *cobra.Command {
	o := &versionOptions{}
	return leaf("version", "The version of this command, and those that run", versionHelp, func(fs *pflag.FlagSet) {
		fs.BoolVar(&o.client, "client", false, "only this command's")
		fs.StringVar(&o.contexts, "contexts", "", "`contexts` of the kubeconfig, separated by commas, that are regions' clusters")
		o.bind(fs)
	}, func(ctx context.Context) error { return o.run(ctx, *t) })
}

func (o *versionOptions) run(ctx context.Context, t terminal) error {
	t.say("%s", version)
	if o.client {
		return nil
	}
	differ := false
	for _, name := range append([]string{o.context}, names(o.contexts)...) {
		who := "context " + name
		if name == o.context {
			who = "hub"
		}
		images, err := o.images(ctx, t, name)
		if err != nil {
			_, _ = fmt.Fprintf(t.err, "%s: %v\n", who, err)
			continue
		}
		for _, image := range images {
			t.say("%s: %s", who, image)
			differ = differ || skewed(tagOf(image))
		}
	}
	if differ {
		_, _ = fmt.Fprintln(t.err, "versions differ: upgrade members first, then the hub, and use the command of the hub's version")
		return errAttention
	}
	return nil
}

// images returns the managers' images in a cluster.
func (o *versionOptions) images(ctx context.Context, t terminal, name string) ([]string, error) {
	config, err := t.configOf(name)
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.Timeout = perRequest
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	list, err := core.AppsV1().Deployments(o.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=multiactive"})
	if err != nil {
		return nil, err
	}
	var out []string
	for i := range list.Items {
		for _, c := range list.Items[i].Spec.Template.Spec.Containers[:1] {
			out = append(out, strings.TrimSpace(list.Items[i].Name+" "+c.Image))
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no Deployment of the chart is in namespace " + o.namespace)
	}
	slices.Sort(out)
	return out, nil
}
