// Package metrics declares the operator's own metrics in one place. Labels are bounded by the
// objects that exist, and the series of an object go with it. It must never be a way for parts to
// talk to each other.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"multiactive.dev/operator/api/v1alpha1"
)

var (
	regionState = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "multiactive_region_state",
		Help: "1 for the state that the region is in, 0 for the others.",
	}, []string{"region", "state"})

	flowDegraded = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "multiactive_flow_degraded",
		Help: "1 while some keys of the flow are not served as declared, else 0.",
	}, []string{"namespace", "service", "flow"})

	storeBroken = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "multiactive_coordination_broken",
		Help: "1 while something is known that keeps the coordination store from serving this process, else 0.",
	})
	storeSize = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "multiactive_coordination_database_bytes",
		Help: "Size of the largest database of a member of the coordination store.",
	})
	storeQuota = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "multiactive_coordination_database_quota_bytes",
		Help: "Size at which that database takes no writes any more; 0 when not known.",
	})
	storeCertificate = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "multiactive_coordination_certificate_expiry_timestamp_seconds",
		Help: "When a certificate ends that the connections to the coordination store depend on.",
	}, []string{"certificate"})

	// A vector, so that a process without a webhook has no series.
	webhookCertificate = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "multiactive_webhook_certificate_expiry_timestamp_seconds",
		Help: "When the certificate ends that the webhook of this process serves with, where the operator makes it.",
	}, nil)
)

func init() {
	metrics.Registry.MustRegister(regionState, flowDegraded, storeBroken, storeSize, storeQuota, storeCertificate, webhookCertificate)
}

var regionStates = []v1alpha1.RegionPhase{
	v1alpha1.RegionUnknown, v1alpha1.RegionUp, v1alpha1.RegionSuspect,
	v1alpha1.RegionDown, v1alpha1.RegionReturning, v1alpha1.RegionDrained,
}

// SetRegionState records the state that a region is in.
func SetRegionState(region string, state v1alpha1.RegionPhase) {
	for _, s := range regionStates {
		regionState.WithLabelValues(region, string(s)).Set(gauge(s == state))
	}
}

// DeleteRegion removes a region's series.
func DeleteRegion(region string) {
	regionState.DeletePartialMatch(prometheus.Labels{"region": region})
}

// SetFlows records which of a service's flows are degraded, and removes the series of flows that
// are declared no more.
func SetFlows(namespace, service string, degraded map[string]bool) {
	DeleteService(namespace, service)
	for flow, is := range degraded {
		flowDegraded.WithLabelValues(namespace, service, flow).Set(gauge(is))
	}
}

// DeleteService removes a service's series.
func DeleteService(namespace, service string) {
	flowDegraded.DeletePartialMatch(prometheus.Labels{"namespace": namespace, "service": service})
}

// SetStore records how the coordination store stands, with the ends of the certificates by what they are.
func SetStore(broken bool, size, quota int64, certificates map[string]time.Time) {
	storeBroken.Set(gauge(broken))
	storeSize.Set(float64(size))
	storeQuota.Set(float64(quota))
	storeCertificate.Reset()
	for what, ends := range certificates {
		storeCertificate.WithLabelValues(what).Set(float64(ends.Unix()))
	}
}

// SetWebhookCertificate records when the certificate ends that the webhook serves with.
func SetWebhookCertificate(ends time.Time) {
	webhookCertificate.WithLabelValues().Set(float64(ends.Unix()))
}

func gauge(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
