#!/usr/bin/env bash
# Stop what start-postgres-rabbitmq.sh started, by pid file only. The data stay in $MBETRAIN_SERVICES.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
# shellcheck source=lib.sh
. "$here/lib.sh"
require_root

stop_daemon "$MBETRAIN_SERVICES/rabbitmq/rabbitmq.pid" beam
stop_daemon "$MBETRAIN_SERVICES/rabbitmq/epmd.pid" epmd
stop_daemon "$MBETRAIN_SERVICES/postgres/data/postmaster.pid" postgres INT
