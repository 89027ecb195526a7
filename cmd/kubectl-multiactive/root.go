package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const rootHelp = `kubectl multiactive looks after services that live in several regions at once. With kubectl-multiactive in the PATH,
kubectl knows it as a plugin.

At three in the morning:
  kubectl multiactive status -A                      what works, what does not, and what to do next
  kubectl multiactive incident                       how the outage went so far
  kubectl multiactive owner +8613800000001 -n accounts user    who serves this user's home requests, and why

Before you change something:
  kubectl multiactive plan --down beijing            what would happen without a region
  kubectl multiactive plan -f changed.yaml           what a changed declaration would do
  kubectl multiactive drain beijing --dry-run=client what an order would do

All commands but compensation and lint use the kubeconfig of the hub's cluster; in peer mode, of any region's.

Exit codes: 0 all is well, 1 it failed, an order was not carried out, or a check has found errors, 2 the command line
or a file is wrong, 3 a region or a service needs attention, or something is missing from the answer.`

// Groups of commands in the help.
const (
	groupLook  = "look"
	groupOrder = "order"
	groupSetUp = "setup"
)

// newRoot returns the whole command. It does not share anything with another one.
func newRoot(t *terminal) *cobra.Command {
	root := &cobra.Command{
		Use: "kubectl-multiactive", Short: "Look after services that live in several regions", Long: rootHelp,
		Annotations:  map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl multiactive"},
		SilenceUsage: true, SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("there is no command %q: %w", args[0], errUsage)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(t.in)
	root.SetOut(t.out)
	root.SetErr(t.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", err, errUsage) })
	root.AddGroup(
		&cobra.Group{ID: groupLook, Title: "See what is going on:"},
		&cobra.Group{ID: groupOrder, Title: "Order something:"},
		&cobra.Group{ID: groupSetUp, Title: "Set up and check:"},
	)
	root.SetHelpCommandGroupID(groupSetUp)
	root.SetCompletionCommandGroupID(groupSetUp)
	in := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	in(groupLook, overviewCommand(t), incidentCommand(t), ownerCommand(t), planCommand(t), compensationCommand(t))
	in(groupOrder, orderCommands(t)...)
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.AddCommand(kubectlCompletion(t))
		}
	}
	in(groupSetUp, joinCommand(t), doctorCommand(t), coordinationCommand(t), lintCommand(t), versionCommand(t))
	return root
}

// leaf returns a command without arguments.
func leaf(use, short, long string, bind func(*pflag.FlagSet), do func(context.Context) error) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Args: arguments(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return do(cmd.Context()) },
	}
	c.Flags().SortFlags = false
	bind(c.Flags())
	return c
}

// arguments demands as many arguments as have these names.
func arguments(atMost int, names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return fmt.Errorf("%s is missing: %w", names[len(args)], errUsage)
		case len(args) > max(atMost, len(names)):
			return fmt.Errorf("unexpected argument %q: %w", args[max(atMost, len(names))], errUsage)
		}
		return nil
	}
}

// kubectlCompletion returns the command that writes what kubectl asks for completions of this plugin.
func kubectlCompletion(t *terminal) *cobra.Command {
	return leaf("kubectl", "Let kubectl's own completion know this plugin", `kubectl asks a program named kubectl_complete-multiactive what completes "kubectl multiactive …". This writes it:

  kubectl multiactive completion kubectl > ~/.local/bin/kubectl_complete-multiactive
  chmod +x ~/.local/bin/kubectl_complete-multiactive

The directory must be in the PATH, and kubectl's own completion be set up (kubectl completion --help).`, func(*pflag.FlagSet) {}, func(context.Context) error {
		t.say("#!/bin/sh\nexec kubectl multiactive __complete \"$@\"")
		return nil
	})
}

func coordinationCommand(t *terminal) *cobra.Command {
	c := &cobra.Command{
		Use: "coordination", Short: "The coordination store, as the regions see it",
		Long: `kubectl multiactive coordination is about the store that the regions agree in:

  kubectl multiactive coordination status   which coordination store every region follows or refuses
  kubectl multiactive coordination adopt    let the regions follow a store that was replaced or restored`,
		Args: arguments(0), RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var look hubOptions
	adoption := adoptOptions{}
	c.AddCommand(
		leaf("status", "Which store every region follows or refuses", statusUsage, look.bind, func(ctx context.Context) error { return status(ctx, &look, *t) }),
		leaf("adopt", "Let the regions follow a store that was replaced or restored", adoptUsage, adoption.bind, func(ctx context.Context) error { return adopt(ctx, &adoption, *t) }),
	)
	return c
}
