// Command bundle writes an OLM bundle of one mode of the operator, from what `kustomize build config/<mode>` says on
// standard input:
//
//	kustomize build config/hub | go run ./hack/bundle --mode hub --version 0.4.0 --out bin/bundle/hub
//
// Namespaced rights stay Roles of the bundle: OLM makes ClusterRoles of those in a ClusterServiceVersion when the
// operator is for all namespaces, and reading Secrets everywhere is not what they are for.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// options are the command line.
type options struct {
	mode, version, image, out string
}

var semver = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$`)

func main() {
	var o options
	flag.StringVar(&o.mode, "mode", "", "hub, member or peer")
	flag.StringVar(&o.version, "version", "", "semantic `version` of the bundle, such as 0.4.0")
	flag.StringVar(&o.image, "image", "multiactive.dev/operator", "`repository` of the operator's image; its tag is the version")
	flag.StringVar(&o.out, "out", "", "`directory` that the bundle is written to; what it held is replaced")
	flag.Parse()
	if err := run(&o, os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
}

func run(o *options, in io.Reader) error {
	if o.version = strings.TrimPrefix(o.version, "v"); !semver.MatchString(o.version) {
		return fmt.Errorf("--version: %q is no semantic version, such as 0.4.0", o.version)
	}
	if modes[o.mode].title == "" {
		return fmt.Errorf("--mode: %q is none of hub, member, peer", o.mode)
	}
	if o.out == "" {
		return errors.New("--out must be given")
	}
	objects, err := read(in)
	if err != nil {
		return err
	}
	b, err := assemble(o, objects)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(o.out); err != nil {
		return err
	}
	return b.write(o.out)
}

// read returns the objects of a stream of YAML documents.
func read(in io.Reader) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for documents := utilyaml.NewYAMLOrJSONDecoder(in, 4096); ; {
		object := &unstructured.Unstructured{}
		if err := documents.Decode(&object.Object); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading what kustomize said: %w", err)
		}
		if len(object.Object) > 0 {
			out = append(out, object)
		}
	}
}

// bundle is what is written: files of manifests/ and metadata/ by their names.
type bundle struct {
	manifests, metadata map[string]any
	dockerfile          string
}

func (b *bundle) write(dir string) error {
	for part, files := range map[string]map[string]any{"manifests": b.manifests, "metadata": b.metadata} {
		if err := os.MkdirAll(filepath.Join(dir, part), 0o750); err != nil {
			return err
		}
		for name, content := range files {
			text, err := yaml.Marshal(content)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if err := os.WriteFile(filepath.Join(dir, part, name), text, 0o600); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(dir, "bundle.Dockerfile"), []byte(b.dockerfile), 0o600)
}

// annotations of the bundle and labels of its image are the same.
func (o *options) annotations() map[string]string {
	const prefix = "operators.operatorframework.io.bundle."
	return map[string]string{
		prefix + "mediatype.v1":       "registry+v1",
		prefix + "manifests.v1":       "manifests/",
		prefix + "metadata.v1":        "metadata/",
		prefix + "package.v1":         o.packageName(),
		prefix + "channels.v1":        channel,
		prefix + "channel.default.v1": channel,
	}
}

// channel of all versions until there are some that are more stable than others.
const channel = "alpha"

func (o *options) packageName() string { return "multiactive-" + o.mode }

func (o *options) dockerfile() string {
	var b bytes.Buffer
	b.WriteString("FROM scratch\n")
	annotations := o.annotations()
	for _, name := range sorted(annotations) {
		fmt.Fprintf(&b, "LABEL %s=%s\n", name, annotations[name])
	}
	b.WriteString("COPY manifests /manifests/\nCOPY metadata /metadata/\n")
	return b.String()
}
