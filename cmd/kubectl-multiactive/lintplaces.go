package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	yamlnode "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// text is a YAML document with empty lines for what stands before it in its file, so that lines are those of the file.
type text struct {
	line int
	text []byte
}

// documents splits a file.
func documents(content []byte) []text {
	var out []text
	var current []byte
	begun := 0
	flush := func() {
		if begun > 0 {
			out = append(out, text{line: begun, text: append(bytes.Repeat([]byte("\n"), begun-1), current...)})
		}
		current, begun = nil, 0
	}
	line := 0
	for l := range bytes.Lines(content) {
		line++
		trimmed := bytes.TrimSpace(l)
		switch {
		case bytes.Equal(bytes.TrimRight(l, "\r\n \t"), []byte("---")), bytes.HasPrefix(l, []byte("--- #")), bytes.HasPrefix(l, []byte("...")):
			flush()
			continue
		case bytes.HasPrefix(l, []byte("--- ")): // with content on the same line
			flush()
			begun, l = line, append([]byte("   "), l[3:]...)
		case begun == 0 && (len(trimmed) == 0 || trimmed[0] == '#'):
			continue
		case begun == 0:
			begun = line
		}
		current = append(current, l...)
	}
	flush()
	return out
}

// lineOf returns the line of a field, or of what is there of the path to it.
func (d declared) lineOf(path string) int {
	_, line := find(d.node, path)
	return max(line, d.line)
}

// find follows a path such as spec.flows[2].reads as far as it leads.
func find(node *yamlnode.Node, path string) (found *yamlnode.Node, line int) {
	line = node.Line
	for _, step := range steps(path) {
		if node.Kind == yamlnode.AliasNode {
			node = node.Alias
		}
		next, at := child(node, step)
		if next == nil {
			break
		}
		node, line = next, at
	}
	return node, line
}

// child returns the value of a key, with the line of the key, or an element of a list.
func child(node *yamlnode.Node, step string) (*yamlnode.Node, int) {
	if node.Kind == yamlnode.SequenceNode {
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(node.Content) {
			return node.Content[i], node.Content[i].Line
		}
	}
	if node.Kind == yamlnode.MappingNode {
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i+1], node.Content[i].Line
			}
		}
	}
	return nil, 0
}

// steps splits a path at its dots and brackets; what stands in brackets is one step.
func steps(path string) []string {
	var out []string
	for path != "" {
		if rest, bracket := strings.CutPrefix(path, "["); bracket {
			step, tail, _ := strings.Cut(rest, "]")
			out, path = append(out, step), strings.TrimPrefix(tail, ".")
			continue
		}
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			return append(out, path)
		}
		out, path = append(out, path[:end]), strings.TrimPrefix(path[end:], ".")
	}
	return out
}

// culprit names the field that a decoder's error does not name. It leaves out one value after the other until the error
// is another one, or none: the value that was left out last has it.
func (o *objects) culprit(at declared, raw []byte, cause error) string {
	var tree map[string]any
	if err := yaml.Unmarshal(raw, &tree); err != nil {
		return ""
	}
	same := func() bool {
		raw, err := json.Marshal(tree)
		if err == nil {
			_, _, err = o.decoder.Decode(raw, nil, nil)
		}
		return err != nil && err.Error() == cause.Error()
	}
	if path := prune(tree, "", same); path != "" {
		return fmt.Sprintf("%s (line %d): ", path, at.lineOf(path))
	}
	return ""
}

// prune takes plain values out of a tree until what held does not hold any more, and returns the path of the last one.
func prune(node any, path string, holds func() bool) string {
	switch n := node.(type) {
	case []any:
		for i, below := range n {
			if found := prune(below, fmt.Sprintf("%s[%d]", path, i), holds); found != "" {
				return found
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(n)) {
			below := strings.TrimPrefix(path+"."+key, ".")
			switch n[key].(type) {
			case map[string]any, []any:
				if found := prune(n[key], below, holds); found != "" {
					return found
				}
				continue
			}
			if below == "apiVersion" || below == "kind" {
				continue
			}
			if delete(n, key); !holds() {
				return below
			}
		}
	}
	return ""
}
