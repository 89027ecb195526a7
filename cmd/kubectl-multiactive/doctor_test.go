package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
)

func managerObject() *appsv1.Deployment {
	labels := map[string]string{"app.kubernetes.io/name": "multiactive", "app.kubernetes.io/component": "hub"}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "multiactive-hub", Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](2), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
				Containers: []corev1.Container{{Name: "manager", Image: "registry.example.com:5000/multiactive:v0.1.0"}},
			}},
		},
		Status: appsv1.DeploymentStatus{Replicas: 2, ReadyReplicas: 2},
	}
}

func testDoctor(t *testing.T, w *hubWorld) {
	w.expect(exitFailed, "doctor").has("ok    hub", "ok    resources  7 kinds are served", "fail  manager", "no Deployment of the chart", "fail  regions", "no Region is declared", "you may do 6 of the 6")
	w.expect(0, "version").has(version, "hub: no Deployment of the chart")

	manager := managerObject()
	w.put(manager)
	renewed := metav1.NewMicroTime(night.Add(-time.Second))
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "multiactive-hub"},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: ptr.To("hub-1"), LeaseDurationSeconds: ptr.To[int32](15), RenewTime: &renewed},
	}
	must(t, w.client.Create(t.Context(), lease))
	s := normalDay(t)
	for _, name := range s.regionNames() {
		s.regions[name].Spec.Cluster.KubeconfigSecretRef.Name = "none"
		w.put(s.regions[name])
	}
	w.put(&s.services[0])
	w.expect(exitFailed, "doctor").has("ok    manager/multiactive-hub", "2/2 ready, registry.example.com:5000/multiactive:v0.1.0", "ok    leader", "hub-1 acts",
		"ok    region/beijing", "ok    service/accounts/user", "fail  member/beijing", `reading Secret multiactive-system/none in the hub`, "next: kubectl multiactive join beijing makes it")
	w.expect(exitFailed, "doctor", "-o", "json").has(`"level": "fail"`, `"fail": 3`)
	defer func(was string) { version = was }(version)
	version = "v0.2.0"
	w.expect(exitFailed, "doctor").has("it runs version v0.1.0, and this command is v0.2.0")
	w.expect(exitAttention, "version").has("v0.2.0", "hub: multiactive-hub registry.example.com:5000/multiactive:v0.1.0", "versions differ")
	w.expect(0, "version", "--client").has("v0.2.0")

	old := metav1.NewMicroTime(night.Add(-time.Hour))
	lease.Spec.RenewTime = &old
	must(t, w.client.Update(t.Context(), lease))
	must(t, w.client.Get(t.Context(), client.ObjectKeyFromObject(manager), manager))
	manager.Status.ReadyReplicas = 0
	must(t, w.client.Status().Update(t.Context(), manager))
	w.expect(exitFailed, "doctor").has("fail  manager/multiactive-hub  0/2 ready", "nobody holds Lease multiactive-hub now", "kubectl -n multiactive-system describe deployment multiactive-hub")
	must(t, w.client.Delete(t.Context(), lease))
	must(t, w.client.Delete(t.Context(), manager))
}

func TestDoctorWithoutHub(t *testing.T) {
	var out bytes.Buffer
	code := exitCode(run(t.Context(), []string{"doctor"}, terminal{out: &out, err: &out, config: func(string) (*rest.Config, error) {
		return &rest.Config{Host: "http://127.0.0.1:1"}, nil
	}}), &out)
	if code != exitFailed || !strings.Contains(out.String(), "fail  hub  its API server does not answer") {
		t.Errorf("ended with %d:\n%s", code, out.String())
	}
}

// What the hub reports of an outage ends in findings with a next step.
func TestDoctorObjects(t *testing.T) {
	s := outage(t)
	delete(s.regions, "shenzhen")
	s.services[0].Status.Conditions[1] = condition(v1alpha1.ConditionCoreAvailable, metav1.ConditionFalse, v1alpha1.ReasonHomeRegionLost, "core flows that are not served for every key: register")
	d := &doctor{o: &doctorOptions{}}
	for _, name := range s.regionNames() {
		d.region(s.regions[name])
	}
	for i := range s.services {
		d.service(&s.services[i])
	}
	d.clock("member/beijing", -time.Minute)
	d.clock("hub", time.Second)
	var out bytes.Buffer
	d.t = terminal{out: &out}
	must(t, d.print())
	golden(t, "doctor-outage", out.String())
}
