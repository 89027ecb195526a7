#!/usr/bin/env bash
# Builds the plugin for the platforms that kubectl users have, an archive each, and the manifest by which krew
# installs it, into DIRECTORY (bin/krew):
#
#   hack/krew.sh VERSION URL [DIRECTORY]
#
# VERSION is a semantic version with a v, such as v0.4.0. URL is where the archives will be, for example a release's
# page of downloads. PLATFORMS limits what is built ("linux/amd64 darwin/arm64").
set -euo pipefail

if (($# < 2)); then
  sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
version=$1 url=${2%/}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=${3:-bin/krew}
if [[ ! $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]]; then
  echo "krew: version \"$version\" is no semantic version with a v, such as v0.4.0" >&2
  exit 2
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
manifest=$out/multiactive.yaml
cat >"$work/multiactive.yaml" <<EOF
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: multiactive
spec:
  version: $version
  homepage: https://multiactive.dev
  shortDescription: Services that survive the loss of a region
  description: |
    Looks at services that live in several regions (MultiActive): what works now
    and what to do next, what a loss or a changed declaration would do, who serves
    a key and why. Checks declarations and installations, joins regions, and gives
    orders such as drain and handback, with what they will do.
  caveats: |
    The operator has to run in the cluster for most commands; "lint -f FILE" and
    "plan -f FILE" need none. "kubectl multiactive completion" tells how to have
    regions and services completed.
  platforms:
EOF
for platform in ${PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64}; do
  os=${platform%/*} arch=${platform#*/}
  program=kubectl-multiactive
  if [[ $os == windows ]]; then program+=.exe; fi
  echo "krew: $platform" >&2
  mkdir -p "$work/$os-$arch"
  CGO_ENABLED=0 GOOS=$os GOARCH=$arch go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$version" \
    -o "$work/$os-$arch/$program" ./cmd/kubectl-multiactive
  cp LICENSE "$work/$os-$arch/"
  archive=kubectl-multiactive_${version}_${os}_${arch}.tar.gz
  # The same sources give the same archive, whoever packs them, and whenever.
  tar --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --mtime=@0 -C "$work/$os-$arch" -cf - . | gzip -n >"$out/$archive"
  cat >>"$work/multiactive.yaml" <<EOF
  - selector:
      matchLabels: {os: $os, arch: $arch}
    uri: $url/$archive
    sha256: $(sha256sum "$out/$archive" | cut -d' ' -f1)
    bin: $program
EOF
done
mv "$work/multiactive.yaml" "$manifest"
echo "krew: $manifest" >&2
