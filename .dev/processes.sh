# shellcheck shell=bash
#
# Sourced by `dev`: running commands, and ending everything that was started.

# Runs a command in a process group of its own and returns its exit code. `wait`, unlike a
# foreground command, ends at once when a signal comes; and with job control on, bash does not
# make the command deaf to Ctrl-C, as it does with background commands otherwise.
run_child() {
  local code=0
  set -m
  "$@" </dev/null &
  CHILD=$!
  set +m
  wait "$CHILD" || code=$?
  CHILD=
  return "$code"
}

on_signal() {
  trap '' INT TERM HUP
  printf '\n' >&2
  say "stopping (SIG$1)"
  if [[ -n $CHILD ]]; then
    kill -s "$1" -- "-$CHILD" 2>/dev/null || true
    wait_gone 10 "$CHILD" || true
  fi
  exit "$2"
}

on_exit() {
  local code=$?
  trap '' INT TERM HUP
  set +e
  [[ $INSTALLING = no ]] || end_install
  # `wait` only keeps bash from reporting them as terminated.
  { kill -TERM "${SETUP_PIDS[@]}" && wait_gone 15 "${SETUP_PIDS[@]}" && wait "${SETUP_PIDS[@]}"; } 2>/dev/null
  if [[ -n $STATE && $KEEP = no ]]; then stop_state "$STATE"; fi
  exit "$code"
}

# Processes that belong to a state directory, wherever they were reparented to: all of them
# inherit HOLDFAST_DEV_STATE. (It is unset here, or the tools of the search would match too.)
pids_of() (
  unset HOLDFAST_DEV_STATE
  grep -lsxzF "HOLDFAST_DEV_STATE=$1" /proc/[0-9]*/environ | cut -d/ -f3 | grep -vx $$ || true
)

# pid_from STATE FILE: the process in a pid file, but only if it belongs to the state directory or
# is a worker: the process id of a dead one may meanwhile be somebody else's.
pid_from() {
  local pid
  { read -r pid <"$2"; } 2>/dev/null && [[ $pid =~ ^[0-9]+$ ]] || return 0
  if grep -qsx holdfast "/proc/$pid/comm" || pids_of "$1" | grep -x "$pid" >/dev/null; then echo "$pid"; fi
}

# wait_gone SECONDS PID...: fails if one of the processes still runs after that time. A zombie
# does not run: in a container, nobody may ever collect it.
wait_gone() {
  local until=$((SECONDS + $1)) pid
  shift
  for pid in "$@"; do
    while grep -qs '^State:.[^ZX]' "/proc/$pid/status"; do
      ((SECONDS < until)) || return 1
      sleep 0.1
    done
  done
}

# Workers first and politely, then the engines, then by force whatever is left: epmd, which
# RabbitMQ leaves behind on purpose, and anything a test has lost.
stop_state() {
  local state=$1 file pid pids=()
  for file in "$state"/*.pid; do
    pid=$(pid_from "$state" "$file")
    if [[ -n $pid ]] && kill -TERM "$pid"; then pids+=("$pid"); fi
  done
  wait_gone 15 "${pids[@]}" || kill -KILL "${pids[@]}" || true
  pids=()
  # QUIT is PostgreSQL's immediate shutdown: no checkpoint for data that is deleted anyway, but
  # shared memory is released, which KILL would leave allocated.
  for file in "$state"/{pgdata,standby-*}/postmaster.pid; do
    pid=$(pid_from "$state" "$file")
    if [[ -n $pid ]] && kill -QUIT "$pid"; then pids+=("$pid"); fi
  done
  pid=$(pid_from "$state" "$state/rabbitmq/pid")
  if [[ -n $pid ]] && kill -TERM "$pid"; then pids+=("$pid"); fi
  wait_gone 10 "${pids[@]}" || say "an engine does not stop, killing it"
  for _ in {1..50}; do
    mapfile -t pids < <(pids_of "$state")
    [[ ${#pids[@]} -gt 0 ]] || break
    kill -KILL "${pids[@]}" 2>/dev/null || true
    sleep 0.1
  done
  if grep -qs " $state/pgdata " /proc/mounts; then umount -l "$state/pgdata"; fi
  # A process that was just killed may still be creating a file.
  rm -rf "$state" 2>/dev/null || { sleep 1; rm -rf "$state"; }
}
