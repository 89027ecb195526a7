#!/usr/bin/env bash
# Fails when what people install cannot be rendered: the kustomize bases and the Helm chart, each as
# a hub, as a member and as a peer, and the chart with a member of the coordination store. Run by `make verify`, which passes HELM and KUSTOMIZE.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
: "${HELM:?run make verify}" "${KUSTOMIZE:?run make verify}"
status=0

# quietly WHAT COMMAND... runs a command and shows its output only when it fails.
quietly() {
  local what=$1 output
  shift
  if ! output=$("$@" 2>&1); then
    printf 'manifests: %s:\n%s\n' "$what" "$output" >&2
    status=1
  fi
}

for mode in hub member peer; do
  if [[ -f config/$mode/kustomization.yaml ]]; then
    quietly "config/$mode" "$KUSTOMIZE" build "config/$mode"
  fi
  if [[ -f charts/multiactive/Chart.yaml ]]; then
    values=(--set "mode=$mode" --set 'coordination.endpoints={https://etcd.example.com:2379}')
    if [[ $mode != hub ]]; then values+=(--set region=beijing); fi
    quietly "charts/multiactive as a $mode (lint)" "$HELM" lint --strict charts/multiactive "${values[@]}"
    quietly "charts/multiactive as a $mode" "$HELM" template multiactive charts/multiactive "${values[@]}"
  fi
done

if [[ -f charts/multiactive/Chart.yaml ]]; then
  for mode in hub member peer witness; do
    values=(--values examples/coordination/values.yaml --set "mode=$mode" --set region=beijing)
    quietly "charts/multiactive as a $mode with a member of the store (lint)" "$HELM" lint --strict charts/multiactive "${values[@]}"
    quietly "charts/multiactive as a $mode with a member of the store" "$HELM" template multiactive charts/multiactive "${values[@]}"
  done
  quietly "charts/multiactive with a certificate of cert-manager" "$HELM" template multiactive charts/multiactive \
    --set 'coordination.endpoints={https://etcd.example.com:2379}' --set webhook.certManager.enabled=true --set webhook.certManager.issuerRef.name=ca
fi

exit "$status"
