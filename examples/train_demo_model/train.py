"""Train the demo model with mace_run_train on all labelled parts of a directory; deterministic on one thread.

The training runs in single precision, at little more than half the time; the model is saved in double precision,
so that relaxations and phonons are free of rounding noise.

    python train.py DATA_DIR OUT_DIR --epochs 80 --seed 1

Every 12th structure of each file is for validation; files named held_out*.xyz are never read.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path

import mace  # noqa: F401  (before torch loads a model: it registers what the file needs)
import torch
from ase.io import read, write

MODEL_NAME = "hexamethylenetetramine"
GFN1_ATOMS = {1: -10.92345239, 6: -47.37872264, 7: -78.88271177}  # closed-shell GFN1 atoms, eV: a choice of zero
MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "2147483647", "MALLOC_TOP_PAD_": "268435456"}

ARCHITECTURE = {
    "model": "ScaleShiftMACE", "num_interactions": 2, "hidden_irreps": "16x0e", "correlation": 2, "max_ell": 2,
    "r_max": 4.5, "num_radial_basis": 8, "radial_MLP": "[32,32,32]", "MLP_irreps": "16x0e",
    "scaling": "rms_forces_scaling", "E0s": str(GFN1_ATOMS), "default_dtype": "float32",
}  # fmt: skip
LOSS = {
    "loss": "universal", "energy_weight": 1, "forces_weight": 10, "stress_weight": 1000,
    "swa_forces_weight": 100, "swa_stress_weight": 20000,
}  # fmt: skip
OPTIMISER = {
    "lr": 0.01, "swa_lr": 0.001, "batch_size": 2, "valid_batch_size": 8, "ema_decay": 0.99, "clip_grad": 10,
    "scheduler": "ExponentialLR", "weight_decay": 5e-8,
}  # fmt: skip
KEYS = {"energy_key": "REF_energy", "forces_key": "REF_forces", "stress_key": "REF_stress"}


def split(data: Path, out: Path) -> tuple[Path, Path]:
    """Training and validation file from all parts, labels under mace's reference keys."""
    sets: dict[str, list] = {"train": [], "valid": []}
    for path in sorted(data.glob("*.xyz")):
        if path.name.startswith("held_out") or path.name == "relaxed.xyz":
            continue
        for index, atoms in enumerate(read(path, index=":")):
            labelled = atoms.copy()
            labelled.info["REF_energy"] = atoms.get_potential_energy()
            labelled.arrays["REF_forces"] = atoms.get_forces()
            if atoms.pbc.all():
                labelled.info["REF_stress"] = atoms.get_stress()
            sets["valid" if index % 12 == 5 else "train"].append(labelled)
    for name, frames in sets.items():
        write(out / f"{name}.xyz", frames, format="extxyz")
        print(f"{name}: {len(frames)} structures, {sum(map(len, frames))} atoms")
    return out / "train.xyz", out / "valid.xyz"


def command(train: Path, valid: Path, arguments: argparse.Namespace) -> list[str]:
    """The call of mace_run_train; the learning rate falls by a factor of 20 over the run."""
    epochs = arguments.epochs
    options = ARCHITECTURE | LOSS | OPTIMISER | KEYS | {
        "name": MODEL_NAME, "work_dir": arguments.out, "lr": arguments.lr, "seed": arguments.seed,
        "train_file": train.resolve(), "valid_file": valid.resolve(),
        "max_num_epochs": epochs, "start_swa": round(arguments.stage_two * epochs),
        "lr_scheduler_gamma": 20 ** (-1 / epochs),
        "swa_energy_weight": arguments.stage_two_energy_weight, "config_type_weights": str(weights(arguments.weights)),
        "device": "cpu", "eval_interval": 2, "error_table": "PerAtomRMSEstressvirials", "plot": "False",
    }  # fmt: skip
    switches = ["--swa", "--ema", "--amsgrad", "--save_cpu"]
    return ["mace_run_train", *(f"--{key}={value}" for key, value in options.items()), *switches]


def weights(given: list[str]) -> dict[str, float]:
    """Weights of kinds of structures in the loss from ``kind=weight``; 1 for every other."""
    return {"Default": 1.0} | {kind: float(weight) for kind, weight in (item.split("=") for item in given)}


def continue_from(checkpoint: Path, out: Path, seed: int, lr: float) -> None:
    """Give a new training the parameters and moments of an earlier one, with its own schedule of learning rates."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=False)
    state["lr_scheduler"] = {}
    for group in state["optimizer"]["param_groups"]:
        group["lr"] = group["initial_lr"] = lr
    folder = out / "checkpoints"
    folder.mkdir(exist_ok=True)
    torch.save(state, folder / f"{MODEL_NAME}_run-{seed}_epoch-0.pt")


def save_in_double_precision(trained: Path, path: Path) -> None:
    """The trained model with float64 parameters, on the CPU."""
    model = torch.load(trained, map_location="cpu", weights_only=False).double()
    for parameter in model.parameters():
        parameter.grad = None
    torch.save(model, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--continue-from", type=Path, help="checkpoint of an earlier training")
    parser.add_argument("--stage-two", type=float, default=0.7, help="where energy and stress get their large weights")
    parser.add_argument("--stage-two-energy-weight", type=float, default=1000.0)
    parser.add_argument("--weights", nargs="*", default=[], metavar="KIND=WEIGHT", help="config_type of the structures")
    parser.add_argument("--lr", type=float, default=OPTIMISER["lr"])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    train, valid = split(options.data, options.out)
    environment = os.environ | MALLOC | {"OMP_NUM_THREADS": "1"}
    call = command(train, valid, options)
    if options.continue_from:
        continue_from(options.continue_from, options.out, options.seed, options.lr)
        call.append("--restart_latest")
    subprocess.run(call, env=environment, check=True)
    save_in_double_precision(options.out / f"{MODEL_NAME}_stagetwo.model", options.out / "final.model")


if __name__ == "__main__":
    main()
