package replicationlink

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/desired/strimzi"
)

// Paused reports whether somebody has paused a link.
func Paused(link *v1alpha1.ReplicationLink) bool {
	_, paused := link.Annotations[regional.AnnotationPaused]
	return paused
}

// carried leaves out the topics whose links are paused.
func carried(topics []string, links []v1alpha1.ReplicationLink) []string {
	paused := map[string]bool{}
	for i := range links {
		paused[links[i].Spec.Topic] = paused[links[i].Spec.Topic] || Paused(&links[i])
	}
	return slices.DeleteFunc(slices.Clone(topics), func(topic string) bool { return paused[topic] })
}

// links makes those that are missing, and tells the others of the engine that carries them from now on. One
// that nobody needs stays until no mirror carries its topic any more: who removes the topic waits for that.
func (p *Plan) links(from string, topics []string, seen Seen, o regional.Options) {
	wanted, there := map[string]bool{}, make(map[string]*v1alpha1.ReplicationLink, len(seen.Links))
	for i := range seen.Links {
		there[seen.Links[i].Name] = &seen.Links[i]
	}
	for _, topic := range topics {
		link := regional.Link(topic, from, o.Region)
		link.Spec.Engine = p.Runner.Engine()
		wanted[link.Name] = true
		switch l := there[link.Name]; {
		case l == nil:
			p.Apply = append(p.Apply, link)
		case l.Spec.Engine != link.Spec.Engine && p.Problem == "" && p.Waiting == "" && regional.Made(l):
			p.Apply = append(p.Apply, link)
		}
	}
	still := p.Problem != "" || p.Waiting != "" || p.restarts(seen)
	for i := range seen.Links {
		l := &seen.Links[i]
		// Links that somebody else made are left alone.
		if !wanted[l.Name] && regional.Made(l) && l.DeletionTimestamp == nil && !still {
			p.Delete = append(p.Delete, l)
		}
	}
}

// Rewrites reports whether what runs the mirror is written, which is followed by another pass.
func (p *Plan) Rewrites() bool {
	return slices.ContainsFunc(p.Apply, func(obj regional.Object) bool { return !isLink(obj) })
}

func isLink(obj regional.Object) bool {
	_, is := obj.(*v1alpha1.ReplicationLink)
	return is
}

// restarts reports whether a mirror may still run by another configuration than the present one.
func (p *Plan) restarts(seen Seen) bool {
	if p.Rewrites() || slices.ContainsFunc(p.Delete, func(obj regional.Object) bool { return !isLink(obj) }) {
		return true
	}
	config := ""
	for _, d := range seen.deployments() {
		config = d.Spec.Template.Annotations[regional.AnnotationConfigHash]
		if d.Status.ObservedGeneration < d.Generation {
			return true
		}
	}
	for i := range seen.StrimziMakers {
		if !strimzi.StateOf(&seen.StrimziMakers[i]).Known {
			return true
		}
	}
	return slices.ContainsFunc(seen.Pods, func(pod corev1.Pod) bool {
		if len(seen.StrimziMakers) > 0 {
			return pod.DeletionTimestamp != nil
		}
		return pod.DeletionTimestamp != nil || pod.Annotations[regional.AnnotationConfigHash] != config
	})
}
