#!/usr/bin/env bash
# Unpacks a server of MySQL, with its client programs and all libraries that these need, into a directory:
#
#   hack/mysql/fetch.sh DIRECTORY
#
# No stable release of Debian has MySQL, its unstable suite has: the packages come from there, by the mirrors that this machine's own
# APT uses, checked with Debian's keys. Nothing is installed, and the machine's own lists of packages stay as they are. Programs run
# with the libraries that come along, so the machine's own may be older: DIRECTORY/bin has a wrapper for each.
set -euo pipefail

TARGET=$1
WANTED=(mysql-server-core mysql-client-core)
PROGRAMS=(sbin/mysqld bin/mysql bin/mysqldump bin/mysqlbinlog)
KEYS=/usr/share/keyrings/debian-archive-keyring.gpg

fail() { printf 'mysql: %s\n' "$*" >&2 && exit 1; }

# mirrors prints the addresses of Debian's archive in this machine's sources, of both formats.
mirrors() {
  {
    sed -nE 's/^URIs:[[:space:]]*//p' /etc/apt/sources.list.d/*.sources || true
    sed -nE 's/^deb[[:space:]]+(\[[^]]*\][[:space:]]+)?([^[:space:]]+)[[:space:]].*/\2/p' /etc/apt/sources.list /etc/apt/sources.list.d/*.list || true
  } 2>/dev/null | tr ' ' '\n' | sed -nE 's|(/debian)/?$|\1|p' | awk '!seen[$0]++'
}

# apt runs apt-get with directories of its own.
apt() { APT_CONFIG=$WORK/apt.conf apt-get "$@"; }

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
mkdir -p "$WORK"/{state/lists/partial,cache/archives/partial}
: >"$WORK/status" # nothing is there yet: all that is needed is fetched
cat >"$WORK/apt.conf" <<END
Dir::State "$WORK/state";
Dir::State::status "$WORK/status";
Dir::Cache "$WORK/cache";
Dir::Etc::sourcelist "$WORK/sources.list";
Dir::Etc::sourceparts "-";
Acquire::Languages "none";
APT::Sandbox::User "root";
END

[[ -r $KEYS ]] || fail "Debian's keys are missing: on Debian, apt-get install debian-archive-keyring"
found=
while read -r mirror; do
  echo "deb [signed-by=$KEYS] $mirror sid main" >"$WORK/sources.list"
  if apt update --error-on=any; then
    found=$mirror
    break
  fi
done < <(mirrors)
[[ -n $found ]] || fail "no mirror of Debian's archive is among this machine's sources, or none has the suite sid"
apt install -y --no-install-recommends --download-only "${WANTED[@]}"

mkdir -p "$TARGET/root" "$TARGET/bin"
for package in "$WORK"/cache/archives/*.deb; do
  case $(basename "$package") in
    perl* | libperl* | libc-gconv*) ;; # for scripts, and for encodings of a C library, that nobody uses
    *) dpkg-deb -x "$package" "$TARGET/root" ;;
  esac
done
loader=$(cd "$TARGET" && find root/usr -name 'ld-linux*.so.*' | head -n 1)
libraries=$(cd "$TARGET" && dirname "$(find root/usr/lib -name libc.so.6 | head -n 1)")
for program in "${PROGRAMS[@]}"; do
  cat >"$TARGET/bin/$(basename "$program")" <<END
#!/bin/sh
here=\$(dirname "\$(dirname "\$(readlink -f "\$0")")")
exec "\$here/$loader" --library-path "\$here/$libraries" "\$here/root/usr/$program" "\$@"
END
  chmod +x "$TARGET/bin/$(basename "$program")"
done
"$TARGET/bin/mysqld" --no-defaults --version
