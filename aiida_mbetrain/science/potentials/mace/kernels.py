"""Kernels for the tensor products of a MACE model."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Iterator
from importlib.metadata import version

import numpy as np
import torch

from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.configurations import Configurations, FloatArray
from aiida_mbetrain.science.potentials.mace.fused import FusedModules, MaceModule, fuse

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Largest difference of energies and forces between kernels, relative to the largest force: rounding.

In double precision, that of the coupling coefficients of a model that was made in single precision.
"""


def choose_kernels(wanted: str, device: torch.device) -> str:
    """e3nn, fused or cueq, from ``Inference.kernels``; raises InvalidSettings where cuEquivariance is missing.

    On a GPU its kernels too: without them it would fall back to something slower than e3nn.  ``auto`` takes what is
    there.
    """
    needed = ["cuequivariance_torch"] + ["cuequivariance_ops_torch"] * (device.type == "cuda")
    has_cueq = all(importlib.util.find_spec(name) is not None for name in needed)
    if wanted == "auto":
        return "fused" if device.type == "cpu" else "cueq" if has_cueq else "e3nn"
    if wanted == "cueq" and not has_cueq:
        raise InvalidSettings(
            "Inference.kernels = 'cueq' needs the package cuequivariance-torch, and on a GPU its kernels "
            "(cuequivariance-ops-torch-cu12): install them where the model runs, or take 'auto'."
        )
    return wanted


def with_kernels(model: MaceModule, kernels: str, device: torch.device) -> tuple[MaceModule, FusedModules | None]:
    """The model with other kernels and, if they are fused, their handle (else None).

    The model is changed in place, or replaced by one in the same precision.
    """
    if kernels == "fused":
        return model, fuse(model)
    return _with_cueq(model, device), None


@contextlib.contextmanager
def known_modules(kernels: str) -> Iterator[None]:
    """Raise InvalidSettings with the versions where MACE or e3nn lacks a part that the kernels use."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidSettings(
            f"Inference.kernels = {kernels!r} does not know the modules of mace-torch {version('mace-torch')} and e3nn "
            f"{version('e3nn')} ({error}): take 'e3nn', the model's own, or an earlier mace-torch."
        ) from error


def _with_cueq(model: MaceModule, device: torch.device) -> MaceModule:
    """Convert the model to cuEquivariance, as the option enable_cueq of MACECalculator does."""
    from mace.cli.convert_e3nn_cueq import run

    dtype = torch.get_default_dtype()
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MACE's own, and that a CPU has no kernels of cuEquivariance
            return run(model, return_model=True, device=device.type)
    finally:
        torch.set_default_dtype(dtype)  # the conversion leaves that of the model


def probe(numbers: list[int], r_max: float) -> Configurations:
    """Eight atoms of the elements in a cell of the size of the cutoff, on which kernels are compared."""
    edge = max(r_max, 4.0)
    corners = np.stack(np.meshgrid(*[[0.0, 0.5 * edge]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    jitter = np.random.default_rng(0).uniform(-0.3, 0.3, size=corners.shape)
    chosen = np.resize(np.array(numbers)[:: max(1, len(numbers) // 8)], 8)
    return Configurations(chosen, (corners + jitter)[None], cells=edge * np.eye(3)[None])


def require_same(found: Configurations, expected: Configurations, kernels: str, dtype: torch.dtype) -> None:
    """Raise InvalidSettings unless the labels agree to the rounding of their precision."""
    assert expected.forces is not None
    scale = float(np.abs(expected.forces).max()) or 1.0
    changes = [_largest_change(found, expected, name) for name in ("energies", "forces")]
    if not all(change <= TOLERANCE[dtype] * scale for change in changes):  # nor where one is not a number
        raise InvalidSettings(
            f"Inference.kernels = {kernels!r} changes this model: energies of eight atoms by {changes[0]:.2g} eV, "
            f"forces by {changes[1]:.2g} eV/Å. Take 'e3nn', the model's own, or other versions of mace-torch"
            f"{' and cuequivariance-torch' if kernels == 'cueq' else ''}."
        )


def _largest_change(found: Configurations, expected: Configurations, name: str) -> float:
    values: tuple[FloatArray, FloatArray] = getattr(found, name), getattr(expected, name)
    return float(np.abs(values[0] - values[1]).max())
