#!/usr/bin/env bash
# A one-node SLURM with accounting and countable pretend GPUs on the loopback of this machine.
#
# For trying out and for continuous integration, not for production: it needs root and Debian or Ubuntu, no systemd.
# Idempotent: running it again changes nothing, or restarts what a changed setting concerns.
# Stop with stop.sh; state and logs are in $MBETRAIN_SERVICES/slurm.
#
#   SLURM_LOCAL_CPUS      cores of the node                   (default: all of this machine)
#   SLURM_LOCAL_MEMORY    memory of the node in MB            (default: 90 % of this machine)
#   SLURM_LOCAL_GPUS      pretend GPUs                        (default: 1)
#   SLURM_LOCAL_FEATURES  what --constraint may ask for       (default: h100)
#   SLURM_LOCAL_PARTITIONS  comma separated, first = default  (default: debug,tesla)
#   SLURM_LOCAL_OVERCOMMIT=1  believe the numbers above even where the machine has less
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
# shellcheck source=lib.sh
. "$here/lib.sh"

state="$MBETRAIN_SERVICES/slurm"
node="$(hostname -s)"
cpus="${SLURM_LOCAL_CPUS:-$(env -u OMP_NUM_THREADS nproc)}"
memory="${SLURM_LOCAL_MEMORY:-$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)}"
gpus="${SLURM_LOCAL_GPUS:-1}"
features="${SLURM_LOCAL_FEATURES:-h100}"
partitions="${SLURM_LOCAL_PARTITIONS:-debug,tesla}"
export SLURM_CONF="$state/slurm.conf"

install_slurm() {
    local missing=()
    command -v munged >/dev/null || missing+=(munge)
    command -v slurmctld >/dev/null || missing+=(slurmctld)
    command -v slurmd >/dev/null || missing+=(slurmd)
    command -v sbatch >/dev/null || missing+=(slurm-client)
    command -v slurmdbd >/dev/null || missing+=(slurmdbd)
    command -v mariadbd >/dev/null || missing+=(mariadb-server)
    install_packages "${missing[@]}"
}

start_munge() {
    local munge="$state/munge"
    mkdir -p "$munge"
    [ -s "$munge/munge.key" ] || (umask 077 && head -c 1024 /dev/urandom >"$munge/munge.key")
    chown -R root:root "$munge"
    alive "$state/run/munged.pid" munged && return
    rm -f "$munge/munge.socket"
    munged --key-file="$munge/munge.key" --socket="$munge/munge.socket" --pid-file="$state/run/munged.pid" \
        --log-file="$state/log/munged.log" --seed-file="$munge/munge.seed"
}

# MariaDB without a network port; the accounting daemon enters as root over the socket, so there is no password
start_database() {
    local db="$state/mariadb"
    mkdir -p "$db"
    chown mysql:mysql "$db"
    if [ ! -d "$db/data/mysql" ]; then
        mariadb-install-db --no-defaults --user=mysql --datadir="$db/data" \
            --auth-root-authentication-method=socket --skip-test-db >"$state/log/mariadb-install.log" 2>&1
    fi
    if ! alive "$db/mariadb.pid" mariadbd; then
        setsid mariadbd --no-defaults --user=mysql --datadir="$db/data" --socket="$db/mariadb.sock" \
            --pid-file="$db/mariadb.pid" --skip-networking --innodb-buffer-pool-size=64M \
            --innodb-lock-wait-timeout=900 </dev/null >"$state/log/mariadb.log" 2>&1 &
    fi
    wait_for 60 mariadb-admin --no-defaults --socket="$db/mariadb.sock" --silent ping >/dev/null 2>&1 ||
        fail "MariaDB does not answer; see $state/log/mariadb.log"
    mariadb --no-defaults --socket="$db/mariadb.sock" -e "create database if not exists slurm_acct_db"
}

write_accounting_configuration() {
    (umask 077 && cat >"$state/slurmdbd.conf") <<CONF
AuthType=auth/munge
AuthInfo=socket=$state/munge/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=6819
SlurmUser=root
PidFile=$state/run/slurmdbd.pid
LogFile=$state/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
CommunicationParameters=NoInAddrAny
CONF
}

start_accounting() {
    write_accounting_configuration
    if ! alive "$state/run/slurmdbd.pid" slurmdbd; then
        # slurmdbd.conf is looked up beside SLURM_CONF; the MySQL client finds the socket in MYSQL_UNIX_PORT
        MYSQL_UNIX_PORT="$state/mariadb/mariadb.sock" slurmdbd
    fi
    wait_for 60 port_is_open 6819 || fail "slurmdbd does not answer; see $state/log/slurmdbd.log"
    if ! sacctmgr -n list cluster format=cluster | grep -q mbetrain; then
        sacctmgr -i add cluster mbetrain >/dev/null
    fi
}

# The gpu plugin wants character devices: copies of /dev/null can be counted and handed out
write_gpus() {
    : >"$state/gres.conf"
    local i device
    for ((i = 0; i < gpus; i++)); do
        device="$state/run/gpu$i"
        [ -c "$device" ] || mknod "$device" c 1 3
        echo "Name=gpu File=$device" >>"$state/gres.conf"
    done
}

# Memory limits come from the kernel where there is a memory controller of cgroup version 1.
# Elsewhere SLURM polls, and a job over its memory ends as FAILED with signal 9, not as OUT_OF_MEMORY.
memory_lines() {
    if mount_memory_controller "$state/cgroup/memory"; then
        cat >"$state/cgroup.conf" <<CONF
CgroupPlugin=cgroup/v1
CgroupMountpoint=$state/cgroup
CgroupAutomount=no
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
CONF
        echo "TaskPlugin=task/cgroup"
    else
        rm -f "$state/cgroup.conf"
        echo "TaskPlugin=task/none"
        echo "JobAcctGatherParams=OverMemoryKill"
    fi
}

partition_lines() {
    local default=YES name
    for name in ${partitions//,/ }; do
        echo "PartitionName=$name Nodes=ALL Default=$default MaxTime=7-00:00:00 State=UP"
        default=NO
    done
}

slurm_configuration() {
    cat <<CONF
ClusterName=mbetrain
SlurmctldHost=$node(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$state/munge/munge.socket
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation=$state/slurmctld
SlurmdSpoolDir=$state/slurmd
SlurmctldPidFile=$state/run/slurmctld.pid
SlurmdPidFile=$state/run/slurmd.pid
SlurmctldLogFile=$state/log/slurmctld.log
SlurmdLogFile=$state/log/slurmd.log
ProctrackType=proctrack/linuxproc
$(memory_lines)
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=6819
AccountingStoragePass=$state/munge/munge.socket
AccountingStorageTRES=gres/gpu
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=5
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
KillWait=10
MinJobAge=300
DefMemPerCPU=$((memory / cpus))
GresTypes=gpu
${SLURM_LOCAL_OVERCOMMIT:+SlurmdParameters=config_overrides}
NodeName=$node NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory Gres=gpu:$gpus Feature=$features State=UNKNOWN
$(partition_lines)
CONF
}

# A changed configuration needs fresh daemons
configure_slurm() {
    write_gpus
    slurm_configuration >"$SLURM_CONF.new"
    if cmp -s "$SLURM_CONF.new" "$SLURM_CONF"; then
        rm "$SLURM_CONF.new"
        return
    fi
    mv "$SLURM_CONF.new" "$SLURM_CONF"
    stop_daemon "$state/run/slurmd.pid" slurmd
    stop_daemon "$state/run/slurmctld.pid" slurmctld
}

# Clients find the configuration at /etc/slurm/slurm.conf, also in the environment of an ssh session
link_configuration() {
    mkdir -p /etc/slurm
    ln -sfn "$SLURM_CONF" /etc/slurm/slurm.conf
}

refuse_a_real_cluster() {
    local conf=/etc/slurm/slurm.conf
    [ -e "$conf" ] || [ -L "$conf" ] || return 0
    [ "$(readlink "$conf")" = "$SLURM_CONF" ] || fail "$conf exists: this machine already belongs to a SLURM cluster"
}

controller_is_up() {
    scontrol ping 2>/dev/null | grep -q 'is UP'
}

node_is_ready() {
    case "$(sinfo -h -N -o %T 2>/dev/null | head -n 1)" in
    idle | mixed | allocated) return 0 ;;
    down* | drain*) scontrol update nodename="$node" state=resume 2>/dev/null || true ;;
    esac
    return 1
}

start_slurm() {
    alive "$state/run/slurmctld.pid" slurmctld || slurmctld
    wait_for 30 controller_is_up || fail "slurmctld does not answer; see $state/log/slurmctld.log"
    alive "$state/run/slurmd.pid" slurmd || slurmd -N "$node"
    wait_for 60 node_is_ready || fail "the node does not become idle; see $state/log/slurmd.log"
}

require_root
refuse_a_real_cluster
install_slurm
mkdir -p "$state"/{run,log,slurmctld,slurmd}
chmod 755 "$MBETRAIN_SERVICES" "$state" "$state/run"
configure_slurm
link_configuration
start_munge
start_database
start_accounting
start_slurm
sinfo -o '%P %D %T %c cpus %m MB %G %f'
