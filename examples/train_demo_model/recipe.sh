#!/bin/bash
# The whole recipe, one after the other; half a day on one core.   bash recipe.sh WORK_DIR
set -eu
here=$(dirname "$(readlink -f "$0")")
work=$1
export OMP_NUM_THREADS=1
mkdir -p "$work/data" "$work/held_out"
part() { python "$here/generate_data.py" "$work" "$1" "$work/$2.xyz" --count "$3" --seed "$4" --max-cluster "${5:-5}"; }

python "$here/prepare.py" "$work"
part supercells data/supercells 30 1
part thermal data/thermal 18 1
part librations data/librations 20 1
part quiet_librations data/quiet_librations 36 1
part clusters data/clusters 90 1
part dimers data/dimers 80 1
part close_dimers data/close_dimers 40 1

# A first model runs its own dynamics, and learns where it goes.
python "$here/train.py" "$work/data" "$work/round_1" --epochs 30 --seed 1
for temperature in 300 450; do
    python "$here/dynamics.py" "$work/round_1/final.model" "$work" "$work/npt_$temperature.npz" \
        --picoseconds 0.5 --temperature $temperature --seed $temperature
    python "$here/frames_of_dynamics.py" "$work/npt_$temperature.npz" "$work" "$work/data/dynamics_$temperature.xyz" \
        --frames 6 --clusters 10 --seed $temperature
done
python "$here/train.py" "$work/data" "$work/round_2" --epochs 100 --seed 1

# The small torques of the librations: more structures, and weight for them.
part small_librations data/small_librations 40 2
part thermal data/thermal_2 16 2
python "$here/train.py" "$work/data" "$work/round_3" --epochs 45 --seed 1 --lr 0.005 --stage-two 0.6 \
    --stage-two-energy-weight 300 --weights libration=10 thermal=3 supercell=2 closedimer=0.3 \
    --continue-from "$work"/round_2/checkpoints/*epoch-*[0-9].pt
part soft_librations data/soft_librations 30 3
python "$here/train.py" "$work/data" "$work/round_4" --epochs 50 --seed 1 --lr 0.003 --stage-two 0.4 \
    --stage-two-energy-weight 300 --weights libration=30 thermal=5 supercell=2 closedimer=0.3 \
    --continue-from "$work"/round_3/checkpoints/*_swa.pt

part thermal held_out/thermal 3 99
part librations held_out/librations 2 99
part clusters held_out/clusters 24 99 8
part dimers held_out/dimers 12 99
part close_dimers held_out/close_dimers 8 99
python "$here/dynamics.py" "$work/round_4/final.model" "$work" "$work/npt_final.npz" \
    --picoseconds 10 --time-step 1 --interval 100 --seed 7
python "$here/frames_of_dynamics.py" "$work/npt_final.npz" "$work" "$work/held_out/dynamics.xyz" \
    --frames 4 --clusters 16
python "$here/evaluate.py" "$work/round_4/final.model" "$work" "$work/result.json" "$work"/held_out/*.xyz
