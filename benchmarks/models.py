"""The models that are timed: the demo model, and one of the size of MACE-OFF small with random weights."""

from __future__ import annotations

import io
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aiida_mbetrain.demo import model_path
from aiida_mbetrain.science.potentials import Potential, load_mace
from aiida_mbetrain.settings import Inference

NUMBERS = [1, 6, 7, 8]


def model_files(folder: Path) -> dict[str, Path]:
    """The models by name."""
    return {"demo": model_path(), "large": _large_model(folder)}


class Potentials(NamedTuple):
    """One model with its default kernels, with those of MACE itself, and in single precision."""

    name: str
    path: Path
    device: str
    default: Potential
    e3nn: Potential
    single: Potential

    def with_kernels(self, kernels: str) -> Potential:
        """The model with the kernels of that name."""
        return load_mace(self.path, Inference(device=self.device, kernels=kernels))


def load(name: str, path: Path, device: str) -> Potentials:
    """On the CPU or on CUDA."""
    default, e3nn, single = (
        load_mace(path, Inference(device=device, **options))
        for options in ({}, {"kernels": "e3nn"}, {"default_dtype": "float32"})
    )
    return Potentials(name, path, device, default, e3nn, single)


def _large_model(folder: Path) -> Path:
    """96 invariant channels, 2 layers, correlation 3, cutoff 4.5 Å, as MACE-OFF small; its weights are random."""
    path = folder / "large.model"
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        _save_random(path)
    return path


def _save_random(path: Path) -> None:
    import mace.modules  # before e3nn, whose import fails otherwise
    import torch
    from e3nn import o3

    torch.manual_seed(0)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        model = mace.modules.ScaleShiftMACE(
            r_max=4.5,
            num_bessel=8,
            num_polynomial_cutoff=5,
            max_ell=3,
            interaction_cls=mace.modules.RealAgnosticResidualInteractionBlock,
            interaction_cls_first=mace.modules.RealAgnosticInteractionBlock,
            num_interactions=2,
            num_elements=len(NUMBERS),
            hidden_irreps=o3.Irreps("96x0e"),
            MLP_irreps=o3.Irreps("16x0e"),
            atomic_energies=np.zeros(len(NUMBERS)),
            avg_num_neighbors=20.0,
            atomic_numbers=NUMBERS,
            correlation=3,
            gate=torch.nn.functional.silu,
            radial_MLP=[64, 64, 64],
            atomic_inter_scale=1.0,
            atomic_inter_shift=0.0,
        )
        torch.save(model, path)
    finally:
        torch.set_default_dtype(default)
