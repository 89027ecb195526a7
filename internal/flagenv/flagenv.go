// Package flagenv has flags of a program given as environment variables, for those who install it without writing
// its command line, such as OLM.
package flagenv

import (
	"errors"
	"flag"
	"fmt"
	"strings"
)

// Name returns the variable that stands for a flag: with the prefix MULTIACTIVE_GATEWAY_ that of owner-wait is
// MULTIACTIVE_GATEWAY_OWNER_WAIT.
func Name(prefix, name string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Set sets the flags that the command line did not give from their variables. An empty variable is none. The
// error names every variable whose value its flag refuses. Call it after the flags have been parsed.
func Set(flags *flag.FlagSet, prefix string, env func(string) string) error {
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var errs []error
	flags.VisitAll(func(f *flag.Flag) {
		name := Name(prefix, f.Name)
		if v := env(name); v != "" && !given[f.Name] {
			if err := flags.Set(f.Name, v); err != nil {
				errs = append(errs, fmt.Errorf("%s: %q: %w", name, v, err))
			}
		}
	})
	return errors.Join(errs...)
}
