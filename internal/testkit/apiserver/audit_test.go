package apiserver_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
)

// What is written is told with who wrote it, also what was refused; what is read is not.
func TestWritesAreTold(t *testing.T) {
	t.Parallel()
	server := testkit.StartServer(t, apiserver.Options{Audit: true, Users: []apiserver.User{{Name: "guest"}}})
	admin := client(t, server, apiserver.Admin)
	before := time.Now()
	apply(t, admin.Resource(namespaces), namespace)
	if _, err := admin.Resource(namespaces).Get(t.Context(), "accounts", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := client(t, server, "guest").Resource(namespaces).Delete(t.Context(), "accounts", metav1.DeleteOptions{}); err == nil {
		t.Fatal("a guest could delete a namespace")
	}
	_, err := admin.Resource(namespaces).Patch(t.Context(), "accounts", "application/merge-patch+json",
		[]byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	var got []apiserver.Write
	writes, err := server.Writes(before)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range writes {
		if w.User == apiserver.Admin || w.User == "guest" { // the server writes too
			got = append(got, w)
		}
	}
	want := []apiserver.Write{
		{User: apiserver.Admin, Verb: "patch", Resource: "namespaces", Namespace: "accounts", Name: "accounts", Code: 201},
		{User: "guest", Verb: "delete", Resource: "namespaces", Namespace: "accounts", Name: "accounts", Code: 403},
		{User: apiserver.Admin, Verb: "patch", Resource: "namespaces/status", Namespace: "accounts", Name: "accounts", Code: 200},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(apiserver.Write{}, "At", "Agent")); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if later, err := server.Writes(time.Now().Add(time.Hour)); err != nil || len(later) > 0 {
		t.Errorf("later there are %v, %v", later, err)
	}
}

// What was refused for want of rights is told, of watched users reads as well; of others only writes, and reads of
// theirs are no writes.
func TestDeniedIsTold(t *testing.T) {
	t.Parallel()
	server := testkit.StartServer(t, apiserver.Options{
		Audit: true, AuditUsers: []string{"watched"}, Users: []apiserver.User{{Name: "spy", Groups: []string{"watched"}}, {Name: "guest"}},
	})
	for _, user := range []string{"spy", "guest"} {
		in := client(t, server, user).Resource(namespaces)
		if _, err := in.List(t.Context(), metav1.ListOptions{}); err == nil {
			t.Fatalf("%s could list namespaces", user)
		}
		if err := in.Delete(t.Context(), "default", metav1.DeleteOptions{}); err == nil {
			t.Fatalf("%s could delete a namespace", user)
		}
	}
	got, err := server.Denied()
	if err != nil {
		t.Fatal(err)
	}
	want := []apiserver.Write{
		{User: "spy", Verb: "list", Resource: "namespaces", Code: 403},
		{User: "spy", Verb: "delete", Resource: "namespaces", Namespace: "default", Name: "default", Code: 403},
		{User: "guest", Verb: "delete", Resource: "namespaces", Namespace: "default", Name: "default", Code: 403},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(apiserver.Write{}, "At", "Agent")); diff != "" {
		t.Errorf("denied (-want +got):\n%s", diff)
	}
	writes, err := server.Writes(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range writes {
		if w.Verb == "list" {
			t.Errorf("a read is told as a write: %s", w)
		}
	}
}

func TestWritesNeedALog(t *testing.T) {
	t.Parallel()
	server, err := apiserver.New(apiserver.Options{Name: "quiet", Dir: t.TempDir(), Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Writes(time.Time{}); err == nil {
		t.Error("there are writes without a log")
	}
}
