package regional

import (
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/flows"
)

// FlagsKey is the key of the flag definitions in the ConfigMap, and the name of the file where the
// application, or a flagd beside it, mounts them.
const FlagsKey = "flags.json"

// FlagPrefix and a flow's name are the name of the flow's flag.
const FlagPrefix = "degraded-"

const flagSchema = "https://flagd.dev/schema/v0/flags.json"

type flagFile struct {
	Schema string          `json:"$schema"`
	Flags  map[string]flag `json:"flags"`
}

type flag struct {
	State          string          `json:"state"`
	Variants       map[string]bool `json:"variants"`
	DefaultVariant string          `json:"defaultVariant"`
}

// Flags returns the ConfigMap that tells the application which flows are degraded, as flag
// definitions of flagd (the OpenFeature provider for files reads them too): one boolean flag for
// each flow, true while it is degraded or unavailable.
func Flags(rs *v1alpha1.RegionalService, states []flows.State) *corev1.ConfigMap {
	file := flagFile{Schema: flagSchema, Flags: make(map[string]flag, len(states))}
	for _, s := range states {
		f := flag{State: "ENABLED", Variants: map[string]bool{"on": true, "off": false}, DefaultVariant: "off"}
		if s.State != v1alpha1.FlowAvailable {
			f.DefaultVariant = "on"
		}
		file.Flags[FlagPrefix+s.Name] = f
	}
	content, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		panic("regional: flags of strings and booleans always marshal: " + err.Error())
	}
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: meta(rs, FlagsName(rs.Name), ComponentApplication),
		Data:       map[string]string{FlagsKey: string(content) + "\n"},
	}
}

// DegradedFlows reads a ConfigMap of Flags: which flows are degraded, by name. It is nil for one
// that cannot be understood.
func DegradedFlows(c *corev1.ConfigMap) map[string]bool {
	var file flagFile
	if err := json.Unmarshal([]byte(c.Data[FlagsKey]), &file); err != nil {
		return nil
	}
	degraded := make(map[string]bool, len(file.Flags))
	for name, f := range file.Flags {
		degraded[strings.TrimPrefix(name, FlagPrefix)] = f.DefaultVariant == "on"
	}
	return degraded
}
