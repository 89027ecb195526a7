package world

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"multiactive.dev/operator/api/v1alpha1"
)

// companionFile beside the service's manifest holds what the service needs in every cluster.
const companionFile = "namespace.yaml"

// Manifest is a service as its author declares it, with what it needs in every cluster.
type Manifest struct {
	// Service is the declaration.
	Service *v1alpha1.MultiActiveService
	// Others are applied to every cluster: namespaces, service accounts, roles, ConfigMaps, Secrets.
	Others []*unstructured.Unstructured
	// Regions are the Region manifests found beside the examples, by name; they give display names
	// and the Kafka addresses that the service's variables mention.
	Regions map[string]*v1alpha1.Region
}

// manifests are the services, in the order of their addresses.
func (o *Options) manifests() []*Manifest { return append([]*Manifest{o.Manifest}, o.Others...) }

func (o *Options) move(regions []*Region) error {
	for i, m := range o.manifests() {
		if err := m.move(i, regions); err != nil {
			return err
		}
	}
	return nil
}

// ReadManifest reads the service from file, what it needs from the same file and from namespace.yaml
// beside it, and Regions from the directory regions beside the service's.
func ReadManifest(file string) (*Manifest, error) {
	documents, err := readDocuments(file)
	if err != nil {
		return nil, fmt.Errorf("reading the service: %w", err)
	}
	companion := filepath.Join(filepath.Dir(file), companionFile)
	more, err := readDocuments(companion)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("reading what the service needs: %w", err)
	}
	m := &Manifest{Regions: map[string]*v1alpha1.Region{}}
	for _, document := range append(documents, more...) {
		if document.GetKind() != "MultiActiveService" {
			m.Others = append(m.Others, document)
			continue
		}
		if m.Service != nil {
			return nil, fmt.Errorf("reading the service: %s has two MultiActiveServices; give one", file)
		}
		m.Service = &v1alpha1.MultiActiveService{}
		if err := strict(document, m.Service); err != nil {
			return nil, fmt.Errorf("reading the service from %s: %w", file, err)
		}
	}
	if m.Service == nil {
		return nil, fmt.Errorf("reading the service: %s has no MultiActiveService", file)
	}
	if m.Service.Namespace == "" {
		return nil, fmt.Errorf("reading the service from %s: metadata.namespace is missing", file)
	}
	err = m.readRegions(filepath.Join(filepath.Dir(file), "..", "regions"))
	return m, err
}

func (m *Manifest) readRegions(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return fmt.Errorf("reading Regions: %w", err)
	}
	for _, file := range files {
		documents, err := readDocuments(file)
		if err != nil {
			return fmt.Errorf("reading Regions: %w", err)
		}
		for _, document := range documents {
			if document.GetKind() != "Region" {
				continue
			}
			region := &v1alpha1.Region{}
			if err := strict(document, region); err != nil {
				return fmt.Errorf("reading Region %s: %w", file, err)
			}
			m.Regions[region.Name] = region
		}
	}
	return nil
}

// RegionNames are the regions that the service names, in its order.
func (m *Manifest) RegionNames() []string {
	names := make([]string, 0, len(m.Service.Spec.Regions))
	for _, r := range m.Service.Spec.Regions {
		names = append(names, r.Name)
	}
	return names
}

// move puts the service into the playground's regions: the regions that it names are replaced, in
// order, when others are wanted; endpoints and Kafka addresses, wherever they stand, become the
// playground's. service is its place among the world's.
func (m *Manifest) move(service int, regions []*Region) error {
	spec := &m.Service.Spec
	var replace []string
	for i, r := range regions {
		if i >= len(spec.Regions) {
			spec.Regions = append(spec.Regions, v1alpha1.ServiceRegion{})
		}
		s := &spec.Regions[i]
		former := s.Name
		s.Name, s.Endpoint, s.PeerEndpoint = r.Name, r.EdgeOf(service), ""
		if spec.Gateway != nil && spec.Gateway.PeerTLS != nil {
			s.PeerEndpoint = "https://" + r.network.peers(service)
		}
		for _, name := range []string{former, r.Name} {
			replace = append(replace, fmt.Sprintf("kafka.%s.svc:9092", name), r.Kafka())
			if known := m.Regions[name]; known != nil && known.Spec.Kafka != nil {
				for _, server := range known.Spec.Kafka.BootstrapServers {
					replace = append(replace, server, r.Kafka())
				}
			}
		}
	}
	spec.Regions = spec.Regions[:len(regions)]
	content, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("moving the service into the playground: %w", err)
	}
	moved := v1alpha1.MultiActiveServiceSpec{}
	if err := json.Unmarshal([]byte(strings.NewReplacer(replace...).Replace(string(content))), &moved); err != nil {
		return fmt.Errorf("moving the service into the playground: %w", err)
	}
	m.Service.Spec = moved
	return nil
}

// hasNamespace reports whether the manifest brings the service's namespace.
func (m *Manifest) hasNamespace() bool {
	for _, o := range m.Others {
		if o.GetKind() == "Namespace" && o.GetName() == m.Service.Namespace {
			return true
		}
	}
	return false
}

// Images are the images that the service runs.
func (m *Manifest) Images() []string {
	var out []string
	add := func(t *corev1.PodTemplateSpec) {
		if t == nil {
			return
		}
		for i := range t.Spec.Containers {
			out = append(out, t.Spec.Containers[i].Image)
		}
	}
	add(m.Service.Spec.Workload.Template)
	for i := range m.Service.Spec.Workload.Additional {
		add(m.Service.Spec.Workload.Additional[i].Template)
	}
	return out
}

// strict refuses fields that the type does not have: a misspelt one would be ignored silently.
func strict(from *unstructured.Unstructured, to any) error {
	return runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(from.Object, to, true)
}

func readDocuments(file string) ([]*unstructured.Unstructured, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	var out []*unstructured.Unstructured
	for i := 1; ; i++ {
		var raw json.RawMessage
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: document %d: %w", file, i, err)
		}
		if raw = bytes.TrimSpace(raw); len(raw) == 0 || string(raw) == "null" {
			continue
		}
		document := &unstructured.Unstructured{}
		if err := document.UnmarshalJSON(raw); err != nil {
			return nil, fmt.Errorf("%s: document %d: %w", file, i, err)
		}
		out = append(out, document)
	}
}
