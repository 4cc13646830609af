# shellcheck shell=bash
#
# Sourced by `dev`: workers with a seeded bug, each of which has to turn a run red.
#
# A patch in SABOTAGES begins with what it breaks, with lines `caught by: CHECK` or
# `caught by: CHECK | TEXT`, all of which must be broken (with a finding that has the text), and with
# a line `run: ARGS` for the soak. A bug that no soak can show has lines `red test: NAME` instead: with it, each of
# these tests of the suite must fail.

readonly SABOTAGES=lab/sabotage

# header KEY PATCH: the values of its lines `KEY: VALUE`.
header() { sed -n "/^diff /q; s/^$1: //p" "$2"; }

# build_sabotaged PATCH: builds a worker with the bug. Its sources are made anew each time, at one
# place, and what is built is kept, so that only what differs is compiled.
build_sabotaged() {
  local tree=target/sabotage/source
  rm -rf "$tree"
  mkdir -p "$tree"
  cp -R Cargo.toml Cargo.lock src schema lab "$tree"
  # The ceiling: inside a repository, git would look for the files from its top.
  GIT_CEILING_DIRECTORIES=$HERE/target/sabotage git -C "$tree" apply "$HERE/$1" || return
  CARGO_INCREMENTAL=1 run_child cargo build --locked --quiet --bin holdfast --manifest-path "$tree/Cargo.toml" \
    --target-dir target/sabotage --config profile.dev.debug=0 --config profile.dev.package.holdfast.opt-level=0
}

# fail_tests PATCH DIR: builds the tests with the bug, and says whether each that has to fail does.
fail_tests() {
  local tree=target/sabotage/tests test missed=
  rm -rf "$tree"
  mkdir -p "$tree" "$2"
  git ls-files -z | xargs -0 cp --parents -t "$tree"
  GIT_CEILING_DIRECTORIES=$HERE/target/sabotage git -C "$tree" apply "$HERE/$1" || return
  CARGO_INCREMENTAL=1 run_child cargo test --locked --quiet --features failpoints --test suite --no-run \
    --manifest-path "$tree/Cargo.toml" --target-dir target/sabotage >"$2/build.txt" 2>&1 ||
    { echo "NOT CAUGHT: it does not build, see $2/build.txt"; return 1; }
  while IFS= read -r test; do
    run_child cargo test --locked --quiet --features failpoints --test suite --manifest-path "$tree/Cargo.toml" \
      --target-dir target/sabotage -- --exact "$test" >"$2/$test.txt" 2>&1 || true
    # Not a test that does not exist, or that was skipped.
    grep -q '^test result: FAILED. 0 passed; 1 failed' "$2/$test.txt" || missed+=$'\n'"      not by: $test"
  done < <(header 'red test' "$1")
  [[ -z $missed ]] || { echo "NOT CAUGHT as it must be$missed"; return 1; }
  echo "caught by $(header 'red test' "$1" | tr '\n' ' ')"
}

# play PROGRAM DIR ARGS...: a soak against that worker, with everything it tells and finds in DIR.
play() {
  local program=$1 dir=$2 code=0
  shift 2
  mkdir "$dir"
  run_child target/debug/soak --logs "$dir" --program "$program" "$@" >"$dir/told.txt" 2>&1 || code=$?
  return "$code"
}

# found DIR CHECK TEXT: whether the check is broken there, and a finding of it has the text.
found() {
  [[ -f $1/broken.txt ]] && awk -v check="$2" -v text="$3" '
    /^[^ ]/ { inside = $0 == check; next }
    inside && index($0, text) { found = 1 }
    END { exit !found }' "$1/broken.txt"
}

# judge DIR CODE PATCH: says what caught the bug; fails if what had to catch it did not.
judge() {
  local check text missed=
  [[ $2 -eq 1 && -f $1/broken.txt ]] || { echo "NOT CAUGHT: the run ended with $2"; return 1; }
  while IFS= read -r check; do
    text=
    [[ $check != *' | '* ]] || text=${check#* | }
    found "$1" "${check% | *}" "$text" || missed+=$'\n'"      not by: $check"
  done < <(header 'caught by' "$3")
  [[ -z $missed ]] || { echo "NOT CAUGHT as it must be$missed"; return 1; }
  echo "caught"
}

cmd_sabotage() {
  local name patch logs run began code verdict failed=0 number=0 patches=() runs=()
  for name in "$@"; do
    [[ -f $SABOTAGES/$name.patch ]] || die 64 "no such bug: $name; there are: $(cd $SABOTAGES && echo *.patch)"
    patches+=("$SABOTAGES/$name.patch")
  done
  [[ $# -gt 0 ]] || patches=("$SABOTAGES"/*.patch)
  need_rust
  prepare_engines
  need_prometheus
  say "building a worker without bugs"
  run_child cargo build --locked --workspace --bin holdfast --bin soak
  logs=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-sabotage.XXXXXX")
  bring_up durable
  # The control: what is demanded of a broken worker means something only if a sound one ends green.
  mapfile -t runs < <(for patch in "${patches[@]}"; do header run "$patch"; done | sort -u)
  for run in "${runs[@]}"; do
    began=$SECONDS verdict=green
    # shellcheck disable=SC2086
    play target/debug/holdfast "$logs/control-$((++number))" $run || { verdict="RED WITHOUT A BUG"; failed=1; }
    printf '%4d s  %-22s %s  (%s)\n' $((SECONDS - began)) "no bug" "$verdict" "$run"
  done
  for patch in "${patches[@]}"; do
    began=$SECONDS code=0 name=${patch##*/}
    name=${name%.patch}
    if [[ -n $(header 'red test' "$patch") ]]; then
      find_streaming
      verdict=$(fail_tests "$patch" "$logs/$name") || failed=1
      printf '%4d s  %-22s %s\n' $((SECONDS - began)) "$name" "$verdict"
      continue
    fi
    build_sabotaged "$patch" || die 1 "$name does not build"
    # shellcheck disable=SC2046
    play target/sabotage/debug/holdfast "$logs/$name" $(header run "$patch") || code=$?
    verdict=$(judge "$logs/$name" "$code" "$patch") || failed=1
    printf '%4d s  %-22s %s\n' $((SECONDS - began)) "$name" "$verdict"
    if [[ -f $logs/$name/broken.txt ]]; then
      awk '/^[^ ]/ { print "          by: " $0 }' "$logs/$name/broken.txt"
    fi
  done
  if [[ $failed -eq 0 ]]; then
    rm -rf "$logs"
  else
    say "kept what was told and found: $logs"
  fi
  return "$failed"
}
