# Functions shared by the scripts of this folder; sourced, never run.
# shellcheck shell=bash

# Where daemons keep their state. Not under /tmp: munged refuses a socket below a world-writable folder.
MBETRAIN_SERVICES="${MBETRAIN_SERVICES:-/var/lib/mbetrain-services}"

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

require_root() {
    [ "$(id -u)" = 0 ] || fail "must run as root (try: sudo -E $0)"
}

# install_packages NAME... : apt packages, without letting their scripts start the services themselves
install_packages() {
    [ "$#" -gt 0 ] || return 0
    [ "${MBETRAIN_SKIP_APT:-0}" = 0 ] || fail "not installed: $* (and MBETRAIN_SKIP_APT is set)"
    command -v apt-get >/dev/null || fail "not installed: $* (and there is no apt-get to install them with)"
    [ "$(id -u)" = 0 ] || fail "not installed: $* (run once as root, or install them yourself)"
    local policy=/usr/sbin/policy-rc.d made_policy=0 status=0
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        made_policy=1
    fi
    apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null || status=$?
    [ "$made_policy" = 0 ] || rm -f "$policy"
    [ "$status" = 0 ] || fail "apt-get could not install $*"
}

# alive PIDFILE NAME : the process of the pid file runs and is what we think it is
alive() {
    [ -s "$1" ] || return 1
    local pid
    pid="$(head -n 1 "$1")"
    kill -0 "$pid" 2>/dev/null || return 1
    case "$(cat "/proc/$pid/comm" 2>/dev/null)" in "$2"*) return 0 ;; *) return 1 ;; esac
}

# stop_daemon PIDFILE NAME [SIGNAL] : by pid file only, so that no other daemon of that name is touched
stop_daemon() {
    if alive "$1" "$2"; then
        local pid
        pid="$(head -n 1 "$1")"
        kill "-${3:-TERM}" "$pid"
        wait_for 30 process_is_gone "$pid" || kill -KILL "$pid" 2>/dev/null || true
        echo "stopped $2 (pid $pid)"
    fi
    rm -f "$1"
}

# mount_memory_controller FOLDER : the cgroup that this script runs in, bound to a folder of its own, so that jobs are
# placed below it, never beside it, and limits of a container stay in force.
# The cgroup of an earlier start may be gone (a session that ended without stop.sh): its mount is empty, and no job starts.
mount_memory_controller() {
    local controller=/sys/fs/cgroup/memory own
    own="$(awk -F: '$2 == "memory" {print $3}' /proc/self/cgroup)"
    [ -n "$own" ] && [ -w "$controller$own" ] || return 1
    mkdir -p "$1"
    if mountpoint -q "$1"; then
        cat "$1/cgroup.procs" >/dev/null 2>&1 && return
        umount "$1"
    fi
    mount --bind "$controller$own" "$1" 2>/dev/null
}

process_is_gone() {
    ! kill -0 "$1" 2>/dev/null
}

port_is_open() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# wait_for SECONDS COMMAND... : until the command succeeds
wait_for() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.2
    done
}
