#!/usr/bin/env bash
# Is the SLURM of start.sh healthy? Runs one job with a pretend GPU and reads it back from the accounting.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
# shellcheck source=lib.sh
. "$here/lib.sh"
state="$MBETRAIN_SERVICES/slurm"
export SLURM_CONF="$state/slurm.conf"

for daemon in munged slurmdbd slurmctld slurmd; do
    alive "$state/run/$daemon.pid" "$daemon" || fail "$daemon does not run; start it with $here/start.sh"
done
sinfo
job="$(cd /tmp && sbatch --parsable --wait --time=1 --mem=50 --gpus-per-node=1 --output=/dev/null --wrap true)"

record() {
    sacct -n -X -P -j "$job" -o State,AllocTRES
}

is_recorded() {
    record | grep -q '^COMPLETED|.*gres/gpu=1'
}

wait_for 20 is_recorded || fail "job $job is not recorded as completed with one GPU: $(record)"
echo "job $job: $(record)"
