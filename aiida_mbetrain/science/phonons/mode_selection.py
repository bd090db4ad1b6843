"""Table of the real normal modes of a supercell, and their selection by a filter."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from aiida_mbetrain.errors import NoModesSelected, SelectedModesOutOfRange
from aiida_mbetrain.science.configurations import FloatArray, IntArray
from aiida_mbetrain.science.phonons.normal_modes import NormalModes
from aiida_mbetrain.science.phonons.q_points import to_fractions
from aiida_mbetrain.settings import PhononFilter

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ModeTable:
    """One row per real normal mode, ordered by q-point and mode.

    pair: which of the diagonalised q-points, (n,).
    sine: whether the row is the sine wave, listed under -q, (n,).
    q_index: number of the q-point among all, opposites included, (n,).
    numerators: q-point as integers over N, (n, 3).
    mode: 0-based, ascending in frequency at each q-point, (n,).
    frequency: THz, (n,).
    translation: True for the three uniform translations at Γ, (n,).
    """

    pair: IntArray
    sine: BoolArray
    q_index: IntArray
    numerators: IntArray
    mode: IntArray
    frequency: FloatArray
    translation: BoolArray

    @classmethod
    def of(cls, modes: list[NormalModes], n_cells: int) -> ModeTable:
        """All modes of the q-points and their opposites."""
        waves = [(i, sine) for i, at_q in enumerate(modes) for sine in (False, True)[: 2 - at_q.self_conjugate]]
        pairs, sines = np.array(waves).T
        numerators = np.array([modes[i].numerators * (1 - 2 * sine) for i, sine in waves]) % n_cells
        n_modes = len(modes[0].frequencies_THz)
        return cls(
            pair=np.repeat(pairs, n_modes),
            sine=np.repeat(sines.astype(bool), n_modes),
            q_index=np.repeat(np.arange(len(waves)), n_modes),
            numerators=np.repeat(numerators, n_modes, axis=0),
            mode=np.tile(np.arange(n_modes), len(waves)),
            frequency=np.concatenate([modes[i].frequencies_THz for i in pairs]),
            translation=np.concatenate([modes[i].translation for i in pairs]),
        )

    @property
    def imaginary(self) -> BoolArray:
        return (self.frequency < 0) & ~self.translation

    def rows(self, mask: BoolArray) -> ModeTable:
        return ModeTable(**{f.name: getattr(self, f.name)[mask] for f in fields(self)})


def select_modes(table: ModeTable, phonon_filter: PhononFilter, n_cells: int) -> BoolArray:
    """Rows that pass the filter; uniform translations and imaginary modes never do."""
    if phonon_filter.selected_modes is not None:
        return _select_by_index(table, phonon_filter.selected_modes, n_cells)
    low, high = phonon_filter.freq_min_THz, phonon_filter.freq_max_THz or np.inf
    selected = (table.frequency > low) & (table.frequency < high) & ~table.translation
    if not selected.any():
        real = np.sort(table.frequency[~table.translation])
        found = f"from {real[0]:.3f} to {real[-1]:.3f} THz (negative: imaginary)" if len(real) else "none"
        raise NoModesSelected(
            f"No mode lies between freq_min_THz = {low} and freq_max_THz = {phonon_filter.freq_max_THz}; frequencies "
            f"at the q-points of k_point_mesh = {phonon_filter.k_point_mesh}: {found}. Widen the window or "
            "choose a denser mesh."
        )
    return selected


def _select_by_index(table: ModeTable, selected_modes: tuple[int, ...], n_cells: int) -> BoolArray:
    n_modes = int(table.mode.max()) + 1
    if max(selected_modes) > n_modes:
        raise SelectedModesOutOfRange(
            f"selected_modes contains {max(selected_modes)}, but there are {n_modes} modes at each q-point "
            "(three times the number of atoms in the primitive cell)."
        )
    selected = np.isin(table.mode + 1, selected_modes)
    for forbidden, what in ((table.translation, "a uniform translation"), (table.imaginary, "imaginary")):
        clash = np.flatnonzero(selected & forbidden)
        if len(clash):
            q = to_fractions(table.numerators[clash[0]], n_cells)
            raise SelectedModesOutOfRange(
                f"selected_modes contains {table.mode[clash[0]] + 1}, which at q = ({q[0]:.4g}, {q[1]:.4g}, "
                f"{q[2]:.4g}) is {what} (frequency {table.frequency[clash[0]]:.3f} THz) and has no thermal amplitude. "
                "Leave it out, or select by frequency window."
            )
    return selected


def count_below_window(table: ModeTable, phonon_filter: PhononFilter) -> int:
    if phonon_filter.selected_modes is not None:
        return 0
    below = (table.frequency <= phonon_filter.freq_min_THz) & ~table.imaginary & ~table.translation
    return int(below.sum())
