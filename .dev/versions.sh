# shellcheck shell=bash
#
# Sourced by `dev`: worker programs of other versions, to roll from one to the next. They are built from a
# copy of their sources, share what is built of others' crates with this version, and are kept.

readonly VERSIONS=target/versions

# The version before the last change: the last commit, unless there is nothing new since.
previous_version() {
  local last
  if [[ -n $(git status --porcelain -- src schema) ]]; then
    git rev-parse HEAD
  else
    last=$(git rev-list -1 --first-parent HEAD -- src schema)
    git rev-parse "$last^"
  fi
}

# new_steps COMMIT: names the steps of the schema that it lacks. Those that it has must be the same.
new_steps() {
  local step
  for step in $(git ls-tree -r --name-only "$1" -- schema/migrations); do
    [[ -f $step && $(git rev-parse "$1:$step") = "$(git hash-object "$step")" ]] ||
      die 1 "$step is not what it was in $1: a database of that version cannot become one of this"
  done
  for step in schema/migrations/*; do
    git cat-file -e "$1:$step" 2>/dev/null || basename "$step" .sql
  done
}

# build_version COMMIT: sets BUILT to its worker program.
build_version() {
  BUILT=$PWD/$VERSIONS/holdfast-$1
  [[ ! -x $BUILT ]] || return 0
  say "building version $1"
  empty_source
  git archive "$1" | tar -xm -C $VERSIONS/source
  build_source
}

# build_next: sets BUILT to the worker program of a version that may come after this one: this one and
# one more step of the schema.
build_next() {
  local files=(git ls-files -z --cached --others --exclude-standard) last key
  key=$("${files[@]}" -- src schema Cargo.toml Cargo.lock .dev/rehearsal.sql | xargs -0 sha256sum | sha256sum)
  BUILT=$PWD/$VERSIONS/holdfast-next-${key:0:12}
  [[ ! -x $BUILT ]] || return 0
  say "building this version with one more step of the schema"
  empty_source
  "${files[@]}" | tar --null --files-from=- -c | tar -xm -C $VERSIONS/source
  last=$(printf '%s\n' schema/migrations/* | sed 's/.*\/V\([0-9]*\)__.*/\1/' | sort -n | tail -n 1)
  cp .dev/rehearsal.sql "$VERSIONS/source/schema/migrations/V$((last + 1))__rehearsal.sql"
  build_source
}

empty_source() {
  rm -rf $VERSIONS/source
  mkdir -p $VERSIONS/source
}

build_source() {
  run_child cargo build --locked --manifest-path $VERSIONS/source/Cargo.toml --target-dir target --bin holdfast
  # Elsewhere, since this version is built to the same place.
  cp target/debug/holdfast "$BUILT.part"
  mv "$BUILT.part" "$BUILT"
  rm -rf $VERSIONS/source
}
