# shellcheck shell=bash
#
# Sourced by `dev`: what has to be on the machine, and how it gets there.

readonly MIN_PGBOUNCER=1.12  # the first that logs in to a server with SCRAM

need_rust() {
  command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-${HOME:-}/.cargo}/bin
  command -v cargo >/dev/null || die 1 "cargo not found: get Rust from https://rustup.rs"
  # Rust links through the C compiler.
  command -v cc >/dev/null || install_packages 0 https://gcc.gnu.org gcc libc6-dev
}

at_least() { printf '%s\n' "$2" "$1" | sort -CV; }

as_root() { if [[ $EUID -eq 0 ]]; then "$@"; else sudo -n "$@"; fi; }

can_install() { command -v apt-get >/dev/null && as_root true 2>/dev/null; }

# A library that makes clocks go wrong. Who may not install it does without: clocks go right then.
find_faketime() {
  local file
  if ! compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null && can_install; then
    install_packages 0 https://github.com/wolfcw/libfaketime faketime
  fi
  for file in /usr/lib/*/faketime/libfaketimeMT.so.1; do
    if [[ -r $file ]]; then export HOLDFAST_FAKETIME=$file; fi
  done
}

# What locales are made of. Who may not install it does without: the order of texts stays then.
find_locale_sources() {
  [[ -r /usr/share/i18n/charmaps/UTF-8.gz ]] || ! can_install ||
    install_packages 0 https://www.gnu.org/software/libc/ locales
}

# Debian keeps it out of PATH.
find_pgbouncer() {
  local file
  for file in "$(type -P pgbouncer)" /usr/sbin/pgbouncer; do
    if [[ -x $file ]]; then export HOLDFAST_PGBOUNCER=$file; return 0; fi
  done
  return 1
}

need_pgbouncer() {
  find_pgbouncer || install_packages $MIN_PGBOUNCER https://www.pgbouncer.org pgbouncer
  find_pgbouncer || die 1 "cannot find PgBouncer $MIN_PGBOUNCER or newer after installing it"
}

# install_packages MIN URL PACKAGE...: installs nothing if the distribution's version of the first
# package is older than MIN; URL then tells where to get a newer one.
install_packages() {
  local min=$1 url=$2 candidate
  shift 2
  command -v apt-get >/dev/null || die 1 "missing: $*. There is no apt-get here, so install it yourself: $url"
  [[ $EUID -eq 0 ]] || sudo -n true 2>/dev/null ||
    die 1 "missing: $*. As root, run: apt-get update && apt-get install --no-install-recommends $*"
  say "installing $* from the distribution's packages"
  # One run at a time, or one would take the guard of the other for a setting of the machine.
  exec {lock}</var/lib/dpkg
  flock "$lock"
  begin_install
  apt update
  candidate=$(LC_ALL=C apt-cache policy "$1" | sed -n 's/^ *Candidate: *\([0-9].*\)/\1/p')
  # `apt-get update` calls it a success when it could not reach a server.
  [[ -n $candidate ]] || { tail -n 20 <<<"$APT_LOG" >&2; die 1 "apt-get finds no package $1"; }
  dpkg --compare-versions "$candidate" ge "$min" ||
    die 1 "$1 $min or newer is needed, but this distribution has $candidate. Install it from $url"
  apt install --no-install-recommends "$@"
  end_install
  exec {lock}<&-
}

apt() {
  APT_LOG=$(as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
    apt-get -qq -y -o DPkg::Lock::Timeout=120 "$@" 2>&1 </dev/null) ||
    { tail -n 20 <<<"$APT_LOG" >&2; die 1 "apt-get $* failed"; }
}

# Debian starts and enables a service when its package is installed, which would leave two engines
# on the machine that nobody asked for. So forbid starts (policy-rc.d is Debian's switch for that),
# ask for no default PostgreSQL cluster, and remember what is enabled now.
readonly POLICY=/usr/sbin/policy-rc.d CLUSTER_CONF=/etc/postgresql-common/createcluster.d/holdfast-dev.conf

enabled() { ls -d /etc/systemd/system/*.{wants,requires}/* /etc/rc?.d/S* 2>/dev/null || true; }

begin_install() {
  ENABLED_BEFORE=$(enabled)
  INSTALLING=yes
  # If there is a saved one, an earlier run was killed half-way and the current one is ours.
  [[ ! -e $POLICY || -e $POLICY.saved ]] || as_root mv $POLICY $POLICY.saved
  printf '#!/bin/sh\nexit 101\n' | as_root tee $POLICY >/dev/null
  as_root chmod 755 $POLICY
  as_root mkdir -p "${CLUSTER_CONF%/*}"
  echo 'create_main_cluster = false' | as_root tee $CLUSTER_CONF >/dev/null
}

# Also runs on the way out of a failed or interrupted installation.
end_install() {
  local link
  while read -r link; do
    [[ -z $link ]] || as_root rm -f "$link" </dev/null
  done < <(comm -13 <(sort <<<"$ENABLED_BEFORE") <(enabled | sort))
  if [[ -d /run/systemd/system ]]; then as_root systemctl daemon-reload; fi
  as_root rm -f $CLUSTER_CONF $POLICY
  as_root rmdir -p --ignore-fail-on-non-empty "${CLUSTER_CONF%/*}" 2>/dev/null || true
  [[ ! -e $POLICY.saved ]] || as_root mv $POLICY.saved $POLICY
  INSTALLING=no
}
