# shellcheck shell=bash
#
# Sourced by `dev`: a private RabbitMQ.

# Not /usr/sbin/rabbitmq-server: that wrapper becomes user rabbitmq, who has no access to our files.
find_rabbitmq() {
  BROKER_BIN=/usr/lib/rabbitmq/bin
  [[ -x $BROKER_BIN/rabbitmq-server ]] || return 1
  # It is a link to .../rabbitmq_server-3.10.8/sbin; asking the program itself takes seconds.
  BROKER_VERSION=$(readlink -f $BROKER_BIN/rabbitmq-server | sed 's/.*rabbitmq_server-\([0-9.]*\).*/\1/')
  at_least "$BROKER_VERSION" $MIN_RABBITMQ
}

setup_rabbitmq() {
  umask 077
  write_rabbitmq "$1"
  setsid "$STATE/rabbitmq-server" >"$STATE/log/rabbitmq-console.log" 2>&1 &
  until_up $! rabbitmq_answers "$1"
}

write_rabbitmq() {
  local dir=$STATE/rabbitmq program
  mkdir -p "$dir/home"
  : >"$dir/rabbitmq-env.conf"  # read instead of the one in /etc
  cat >"$dir/environment" <<END
export HOME='$dir/home'  # has the Erlang cookie
export RABBITMQ_NODENAME=holdfast-$$@localhost
export RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=$AMQP_PORT RABBITMQ_DIST_PORT=$DIST_PORT
export ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$EPMD_PORT
export RABBITMQ_MNESIA_BASE='$dir/mnesia' RABBITMQ_GENERATED_CONFIG_DIR='$dir/generated'
export RABBITMQ_LOG_BASE='$STATE/log' RABBITMQ_LOGS='$STATE/log/rabbitmq.log' RABBITMQ_PID_FILE='$dir/pid'
export RABBITMQ_CONFIG_FILE='$dir/rabbitmq.conf' RABBITMQ_ADVANCED_CONFIG_FILE='$dir/advanced.config'
export RABBITMQ_ENABLED_PLUGINS_FILE='$dir/enabled_plugins' RABBITMQ_CONF_ENV_FILE='$dir/rabbitmq-env.conf'
# Idle schedulers sleep instead of spinning: the processors are for the tests.
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none'
END
  echo '[rabbitmq_management].' >"$dir/enabled_plugins"
  # By default, a message whose dead-lettering was not confirmed waits three minutes for a retry.
  echo '[{rabbit,[{dead_letter_worker_publisher_confirm_timeout,10000}]}].' >"$dir/advanced.config"
  cat >"$dir/rabbitmq.conf" <<END
listeners.tcp.local = 127.0.0.1:$AMQP_PORT
listeners.ssl.local = 127.0.0.1:$AMQPS_PORT
ssl_options.cacertfile = $STATE/tls/authority.pem
ssl_options.certfile = $STATE/tls/server.pem
ssl_options.keyfile = $STATE/tls/server.key
ssl_options.verify = verify_none
management.tcp.ip = 127.0.0.1
management.tcp.port = $HTTP_PORT
management.ssl.ip = 127.0.0.1
management.ssl.port = $HTTPS_PORT
management.ssl.cacertfile = $STATE/tls/authority.pem
management.ssl.certfile = $STATE/tls/server.pem
management.ssl.keyfile = $STATE/tls/server.key
default_user = broker-admin
default_pass = $1
default_user_tags.administrator = true
default_vhost = /
vm_memory_high_watermark.absolute = 2GB
disk_free_limit.absolute = 200MB
log.console = false
log.file.level = info
END
  for program in rabbitmq-server rabbitmqctl rabbitmq-diagnostics rabbitmq-plugins rabbitmq-queues; do
    write_program "$STATE/$program" <<<". '$dir/environment'; cd '$dir' && exec $BROKER_BIN/$program \"\$@\""
  done
}

# The management API comes up last but for the AMQP listener, and knows whether the virtual host
# is usable. Asked without curl, which is not everywhere.
rabbitmq_answers() (
  exec 2>/dev/null 3<>"/dev/tcp/127.0.0.1/$AMQP_PORT" 4<>"/dev/tcp/127.0.0.1/$HTTP_PORT" || exit 1
  printf 'GET /api/health/checks/virtual-hosts HTTP/1.0\r\nAuthorization: Basic %s\r\n\r\n' \
    "$(printf 'broker-admin:%s' "$1" | base64 -w0)" >&4
  read -r -t 10 status <&4 && [[ $status = HTTP/1.?\ 200* ]]
)
