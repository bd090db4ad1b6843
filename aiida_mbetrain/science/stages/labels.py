"""Labels of the baseline model: energies, forces, stress and features of every configuration."""

from __future__ import annotations

from collections.abc import Sequence

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.progress import Report, silent


def compute_labels(
    sets: Sequence[Configurations], potential: Potential, *, features: bool = True, report: Report = silent
) -> list[Configurations]:
    """The same sets in the same order, labelled in one forward and backward pass per configuration.

    Adds energies (F,) in eV, forces (F, N, 3) in eV/Å, stress (F, 3, 3) in eV/Å³ where periodic, and, with
    ``features``, invariant feature vectors (F, N, D) where the potential has some; one without them labels
    the rest.  Labels that the sets already carry are replaced.  ``report`` counts atoms.
    Raises ElementsNotInModel before anything is evaluated; OutOfMemory when one configuration does not fit.
    """
    for part in sets:
        potential.require_elements(part.numbers)
    return potential.evaluate(sets, features=features and potential.feature_length > 0, report=report)
