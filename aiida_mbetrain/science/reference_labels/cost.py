"""Cost of reference calculations, estimated from a few that are measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from aiida_mbetrain.errors import ReferenceCalculationFailed
from aiida_mbetrain.science.clusters import ClusterSet
from aiida_mbetrain.science.configurations import FloatArray
from aiida_mbetrain.science.molecules import MolecularCrystal
from aiida_mbetrain.science.reference_labels.backends import Backend
from aiida_mbetrain.science.reference_labels.bundles import COST_EXPONENT, fragment_sizes
from aiida_mbetrain.science.reference_labels.fragments import Fragments
from aiida_mbetrain.science.reference_labels.many_body_expansion import expand
from aiida_mbetrain.settings import ReferenceLabels

DISTINCT = 1.2
"""Ratio of two sizes from which their times tell an exponent."""

EXPONENTS = (1.0, 7.0)
"""From linear scaling to CCSD(T): what a fit to a few times may give."""


@dataclass(frozen=True)
class CostEstimate:
    """Time of all fragments on the machine that measured.

    total_s: seconds.  exponent: of the time in the size of a fragment.  n_measured: calculations behind it.
    fitted: False where the sizes that were measured do not tell an exponent and a typical one is used.
    largest_s: time of the largest fragment.
    """

    total_s: float
    largest_s: float
    exponent: float
    n_measured: int
    fitted: bool


def estimate_cost(fragments: Fragments, backend: Backend, *, budget_s: float = 60.0) -> CostEstimate:
    """Measure one fragment of each size, smallest first, until the budget is spent, and extrapolate.

    The time follows a power of the size, fitted to the largest two that differ; a size is measured as long as what was
    measured so far lets expect that it fits into the budget.  The first calculation also loads the program: it is made
    twice and counts once.  A size that exceeds the memory ends the measurement.  Raises what the program raises for the
    fragment, and InvalidSettings as ``Backend.check``.
    """
    backend.check(fragments)
    sizes = fragment_sizes(fragments)
    distinct, first = np.unique(sizes, return_index=True)
    try:
        backend.evaluate(fragments[int(first[0])])
    except MemoryError as error:
        raise ReferenceCalculationFailed(
            f"{backend.package}: the memory of this machine does not suffice for the smallest fragment ({error})."
        ) from error
    measured: list[tuple[float, float]] = []
    spent = 0.0
    for size, row in zip(distinct.tolist(), first.tolist(), strict=True):
        if measured and spent + measured[-1][1] * (size / measured[-1][0]) ** COST_EXPONENT > budget_s:
            break
        begin = perf_counter()
        try:
            backend.evaluate(fragments[row])
        except MemoryError:
            break  # the machine of the jobs may have more
        measured.append((size, perf_counter() - begin))
        spent += measured[-1][1]
    exponent, fitted = _exponent(measured)
    size, seconds = measured[-1]
    times: FloatArray = seconds * (sizes / size) ** exponent
    return CostEstimate(float(times.sum()), float(times.max()), exponent, len(measured), fitted)


def _exponent(measured: list[tuple[float, float]]) -> tuple[float, bool]:
    """Exponent between the largest size and the next smaller one that differs clearly; a typical one without."""
    largest, longest = measured[-1]
    for size, seconds in reversed(measured[:-1]):
        if largest / size >= DISTINCT and seconds > 0:
            return float(np.clip(np.log(longest / seconds) / np.log(largest / size), *EXPONENTS)), True
    return COST_EXPONENT, False


def cluster_costs(
    sets: Mapping[str, ClusterSet], crystals: Mapping[str, MolecularCrystal], settings: ReferenceLabels, exponent: float
) -> dict[str, FloatArray]:
    """Cost of labelling each frame of each set, (F,), that of the cheapest of all being 1.

    The cost of a fragment is its number of electrons to the power of the exponent; a cluster's is the sum of those of
    its fragments, each counted once.  Raises InvalidSettings as :func:`expand`.
    """
    expansion = expand(sets, crystals, settings)
    of_fragments = fragment_sizes(expansion.fragments) ** exponent
    costs = {
        name: np.array([of_fragments[np.unique(rows)].sum() for rows in cluster.rows])
        for name, cluster in expansion.clusters.items()
    }
    cheapest = min(values.min() for values in costs.values())
    return {name: values / cheapest for name, values in costs.items()}
