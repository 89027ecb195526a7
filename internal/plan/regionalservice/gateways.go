package regionalservice

import (
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
)

// gateways names the wanted ones of the gateway Pods that are not being deleted, sorted.
func gateways(rs *v1alpha1.RegionalService, seen Seen, wanted func(*corev1.Pod) bool) []string {
	var names []string
	for i := range seen.Pods {
		pod := &seen.Pods[i]
		if pod.Labels[regional.LabelService] == rs.Name && pod.Labels[regional.LabelComponent] == string(regional.ComponentGateway) &&
			pod.DeletionTimestamp == nil && wanted(pod) {
			names = append(names, pod.Name)
		}
	}
	slices.Sort(names)
	return names
}

// readyGateways names the gateway Pods that take requests.
func readyGateways(rs *v1alpha1.RegionalService, seen Seen) []string {
	return gateways(rs, seen, podReady)
}

// refusing names the gateway Pods that cannot use the routing, ready or not: one that has never had
// any is not.
func refusing(rs *v1alpha1.RegionalService, seen Seen) []string {
	return gateways(rs, seen, func(pod *corev1.Pod) bool { return seen.Refused[pod.Name] != "" })
}

func podReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// told bounds how many gateways, and how many of their reasons, a message has.
const told = 5

// refusalMessage tells which gateways refuse the routing and why: those with the same reason
// together.
func refusalMessage(names []string, seen Seen) string {
	var parts []string
	by := map[string][]string{}
	for _, name := range names {
		by[seen.Refused[name]] = append(by[seen.Refused[name]], name)
	}
	for _, name := range names {
		if why := seen.Refused[name]; by[why][0] == name {
			parts = append(parts, some(by[why], ", ")+": "+why)
		}
	}
	return "gateways cannot use the routing and go on with what they had: " + some(parts, "; ") +
		". Mend the field in the MultiActiveService or the Region; if it is as it should be, the gateways' image does not fit the member's"
}

// some lists the first ones.
func some(list []string, separator string) string {
	if len(list) <= told {
		return strings.Join(list, separator)
	}
	return strings.Join(list[:told], separator) + " and others"
}

// acknowledged is the lowest epoch that the named gateways act on; 0 when some has said nothing.
func acknowledged(gateways []string, seen Seen) int64 {
	if len(gateways) == 0 {
		return 0
	}
	lowest := seen.Acknowledged[gateways[0]]
	for _, name := range gateways {
		lowest = min(lowest, seen.Acknowledged[name])
	}
	return lowest
}

func gatewaysBehind(rs *v1alpha1.RegionalService, seen Seen) bool {
	ready := readyGateways(rs, seen)
	return len(ready) > 0 && seen.HasConfiguration && acknowledged(ready, seen) < seen.Configuration.View.Epoch
}

// gatewayDeployment is the gateways'; nil while there is none.
func gatewayDeployment(rs *v1alpha1.RegionalService, seen Seen) *appsv1.Deployment {
	for _, obj := range seen.Owned {
		if d, is := obj.(*appsv1.Deployment); is && d.Name == regional.GatewayName(rs.Name) {
			return d
		}
	}
	return nil
}

// acceptsPeers names the regions whose gateways every gateway here takes requests from over mutual TLS. While gateways
// are replaced it stays as it was: the former ones, which may not listen, get requests until the last has gone.
func acceptsPeers(rs *v1alpha1.RegionalService, seen Seen) []string {
	d := gatewayDeployment(rs, seen)
	switch {
	case rs.Spec.Gateway.PeerTLS == nil || d == nil:
		return nil
	case !rolledOut(d):
		return rs.Status.AcceptsPeers
	}
	ready := readyGateways(rs, seen)
	var names []string
	for _, p := range rs.Spec.Peers {
		refuses := func(gateway string) bool { return !slices.Contains(seen.TakesPeers[gateway], p.Name) }
		if p.Name != rs.Spec.Region && len(ready) > 0 && !slices.ContainsFunc(ready, refuses) {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	return names
}
