#!/usr/bin/env bash
# Fails when a tracked file names a place that only one machine has, or when a page links to a file
# that does not exist.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
status=0

# Machine paths: a reader elsewhere cannot follow them. This script has to spell them.
if git grep -nIE '(^|[^[:alnum:]_.-])(/work/|/root/)|\.\./shared(/|[^[:alnum:]]|$)' -- ':!hack/verify-words.sh'; then
  echo 'verify: the lines above name paths of one machine' >&2
  status=1
fi

# links PAGE prints the relative targets of a page's Markdown links, code blocks left out.
links() {
  # shellcheck disable=SC2016 # the backquotes are Markdown's
  awk '/^[[:space:]]*```/ {code = !code; next} !code' "$1" |
    sed 's/`[^`]*`//g' | grep -oE '\]\([^()[:space:]]+(\([^()]*\)[^()[:space:]]*)?( "[^"]*")?\)' |
    sed -E 's/^\]\(//; s/( "[^"]*")?\)$//' | grep -vE '^([a-z][a-z0-9+.-]*:|#)' || true
}

# Pages not added yet count as well, so that a page is checked before its first commit.
while IFS= read -r -d '' page; do
  if [[ ! -f $page ]]; then continue; fi
  while read -r link; do
    if [[ -z $link ]]; then continue; fi
    target=${link%%#*}
    if [[ $target == /* ]]; then target=.$target; else target=$(dirname "$page")/$target; fi
    if [[ ! -e $target ]]; then
      echo "$page: the link to $link leads nowhere" >&2
      status=1
    fi
  done < <(links "$page")
done < <(git ls-files -z --cached --others --exclude-standard -- '*.md')

exit "$status"
