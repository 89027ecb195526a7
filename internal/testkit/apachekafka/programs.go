package apachekafka

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/process"
)

// EnvJars names the directory with Kafka's jars. Default: bin/kafka of the module, where `make kafka`
// puts them.
const EnvJars = "MULTIACTIVE_KAFKA"

// ErrNotFound is wrapped when Java or Kafka is missing.
var ErrNotFound = errors.New("program not found")

// logging is what every process says: all that Kafka finds worth telling, on standard output.
const logging = `<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders>
    <Console name="out"><PatternLayout pattern="%d{HH:mm:ss.SSS} %p %c{1}: %m%n"/></Console>
  </Appenders>
  <Loggers>
    <Root level="INFO"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
`

// programs are Java and the directory of Kafka's jars.
type programs struct{ binary, jars string }

func find() (programs, error) {
	binary, err := exec.LookPath("java")
	if err != nil {
		return programs{}, fmt.Errorf("%w: java: run `make kafka`, or install Java 17 or later", ErrNotFound)
	}
	jars := os.Getenv(EnvJars)
	if jars == "" {
		root, err := binaries.ModuleRoot()
		if err != nil {
			return programs{}, err
		}
		jars = filepath.Join(root, "bin", "kafka")
	}
	found, err := filepath.Glob(filepath.Join(jars, "kafka_*.jar"))
	if err != nil || len(found) == 0 {
		return programs{}, fmt.Errorf("%w: Apache Kafka (looked in %s): run `make kafka`, or set %s to a directory that has its jars",
			ErrNotFound, jars, EnvJars)
	}
	return programs{binary: binary, jars: jars}, nil
}

// quick is what a process wants that lives for a minute.
var quick = []string{"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"}

// java runs a class of Kafka's.
func (p programs) java(heapMB int, options []string, logging, class string, arguments ...string) process.Spec {
	if options == nil {
		options = quick
	}
	args := []string{fmt.Sprintf("-Xmx%dm", heapMB), "-XX:-UsePerfData", "-Djava.awt.headless=true", "-Dlog4j2.configurationFile=" + logging}
	args = slices.Concat(args, options, []string{"-cp", filepath.Join(p.jars, "*"), class}, arguments)
	return process.Spec{Path: p.binary, Args: args, Env: []string{"LC_ALL=C.UTF-8"}}
}

// Version is that of the Kafka that is there, such as 4.3.1; "unknown" when there is none.
func Version() string {
	p, err := find()
	if err != nil {
		return "unknown"
	}
	found, _ := filepath.Glob(filepath.Join(p.jars, "kafka_*-*.jar"))
	_, version, _ := strings.Cut(strings.TrimSuffix(filepath.Base(found[0]), ".jar"), "-")
	return version
}
