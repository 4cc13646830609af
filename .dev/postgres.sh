# shellcheck shell=bash
#
# Sourced by `dev`: a private PostgreSQL.

readonly FRAGILE_SIZE=2g  # more than a run writes, and little enough to fill up in a second

# The newest one. Debian keeps the servers out of PATH; other installations have them in it.
find_postgres() {
  local dir
  for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -Vr) "$(dirname "$(type -P postgres)")"; do
    [[ -x $dir/initdb && -x $dir/postgres ]] || continue
    POSTGRES_BIN=$dir
    POSTGRES_VERSION=$("$dir/postgres" --version | sed 's/^[^0-9]*\([0-9.]*\).*/\1/')
    if at_least "$POSTGRES_VERSION" $MIN_POSTGRES; then return 0; fi
  done
  return 1
}

readonly LOCALE=holdfast.utf8

# A locale that has two sets of rules, old and new: characters in their order, and in reverse. The link
# `locale` leads to those in force.
make_locales() {
  local rules c
  for rules in old new; do
    mkdir -p "$STATE/locales/$rules"
    {
      printf 'LC_COLLATE\norder_start forward\n'
      for c in {33..126}; do
        if [[ $rules = new ]]; then c=$((33 + 126 - c)); fi
        printf '<U%04X>\n' "$c"
      done
      printf 'order_end\nEND LC_COLLATE\nLC_CTYPE\ncopy "i18n"\nEND LC_CTYPE\n'
    } >"$STATE/locales/$rules.source"
    # It warns of the categories that have no rules.
    localedef -c -i "$STATE/locales/$rules.source" -f UTF-8 --no-archive "$STATE/locales/$rules/$LOCALE" || true
    [[ -e $STATE/locales/$rules/$LOCALE/LC_COLLATE ]] || return 0
  done
  chmod -R a+rX "$STATE/locales"
  ln -s locales/old "$STATE/locale"
}

readonly ZONEINFO=/usr/share/zoneinfo

# Zone rules of the server's own, which a fault replaces: a copy that is mounted over the system's where
# nobody else sees it. Needs root, and a machine that lets it mount; otherwise there are none.
make_zones() {
  [[ $EUID -eq 0 && -d $ZONEINFO ]] || return 0
  cp -R "$ZONEINFO" "$STATE/zoneinfo"
  chmod -R a+rX "$STATE/zoneinfo"
  write_program "$STATE/with-zones" <<END
exec unshare --mount sh -c 'mount --bind "\$0" $ZONEINFO && exec "\$@"' '$STATE/zoneinfo' "\$@"
END
  "$STATE/with-zones" true || rm -rf "$STATE/zoneinfo" "$STATE/with-zones"
}

setup_postgres() {
  local as_user=() own=(:) data=$STATE/pgdata fsync=on preload= locale= zones=
  # The operating system does not crash in a test; workers and engines do, and what an engine has
  # handed to the operating system survives that.
  if [[ $1 = throwaway ]]; then fsync=off; fi
  # Counts nothing until it is told to, and is missing where contrib is a package of its own.
  if [[ $1 = measured && -n $(find "${POSTGRES_BIN%/*}" -name pg_stat_statements.so -print -quit) ]]; then
    preload=pg_stat_statements
  fi
  # Bash acts on the signal when initdb is through, in a second or two. If initdb itself were killed
  # (setsid keeps the Ctrl-C in the terminal away from it), it would leave shared memory allocated.
  trap 'exit 1' TERM
  umask 077
  mkdir "$data"
  # Only root can; otherwise the disk does not get full.
  if [[ $1 = fragile && $EUID -eq 0 ]]; then
    mount -t tmpfs -o size=$FRAGILE_SIZE,mode=700 holdfast "$data" || true
  fi
  echo "$2" >"$data.password"
  if [[ $EUID -eq 0 ]]; then
    # PostgreSQL refuses to run as root. Its own user must be able to pass through the directory,
    # which does not let it, or anybody, list what is there.
    as_user=(setpriv --reuid=postgres --regid=postgres --init-groups --)
    chown postgres: "$data" "$data.password"
    chmod 711 "$STATE"
    "${as_user[@]}" test -x "$STATE" || die 1 "user postgres cannot enter $STATE: set TMPDIR to, say, /tmp"
  fi
  setsid "${as_user[@]}" "$POSTGRES_BIN/initdb" --no-sync --username=postgres --auth=scram-sha-256 \
    --pwfile="$data.password" --encoding=UTF8 --no-locale --pgdata="$data"
  rm "$data.password"
  if [[ $1 = fragile ]]; then make_locales; make_zones; fi
  if [[ -L $STATE/locale ]]; then locale="export LOCPATH='$STATE/locale' && "; fi
  if [[ -x $STATE/with-zones ]]; then zones="'$STATE/with-zones' "; fi
  # It takes no key but its own.
  install -m 600 ${as_user[0]:+-o postgres} "$STATE/tls/server.key" "$data/server.key"
  install -m 644 "$STATE/tls/server.pem" "$data/server.crt"
  # No Unix socket: its path may have 107 bytes at most, and TMPDIR can be longer.
  cat >>"$data/postgresql.conf" <<END
listen_addresses = '127.0.0.1'
port = $POSTGRES_PORT
unix_socket_directories = ''
max_connections = 400
# A test leaves one behind, to see that it is found.
max_prepared_transactions = 2
shared_buffers = 256MB
jit = off
fsync = $fsync
shared_preload_libraries = '$preload'
ssl = on
# A checkpoint writes every changed page whole into the log once more: not every minute.
max_wal_size = 4GB
checkpoint_timeout = 15min
END
  if [[ -n $preload ]]; then echo 'pg_stat_statements.track = none' >>"$data/postgresql.conf"; fi
  write_program "$STATE/postgres" <<<"${locale}cd '$data' && exec $zones${as_user[*]} '$POSTGRES_BIN/postgres' -D '$data' \"\$@\""
  write_program "$STATE/psql" <<END
export PGHOST=127.0.0.1 PGPORT=$POSTGRES_PORT PGUSER=postgres PGPASSWORD=$2 PGDATABASE=\${PGDATABASE:-holdfast}
exec '$POSTGRES_BIN/psql' "\$@"
END
  # The same with a clock that a file sets. The library that locks nothing: a session has one thread,
  # and signal handlers that ask for the time.
  write_program "$STATE/postgres-with-clock" <<END
${locale}cd '$data' && exec $zones${as_user[*]} env LD_PRELOAD="\${HOLDFAST_FAKETIME%/*}/libfaketime.so.1" \
  FAKETIME_TIMESTAMP_FILE='$STATE/clock' FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1 \
  '$POSTGRES_BIN/postgres' -D '$data'
END
  # A copy of the server at a port, which follows it: standby DIR PORT_OF_THE_SERVER PORT.
  if [[ $EUID -eq 0 ]]; then own=(chown postgres:); fi
  write_program "$STATE/standby" <<END
set -e
umask 077
mkdir "\$1"
${own[*]} "\$1"
cd "\$1"
export PGPASSWORD=$2
${as_user[*]} '$POSTGRES_BIN/pg_basebackup' --host=127.0.0.1 --port="\$2" --username=postgres --pgdata="\$1" \
  --write-recovery-conf --wal-method=stream --checkpoint=fast --no-sync
# It would sync every file before it starts, which takes a busy disk half a minute.
echo "port = \$3
fsync = off" >>postgresql.auto.conf
${locale}exec $zones${as_user[*]} '$POSTGRES_BIN/postgres' -D "\$1"
END
  # setsid: as above, the Ctrl-C in the terminal is not for the engine.
  setsid "$STATE/postgres" >"$STATE/log/postgres.log" 2>&1 &
  until_up $! "$POSTGRES_BIN/pg_isready" --quiet --host=127.0.0.1 --port="$POSTGRES_PORT"
  PGDATABASE=postgres "$STATE/psql" -qc 'CREATE DATABASE holdfast'
}
