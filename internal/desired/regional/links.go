package regional

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
)

// maxName bounds an object's name.
const maxName = 253

// Link returns the ReplicationLink of a topic from a region to this one.
func Link(topic, from, to string) *v1alpha1.ReplicationLink {
	return &v1alpha1.ReplicationLink{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ReplicationLink"},
		ObjectMeta: metav1.ObjectMeta{
			Name: LinkName(topic, from), Labels: map[string]string{LabelManagedBy: ManagedBy, LabelMirrorFrom: from},
		},
		Spec: v1alpha1.ReplicationLinkSpec{Topic: topic, Engine: v1alpha1.LinkBuiltin, From: from, To: to},
	}
}

// AnnotationStore has, on a store's link, the slice of the store that it was made for: once no service names the store,
// nothing else says how its server is reached.
const AnnotationStore = "multiactive.dev/store"

// StoreLink returns the ReplicationLink of a store from a region to this one.
func StoreLink(s *v1alpha1.StoreSlice, from, to string) *v1alpha1.ReplicationLink {
	link := Link("", from, to)
	link.Name = StoreLinkName(s.Name, from)
	link.Spec = v1alpha1.ReplicationLinkSpec{Store: s.Name, Engine: v1alpha1.LinkEngine(s.Engine), From: from, To: to}
	text, err := json.Marshal(s)
	if err != nil {
		panic("regional: API types always marshal: " + err.Error())
	}
	link.Annotations = map[string]string{AnnotationStore: string(text)}
	return link
}

// StoreOf returns the slice of the store that a link was made for; false when the link does not say.
func StoreOf(link *v1alpha1.ReplicationLink) (v1alpha1.StoreSlice, bool) {
	var s v1alpha1.StoreSlice
	err := json.Unmarshal([]byte(link.Annotations[AnnotationStore]), &s)
	return s, err == nil && s.Name != ""
}

// StoreLinkName is the name of a store's link from a region: store-<store>-from-<region>.
func StoreLinkName(store, from string) string { return ObjectName("store-"+store, "-from-"+from) }

// LinkName is the name of a topic's link from a region: <topic>-from-<region>.
func LinkName(topic, from string) string { return ObjectName(topic, "-from-"+from) }

// ObjectName is the name of an object that is about a topic, with a suffix. Topics allow more than names of
// objects do; one that had to be changed to fit carries a hash of the original, so that two topics never
// share an object.
func ObjectName(topic, suffix string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '.':
			return r
		case r >= 'A' && r <= 'Z':
			return r + ('a' - 'A')
		}
		return '-'
	}, topic)
	// A name's parts between dots begin and end with a letter or a digit.
	parts := strings.Split(clean, ".")
	kept := parts[:0]
	for _, part := range parts {
		if part = strings.Trim(part, "-"); part != "" {
			kept = append(kept, part)
		}
	}
	clean = strings.Join(kept, ".")
	if clean == topic && len(clean)+len(suffix) <= maxName {
		return clean + suffix
	}
	sum := sha256.Sum256([]byte(topic))
	suffix = "-" + hex.EncodeToString(sum[:4]) + suffix
	if over := len(clean) + len(suffix) - maxName; over > 0 {
		clean = strings.TrimRight(clean[:len(clean)-over], ".-")
	}
	if clean == "" {
		clean = "topic"
	}
	return clean + suffix
}
