#!/usr/bin/env bash
# Makes the certificates of a coordination store with openssl, for trials and as a pattern for your own
# authority: one authority for what members show each other, one for servers and clients. Secrets for
# every region come out as directories, as docs/guides/coordination.md uses them.
#
#   certificates.sh DIRECTORY NAME=HOST...      beijing=etcd.bj.example.com shanghai=...
#
# Authorities that are there already sign further members, so that a region can be added later.
set -euo pipefail

if (($# < 2)); then sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; fi
out=$1; shift
umask 077
mkdir -p "$out"
days=365

# authority NAME makes NAME-ca.key and NAME-ca.crt, unless they are there.
authority() {
  if [[ -f $out/$1-ca.crt ]]; then return; fi
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=multiactive $1" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
    -keyout "$out/$1-ca.key" -out "$out/$1-ca.crt"
}

# certificate AUTHORITY DIRECTORY USAGES [NAMES] makes ca.crt, tls.crt and tls.key of one Secret.
certificate() {
  local ca=$out/$1-ca dir=$out/$2 extensions="extendedKeyUsage=$3"
  if [[ -n ${4:-} ]]; then extensions+=$'\n'"subjectAltName=$4"; fi
  mkdir -p "$dir"
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=${2//\//-}" -keyout "$dir/tls.key" |
    openssl x509 -req -CA "$ca.crt" -CAkey "$ca.key" -days "$days" -out "$dir/tls.crt" -extfile <(printf '%s\n' "$extensions")
  cp "$ca.crt" "$dir/ca.crt"
}

authority peers
authority clients
for region in "$@"; do
  name=${region%%=*} host=${region#*=}
  if [[ $host =~ ^[0-9.]+$|: ]]; then names=IP:$host; else names=DNS:$host; fi
  # A member is a server for the others and their client.
  certificate peers "$name/coordination-peer" serverAuth,clientAuth "$names"
  # localhost is for people inside the Pod.
  certificate clients "$name/coordination-server" serverAuth,clientAuth "$names,DNS:localhost,IP:127.0.0.1"
  certificate clients "$name/coordination-client" clientAuth
done
