package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

// sources reads what Pods refer to.
type sources struct {
	client    kubernetes.Interface
	namespace string
}

// configMap returns a ConfigMap's data; nil when it is missing and optional.
func (s sources) configMap(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	object, err := s.client.CoreV1().ConfigMaps(s.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, missing(err, "ConfigMap", name, optional)
	}
	data := make(map[string][]byte, len(object.Data)+len(object.BinaryData))
	for key, value := range object.Data {
		data[key] = []byte(value)
	}
	maps.Copy(data, object.BinaryData)
	return data, nil
}

// secret returns a Secret's data; nil when it is missing and optional.
func (s sources) secret(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	object, err := s.client.CoreV1().Secrets(s.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, missing(err, "Secret", name, optional)
	}
	return object.Data, nil
}

func missing(err error, kind, name string, optional *bool) error {
	if apierrors.IsNotFound(err) && ptr.Deref(optional, false) {
		return nil
	}
	return fmt.Errorf("reading %s %s: %w", kind, name, err)
}

// environment returns a container's variables as NAME=value, in order, with references resolved.
func environment(ctx context.Context, s sources, pod *corev1.Pod, c *corev1.Container) ([]string, func(string) (string, bool), error) {
	values := map[string]string{}
	var order []string
	set := func(name, value string) {
		if _, known := values[name]; !known {
			order = append(order, name)
		}
		values[name] = value
	}
	lookup := func(name string) (string, bool) { value, known := values[name]; return value, known }
	for _, from := range c.EnvFrom {
		data, err := bulk(ctx, s, from)
		if err != nil {
			return nil, nil, err
		}
		for _, key := range slices.Sorted(maps.Keys(data)) {
			set(from.Prefix+key, string(data[key]))
		}
	}
	for _, v := range c.Env {
		if v.ValueFrom == nil {
			set(v.Name, expand(v.Value, lookup))
			continue
		}
		value, present, err := valueFrom(ctx, s, pod, v.ValueFrom)
		if err != nil {
			return nil, nil, fmt.Errorf("variable %s: %w", v.Name, err)
		}
		if present {
			set(v.Name, value)
		}
	}
	out := make([]string, 0, len(order))
	for _, name := range order {
		out = append(out, name+"="+values[name])
	}
	return out, lookup, nil
}

func bulk(ctx context.Context, s sources, from corev1.EnvFromSource) (map[string][]byte, error) {
	switch {
	case from.ConfigMapRef != nil:
		return s.configMap(ctx, from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
	case from.SecretRef != nil:
		return s.secret(ctx, from.SecretRef.Name, from.SecretRef.Optional)
	}
	return nil, nil
}

// valueFrom is false for an optional source that is not there.
func valueFrom(ctx context.Context, s sources, pod *corev1.Pod, from *corev1.EnvVarSource) (string, bool, error) {
	switch {
	case from.FieldRef != nil:
		value, err := field(pod, from.FieldRef.FieldPath)
		return value, true, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		data, err := s.configMap(ctx, ref.Name, ref.Optional)
		return pick(data, err, "ConfigMap", ref.Name, ref.Key, ref.Optional)
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		data, err := s.secret(ctx, ref.Name, ref.Optional)
		return pick(data, err, "Secret", ref.Name, ref.Key, ref.Optional)
	default:
		return "", false, fmt.Errorf("this source of a value is not available in the playground; use value, fieldRef, configMapKeyRef or secretKeyRef")
	}
}

func pick(data map[string][]byte, err error, kind, name, key string, optional *bool) (string, bool, error) {
	if err != nil {
		return "", false, err
	}
	value, present := data[key]
	if !present && !ptr.Deref(optional, false) {
		return "", false, fmt.Errorf("%s %s has no key %q", kind, name, key)
	}
	return string(value), present, nil
}

// field is the downward API.
func field(pod *corev1.Pod, path string) (string, error) {
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.podIP", "status.podIPs":
		return pod.Status.PodIP, nil
	case "status.hostIP", "status.hostIPs":
		return pod.Status.HostIP, nil
	}
	for prefix, values := range map[string]map[string]string{"metadata.labels": pod.Labels, "metadata.annotations": pod.Annotations} {
		if key, found := strings.CutPrefix(path, prefix+"['"); found {
			return values[strings.TrimSuffix(key, "']")], nil
		}
	}
	return "", fmt.Errorf("field %s is not available in the playground", path)
}
