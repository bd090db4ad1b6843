"""Model files and configurations that several tests of the potentials share."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import molecule
from models import rattled, save_random_mace

from aiida_mbetrain.science.configurations import Configurations


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model files by what is particular about them."""
    folder = tmp_path_factory.mktemp("models")
    variants = {
        "scalar": {},
        "vector": {"max_l": 1},
        "two_heads": {"heads": ("dft", "Default")},
        "unscaled": {"scale_shift": False},
    }
    return {name: save_random_mace(folder / f"{name}.model", **options) for name, options in variants.items()}


@pytest.fixture
def small_sets() -> list[Configurations]:
    """Finite and periodic sets of different sizes; the cell is triclinic and shorter than the cutoff."""
    crystal = molecule("NH3", cell=[[5.0, 0, 0], [1.0, 4.2, 0], [0.4, 0.3, 3.6]], pbc=True)
    return [
        rattled(molecule("CH3CN"), 5, 1),
        rattled(crystal, 3, 2),
        rattled(molecule("H2"), 4, 3),
        rattled(crystal.repeat((2, 1, 1)), 2, 4),
    ]


@pytest.fixture(autouse=True, scope="module")
def functions_of_e3nn_stay_as_they_are():
    """A call of a MACE model outside this package lets TorchScript rewrite functions that all models of a process
    share, and the last bits of everything computed afterwards in this process would differ.
    """
    import torch

    with torch.jit.optimized_execution(False):
        yield
