package flagenv_test

import (
	"flag"
	"io"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/flagenv"
)

func TestSet(t *testing.T) {
	t.Parallel()
	env := map[string]string{"APP_OWNER_WAIT": "7s", "APP_REGION": "beijing", "APP_EMPTY": "", "OWNER_WAIT": "9s"}
	flags := flag.NewFlagSet("app", flag.ContinueOnError)
	wait := flags.Duration("owner-wait", time.Second, "")
	region := flags.String("region", "", "")
	empty := flags.String("empty", "as before", "")
	if err := flags.Parse([]string{"--region=shanghai"}); err != nil {
		t.Fatal(err)
	}
	if err := flagenv.Set(flags, "APP_", func(name string) string { return env[name] }); err != nil {
		t.Fatal(err)
	}
	if *wait != 7*time.Second || *region != "shanghai" || *empty != "as before" {
		t.Errorf("owner-wait is %s, region %s, empty %q: a variable counts, unless the flag is given, or the variable empty", *wait, *region, *empty)
	}
}

func TestRefusedValuesAreNamed(t *testing.T) {
	t.Parallel()
	flags := flag.NewFlagSet("app", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Duration("owner-wait", time.Second, "")
	flags.Bool("check", false, "")
	err := flagenv.Set(flags, "APP_", func(string) string { return "soon" })
	if err == nil || !strings.Contains(err.Error(), "APP_OWNER_WAIT") || !strings.Contains(err.Error(), "APP_CHECK") {
		t.Errorf("the error is %v, and should name both variables", err)
	}
}
