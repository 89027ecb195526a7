package apiserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	auditPolicyFile = "audit-policy.yaml"
	auditLogFile    = "audit.log"
	// auditMB is where the log begins anew.
	auditMB = "100"
)

// auditPolicy has every request logged that may change something, once it was answered, and all those of
// some groups.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
%s- level: None
  verbs: [get, list, watch]
- level: Metadata
`

// Write is one request that changed something, or tried to; for Server.Denied, any.
type Write struct {
	// At is when the server received it.
	At time.Time
	// User who sent it; who acts as another is the other.
	User string
	// Agent is the client's User-Agent.
	Agent string
	// Verb is create, update, patch, delete or deletecollection; for Server.Denied also get, list or watch.
	Verb string
	// Resource is the plural, with its group and the subresource: "regions.multiactive.dev/status".
	Resource        string
	Namespace, Name string
	// Code is the HTTP status of the answer.
	Code int
}

// auditEvent is what is read of a line of the log.
type auditEvent struct {
	Verb      string
	UserAgent string
	User      struct{ Username string }
	// ImpersonatedUser is empty when nobody is.
	ImpersonatedUser         struct{ Username string }
	ObjectRef                struct{ Resource, Namespace, Name, APIGroup, Subresource string }
	ResponseStatus           struct{ Code int }
	RequestReceivedTimestamp time.Time
	Annotations              map[string]string
}

func auditArguments(dir string) []string {
	return []string{
		"--audit-policy-file=" + filepath.Join(dir, auditPolicyFile),
		"--audit-log-path=" + filepath.Join(dir, auditLogFile),
		"--audit-log-mode=blocking", "--audit-log-maxsize=" + auditMB, "--audit-log-maxbackup=1",
	}
}

func ensureAuditPolicy(dir string, groups []string) error {
	all := ""
	if len(groups) > 0 {
		all = fmt.Sprintf("- level: Metadata\n  userGroups: [%s]\n", strings.Join(groups, ", "))
	}
	if err := os.WriteFile(filepath.Join(dir, auditPolicyFile), fmt.Appendf(nil, auditPolicy, all), 0o600); err != nil {
		return fmt.Errorf("writing the audit policy: %w", err)
	}
	return nil
}

// Writes returns the writes that the server has received from since on, in the order in which it answered
// them; the log begins anew every hundred megabytes. It needs Options.Audit, and no running server.
func (s *Server) Writes(since time.Time) ([]Write, error) {
	return s.logged(func(e *auditEvent) bool {
		return !e.RequestReceivedTimestamp.Before(since) && e.Verb != "get" && e.Verb != "list" && e.Verb != "watch"
	})
}

// Denied returns the requests that the server has refused for want of rights, as Writes does: writes of all
// users, and reads of Options.AuditUsers.
func (s *Server) Denied() ([]Write, error) {
	return s.logged(func(e *auditEvent) bool { return e.Annotations["authorization.k8s.io/decision"] == "forbid" })
}

// logged returns the requests of the log that are asked for.
func (s *Server) logged(wanted func(*auditEvent) bool) ([]Write, error) {
	if !s.options.Audit {
		return nil, fmt.Errorf("API server %s keeps no audit log: set Options.Audit", s.options.Name)
	}
	content, err := os.ReadFile(filepath.Join(s.options.Dir, auditLogFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the audit log of %s: %w", s.options.Name, err)
	}
	var out []Write
	for line := range bytes.Lines(content) {
		if line[len(line)-1] != '\n' {
			break // still being written, or cut off by the server's end
		}
		var e auditEvent
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("reading the audit log of %s: %w", s.options.Name, err)
		}
		if wanted(&e) {
			out = append(out, e.write())
		}
	}
	return out, nil
}

func (e *auditEvent) write() Write {
	w := Write{
		At: e.RequestReceivedTimestamp, User: e.User.Username, Agent: e.UserAgent, Verb: e.Verb, Resource: e.ObjectRef.Resource,
		Namespace: e.ObjectRef.Namespace, Name: e.ObjectRef.Name, Code: e.ResponseStatus.Code,
	}
	if e.ImpersonatedUser.Username != "" {
		w.User = e.ImpersonatedUser.Username
	}
	if e.ObjectRef.APIGroup != "" {
		w.Resource += "." + e.ObjectRef.APIGroup
	}
	if e.ObjectRef.Subresource != "" {
		w.Resource += "/" + e.ObjectRef.Subresource
	}
	return w
}

// String names the write without its time.
func (w Write) String() string {
	name := strings.TrimPrefix(w.Namespace+"/"+w.Name, "/")
	return fmt.Sprintf("%s %s %s by %s (%d)", w.Verb, w.Resource, name, w.User, w.Code)
}
