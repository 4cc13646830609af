# shellcheck shell=bash
#
# Sourced by `dev`: Prometheus, which the tests check the metrics with and the soak scrapes workers with. They
# learn from HOLDFAST_PROMTOOL and HOLDFAST_PROMETHEUS where it is.

readonly MIN_PROMETHEUS=2.42

need_prometheus() {
  find_prometheus || install_packages $MIN_PROMETHEUS https://prometheus.io/download/ prometheus
  find_prometheus || die 1 "cannot find prometheus and promtool after installing them"
}

find_prometheus() {
  HOLDFAST_PROMETHEUS=$(command -v prometheus) && HOLDFAST_PROMTOOL=$(command -v promtool) &&
    export HOLDFAST_PROMETHEUS HOLDFAST_PROMTOOL
}
