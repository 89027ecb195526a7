package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	plan "multiactive.dev/operator/internal/plan/store"
	"multiactive.dev/operator/internal/storage"
)

const here = "beijing"

func sliced(change func(*v1alpha1.StoreSlice)) v1alpha1.StoreSlice {
	s := v1alpha1.StoreSlice{
		Name: "db", StoreID: "d", Generation: 1, Engine: v1alpha1.EngineMariaDB, Management: v1alpha1.StoreManaged,
		Topology: v1alpha1.StoreTopology{Type: v1alpha1.TopologyMesh},
		Classes:  []v1alpha1.StoreClass{{Name: "profile", Tables: []string{"b.b", "a.a"}, Objective: &metav1.Duration{Duration: time.Minute}, Outage: &metav1.Duration{Duration: 2 * time.Hour}}},
	}
	for _, r := range []string{"beijing", "shanghai", "shenzhen"} {
		s.Endpoints = append(s.Endpoints, v1alpha1.StoreEndpoint{Region: r, Address: r + ":3306"})
	}
	if change != nil {
		change(&s)
	}
	return s
}

func serviceWith(uid string, s v1alpha1.StoreSlice) v1alpha1.RegionalService {
	return v1alpha1.RegionalService{Spec: v1alpha1.RegionalServiceSpec{Region: here, ServiceID: uid, Stores: []v1alpha1.StoreSlice{s}}}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	newer := sliced(func(s *v1alpha1.StoreSlice) {
		s.Generation = 2
		s.Endpoints[0].Address = "moved:3306"
		s.Classes = []v1alpha1.StoreClass{{Name: "order", Tables: []string{"c.c", "a.a"}}}
	})
	got := plan.Merge([]v1alpha1.RegionalService{serviceWith("u-2", newer), serviceWith("u-1", sliced(nil))}, here)["db"]
	want := storage.Want{
		Store: "db", Region: here, Regions: []string{"beijing", "shanghai", "shenzhen"}, Mesh: true, Writable: true,
		Sources: []storage.Source{{Region: "shanghai", Address: "shanghai:3306"}, {Region: "shenzhen", Address: "shenzhen:3306"}},
		Tables:  []string{"a.a", "b.b", "c.c"}, Outage: 2 * time.Hour,
	}
	if diff := cmp.Diff(want, got.Want); diff != "" {
		t.Error(diff)
	}
	if got.Endpoint.Address != "moved:3306" || got.Objective != time.Minute || !cmp.Equal(got.Services, []string{"u-1", "u-2"}) {
		t.Errorf("declared as %+v", got)
	}
	for name, s := range map[string]v1alpha1.StoreSlice{
		"nowhere here": sliced(func(s *v1alpha1.StoreSlice) { s.Endpoints = s.Endpoints[1:] }),
		"external":     sliced(func(s *v1alpha1.StoreSlice) { s.Management = v1alpha1.StoreExternal }),
	} {
		if got := plan.Merge([]v1alpha1.RegionalService{serviceWith("u", s)}, here); len(got) > 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestLed(t *testing.T) {
	t.Parallel()
	d := plan.Merge([]v1alpha1.RegionalService{serviceWith("u", sliced(func(s *v1alpha1.StoreSlice) {
		s.Topology = v1alpha1.StoreTopology{Type: v1alpha1.TopologyPrimaryReplica, Primary: "shanghai"}
	}))}, here)["db"]
	sources := func(d *plan.Declared) string {
		var names []string
		for _, s := range d.Want.Sources {
			names = append(names, s.Region)
		}
		return strings.Join(names, " ")
	}
	for primary, want := range map[string]struct {
		sources  string
		writable bool
	}{"shanghai": {"shanghai", false}, "beijing": {"", true}, "shenzhen": {"shenzhen", false}, "": {"", false}} {
		led := d.Led(primary)
		if sources(led) != want.sources || led.Want.Writable != want.writable {
			t.Errorf("led by %q: sources %q, writable %t", primary, sources(led), led.Want.Writable)
		}
	}
	if sources(d) != "shanghai" {
		t.Errorf("the declaration was changed: %q", sources(d))
	}
}

func TestLeave(t *testing.T) {
	t.Parallel()
	link := regional.StoreLink(ptr.To(sliced(nil)), "shanghai", here)
	last, known := regional.StoreOf(link)
	d := plan.Leave(last, here)
	if !known || d == nil || !d.Leaving || len(d.Want.Sources) > 0 || len(d.Want.Regions) != 3 {
		t.Fatalf("the link says %t, %+v", known, d)
	}
	steps := plan.Steps(d, plan.Seen{Observation: storage.Observation{Prepared: true, Links: map[string]storage.Link{"shanghai": {Receiving: true}}}})
	if len(steps) != 1 || steps[0].Kind != plan.StepDisconnect || steps[0].From != "shanghai" {
		t.Errorf("steps are %+v", steps)
	}
	if plan.Leave(sliced(func(s *v1alpha1.StoreSlice) { s.Management = v1alpha1.StoreObserved }), here) != nil {
		t.Error("replication that is not the operator's is taken down")
	}
	if _, known := regional.StoreOf(&v1alpha1.ReplicationLink{}); known {
		t.Error("a link without the annotation tells of a store")
	}
}

func TestSteps(t *testing.T) {
	t.Parallel()
	online := storage.Finding{Check: "gtid_ignore_duplicates", Statement: "SET GLOBAL gtid_ignore_duplicates = ON", Online: true, Blocks: true}
	offline := storage.Finding{Check: "log_bin", Blocks: true}
	well := func() storage.Observation {
		return storage.Observation{Prepared: true, Links: map[string]storage.Link{
			"shanghai": {Address: "shanghai:3306", Receiving: true, Applying: true}, "shenzhen": {Address: "shenzhen:3306", Receiving: true, Applying: true},
		}}
	}
	link := func(change func(*storage.Link)) func(*storage.Observation) {
		return func(o *storage.Observation) {
			l := o.Links["shanghai"]
			change(&l)
			o.Links["shanghai"] = l
		}
	}
	fault := func(kind storage.FaultKind) func(*storage.Observation) {
		return link(func(l *storage.Link) { l.Fault = &storage.Fault{Kind: kind} })
	}
	for name, test := range map[string]struct {
		slice func(*v1alpha1.StoreSlice)
		seen  func(*plan.Seen)
		o     func(*storage.Observation)
		want  string
	}{
		"all is well": {},
		"a bare server": {o: func(o *storage.Observation) { *o = storage.Observation{} },
			want: "Prepare Connect:shanghai Connect:shenzhen"},
		"a bare server that is not as it must be": {o: func(o *storage.Observation) { *o = storage.Observation{Findings: []storage.Finding{offline}} },
			want: "Prepare"},
		"what is found later takes no link away": {o: func(o *storage.Observation) { o.Findings = []storage.Finding{offline} }},
		"settings that nobody may set":           {o: func(o *storage.Observation) { *o = storage.Observation{Findings: []storage.Finding{online}} }, want: "Prepare"},
		"settings that are set": {slice: func(s *v1alpha1.StoreSlice) { s.ManageSettings = v1alpha1.ChoiceYes },
			o:    func(o *storage.Observation) { *o = storage.Observation{Findings: []storage.Finding{online}} },
			want: "Mend Prepare Connect:shanghai Connect:shenzhen"},
		"another address":                     {o: link(func(l *storage.Link) { l.Address = "elsewhere:3306" }), want: "Connect:shanghai"},
		"stopped by somebody":                 {o: link(func(l *storage.Link) { l.Stopped = true }), want: "Connect:shanghai"},
		"paused":                              {seen: func(s *plan.Seen) { s.Paused = map[string]bool{"shanghai": true} }, want: "Pause:shanghai"},
		"paused already":                      {seen: func(s *plan.Seen) { s.Paused = map[string]bool{"shanghai": true} }, o: link(func(l *storage.Link) { l.Stopped = true })},
		"other credentials":                   {seen: func(s *plan.Seen) { s.Renewed = true }, want: "Prepare Connect:shanghai Connect:shenzhen"},
		"a connection is tried by the engine": {o: fault(storage.FaultConnection)},
		"a conflict is a person's":            {o: fault(storage.FaultConflict)},
		"what is purged is a person's":        {o: fault(storage.FaultPurged)},
		"what may be mended is tried": {o: func(o *storage.Observation) {
			o.Links["shanghai"] = storage.Link{Address: "shanghai:3306", Fault: &storage.Fault{Kind: storage.FaultPurged}, Mendable: true}
		}, want: "Connect:shanghai"},
		"an unknown fault is a person's":                 {o: fault(storage.FaultOther)},
		"refused credentials are tried":                  {o: fault(storage.FaultCredentials), want: "Connect:shanghai"},
		"a full disk is tried":                           {o: fault(storage.FaultDisk), want: "Connect:shanghai"},
		"from a region that is not the store's any more": {o: func(o *storage.Observation) { o.Links["gone"] = storage.Link{} }, want: "Disconnect:gone"},
		"only watched": {slice: func(s *v1alpha1.StoreSlice) { s.Management = v1alpha1.StoreObserved },
			o: func(o *storage.Observation) { o.Links = nil }},
		"only watched, not prepared": {slice: func(s *v1alpha1.StoreSlice) { s.Management = v1alpha1.StoreObserved },
			o: func(o *storage.Observation) { *o = storage.Observation{Findings: []storage.Finding{online}} }, want: "Prepare"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := plan.Merge([]v1alpha1.RegionalService{serviceWith("u", sliced(test.slice))}, here)["db"]
			seen := plan.Seen{Observation: well()}
			if test.o != nil {
				test.o(&seen.Observation)
			}
			if test.seen != nil {
				test.seen(&seen)
			}
			var got []string
			for _, s := range plan.Steps(d, seen) {
				text := string(s.Kind)
				if about := s.From + s.Source.Region; about != "" {
					text += ":" + about
				}
				got = append(got, text)
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("steps %v, want %q", got, test.want)
			}
		})
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		look   func(*plan.Look)
		link   func(*v1alpha1.ReplicationLink)
		lost   bool
		state  v1alpha1.LinkState
		lag    string
		want   map[string]string // condition: status/reason
		words  map[string]string
		last   string
		server string
	}{
		"streaming": {state: v1alpha1.LinkStreaming, lag: "<2s", server: "True/AsDeclared", want: map[string]string{
			"Configured": "True/AsDeclared", "Streaming": "True/Streaming", "CaughtUp": "True/Streaming", "Retained": "True/AsDeclared",
		}},
		"not looked at": {look: func(l *plan.Look) { *l = plan.Look{} }, server: "Unknown/NotYetObserved", want: map[string]string{
			"Configured": "Unknown/NotYetObserved", "Streaming": "Unknown/NotYetObserved",
		}},
		"lagging": {look: func(l *plan.Look) {
			l.Links["shanghai"] = plan.LinkLook{Known: true, Age: 2 * time.Minute, Step: "<5m"}
		},
			state: v1alpha1.LinkLagging, lag: "<5m", server: "True/AsDeclared", want: map[string]string{"CaughtUp": "False/Lagging", "Streaming": "False/Lagging"}},
		"no canary yet": {look: func(l *plan.Look) { l.Links = nil }, state: v1alpha1.LinkProvisioning, lag: "unknown", server: "True/AsDeclared",
			want: map[string]string{"CaughtUp": "Unknown/LagUnknown", "Streaming": "Unknown/LagUnknown"}},
		"a conflict": {look: func(l *plan.Look) {
			l.Observation.Links["shanghai"] = storage.Link{Address: "shanghai:3306", Fault: &storage.Fault{Kind: storage.FaultConflict, Code: "1062", Message: "Duplicate entry '1'", Remedy: "Compare the rows"}}
		}, state: v1alpha1.LinkBroken, lag: "<2s", last: "1062 Duplicate entry '1'", server: "True/AsDeclared", want: map[string]string{"Streaming": "False/ConflictingRows"},
			words: map[string]string{"Streaming": "1062 Duplicate entry '1'. Compare the rows"}},
		"the source restarts": {look: func(l *plan.Look) {
			l.Observation.Links["shanghai"] = storage.Link{Address: "shanghai:3306", Fault: &storage.Fault{Kind: storage.FaultConnection, Code: "2003", Message: "cannot connect"}}
		}, state: v1alpha1.LinkStreaming, lag: "<2s", last: "2003 cannot connect", server: "True/AsDeclared", want: map[string]string{"Streaming": "False/EngineFault"}},
		"the source is lost": {lost: true, state: v1alpha1.LinkBroken, lag: "<2s", server: "True/AsDeclared", want: map[string]string{"Streaming": "False/SourceLost"}},
		"paused": {link: func(l *v1alpha1.ReplicationLink) { l.Annotations = map[string]string{regional.AnnotationPaused: "x"} },
			state: v1alpha1.LinkPaused, lag: "unknown", server: "True/AsDeclared", want: map[string]string{"Streaming": "False/Paused", "CaughtUp": "Unknown/Paused"}},
		"to be seeded": {look: func(l *plan.Look) {
			delete(l.Observation.Links, "shanghai")
			l.Links["shanghai"] = plan.LinkLook{Bootstrap: &storage.Bootstrap{Why: "the source has purged it", Commands: []string{"dump", "load"}}, Failure: "the source has purged it"}
		}, state: v1alpha1.LinkBroken, lag: "unknown", last: "the source has purged it", server: "True/AsDeclared",
			want: map[string]string{"Configured": "False/BootstrapRequired"}, words: map[string]string{"Configured": "dump && load"}},
		"something would be lost": {look: func(l *plan.Look) {
			delete(l.Observation.Links, "shanghai")
			l.Links["shanghai"] = plan.LinkLook{Bootstrap: &storage.Bootstrap{Why: "it has 2 keys", Commands: []string{"copy", "replicate"}, Loss: &storage.Loss{Token: "5f1c20aa"}}}
		}, state: v1alpha1.LinkBroken, lag: "unknown", server: "True/AsDeclared",
			want:  map[string]string{"Configured": "False/BootstrapRequired"},
			words: map[string]string{"Configured": "it has 2 keys: accept that with the annotation multiactive.dev/accept-loss=5f1c20aa on this link, or keep a copy first: copy && replicate"}},
		"something is lost by itself": {look: func(l *plan.Look) {
			delete(l.Observation.Links, "shanghai")
			l.Links["shanghai"] = plan.LinkLook{GoesOn: true, Bootstrap: &storage.Bootstrap{Why: "it has 2 keys", Commands: []string{"copy"}, Loss: &storage.Loss{Token: "5f1c20aa"}}}
		}, state: v1alpha1.LinkBroken, lag: "unknown", server: "True/AsDeclared", want: map[string]string{"Configured": "False/BootstrapRequired"},
			words: map[string]string{"Configured": "it has 2 keys: it does now, for failover.handback of the store's services is Automatic"}},
		"something was lost": {look: func(l *plan.Look) {
			at := l.Links["shanghai"]
			at.Lost = "it had 2 keys"
			l.Links["shanghai"] = at
		}, state: v1alpha1.LinkStreaming, lag: "<2s", server: "True/AsDeclared", want: map[string]string{"Configured": "True/AsDeclared"},
			words: map[string]string{"Configured": "the link is set up, and the server has lost what it alone had: it had 2 keys"}},
		"purged": {look: func(l *plan.Look) {
			l.Observation.Links["shanghai"] = storage.Link{Address: "shanghai:3306", Fault: &storage.Fault{Kind: storage.FaultPurged, Code: "1236", Message: "purged"}}
		}, state: v1alpha1.LinkBroken, lag: "<2s", last: "1236 purged", server: "True/AsDeclared", want: map[string]string{"Streaming": "False/BootstrapRequired", "Retained": "False/ResyncRequired"}},
		"kept too short": {look: func(l *plan.Look) { l.Observation.Retained = time.Minute }, state: v1alpha1.LinkStreaming, lag: "<2s",
			server: "True/AsDeclared", want: map[string]string{"Retained": "False/ResyncForecast"}},
		"the server does not answer": {look: func(l *plan.Look) {
			l.Problem = &plan.Problem{Reason: v1alpha1.ReasonServerUnreachable, Message: "no answer"}
			l.Links["shanghai"] = plan.LinkLook{Known: true, Age: 20 * time.Second, Step: "<1m"}
		}, state: v1alpha1.LinkBroken, lag: "<1m", last: "no answer", server: "False/ServerUnreachable",
			want: map[string]string{"Configured": "Unknown/ServerUnreachable", "Streaming": "Unknown/ServerUnreachable"}},
		"preconditions": {look: func(l *plan.Look) {
			l.Observation.Findings = []storage.Finding{{Check: "log_bin", Problem: "the binary log is off", Blocks: true}}
			l.Observation.Links, l.Links = nil, nil
		}, state: v1alpha1.LinkProvisioning, lag: "unknown", server: "False/Preconditions", want: map[string]string{"Configured": "False/Preconditions"},
			words: map[string]string{"Configured": "log_bin: the binary log is off"}},
		"a warning": {look: func(l *plan.Look) {
			l.Observation.Findings = []storage.Finding{{Check: "sync_binlog", Problem: "a crash may lose writes", Statement: "SET GLOBAL sync_binlog = 1", Online: true}}
		}, state: v1alpha1.LinkStreaming, lag: "<2s", server: "True/Preconditions", want: map[string]string{"Configured": "True/AsDeclared"}},
		"back, and not compared yet": {look: func(l *plan.Look) { l.Return = 7 }, state: v1alpha1.LinkStreaming, lag: "<2s",
			server: "True/AsDeclared", want: map[string]string{"RowsEqual": "Unknown/Comparing"}},
		"back, and partly compared": {look: func(l *plan.Look) {
			l.Return = 7
			compared(plan.Compared{Progress: "at table shop.orders, 1 of 2"})(l)
		}, state: v1alpha1.LinkStreaming, lag: "<2s", server: "True/AsDeclared", want: map[string]string{"RowsEqual": "Unknown/Comparing"},
			words: map[string]string{"RowsEqual": "before it gets its keys: at table shop.orders, 1 of 2"}},
		"back, and interrupted": {look: compared(plan.Compared{Problem: "no answer in time", Progress: "at table shop.orders, 1 of 2"}), state: v1alpha1.LinkStreaming, lag: "<2s",
			server: "True/AsDeclared", want: map[string]string{"RowsEqual": "Unknown/NotCompared"},
			words: map[string]string{"RowsEqual": "no answer in time; it goes on at table shop.orders, 1 of 2; "}},
		"back, with other rows": {look: compared(plan.Compared{Done: true, Rows: storage.Comparison{Tables: 1, Rows: 8,
			Differences: []storage.Difference{{Table: "shop.orders", After: `["7"]`, Here: 3, There: 4}}}}), state: v1alpha1.LinkStreaming, lag: "<2s",
			server: "True/AsDeclared", want: map[string]string{"RowsEqual": "False/RowsDiffer"},
			words: map[string]string{"RowsEqual": `shop.orders (keys after ["7"]): 3 rows here, 4 in shanghai`}},
		"back, and cannot be compared": {look: compared(plan.Compared{Problem: "no answer in time"}), state: v1alpha1.LinkStreaming, lag: "<2s",
			server: "True/AsDeclared", want: map[string]string{"RowsEqual": "Unknown/NotCompared"},
			words: map[string]string{"RowsEqual": "multiactive.dev/accept-rows=uncompared"}},
		"back, with the same rows": {look: compared(plan.Compared{Done: true, Rows: storage.Comparison{Tables: 2, Rows: 8, Skipped: []string{"shop.log has no key"}}}),
			state: v1alpha1.LinkStreaming, lag: "<2s", server: "True/AsDeclared", want: map[string]string{"RowsEqual": "True/RowsEqual"},
			words: map[string]string{"RowsEqual": "8 rows of 2 tables were compared with those of shanghai when the region came back, and are the same; not compared: shop.log has no key"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := plan.Merge([]v1alpha1.RegionalService{serviceWith("u", sliced(nil))}, here)["db"]
			look := plan.Look{Known: true, Observed: true, Observation: storage.Observation{
				Version: "10.11", Prepared: true, Retained: 24 * time.Hour,
				Links: map[string]storage.Link{"shanghai": {Address: "shanghai:3306", Receiving: true, Applying: true}},
			}, Links: map[string]plan.LinkLook{"shanghai": {Known: true, Age: time.Second, Step: "<2s"}}}
			if test.look != nil {
				test.look(&look)
			}
			link := regional.StoreLink(&v1alpha1.StoreSlice{Name: "db", Engine: v1alpha1.EngineMariaDB}, "shanghai", here)
			if test.link != nil {
				test.link(link)
			}
			plan.Report(link, d, look, test.lost)
			for condition, want := range test.want {
				c := meta.FindStatusCondition(link.Status.Conditions, condition)
				if c == nil || string(c.Status)+"/"+c.Reason != want {
					t.Errorf("%s is %+v, want %s", condition, c, want)
				} else if !strings.Contains(c.Message, test.words[condition]) {
					t.Errorf("%s says %q, want %q", condition, c.Message, test.words[condition])
				}
			}
			if link.Status.State != test.state || link.Status.Lag != test.lag || link.Status.LastError != test.last {
				t.Errorf("state %q, lag %q, last error %q", link.Status.State, link.Status.Lag, link.Status.LastError)
			}
			s := plan.Server(d, look)
			if string(s.Ready)+"/"+s.Reason != test.server {
				t.Errorf("the server is %+v, want %s", s, test.server)
			}
			again := link.DeepCopy()
			plan.Report(again, d, look, test.lost)
			if diff := cmp.Diff(link, again); diff != "" {
				t.Errorf("a second report changes the first\n%s", diff)
			}
		})
	}
}

// compared has the link from shanghai compared, for a return with epoch 7.
func compared(c plan.Compared) func(*plan.Look) {
	c.Return = 7
	return func(l *plan.Look) {
		at := l.Links["shanghai"]
		at.Compared = &c
		l.Return, l.Links["shanghai"] = 7, at
	}
}

func TestAgrees(t *testing.T) {
	t.Parallel()
	differ := plan.Compared{Return: 7, Done: true, Rows: storage.Comparison{Differences: []storage.Difference{{Table: "shop.orders", Here: 1}}}}
	other := differ
	other.Rows.Differences = []storage.Difference{{Table: "shop.orders", Here: 2}}
	for name, test := range map[string]struct {
		compared *plan.Compared
		accepted string
		want     bool
	}{
		"not compared":                        {nil, plan.Uncompared, false},
		"the same":                            {&plan.Compared{Return: 7, Done: true}, "", true},
		"the same, at another return":         {&plan.Compared{Return: 6, Done: true}, "", false},
		"different":                           {&differ, "", false},
		"different, and accepted":             {&differ, differ.Token(), true},
		"different, and others were accepted": {&differ, other.Token(), false},
		"not to be compared":                  {&plan.Compared{Return: 7, Problem: "no answer"}, "", false},
		"not to be compared, and accepted":    {&plan.Compared{Return: 7, Problem: "no answer"}, plan.Uncompared, true},
		"different, and accepted blindly":     {&differ, plan.Uncompared, false},
	} {
		if got := (plan.LinkLook{Compared: test.compared, Accepted: test.accepted}).Agrees(7); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	status, reason, _ := plan.Ready(nil)
	if status != metav1.ConditionTrue || reason != v1alpha1.ReasonNoStores {
		t.Errorf("without stores: %s %s", status, reason)
	}
	status, reason, message := plan.Ready([]v1alpha1.StoreStatus{
		{Name: "a", Ready: metav1.ConditionTrue, Reason: v1alpha1.ReasonAsDeclared, Message: "fine"},
		{Name: "b", Ready: metav1.ConditionUnknown, Reason: v1alpha1.ReasonNotYetObserved, Message: "not looked at"},
		{Name: "c", Ready: metav1.ConditionFalse, Reason: v1alpha1.ReasonServerUnreachable, Message: "no answer"},
	})
	if status != metav1.ConditionFalse || reason != v1alpha1.ReasonServerUnreachable || message != "b: not looked at; c: no answer" {
		t.Errorf("%s %s %q", status, reason, message)
	}
}

// Classes that mean to sit through more than the server keeps are named, where that is known.
func TestShortFor(t *testing.T) {
	t.Parallel()
	classes := func(engine v1alpha1.StoreEngine) v1alpha1.RegionalService {
		return serviceWith("u", sliced(func(s *v1alpha1.StoreSlice) {
			s.Engine = engine
			s.Classes = []v1alpha1.StoreClass{
				{Name: "week", Outage: &metav1.Duration{Duration: 168 * time.Hour}}, {Name: "unsaid"}, {Name: "day", Outage: &metav1.Duration{Duration: 24 * time.Hour}},
			}
		}))
	}
	for name, c := range map[string]struct {
		engine v1alpha1.StoreEngine
		kept   time.Duration
		want   []string
	}{
		"not known":                      {engine: v1alpha1.EngineMariaDB},
		"long enough":                    {engine: v1alpha1.EngineMariaDB, kept: 168 * time.Hour},
		"too short for one":              {engine: v1alpha1.EngineMySQL, kept: 24 * time.Hour, want: []string{"week"}},
		"too short for two":              {engine: v1alpha1.EngineMySQL, kept: 24*time.Hour - time.Second, want: []string{"day", "week"}},
		"too short for the default":      {engine: v1alpha1.EngineMariaDB, kept: time.Minute, want: []string{"day", "unsaid", "week"}},
		"an engine that keeps by volume": {engine: v1alpha1.EnginePostgreSQL, kept: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := plan.Merge([]v1alpha1.RegionalService{classes(c.engine)}, here)["db"]
			look := plan.Look{Known: true, Observed: true, Observation: storage.Observation{Prepared: true, Retained: c.kept}}
			if diff := cmp.Diff(c.want, plan.Server(d, look).ShortFor); diff != "" {
				t.Errorf("short for (-want +got)\n%s", diff)
			}
		})
	}
}
