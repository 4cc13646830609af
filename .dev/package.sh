# shellcheck shell=bash
#
# Sourced by `dev`: a Debian package with a static program, which needs nothing of the machine that it is for.

cmd_package() {
  local machine target program out=$PWD/target/package
  [[ $# -eq 0 ]] || die 64 "'package' takes no arguments"
  need_rust
  cargo deb --version >/dev/null 2>&1 || die 1 "cargo-deb not found: cargo install --locked cargo-deb"
  machine=$(uname -m)
  target=$machine-unknown-linux-musl
  # The cryptography has a part in C.
  command -v musl-gcc >/dev/null || install_packages 1.2 https://musl.libc.org musl-tools
  [[ -d $(rustc --print target-libdir --target "$target") ]] || run_child rustup target add "$target" ||
    die 1 "there is no Rust library for $target: rustup target add $target"
  say "building a static program"
  export "CC_${target//-/_}=musl-gcc"
  run_child cargo build --locked --release --bin holdfast --target "$target"
  program=target/$target/release/holdfast
  rm -rf "$out"
  mkdir -p "$out/man"
  "$program" man "$out/man" >&2
  for shell in bash zsh fish; do "$program" completions $shell >"$out/holdfast.$shell"; done
  # Functions keep their names, for backtraces; line numbers would take 90 MB.
  run_child strip --strip-debug "$program"
  run_child cargo deb --no-build --no-strip --target "$target" --output "$PWD/target/debian/"
}
