"""Phonon bands along the path through the Brillouin zone."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import seekpath

from aiida_mbetrain.science.configurations import FloatArray
from aiida_mbetrain.science.phonons.force_constants import ForceConstants


@dataclass(frozen=True, eq=False)
class BandStructure:
    """Phonon frequencies along a path through the Brillouin zone, segment by segment.

    qpoints: per segment (k, 3), in the basis of the primitive cell's reciprocal lattice.
    distances: per segment (k,), along the whole path, 1/Å without 2 pi.
    frequencies_THz: per segment (k, 3 N), ascending, negative where imaginary.
    labels: of the special points along the path; segments that connect share one.
    path_connections: per segment, whether the next one starts where it ends.
    """

    qpoints: Sequence[FloatArray]
    distances: Sequence[FloatArray]
    frequencies_THz: Sequence[FloatArray]
    labels: Sequence[str]
    path_connections: Sequence[bool]

    @property
    def min_frequency_THz(self) -> float:
        """Lowest frequency on the path, translations at Γ included."""
        return float(min(np.min(frequencies) for frequencies in self.frequencies_THz))


def band_structure(force_constants: ForceConstants, *, spacing: float = 0.005) -> BandStructure:
    """Bands along seekpath's path for the space group (Hinuma et al., Comput. Mater. Sci. 128, 140 (2017)).

    spacing: largest distance between q-points, 1/Å without 2 pi.
    The path is expressed in the primitive cell as it is, not in the standardised one.
    """
    cells = force_constants.primitive.cells
    assert cells is not None
    fractional = force_constants.primitive.positions[0] @ np.linalg.inv(cells[0])
    numbers = force_constants.primitive.kinds
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of edge cases, such as a tetragonal cell with a = c
        path = seekpath.get_path_orig_cell((cells[0], fractional, numbers))
    segments, distances, start = [], [], 0.0
    for ends in path["path"]:
        first, last = (np.array(path["point_coords"][name]) for name in ends)
        length = float(np.linalg.norm(np.linalg.inv(cells[0]) @ (last - first)))
        fraction = np.linspace(0, 1, max(2, int(np.ceil(length / spacing)) + 1))
        segments.append(first + fraction[:, None] * (last - first))
        distances.append(start + fraction * length)
        start += length
    phonon = force_constants.shared_phonopy
    phonon.run_qpoints(np.concatenate(segments))
    assert phonon.qpoints is not None
    cuts = np.cumsum([len(segment) for segment in segments])[:-1]
    labels, connections = _labels(path["path"])
    return BandStructure(segments, distances, np.split(phonon.qpoints.frequencies, cuts), labels, connections)


def _labels(path: Sequence[tuple[str, str]]) -> tuple[list[str], list[bool]]:
    """Labels of the special points and whether each segment connects to the next, as phonopy lists them."""
    labels, connections = [_label(path[0][0])], []
    for (_, last), following in zip(path, [*path[1:], None], strict=True):
        labels.append(_label(last))
        connections.append(following is not None and following[0] == last)
        if following is not None and not connections[-1]:
            labels.append(_label(following[0]))
    return labels, connections


def _label(name: str) -> str:
    """seekpath's GAMMA, X, X_1, SIGMA_0 as mathtext."""
    letter, _, index = name.partition("_")
    letter = re.sub(r"^(GAMMA|SIGMA|DELTA|LAMBDA)$", lambda greek: "\\" + greek[0].capitalize(), letter)
    letter = letter if letter.startswith("\\") else f"\\mathrm{{{letter}}}"
    return f"${letter}_{{{index}}}$" if index else f"${letter}$"
