#!/usr/bin/env bash
# Fails when generated files differ from what the sources give. It generates in a copy of the
# working tree, so it tells the truth in a dirty tree too and changes nothing in it.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

# What git tracks or would add; files deleted but not yet committed are left out.
git ls-files -z --cached --others --exclude-standard |
  while IFS= read -r -d '' file; do
    if [[ -e $file ]]; then printf '%s\0' "$file"; fi
  done | tar --null --create --files-from=- | tar --extract --directory="$copy"

"$copy/hack/generate.sh"

generated=(api config docs/reference docs/lint.md charts)
status=0
for path in "${generated[@]}"; do
  if [[ -e $path || -e $copy/$path ]]; then
    diff --unified --recursive --new-file "$path" "$copy/$path" || status=1
  fi
done
if ((status != 0)); then
  echo "verify: generated files are out of date (- is what is here): run 'make generate'" >&2
fi
exit "$status"
