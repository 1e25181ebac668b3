#!/usr/bin/env bash
# fetch-deb-prefix.sh PREFIX SUITE PACKAGE...
# Unpacks Debian packages and what they depend on into PREFIX/root, through a private apt state with apt's own signature
# checks: the system's dpkg and apt are not touched, and no root is needed.
#   DB_HUB_DEBIAN_MIRROR      base URI of a Debian mirror, instead of the one in the machine's apt sources
#   DB_HUB_DEBIAN_SECURITY    the same for the security archive
#   DB_HUB_DEBIAN_KEYRING     Debian's archive keyring, if it is not in /usr/share/keyrings
#   EXCLUDE                   extended regular expression of packages which are not wanted
set -euo pipefail
umask 022
fail() { echo "fetch-deb-prefix: $*" >&2; exit 1; }
[ $# -ge 3 ] || fail "usage: fetch-deb-prefix.sh PREFIX SUITE PACKAGE..."
PREFIX=$1 SUITE=$2; shift 2
for tool in apt-get apt-config dpkg dpkg-deb awk; do
  command -v "$tool" >/dev/null || fail "$tool is missing: this works on Debian and its descendants only"
done

KEYRING=${DB_HUB_DEBIAN_KEYRING:-}
for file in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do
  [ "$KEYRING" ] || { [ ! -r "$file" ] || KEYRING=$file; }
done
[ -r "$KEYRING" ] || fail "no keyring of the Debian archive: apt-get install debian-archive-keyring, or set DB_HUB_DEBIAN_KEYRING"

# The machine's own mirror. apt tells a source's Origin only after an update; before one, the path has to do.
targets() { apt-get indextargets "$@" 'Created-By: Packages' 2>/dev/null || true; }
targets=$(targets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)'; targets --no-release-info --format '||$(REPO_URI)')
pick() {
  printf '%s\n' "$targets" | awk -F'|' -v want="$1" '
    { sec = ($2 ~ /Security/ || $3 ~ /security/); uri = $3; sub(/\/+$/, "", uri) }
    sec != (want == "security") { next }
    $1 == "Debian" { known = uri; exit }
    $1 == "" && guess == "" && uri ~ /\/debian(-security)?$/ { guess = uri }
    END { print known != "" ? known : guess }'
}
MIRROR=${DB_HUB_DEBIAN_MIRROR:-$(pick main)}
MIRROR=${MIRROR%/}
[ "$MIRROR" ] || fail "the machine's apt sources name no Debian mirror: set DB_HUB_DEBIAN_MIRROR to the URI of one"
SECURITY=${DB_HUB_DEBIAN_SECURITY:-$(pick security)}
SECURITY=${SECURITY:-$MIRROR-security}

A=$PREFIX/.apt
mkdir -p "$A"/{etc/apt.conf.d,etc/preferences.d,state/lists/partial,cache/archives/partial} "$PREFIX/root"
: > "$A/state/status"
{
  cat <<E
Dir::Etc "$A/etc";
Dir::Etc::sourcelist "$A/etc/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::trusted "/dev/null";
Dir::Etc::netrc "/etc/apt/auth.conf";
Dir::Etc::netrcparts "/etc/apt/auth.conf.d";
Dir::State "$A/state";
Dir::State::status "$A/state/status";
Dir::Cache "$A/cache";
APT::Install-Recommends "false";
APT::Sandbox::User "$(id -un)";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
E
  # the proxy and date settings which the machine needs to reach its mirror
  apt-config dump | grep -E '^Acquire::(https?::([^ ]*::)?Proxy[^ ]*|Check-Valid-Until|Check-Date|ForceIPv[46]) "[^"]+";' || true
} > "$A/apt.conf"
export APT_CONFIG=$A/apt.conf

source_line() { echo "deb [signed-by=$KEYRING arch=$(dpkg --print-architecture)] $1 $2 main"; }
update() { apt-get -q update > "$A/update.log" 2>&1; }
{ source_line "$MIRROR" "$SUITE"; source_line "$SECURITY" "$SUITE-security"; } > "$A/etc/sources.list"
if ! update; then
  first=$(grep -E '^(E|W|Err):?' "$A/update.log" | head -3)
  source_line "$MIRROR" "$SUITE" > "$A/etc/sources.list"
  update || { cat "$A/update.log" >&2; fail "cannot read $SUITE from $MIRROR (network, proxy, or a keyring which is too old)"; }
  printf 'fetch-deb-prefix: without security updates, because:\n%s\n' "$first" >&2
fi

apt-get -q -y --print-uris --no-install-recommends install "$@" > "$A/closure.txt"
wanted=$(awk -F"[ ]" "/^'/ { sub(/_.*/, \"\", \$2); print \$2 }" "$A/closure.txt" | grep -vE "${EXCLUDE:-^$}" || true)
[ "$wanted" ] || fail "$SUITE has nothing to offer for: $*"
# shellcheck disable=SC2086 # one word per package
(cd "$A/cache/archives" && apt-get -q download $wanted > "$A/download.log" 2>&1) || { cat "$A/download.log" >&2; fail "download failed"; }
for deb in "$A"/cache/archives/*.deb; do dpkg-deb -x "$deb" "$PREFIX/root"; done
rm -rf "$A"
