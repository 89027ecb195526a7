#!/usr/bin/env bash
# Fails when a package reaches another one that its place in the tree forbids, however indirectly.
# The linter (depguard in .golangci.yml) sees direct imports only.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
module=$(go list -m)
status=0

# forbid PATTERN WHY PACKAGES... reports dependencies of the packages that match the pattern.
forbid() {
  local pattern=$1 why=$2 package found existing=()
  shift 2
  for package in "$@"; do
    if [[ -d ${package%/...} ]]; then existing+=("$package"); fi
  done
  if ((${#existing[@]} == 0)); then return; fi
  while read -r package; do
    found=$(go list -deps "$package" | grep -E "$pattern" | head -n 3 | paste -sd' ') || true
    if [[ -n $found ]]; then
      echo "imports: $package reaches $found: $why" >&2
      status=1
    fi
  done < <(go list "${existing[@]}")
}

forbid '^(k8s\.io|sigs\.k8s\.io|go\.etcd\.io)/' \
  'the request path knows neither Kubernetes nor the coordination store' \
  ./internal/gateway/... ./internal/routing/... ./internal/ownership ./cmd/gateway/...

forbid "^($module/(internal/(agent|coordination|gateway|port|testkit|webhook)|controllers|cmd)|k8s\.io/client-go/(rest|kubernetes|dynamic)|sigs\.k8s\.io/controller-runtime|go\.etcd\.io)(/|$)" \
  'it decides only; reading and acting are for those that call it' \
  ./internal/plan/... ./internal/ownership/... ./internal/health/... ./internal/deferred/... ./internal/desired/... ./internal/lint/... ./internal/routing/... ./internal/storage/...

forbid "^($module/(internal|controllers|cmd)|k8s\.io/client-go|sigs\.k8s\.io/controller-runtime)(/|$)" \
  'others import the API types: they must not drag the operator in' \
  ./api/...

forbid "^$module/internal/testkit(/|$)" 'test code stays out of the product' \
  ./cmd/manager/... ./cmd/gateway/... ./cmd/mirror/... ./cmd/kubectl-multiactive/... ./controllers/...

exit "$status"
