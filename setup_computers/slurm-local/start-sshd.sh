#!/usr/bin/env bash
# An ssh server on 127.0.0.1 with its own key, for trying the transport core.ssh_async without another machine.
#
# Run it as the user who runs AiiDA (root only where the packages are missing). It adds one Include line to
# ~/.ssh/config, so that `ssh mbetrain-slurm-local` works; stop-sshd.sh takes the line out again. Idempotent.
#
#   SSHD_LOCAL_PORT   (default: 2222)
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
# shellcheck source=lib.sh
. "$here/lib.sh"

host=mbetrain-slurm-local
port="${SSHD_LOCAL_PORT:-2222}"
state="$HOME/.ssh/$host"

install_ssh() {
    local missing=()
    [ -x /usr/sbin/sshd ] || missing+=(openssh-server)
    command -v ssh >/dev/null || missing+=(openssh-client)
    install_packages "${missing[@]}"
}

make_keys() {
    local key
    for key in host_key id; do
        [ -s "$state/$key" ] || ssh-keygen -q -t ed25519 -N '' -C "$host" -f "$state/$key"
    done
    cp "$state/id.pub" "$state/authorized_keys"
    chmod 600 "$state/authorized_keys"
    echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 "$state/host_key.pub")" >"$state/known_hosts"
}

write_server_configuration() {
    # StrictModes would also refuse a home below a sticky folder such as /tmp; our own folder is closed to others
    cat >"$state/sshd_config" <<CONF
ListenAddress 127.0.0.1
Port $port
HostKey $state/host_key
PidFile $state/sshd.pid
AuthorizedKeysFile $state/authorized_keys
StrictModes no
AllowUsers $(id -un)
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
MaxSessions 50
MaxStartups 50
Subsystem sftp internal-sftp
CONF
}

write_client_configuration() {
    cat >"$state/config" <<CONF
Host $host
  HostName 127.0.0.1
  Port $port
  User $(id -un)
  IdentityFile $state/id
  IdentitiesOnly yes
  UserKnownHostsFile $state/known_hosts
  StrictHostKeyChecking yes
CONF
    local config="$HOME/.ssh/config" line="Include $state/config"
    touch "$config"
    chmod 600 "$config"
    # an Include below a Host block would belong to that block: it goes on top
    grep -qxF "$line" "$config" || printf '%s\n%s\n' "$line" "$(cat "$config")" >"$config.new"
    [ ! -s "$config.new" ] || mv "$config.new" "$config"
    chmod 600 "$config"
}

install_ssh
mkdir -p "$state"
chmod 700 "$HOME/.ssh" "$state"
make_keys
write_server_configuration
write_client_configuration
[ "$(id -u)" != 0 ] || mkdir -p -m 755 /run/sshd
if ! alive "$state/sshd.pid" sshd; then
    /usr/sbin/sshd -f "$state/sshd_config" -E "$state/sshd.log"
fi
# ssh looks for its configuration in the home of the password database, asyncssh in $HOME: here they may differ
wait_for 20 ssh -q -F "$HOME/.ssh/config" -o BatchMode=yes "$host" true || fail "cannot log in; see $state/sshd.log"
echo "ssh $host works (127.0.0.1:$port, pid $(cat "$state/sshd.pid"))"
