package apachekafka

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Names of the listeners.
const (
	listenInside     = "INSIDE"
	listenClients    = "CLIENTS"
	listenController = "CONTROLLER"
)

// single is what a cluster of one small node needs: copies of nothing, and less of everything.
var single = map[string]string{
	"process.roles":                                    "broker,controller",
	"node.id":                                          "1",
	"auto.create.topics.enable":                        "false",
	"default.replication.factor":                       "1",
	"offsets.topic.replication.factor":                 "1",
	"offsets.topic.num.partitions":                     "4",
	"transaction.state.log.replication.factor":         "1",
	"transaction.state.log.min.isr":                    "1",
	"transaction.state.log.num.partitions":             "4",
	"share.coordinator.state.topic.replication.factor": "1",
	"share.coordinator.state.topic.min.isr":            "1",
	"group.initial.rebalance.delay.ms":                 "0",
	"num.network.threads":                              "2",
	"num.io.threads":                                   "2",
	"background.threads":                               "2",
	"log.cleaner.threads":                              "1",
	"log.cleaner.dedupe.buffer.size":                   "4194304",
	// After a kill the controller takes the broker that it knew for alive until this is over, and
	// refuses the new one.
	"broker.session.timeout.ms":    "6000",
	"broker.heartbeat.interval.ms": "1000",
}

// properties is the whole configuration.
func (b *Broker) properties() map[string]string {
	o := &b.options
	p := maps.Clone(single)
	p["controller.quorum.voters"] = "1@" + b.address(b.controller)
	p["controller.listener.names"] = listenController
	p["inter.broker.listener.name"] = listenInside
	p["log.dirs"] = b.file("data")
	listeners := []string{listenInside + "://" + b.Inside()}
	protocols := []string{listenInside + ":PLAINTEXT", listenController + ":PLAINTEXT"}
	if o.secured() {
		listeners = append(listeners, listenClients+"://"+b.Addr())
		protocols = append(protocols, listenClients+":"+o.protocol())
		maps.Copy(p, b.security())
	}
	p["advertised.listeners"] = strings.Join(listeners, ",")
	p["listeners"] = strings.Join(append(listeners, listenController+"://"+b.address(b.controller)), ",")
	p["listener.security.protocol.map"] = strings.Join(protocols, ",")
	if o.Authorize {
		p["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
		// Who comes in on the plain listeners has no name.
		p["super.users"] = "User:ANONYMOUS"
	}
	maps.Copy(p, o.Properties)
	return p
}

func (o *Options) protocol() string {
	switch {
	case len(o.Users) > 0 && o.TLS != nil:
		return "SASL_SSL"
	case len(o.Users) > 0:
		return "SASL_PLAINTEXT"
	default:
		return "SSL"
	}
}

// security is how clients prove themselves, and the broker to them.
func (b *Broker) security() map[string]string {
	o := &b.options
	p := map[string]string{}
	prefix := "listener.name." + strings.ToLower(listenClients) + "."
	if len(o.Users) > 0 {
		p[prefix+"sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
		var plain strings.Builder
		plain.WriteString("org.apache.kafka.common.security.plain.PlainLoginModule required")
		for _, user := range slices.Sorted(maps.Keys(o.Users)) {
			fmt.Fprintf(&plain, " user_%s=%q", user, o.Users[user])
		}
		p[prefix+"plain.sasl.jaas.config"] = plain.String() + ";"
		for _, mechanism := range []string{"scram-sha-256", "scram-sha-512"} {
			p[prefix+mechanism+".sasl.jaas.config"] = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
		}
	}
	if o.TLS != nil {
		p[prefix+"ssl.keystore.type"] = "PEM"
		p[prefix+"ssl.keystore.location"] = b.file(brokerKeystore)
		p[prefix+"ssl.truststore.type"] = "PEM"
		p[prefix+"ssl.truststore.location"] = b.file(caFile)
		if o.ClientCertificates {
			p[prefix+"ssl.client.auth"] = "required"
			p[prefix+"ssl.principal.mapping.rules"] = "RULE:^CN=([^,]*).*$/$1/,DEFAULT"
		}
	}
	return p
}

// checkUsers refuses what would have to be quoted in the login configuration.
func checkUsers(users map[string]string) error {
	for user, password := range users {
		if user == "" || password == "" || strings.ContainsAny(user+password, "\"\\\r\n= ;") {
			return fmt.Errorf("user %q: name and password need one character or more, and none of quotes, backslashes, =, ; and spaces", user)
		}
	}
	return nil
}

// render writes Java properties, sorted.
func render(p map[string]string) string {
	var text strings.Builder
	for _, k := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&text, "%s=%s\n", k, strings.ReplaceAll(p[k], `\`, `\\`))
	}
	return text.String()
}

// clusterID is a new one, as Kafka writes them: 16 bytes in base 64 that begin with no hyphen.
func clusterID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	id[0] &= 0x7f
	return base64.RawURLEncoding.EncodeToString(id[:])
}
