"""Small MACE models with random weights (every code path of a real model, in a second) and distorted frames."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mbetrain.science.configurations import Configurations

ELEMENTS = (1, 6, 7)


def save_random_mace(
    path: Path,
    *,
    elements: Sequence[int] = ELEMENTS,
    channels: int = 4,
    max_l: int = 0,
    heads: Sequence[str] = ("Default",),
    num_interactions: int = 2,
    scale_shift: bool = True,
    r_max: float = 4.0,
    atomic_energy: float = -10.123,
    seed: int = 1,
    interaction: str = "RealAgnosticResidualInteractionBlock",
    interaction_first: str = "RealAgnosticInteractionBlock",
    **architecture: Any,
) -> Path:
    """Write a MACE model with random weights in float64; the atomic energies differ by element and head.

    architecture: further arguments of ``mace.modules.MACE``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mace.modules  # before e3nn, whose import fails otherwise
        import torch
        from e3nn import o3

        default_dtype = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                irreps = o3.Irreps(" + ".join(f"{channels}x{l}{'eo'[l % 2]}" for l in range(max_l + 1)))  # noqa: E741
                energies = atomic_energy * np.arange(1, len(elements) + 1) - np.arange(len(heads))[:, None]
                common = {
                    "r_max": r_max,
                    "num_bessel": 4,
                    "num_polynomial_cutoff": 5,
                    "max_ell": 2,
                    "interaction_cls": getattr(mace.modules.blocks, interaction),
                    "interaction_cls_first": getattr(mace.modules.blocks, interaction_first),
                    "num_interactions": num_interactions,
                    "num_elements": len(elements),
                    "hidden_irreps": irreps,
                    "MLP_irreps": o3.Irreps("8x0e"),
                    "atomic_energies": energies,
                    "avg_num_neighbors": 8.0,
                    "atomic_numbers": list(elements),
                    "correlation": 2,
                    "gate": torch.nn.functional.silu,
                    "radial_MLP": [8, 8],
                    "heads": list(heads),
                } | architecture
                if scale_shift:
                    scales = np.ones(len(heads)) if len(heads) > 1 else 1.0
                    model = mace.modules.ScaleShiftMACE(
                        **common, atomic_inter_scale=scales, atomic_inter_shift=0.1 * scales
                    )
                else:
                    model = mace.modules.MACE(**common)
                torch.save(model, path)
        finally:
            torch.set_default_dtype(default_dtype)
    return path


def rattled(atoms: Atoms, n_frames: int, seed: int, amplitude: float = 0.05) -> Configurations:
    """Frames of the atoms with normally distributed displacements (Å)."""
    frames = Configurations.from_atoms([atoms] * n_frames)
    noise = np.random.default_rng(seed).normal(scale=amplitude, size=frames.positions.shape)
    return frames.with_(positions=frames.positions + noise)
