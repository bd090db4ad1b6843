"""Greedy choice of clusters to label: what lowers the uncertainty most for its cost, one after the other.

A label at features x lowers the covariance of two energies i, j by k_ix k_jx / (1 + k_xx) (Sherman & Morrison, Ann.
Math. Stat. 21 (1950) 124, for α = 1), whatever its value is; so near duplicates of a chosen cluster are not chosen.
The criterion ``variance_reduction`` is the sum of these reductions over all candidates (Cohn, Ghahramani & Jordan,
J. Artif. Intell. Res. 4 (1996) 129), ``uncertainty`` the standard deviation of the candidate alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aiida_mbetrain.science.configurations import FloatArray, IntArray
from aiida_mbetrain.settings import Criterion

REDUCTION = "variance_reduction"


@dataclass(frozen=True, eq=False)
class Choice:
    """n clusters in the order of the choice.

    rows: of the candidates, (n,).  variances: at the time of the choice and for α = 1, (n,).  costs: (n,).
    """

    rows: IntArray
    variances: FloatArray
    costs: FloatArray


def choose_greedily(
    vectors: FloatArray,
    costs: FloatArray,
    n_molecules: IntArray,
    count: int,
    *,
    budget: float | None = None,
    criterion: Criterion = "variance_reduction",
    rng: np.random.Generator,
) -> Choice:
    """At most ``count`` candidates, the best by criterion and cost first, with a sum of costs within the budget.

    vectors: (F, D), see ``FeatureUncertainty.vectors``.  n_molecules: (F,); energies count per molecule.
    rng: for ``criterion = "random"``, which knows neither uncertainty nor cost.
    """
    weights = 1.0 / n_molecules.astype(np.float64) ** 2
    left = np.ones(len(vectors), dtype=bool)
    rows: list[int] = []
    variances: list[float] = []
    current, spent = vectors, 0.0
    order = rng.permutation(len(vectors))
    while len(rows) < count:
        affordable = left if budget is None else left & (spent + costs <= budget * (1 + 1e-12))
        if not affordable.any():
            break
        squares = np.sum(current**2, axis=1)
        if criterion == "random":
            row = int(next(row for row in order if affordable[row]))
        else:
            if criterion == REDUCTION:
                moments = current.T @ (weights[:, None] * current)
                gain = np.einsum("fd,de,fe->f", current, moments, current, optimize=True) / (1.0 + squares)
            else:
                gain = np.sqrt(squares) / n_molecules
            row = int(np.argmax(np.where(affordable, gain / costs, -1.0)))
        rows.append(row)
        variances.append(squares[row])
        left[row], spent = False, spent + costs[row]
        current = with_label(current, current[row])
    chosen = np.array(rows, dtype=np.int64)
    return Choice(chosen, np.array(variances, dtype=np.float64), costs[chosen])


def with_label(vectors: FloatArray, labelled: FloatArray) -> FloatArray:
    """The vectors (F, D) after a label at one of them, (D,).

    The square root of 1 - z zᵀ / (1 + z·z) is 1 - (1 - 1 / sqrt(1 + z·z)) z zᵀ / z·z.
    """
    square = float(labelled @ labelled)
    if square == 0.0:
        return vectors
    factor = (1.0 - 1.0 / np.sqrt(1.0 + square)) / square
    return np.asarray(vectors - np.outer(factor * (vectors @ labelled), labelled))
