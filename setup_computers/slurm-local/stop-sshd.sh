#!/usr/bin/env bash
# Stop what start-sshd.sh started and take its line out of ~/.ssh/config; the keys stay.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
# shellcheck source=lib.sh
. "$here/lib.sh"
state="$HOME/.ssh/mbetrain-slurm-local"

stop_daemon "$state/sshd.pid" sshd
if [ -f "$HOME/.ssh/config" ]; then
    sed -i "\#^Include $state/config\$#d" "$HOME/.ssh/config"
fi
