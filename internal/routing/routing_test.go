package routing_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

// TestLeaseCountsFromNoLaterThanItWasRead holds what R11 rests on: with clocks as far apart as they
// may be, a gateway's lease counts from no later than the agent read it, and not much earlier.
func TestLeaseCountsFromNoLaterThanItWasRead(t *testing.T) {
	const rounding = time.Microsecond
	rapid.Check(t, func(t *rapid.T) {
		apart := rapid.Float64Range(1/(1+ownership.MaxDrift), 1+ownership.MaxDrift).Draw(t, "gateway's rate by the agent's")
		asked := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "asked"))
		held := time.Duration(rapid.Int64Range(0, int64(routing.MaxWait)).Draw(t, "held"))
		read := asked + time.Duration(float64(held)*apart) // on the gateway's clock, if the question took no time
		from := (&routing.Answer{Held: held}).LeaseFrom(asked)
		if from > read+rounding || from < read-held/20-rounding {
			t.Fatalf("counts from %s, and was read at %s", from, read)
		}
	})
}

func TestNegativeHeldCountsAsNone(t *testing.T) {
	if from := (&routing.Answer{Held: -time.Hour}).LeaseFrom(time.Minute); from != time.Minute {
		t.Errorf("counts from %s, want 1m", from)
	}
}

// A region's part in ownership survives its way to the gateway whole.
func TestRegionCarriesItsView(t *testing.T) {
	var v ownership.RegionView
	fields := reflect.ValueOf(&v).Elem()
	for i := range fields.NumField() {
		switch f := fields.Field(i); f.Kind() {
		case reflect.Bool:
			f.SetBool(true)
		case reflect.String:
			f.SetString("x")
		case reflect.Slice:
			f.Set(reflect.ValueOf([]string{"y"}))
		case reflect.Struct:
			v.WeightedRegion = ownership.WeightedRegion{Name: "z", Weight: 7}
		default:
			t.Fatalf("field %s: this test does not know its kind", fields.Type().Field(i).Name)
		}
	}
	encoded, err := json.Marshal(routing.RegionOf(v))
	if err != nil {
		t.Fatal(err)
	}
	var r routing.Region
	if err := json.Unmarshal(encoded, &r); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v, r.View()); diff != "" {
		t.Errorf("after its way (-want +got):\n%s", diff)
	}
}

func TestRefusal(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"plain":              {`upstream: "x" is not a base URL`, `upstream: "x" is not a base URL`},
		"nothing":            {"", ""},
		"lines and controls": {"a\n\x1b[31mb\t\u202ec\r\n", "a [31mb c"},
		"not UTF-8":          {"a\xffb", "a\ufffdb"},
		"as long as allowed": {strings.Repeat("x", routing.MaxRefusal), strings.Repeat("x", routing.MaxRefusal)},
		"too long":           {strings.Repeat("x", routing.MaxRefusal+1), strings.Repeat("x", routing.MaxRefusal-3) + "…"},
		"cut in a character": {"x" + strings.Repeat("京", routing.MaxRefusal/3), "x" + strings.Repeat("京", routing.MaxRefusal/3-2) + "…"},
	} {
		if got := routing.Refusal(tc.text); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

// A refusal that the gateway has made fit passes the agent's hands unchanged.
func TestRefusalIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		once := routing.Refusal(rapid.String().Draw(t, "text"))
		if again := routing.Refusal(once); again != once || len(once) > routing.MaxRefusal || !utf8.ValidString(once) {
			t.Fatalf("%q, then %q", once, again)
		}
	})
}
