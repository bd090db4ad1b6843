"""Distribution of fragments over jobs."""

from __future__ import annotations

import numpy as np

from aiida_mbetrain.science.reference_labels.fragments import Fragments

COST_EXPONENT = 3.0
"""Of the time of a calculation in its number of electrons: between 2 (tight binding) and 4 (hybrids), MP2 nearly 5."""


def split_by_cost(fragments: Fragments, n_bundles: int) -> list[Fragments]:
    """At most so many bundles of about equal cost; each has its fragments by ascending cost.

    The largest remaining fragment goes to the bundle that has least so far (longest processing time first; Graham,
    SIAM J. Appl. Math. 17 (1969) 416), whose cost is at most 4/3 of the optimum.  Ghosts count as atoms: their basis
    functions cost the same.
    """
    if not len(fragments):
        return []
    costs = np.add.reduceat(fragments.numbers, fragments.offsets[:-1]).astype(np.float64) ** COST_EXPONENT
    loads, owner = np.zeros(min(n_bundles, len(fragments))), np.empty(len(fragments), dtype=np.int64)
    for row in np.argsort(-costs, kind="stable"):
        owner[row] = loads.argmin()
        loads[owner[row]] += costs[row]
    ascending = np.argsort(costs, kind="stable")
    return [fragments.select(ascending[owner[ascending] == bundle]) for bundle in range(len(loads))]
