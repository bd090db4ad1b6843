#!/usr/bin/env bash
# Stop what start.sh started, by pid file only. State and accounting records stay in $MBETRAIN_SERVICES/slurm.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
# shellcheck source=lib.sh
. "$here/lib.sh"
require_root
state="$MBETRAIN_SERVICES/slurm"

for daemon in slurmd slurmctld slurmdbd; do
    stop_daemon "$state/run/$daemon.pid" "$daemon"
done
stop_daemon "$state/mariadb/mariadb.pid" mariadbd
stop_daemon "$state/run/munged.pid" munged
if mountpoint -q "$state/cgroup/memory"; then
    # the cgroups of past jobs are empty; rmdir takes the innermost first and refuses any that is in use
    find "$state/cgroup/memory" -mindepth 1 -depth -type d -path '*/slurm*' -exec rmdir {} + 2>/dev/null || true
    umount "$state/cgroup/memory"
fi
if [ "$(readlink /etc/slurm/slurm.conf || true)" = "$state/slurm.conf" ]; then
    rm /etc/slurm/slurm.conf
fi
