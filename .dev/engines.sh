# shellcheck shell=bash
#
# Sourced by `dev`: the engines that the tests and the demonstration talk to, private ones unless the
# caller has some.

readonly MIN_POSTGRES=15 MIN_RABBITMQ=3.10
readonly START_TIMEOUT=180  # seconds for both engines; two cores need about five
readonly OR_YOURS="or set DATABASE_URL, AMQP_URL and RABBITMQ_MANAGEMENT_URL to engines you have"

# Decides between the caller's engines and private ones, and has the programs of the latter
# ready: before the build, so that nobody waits for a build to learn that something is missing.
prepare_engines() {
  local name set=()
  for name in DATABASE_URL AMQP_URL RABBITMQ_MANAGEMENT_URL; do
    [[ -z ${!name:-} ]] || set+=("$name")
  done
  EXTERNAL=no
  case ${#set[@]} in
    0) ;;
    3) EXTERNAL=yes; say "using the engines in ${set[*]}"; return ;;
    *) die 78 "set: ${set[*]}. Set all of DATABASE_URL, AMQP_URL and RABBITMQ_MANAGEMENT_URL to" \
         "use your own engines, or none to have private ones started" ;;
  esac
  find_postgres || install_packages $MIN_POSTGRES "https://www.postgresql.org/download/, $OR_YOURS" postgresql
  find_postgres || die 1 "cannot find PostgreSQL $MIN_POSTGRES or newer after installing it"
  find_rabbitmq || install_packages $MIN_RABBITMQ "https://www.rabbitmq.com/docs/download, $OR_YOURS" rabbitmq-server
  find_rabbitmq || die 1 "cannot find RabbitMQ $MIN_RABBITMQ or newer after installing it"
  command -v openssl >/dev/null || install_packages 3 "https://www.openssl.org, $OR_YOURS" openssl
}

# bring_up throwaway|durable|measured|fragile: a state directory and, unless the caller has some, engines
# in it. Measured is durable and can count the database's statements; fragile is durable on a disk that
# can be filled.
bring_up() {
  STATE=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-dev.XXXXXX")
  STATE=$(cd "$STATE" && pwd -P)
  touch "$STATE/.holdfast-dev"
  mkdir -m 700 "$STATE/tmp" "$STATE/log"
  export HOLDFAST_DEV_STATE=$STATE
  if [[ $EXTERNAL = no ]]; then start_engines "$1"; fi
  # What a test leaves in its temporary directory disappears with ours.
  export TMPDIR=$STATE/tmp
}

start_engines() {
  local pg_password broker_password started=$SECONDS
  # Settings meant for some other engine must not reach these.
  unset "${!RABBITMQ_@}" "${!PG@}" "${!ERL_@}"
  # Enough for thousands of connections, and not more: where the limit is a billion, as in some
  # containers, Erlang allocates its tables for a billion.
  ulimit -Sn 65536 2>/dev/null || ulimit -Sn "$(ulimit -Hn)"
  choose_ports
  make_certificates >"$STATE/log/certificates.log" 2>&1 || { tail -n 15 "$STATE/log/certificates.log" >&2; die 1 "openssl failed"; }
  pg_password=$(random) broker_password=$(random)
  printf 'dev: starting PostgreSQL %s and RabbitMQ %s ... ' "$POSTGRES_VERSION" "$BROKER_VERSION" >&2
  setup_postgres "$1" "$pg_password" >"$STATE/log/postgres-setup.log" 2>&1 </dev/null &
  SETUP_PIDS=($!)
  setup_rabbitmq "$broker_password" >"$STATE/log/rabbitmq-setup.log" 2>&1 </dev/null &
  SETUP_PIDS+=($!)
  await_setup || { echo failed >&2; tail -n 15 "$STATE"/log/*.log >&2; die 1 "the engines did not start"; }
  echo "ready in $((SECONDS - started)) s" >&2
  export DATABASE_URL=postgres://postgres:$pg_password@127.0.0.1:$POSTGRES_PORT/holdfast
  export AMQP_URL=amqp://broker-admin:$broker_password@127.0.0.1:$AMQP_PORT/%2f
  export RABBITMQ_MANAGEMENT_URL=http://broker-admin:$broker_password@127.0.0.1:$HTTP_PORT
  export HOLDFAST_RABBITMQCTL=$STATE/rabbitmqctl
  if [[ -L $STATE/locale ]]; then export HOLDFAST_LOCALE=$LOCALE; fi
  # PostgreSQL has TLS on its one port, RabbitMQ on others.
  export HOLDFAST_DEV_TLS=$STATE/tls
  export HOLDFAST_DEV_AMQPS_PORT=$AMQPS_PORT HOLDFAST_DEV_HTTPS_PORT=$HTTPS_PORT
}

random() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

# Seven neighbouring ports. The place to look first depends on the process id, so runs that start
# at the same moment do not try the same ones; and all lie below the range from which the kernel
# takes ports for outgoing connections, so none is lost between this check and its use.
choose_ports() {
  local base=$((17000 + 7 * ($$ % 1400))) n
  for _ in {1..200}; do
    for n in {0..6}; do
      if grep -qs "$(printf ':%04X ' $((base + n)))" /proc/net/tcp /proc/net/tcp6; then
        base=$((17000 + 7 * (RANDOM % 1400)))
        continue 2
      fi
    done
    POSTGRES_PORT=$base AMQP_PORT=$((base + 1)) HTTP_PORT=$((base + 2))
    DIST_PORT=$((base + 3)) EPMD_PORT=$((base + 4)) AMQPS_PORT=$((base + 5))
    HTTPS_PORT=$((base + 6))
    return 0
  done
  die 1 "no free ports on 127.0.0.1"
}

# Each setup ends when its engine answers; both together have START_TIMEOUT seconds.
await_setup() {
  local until=$((SECONDS + START_TIMEOUT)) pid
  for pid in "${SETUP_PIDS[@]}"; do
    wait_gone $((until - SECONDS)) "$pid" || return 1
    wait "$pid" || return 1
  done
  SETUP_PIDS=()
}

# until_up PID COMMAND...: waits until the command succeeds; fails when the process is gone.
until_up() {
  local pid=$1
  shift
  until "$@"; do
    kill -0 "$pid" 2>/dev/null || die 1 "the engine ended before it was ready"
    sleep 0.2
  done
}

# write_program FILE: makes a script of standard input.
write_program() { { echo '#!/bin/sh'; cat; } >"$1"; chmod 700 "$1"; }

leave_running() {
  KEEP=yes
  if [[ $EXTERNAL = no ]]; then
    printf "export %s='%s'\n" DATABASE_URL "$DATABASE_URL" AMQP_URL "$AMQP_URL" \
      RABBITMQ_MANAGEMENT_URL "$RABBITMQ_MANAGEMENT_URL"
    say "$STATE has psql, rabbitmqctl and the logs of these engines"
  fi
  printf '# to stop:  ./dev down %s\n' "$STATE"
}
