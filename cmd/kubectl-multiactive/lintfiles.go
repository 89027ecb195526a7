package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	yamlnode "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/api/v1alpha1"
)

// errInput is for files that cannot be read, or are not what they should be.
var errInput = errors.New("cannot check")

// stdinName stands for standard input among files.
const stdinName = "stdin"

// declared is where an object stands.
type declared struct {
	file string
	line int
	// node of the object, for the lines of its fields.
	node *yamlnode.Node
}

func (d declared) String() string { return d.file + ":" + strconv.Itoa(d.line) }

// objects are those of the files that matter to lint.
type objects struct {
	services []linted
	stores   map[string]*v1alpha1.DataStore
	regions  map[string]*v1alpha1.Region
	// where says it for stores and regions, by kind and name.
	where   map[string]declared
	decoder runtime.Decoder
}

// readObjects reads files in the order given, and says of all at once what is wrong with them.
func readObjects(names []string, stdin io.Reader) (*objects, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	o := &objects{
		stores: map[string]*v1alpha1.DataStore{}, regions: map[string]*v1alpha1.Region{}, where: map[string]declared{},
		decoder: json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Strict: true}),
	}
	var problems []error
	for _, name := range names {
		problems = append(problems, o.read(name, stdin)...)
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("%w: %w", errInput, errors.Join(problems...))
	}
	return o, nil
}

func (o *objects) read(name string, stdin io.Reader) []error {
	if name == "-" {
		content, err := io.ReadAll(stdin)
		if err != nil {
			return []error{fmt.Errorf("reading standard input: %w", err)}
		}
		return o.take(stdinName, content, false)
	}
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return []error{err}
	case !info.IsDir():
		return o.readFile(name, false)
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return []error{err}
	}
	var problems []error
	for _, e := range entries {
		if !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())) {
			problems = append(problems, o.readFile(filepath.Join(name, e.Name()), true)...)
		}
	}
	return problems
}

func (o *objects) readFile(name string, among bool) []error {
	content, err := os.ReadFile(name)
	if err != nil {
		return []error{err}
	}
	return o.take(name, content, among)
}

// take reads the documents of a file. One that is found among others need not have objects.
func (o *objects) take(file string, content []byte, among bool) []error {
	var problems []error
	for i, d := range documents(content) {
		if err := o.document(declared{file: file, line: d.line}, d.text, among); err != nil {
			problems = append(problems, fmt.Errorf("%s:%d (document %d): %w", file, d.line, i+1, err))
		}
	}
	return problems
}

// head is what says what an object is.
type head struct {
	APIVersion string                 `json:"apiVersion"`
	Kind       string                 `json:"kind"`
	Items      []runtime.RawExtension `json:"items"`
}

func (o *objects) document(at declared, content []byte, among bool) error {
	var root yamlnode.Node
	if err := yamlnode.Unmarshal(content, &root); err != nil {
		return err
	}
	if len(root.Content) == 0 {
		return nil
	}
	at.node = root.Content[0]
	raw, err := yaml.YAMLToJSONStrict(content)
	if err != nil {
		return err
	}
	var h head
	if err := yaml.Unmarshal(raw, &h); err != nil || h.Kind == "" {
		if among {
			return nil
		}
		return errors.New("kind is missing: this is no Kubernetes object")
	}
	if !strings.HasSuffix(h.Kind, "List") || h.Items == nil {
		return o.object(at, h, raw)
	}
	var problems []error
	for i, item := range h.Items {
		path := fmt.Sprintf("items[%d]", i)
		node, line := find(at.node, path)
		var h head
		err := yaml.Unmarshal(item.Raw, &h)
		if err == nil {
			err = o.object(declared{file: at.file, line: line, node: node}, h, item.Raw)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", path, err))
		}
	}
	return errors.Join(problems...)
}

// object takes in what lint knows, passes over what is others', and refuses what it should know.
func (o *objects) object(at declared, h head, raw []byte) error {
	group, _, _ := strings.Cut(h.APIVersion, "/")
	if h.APIVersion == "" {
		return fmt.Errorf("%s: apiVersion is missing", h.Kind)
	}
	if group != v1alpha1.GroupVersion.Group {
		return nil
	}
	decoded, _, err := o.decoder.Decode(raw, nil, nil)
	switch {
	case runtime.IsNotRegisteredError(err):
		return fmt.Errorf("this version does not know kind %s of %s: it knows %s", h.Kind, h.APIVersion, v1alpha1.GroupVersion)
	case err != nil && runtime.IsStrictDecodingError(err): // names the field
		return fmt.Errorf("%s: %w", h.Kind, err)
	case err != nil && strings.Contains(err.Error(), "cannot unmarshal bool"):
		return fmt.Errorf(`%s: %s%w; YAML takes Yes and No for true and false: write "Yes" or "No"`, h.Kind, o.culprit(at, raw, err), err)
	case err != nil:
		return fmt.Errorf("%s: %s%w", h.Kind, o.culprit(at, raw, err), err)
	}
	switch object := decoded.(type) {
	case *v1alpha1.MultiActiveService:
		o.services = append(o.services, linted{declared: at, service: object})
	case *v1alpha1.DataStore:
		o.stores[object.Name] = object
		return o.once(at, h.Kind, object.Name)
	case *v1alpha1.Region:
		o.regions[object.Name] = object
		return o.once(at, h.Kind, object.Name)
	}
	return nil
}

// once refuses a second object of a name: which of them counts would be chance.
func (o *objects) once(at declared, kind, name string) error {
	if first, twice := o.where[kind+" "+name]; twice {
		return fmt.Errorf("%s %s is in %s already: give one of them", kind, name, first)
	}
	o.where[kind+" "+name] = at
	return nil
}
