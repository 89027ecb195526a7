#!/usr/bin/env bash
# Writes what is derived from Go: deep copies, CRDs, RBAC, the API reference and the page of design rules. Run by
# `make generate`, which passes CONTROLLER_GEN and CRD_REF_DOCS.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
: "${CONTROLLER_GEN:?run make generate}" "${CRD_REF_DOCS:?run make generate}"

"$CONTROLLER_GEN" object:headerFile=hack/boilerplate.go.txt paths=./api/...

# Labels and annotations of embedded pod templates are part of what users declare, so the schema
# keeps their metadata. Files of kinds that no longer exist go.
rm -f config/crd/bases/*.yaml
"$CONTROLLER_GEN" crd:generateEmbeddedObjectMeta=true paths=./api/... output:crd:dir=config/crd/bases
# With the pod templates' documentation an object would come close to what etcd accepts.
go run ./hack/trimcrds config/crd/bases/*.yaml

# Hub and members hold different rights: the hub never touches a workload, a member never a Region.
for part in hub member; do
  if grep -rqs --include='*.go' '+kubebuilder:rbac' "controllers/$part"; then
    "$CONTROLLER_GEN" "rbac:roleName=multiactive-$part" "paths=./controllers/$part/..." \
      "output:rbac:dir=config/rbac/$part"
  fi
done

# A peer is both.
"$CONTROLLER_GEN" rbac:roleName=multiactive-peer "paths={./controllers/hub/...,./controllers/member/...}" \
  output:rbac:dir=config/rbac/peer

mkdir -p docs/reference
page=$(mktemp)
trap 'rm -f "$page"' EXIT
"$CRD_REF_DOCS" --source-path=api --config=hack/crd-ref-docs.yaml --renderer=markdown \
  --output-path="$page" --log-level=ERROR
# The renderer leaves spaces at line ends and runs of empty lines.
{
  echo "<!-- Written by 'make generate' from the comments in api/. Do not edit. -->"
  awk '{sub(/[[:space:]]+$/, "")} !NF {empty = 1; next} {if (empty && NR > 1) print ""; empty = 0; print}' "$page"
} >docs/reference/api.md

go run ./hack/lintdocs >docs/lint.md

# The chart carries copies, since it is packed by itself.
if [[ -f charts/multiactive/Chart.yaml ]]; then
  mkdir -p charts/multiactive/{crds,files}
  rm -f charts/multiactive/crds/*.yaml charts/multiactive/files/*_role.yaml
  cp config/crd/bases/*.yaml charts/multiactive/crds/
  cp config/webhook/webhook.yaml charts/multiactive/files/webhook.yaml
  cp config/webhook/rbac.yaml charts/multiactive/files/webhook_rbac.yaml
  cp config/admission/policy.yaml charts/multiactive/files/admission.yaml
  for part in hub member peer; do
    if [[ -f config/rbac/$part/role.yaml ]]; then
      cp "config/rbac/$part/role.yaml" "charts/multiactive/files/${part}_role.yaml"
    fi
  done
fi
