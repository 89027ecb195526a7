#!/usr/bin/env bash
# Builds programs whose wall clock can be set from outside, for tests:
#
#   hack/clockstep/build.sh DIRECTORY PACKAGE...
#
# The product has no such knob. Here the compiler is given another time.Now (`go build -overlay`), so that
# every library of the program sees the step as well. The programs read the difference in seconds from the
# file that CLOCKSTEP_FILE names (eight bytes), at any time.
set -euo pipefail

[[ $# -ge 2 ]] || { sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$1
shift
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

source=$(go env GOROOT)/src/time
awk '
  /^func Now\(\) Time \{/ { inside = 1 }
  inside && /:= (runtimeNow|now)\(\)$/ { print; print "\tsec += stepSeconds()"; found++; next }
  /^}/ { inside = 0 }
  { print }
  END { exit found != 1 }
' "$source/time.go" >"$scratch/time.go" || {
  echo "$source/time.go: time.Now does not look as expected: teach hack/clockstep/build.sh this version of Go" >&2
  exit 1
}
printf '{"Replace": {"%s": "%s", "%s": "%s"}}\n' \
  "$source/time.go" "$scratch/time.go" "$source/step.go" "$here/step.go.txt" >"$scratch/overlay.json"
mkdir -p "$out"
CGO_ENABLED=0 go build -overlay "$scratch/overlay.json" -trimpath -buildvcs=false -ldflags '-s -w' -o "$out/" "$@"
