#!/usr/bin/env bash
# Writes what is derived from the Go types: deep copies, CRDs, RBAC and the API reference. Run by
# `make generate`, which passes CONTROLLER_GEN and CRD_REF_DOCS.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
: "${CONTROLLER_GEN:?run make generate}" "${CRD_REF_DOCS:?run make generate}"

"$CONTROLLER_GEN" object:headerFile=hack/boilerplate.go.txt paths=./api/...

# Labels and annotations of embedded pod templates are part of what users declare, so the schema
# keeps their metadata. Files of kinds that no longer exist go.
rm -f config/crd/bases/*.yaml
"$CONTROLLER_GEN" crd:generateEmbeddedObjectMeta=true paths=./api/... output:crd:dir=config/crd/bases

# Hub and members hold different rights: the hub never touches a workload, a member never a Region.
for part in hub member; do
  if grep -rqs --include='*.go' '+kubebuilder:rbac' "controllers/$part"; then
    mkdir -p config/rbac
    "$CONTROLLER_GEN" "rbac:roleName=multiactive-$part,fileName=${part}_role.yaml" \
      "paths=./controllers/$part/..." output:rbac:dir=config/rbac
  fi
done

mkdir -p docs/reference
"$CRD_REF_DOCS" --source-path=api --config=hack/crd-ref-docs.yaml --renderer=markdown \
  --output-path=docs/reference/api.md --log-level=ERROR
# The renderer leaves spaces at line ends and several empty lines at the end.
sed -i 's/[[:space:]]*$//' docs/reference/api.md
sed -i -e ':a' -e '/^\n*$/{$d;N;ba' -e '}' docs/reference/api.md

if [[ -f charts/multiactive/Chart.yaml ]]; then
  mkdir -p charts/multiactive/crds
  rm -f charts/multiactive/crds/*.yaml
  cp config/crd/bases/*.yaml charts/multiactive/crds/
fi
