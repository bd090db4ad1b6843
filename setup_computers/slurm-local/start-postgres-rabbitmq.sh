#!/usr/bin/env bash
# PostgreSQL and RabbitMQ on the loopback of this machine, for an AiiDA profile on the full stack.
#
# Not needed to use this package: a profile on SQLite with the ZeroMQ broker does everything on one machine.
# For trying out and continuous integration: root, Debian or Ubuntu, no systemd. Idempotent. Stop with
# stop-postgres-rabbitmq.sh; state and logs are in $MBETRAIN_SERVICES/{postgres,rabbitmq}.
#
#   POSTGRES_LOCAL_PORT (default: 5432)    RABBITMQ_LOCAL_PORT (default: 5672)
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
# shellcheck source=lib.sh
. "$here/lib.sh"

postgres="$MBETRAIN_SERVICES/postgres"
rabbitmq="$MBETRAIN_SERVICES/rabbitmq"
postgres_port="${POSTGRES_LOCAL_PORT:-5432}"
rabbitmq_port="${RABBITMQ_LOCAL_PORT:-5672}"

postgres_programs() {
    find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1
}

install_services() {
    local missing=()
    [ -x "$(postgres_programs)/initdb" ] || missing+=(postgresql)
    [ -x /usr/sbin/rabbitmq-server ] || missing+=(rabbitmq-server)
    install_packages "${missing[@]}"
}

# as USER COMMAND... : setpriv becomes the command and keeps the process id, unlike su and runuser
as() {
    local user="$1"
    shift
    setpriv --reuid="$user" --regid="$user" --init-groups -- "$@"
}

query() {
    (cd / && as postgres "$(postgres_programs)/psql" -h "$postgres/run" -p "$postgres_port" -d postgres -qAt -c "$1")
}

start_postgres() {
    local programs
    programs="$(postgres_programs)"
    mkdir -p "$postgres"/{run,log}
    chown -R postgres:postgres "$postgres"
    cd "$postgres"
    if [ ! -s "$postgres/data/PG_VERSION" ]; then
        as postgres "$programs/initdb" -D "$postgres/data" -E UTF8 --locale=C.UTF-8 \
            --auth-local=peer --auth-host=scram-sha-256 >"$postgres/log/initdb.log" 2>&1
    fi
    if ! alive "$postgres/data/postmaster.pid" postgres; then
        as postgres "$programs/pg_ctl" -D "$postgres/data" -w -t 60 -l "$postgres/log/postgres.log" \
            -o "-p $postgres_port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$postgres/run" start >/dev/null
    fi
    [ "$(query "select 1 from pg_roles where rolname = 'aiida'")" = 1 ] ||
        query "create role aiida login password 'aiida' createdb"
    [ "$(query "select 1 from pg_database where datname = 'aiida'")" = 1 ] ||
        query "create database aiida owner aiida encoding 'UTF8' template template0"
    echo "postgres: 127.0.0.1:$postgres_port, user aiida, password aiida, database aiida"
}

# Erlang's port mapper, started by us so that its pid is known and it listens on the loopback only
start_port_mapper() {
    port_is_open 4369 && return
    # setpriv and not `as`: a function in the background runs in a shell of its own, whose pid this would be
    setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups -- \
        env -i PATH=/usr/bin:/bin HOME="$rabbitmq" epmd -address 127.0.0.1 </dev/null >"$rabbitmq/log/epmd.log" 2>&1 &
    echo $! >"$rabbitmq/epmd.pid"
    wait_for 20 port_is_open 4369 || fail "epmd does not answer; see $rabbitmq/log/epmd.log"
}

# Without a consumer timeout: AiiDA holds its messages for as long as a job takes
write_rabbitmq_configuration() {
    cat >"$rabbitmq/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$rabbitmq_port
disk_free_limit.absolute = 50MB
CONF
    cat >"$rabbitmq/advanced.config" <<'CONF'
[{rabbit, [{consumer_timeout, undefined}, {loopback_users, [<<"guest">>]}]},
 {kernel, [{inet_dist_use_interface, {127, 0, 0, 1}}]}].
CONF
}

start_rabbitmq() {
    local server
    server="$(find /usr/lib/rabbitmq/lib -path '*/sbin/rabbitmq-server' | sort -V | tail -n 1)"
    mkdir -p "$rabbitmq"/{log,mnesia}
    write_rabbitmq_configuration
    chown -R rabbitmq:rabbitmq "$rabbitmq"
    cd "$rabbitmq"
    start_port_mapper
    if ! alive "$rabbitmq/rabbitmq.pid" beam; then
        as rabbitmq env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME="$rabbitmq" \
            RABBITMQ_NODENAME=aiida@localhost RABBITMQ_NODE_PORT="$rabbitmq_port" RABBITMQ_DIST_PORT=25672 \
            ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_MNESIA_BASE="$rabbitmq/mnesia" RABBITMQ_LOG_BASE="$rabbitmq/log" \
            RABBITMQ_PID_FILE="$rabbitmq/rabbitmq.pid" RABBITMQ_CONF_ENV_FILE=/dev/null \
            RABBITMQ_CONFIG_FILE="$rabbitmq/rabbitmq.conf" RABBITMQ_ADVANCED_CONFIG_FILE="$rabbitmq/advanced.config" \
            RABBITMQ_ENABLED_PLUGINS_FILE="$rabbitmq/enabled_plugins" \
            setsid "$server" </dev/null >"$rabbitmq/log/stdout.log" 2>&1 &
    fi
    wait_for 90 port_is_open "$rabbitmq_port" || fail "RabbitMQ does not answer; see $rabbitmq/log"
    echo "rabbitmq: 127.0.0.1:$rabbitmq_port, user guest, password guest"
}

require_root
mkdir -p "$MBETRAIN_SERVICES"
chmod 755 "$MBETRAIN_SERVICES"
install_services
start_postgres
start_rabbitmq
