# shellcheck shell=bash
#
# Sourced by `dev`: worker programs of other versions, for rolling from one to the next. Each is built from a
# copy of its sources, shares built dependencies with this version, and is kept.

readonly VERSIONS=target/versions

# The version before the last change: the last commit, unless nothing is new since. Where that one cannot be
# upgraded from, the last commit itself: `./dev rolling` makes up a migration to follow it.
previous_version() {
  local last version=HEAD
  if [[ -z $(git status --porcelain -- src schema) ]]; then
    last=$(git rev-list -1 --first-parent HEAD -- src schema)
    version=$last^
  fi
  upgradable "$version" || version=HEAD
  git rev-parse "$version"
}

# upgradable COMMIT: whether its migrations are all here, unchanged, so that its databases can be migrated.
upgradable() {
  local migration migrations
  migrations=$(git ls-tree -r --name-only "$1" -- schema/migrations)
  [[ -n $migrations ]] || return 1
  for migration in $migrations; do
    [[ -f $migration && $(git rev-parse "$1:$migration") = "$(git hash-object "$migration")" ]] || return 1
  done
}

# new_steps COMMIT: names the migrations that it lacks.
new_steps() {
  local migration
  upgradable "$1" ||
    die 1 "cannot upgrade from $1: its migrations are not those of this version (see docs/upgrades.md)"
  for migration in schema/migrations/*; do
    git cat-file -e "$1:$migration" 2>/dev/null || basename "$migration" .sql
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

# build_next: sets BUILT to the worker program of a made-up next version: this one and one more migration.
build_next() {
  local files=(git ls-files -z --cached --others --exclude-standard) last key
  key=$("${files[@]}" -- src schema Cargo.toml Cargo.lock .dev/rehearsal.sql | xargs -0 sha256sum | sha256sum)
  BUILT=$PWD/$VERSIONS/holdfast-next-${key:0:12}
  [[ ! -x $BUILT ]] || return 0
  say "building this version with one more migration"
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
  # Kept under another name: this version is built to the same place.
  cp target/debug/holdfast "$BUILT.part"
  mv "$BUILT.part" "$BUILT"
  rm -rf $VERSIONS/source
}
