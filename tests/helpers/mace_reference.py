"""Labels by MACE's own calculator, and their comparison with ours."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from aiida_mbetrain.science.configurations import Configurations

LABELS = ("energies", "forces", "stress", "features")


def mace_calculator(path: Path, **options: Any) -> Any:
    """A MACECalculator on the CPU, in double precision unless said otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mace.calculators import MACECalculator

        return MACECalculator(path, device="cpu", **({"default_dtype": "float64"} | options))


def reference(path: Path, part: Configurations, **options: Any) -> Configurations:
    """Labels by MACECalculator, one frame and one property at a time."""
    calculator, labels = mace_calculator(path, **options), {name: [] for name in LABELS}
    for atoms in part.to_atoms():
        atoms.calc = calculator
        labels["energies"].append(atoms.get_potential_energy())
        labels["forces"].append(atoms.get_forces())
        labels["features"].append(calculator.get_descriptors(atoms, invariants_only=True, num_layers=-1))
        if part.periodic:
            labels["stress"].append(atoms.get_stress(voigt=False))
    return part.with_(**{name: np.array(values) for name, values in labels.items() if values})


def assert_same_labels(actual: Configurations, expected: Configurations, tolerance: float) -> None:
    """Equal to ``tolerance`` relative to the largest component of each label."""
    for name in LABELS:
        value, wanted = getattr(actual, name), getattr(expected, name)
        assert (value is None) == (wanted is None), name
        if wanted is not None:
            scale = np.abs(wanted).max()
            assert scale > 0
            np.testing.assert_allclose(value, wanted, rtol=0, atol=tolerance * scale, err_msg=name)
