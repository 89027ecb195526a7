package chart_test

import (
	"encoding/json"
	"path/filepath"
	"testing"

	lua "github.com/yuin/gopher-lua"

	"multiactive.dev/operator/internal/testkit/binaries"
)

// What Argo CD makes of our objects, with the engine that it runs such scripts in.
func TestArgoCDHealth(t *testing.T) {
	root, err := binaries.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		object, status, message string
	}{
		"new":          {`{"metadata":{"generation":1}}`, "Progressing", "the operator has not looked at it yet"},
		"edited":       {`{"metadata":{"generation":2},"status":{"observedGeneration":1,"conditions":[{"type":"Ready","status":"True","reason":"AsDeclared"}]}}`, "Progressing", "the operator has not looked at the latest change yet"},
		"ready":        {`{"metadata":{"generation":1},"status":{"observedGeneration":1,"conditions":[{"type":"Degraded","status":"False"},{"type":"Ready","status":"True","reason":"AsDeclared","message":"all is well"}]}}`, "Healthy", "AsDeclared: all is well"},
		"on its way":   {`{"metadata":{"generation":1},"status":{"observedGeneration":1,"conditions":[{"type":"Ready","status":"False","reason":"Progressing"}]}}`, "Progressing", "Progressing: "},
		"not known":    {`{"metadata":{"generation":1},"status":{"conditions":[{"type":"Ready","status":"Unknown","reason":"NotYetObserved"}]}}`, "Progressing", "NotYetObserved: "},
		"a lost home":  {`{"metadata":{"generation":1},"status":{"conditions":[{"type":"Ready","status":"False","reason":"RegionLost","message":"beijing"}]}}`, "Degraded", "RegionLost: beijing"},
		"deleted":      {`{"metadata":{"generation":1,"deletionTimestamp":"now"},"status":{"conditions":[{"type":"Ready","status":"False","reason":"Deleting","message":"waits"}]}}`, "Progressing", "Deleting: waits"},
		"order runs":   {`{"metadata":{"generation":1},"status":{"state":"Running","conditions":[{"type":"Complete","status":"False","reason":"OrderRunning","message":"owners are changing"}]}}`, "Progressing", "owners are changing"},
		"order done":   {`{"metadata":{"generation":1},"status":{"state":"Succeeded","conditions":[{"type":"Complete","status":"True","reason":"OrderSucceeded","message":"done"}]}}`, "Healthy", "done"},
		"order failed": {`{"metadata":{"generation":1},"status":{"state":"Failed","conditions":[{"type":"Complete","status":"True","reason":"OrderFailed","message":"given up"}]}}`, "Degraded", "given up"},
	} {
		t.Run(name, func(t *testing.T) {
			var object any
			if err := json.Unmarshal([]byte(tt.object), &object); err != nil {
				t.Fatal(err)
			}
			l := lua.NewState()
			defer l.Close()
			l.SetGlobal("obj", luaValue(l, object))
			if err := l.DoFile(filepath.Join(root, "config", "argocd", "health.lua")); err != nil {
				t.Fatal(err)
			}
			result, is := l.Get(-1).(*lua.LTable)
			if !is {
				t.Fatalf("it returns %v", l.Get(-1))
			}
			if status, message := result.RawGetString("status").String(), result.RawGetString("message").String(); status != tt.status || message != tt.message {
				t.Errorf("%s, %q; want %s, %q", status, message, tt.status, tt.message)
			}
		})
	}
}

func luaValue(l *lua.LState, v any) lua.LValue {
	switch v := v.(type) {
	case string:
		return lua.LString(v)
	case float64:
		return lua.LNumber(v)
	case []any:
		t := l.NewTable()
		for _, e := range v {
			t.Append(luaValue(l, e))
		}
		return t
	case map[string]any:
		t := l.NewTable()
		for key, e := range v {
			t.RawSetString(key, luaValue(l, e))
		}
		return t
	}
	return lua.LNil
}
