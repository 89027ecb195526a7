package replicationlink

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/testkit/ports"
)

// A mirror is asked at its Pod's address, where the port is always the same: each case has a
// loopback address of its own.
func TestMirrors(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		ready  corev1.ConditionStatus
		want   string
		losses string
	}{
		"what is wrong":         {http.StatusServiceUnavailable, "source: no broker answers\n", corev1.ConditionFalse, "source: no broker answers", ""},
		"ready: it passes":      {http.StatusServiceUnavailable, "stale", corev1.ConditionTrue, "", ""},
		"something is lost":     {http.StatusOK, "ok\nlost a.t: partition 0: 5 records\nlost a.u: more\n", corev1.ConditionTrue, "", "a.t: partition 0: 5 records|a.u: more"},
		"nothing wrong":         {http.StatusOK, "ok", corev1.ConditionFalse, "", ""},
		"redirects are refused": {http.StatusFound, "elsewhere", corev1.ConditionFalse, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			host := ports.Host()
			listener, err := net.Listen("tcp", net.JoinHostPort(host, "8080"))
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "http://127.0.0.1:1/")
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
			})}
			go func() { _ = server.Serve(listener) }()
			t.Cleanup(func() { _ = server.Close() })
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "mirror", Labels: map[string]string{regional.LabelMirrorFrom: "beijing"}},
				Status:     corev1.PodStatus{PodIP: host, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: test.ready}}},
			}
			// One that has ended, and does not answer, is asked after it.
			ended := pod.DeepCopy()
			ended.Name, ended.Status.PodIP = "mirror-ended", ports.Host()
			reader := fake.NewClientBuilder().WithObjects(pod, ended).WithStatusSubresource(pod).Build()
			m := NewMirrors(reader, "system", clocktesting.NewFakeClock(time.Now()))
			m.round(t.Context())
			if got := m.Problem("beijing"); got != test.want {
				t.Errorf("problem %q, want %q", got, test.want)
			}
			if got := strings.Join(m.Losses("beijing"), "|"); got != test.losses {
				t.Errorf("losses %q, want %q", got, test.losses)
			}
			if news := len(m.changed); (news > 0) != (test.want+test.losses != "") {
				t.Errorf("%d announcements for problem %q", news, test.want)
			}
			if test.want+test.losses == "" {
				return
			}
			<-m.changed
			m.round(t.Context())
			if len(m.changed) > 0 {
				t.Error("the same problem is announced again")
			}
			if err := reader.Delete(t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
				t.Fatal(err)
			}
			m.round(t.Context())
			if m.Problem("beijing") != "" || len(m.Losses("beijing")) > 0 || len(m.changed) != 1 {
				t.Errorf("problem %q, %d announcements after the mirror went", m.Problem("beijing"), len(m.changed))
			}
		})
	}
}
