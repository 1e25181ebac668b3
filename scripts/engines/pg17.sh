#!/usr/bin/env bash
# pg17.sh PREFIX
# PostgreSQL 17, pgvector and PgBouncer from Debian trixie, unpacked into PREFIX. Does nothing if they are there already;
# of several processes at once, one fetches and the others wait. Whatever glibc the machine has does not matter: every
# program is started by the prefix's own ld.so. PREFIX cannot be moved afterwards.
set -euo pipefail
umask 022
fail() { echo "pg17: $*" >&2; exit 1; }
[ $# -eq 1 ] || fail "usage: pg17.sh PREFIX"
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v flock >/dev/null || fail "flock is missing: this works on Debian and its descendants only"
mkdir -p "$(dirname "$1")"
PREFIX=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")

exec 9> "$PREFIX.lock"
flock -w 600 9 || fail "another process has been fetching for ten minutes; if it hangs, end it and remove $PREFIX.lock"
[ ! -e "$PREFIX/complete" ] || exit 0

NEW=$PREFIX.new
rm -rf "$NEW" "$PREFIX"
trap 'rm -rf "$NEW"' EXIT
# Left out is what the servers' packages need for being installed, not for running.
EXCLUDE='^(gcc-14-base|perl.*|libperl.*|lib.*-perl|base-passwd|debconf|libdebconfclient0|init-system-helpers|sysvinit-utils|libaudit-common|libdb5.3t64|libpam-modules.*|login.defs|libacl1|libattr1|libmd0|libbsd0|libsemanage.*|libsepol2|libbz2-1.0|passwd|adduser|libgdbm.*|netbase|postgresql-common.*|postgresql-client-common|openssl.*|ssl-cert|libncursesw6|libproc2-0|procps|sensible-utils|ucf|readline-common|libc-l10n|locales|libsasl2-modules-db|libz3-4|libllvm19|libffi8)$' \
  "$HERE/fetch-deb-prefix.sh" "$NEW" trixie postgresql-17 postgresql-17-pgvector pgbouncer

R=$NEW/root PG=usr/lib/postgresql/17
LD=$(find "$R/usr/lib" -maxdepth 2 -name 'ld-linux*.so.*' -o -maxdepth 2 -name 'ld64.so.*' | head -1)
[ "$LD" ] || fail "no dynamic loader among the packages"
LIB=$(dirname "$LD")

# No library may come from the machine: better to fail here than in a test run.
for file in "$R/$PG"/bin/{postgres,initdb,psql,pg_basebackup,pg_dump,pg_ctl} "$R/usr/sbin/pgbouncer" \
  "$R/$PG"/lib/{vector,pg_trgm,libpqwalreceiver,pgoutput}.so; do
  loaded=$("$LD" --inhibit-cache --library-path "$LIB" --list "$file") || fail "$file cannot be loaded: $loaded"
  foreign=$(printf '%s\n' "$loaded" | grep -v -e linux-vdso -e linux-gate -e "$R/" || true)
  [ ! "$foreign" ] || fail "$file would load libraries from outside the prefix: $foreign"
done

# initdb and pg_ctl start 'postgres' by its path, so every program needs a wrapper in its place.
END=$PREFIX/root ENDLIB=$PREFIX/root${LIB#"$R"}
for program in "$R/$PG"/bin/* "$R/usr/sbin/pgbouncer"; do
  head -c4 "$program" | grep -q ELF || continue
  mv "$program" "$program.real"
  cat > "$program" <<E
#!/bin/sh
unset LD_PRELOAD
export TZDIR="$END/usr/share/zoneinfo" LOCPATH="$END/usr/lib/locale" GCONV_PATH="$ENDLIB/gconv" OPENSSL_CONF=/dev/null
exec "$ENDLIB/$(basename "$LD")" --inhibit-cache --library-path "$ENDLIB" --argv0 "\$0" "$END${program#"$R"}.real" "\$@"
E
  chmod 755 "$program"
done
rm -rf "$R"/usr/share/{doc,man,lintian,locale} "$R/$PG"/lib/{bitcode,llvmjit*}
: > "$NEW/complete"
mv -T "$NEW" "$PREFIX"
