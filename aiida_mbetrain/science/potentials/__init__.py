"""Potentials: energies, forces, stress and features of batches of configurations.

PyTorch and MACE are imported by the functions that need them: importing this package takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aiida_mbetrain.science.potentials.ase import AsePotential, named_calculator
from aiida_mbetrain.science.potentials.base import Potential, WrappedPotential
from aiida_mbetrain.science.potentials.batches import CPU_BATCH_ATOMS
from aiida_mbetrain.science.potentials.none import NoPotential
from aiida_mbetrain.science.potentials.sum import SumPotential
from aiida_mbetrain.settings import Inference, JsonObject

__all__ = [
    "CPU_BATCH_ATOMS",
    "AsePotential",
    "NoPotential",
    "Potential",
    "SumPotential",
    "WrappedPotential",
    "inspect_mace",
    "load_mace",
    "mace_atomic_energies",
    "named_calculator",
    "rewrite_atomic_energies",
    "select_head",
    "write_foundation",
]


def load_mace(path: str | Path, inference: Inference | None = None, *, sha256: str | None = None) -> Potential:
    """Load the potential of a MACE model file.

    A model file is a pickle, that is, executable code: load only files you trust, and give ``sha256`` (the
    hexadecimal digest on record) so that another file is refused before it is unpickled.
    Raises NotAModel, ModelHashMismatch, DeviceNotAvailable, InvalidSettings (no such head).
    """
    from aiida_mbetrain.science.potentials.mace import MacePotential

    return MacePotential.load(Path(path), inference or Inference(), sha256=sha256)


def inspect_mace(path: str | Path) -> JsonObject:
    """Metadata of a MACE model file, as plain values.

    elements (chemical symbols), r_max (Å), num_interactions, dtype, heads, and mace_version: the version of
    the installed package, for the file does not record its own.  Unpickles the file; raises NotAModel.
    """
    from aiida_mbetrain.science.potentials.mace import inspect_model

    return inspect_model(Path(path))


def mace_atomic_energies(path: str | Path, *, head: str | None = None, sha256: str | None = None) -> dict[int, float]:
    """The E0s in a MACE model file: atomic number -> energy of the isolated atom, eV.

    Unpickles the file; with ``sha256`` only that one.  Raises NotAModel, ModelHashMismatch, InvalidSettings (no such
    head).
    """
    from aiida_mbetrain.science.potentials.mace import atomic_energies

    return atomic_energies(Path(path), head, sha256)


def rewrite_atomic_energies(path: str | Path, energies: Mapping[str, Mapping[int, float]], target: str | Path) -> None:
    """Write a MACE model with other energies of isolated atoms (head -> atomic number -> eV) to ``target``, in float64.

    Such energies are large beside what the model learns: single precision would round them by more than its error.
    Unpickles the file; raises NotAModel.
    """
    from aiida_mbetrain.science.potentials.mace import rewrite_atomic_energies as rewrite

    rewrite(Path(path), energies, Path(target))


def select_head(path: str | Path, head: str, target: str | Path) -> None:
    """Write the model of one head of a MACE model to ``target``, in float64.

    Unpickles the file; raises NotAModel.
    """
    from aiida_mbetrain.science.potentials.mace import select_head as select

    select(Path(path), head, Path(target))


def write_foundation(path: str | Path, target: str | Path, *, head: str | None = None, dtype: str = "float64") -> None:
    """Write one head of a MACE model as MACE fine-tunes it, with energies of isolated atoms of zero.

    Unpickles the file; raises NotAModel, InvalidSettings (no such head).
    """
    from aiida_mbetrain.science.potentials.mace import write_foundation as write

    write(Path(path), Path(target), head=head, dtype=dtype)
