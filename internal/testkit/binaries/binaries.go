// Package binaries finds the Kubernetes programs that the test kit and the playground run.
//
// It must never download or build anything: `make tools` does, and the errors here say so.
package binaries

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Names of the programs.
const (
	KubeAPIServer = "kube-apiserver"
	Etcd          = "etcd"
	Kubectl       = "kubectl"
)

// Names of what a whole cluster has beside them, and what tests use on it; `make clusters` builds those.
const (
	KubeControllerManager = "kube-controller-manager"
	KubeScheduler         = "kube-scheduler"
	Kubelet               = "kubelet"
	KubeProxy             = "kube-proxy"
	Helm                  = "helm"
)

// EnvAssets names the directory to look in first, as controller-runtime's envtest does.
const EnvAssets = "KUBEBUILDER_ASSETS"

// builtDirs are where `make tools` and `make clusters` put the programs, relative to the module root.
var builtDirs = []string{filepath.Join("bin", "kubernetes"), filepath.Join("bin", "clusters"), filepath.Join("bin", "tools")}

// ErrNotFound is wrapped when a program is in none of the places.
var ErrNotFound = errors.New("program not found")

// Find returns the absolute path of a program: from $KUBEBUILDER_ASSETS, else from bin/kubernetes,
// bin/clusters or bin/tools of the module that the working directory belongs to.
func Find(name string) (string, error) {
	places := make([]string, 0, 1+len(builtDirs))
	if assets := os.Getenv(EnvAssets); assets != "" {
		places = append(places, assets)
	}
	if root, err := ModuleRoot(); err == nil {
		for _, dir := range builtDirs {
			places = append(places, filepath.Join(root, dir))
		}
	}
	for _, place := range places {
		path, err := filepath.Abs(filepath.Join(place, name))
		if err != nil {
			return "", fmt.Errorf("finding %s in %s: %w", name, place, err)
		}
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return path, nil
		}
	}
	target := "tools"
	if name != KubeAPIServer && name != Etcd && name != Kubectl {
		target = "clusters"
	}
	return "", fmt.Errorf("%w: %s (looked in %s): run `make %s`, or set %s to a directory that has it",
		ErrNotFound, name, placesText(places), target, EnvAssets)
}

// ModuleRoot returns the nearest directory with a go.mod, from the working directory upwards.
func ModuleRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the module root: %w", err)
	}
	for dir := start; ; {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("finding the module root: %w", err)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("finding the module root: no go.mod in %s or above; run from inside the source tree", start)
		}
		dir = parent
	}
}

func placesText(places []string) string {
	if len(places) == 0 {
		return "no place: " + EnvAssets + " is not set and there is no go.mod here or above"
	}
	return strings.Join(places, ", ")
}
