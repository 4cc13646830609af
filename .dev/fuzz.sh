# shellcheck shell=bash
#
# Sourced by `dev`: fuzzing of what reads input, guided by coverage. What is fuzzed and what must hold
# is in `fuzz/src`, which the tests run with the checked-in corpus, too.

readonly FUZZED=target/fuzz TOOLS=target/tools
# Of a corpus that is checked in, per target.
readonly ADOPTED_MAX=300 ADOPTED_LEN_MAX=4096

cmd_fuzz() {
  local minutes=30 adopt=no targets=() target seconds failed=0
  while [[ $# -gt 0 ]]; do
    case $1 in
      --minutes) minutes=${2:-}; shift ;;
      --adopt) adopt=yes ;;
      -*) die 64 "unknown option: $1" ;;
      *) [[ -f fuzz/bin/$1.rs ]] || die 64 "no such target: $1; there are: $(fuzz_targets)"
         targets+=("$1") ;;
    esac
    shift
  done
  [[ $minutes =~ ^[0-9]+$ && $minutes -gt 0 ]] || die 64 "--minutes takes a number"
  [[ ${#targets[@]} -gt 0 ]] || read -ra targets <<<"$(fuzz_targets)"
  need_fuzzer
  say "building ${targets[*]}"
  for target in "${targets[@]}"; do run_child cargo_fuzz build "$target"; done
  seconds=$((minutes * 60 / ${#targets[@]}))
  say "fuzzing each for $seconds s; what is told: $FUZZED/*.log"
  run_child fuzz_all "$seconds" "${targets[@]}"
  for target in "${targets[@]}"; do fuzz_verdict "$target" || failed=1; done
  if [[ $adopt = yes && $failed -eq 0 ]]; then
    for target in "${targets[@]}"; do adopt_corpus "$target"; done
  fi
  return "$failed"
}

fuzz_targets() { (cd fuzz/bin && echo *.rs) | sed 's/\.rs//g'; }

need_fuzzer() {
  need_rust
  rustup run nightly rustc --version >/dev/null 2>&1 ||
    die 1 "fuzzing needs a nightly compiler: rustup toolchain install nightly --profile minimal"
  if [[ ! -x $TOOLS/bin/cargo-fuzz ]]; then
    say "installing cargo-fuzz to $TOOLS"
    run_child cargo install --locked --quiet --root "$TOOLS" cargo-fuzz
  fi
}

# cargo_fuzz COMMAND TARGET [ARGS]: without a sanitizer, since there is no unsafe code to be watched.
cargo_fuzz() {
  RUSTUP_TOOLCHAIN=nightly PATH=$PWD/$TOOLS/bin:$PATH cargo fuzz "$1" --sanitizer none "${@:2}"
}

# fuzz_all SECONDS TARGET...: as many at a time as there are processors.
fuzz_all() {
  local seconds=$1 target started=()
  shift
  for target in "$@"; do
    fuzz_wait "$(nproc)" "${started[@]}"
    fuzz_one "$target" "$seconds" &
    started+=($!)
  done
  fuzz_wait 1 "${started[@]}"
}

# fuzz_wait COUNT PID...: until fewer than so many of them run; tells how far they are meanwhile.
fuzz_wait() {
  local pid running since=$SECONDS
  while :; do
    running=0
    for pid in "${@:2}"; do if kill -0 "$pid" 2>/dev/null; then running=$((running + 1)); fi; done
    [[ $running -ge $1 ]] || return 0
    sleep 1
    if ((SECONDS - since >= 60)); then
      since=$SECONDS
      fuzz_progress
    fi
  done
}

# The last line with its coverage of each target that runs.
fuzz_progress() {
  local log target
  for log in "$FUZZED"/*.log; do
    target=$(basename "$log" .log)
    [[ -f $FUZZED/$target.code ]] ||
      printf '%-8s %s\n' "$target" "$(grep -a '^#' "$log" | tail -n 1)"
  done
}

# fuzz_one TARGET SECONDS: what is found is kept apart from the checked-in corpus, for the next run.
fuzz_one() {
  local log=$FUZZED/$1.log code=0
  trap - INT  # in the background, bash ignores it
  mkdir -p "$FUZZED/corpus/$1" "fuzz/corpus/$1"
  rm -f "$FUZZED/$1.code"
  cargo_fuzz run "$1" "$FUZZED/corpus/$1" "fuzz/corpus/$1" -- -max_total_time="$2" -print_final_stats=1 \
    -max_len=20000 -timeout=10 -rss_limit_mb=1024 -dict=fuzz/words.dict >"$log" 2>&1 || code=$?
  echo "$code" >"$FUZZED/$1.code"
}

# fuzz_verdict TARGET: says what came of it; fails if it found something.
fuzz_verdict() {
  local log=$FUZZED/$1.log code executed covered corpus input
  code=$(cat "$FUZZED/$1.code" 2>/dev/null) || code=none
  executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  covered=$(grep -ao ' cov: [0-9]*' "$log" | tail -n 1)
  corpus=$(grep -ao ' corp: [0-9]*' "$log" | tail -n 1)
  printf '%-8s %s executions,%s edges, corpus%s: ' "$1" "${executed:-?}" "${covered# cov:}" "${corpus# corp:}"
  if [[ $code = 0 ]]; then echo "nothing found"; return; fi
  input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
  if [[ -z $input ]]; then echo "FAILED (exit code $code), see $log"; return 1; fi
  echo "FOUND (exit code $code)"
  grep -a -m 3 -A 2 'panicked at\|ERROR: libFuzzer' "$log" | sed 's/^/    /'
  printf '    input:  %s\n    replay: cargo +nightly fuzz run --sanitizer none %s %s\n    log:    %s\n' \
    "$input" "$1" "$input" "$log"
  return 1
}

# adopt_corpus TARGET: few inputs that reach what all of them reach become the checked-in corpus. The
# merge writes them in this order: each adds more than any that comes after it. Seeds, which people
# wrote, stay.
adopt_corpus() {
  local found=$FUZZED/adopted/$1 corpus=fuzz/corpus/$1 seeds names
  rm -rf "$found"
  mkdir -p "$found"
  run_child cargo_fuzz run "$1" "$found" "$corpus" "$FUZZED/corpus/$1" -- -set_cover_merge=1 \
    -max_len=$ADOPTED_LEN_MAX >"$found.log" 2>&1 || die 1 "merging failed: $found.log"
  seeds=$(find "$corpus" -type f -name 'seed-*' | wc -l)
  mapfile -t names < <(find "$found" -type f -size -$((ADOPTED_LEN_MAX + 1))c -printf '%T@ %f\n' | sort -n |
    head -n $((ADOPTED_MAX - seeds)) | cut -d' ' -f2)
  find "$corpus" -type f ! -name 'seed-*' -delete
  (cd "$found" && cp -- "${names[@]}" "$HERE/$corpus")
  say "adopted ${#names[@]} inputs to $corpus, beside $seeds seeds"
}
