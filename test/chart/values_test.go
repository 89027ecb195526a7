package chart_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
)

// storeObjects are what coordination.server adds to a release.
var storeObjects = []string{
	"StatefulSet/multiactive-coordination", "Service/multiactive-coordination", "PodDisruptionBudget/multiactive-coordination",
}

// insecureStore runs one member without TLS.
var insecureStore = []string{
	"--set", "coordination.server.enabled=true", "--set", "coordination.server.tls.insecure=true",
	"--set", "coordination.server.image.repository=registry.example.com/etcd", "--set", "coordination.server.image.tag=v3.6.16",
	"--set", "coordination.server.members[0].name=north", "--set", "coordination.server.members[0].peerURL=http://etcd.north:2380",
	"--set", "coordination.server.members[0].clientURL=http://etcd.north:2379",
}

func TestBadStoreValuesAreRefusedByName(t *testing.T) {
	const server, member = "coordination.server.", "coordination.server.members[0]."
	tests := map[string]struct{ set, want string }{
		"no image":                        {server + "image.repository=", server + "image: name the repository and tag"},
		"no tag":                          {server + "image.tag=", server + "image: name the repository and tag"},
		"a pull policy that is not":       {server + "image.pullPolicy=Sometimes", "/coordination/server/image/pullPolicy"},
		"no name":                         {"region=", server + "name: name this member, or set region"},
		"a name that is not listed":       {"region=nanjing", "this member, nanjing, is not among [beijing, shanghai, shenzhen]"},
		"a name that is none":             {server + "name=Bei Jing", "/coordination/server/name"},
		"a member's name twice":           {member + "name=shanghai", server + "members[1].name: shanghai is used twice"},
		"a URL twice":                     {member + "clientURL=https://etcd.sh.example.com:2379", server + "members[1].clientURL: https://etcd.sh.example.com:2379 is used twice"},
		"a URL without a port":            {member + "peerURL=https://etcd", "/coordination/server/members/0/peerURL"},
		"a URL with a path":               {member + "peerURL=https://etcd:2380/a", "/coordination/server/members/0/peerURL"},
		"a member without URLs":           {server + "members[3].name=nanjing", "/coordination/server/members/3"},
		"no members":                      {server + "members=null", "/coordination/endpoints"},
		"http with TLS":                   {member + "peerURL=http://etcd:2380", server + "members[0].peerURL: http://etcd:2380 must begin with https://"},
		"no peers' Secret":                {server + "tls.peerSecretName=", server + "tls: name peerSecretName and serverSecretName"},
		"no server's Secret":              {server + "tls.serverSecretName=", server + "tls: name peerSecretName and serverSecretName"},
		"https without TLS":               {server + "tls.insecure=true", "members[0].clientURL: https://etcd.bj.example.com:2379 must begin with http://"},
		"a state that is not":             {server + "initialClusterState=old", "/coordination/server/initialClusterState"},
		"no token":                        {server + "initialClusterToken=", "/coordination/server/initialClusterToken"},
		"a timeout without a unit":        {server + "electionTimeout=1000", "/coordination/server/electionTimeout"},
		"a timeout in seconds":            {server + "electionTimeout=2s", "/coordination/server/electionTimeout"},
		"elections that outlast leaders":  {server + "electionTimeout=2600ms", server + "electionTimeout: 2600ms is more than half of the leader's session, which is 5000ms with timings default"},
		"the default's with fast timings": {"timings=fast," + server + "electionTimeout=2000ms", "which is 2000ms with timings fast"},
		"elections at every hiccup":       {server + "electionTimeout=900ms", server + "electionTimeout: 900ms is less than 5 times heartbeatInterval, 200ms"},
		"a slow heartbeat":                {server + "heartbeatInterval=500ms", server + "electionTimeout: 2000ms is less than 5 times heartbeatInterval, 500ms"},
		"a tiny quota":                    {server + "quotaBackendBytes=1000", "/coordination/server/quotaBackendBytes"},
		"a retention that is not":         {server + "autoCompactionRetention=always", "/coordination/server/autoCompactionRetention"},
		"a size that is not":              {server + "storage.size=big", "/coordination/server/storage/size"},
		"a service type that is not":      {server + "service.type=ExternalName", "/coordination/server/service/type"},
		"a budget of more than the Pod":   {server + "podDisruptionBudget.maxUnavailable=2", "/coordination/server/podDisruptionBudget/maxUnavailable"},
		"a value that does not exist":     {server + "replicas=3", "replicas"},
		"a witness without a member":      {"mode=witness," + server + "enabled=false", "mode: a witness runs a member of the coordination store"},
		"managers without a certificate":  {server + "enabled=false,coordination.tls.secretName=", "coordination.tls.secretName: coordination.server.members demand a client certificate"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := command(t, "helm", "template", "release", "charts/multiactive", "--kube-version", kubeVersion,
				"--values", storeValues, "--set", "region=beijing", "--set", tt.set).CombinedOutput()
			if err == nil {
				t.Fatal("rendered, want it refused")
			}
			if !strings.Contains(string(out), tt.want) {
				t.Errorf("refused with\n%s\nwant it to say %s", out, tt.want)
			}
		})
	}
}

// The store's settings follow from the ones that people know: the timings, the region, the members.
func TestStoreFollowsTheTimingsAndTheMembers(t *testing.T) {
	tests := map[string]struct {
		arguments []string
		want      []string
	}{
		"default": {nil, []string{"--heartbeat-interval=200", "--election-timeout=2000", "--name=beijing", "--quota-backend-bytes=536870912"}},
		"fast":    {[]string{"--set", "timings=fast"}, []string{"--heartbeat-interval=100", "--election-timeout=1000"}},
		"own": {
			[]string{"--set", "coordination.server.heartbeatInterval=300ms,coordination.server.electionTimeout=2500ms,coordination.server.name=shanghai"},
			[]string{"--heartbeat-interval=300", "--election-timeout=2500", "--name=shanghai", "--initial-advertise-peer-urls=https://etcd.sh.example.com:2380"},
		},
		"endpoints of the members": {nil, []string{
			"--coordination-endpoints=https://etcd.bj.example.com:2379,https://etcd.sh.example.com:2379,https://etcd.sz.example.com:2379",
		}},
		"endpoints that are named": {[]string{"--set", "coordination.endpoints={https://near:2379}"}, []string{"--coordination-endpoints=https://near:2379"}},
		"endpoints without a member here": {[]string{"--set", "coordination.server.enabled=false"}, []string{
			"--coordination-endpoints=https://etcd.bj.example.com:2379,https://etcd.sh.example.com:2379,https://etcd.sz.example.com:2379",
			"secretName: coordination-client",
		}},
		"the server's certificate for want of another": {[]string{"--set", "coordination.tls.secretName=", "--show-only", "templates/deployment.yaml"}, []string{"secretName: coordination-server"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out := string(run(t, "helm", append([]string{
				"template", "release", "charts/multiactive", "--kube-version", kubeVersion, "--values", storeValues, "--set", "region=beijing",
			}, tt.arguments...)...))
			for _, line := range tt.want {
				if !strings.Contains(out, line+"\n") && !strings.Contains(out, line+",") {
					t.Errorf("no line ends with %s in\n%s", line, out)
				}
			}
		})
	}
}

func TestNotesTellTheNextStep(t *testing.T) {
	server := testkit.StartServer(t, apiserver.Options{})
	content, err := server.Kubeconfig(apiserver.Admin)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, content, 0o600); err != nil {
		t.Fatal(err)
	}
	const observes = "This release observes nobody"
	const warning = "WARNING"
	example := []string{"--values", storeValues, "--set", "region=beijing"}
	tests := map[string]struct {
		arguments []string
		want, not []string
	}{
		"hub":     {example, []string{"runs as hub", "with mode=member", `member "beijing"`, "Install the other regions' releases"}, []string{warning, observes}},
		"member":  {append([]string{"--set", "mode=member"}, example...), []string{"create token", "etcdctl endpoint health"}, []string{warning, observes}},
		"witness": {append([]string{"--set", "mode=witness"}, example...), []string{observes, "role Witness"}, []string{warning, "create token"}},
		"one that joins": {
			append([]string{"--set", "coordination.server.initialClusterState=existing"}, example...),
			[]string{`"etcdctl member add"`}, []string{warning, "Install the other"},
		},
		"one member, insecure": {append([]string{"--set", "region=north"}, insecureStore...), []string{"survive the loss of none", "coordination.server.tls.insecure"}, nil},
		"no store of its own":  {endpoints, []string{"WARNING: the coordination store is spoken to without TLS"}, []string{"etcdctl"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out := string(run(t, "helm", append([]string{
				"install", "release", "charts/multiactive", "--namespace", namespace, "--dry-run=client", "--skip-crds", "--kubeconfig", kubeconfig,
			}, tt.arguments...)...))
			_, notes, _ := strings.Cut(out, "\nNOTES:\n")
			for _, text := range tt.want {
				if !strings.Contains(notes, text) {
					t.Errorf("nothing says %q in\n%s", text, notes)
				}
			}
			for _, text := range tt.not {
				if strings.Contains(notes, text) {
					t.Errorf("%q is said in\n%s", text, notes)
				}
			}
		})
	}
}
