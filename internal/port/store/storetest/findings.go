package storetest

import (
	"slices"
	"testing"

	"multiactive.dev/operator/internal/storage"
)

// A bare server is found to lack what a store needs; what can be mended online is, and does not come back. A
// server that is set up as the guide says has nothing that blocks.
func (w World) testFindings(t *testing.T) {
	t.Parallel()
	s := w.start(t, w.first(), regions[:2]...)
	for _, name := range s.names {
		s.prepare(name)
		s.must(s.servers[name].SetWritable(t.Context(), s.want(name).Writable))
		for _, finding := range s.observe(name).Findings {
			if finding.Blocks {
				t.Errorf("%s is set up, and is found to lack %+v", name, finding)
			}
		}
	}
	s.nodes[regions[0]] = w.Bare(t, regions[0])
	s.reopen(regions[0])
	s.must(s.servers[regions[0]].Prepare(t.Context(), s.want(regions[0])))
	before := s.observe(regions[0]).Findings
	if len(before) == 0 || !before[0].Blocks {
		t.Fatalf("a bare server has the findings %+v, want some that block, and these first", before)
	}
	var mended []string
	for i, finding := range before {
		if finding.Check == "" || finding.Problem == "" || (finding.Online && finding.Statement == "") {
			t.Errorf("finding %+v does not say what is wrong, or how it is mended", finding)
		}
		if i > 0 && finding.Blocks && !before[i-1].Blocks {
			t.Errorf("finding %+v blocks, and stands after one that does not", finding)
		}
		if finding.Online {
			mended = append(mended, finding.Check)
		}
	}
	for range 2 {
		s.must(s.servers[regions[0]].Mend(t.Context(), before))
	}
	for _, finding := range s.observe(regions[0]).Findings {
		if slices.Contains(mended, finding.Check) {
			t.Errorf("finding %+v is there after it was mended", finding)
		}
	}
	s.must(s.servers[regions[0]].Mend(t.Context(), []storage.Finding{{Check: "not online", Statement: "no statement at all"}}))
}
