package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/playground/demo"
	"multiactive.dev/operator/internal/playground/node"
	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/testkit/binaries"
)

// errBroken ends the program with status 1 after a promise was not kept.
var errBroken = errors.New("a promise was not kept")

const demoUsage = `playground runs a multi-region world on this machine, deploys a service into it, kills
a region and brings it back, with measured times and checked promises.

  playground                          the example service in beijing, shanghai and shenzhen
  playground --keep                   ... and stay up to try kubectl and curl
  playground --kill shanghai          lose another region
  playground --peer                   no hub of its own, but one beside every region's member; the
                                      region that is lost is the leader's, unless --kill says another
  playground --service my.yaml --program registry.example.com/shop:v1=bin/shop
                                      your own service: say what to run for its images
  playground bench-failover           many kills in a row, and how long logins were away
  playground chaos --help             faults of all kinds under load, judged by true time
  playground kafka --help             the small Kafka that every region has

Real: the API servers and their etcd, the coordination etcd, the operator's manager, gateways and
mirrors, kubectl. Small: Kafka (one broker). Made up: nodes; a Pod is a process here, so mounted
paths are replaced wherever they stand in command lines and variables, and a program must listen
on $(POD_IP) (status.podIP), which is a loopback address of its own.

The exit status is 0 when every promise was kept. Ctrl-C ends everything that was started.

`

// common are the flags of the demo and the benchmark.
type common struct {
	options  demo.Options
	regions  string
	programs []string
	noColor  bool
	verbose  bool
	users    string
}

func (c *common) parse(name, usage string, args []string, more func(*common, flagSet)) error {
	flags := newFlags(name, usage)
	o := &c.options
	flags.StringVar(&o.Service, "service", "", "`file` with a MultiActiveService, and with what it needs in every cluster, as namespace.yaml beside it (default examples/user/multiactiveservice.yaml)")
	flags.StringVar(&c.regions, "regions", "", "two to five `names`, separated by commas, in place of the manifest's regions in their order")
	flags.Func("program", "`IMAGE=COMMAND`: the program, or the directory of programs, that stands for an image; repeatable", func(text string) error {
		c.programs = append(c.programs, text)
		return nil
	})
	flags.StringVar(&o.Bin, "bin", "", "`directory` with the operator's programs: manager, gateway and mirror (default bin of the source tree)")
	flags.StringVar(&o.Dir, "dir", "", "`directory` of data, logs and kubeconfigs, kept at the end (default: a temporary one, removed at the end unless something failed)")
	flags.IntVar(&o.Rate, "load", 30, "requests per second of the example's users")
	flags.IntVar(&o.People, "people", 60, "how many users the example has")
	flags.StringVar(&c.users, "users", "auto", "whose users act: `user` (the example's), none, or auto: the example's when its image is run")
	flags.BoolVar(&c.noColor, "no-color", false, "plain text")
	flags.BoolVar(&c.verbose, "v", false, "write the playground's own log to standard error")
	if more != nil {
		more(c, flags)
	}
	if err := parse(flags, args); err != nil {
		return err
	}
	return c.complete()
}

// exampleImage is the only one whose users the playground can play.
const exampleImage = "multiactive.dev/examples/user"

// complete fills in what depends on where the program is and on other flags.
func (c *common) complete() (err error) {
	o := &c.options
	if o.Root, err = binaries.ModuleRoot(); err != nil {
		return err
	}
	if o.Self, err = os.Executable(); err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	if o.Bin == "" {
		o.Bin = filepath.Join(o.Root, "bin")
	}
	if o.Bin, err = filepath.Abs(o.Bin); err != nil { // Pods run in directories of their own
		return err
	}
	if err := c.findPrograms(); err != nil {
		return err
	}
	if o.Service == "" {
		o.Service = filepath.Join(o.Root, "examples", "user", "multiactiveservice.yaml")
	}
	if c.regions != "" {
		o.Regions = strings.Split(c.regions, ",")
	}
	switch c.users {
	case "auto":
		o.LoadUsers = isExample(o.Service)
	case "user":
		o.LoadUsers = true
	case "none":
	default:
		return fmt.Errorf("--users %s is unknown: auto, user or none", c.users)
	}
	if o.Rate < 1 || o.People < 1 {
		return errors.New("--load and --people must be at least 1")
	}
	o.Out, o.Color, o.Clock = os.Stdout, !c.noColor, clock.RealClock{}
	return c.prepareDir()
}

// findPrograms checks that the operator's programs are there and collects those of images.
func (c *common) findPrograms() error {
	o := &c.options
	for _, name := range []string{"manager", "gateway", "mirror"} {
		if _, err := os.Stat(filepath.Join(o.Bin, name)); err != nil {
			return fmt.Errorf("%w: run `make build`", err)
		}
	}
	o.Programs = node.Programs{}
	if path := filepath.Join(o.Root, "bin", "user"); exists(path) {
		o.Programs[exampleImage] = path
	}
	for _, text := range c.programs {
		image, path, err := node.ParseProgram(text)
		if err != nil {
			return fmt.Errorf("--program: %w", err)
		}
		o.Programs[image] = path
	}
	return nil
}

// isExample reports whether a manifest runs the example's image.
func isExample(file string) bool {
	m, err := world.ReadManifest(file)
	if err != nil {
		return false // the demo says what is wrong with it
	}
	return slices.ContainsFunc(m.Images(), func(image string) bool {
		return image == exampleImage || strings.HasPrefix(image, exampleImage+":")
	})
}

func (c *common) prepareDir() (err error) {
	o := &c.options
	if o.KeepDir = o.Dir != ""; !o.KeepDir {
		if o.Dir, err = os.MkdirTemp("", "playground-"); err != nil {
			return err
		}
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	out := os.Stderr
	if !c.verbose {
		if out, err = os.OpenFile(filepath.Join(o.Dir, "playground.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			return err
		}
	}
	o.Log = slog.New(slog.NewTextHandler(out, nil))
	klogTo(o.Log)
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// runDemo tells the story once.
func runDemo(ctx context.Context, args []string) error {
	var c common
	err := c.parse("playground", demoUsage, args, func(c *common, flags flagSet) {
		flags.BoolVar(&c.options.Keep, "keep", false, "stay up at the end, until Ctrl-C")
		flags.StringVar(&c.options.Kill, "kill", "", "`region` to lose (default: the first that owns keys; with --peer the leader's)")
		flags.BoolVar(&c.options.Peer, "peer", false, "peer mode: every region's manager is a hub too; takes three regions or more")
	})
	if err != nil {
		return err
	}
	broken, err := demo.Run(ctx, c.options)
	if err == nil && broken {
		return errBroken
	}
	return err
}
