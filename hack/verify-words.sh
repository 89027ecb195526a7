#!/usr/bin/env bash
# Fails when a tracked file names a place that only one machine has. What pages tell of is compared with
# the code by test/docs.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
status=0

# Machine paths: a reader elsewhere cannot follow them. This script has to spell them.
if git grep -nIE '(^|[^[:alnum:]_.-])(/work/|/root/)|\.\./shared(/|[^[:alnum:]]|$)' -- ':!hack/verify-words.sh'; then
  echo 'verify: the lines above name paths of one machine' >&2
  status=1
fi

exit "$status"
