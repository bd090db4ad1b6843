"""Recording of frames and thermodynamic series during a molecular dynamics run."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from ase import Atoms, units

from aiida_mbetrain.science.configurations import (
    DYNAMICAL_MASSES,
    ISOTOPE_MASSES,
    PER_FRAME,
    AnyArray,
    Configurations,
    FloatArray,
)
from aiida_mbetrain.science.io import GrowingArray
from aiida_mbetrain.science.molecular_dynamics.cached_calculator import Results
from aiida_mbetrain.settings import ClassicalMD, FeaturesDtype

SERIES = (
    "time_fs", "temperature_K", "pressure_GPa", "volume_A3",
    "potential_energy_eV", "kinetic_energy_eV", "conserved_energy_eV",
)  # fmt: skip

POINTS_PER_FRAME = 10


@dataclass(frozen=True)
class Schedule:
    """Steps of a run, counted from 0 = the start.

    n_steps: in total, equilibration included.  sampling_steps: between stored frames.
    equilibration_steps: frames are stored after these.  series_steps: between points of the series.
    """

    time_step_fs: float
    n_steps: int
    sampling_steps: int
    equilibration_steps: int

    @classmethod
    def from_settings(cls, settings: ClassicalMD) -> Self:
        """The settings' times in steps; they are whole multiples of the time step."""
        times = (settings.time_total_fs, settings.sampling_interval_fs, settings.time_equilibration_fs)
        return cls(settings.time_step_fs, *(round(time / settings.time_step_fs) for time in times))

    @property
    def series_steps(self) -> int:
        """A tenth of the sampling interval, at least one step: 10^5 steps per 100 frames become 10^3 points."""
        return max(1, self.sampling_steps // POINTS_PER_FRAME)

    def stores_frame(self, step: int) -> bool:
        """At multiples of the sampling interval, after the equilibration."""
        return step % self.sampling_steps == 0 and step > self.equilibration_steps

    @property
    def n_frames(self) -> int:
        """Frames that a whole run stores."""
        return self.n_steps // self.sampling_steps - self.equilibration_steps // self.sampling_steps

    def records(self, step: int) -> bool:
        """At multiples of ``series_steps`` and of the sampling interval, from step 0."""
        return step % self.series_steps == 0 or step % self.sampling_steps == 0


class Recorder:
    """Records of a run, which grow by one entry at a time; many frames lie in files."""

    def __init__(
        self, atoms: Atoms, schedule: Schedule, masses: FloatArray, features_dtype: FeaturesDtype | None = None
    ) -> None:
        """atoms: the ones that move, with their momenta.  masses: of their elements and isotopes, (N,), amu.

        features_dtype: None leaves features as they come.
        """
        self._atoms = atoms
        self._masses = {ISOTOPE_MASSES: masses}
        if not np.array_equal(atoms.get_masses(), masses):
            self._masses[DYNAMICAL_MASSES] = atoms.get_masses()
        self._schedule = schedule
        self._features_dtype = features_dtype
        self._series = {name: array("d") for name in SERIES}
        self._frames = defaultdict[str, GrowingArray](GrowingArray)

    def temperature(self, kinetic_energy_eV: float) -> float:
        """Temperature (K) of 3N - 3 degrees of freedom."""
        return 2.0 * kinetic_energy_eV / ((3 * len(self._atoms) - 3) * units.kB)

    def record(self, step: int, results: Results, conserved_energy_eV: float) -> None:
        """Append a point of the series and, where the schedule stores one, a frame.

        results: of the evaluation of the current geometry, see :class:`.cached_calculator.SinglePass`.
        """
        kinetic = self._atoms.get_kinetic_energy()
        volume = self._atoms.get_volume() if self._atoms.pbc.all() else np.nan
        point = (
            step * self._schedule.time_step_fs, self.temperature(kinetic),
            _pressure_GPa(results.get("stress"), kinetic, volume), volume,
            results["energy"], kinetic, conserved_energy_eV,
        )  # fmt: skip
        for name, value in zip(SERIES, point, strict=True):
            self._series[name].append(float(value))
        if self._schedule.stores_frame(step):
            self._store_frame(step, results)

    def _store_frame(self, step: int, results: Results) -> None:
        atoms = self._atoms
        frame: dict[str, object] = {
            "positions": atoms.get_positions(),
            "velocities": atoms.get_velocities() * units.fs,
            "energies": results["energy"],
            "forces": results["forces"],
            "md_step": step,
            "time_fs": step * self._schedule.time_step_fs,
        }
        if atoms.pbc.all():
            frame["cells"] = atoms.cell.array.copy()
        if "stress" in results:
            frame["stress"] = results["stress"][[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
        if "features" in results:
            frame["features"] = np.array(results["features"], dtype=self._features_dtype)
        for name, value in frame.items():
            self._frames[name].append(np.asarray(value)[None])

    def frames(self) -> Configurations:
        """The stored frames; none of them before the equilibration is over."""
        n, numbers, masses = len(self._atoms), self._atoms.numbers, self._masses
        if not self._frames:
            empty = np.zeros((0, n, 3))
            cells = np.zeros((0, 3, 3)) if self._atoms.pbc.all() else None
            return Configurations(numbers, empty, cells, velocities=empty, origin=_origin([], []), **masses)
        values = {name: self._frames[name].array() for name in PER_FRAME if name in self._frames}
        origin = _origin(self._frames["md_step"].array(), self._frames["time_fs"].array())
        return Configurations(numbers, **values, origin=origin, **masses)

    def series(self) -> dict[str, FloatArray]:
        """The series so far, see :data:`SERIES`."""
        return {name: np.array(values, dtype=np.float64) for name, values in self._series.items()}

    def last_point(self) -> dict[str, float]:
        """The latest point of the series."""
        return {name: values[-1] for name, values in self._series.items()}

    def rows(self) -> dict[str, AnyArray]:
        """All that is recorded, one entry per record, by names such as ``series.time_fs`` and ``frames.positions``."""
        series = {f"series.{name}": values for name, values in self.series().items()}
        return series | {f"frames.{name}": values.array() for name, values in self._frames.items()}

    def restore(self, rows: Mapping[str, Sequence[Any] | AnyArray]) -> None:
        """Take over what an earlier part of the run has recorded, the inverse of :meth:`rows`."""
        for key, values in rows.items():
            kind, _, name = key.partition(".")
            if kind == "series":
                self._series[name] = array("d", np.asarray(values, dtype=np.float64).tolist())
            elif len(values):
                self._frames[name] = GrowingArray()
                self._frames[name].append(np.asarray(values))


def _origin(steps: Sequence[int] | AnyArray, times: Sequence[float] | AnyArray) -> dict[str, AnyArray]:
    return {"md_step": np.array(steps, dtype=np.int64), "time_fs": np.array(times, dtype=np.float64)}


def _pressure_GPa(stress: FloatArray | None, kinetic_energy_eV: float, volume_A3: float) -> float:
    """2K/3V less the mean of the potential's normal stress; nan without a stress."""
    if stress is None:
        return float("nan")
    return float((2.0 * kinetic_energy_eV / (3.0 * volume_A3) - stress[:3].sum() / 3.0) / units.GPa)
