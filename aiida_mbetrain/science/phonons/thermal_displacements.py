"""Configurations displaced along the normal modes of a crystal, with thermal amplitudes.

Each row of the mode table is one real normal mode of the supercell, labelled by a q-point and a mode index.
Where q and -q differ, the cosine wave of the pair is listed under one of them and the sine wave under the other
(see :mod:`normal_modes`), so that a mesh with n q-points has 3 Np n modes, three of them uniform translations.
A normal coordinate Q of a mode with frequency f has

    <Q²> = σ² = E / (2πf)²,     E = (hf/2) coth(hf / 2kT) (quantum) or kT (classical),

in mass-weighted coordinates, and the displacement of an atom is u = W Q / sqrt(m).

A trajectory (time_propagation) keeps each amplitude at sqrt(2) σ, with a random phase: the time average of Q² is σ².
Superposed modes of equal frequency, such as the two waves of a pair q, -q, would keep their phase difference along a
trajectory, and their cross terms would never average out.  Superposed frames therefore draw all phases anew: their
average is the thermal covariance, and frames are independent.

Random numbers: each mode draws from its own stream, made from ``rng_seed``, the q-point and the mode index.  A mode
gets the same amplitudes whatever other modes are selected and whichever mesh its q-point comes from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
from ase import units
from numpy.typing import NDArray

from aiida_mbetrain.science.configurations import AnyArray, Configurations, FloatArray, IntArray
from aiida_mbetrain.science.constants import EV_PER_THZ
from aiida_mbetrain.science.phonons.force_constants import ForceConstants
from aiida_mbetrain.science.phonons.mode_selection import ModeTable, count_below_window, select_modes
from aiida_mbetrain.science.phonons.normal_modes import NormalModes, PrimitiveLattice, normal_modes
from aiida_mbetrain.science.phonons.q_points import pair_opposite, q_points, to_fractions
from aiida_mbetrain.science.progress import Report, silent
from aiida_mbetrain.settings import PhononSampling

THz = 1e-3 / units.fs
"""In the angular-frequency unit that belongs to eV, Å and amu."""

REPEAT_TOLERANCE = 1e-4
"""Frames repeat where their phases agree to this fraction of a period (below 1e-3 σ in displacement)."""


@dataclass(frozen=True, eq=False)
class PhononFrames:
    """Displaced supercells and the modes they were made from; n modes, m = ``n_frames`` of the settings.

    frames: F supercells, ordered by q-point, mode, frame: F = n m for ``modes="each"``, m for ``"all"``.
        Origin: ``q_index`` (row of the mesh, all q-points counted), ``q_point`` (F, 3), ``mode`` (1-based),
        ``frequency_THz``, ``amplitude`` (Q/σ), ``mode_frame`` (0-based, within the mode) and, for time_propagation
        of single modes, ``time_fs``.  Where all modes are superposed q_index is -1, mode 0, the other three are NaN.
    q_points: fractional coordinates in (-1/2, 1/2] with respect to the primitive reciprocal cell, (n, 3).
    mode_indices: 1-based at each q-point, ascending in frequency, translations included, (n,).
    frequencies_THz: (n,).
    sigmas: standard deviation σ of the normal coordinate, (n,), Å sqrt(amu).
    mode_amplitudes: Q/σ of each mode in each of its m frames, (m, n).
    temperature_K, quantum: temperature and statistics (False: classical) behind the sigmas.
    superposed: whether frame i holds all modes (``modes="all"``).
    n_below_window: real modes left out for a frequency <= freq_min_THz, uniform translations not counted.
    n_imaginary: modes with ω² < 0; never sampled.
    n_repeated_frames: frames equal to an earlier one because time_step_fs is commensurate with the periods, or
        because the even grid passes through the undisplaced crystal in more than one mode.
    """

    frames: Configurations
    q_points: FloatArray
    mode_indices: IntArray
    frequencies_THz: FloatArray
    sigmas: FloatArray
    mode_amplitudes: FloatArray
    temperature_K: float
    quantum: bool
    superposed: bool
    n_below_window: int
    n_imaginary: int
    n_repeated_frames: int

    @cached_property
    def amplitudes(self) -> FloatArray:
        """Q/σ of every mode in every frame, (F, n); for ``modes="each"`` zero outside the frame's own mode."""
        if self.superposed:
            return self.mode_amplitudes
        n_frames, n_modes = self.mode_amplitudes.shape
        dense = np.zeros((n_modes, n_frames, n_modes))
        own = np.arange(n_modes)
        dense[own, :, own] = self.mode_amplitudes.T
        return dense.reshape(-1, n_modes)

    def to_arrays(self) -> dict[str, AnyArray]:
        """Flat arrays: the frames' as they are, the rest under the prefix ``phonon_``."""
        own = {f"phonon_{f.name}": np.asarray(getattr(self, f.name)) for f in fields(self) if f.name != "frames"}
        return self.frames.to_arrays() | own

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """The inverse of :meth:`to_arrays`."""
        own = {f.name: np.asarray(arrays[f"phonon_{f.name}"]) for f in fields(cls) if f.name != "frames"}
        values: dict[str, Any] = {key: value if value.ndim else value.item() for key, value in own.items()}
        return cls(frames=Configurations.from_arrays(arrays), **values)


def thermal_sigma(frequencies_THz: FloatArray, temperature_K: float, *, statistics: str = "quantum") -> FloatArray:
    """Standard deviation of the normal coordinates of harmonic oscillators, Å sqrt(amu), shape as given.

    statistics: ``"quantum"``, E = (hf/2) coth(hf/2kT), or ``"classical"``, E = kT.
    """
    thermal_energy = float(units.kB) * temperature_K
    if statistics == "quantum":
        # E = (hf/2) coth(hf/2kT), from the Bose-Einstein occupation (Wallace, Thermodynamics of Crystals, 1972).
        half_quantum = EV_PER_THZ * frequencies_THz / 2.0
        energy = half_quantum / np.tanh(half_quantum / thermal_energy)
    else:
        energy = np.full_like(frequencies_THz, thermal_energy)
    sigmas: FloatArray = np.sqrt(energy) / (2.0 * np.pi * THz * frequencies_THz)
    return sigmas


def sample_phonons(
    force_constants: ForceConstants, settings: PhononSampling, *, report: Report = silent
) -> PhononFrames:
    """Supercells displaced along the selected normal modes, each by itself or all superposed.

    Raises IncommensurateMesh, NoModesSelected, SelectedModesOutOfRange.
    """
    lattice = PrimitiveLattice.of(force_constants)
    cells = force_constants.primitive.cells
    assert cells is not None
    mesh = q_points(settings.phonon_filter.k_point_mesh, cells[0], force_constants.supercell_matrix)
    modes = normal_modes(force_constants, lattice, pair_opposite(mesh, lattice.n_cells)[0])
    every = ModeTable.of(modes, lattice.n_cells)
    table = every.rows(select_modes(every, settings.phonon_filter, lattice.n_cells))
    sigmas = thermal_sigma(table.frequency, settings.temperature_K, statistics=settings.statistics)
    amplitudes = _draw_amplitudes(table, settings)
    displacements = _displace(modes, table, lattice, amplitudes * sigmas, settings.modes == "all", report)
    return PhononFrames(
        frames=_to_frames(force_constants.supercell, displacements, _origin(table, amplitudes, settings, lattice)),
        q_points=to_fractions(table.numerators, lattice.n_cells),
        mode_indices=table.mode + 1,
        frequencies_THz=table.frequency,
        sigmas=sigmas,
        mode_amplitudes=amplitudes,
        temperature_K=settings.temperature_K,
        quantum=settings.statistics == "quantum",
        superposed=settings.modes == "all",
        n_below_window=count_below_window(every, settings.phonon_filter),
        n_imaginary=int(every.imaginary.sum()),
        n_repeated_frames=_count_repeats(table.frequency, settings),
    )


def _times_fs(settings: PhononSampling) -> FloatArray:
    return settings.time_step_fs * np.arange(settings.n_frames, dtype=np.float64)


def _draw_amplitudes(table: ModeTable, settings: PhononSampling) -> FloatArray:
    """Q/σ of each mode in each of its frames, (n_frames, n)."""
    # One generator per mode, hence a loop: see the note on random numbers at the top.
    keys = np.column_stack([table.numerators, table.mode]).tolist()
    streams = [np.random.default_rng(np.random.SeedSequence(settings.rng_seed, spawn_key=key)) for key in keys]
    n_frames = settings.n_frames
    if settings.amplitude_scan == "time_propagation":
        superposed = settings.modes == "all"
        n_phases = n_frames if superposed else 1
        phases = np.column_stack([stream.uniform(0.0, 2.0 * np.pi, n_phases) for stream in streams])
        if superposed:
            independent: FloatArray = np.sqrt(2.0) * np.cos(phases)
            return independent
        cycles = np.outer(_times_fs(settings), table.frequency) * 1e-3
        waves: FloatArray = np.sqrt(2.0) * np.cos(2.0 * np.pi * cycles + phases)
        return waves
    if settings.amplitude_scan == "thermal":
        return np.column_stack([stream.standard_normal(n_frames) for stream in streams])
    grid = np.linspace(-settings.amplitude_max, settings.amplitude_max, n_frames)
    if settings.modes == "each":
        return np.tile(grid[:, None], (1, len(streams)))
    # Superposed modes must not run through their grids in lock-step: a Latin hypercube.
    return np.column_stack([stream.permutation(grid) for stream in streams])


def _displace(
    modes: list[NormalModes],
    table: ModeTable,
    lattice: PrimitiveLattice,
    coordinates: FloatArray,
    superposed: bool,
    report: Report,
) -> FloatArray:
    """Displacements, (F, Ns, 3), Å.

    coordinates: normal coordinates, (n_frames, n), Å sqrt(amu).
    """
    n_frames, n_modes = coordinates.shape
    shape = (n_frames,) if superposed else (n_modes, n_frames)
    displacements = np.zeros((*shape, len(lattice.site), 3))
    # One q-point at a time: the vectors of all modes at once would need (3 Ns)² numbers.
    q_indices, starts = np.unique(table.q_index, return_index=True)
    for done, rows in enumerate(np.split(np.arange(n_modes), starts[1:]), start=1):
        at_q = modes[table.pair[rows[0]]]
        vectors = at_q.displacements(table.mode[rows], lattice, sine=bool(table.sine[rows[0]]))
        if superposed:
            displacements += np.tensordot(coordinates[:, rows], vectors, axes=1)
        else:
            np.multiply(vectors[:, None], coordinates.T[rows, :, None, None], out=displacements[rows[0] : rows[-1] + 1])
        report(done, len(q_indices))
    return displacements.reshape(-1, len(lattice.site), 3)


def _to_frames(supercell: Configurations, displacements: FloatArray, origin: dict[str, AnyArray]) -> Configurations:
    assert supercell.cells is not None
    return Configurations(
        numbers=supercell.numbers,
        positions=supercell.positions[0] + displacements,
        cells=np.repeat(supercell.cells[:1], len(displacements), axis=0),
        origin=origin,
        isotope_masses=supercell.isotope_masses,
    )


def _origin(
    table: ModeTable, amplitudes: FloatArray, settings: PhononSampling, lattice: PrimitiveLattice
) -> dict[str, AnyArray]:
    """Origin of each frame; see :class:`PhononFrames`."""
    n_frames, n_modes = amplitudes.shape
    superposed = settings.modes == "all"
    in_time = settings.amplitude_scan == "time_propagation" and not superposed
    times = {"time_fs": _times_fs(settings)} if in_time else {}
    per_frame = {"mode_frame": np.arange(n_frames), **times}
    unknown = np.full(n_frames, np.nan)
    if superposed:
        return {
            "q_index": np.full(n_frames, -1),
            "q_point": np.full((n_frames, 3), np.nan),
            "mode": np.zeros(n_frames, dtype=np.int64),
            "frequency_THz": unknown,
            "amplitude": unknown,
            **per_frame,
        }
    per_mode = {
        "q_index": table.q_index,
        "q_point": to_fractions(table.numerators, lattice.n_cells),
        "mode": table.mode + 1,
        "frequency_THz": table.frequency,
    }
    return {
        **{key: np.repeat(value, n_frames, axis=0) for key, value in per_mode.items()},
        "amplitude": amplitudes.T.ravel(),
        **{key: np.tile(value, n_modes) for key, value in per_frame.items()},
    }


def _count_repeats(frequencies_THz: FloatArray, settings: PhononSampling) -> int:
    """Frames equal to an earlier one; see ``PhononFrames.n_repeated_frames``."""
    if settings.modes == "all" or settings.amplitude_scan == "thermal":
        return 0
    if settings.amplitude_scan == "equidistant":
        return 0 if settings.n_frames % 2 == 0 else len(frequencies_THz) - 1
    cycles = np.outer(_times_fs(settings), frequencies_THz) * 1e-3
    returns: NDArray[np.bool_] = np.abs(cycles - np.rint(cycles)) < REPEAT_TOLERANCE
    # What returns after p steps repeats itself in every frame from p on; never to return is p = n_frames.
    never = np.ones((1, returns.shape[1]), dtype=bool)
    first = np.vstack([returns[1:], never]).argmax(axis=0) + 1
    return int((settings.n_frames - first).sum())
