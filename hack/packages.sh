#!/usr/bin/env bash
# Lists this module's packages in parts, so that the fast tests need no other process:
#
#   hack/packages.sh unit      packages whose tests run by themselves
#   hack/packages.sh servers   packages whose tests start API servers or etcd: everything under
#                              controllers/, test/ and internal/testkit/, and what imports a part
#                              of internal/testkit that starts processes; test/ and what else takes
#                              longest comes first, and test/playground before all, so that none of it is left to run alone;
#                              test/chaos, which has as many servers, comes last, when that has ended
#   hack/packages.sh e2e       packages with tests under the build tag e2e, which need Apache Kafka or whole clusters
#
# Benchmarks and whole-cluster tests (test/bench, test/clusters) are in neither of the first two: `make
# bench` and `make e2e` run them.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
module=$(go list -m)

list() {
  go list -f '{{.ImportPath}}{{range .TestImports}} {{.}}{{end}}{{range .XTestImports}} {{.}}{{end}}' ./... |
    awk -v module="$module/" -v wanted="$1" '
      {
        path = substr($1, length(module) + 1)
        if (path ~ /^test\/(bench|clusters)(\/|$)/) next
        servers = path ~ /^(controllers|test|internal\/testkit)(\/|$)/
        for (i = 2; i <= NF; i++) {
          if (index($i, module "internal/testkit") == 1) servers = 1
        }
        if (servers == (wanted == "servers")) print $1
      }'
}

# Files not added yet count as well, so that a test runs before its first commit.
tagged() {
  git grep --untracked -lE '^//go:build e2e$' -- '*_test.go' | xargs -n 1 dirname | sort -u | sed 's|^|./|'
}

case ${1:-} in
  unit) list unit ;;
  servers)
    list servers | awk '
      /\/test\/playground$/ { print; next }
      /\/test\/chaos$/ { last = $0 "\n"; next }
      /\/test\/|\/internal\/storekeeper$/ { long = long $0 "\n"; next }
      { rest = rest $0 "\n" }
      END { printf "%s%s%s", long, rest, last }'
    ;;
  e2e) tagged ;;
  *) sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
esac
