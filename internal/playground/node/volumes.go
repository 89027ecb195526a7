package node

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// nodePaths are directories that a container without a volume for them shares with its node here; in a
// real cluster they would be the container's own.
var nodePaths = []string{"/var/lib", "/data"}

// materialise writes the Pod's volumes below dir and returns where the container's paths lie. hostDir
// stands for the node's root directory.
func materialise(ctx context.Context, s sources, pod *corev1.Pod, c *corev1.Container, dir, hostDir string) ([]mount, error) {
	mounts := make([]mount, 0, len(c.VolumeMounts)+len(nodePaths))
	for _, path := range nodePaths {
		mounts = append(mounts, mount{path: path, dir: filepath.Join(hostDir, path)})
	}
	for _, m := range c.VolumeMounts {
		volume, err := volumeNamed(pod, m.Name)
		if err != nil {
			return nil, err
		}
		place := filepath.Join(dir, "volumes", m.Name)
		if volume.HostPath != nil {
			place = filepath.Join(hostDir, volume.HostPath.Path)
		}
		if err := fill(ctx, s, volume, place); err != nil {
			return nil, fmt.Errorf("volume %s: %w", m.Name, err)
		}
		mounts = append(mounts, mount{path: strings.TrimSuffix(m.MountPath, "/"), dir: filepath.Join(place, m.SubPath)})
	}
	return mounts, nil
}

func volumeNamed(pod *corev1.Pod, name string) (*corev1.Volume, error) {
	for i := range pod.Spec.Volumes {
		if pod.Spec.Volumes[i].Name == name {
			return &pod.Spec.Volumes[i], nil
		}
	}
	return nil, fmt.Errorf("volumeMount %q: the Pod has no such volume", name)
}

// fill creates the directory of a volume and writes the files it has.
func fill(ctx context.Context, s sources, v *corev1.Volume, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	switch {
	case v.EmptyDir != nil, v.HostPath != nil:
		return nil
	case v.ConfigMap != nil:
		data, err := s.configMap(ctx, v.ConfigMap.Name, v.ConfigMap.Optional)
		if err != nil {
			return err
		}
		return writeFiles(dir, data, v.ConfigMap.Items, ptr.Deref(v.ConfigMap.Optional, false))
	case v.Secret != nil:
		data, err := s.secret(ctx, v.Secret.SecretName, v.Secret.Optional)
		if err != nil {
			return err
		}
		return writeFiles(dir, data, v.Secret.Items, ptr.Deref(v.Secret.Optional, false))
	default:
		return fmt.Errorf("this kind is not available in the playground; use configMap, secret, emptyDir or hostPath")
	}
}

// writeFiles writes the wanted keys of an object's data; those of an optional one may be missing.
func writeFiles(dir string, data map[string][]byte, items []corev1.KeyToPath, optional bool) error {
	files := make(map[string]string, len(data))
	for key := range data {
		files[key] = key
	}
	if len(items) > 0 {
		clear(files)
		for _, item := range items {
			if _, present := data[item.Key]; !present {
				if optional {
					continue
				}
				return fmt.Errorf("there is no key %q", item.Key)
			}
			files[item.Key] = item.Path
		}
	}
	for key, path := range files {
		if err := replaceFile(filepath.Join(dir, path), data[key]); err != nil {
			return err
		}
	}
	return nil
}

// replaceFile changes a file in one step, and only when its content differs: programs watch them.
func replaceFile(path string, content []byte) error {
	if present, err := os.ReadFile(path); err == nil && bytes.Equal(present, content) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
