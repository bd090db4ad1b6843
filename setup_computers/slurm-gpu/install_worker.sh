#!/usr/bin/env bash
# Installs mbetrain-worker on a cluster: a virtual environment, PyTorch first, then this package. Run it on the login
# node, after `module load` of Python. Idempotent: a second run only repairs or updates.
#
#   install_worker.sh [options] PYTHON TARGET
#
#   PYTHON                 interpreter, 3.11 or newer
#   TARGET                 folder of the virtual environment, on a file system that the compute nodes see
#   --package SPEC         what pip installs (default: the checkout of this script, else aiida-mbetrain)
#   --torch SPEC           (default: the tested version of constraints.txt, else torch)
#   --torch-index URL      index of PyTorch builds, to match the driver of the GPUs, e.g.
#                          https://download.pytorch.org/whl/cu128
#   --constraints FILE     (default: constraints.txt of the checkout, where there is one)
#   --any-version          no constraints: the newest versions that pyproject.toml allows
set -euo pipefail

usage() {
    sed -n '2,/^set -e/{/^#/s/^# \{0,1\}//p}' "$0"
}

fail() {
    echo "install_worker.sh: $*" >&2
    exit 1
}

checkout="$(cd "$(dirname "$0")/../.." && pwd)"
package=aiida-mbetrain
constraints=""
torch=""
torch_index=""
if grep -qs '^name = "aiida-mbetrain"' "$checkout/pyproject.toml"; then
    package="$checkout"
    constraints="$checkout/constraints.txt"
fi

positional=()
while [ "$#" -gt 0 ]; do
    case "$1" in
    --package | --torch | --torch-index | --constraints)
        [ "$#" -ge 2 ] || fail "$1 needs a value"
        name="${1#--}"
        printf -v "${name//-/_}" '%s' "$2"
        shift 2
        ;;
    --any-version) constraints="" && shift ;;
    -h | --help) usage && exit 0 ;;
    -*) fail "unknown option $1; see --help" ;;
    *) positional+=("$1") && shift ;;
    esac
done
if [ "${#positional[@]}" -ne 2 ]; then
    usage >&2
    exit 2
fi
python="${positional[0]}"
target="${positional[1]}"
[ -z "$constraints" ] || [ -r "$constraints" ] || fail "cannot read the constraints $constraints"
if [ -z "$torch" ]; then
    torch="$(grep -s '^torch==' "$constraints" || echo torch)"
fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$python is not Python 3.11 or newer"
[ -x "$target/bin/python" ] || "$python" -m venv "$target"
"$target/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$target holds an environment of an older Python: name another folder"

pip_install() {
    "$target/bin/python" -m pip install --quiet --disable-pip-version-check \
        ${constraints:+--constraint "$constraints"} "$@"
}

# PyTorch first and from its own index: the build must fit the driver, and everything else accepts what is there
pip_install ${torch_index:+--index-url "$torch_index"} "$torch"
pip_install "$package"

[ -x "$target/bin/mbetrain-worker" ] || fail "$package does not provide mbetrain-worker"
"$target/bin/python" - <<'PYTHON'
import aiida_mbetrain
import torch

print(f"aiida-mbetrain {aiida_mbetrain.__version__}, torch {torch.__version__}, CUDA of the build: {torch.version.cuda}")
if not torch.cuda.is_available():
    print("no GPU is visible here, as usual on a login node: check once in a job on a GPU node")
PYTHON
echo "filepath_executable: $(cd "$target" && pwd)/bin/mbetrain-worker"
