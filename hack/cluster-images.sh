#!/usr/bin/env bash
# Makes the images that whole clusters run (test/clusters), as archives in bin/clusters/images, from programs
# that are built already. One that is newer than its programs stays.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
images=bin/clusters/images
mkdir -p "$images"

# image NAME TAG ENTRYPOINT PROGRAM... makes bin/clusters/images/NAME.tar. The chart names etcd without its
# directory.
image() {
  local archive=$images/$1.tar tag=$2 entrypoint=$3 program fresh=true
  shift 3
  for program in bin/tools/image-tar "$@"; do
    if [[ ! $archive -nt $program ]]; then fresh=false; fi
  done
  if ! $fresh; then
    bin/tools/image-tar --tag "$tag" --output "$archive" --entrypoint "$entrypoint" --path "$@"
  fi
}

CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$images/pause" ./test/clusters/pause
image pause multiactive.dev/test/pause:1 pause "$images/pause"
image coredns multiactive.dev/test/coredns:1 coredns bin/tools/coredns
image etcd multiactive.dev/test/etcd:1 etcd bin/kubernetes/etcd
image kafka multiactive.dev/test/kafka:1 playground bin/playground
image user multiactive.dev/examples/user:dev user bin/user
image operator multiactive.dev/operator:clusters manager bin/manager bin/gateway bin/mirror bin/kubectl-multiactive
