"""Evaluation of the potential: MACE inference, or an ASE calculator by name."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiida_mbetrain.settings.base import Count, Finite, NonNegative, Settings

FeaturesDtype = Literal["float32", "float64"]


class Inference(Settings):
    """Evaluation of the potential; ``default_dtype``, ``device`` and ``head`` as in MACECalculator."""

    default_dtype: Literal["float64", "float32"] = Field(
        "float64", description="Floating-point precision of the model."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Compute device; auto takes CUDA where there is one."
    )
    kernels: Literal["auto", "e3nn", "fused", "cueq"] = Field(
        "auto",
        description="What computes a MACE model's tensor products: e3nn as in its file; fused, the same sums with "
        "less memory traffic; cueq, NVIDIA's cuEquivariance. auto: fused on a CPU; on CUDA cueq where it is installed "
        "and computes this model, else e3nn.",
    )
    head: str | None = Field(None, description="Head of a multi-head model; None takes the model's default.")
    features: Literal["all", "clusters", "none"] = Field(
        "all",
        description="Which configurations get feature vectors: periodic frames and clusters, clusters, none.",
    )
    features_dtype: FeaturesDtype = Field(
        "float32", description="Floating-point precision in which feature vectors are stored."
    )
    max_features_GB: NonNegative | None = Field(
        10.0,
        description="Size (10⁹ bytes) of all feature vectors of a stage above which they are left out, with a warning; "
        "None stores any size.",
    )
    batch_atoms: Count | None = Field(None, description="Atoms per batch; None chooses by device.")
    tune_malloc: bool = Field(
        True, description="On glibc, keep large tensors on the heap: same numbers, half the CPU time."
    )


class NamedCalculator(Settings):
    """An ASE calculator in place of a MACE model: for tests and for users without MACE."""

    name: Literal["lennard_jones", "morse", "emt", "tblite"] = Field(
        description="One of the calculators that the project knows."
    )
    parameters: dict[str, Finite | int | str | bool] = Field({}, description="Keyword arguments of the calculator.")
