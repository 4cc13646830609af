# shellcheck shell=bash
#
# Sourced by `dev`: what checks the files of `deploy/`. The tests find systemd-analyze in PATH, and the Python packages in HOLDFAST_CHECKERS.

need_checkers() {
  command -v systemd-analyze >/dev/null || install_packages 250 https://systemd.io systemd
  install_checkers
}

# Into `target`, as the modules for Node.js; needs the Python that `need_clients` has found.
install_checkers() {
  local dir=$PWD/target/checkers wanted=tests/suite/packaging/requirements.txt lock
  mkdir -p "$dir"
  exec {lock}<"$dir"
  flock "$lock"
  if ! cmp -s "$wanted" "$dir/installed.txt"; then
    "$HOLDFAST_PYTHON" -m pip --version >/dev/null 2>&1 ||
      install_packages 20 https://pip.pypa.io python3-pip
    say "installing what checks the manifests"
    rm -rf "$dir/packages"
    run_child "$HOLDFAST_PYTHON" -m pip install --quiet --disable-pip-version-check --target "$dir/packages" \
      --requirement "$wanted" >"$dir/pip.log" 2>&1 ||
      { tail -n 20 "$dir/pip.log" >&2; die 1 "pip install failed"; }
    cp "$wanted" "$dir/installed.txt"
  fi
  exec {lock}<&-
  export HOLDFAST_CHECKERS=$dir/packages
}
