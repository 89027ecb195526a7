package ownca

import (
	"crypto/x509"
	"slices"
	"testing"
	"time"

	"multiactive.dev/operator/internal/peertls"
)

var (
	start     = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	lifetimes = Lifetimes{Certificate: 24 * time.Hour, Authority: 12 * 24 * time.Hour}
	gateways  = peertls.ID{Region: "beijing", Namespace: "accounts", Name: "user"}
)

// TestAdvance goes through a whole rotation, with regions that learn of the next authority late, and checks at
// every hour that what signs is trusted by everybody and that nothing in use is forgotten.
func TestAdvance(t *testing.T) {
	for name, delay := range map[string]time.Duration{"at once": 0, "after a day": 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			var s State
			var leaf []byte
			var key []byte
			learnt := map[string]time.Time{} // when the others have heard of an authority
			var steps []Step
			for now := start; now.Before(start.Add(40 * 24 * time.Hour)); now = now.Add(time.Hour) {
				trusts := func(c *x509.Certificate) bool {
					at, heard := learnt[Fingerprint(c)]
					return heard && !now.Before(at.Add(delay))
				}
				first := s.Current == nil
				step, err := Advance(&s, ForGateways("beijing"), now, lifetimes, trusts)
				if err != nil {
					t.Fatal(err)
				}
				if step != StepNone {
					steps = append(steps, step)
				}
				for _, c := range s.Trusted() {
					if _, heard := learnt[Fingerprint(c)]; !heard {
						learnt[Fingerprint(c)] = now
						if first {
							learnt[Fingerprint(c)] = now.Add(-delay) // nobody has been spoken to yet
						}
					}
				}
				if due, _ := Due(leaf, key, gateways, s.Current, now, lifetimes); due {
					if leaf, key, err = s.Current.Issue(gateways, now, lifetimes.Certificate); err != nil {
						t.Fatal(err)
					}
				}
				identity, err := peertls.ParseIdentity(leaf, key, nil)
				if err != nil {
					t.Fatal(err)
				}
				var believed []*x509.Certificate
				for _, c := range s.Trusted() {
					if trusts(c) {
						believed = append(believed, c)
					}
				}
				chain := []*x509.Certificate{identity.Certificate.Leaf}
				if err := peertls.Verify(chain, peertls.Pool(believed), x509.ExtKeyUsageServerAuth, now); err != nil {
					t.Fatalf("at %s: %v", now, err)
				}
				if err := peertls.Verify(chain, peertls.Pool(believed), x509.ExtKeyUsageClientAuth, now); err != nil {
					t.Fatalf("at %s: %v", now, err)
				}
			}
			want := []Step{StepFirst, StepPrepare, StepPromote, StepRetire, StepPrepare, StepPromote, StepRetire}
			if !slices.Equal(steps[:len(want)], want) {
				t.Errorf("steps are %v", steps)
			}
		})
	}
}

// TestAdvanceWithoutAnswer: a region that never says that it trusts the next authority holds it up until the
// present one is about to expire.
func TestAdvanceWithoutAnswer(t *testing.T) {
	var s State
	never := func(*x509.Certificate) bool { return false }
	var promoted time.Time
	for now := start; promoted.IsZero(); now = now.Add(time.Hour) {
		step, err := Advance(&s, ForGateways("beijing"), now, lifetimes, never)
		if err != nil {
			t.Fatal(err)
		}
		if step == StepPromote {
			promoted = now
		}
		if now.After(start.Add(lifetimes.Authority)) {
			t.Fatal("the present authority expires, and the next one does not sign")
		}
	}
	if want := start.Add(lifetimes.Authority - lifetimes.Certificate); promoted.Before(want) {
		t.Errorf("promoted at %s, want not before %s", promoted, want)
	}
}

// TestAdvanceAfterALongAbsence begins again with what there is.
func TestAdvanceAfterALongAbsence(t *testing.T) {
	current, err := ForGateways("beijing")(start, lifetimes.Authority)
	if err != nil {
		t.Fatal(err)
	}
	next, err := ForGateways("beijing")(start.Add(lifetimes.Authority/2), lifetimes.Authority)
	if err != nil {
		t.Fatal(err)
	}
	s := State{Current: current, Next: next}
	step, err := Advance(&s, ForGateways("beijing"), start.Add(lifetimes.Authority), lifetimes, nil)
	if err != nil || step != StepFirst || s.Current != next || s.Next != nil {
		t.Errorf("step %q, error %v, current is the next one: %v", step, err, s.Current == next)
	}
	step, err = Advance(&s, ForGateways("beijing"), start.Add(3*lifetimes.Authority), lifetimes, nil)
	if err != nil || step != StepFirst || s.Current == next {
		t.Errorf("with nothing that is valid: step %q, error %v", step, err)
	}
}

func TestDue(t *testing.T) {
	current, err := ForGateways("beijing")(start, lifetimes.Authority)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ForGateways("beijing")(start, lifetimes.Authority)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := current.Issue(gateways, start, lifetimes.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := gateways
	elsewhere.Name = "orders"
	cases := map[string]struct {
		cert, key []byte
		id        peertls.ID
		by        *Authority
		now       time.Time
		want      bool
	}{
		"fresh":             {cert, key, gateways, current, start, false},
		"before half":       {cert, key, gateways, current, start.Add(lifetimes.Certificate/2 - time.Second), false},
		"half":              {cert, key, gateways, current, start.Add(lifetimes.Certificate / 2), true},
		"missing":           {nil, nil, gateways, current, start, true},
		"garbage":           {[]byte("x"), key, gateways, current, start, true},
		"another service":   {cert, key, elsewhere, current, start, true},
		"another authority": {cert, key, gateways, other, start, true},
	}
	for name, tc := range cases {
		if due, _ := Due(tc.cert, tc.key, tc.id, tc.by, tc.now, lifetimes); due != tc.want {
			t.Errorf("%s: due is %v", name, due)
		}
	}
}

func TestAuthorityRoundTrip(t *testing.T) {
	a, err := ForGateways("beijing")(start, lifetimes.Authority)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := ParseAuthority(cert, key); err != nil || !b.Certificate.Equal(a.Certificate) {
		t.Errorf("read back: %v", err)
	}
	other, err := ForGateways("beijing")(start, lifetimes.Authority)
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey, err := other.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string][]byte{"another's key": otherKey, "no key": nil, "half a key": key[:len(key)/2]} {
		if _, err := ParseAuthority(cert, key); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestLifetimes(t *testing.T) {
	if err := lifetimes.Check(); err != nil {
		t.Error(err)
	}
	if err := (Lifetimes{DefaultCertificate, DefaultAuthority}).Check(); err != nil {
		t.Error(err)
	}
	for _, bad := range []Lifetimes{{0, time.Hour}, {time.Hour, 5 * time.Hour}, {-time.Hour, time.Hour}} {
		if bad.Check() == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}

// A clock that was years ahead for a while leaves nothing behind that nobody believes.
func TestClockThatWasWrong(t *testing.T) {
	ahead := start.Add(3 * 365 * 24 * time.Hour)
	var s State
	for _, now := range []time.Time{ahead, start} {
		step, err := Advance(&s, ForGateways("beijing"), now, lifetimes, nil)
		if err != nil || step != StepFirst {
			t.Fatalf("at %s the step is %q, error %v, want another authority", now, step, err)
		}
	}
	leaf, key, err := s.Current.Issue(gateways, start.Add(24*time.Hour), lifetimes.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if due, _ := Due(leaf, key, gateways, s.Current, start, lifetimes); !due {
		t.Error("a certificate that begins tomorrow is not replaced")
	}
	// Clocks of two machines differ by minutes: that is no reason.
	if step, err := Advance(&s, ForGateways("beijing"), start.Add(-10*time.Minute), lifetimes, nil); err != nil || step != StepNone {
		t.Errorf("ten minutes before it was made the step is %q, error %v", step, err)
	}
}
