package order_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/order"
)

func TestName(t *testing.T) {
	t.Parallel()
	name := func(name, uid string) string {
		return order.Name(&v1alpha1.Operation{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(uid)}})
	}
	if a, again := name("drain", "1"), name("drain", "1"); a != again || !strings.HasPrefix(a, "drain-") || len(a) != len("drain-")+8 {
		t.Errorf("names %q and %q", a, again)
	}
	if a, b := name("drain", "1"), name("drain", "2"); a == b {
		t.Errorf("%q is the name of two orders", a)
	}
	long := strings.Repeat("a", 252)
	if a, b := name(long+"b", "1"), name(long+"c", "2"); a == b || len(a) != 253 {
		t.Errorf("long names: %d characters, equal: %t", len(a), a == b)
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		`kubectl create -f - <<< '{"apiVersion":"multiactive.dev/v1alpha1","kind":"Operation","metadata":{"generateName":"handback-beijing-"},` +
			`"spec":{"region":"beijing","type":"Handback"}}'`: order.Command(v1alpha1.OperationHandback, "beijing", nil),
		`kubectl create -f - <<< '{"apiVersion":"multiactive.dev/v1alpha1","kind":"Operation","metadata":{"generateName":"abandon-user-"},` +
			`"spec":{"service":{"namespace":"accounts","name":"user"},"type":"Abandon"}}'`: order.Command(
			v1alpha1.OperationAbandon, "", &v1alpha1.ServiceKey{Namespace: "accounts", Name: "user"}),
	} {
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
