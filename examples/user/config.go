package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"multiactive.dev/operator/examples/user/internal/password"
)

// config is what flags and the environment say.
type config struct {
	mode           string
	listen         string
	store          string
	dataDir        string
	dsn            string
	changesDSN     string
	redisAddr      string
	redisPassword  string
	brokers        string
	accountTopic   string
	ledgerTopic    string
	changeTopic    string
	accountsRegex  string
	ledgerRegex    string
	changesRegex   string
	group          string
	fenceService   string
	loginCost      int
	sessionTTL     time.Duration
	openingBalance int64
	subjectKey     string
	insecureCookie bool
	// gatewaySessions: the gateway alone reaches the service.
	gatewaySessions bool
	logLevel        slog.Level

	accountTopics, ledgerTopics, changeTopics *regexp.Regexp
}

const usage = `user is a small user service: accounts, login, password, profile, sessions and
transfers. It is the example of MultiActive and knows nothing of regions.

  user serve [flags]   answer HTTP, and publish new accounts and ledger entries
  user sync  [flags]   take in the accounts and entries that other regions made
  user export [flags]  print what this region has, one JSON object for each row, without
                       verifiers and sessions: for an audit

Every flag can be given as an environment variable too: -account-topic is
ACCOUNT_TOPIC. A flag wins. Secrets (DSN, CHANGES_DSN, REDIS_PASSWORD) belong in the
environment, where other users of the machine do not see them.

Without any store or Kafka to install:

  user serve -store embedded -data-dir ./data -listen 127.0.0.1:8080

Flags:
`

// errHelp says that help was asked for and given.
var errHelp = errors.New("help was printed")

// parse reads the arguments after the program's name. env looks up a variable.
func parse(args []string, env func(string) string, out io.Writer) (config, error) {
	c := config{mode: "serve"}
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		c.mode, args = args[0], args[1:]
	}
	fs := flag.NewFlagSet("user", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	c.declare(fs)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			_, _ = io.WriteString(out, usage)
			fs.SetOutput(out)
			fs.PrintDefaults()
			return c, errHelp
		}
		return c, err
	}
	if fs.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q: see user --help", fs.Arg(0))
	}
	if err := fromEnv(fs, env); err != nil {
		return c, err
	}
	err := c.check()
	return c, err
}

func (c *config) declare(fs *flag.FlagSet) {
	fs.StringVar(&c.listen, "listen", "127.0.0.1:8080", "address to serve HTTP on, `host:port`; in a pod $(POD_IP):8080")
	fs.StringVar(&c.store, "store", "embedded", "`kind` of store: mariadb (with Redis for sessions; MySQL works too) or embedded (one SQLite file)")
	fs.StringVar(&c.dataDir, "data-dir", "data", "`directory` of the embedded store; serve and sync of one region share it")
	fs.StringVar(&c.dsn, "dsn", "", "MariaDB, as `user:password@tcp(host:port)/database`")
	fs.StringVar(&c.changesDSN, "changes-dsn", "",
		"a MariaDB of its own for new passwords and profiles, as `user:password@tcp(host:port)/database`, whose server replicates with those of other regions; default: they are in the store")
	fs.StringVar(&c.redisAddr, "redis-addr", "", "Redis for sessions, `host:port`")
	fs.StringVar(&c.redisPassword, "redis-password", "", "`password` of Redis; default none")
	fs.StringVar(&c.brokers, "kafka-brokers", "", "`host:port,...` of this region's Kafka; without it new accounts wait in the outbox")
	fs.StringVar(&c.accountTopic, "account-topic", "accounts.account", "this region's `topic` for new accounts")
	fs.StringVar(&c.ledgerTopic, "ledger-topic", "accounts.ledger", "this region's `topic` for ledger entries; - publishes none")
	fs.StringVar(&c.changeTopic, "change-topic", "-", "this region's `topic` for new passwords and profiles; - publishes none, and leaves them to the store's replication")
	fs.StringVar(&c.accountsRegex, "account-topics-regex", `^accounts\.account$`,
		"sync: `pattern` of all regions' account topics, such as ^((beijing|shanghai)\\.)?accounts\\.account$")
	fs.StringVar(&c.ledgerRegex, "ledger-topics-regex", `^accounts\.ledger$`, "sync: `pattern` of all regions' ledger topics; - takes in none")
	fs.StringVar(&c.changesRegex, "change-topics-regex", "-", "sync: `pattern` of all regions' topics for new passwords and profiles; - takes in none")
	fs.StringVar(&c.group, "consumer-group", "account-sync", "sync: consumer `group`")
	fs.StringVar(&c.fenceService, "fence-service", "",
		"this service's `namespace/name` among the fences that the operator keeps in MariaDB; with it every write needs a valid fencing token")
	fs.IntVar(&c.loginCost, "login-cost", password.DefaultCost,
		"bcrypt `cost`, 4 to 15: each step doubles the time of a login; 5 is about 2 ms (a demo), 12 about 250 ms (use it in production)")
	fs.DurationVar(&c.sessionTTL, "session-ttl", 12*time.Hour, "how long a login lasts")
	fs.Int64Var(&c.openingBalance, "opening-balance", 0, "`amount` that a new account starts with, in the smallest unit of the currency")
	fs.BoolVar(&c.gatewaySessions, "gateway-sessions", false, "believe the gateway's Multiactive-Session header: the session that another region "+
		"has of the request; only where nobody but the gateway reaches this service")
	fs.StringVar(&c.subjectKey, "subject-key", "",
		"`secret`, the same in every region, that vouches for who asked for a deferred transfer; without it those are refused when they are carried out")
	fs.BoolVar(&c.insecureCookie, "insecure-cookie", false, "send the session cookie over plain HTTP too; only for a playground")
	fs.TextVar(&c.logLevel, "log-level", slog.LevelInfo, "`level`: DEBUG logs every request, INFO, WARN, ERROR")
}

// fromEnv sets the flags that were not given from the environment.
func fromEnv(fs *flag.FlagSet, env func(string) string) error {
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var errs []error
	fs.VisitAll(func(f *flag.Flag) {
		name := strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		v := env(name)
		if given[f.Name] || v == "" {
			return
		}
		if err := fs.Set(f.Name, v); err != nil {
			errs = append(errs, fmt.Errorf("environment variable %s has no valid value: see user --help", name))
		}
	})
	return errors.Join(errs...)
}

// check refuses what cannot work, naming the flag.
func (c *config) check() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.mode != "serve" && c.mode != "sync" && c.mode != "export" {
		refuse("unknown mode %q: use serve, sync or export", c.mode)
	}
	c.checkStore(refuse)
	if c.mode == "sync" && c.brokers == "" {
		refuse("-kafka-brokers is empty: sync has nothing to read from")
	}
	if c.loginCost < password.MinCost || c.loginCost > password.MaxCost {
		refuse("-login-cost %d is outside %d to %d", c.loginCost, password.MinCost, password.MaxCost)
	}
	if c.sessionTTL <= 0 {
		refuse("-session-ttl must be above 0")
	}
	if c.openingBalance < 0 {
		refuse("-opening-balance must not be negative")
	}
	c.accountTopics = pattern("-account-topics-regex", c.accountsRegex, refuse)
	if c.ledgerRegex != "-" {
		c.ledgerTopics = pattern("-ledger-topics-regex", c.ledgerRegex, refuse)
	}
	if c.changesRegex != "-" {
		c.changeTopics = pattern("-change-topics-regex", c.changesRegex, refuse)
	}
	return errors.Join(errs...)
}

// checkStore refuses a store without what it needs.
func (c *config) checkStore(refuse func(string, ...any)) {
	switch c.store {
	case "embedded":
		if c.dataDir == "" {
			refuse("-data-dir is empty: name a directory for the embedded store")
		}
	case "mariadb":
		if c.dsn == "" {
			refuse("-dsn is empty: the mariadb store needs user:password@tcp(host:port)/database")
		}
		if c.redisAddr == "" && c.mode == "serve" {
			refuse("-redis-addr is empty: the mariadb store keeps sessions in Redis")
		}
	default:
		refuse("-store %q is unknown: use mariadb or embedded", c.store)
	}
}

// pattern compiles a pattern of topics. One that is not bound at both ends
// would also read topics of others.
func pattern(name, s string, refuse func(string, ...any)) *regexp.Regexp {
	if !strings.HasPrefix(s, "^") || !strings.HasSuffix(s, "$") {
		refuse("%s must begin with ^ and end with $, so that it matches no other topics", name)
		return nil
	}
	re, err := regexp.Compile(s)
	if err != nil {
		refuse("%s: %v", name, err)
	}
	return re
}
