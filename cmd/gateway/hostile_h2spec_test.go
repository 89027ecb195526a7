package main

import (
	"encoding/xml"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// h2specFails are the parts of h2spec that are not passed, and why that is well.
var h2specFails = map[string]string{
	"http2/3.5: Sends invalid connection preface":                                                                   "400 of HTTP/1.1, closed, instead of GOAWAY: what is no preface may be HTTP/1.1, which the port also speaks",
	"http2/6.5.3: Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE":                                            "GOAWAY: net/http refuses a setting that is there twice in one frame",
	"http2/8.1.2.2: Sends a HEADERS frame that contains the connection-specific header field":                       "400 instead of RST, as RFC 9113 (8.1.1) allows",
	"http2/8.1.2.2: Sends a HEADERS frame that contains the TE header field with any value other than \"trailers\"": "400 instead of RST, as RFC 9113 (8.1.1) allows",
}

// h2specReport is what h2spec writes.
type h2specReport struct {
	Suites []struct {
		Package string `xml:"package,attr"`
		Cases   []struct {
			Name    string  `xml:"classname,attr"`
			Failure *string `xml:"failure"`
			Error   *string `xml:"error"`
			Skipped *string `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

// TestH2Spec holds the gateway to h2spec's reading of HTTP/2 and HPACK.
func TestH2Spec(t *testing.T) {
	tool := filepath.Join(t.TempDir(), "h2spec")
	build := exec.CommandContext(t.Context(), "go", "-C", "../../hack/tools/h2spec", "build", "-o", tool, "github.com/summerwind/h2spec/cmd/h2spec")
	build.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("h2spec cannot be built: %v\n%s", err, out)
	}
	for way, args := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel() // it waits, most of the time
			h2spec(t, tool, hostile(t, nil, args...))
		})
	}
}

func h2spec(t *testing.T, tool string, h *hostility) {
	host, port, err := net.SplitHostPort(h.listen)
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "report.xml")
	out, failed := exec.CommandContext(t.Context(), tool, "--host", host, "--port", port, "--path", "/v1/open/a", "--timeout", "20", "--junit-report", report).CombinedOutput()
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("h2spec wrote no report: %v, %v\n%s", err, failed, out)
	}
	var r h2specReport
	if err := xml.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	passed := 0
	unseen := maps.Clone(h2specFails)
	for _, s := range r.Suites {
		for _, c := range s.Cases {
			name := s.Package + ": " + c.Name
			switch {
			case c.Failure == nil && c.Error == nil:
				passed++
			case h2specFails[name] == "":
				t.Errorf("%s is not passed: %s", name, deref(c.Failure)+deref(c.Error))
			default:
				delete(unseen, name)
			}
		}
	}
	for name := range unseen {
		t.Errorf("%s is listed as not passed, and is", name)
	}
	if passed < 140 {
		t.Errorf("only %d parts were passed:\n%s", passed, out)
	}
	t.Logf("%d parts passed, %d are listed as not", passed, len(h2specFails))
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
