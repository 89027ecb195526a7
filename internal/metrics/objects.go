package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
)

var (
	conditionDesc = prometheus.NewDesc("multiactive_condition",
		"1 for each condition that an object has now, by its status and reason.", []string{"kind", "namespace", "name", "type", "status", "reason"}, nil)
	flowInfoDesc = prometheus.NewDesc("multiactive_flow_info",
		"1 for each declared flow, by its tier.", []string{"namespace", "service", "flow", "tier"}, nil)
	incidentStartDesc = prometheus.NewDesc("multiactive_incident_start_timestamp_seconds",
		"When an outage that is not over began, by the state that it is in.", []string{"incident", "region", "state"}, nil)
	linkObjectiveDesc = prometheus.NewDesc("multiactive_link_objective_seconds",
		"Strictest objective of the data classes that a link carries, while no region is lost.", []string{"link", "from", "to"}, nil)
	linkRiskDesc = prometheus.NewDesc("multiactive_link_data_at_risk_seconds",
		"Lag of a link when its source region was lost; no series while it is not, or when the lag was not known.", []string{"link", "from", "to"}, nil)
)

// readWithin bounds reading one kind: a cache that is not there yet must not hold up a scrape.
const readWithin = time.Second

// Objects tells how the objects that a manager works on stand, as its cache has them when it is asked: whichever
// replica acts, all of them tell the same, and what is deleted has no series. The first scrape of a replica that stands
// by has its cache filled. It implements prometheus.Collector.
type Objects struct {
	// Reader is the manager's cache. Required.
	Reader client.Reader
	// Hub and Member say which kinds the manager works on; a peer has both.
	Hub, Member bool
}

// Describe implements prometheus.Collector.
func (*Objects) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{conditionDesc, flowInfoDesc, incidentStartDesc, linkObjectiveDesc, linkRiskDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector. A kind that cannot be read is left out.
func (o *Objects) Collect(out chan<- prometheus.Metric) {
	if o.Hub {
		o.hub(out)
	}
	if o.Member {
		o.member(out)
	}
}

func (o *Objects) hub(out chan<- prometheus.Metric) {
	for _, r := range listed(o.Reader, &v1alpha1.RegionList{}).Items {
		tell(out, "Region", &r, r.Status.Conditions)
	}
	for _, s := range listed(o.Reader, &v1alpha1.DataStoreList{}).Items {
		tell(out, "DataStore", &s, s.Status.Conditions)
	}
	for _, op := range listed(o.Reader, &v1alpha1.OperationList{}).Items {
		tell(out, "Operation", &op, op.Status.Conditions)
	}
	for _, s := range listed(o.Reader, &v1alpha1.MultiActiveServiceList{}).Items {
		tell(out, "MultiActiveService", &s, s.Status.Conditions)
	}
	for _, i := range listed(o.Reader, &v1alpha1.RegionIncidentList{}).Items {
		// Those that are over are history: fifty of them.
		if i.Status.EndedAt != nil || i.Status.StartedAt == nil {
			continue
		}
		tell(out, "RegionIncident", &i, i.Status.Conditions)
		out <- value(incidentStartDesc, float64(i.Status.StartedAt.Unix()), i.Name, i.Spec.Region, string(i.Status.State))
	}
}

func (o *Objects) member(out chan<- prometheus.Metric) {
	// By topic and store, and by link.
	objectives, risks := map[string]time.Duration{}, map[string]time.Duration{}
	for _, s := range listed(o.Reader, &v1alpha1.RegionalServiceList{}).Items {
		tell(out, "RegionalService", &s, s.Status.Conditions)
		for _, f := range s.Spec.Behaviours {
			out <- value(flowInfoDesc, 1, s.Namespace, s.Name, f.Name, string(f.Tier))
		}
		for _, t := range s.Spec.Topics {
			lower(objectives, "topic/"+t.Name, t.Objective)
		}
		for _, store := range s.Spec.Stores {
			for _, c := range store.Classes {
				lower(objectives, "store/"+store.Name, c.Objective)
			}
		}
		for _, r := range s.Status.DataAtRisk {
			if r.Lag != nil {
				risks[r.Name] = max(risks[r.Name], r.Lag.Duration)
			}
		}
	}
	for _, l := range listed(o.Reader, &v1alpha1.ReplicationLinkList{}).Items {
		tell(out, "ReplicationLink", &l, l.Status.Conditions)
		carries := "topic/" + l.Spec.Topic
		if l.Spec.Store != "" {
			carries = "store/" + l.Spec.Store
		}
		if d, known := objectives[carries]; known {
			out <- value(linkObjectiveDesc, d.Seconds(), l.Name, l.Spec.From, l.Spec.To)
		}
		if d, known := risks[l.Name]; known {
			out <- value(linkRiskDesc, d.Seconds(), l.Name, l.Spec.From, l.Spec.To)
		}
	}
}

// listed reads all objects of a kind, none when they cannot be read.
func listed[L client.ObjectList](reader client.Reader, list L) L {
	ctx, cancel := context.WithTimeout(context.Background(), readWithin)
	defer cancel()
	_ = reader.List(ctx, list, client.UnsafeDisableDeepCopy) // an empty list says as much
	return list
}

func tell(out chan<- prometheus.Metric, kind string, object client.Object, conditions []metav1.Condition) {
	for _, c := range conditions {
		out <- value(conditionDesc, 1, kind, object.GetNamespace(), object.GetName(), c.Type, string(c.Status), c.Reason)
	}
}

func lower(objectives map[string]time.Duration, of string, d *metav1.Duration) {
	if d == nil {
		return
	}
	if have, known := objectives[of]; !known || d.Duration < have {
		objectives[of] = d.Duration
	}
}

func value(desc *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
}
