"""Labels of fragments by the baseline, for the differences of reference and baseline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.progress import Report, silent
from aiida_mbetrain.science.reference_labels.fragments import Fragments
from aiida_mbetrain.science.reference_labels.labels import FragmentLabels

BASELINE = "baseline"


def baseline_labels(fragments: Fragments, potential: Potential, *, report: Report = silent) -> FragmentLabels:
    """Energies of the real atoms of each fragment; a potential has no basis functions, so ghosts are left out.

    Raises ElementsNotInModel, OutOfMemory.
    """
    parts = [fragments[row] for row in range(len(fragments))]
    frames = [Configurations(part.numbers[~part.ghosts], part.positions[None, ~part.ghosts]) for part in parts]
    energies = [np.asarray(item.energies)[0] for item in potential.evaluate(frames, report=report)]
    return replace(FragmentLabels.empty(fragments, BASELINE), energies=np.array(energies))
