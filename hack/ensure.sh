#!/usr/bin/env bash
# Makes sure that what a make target needs is there: pinned tools, the Kubernetes binaries, Debian
# packages. Safe to run again; what is there already costs nothing.
#
#   hack/ensure.sh tool lint|generate|deploy|image|coredns|test|olm|traefik   the pinned tools of hack/tools/<name>, into bin/tools
#   hack/ensure.sh kubernetes                             etcd, kube-apiserver and kubectl, into bin/kubernetes
#   hack/ensure.sh clusters                               what a whole cluster runs beside them, into bin/clusters
#   hack/ensure.sh strimzi                                Strimzi's CRDs (hack/strimzi/pom.xml), into bin/strimzi
#   hack/ensure.sh kafka                                  Apache Kafka with MirrorMaker 2 (hack/kafka/pom.xml), into bin/kafka
#   hack/ensure.sh postgres16                             PostgreSQL 16 or later (hack/postgres/pom.xml), into bin/postgres16
#   hack/ensure.sh mysql                                  MySQL, of Debian's unstable suite (hack/mysql/fetch.sh), into bin/mysql
#   hack/ensure.sh packages race|stores|prometheus|buildah|engine|proxies|java|maven|unpack|containers...
#                                                         compilers, databases, what builds images, what `make bench` compares with,
#                                                         what runs containers
#
# Variables: KUBEBUILDER_ASSETS (a directory that holds the Kubernetes binaries: nothing is built),
# MULTIACTIVE_KAFKA (a directory that holds Kafka's jars: nothing is fetched), MULTIACTIVE_CACHE (where
# built tools are kept for other clones), CI=true (whatever is missing and cannot be installed is a
# failure, not a hint).
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${MULTIACTIVE_CACHE:-${XDG_CACHE_HOME:-${HOME:-$ROOT/bin}/.cache}/multiactive}
PROGRESS_SECONDS=${PROGRESS_SECONDS:-20}

say() { printf 'ensure: %s\n' "$*" >&2; }

# missing WHAT HOW reports what a person has to install; in CI that is a failure.
missing() {
  say "$1 is missing: $2"
  if [[ ${CI:-} == true ]]; then
    exit 1
  fi
}

# sources NAME prints the module that a build comes from: its own, but for two of Kubernetes.
sources() { if [[ $1 == clusters ]]; then echo kubernetes; else echo "$1"; fi; }

# fingerprint NAME names a build of a tool module: its pinned versions, its sources, the toolchain.
fingerprint() {
  {
    go env GOVERSION GOOS GOARCH
    cd "$ROOT/hack/tools/$(sources "$1")"
    find . -type f \( -name '*.go' -o -name go.mod -o -name go.sum \) | LC_ALL=C sort | xargs cat
    declare -f "build_$1"
  } | git hash-object --stdin | cut -c1-16
}

# with_progress WHAT COMMAND... runs a long command, says from time to time that it is alive, and
# shows its output only when it fails.
with_progress() {
  local what=$1 log started pid status=0 next
  shift
  log=$(mktemp)
  started=$SECONDS
  next=$((SECONDS + PROGRESS_SECONDS))
  "$@" >"$log" 2>&1 &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    sleep 1
    if ((SECONDS >= next)); then
      next=$((SECONDS + PROGRESS_SECONDS))
      say "$what: $((SECONDS - started)) s, $(wc -l <"$log") packages downloaded or compiled so far"
    fi
  done
  wait "$pid" || status=$?
  if ((status != 0)); then
    tail -n 50 "$log" >&2
    say "$what failed after $((SECONDS - started)) s"
  else
    say "$what: done in $((SECONDS - started)) s"
  fi
  rm -f "$log"
  return "$status"
}

# go_build MODULE ARGUMENTS... builds without cgo and without anything that differs between clones.
go_build() {
  local module=$1
  shift
  CGO_ENABLED=0 GOWORK=off go -C "$ROOT/hack/tools/$module" build -v -trimpath -buildvcs=false "$@"
}

build_lint() { go_build lint -ldflags '-s -w' -o "$1/golangci-lint" .; }
build_generate() {
  go_build generate -ldflags '-s -w' -o "$1/" \
    sigs.k8s.io/controller-tools/cmd/controller-gen github.com/elastic/crd-ref-docs
}
build_deploy() {
  local helm=helm.sh/helm/v3 helm_version minor
  # Unset, Helm takes every cluster for a very old one and refuses charts that name a newer.
  helm_version=$(go -C "$ROOT/hack/tools/deploy" list -m -f '{{.Version}}' "$helm")
  minor=$(go -C "$ROOT/hack/tools/deploy" list -m -f '{{.Version}}' k8s.io/client-go | cut -d. -f2)
  go_build deploy -o "$1/helm" -ldflags "-s -w -X $helm/internal/version.version=$helm_version \
    -X $helm/pkg/chartutil.k8sVersionMajor=1 -X $helm/pkg/chartutil.k8sVersionMinor=$minor \
    -X $helm/pkg/lint/rules.k8sVersionMajor=1 -X $helm/pkg/lint/rules.k8sVersionMinor=$minor" \
    "$helm/cmd/helm" &&
    go_build deploy -ldflags '-s -w' -o "$1/kustomize" sigs.k8s.io/kustomize/kustomize/v5
}
build_coredns() { go_build coredns -ldflags '-s -w' -o "$1/coredns" .; }
build_test() { go_build test -ldflags '-s -w' -o "$1/gotestsum" gotest.tools/gotestsum; }
build_olm() { go_build olm -ldflags '-s -w' -o "$1/operator-verify" github.com/operator-framework/api/cmd/operator-verify; }
# Traefik obtains certificates with lego, whose clients of some 200 DNS services would be most of the build: here it gets
# a copy of lego without them.
build_traefik() {
  local own=$ROOT/hack/tools/traefik lego=github.com/go-acme/lego/v5 scratch status=0
  scratch=$(mktemp -d)
  {
    cp -r "$(go -C "$own" mod download -json "$lego" | sed -n 's/.*"Dir": "\(.*\)",\?$/\1/p')" "$scratch/lego" &&
      chmod -R u+w "$scratch/lego" && rm -r "$scratch"/lego/providers/dns/* &&
      cp "$own/without-dns/dns.go" "$scratch/lego/providers/dns/" &&
      cp "$own/go.mod" "$own/go.sum" "$scratch/" && go mod edit -replace "$lego=$scratch/lego" "$scratch/go.mod" &&
      go_build traefik -modfile "$scratch/go.mod" -ldflags '-s -w' -o "$1/traefik" github.com/traefik/traefik/v3/cmd/traefik
  } || status=$?
  rm -rf "$scratch"
  return "$status"
}
build_image() { go_build image -ldflags '-s -w' -o "$1/image-tar" .; }
build_kubernetes() {
  go_build kubernetes -ldflags '-s -w' -o "$1/etcd" go.etcd.io/etcd/server/v3 &&
    build_stamped "$1" kube-apiserver kubectl
}
build_clusters() { build_stamped "$1" kube-controller-manager kube-scheduler kubelet kube-proxy; }

# build_stamped DIRECTORY NAME... builds programs of Kubernetes that tell their version to others; unset
# it would read v0.0.0.
build_stamped() {
  local target=$1 version stamp=k8s.io/component-base/version
  shift
  version=$(go -C "$ROOT/hack/tools/kubernetes" list -m -f '{{.Version}}' k8s.io/kubernetes)
  go_build kubernetes -o "$target/" -ldflags "-s -w -X $stamp.gitVersion=$version \
    -X $stamp.gitMajor=$(cut -d. -f1 <<<"${version#v}") -X $stamp.gitMinor=$(cut -d. -f2 <<<"$version")" \
    "${@/#/k8s.io/kubernetes/cmd/}"
}

# installed STAMP KEY tells whether what the stamp lists was built from KEY and is still there.
installed() {
  local stamp=$1 name
  [[ -f $stamp && $(head -n 1 "$stamp") == "$2" ]] || return 1
  while read -r name; do
    [[ -x $(dirname "$stamp")/$name ]] || return 1
  done < <(tail -n +2 "$stamp")
}

# module NAME DIRECTORY puts the binaries of one build into a directory, from the cache when
# another clone has built the same ones.
module() {
  local name=$1 target=$2 key cached fresh file
  key=$(fingerprint "$name")
  if installed "$target/.$name" "$key"; then
    return
  fi
  cached=$CACHE/$name-$key
  if [[ ! -d $cached ]]; then
    mkdir -p "$CACHE"
    fresh=$(mktemp -d "$CACHE/.$name.XXXXXX")
    if ! with_progress "building $name from hack/tools/$(sources "$name")" "build_$name" "$fresh"; then
      rm -rf "$fresh"
      exit 1
    fi
    # A clone beside this one may have built the same: the first one stays.
    if [[ -d $cached ]]; then rm -rf "$fresh"; else mv "$fresh" "$cached"; fi
  fi
  mkdir -p "$target"
  for file in "$cached"/*; do
    # Replaced by name, not overwritten: the old binary may be running.
    cp "$file" "$target/.$(basename "$file").new"
    mv -f "$target/.$(basename "$file").new" "$target/$(basename "$file")"
  done
  { printf '%s\n' "$key" && (cd "$cached" && ls); } >"$target/.$name"
  say "$(cd "$cached" && echo *) in ${target#"$ROOT/"}"
}

kubernetes() {
  local name
  if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
    for name in etcd kube-apiserver kubectl; do
      if [[ ! -x $KUBEBUILDER_ASSETS/$name ]]; then
        say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS has no $name: unset it, and the binaries are built instead"
        exit 1
      fi
    done
    return
  fi
  if [[ ! -d $CACHE/kubernetes-$(fingerprint kubernetes) ]]; then
    say "the Kubernetes binaries are built from source once per machine: 5 to 10 minutes on two cores"
  fi
  module kubernetes "$ROOT/bin/kubernetes"
}

clusters() {
  if [[ ! -d $CACHE/clusters-$(fingerprint clusters) ]]; then
    say "kubelet and its kind are built from source once per machine: 5 to 10 minutes on two cores"
  fi
  module clusters "$ROOT/bin/clusters"
}

# install_debian PACKAGES... installs what is missing where that is possible without asking anyone.
install_debian() {
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    missing "$*" "on Debian or Ubuntu: apt-get install $*"
    return
  fi
  say "installing $*"
  # Runlevel 1 keeps a database's package from starting it: tests start their own.
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  if ! { apt-get update && apt-get install -y --no-install-recommends "$@"; } </dev/null >"$ROOT/bin/apt.log" 2>&1; then
    tail -n 20 "$ROOT/bin/apt.log" >&2
    missing "$*" "apt-get install failed, see above"
  fi
}

# have COMMAND finds servers too, which live outside a plain user's path.
have() { PATH=$PATH:/usr/sbin:/usr/local/sbin command -v "$1" >/dev/null; }

packages() {
  local group wanted=()
  for group in "$@"; do
    case $group in
      race) have gcc || wanted+=(gcc libc6-dev) ;;
      stores)
        { have mariadbd || have mysqld; } && have mariadb-install-db || wanted+=(mariadb-server)
        have redis-server || wanted+=(redis-server)
        # Its programs stand outside of everybody's path.
        compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || wanted+=(postgresql)
        ;;
      # Tests build with buildah, wherever they run: it needs no engine and leaves nothing behind.
      buildah) have buildah || wanted+=(buildah) ;;
      # Whoever builds an image uses what is there.
      engine) "$ROOT/hack/image.sh" engine >/dev/null || wanted+=(buildah) ;;
      # What the gateway is measured beside; without them the page says so.
      proxies)
        have nginx && [[ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ]] || wanted+=(nginx libnginx-mod-http-lua)
        have haproxy || wanted+=(haproxy)
        ;;
      # Its promtool tests the alerts.
      prometheus) have promtool || wanted+=(prometheus) ;;
      # Apache Kafka runs on it: real brokers, for `make e2e`.
      java) have java || wanted+=(default-jre-headless) ;;
      maven) have mvn || wanted+=(maven) ;;
      # Maven's PostgreSQL is an archive within an archive.
      unpack)
        have unzip || wanted+=(unzip)
        have xz || wanted+=(xz-utils)
        ;;
      # What a node of a whole cluster has beside the kubelet.
      containers)
        have containerd || wanted+=(containerd)
        have runc || wanted+=(runc)
        [[ -x /usr/lib/cni/bridge ]] || wanted+=(containernetworking-plugins)
        have iptables || wanted+=(iptables)
        have conntrack || wanted+=(conntrack)
        have ip || wanted+=(iproute2)
        ;;
      *) say "packages: \"$group\" is none of: race, stores, prometheus, buildah, engine, proxies, java, maven, unpack, containers" && exit 2 ;;
    esac
  done
  if ((${#wanted[@]} > 0)); then
    mkdir -p "$ROOT/bin"
    install_debian "${wanted[@]}"
  fi
}

# java_major prints the version of the Java that is there, or nothing.
java_major() {
  { java -version 2>&1 || true; } | sed -nE 's/.* version "([0-9]+).*/\1/p'
}

# Sums of every jar, as go.sum has them of modules. After a change of the versions in pom.xml:
#   rm -r bin/kafka; hack/ensure.sh kafka     fetches, and says where what differs lies
#   (cd DIRECTORY && LC_ALL=C && sha256sum -- *.jar) >hack/kafka/jars.sha256
KAFKA_SUMS=$ROOT/hack/kafka/jars.sha256

# has_kafka DIRECTORY tells whether it holds exactly the jars that the sums list.
has_kafka() {
  [[ -d $1 ]] || return 1
  (
    cd "$1"
    LC_ALL=C # the order of the names
    diff -q <(printf '%s\n' *.jar) <(sed 's/^[^ ]* [ *]//' "$KAFKA_SUMS") && sha256sum --check --strict --quiet "$KAFKA_SUMS"
  ) >/dev/null 2>&1
}

fetch_kafka() {
  mvn --batch-mode --no-transfer-progress --strict-checksums --file "$ROOT/hack/kafka/pom.xml" \
    dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$1"
}

kafka() {
  local target=$ROOT/bin/kafka cached fresh
  packages java
  if [[ $(java_major) -lt 17 ]]; then
    say "Kafka needs Java 17 or later"
    exit 1
  fi
  if [[ -n ${MULTIACTIVE_KAFKA:-} ]]; then
    has_kafka "$MULTIACTIVE_KAFKA" && return
    say "MULTIACTIVE_KAFKA=$MULTIACTIVE_KAFKA has other jars than hack/kafka/jars.sha256 lists: unset it, and they are fetched instead"
    exit 1
  fi
  if has_kafka "$target"; then
    return
  fi
  cached=$CACHE/kafka-$(git hash-object "$KAFKA_SUMS" | cut -c1-16)
  if ! has_kafka "$cached"; then
    packages maven
    if ! have mvn; then
      say "Maven fetches Apache Kafka, and is missing"
      exit 1
    fi
    mkdir -p "$CACHE"
    fresh=$(mktemp -d "$CACHE/.kafka.XXXXXX")
    if ! with_progress "fetching Apache Kafka" fetch_kafka "$fresh"; then
      rm -rf "$fresh"
      exit 1
    fi
    if ! has_kafka "$fresh"; then
      say "what came differs from hack/kafka/jars.sha256; it lies in $fresh"
      exit 1
    fi
    rm -rf "$cached"
    mv "$fresh" "$cached"
  fi
  rm -rf "$target"
  mkdir -p "$ROOT/bin"
  cp -r "$cached" "$target"
  say "Apache Kafka in ${target#"$ROOT/"}"
}

usage() { sed -n '2,20s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; }

# java21 prints a Java of 21 or later, which Strimzi's program needs: the one on the PATH, or another that is
# installed.
java21() {
  local candidate version
  for candidate in "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
    if [[ -x $candidate ]]; then
      version=$({ "$candidate" -version 2>&1 || true; } | sed -nE 's/.* version "([0-9]+).*/\1/p')
      if [[ -n $version && $version -ge 21 ]]; then
        echo "$candidate"
        return
      fi
    fi
  done
  say "Strimzi's program needs Java 21 or later: install one (Debian 13 has openjdk-21-jre-headless)"
  exit 1
}

# After a change of the version in hack/postgres/pom.xml, sums are made as for Kafka.
postgres16() {
  local target=$ROOT/bin/postgres16 sums=$ROOT/hack/postgres/jars.sha256 jars
  if [[ $(cat "$target/.of" 2>/dev/null || true) == $(git hash-object "$sums") ]]; then
    return
  fi
  packages java maven unpack
  mkdir -p "$CACHE"
  jars=$(mktemp -d "$CACHE/.postgres.XXXXXX")
  if ! with_progress "fetching PostgreSQL" mvn --batch-mode --no-transfer-progress --strict-checksums \
    --file "$ROOT/hack/postgres/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$jars"; then
    rm -rf "$jars"
    exit 1
  fi
  if ! (cd "$jars" && sha256sum --check --strict --quiet "$sums") || [[ $(find "$jars" -name '*.jar' | wc -l) != $(wc -l <"$sums") ]]; then
    say "what came differs from hack/postgres/jars.sha256; it lies in $jars"
    exit 1
  fi
  rm -rf "$target"
  mkdir -p "$target"
  unzip -p "$jars"/embedded-postgres-binaries-*.jar '*.txz' | tar --extract --xz --directory "$target"
  rm -rf "$jars"
  git hash-object "$sums" >"$target/.of"
  say "$("$target/bin/postgres" --version) in ${target#"$ROOT/"}"
}

# The newest that there is when it is fetched first; `rm -r bin/mysql` and the cache's mysql-programs-* to have a newer one.
mysql() {
  local target=$ROOT/bin/mysql recipe cached fresh
  recipe=$(git hash-object "$ROOT/hack/mysql/fetch.sh" | cut -c1-16)
  if [[ $(cat "$target/.of" 2>/dev/null || true) == "$recipe" ]]; then
    return
  fi
  if ! have apt-get || ! have dpkg-deb; then
    missing MySQL "it is unpacked from Debian's packages, on Debian itself"
    return
  fi
  cached=$CACHE/mysql-programs-$recipe
  if [[ ! -d $cached ]]; then
    mkdir -p "$CACHE"
    fresh=$(mktemp -d "$CACHE/.mysql.XXXXXX")
    if ! with_progress "fetching MySQL" "$ROOT/hack/mysql/fetch.sh" "$fresh"; then
      rm -rf "$fresh"
      exit 1
    fi
    if [[ -d $cached ]]; then rm -rf "$fresh"; else mv "$fresh" "$cached"; fi
  fi
  rm -rf "$target"
  mkdir -p "$ROOT/bin"
  cp -r "$cached" "$target"
  echo "$recipe" >"$target/.of"
  say "$("$target/bin/mysqld" --no-defaults --version | sed 's/^.* Ver/MySQL/') in ${target#"$ROOT/"}"
}

# After a change of the version in hack/strimzi/pom.xml, sums are made as for Kafka.
strimzi() {
  local target=$ROOT/bin/strimzi sums=$ROOT/hack/strimzi/jars.sha256 model=io.strimzi.api.kafka.model program jars
  if [[ $(cat "$target/.of" 2>/dev/null || true) == $(git hash-object "$sums") ]]; then
    return
  fi
  packages java maven
  program=$(java21)
  mkdir -p "$CACHE" "$target"
  jars=$(mktemp -d "$CACHE/.strimzi.XXXXXX")
  if ! with_progress "fetching Strimzi's types" mvn --batch-mode --no-transfer-progress --strict-checksums \
    --file "$ROOT/hack/strimzi/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$jars"; then
    rm -rf "$jars"
    exit 1
  fi
  if ! (cd "$jars" && sha256sum --check --strict --quiet "$sums") || [[ $(find "$jars" -name '*.jar' | wc -l) != $(wc -l <"$sums") ]]; then
    say "what came differs from hack/strimzi/jars.sha256; it lies in $jars"
    exit 1
  fi
  "$program" -cp "$jars/*" io.strimzi.crdgenerator.CrdGenerator --target-kube 1.16+ --crd-api-version v1 \
    --api-versions v1 --storage-version v1 --yaml "$model.topic.KafkaTopic=$target/kafkatopics.yaml" \
    "$model.mirrormaker2.KafkaMirrorMaker2=$target/kafkamirrormaker2s.yaml"
  rm -rf "$jars"
  git hash-object "$sums" >"$target/.of"
  say "Strimzi's CRDs in ${target#"$ROOT/"}"
}

if ! command -v go >/dev/null; then
  say "go is missing: install the version that go.mod names"
  exit 1
fi

case ${1:-} in
  tool)
    case ${2:-} in
      lint | generate | deploy | image | coredns | test | olm | traefik) module "$2" "$ROOT/bin/tools" ;;
      *) say "tool: \"${2:-}\" is none of: lint, generate, deploy, image, coredns, test, olm, traefik" && exit 2 ;;
    esac
    ;;
  kubernetes) kubernetes ;;
  clusters) clusters ;;
  kafka) kafka ;;
  strimzi) strimzi ;;
  postgres16) postgres16 ;;
  mysql) mysql ;;
  packages) shift && packages "$@" ;;
  -h | --help | help) usage ;;
  *) usage && exit 2 ;;
esac
