# shellcheck shell=bash
#
# Sourced by `dev`: what the examples in other languages need, which the tests run. The tests learn
# from HOLDFAST_PYTHON, HOLDFAST_NODE and HOLDFAST_NODE_PATH where it is.

readonly MIN_PIKA=1.2 MIN_NODE=18.3

need_clients() {
  find_python || install_packages $MIN_PIKA https://pypi.org/project/pika/ python3-pika
  find_python || die 1 "cannot find a Python with pika $MIN_PIKA or newer after installing it"
  find_node || install_packages $MIN_NODE https://nodejs.org nodejs npm
  find_node || die 1 "cannot find Node.js $MIN_NODE or newer, and npm, after installing them"
  install_node_modules
}

# The distribution's package is for its own Python, which need not be the first one in PATH.
find_python() {
  local python version
  for python in python3 /usr/bin/python3; do
    # A shim in PATH needs the caller's environment, and the tests have none: so the program itself.
    HOLDFAST_PYTHON=$("$python" -c 'import sys; print(sys.executable)' 2>/dev/null) || continue
    version=$("$HOLDFAST_PYTHON" -c 'import pika; print(pika.__version__)' 2>/dev/null) || continue
    if at_least "$version" $MIN_PIKA; then export HOLDFAST_PYTHON; return 0; fi
  done
  return 1
}

find_node() {
  local version
  HOLDFAST_NODE=$(node -p process.execPath 2>/dev/null) || return 1
  version=$("$HOLDFAST_NODE" -p process.versions.node) || return 1
  command -v npm >/dev/null && at_least "$version" $MIN_NODE && export HOLDFAST_NODE
}

# Into `target`, so that the source tree stays as it is; and only after the lock file has changed.
install_node_modules() {
  local dir=$PWD/target/clients lock
  mkdir -p "$dir"
  exec {lock}<"$dir"
  flock "$lock"
  if ! cmp -s examples/node/package-lock.json "$dir/installed.json"; then
    say "installing what the examples in Node.js need"
    cp examples/node/package.json examples/node/package-lock.json "$dir"
    run_child npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund >"$dir/npm.log" 2>&1 ||
      { tail -n 20 "$dir/npm.log" >&2; die 1 "npm ci failed"; }
    cp examples/node/package-lock.json "$dir/installed.json"
  fi
  exec {lock}<&-
  export HOLDFAST_NODE_PATH=$dir/node_modules
}
