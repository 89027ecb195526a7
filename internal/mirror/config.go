package mirror

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/internal/canary"
	"multiactive.dev/operator/internal/port/kafka"
)

// Config is the mirror's configuration file, YAML or JSON. Unknown fields are
// refused. It holds no credentials, only where to find them.
type Config struct {
	// Origin is the source region's name; it prefixes the target topics.
	Origin string `json:"origin"`
	// Source is the region that is read.
	Source Cluster `json:"source"`
	// Target is the region that the mirror runs in and writes to.
	Target Cluster `json:"target"`
	// Topics are the source's local (unprefixed) topics. The canary's topic
	// is always mirrored too.
	Topics []string `json:"topics"`
}

// Cluster says how to reach one Kafka.
type Cluster struct {
	// Brokers are bootstrap addresses, host:port.
	Brokers []string `json:"brokers"`
	// SASL is optional.
	SASL *SASL `json:"sasl,omitempty"`
	// TLS is optional; without it connections are plain.
	TLS *TLS `json:"tls,omitempty"`
}

// SASL names the mechanism and where user and password are found. Each of them
// comes from exactly one of a file (trailing line break ignored) and an
// environment variable.
type SASL struct {
	Mechanism    string `json:"mechanism"`
	UserFile     string `json:"userFile,omitempty"`
	UserEnv      string `json:"userEnv,omitempty"`
	PasswordFile string `json:"passwordFile,omitempty"`
	PasswordEnv  string `json:"passwordEnv,omitempty"`
}

// TLS names PEM files. The system's roots are used without CAFile.
type TLS struct {
	CAFile     string `json:"caFile,omitempty"`
	CertFile   string `json:"certFile,omitempty"`
	KeyFile    string `json:"keyFile,omitempty"`
	ServerName string `json:"serverName,omitempty"`
}

// Parse decodes and validates a configuration.
func Parse(raw []byte) (Config, error) {
	var c Config
	if err := yaml.UnmarshalStrict(raw, &c); err != nil {
		return Config{}, fmt.Errorf("reading the configuration: %w; known fields are origin, source, target, topics; credentials are named by sasl.userFile or userEnv, passwordFile or passwordEnv", err)
	}
	if err := c.validate(); err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	return c, nil
}

var (
	regionName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$`)
	topicName  = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)
)

// maxTopicName is Kafka's limit on the length of a topic's name.
const maxTopicName = 249

func (c Config) validate() error {
	var errs []error
	if !regionName.MatchString(c.Origin) {
		errs = append(errs, fmt.Errorf("origin: %q is not a region's name (a DNS label of at most 32 characters)", c.Origin))
	}
	for name, cluster := range map[string]Cluster{"source": c.Source, "target": c.Target} {
		if _, err := kafka.ClientOptions(kafka.Options{Brokers: cluster.Brokers}); err != nil {
			errs = append(errs, fmt.Errorf("%s.%w", name, err))
		}
	}
	if len(c.Source.Brokers) > 0 && slices.ContainsFunc(c.Source.Brokers, func(b string) bool { return slices.Contains(c.Target.Brokers, b) }) {
		errs = append(errs, errors.New("source.brokers and target.brokers share an address; a mirror runs between two clusters"))
	}
	for i, t := range c.Topics {
		switch {
		case !topicName.MatchString(t) || len(TargetTopic(c.Origin, t)) > maxTopicName:
			errs = append(errs, fmt.Errorf("topics[%d]: %q is not a topic name (letters, digits, dot, underscore, hyphen; at most %d with the prefix)", i, t, maxTopicName))
		case strings.HasPrefix(t, c.Origin+"."):
			errs = append(errs, fmt.Errorf("topics[%d]: %q starts with the origin's name and a dot; list local names, the mirror adds the prefix", i, t))
		case t == kafka.ClaimsTopic:
			errs = append(errs, fmt.Errorf("topics[%d]: %q belongs to one cluster and is never mirrored", i, t))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// TargetTopic is the name that a topic of a region has in every other region.
func TargetTopic(origin, topic string) string { return origin + "." + topic }

// Group is the consumer group at the target under which the positions of the
// mirror from a region are stored.
func Group(origin string) string { return "multiactive.mirror." + origin }

// topics are the listed ones and the canary's, once each, sorted.
func (c Config) topics() []string {
	all := append(slices.Clone(c.Topics), canary.Topic)
	slices.Sort(all)
	return slices.Compact(all)
}

// options reads the credentials that a cluster's entry names.
func (c Cluster) options(clientID string) (kafka.Options, error) {
	o := kafka.Options{Brokers: c.Brokers, ClientID: clientID}
	if c.SASL != nil {
		user, err := secret("sasl.user", c.SASL.UserFile, c.SASL.UserEnv)
		if err != nil {
			return o, err
		}
		password, err := secret("sasl.password", c.SASL.PasswordFile, c.SASL.PasswordEnv)
		if err != nil {
			return o, err
		}
		o.SASL = &kafka.SASL{Mechanism: kafka.Mechanism(c.SASL.Mechanism), User: user, Password: password}
	}
	if c.TLS != nil {
		conf, err := c.TLS.config()
		if err != nil {
			return o, err
		}
		o.TLS = conf
	}
	return o, nil
}

// secret reads a credential; its error never holds the value.
func secret(field, file, env string) (string, error) {
	var value string
	switch {
	case (file == "") == (env == ""):
		return "", fmt.Errorf("%s: name either %sFile or %sEnv", field, field, field)
	case file != "":
		raw, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("%sFile: %w", field, err)
		}
		value = strings.TrimRight(string(raw), "\r\n")
	default:
		value = os.Getenv(env)
	}
	if value == "" {
		return "", fmt.Errorf("%s: %s%s is empty", field, file, env)
	}
	return value, nil
}

func (t TLS) config() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.caFile: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.caFile: %s holds no PEM certificate", t.CAFile)
		}
	}
	if t.CertFile != "" || t.KeyFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls.certFile and tls.keyFile: %w", err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf, nil
}
