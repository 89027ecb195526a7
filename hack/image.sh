#!/usr/bin/env bash
# Builds the container image with whatever can build one here.
#
#   hack/image.sh engine               prints docker, podman or buildah; fails when none is here
#   hack/image.sh build ARGUMENTS...   builds from the Dockerfile; the arguments are those of `build`
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Docker's and podman's clients may be here without an engine behind them.
answers() { command -v "$1" >/dev/null && timeout 10 "$@" >/dev/null 2>&1; }

engine() {
  if answers docker version; then
    echo docker
  elif answers podman info; then
    echo podman
  elif command -v buildah >/dev/null; then
    echo buildah
  else
    return 1
  fi
}

build() {
  local builder
  # hack/ensure.sh has said what to install.
  builder=$(engine) || exit 1
  if [[ $builder == docker ]]; then
    # The old builder knows neither stages that are not needed nor COPY --chmod.
    export DOCKER_BUILDKIT=1
  elif ! command -v crun >/dev/null && ! command -v runc >/dev/null; then
    export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}
  fi
  echo "image: building with $builder" >&2
  exec "$builder" build "$@" .
}

case ${1:-} in
  engine) engine ;;
  build) shift && build "$@" ;;
  *) sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
esac
