package main

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/api/v1alpha1"
)

// colour of a word on a terminal.
type colour string

// The colours; plain is none.
const (
	plain  colour = ""
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
	bold   colour = "1"
	faint  colour = "2"
)

// tint colours a text, where colours are shown.
func (t *terminal) tint(c colour, text string) string {
	if !t.colour || c == plain || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// cell is one field of a table.
type cell struct {
	text string
	colour
}

func cells(texts ...string) []cell {
	out := make([]cell, len(texts))
	for i, text := range texts {
		out[i].text = text
	}
	return out
}

// table writes rows in columns, the first row being the header; colours take no room.
func (t *terminal) table(rows [][]cell) {
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	for n, row := range rows {
		var b strings.Builder
		for i, c := range row {
			text := c.text
			if text == "" && n > 0 {
				text = "-"
			}
			if n == 0 {
				c.colour = faint
			}
			b.WriteString(t.tint(c.colour, text))
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", max(widths[i]-utf8.RuneCountInString(text), 0)+2))
			}
		}
		t.say("%s", strings.TrimRight(b.String(), " "))
	}
}

// age writes how long ago something was, as kubectl does: 42s, 7m, 3h, 12d.
func age(now, at time.Time) string {
	d := now.Sub(at)
	switch {
	case d < 0:
		return "0s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// printValue writes a value as yaml or json.
func printValue(w io.Writer, v any, format string) error {
	if format == "json" {
		return indented(w, v)
	}
	content, err := yaml.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	return err
}

// printObject writes an object as yaml or json, or its name.
func printObject(w io.Writer, o client.Object, resource, format string) error {
	if format == "name" {
		_, err := fmt.Fprintf(w, "%s.multiactive.dev/%s\n", resource, o.GetName())
		return err
	}
	o.SetManagedFields(nil)
	return printValue(w, o, format)
}

// manifest is how conditions write a command that gives an order.
var manifest = regexp.MustCompile(`kubectl create -f - <<< '(\{[^']*\})'`)

// plugin puts this command's own verbs in the place of those that conditions name for everybody.
func plugin(message string) string {
	return manifest.ReplaceAllStringFunc(message, func(found string) string {
		var o v1alpha1.Operation
		if err := json.Unmarshal([]byte(manifest.FindStringSubmatch(found)[1]), &o); err != nil {
			return found
		}
		for _, v := range verbs {
			if v.kind != o.Spec.Type {
				continue
			}
			words := []string{"kubectl multiactive", v.name}
			if !v.ofService {
				words = append(words, o.Spec.Region)
			}
			switch s := o.Spec.Service; {
			case s == nil:
			case v.ofService:
				words = append(words, s.Name, "-n", s.Namespace)
			default:
				words = append(words, "--service", s.Name, "-n", s.Namespace)
			}
			if v.ofService && o.Spec.Region != "" {
				words = append(words, "--region", o.Spec.Region)
			}
			return strings.Join(words, " ")
		}
		return found
	})
}
