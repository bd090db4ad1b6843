"""Irreducible q-points of a mesh under some operations of the crystal's point group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aiida_mbetrain.science.configurations import FloatArray, IntArray


def irreducible_mesh(divisions: Sequence[int], rotations: IntArray) -> tuple[FloatArray, IntArray]:
    """Irreducible points of a Γ-centred mesh, Γ first, and how many points of the whole mesh each stands for.

    divisions: three.
    rotations: (n, 3, 3), integers, of a group, acting on columns of fractional coordinates of the cell.  Those that do
        not map the mesh onto itself are not used.  q and -q are always equivalent: force constants are real.
    Returns fractional coordinates in [0, 1), (k, 3), and weights, (k,).
    """
    n = np.asarray(divisions, dtype=np.int64)
    addresses = np.indices([int(length) for length in n]).reshape(3, -1).T
    representative = np.arange(len(addresses))
    for rotation in rotations:
        # q·f is invariant, so that rows of q turn by the inverse of W, which runs over the same group.
        turn = rotation * n / n[:, None]
        whole = np.rint(turn).astype(np.int64)
        if np.abs(turn - whole).max() > 1e-9:
            continue
        for image in (addresses @ whole, -addresses @ whole):
            representative = np.minimum(representative, np.ravel_multi_index((image % n).T, n))
    points, weights = np.unique(representative, return_counts=True)
    return addresses[points] / n, weights
