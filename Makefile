# MultiActive. `make help` lists the targets; CONTRIBUTING.md says when to use which.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

BIN := bin
TOOLS := $(BIN)/tools
LINT := $(TOOLS)/golangci-lint
CONTROLLER_GEN := $(TOOLS)/controller-gen
CRD_REF_DOCS := $(TOOLS)/crd-ref-docs
HELM := $(TOOLS)/helm
KUSTOMIZE := $(TOOLS)/kustomize
IMAGE_TAR := $(TOOLS)/image-tar
COREDNS := $(TOOLS)/coredns
GOTESTSUM := $(TOOLS)/gotestsum
OPERATOR_VERIFY := $(TOOLS)/operator-verify
TRAEFIK := $(TOOLS)/traefik

# Modules with code of the product; the example is a service of its own.
MODULES := . $(patsubst %/go.mod,%,$(wildcard examples/*/go.mod))
COMMANDS := $(patsubst cmd/%/,%,$(wildcard cmd/*/))
# What the image carries.
IMAGE_COMMANDS := $(filter manager gateway mirror kubectl-multiactive,$(COMMANDS))

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
IMAGE ?= multiactive.dev/operator:$(VERSION)
GOFLAGS_BUILD := -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)'

# Time limits, so that nothing hangs. Race-instrumented tests on two cores need the longer ones.
UNIT_TIMEOUT ?= 5m
TEST_TIMEOUT ?= 45m
# Packages that start API servers, at a time.
SERVER_JOBS ?= 3
BENCH_TIMEOUT ?= 20m
SEEDS ?= 10000
BENCH_TIME ?= 1s
# Rounds of each part, and services of the last one, of the benchmark of failover; BENCH_ARGS='--only kill,cut'.
BENCH_ROUNDS ?= 3
BENCH_SERVICES ?= 1000
BENCH_ARGS ?=
# Where the plugin's archives will be downloaded from.
KREW_URL ?= https://multiactive.dev/releases/$(VERSION)
# Rounds of the gateway's measurement beside other proxies.
GATEWAY_ROUNDS ?= 5
# Rounds of the mirror's beside MirrorMaker 2.
MIRROR_ROUNDS ?= 5
# Servers that the measurement of stores kills.
STORE_KILLS ?= 20
# Topics of the measurement of many.
TOPICS ?= 1000
# Services of the worlds of the measurement of many.
SERVICES ?= 1000
RUNS ?= 10
# In place of a number of runs: new ones begin for so long, such as 10m.
DURATION ?=
E2E_TIMEOUT ?= 60m
# Arguments of `go test` for any of the test targets, such as ARGS='-run TestDecide -v'.
ARGS ?=

# With the race detector. Symbols of debuggers would be a quarter of all linking; `make lint` has go vet.
RACE := -race -ldflags=-w -vet=off

# race_tests NAME PACKAGES runs tests with the race detector. A test that fails is run once more, alone, for these share
# few processors with real servers; which ones needed that is told, and is a defect. A data race is never tried again.
define race_tests
	@rm -f $(BIN)/reruns-$(1).txt
	CGO_ENABLED=1 $(GOTESTSUM) --format pkgname-and-test-fails --format-icons text --hide-summary skipped \
		--rerun-fails=1 --rerun-fails-max-failures=20 --rerun-fails-run-root-test --rerun-fails-abort-on-data-race \
		--rerun-fails-report=$(BIN)/reruns-$(1).txt --packages="$(2)" -- $(RACE)
endef

# Tests find the real API server and etcd here.
export KUBEBUILDER_ASSETS ?= $(CURDIR)/$(BIN)/kubernetes

##@ General

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN {FS = ":.*## "; printf "Usage: make <target> [VARIABLE=value]\n"} \
		/^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  \033[36m%-15s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Every change

.PHONY: check
check: fmt-check lint unit ## Fast checks: format, lint, unit tests.

.PHONY: fmt
fmt: $(LINT) ## Format the code.
	@$(foreach module,$(MODULES),(cd $(module) && $(CURDIR)/$(LINT) fmt --config $(CURDIR)/.golangci.yml) &&) true

.PHONY: fmt-check
fmt-check: $(LINT)
	@$(foreach module,$(MODULES),(cd $(module) && $(CURDIR)/$(LINT) fmt --diff --config $(CURDIR)/.golangci.yml) &&) true || \
		{ echo 'not formatted: run `make fmt`' >&2; exit 1; }

.PHONY: lint
lint: $(LINT) ## Run the linters and check the import directions.
	$(LINT) config verify
	@$(foreach module,$(MODULES),(cd $(module) && $(CURDIR)/$(LINT) run --config $(CURDIR)/.golangci.yml $(ARGS) ./...) &&) true
	hack/verify-imports.sh

.PHONY: unit
unit: ## Unit tests: no process besides the tests' own.
	go test -timeout $(UNIT_TIMEOUT) $(ARGS) $$(hack/packages.sh unit)

.PHONY: generate
generate: $(CONTROLLER_GEN) $(CRD_REF_DOCS) ## Write deep copies, CRDs, RBAC, the API reference and the design rules.
	CONTROLLER_GEN=$(CONTROLLER_GEN) CRD_REF_DOCS=$(CRD_REF_DOCS) hack/generate.sh

##@ Tests

.PHONY: test
test: test-unit test-servers test-stores ## All tests with -race: unit and embedded Kafka, API servers, the example's stores.

.PHONY: test-unit
test-unit: setup-test
	$(call race_tests,unit,$$(hack/packages.sh unit | xargs)) -timeout $(TEST_TIMEOUT) $(ARGS)

.PHONY: test-servers
test-servers: setup-test image-tar
	$(call race_tests,servers,$$(hack/packages.sh servers | xargs)) -p $(SERVER_JOBS) -timeout $(TEST_TIMEOUT) $(ARGS)

.PHONY: test-stores
test-stores: setup-test
	@$(foreach module,$(filter-out .,$(MODULES)),echo 'go -C $(module) test -race ./...' && \
		CGO_ENABLED=1 go -C $(module) test $(RACE) -timeout $(TEST_TIMEOUT) $(ARGS) ./... &&) true

.PHONY: setup-test
setup-test: kubernetes $(HELM) $(KUSTOMIZE) $(IMAGE_TAR) $(GOTESTSUM) $(OPERATOR_VERIFY)
	@hack/ensure.sh packages race stores prometheus buildah

.PHONY: verify
verify: $(CONTROLLER_GEN) $(CRD_REF_DOCS) $(HELM) $(KUSTOMIZE) ## Fail when generated files, manifests, pages (links, manifests, commands, values) or modules are out of date.
	CONTROLLER_GEN=$(CURDIR)/$(CONTROLLER_GEN) CRD_REF_DOCS=$(CURDIR)/$(CRD_REF_DOCS) hack/verify-generated.sh
	HELM=$(HELM) KUSTOMIZE=$(KUSTOMIZE) hack/verify-manifests.sh
	hack/verify-words.sh
	go test -count=1 -run '^TestDocs' ./test/docs ./test/chart ./cmd/kubectl-multiactive
	@$(foreach module,$(MODULES),echo 'go -C $(module) mod tidy -diff' && go -C $(module) mod tidy -diff &&) true

.PHONY: simulate
simulate: ## The ownership protocol under SEEDS=10000 simulated histories of faults.
	go test -count=1 -timeout $(TEST_TIMEOUT) -run 'TestSeeds$$' -v $(ARGS) ./internal/ownership/sim -seeds $(SEEDS)

.PHONY: chaos
chaos: build build-clockstep build-examples kubernetes ## Faults of real processes, networks and clocks (RUNS=10 or DURATION=10m, CHAOS_ARGS='--seed 7 --first 3').
	$(BIN)/playground chaos $(if $(DURATION),--duration $(DURATION),--runs $(RUNS)) $(CHAOS_ARGS)

.PHONY: bench
bench: build build-examples kubernetes bench-gateway ## Benchmarks, the gateway beside others, failovers of whole worlds (BENCH_TIME=1s BENCH_ROUNDS=3 BENCH_SERVICES=1000 BENCH_ARGS=...).
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCH_TIME) -timeout $(BENCH_TIMEOUT) $(ARGS) ./...
	$(BIN)/playground bench-failover --rounds $(BENCH_ROUNDS) --services $(BENCH_SERVICES) $(BENCH_ARGS)

.PHONY: bench-gateway
bench-gateway: build kubernetes ## The gateway beside nginx with Lua and HAProxy, forwarded requests, changes of owners; written to docs/performance.md (GATEWAY_ROUNDS=5).
	@hack/ensure.sh packages proxies
	go run ./hack/bench-gateway --gateway $(BIN)/gateway --rounds $(GATEWAY_ROUNDS) --out docs/performance.md

.PHONY: bench-stores
bench-stores: build build-examples kubernetes ## Stores while their servers are killed, fences and digests, written to docs/performance.md (STORE_KILLS=20).
	@hack/ensure.sh packages stores
	go run ./hack/bench-stores --kills $(STORE_KILLS) --out docs/performance.md

.PHONY: bench-mirror
bench-mirror: build kafka ## The built-in mirror beside MirrorMaker 2, written to docs/performance.md (MIRROR_ROUNDS=5).
	go run ./hack/bench-mirror --mirror $(BIN)/mirror --rounds $(MIRROR_ROUNDS) --out docs/performance.md

.PHONY: bench-topics
bench-topics: build kubernetes ## What many topics cost in three regions, written to docs/performance.md (TOPICS=1000).
	go run ./hack/bench-topics --bin $(BIN) --topics $(TOPICS) --out docs/performance.md

.PHONY: bench-scale
bench-scale: build kubernetes ## What 10, 100 and many services cost in three regions, written to docs/performance.md (SERVICES=1000).
	go run ./hack/bench-scale --bin $(BIN) --services 10,100,$(SERVICES) --out docs/performance.md

# Packages, at a time, each with brokers of its own.
E2E_JOBS ?= 1
# Runs of mixed faults over the mirror, each about three quarters of a minute.
SOAK_RUNS ?= 50
SOAKED := internal/mirror
# Whole clusters, one world at a time.
CLUSTERS := ./internal/testkit/cluster ./test/clusters
# A Gateway of Gateway API, whose program takes minutes to build.
GATEWAYAPI := ./test/gatewayapi

.PHONY: e2e
e2e: e2e-systems e2e-clusters e2e-gatewayapi ## What needs more than Debian's packages and a few Go modules: all of these.

.PHONY: e2e-systems
e2e-systems: kafka strimzi postgres16 mysql kubernetes $(GOTESTSUM) ## Apache Kafka, Strimzi, PostgreSQL 16, MySQL (build tag e2e): contracts, mirrors, MirrorMaker, SASL and TLS (SOAK_RUNS=50).
	@hack/ensure.sh packages race stores
	$(call race_tests,e2e,$$(hack/packages.sh e2e | grep -vxF $(foreach package,./$(SOAKED) $(CLUSTERS) $(GATEWAYAPI),-e $(package)) | xargs)) -tags e2e -p $(E2E_JOBS) -timeout $(E2E_TIMEOUT) $(ARGS)
	CGO_ENABLED=1 go test $(RACE) -tags e2e -timeout $(E2E_TIMEOUT) $(ARGS) ./$(SOAKED) -runs $(SOAK_RUNS)

.PHONY: e2e-clusters
e2e-clusters: cluster-images ## The chart in whole Kubernetes clusters, one per region, which are lost and come back (root on Linux).
	go test -tags e2e -p 1 -timeout $(E2E_TIMEOUT) -v $(ARGS) $(CLUSTERS)

.PHONY: e2e-gatewayapi
e2e-gatewayapi: kubernetes $(TRAEFIK) ## Users come through Traefik by the routes of docs/guides/dns.md.
	go test -tags e2e -timeout $(E2E_TIMEOUT) -v $(ARGS) $(GATEWAYAPI)

##@ Build and run

.PHONY: build
build: ## Build every command into bin/, and the bill of materials of those in the image.
	@mkdir -p $(BIN)
	CGO_ENABLED=0 go build $(GOFLAGS_BUILD) -o $(BIN)/ $(addprefix ./cmd/,$(COMMANDS))
	@go -C hack/tools/image run ./sbom $(addprefix $(CURDIR)/$(BIN)/,$(IMAGE_COMMANDS)) >$(BIN)/sbom.cdx.json

.PHONY: build-examples
build-examples: ## Build the example services into bin/.
	@mkdir -p $(BIN)
	@$(foreach module,$(filter-out .,$(MODULES)),echo 'building $(module)' && \
		CGO_ENABLED=0 go -C $(module) build $(GOFLAGS_BUILD) -o $(CURDIR)/$(BIN)/$(notdir $(module)) . &&) true

# The operator's programs with a clock that chaos can set.
.PHONY: build-clockstep
build-clockstep:
	hack/clockstep/build.sh $(BIN)/clockstep ./cmd/manager ./cmd/gateway ./cmd/mirror

.PHONY: demo
demo: build build-examples kubernetes ## A three-region world on this machine (KEEP=1: stay up; DEMO_ARGS=...).
	$(BIN)/playground $(KEEP:1=--keep) $(DEMO_ARGS)

.PHONY: image
image: ## Build the container image with Docker, podman or buildah (IMAGE=... GO_IMAGE=... BASE=...).
	@hack/ensure.sh packages engine
	hack/image.sh build --build-arg VERSION=$(VERSION) $(foreach arg,GO_IMAGE BASE,$(if $($(arg)),--build-arg $(arg)=$($(arg)))) --tag $(IMAGE)

.PHONY: image-scratch
image-scratch: build ## The same from binaries built here, without a base image or any download.
	@hack/ensure.sh packages engine
	hack/image.sh build --target prebuilt --tag $(IMAGE)

.PHONY: image-tar
image-tar: build $(IMAGE_TAR) ## The same as bin/image.tar, without anything but Go; docker, podman and ctr load it.
	$(IMAGE_TAR) --tag $(IMAGE) --output $(BIN)/image.tar --entrypoint manager $(addprefix $(BIN)/,$(IMAGE_COMMANDS))

.PHONY: krew
krew: ## The plugin's archives for all platforms, and the manifest by which krew installs it, in bin/krew (VERSION=v0.4.0 KREW_URL=https://...).
	hack/krew.sh '$(VERSION)' '$(KREW_URL)' $(BIN)/krew

.PHONY: bundle
bundle: $(KUSTOMIZE) ## Bundles for OLM, one for each mode, in bin/bundle (VERSION=v0.4.0).
	@for mode in hub member peer; do $(KUSTOMIZE) build config/$$mode | go run ./hack/bundle --mode $$mode --version '$(VERSION)' --out $(BIN)/bundle/$$mode; done

##@ Tools

.PHONY: tools
tools: $(LINT) $(CONTROLLER_GEN) $(CRD_REF_DOCS) kubernetes ## Build the pinned tools and the Kubernetes binaries; nothing is installed.

.PHONY: kubernetes
kubernetes:
ifeq ($(origin KUBEBUILDER_ASSETS),file)
	@env -u KUBEBUILDER_ASSETS hack/ensure.sh kubernetes
else
	@hack/ensure.sh kubernetes
endif

.PHONY: clusters
clusters: kubernetes $(HELM) $(IMAGE_TAR) $(COREDNS) ## What whole clusters are made of: kubelet and its kind into bin/clusters, containerd and CNI as packages.
	@hack/ensure.sh clusters
	@hack/ensure.sh packages containers

.PHONY: cluster-images
cluster-images: build build-examples clusters ## The images that whole clusters run, in bin/clusters/images.
	hack/cluster-images.sh

.PHONY: kafka
kafka: ## Apache Kafka with MirrorMaker 2, into bin/kafka: Java and Maven, installed by itself as root on Debian.
	@hack/ensure.sh kafka

.PHONY: strimzi
strimzi: ## Strimzi's CustomResourceDefinitions, into bin/strimzi: Java 21 or later, and Maven.
	@hack/ensure.sh strimzi

.PHONY: postgres16
postgres16: ## PostgreSQL 16 or later, for meshes, into bin/postgres16: Java and Maven, installed by itself as root on Debian.
	@hack/ensure.sh postgres16

.PHONY: mysql
mysql: ## MySQL, of Debian's unstable suite, into bin/mysql; nothing is installed.
	@hack/ensure.sh mysql

# A tool is built again only when its module, or how it is built, changes.
tool_sources = hack/ensure.sh $(wildcard hack/tools/$(1)/go.mod hack/tools/$(1)/go.sum hack/tools/$(1)/*.go)

$(LINT): $(call tool_sources,lint)
	@hack/ensure.sh tool lint && touch $@

$(CONTROLLER_GEN) $(CRD_REF_DOCS) &: $(call tool_sources,generate)
	@hack/ensure.sh tool generate && touch $(CONTROLLER_GEN) $(CRD_REF_DOCS)

$(HELM) $(KUSTOMIZE) &: $(call tool_sources,deploy)
	@hack/ensure.sh tool deploy && touch $(HELM) $(KUSTOMIZE)

$(COREDNS): $(call tool_sources,coredns)
	@hack/ensure.sh tool coredns && touch $@

$(GOTESTSUM): $(call tool_sources,test)
	@hack/ensure.sh tool test && touch $@

$(OPERATOR_VERIFY): $(call tool_sources,olm)
	@hack/ensure.sh tool olm && touch $@

$(TRAEFIK): $(call tool_sources,traefik) $(wildcard hack/tools/traefik/*/*.go)
	@hack/ensure.sh tool traefik && touch $@

$(IMAGE_TAR): $(call tool_sources,image)
	@hack/ensure.sh tool image && touch $@

.PHONY: clean
clean: ## Remove what was built; the cache of built tools stays (hack/ensure.sh --help).
	rm -rf $(BIN)
