package main

import (
	"errors"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// certificates are where OLM mounts the webhook's.
const certificates = "/tmp/k8s-webhook-server/serving-certs"

func (o *options) taggedImage() string { return o.image + ":v" + o.version }

// deployment is the manager's, as OLM makes it.
func (o *options) deployment(p *parts) (map[string]any, error) {
	spec, _, _ := unstructured.NestedMap(p.deployment.Object, "spec")
	containers, _, _ := unstructured.NestedSlice(spec, "template", "spec", "containers")
	if len(containers) != 1 {
		return nil, errors.New("the manager's Deployment has not one container")
	}
	container, _ := containers[0].(map[string]any)
	args, _, _ := unstructured.NestedStringSlice(container, "args")
	container["image"] = o.taggedImage()
	container["args"] = o.arguments(args)
	if err := unstructured.SetNestedSlice(spec, containers, "template", "spec", "containers"); err != nil {
		return nil, err
	}
	return map[string]any{"name": p.deployment.GetName(), "spec": spec}, nil
}

func (o *options) arguments(args []string) []any {
	var out []any
	for _, arg := range args {
		name, _, _ := strings.Cut(arg, "=")
		switch name {
		case "--region", "--coordination-endpoints":
			// The Subscription gives them as variables, which arguments would win over.
		case "--webhook-host":
			// The hub makes no certificate when it is given one.
			out = append(out, "--webhook-cert-dir="+certificates)
		case "--gateway-image", "--mirror-image":
			out = append(out, name+"="+o.taggedImage())
		default:
			out = append(out, arg)
		}
	}
	return out
}

// webhooks are the API server's questions, as OLM has them: it makes the certificate, and knows no matchConditions.
func (o *options) webhooks(p *parts) []any {
	var out []any
	for _, h := range p.webhooks {
		hook, _ := h.(map[string]any)
		path, _, _ := unstructured.NestedString(hook, "clientConfig", "service", "path")
		out = append(out, map[string]any{
			"type": "ValidatingAdmissionWebhook", "generateName": hook["name"], "deploymentName": p.deployment.GetName(),
			"containerPort": int64(443), "targetPort": int64(9443), "webhookPath": path,
			"admissionReviewVersions": hook["admissionReviewVersions"], "sideEffects": hook["sideEffects"],
			"failurePolicy": hook["failurePolicy"], "timeoutSeconds": hook["timeoutSeconds"], "rules": hook["rules"],
		})
	}
	return out
}
