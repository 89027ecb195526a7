package copies_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/copies"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var names = []string{"beijing", "shanghai", "shenzhen", "nanjing", "wuhan"}

// of makes copies from words: a spec's name, "-" for none, "?" for one that cannot be read, and a spec's
// name with an x behind it for one that is being deleted. UIDs are u1, u2, … and later ones are younger.
func of(words string) []copies.Copy {
	var out []copies.Copy
	for i, word := range strings.Fields(words) {
		c := copies.Copy{Region: names[i]}
		switch word {
		case "?":
			c.State, c.Problem = copies.Unknown, "the API server does not answer"
		case "-":
			c.State = copies.Absent
		default:
			c.State, c.UID, c.CreatedAt = copies.Present, "u"+string(rune('1'+i)), start.Add(time.Duration(i)*time.Second)
			if spec, deleting := strings.CutSuffix(word, "x"); deleting {
				word, c.State = spec, copies.Deleting
			}
			c.Hash = word
		}
		out = append(out, c)
	}
	return out
}

func TestDecide(t *testing.T) {
	t.Parallel()
	for words, want := range map[string]struct {
		outcome copies.Outcome
		hash    string
		status  metav1.ConditionStatus
		reason  string
		says    []string
	}{
		"":          {copies.Undecided, "", "False", v1alpha1.ReasonNoMajority, []string{"there is no Region that runs services"}},
		"a":         {copies.Agreed, "a", "True", v1alpha1.ReasonSingleCopy, []string{"the only copy"}},
		"-":         {copies.Undecided, "", "False", v1alpha1.ReasonNoMajority, []string{"beijing does not have it"}},
		"?":         {copies.Undecided, "", "False", v1alpha1.ReasonNoMajority, []string{"beijing cannot be read (the API server does not answer)"}},
		"ax":        {copies.Deleted, "", "False", v1alpha1.ReasonDeleting, []string{"beijing deletes it"}},
		"a a":       {copies.Agreed, "a", "True", v1alpha1.ReasonCopiesAgree, []string{"every region"}},
		"a b":       {copies.Undecided, "", "False", v1alpha1.ReasonNoMajority, []string{"beijing has one spec; shanghai has another spec", "Apply the same declaration"}},
		"a ?":       {copies.Undecided, "", "False", v1alpha1.ReasonNoMajority, []string{"beijing has it; shanghai cannot be read"}},
		"a -":       {copies.Undecided, "", "False", v1alpha1.ReasonNoMajority, []string{"beijing has it; shanghai does not have it"}},
		"a ax":      {copies.Undecided, "", "False", v1alpha1.ReasonNoMajority, []string{"shanghai deletes it", "Delete it in most regions"}},
		"ax -":      {copies.Deleted, "", "False", v1alpha1.ReasonDeleting, []string{"beijing deletes it; shanghai does not have it"}},
		"a a a":     {copies.Agreed, "a", "True", v1alpha1.ReasonCopiesAgree, nil},
		"a a b":     {copies.Agreed, "a", "False", v1alpha1.ReasonCopiesDiffer, []string{"beijing, shanghai agree; shenzhen has another spec"}},
		"b a a":     {copies.Agreed, "a", "False", v1alpha1.ReasonCopiesDiffer, []string{"shanghai, shenzhen agree; beijing has another spec"}},
		"a a ?":     {copies.Agreed, "a", "Unknown", v1alpha1.ReasonCopiesUnread, []string{"shenzhen cannot be read"}},
		"a a -":     {copies.Agreed, "a", "False", v1alpha1.ReasonCopiesDiffer, []string{"shenzhen does not have it"}},
		"a a ax":    {copies.Agreed, "a", "False", v1alpha1.ReasonCopiesDiffer, []string{"shenzhen deletes it"}},
		"a b c":     {copies.Undecided, "", "False", v1alpha1.ReasonNoMajority, []string{"beijing has one spec; shanghai has another spec; shenzhen has another spec"}},
		"a b ?":     {copies.Undecided, "", "False", v1alpha1.ReasonNoMajority, nil},
		"a ? ?":     {copies.Undecided, "", "False", v1alpha1.ReasonNoMajority, []string{"regions that cannot be read have no say"}},
		"a - -":     {copies.Undecided, "", "False", v1alpha1.ReasonNoMajority, []string{"shanghai, shenzhen do not have it"}},
		"- - -":     {copies.Undecided, "", "False", v1alpha1.ReasonNoMajority, nil},
		"- - ?":     {copies.Undecided, "", "False", v1alpha1.ReasonNoMajority, nil},
		"a ax -":    {copies.Deleted, "", "False", v1alpha1.ReasonDeleting, []string{"beijing still has it; shanghai deletes it", "Delete it in beijing too"}},
		"a ax bx":   {copies.Deleted, "", "False", v1alpha1.ReasonDeleting, nil},
		"ax ? ?":    {copies.Undecided, "", "False", v1alpha1.ReasonNoMajority, nil},
		"ax ax ?":   {copies.Deleted, "", "False", v1alpha1.ReasonDeleting, []string{"shenzhen cannot be read"}},
		"ax a ?":    {copies.Undecided, "", "False", v1alpha1.ReasonNoMajority, nil},
		"ax - -":    {copies.Deleted, "", "False", v1alpha1.ReasonDeleting, nil},
		"ax a b":    {copies.Undecided, "", "False", v1alpha1.ReasonNoMajority, nil},
		"a a b b":   {copies.Undecided, "", "False", v1alpha1.ReasonNoMajority, []string{"beijing, shanghai have one spec; nanjing, shenzhen have another spec"}},
		"a a a b":   {copies.Agreed, "a", "False", v1alpha1.ReasonCopiesDiffer, nil},
		"a a ax ax": {copies.Undecided, "", "False", v1alpha1.ReasonNoMajority, nil},
		"a ax ax -": {copies.Deleted, "", "False", v1alpha1.ReasonDeleting, nil},
		"a a a ? ?": {copies.Agreed, "a", "Unknown", v1alpha1.ReasonCopiesUnread, nil},
		"a a b ? ?": {copies.Undecided, "", "False", v1alpha1.ReasonNoMajority, nil},
	} {
		t.Run(words, func(t *testing.T) {
			t.Parallel()
			v := copies.Decide(of(words))
			if v.Outcome != want.outcome || v.Hash != want.hash {
				t.Errorf("decided %s %q, want %s %q", v.Outcome, v.Hash, want.outcome, want.hash)
			}
			r := v.Report()
			if r.Status != want.status || r.Reason != want.reason {
				t.Errorf("reported %s/%s (%s), want %s/%s", r.Status, r.Reason, r.Message, want.status, want.reason)
			}
			for _, words := range want.says {
				if !strings.Contains(r.Message, words) {
					t.Errorf("reported %q, want %q in it", r.Message, words)
				}
			}
		})
	}
}

func TestWhatBecomesOfOneCopy(t *testing.T) {
	t.Parallel()
	for words, want := range map[string]struct{ kept, gone, actedOn bool }{
		"ax a a": {kept: true},
		"ax a b": {kept: true},
		"ax a ?": {},
		"ax a -": {gone: true},
		"ax ? ?": {},
		"a a b":  {kept: true, actedOn: true},
		"b a a":  {kept: true},
		"a b c":  {kept: true},
		"- - -":  {gone: true},
		"":       {gone: true},
		"a -":    {},
	} {
		v := copies.Decide(of(words))
		got := struct{ kept, gone, actedOn bool }{v.Kept(), v.Gone(), v.ActedOn("beijing")}
		if got != want {
			t.Errorf("%q: %+v, want %+v", words, got, want)
		}
	}
}

// Whatever cannot be read now: nothing that is decided without it is decided otherwise with it. So two
// hubs that reach different regions never decide differently about the same copies.
func TestUnreadCopiesChangeNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "ax", "bx", "-"}), 1, 5).Draw(t, "copies")
		hidden := func(label string) []copies.Copy {
			seen := of(strings.Join(words, " "))
			for i := range seen {
				if rapid.Bool().Draw(t, label) {
					seen[i] = copies.Copy{Region: seen[i].Region, State: copies.Unknown}
				}
			}
			return seen
		}
		one, other := copies.Decide(hidden("unread by one")), copies.Decide(hidden("unread by the other"))
		if one.Outcome == copies.Undecided || other.Outcome == copies.Undecided {
			return
		}
		if one.Outcome != other.Outcome || one.Hash != other.Hash {
			t.Fatalf("%v: %s %q and %s %q", words, one.Outcome, one.Hash, other.Outcome, other.Hash)
		}
	})
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	record := func(uid string, deleted bool) ownership.ServiceRecord {
		return ownership.ServiceRecord{UID: uid, Namespace: "shop", Name: "cart", Deleted: deleted}
	}
	intent := func(uid string, deleted bool) ownership.ServiceIntent {
		return ownership.ServiceIntent{UID: uid, Namespace: "shop", Name: "cart", Deleted: deleted}
	}
	early := start.Add(-time.Hour)
	for name, c := range map[string]struct {
		words    string
		records  []ownership.ServiceRecord
		intents  []ownership.ServiceIntent
		slices   []copies.Slice
		want     string
		wantTime time.Time
	}{
		"nobody knows it: the youngest that counts": {words: "a a b", want: "u2", wantTime: start.Add(time.Second)},
		"the store knows it":                        {words: "a a a", records: []ownership.ServiceRecord{record("u1", false)}, want: "u1", wantTime: start},
		"the store knows it from a hub that is gone": {
			words: "a a a", records: []ownership.ServiceRecord{record("hub", false)}, slices: []copies.Slice{{ServiceID: "hub", CreatedAt: early}},
			want: "hub", wantTime: early,
		},
		"proposed only":                      {words: "a a a", intents: []ownership.ServiceIntent{intent("u1", false)}, want: "u1", wantTime: start},
		"a former leader had begun":          {words: "a a a", slices: []copies.Slice{{ServiceID: "u1", CreatedAt: start}}, want: "u1", wantTime: start},
		"two had begun: the later one":       {words: "a a a", slices: []copies.Slice{{ServiceID: "u1", Ballot: 3}, {ServiceID: "u2", Ballot: 4}}, want: "u2"},
		"what is on its way out is not used": {words: "a a a", slices: []copies.Slice{{ServiceID: "u1", Deleting: true}}, want: "u3", wantTime: start.Add(2 * time.Second)},
		"deleted for good and declared anew": {
			words: "a a -", records: []ownership.ServiceRecord{record("u2", true)}, intents: []ownership.ServiceIntent{intent("u2", true)},
			slices: []copies.Slice{{ServiceID: "u2"}}, want: "u1", wantTime: start,
		},
		"about to be deleted for good": {words: "a a -", records: []ownership.ServiceRecord{record("u2", false)}, intents: []ownership.ServiceIntent{intent("u2", true)}, want: "u1", wantTime: start},
		"a deletion goes on with the one that is deleted": {
			words: "ax ax a", records: []ownership.ServiceRecord{record("u3", true)}, intents: []ownership.ServiceIntent{intent("u3", true)},
			want: "u3", wantTime: start.Add(2 * time.Second),
		},
		"a deletion of what was only begun": {words: "ax ax a", slices: []copies.Slice{{ServiceID: "u3", CreatedAt: early, Deleting: true}}, want: "u3", wantTime: early},
		"a deletion of what nobody has":     {words: "ax ax a", want: "", wantTime: start.Add(time.Second)},
		"another service is no matter": {
			words: "a a a", records: []ownership.ServiceRecord{{UID: "x", Namespace: "shop", Name: "other"}}, want: "u3", wantTime: start.Add(2 * time.Second),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conf := ownership.Configuration{Services: map[string]ownership.ServiceRecord{}, ServiceIntents: map[string]ownership.ServiceIntent{}}
			for _, r := range c.records {
				conf.Services[r.UID] = r
			}
			for _, i := range c.intents {
				conf.ServiceIntents[i.UID] = i
			}
			got := copies.Decide(of(c.words)).Identify(conf, "shop", "cart", c.slices)
			if diff := cmp.Diff(copies.Identity{UID: c.want, CreatedAt: c.wantTime}, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestHash(t *testing.T) {
	t.Parallel()
	a, b := v1alpha1.RegionSpec{DisplayName: "a"}, v1alpha1.RegionSpec{DisplayName: "b"}
	if copies.Hash(a) != copies.Hash(*a.DeepCopy()) || copies.Hash(a) == copies.Hash(b) {
		t.Errorf("hashes %s, %s", copies.Hash(a), copies.Hash(b))
	}
}
