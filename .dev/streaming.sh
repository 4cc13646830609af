# shellcheck shell=bash
#
# Sourced by `dev`: streaming servers for `holdfast gate`, and what plays encoder and viewer. Programs learn
# from HOLDFAST_NGINX, HOLDFAST_NGINX_RTMP (the module), HOLDFAST_ICECAST and HOLDFAST_FFMPEG (a directory)
# where they are. Who may not install them does without: tests and scenes that need them say so and are skipped.

find_streaming() {
  local missing=() file
  streaming_there || {
    can_install || return 0
    [[ -x /usr/sbin/nginx && -n $(nginx_module) ]] || missing+=(nginx libnginx-mod-rtmp)
    [[ -x /usr/bin/icecast2 ]] || missing+=(icecast2)
    command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null || missing+=(ffmpeg)
    # In a subshell: without them there is less to test, and no reason to give up.
    (install_packages 0 https://github.com/arut/nginx-rtmp-module "${missing[@]}") || return 0
  }
  if [[ -x /usr/sbin/nginx && -n $(nginx_module) ]]; then
    export HOLDFAST_NGINX=/usr/sbin/nginx
    HOLDFAST_NGINX_RTMP=$(nginx_module)
    export HOLDFAST_NGINX_RTMP
  fi
  if [[ -x /usr/bin/icecast2 ]]; then export HOLDFAST_ICECAST=/usr/bin/icecast2; fi
  file=$(type -P ffmpeg) && type -P ffprobe >/dev/null && export HOLDFAST_FFMPEG=${file%/*}
  return 0
}

nginx_module() { ls /usr/lib/nginx/modules/ngx_rtmp_module.so 2>/dev/null || true; }

streaming_there() {
  [[ -x /usr/sbin/nginx && -n $(nginx_module) && -x /usr/bin/icecast2 ]] &&
    command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null
}
