"""Containers of a dataset: sections made of science objects, with provenance.

Units are those of the objects (total eV, Å, fs).  Every section has

provenance: attributes by the path of a group inside the section, for instance
    ``{"": {...}, "trajectory": {"process_uuid": ...}, "finite_subsystems/n=3": {...}}``; values are strings,
    numbers or lists of strings, and None is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Self

import numpy as np

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.tree import Provenance
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.clusters import ClusterSet
from aiida_mbetrain.science.configurations import Configurations, FloatArray, IntArray
from aiida_mbetrain.science.molecules import MolecularCrystal
from aiida_mbetrain.science.phonons import BandStructure, ForceConstants, PhononFrames
from aiida_mbetrain.science.tables import Table

__all__ = ["ClusterReference", "Dataset", "MDSection", "Modes", "Molecules", "PhononSection", "QuasiHarmonicSection"]


@dataclass(frozen=True, eq=False)
class ClusterReference:
    """Labels of the F frames of a cluster set by a reference method, beside those of the baseline.

    level_of_theory: such as ``PBE-D4/def2-SVP[order=3,vmfc]``.  method_hash: of program, method and parameters.
    energies: (F,), total, eV; NaN for a frame without a label.
    forces: (F, N, 3), eV/Å; None where the method gives energies alone.
    interaction: (F,), eV, energies less those of the molecules; None for clusters that were labelled whole.
    missing: ids of the missing fragments of each frame, separated by blanks, (F,); empty where none is.
    """

    level_of_theory: str
    method_hash: str
    energies: FloatArray
    forces: FloatArray | None
    interaction: FloatArray | None
    missing: tuple[str, ...]

    @property
    def n_labelled(self) -> int:
        """Frames with a label."""
        return int(np.count_nonzero(np.isfinite(self.energies)))


@dataclass(frozen=True, eq=False)
class Molecules:
    """The molecular view of a section's frames.

    crystal: molecules of the reference structure.
    frames: the frames the clusters were cut from, every molecule whole.
    clusters: one set per cluster size, each with the frames of one cluster.
    references: labels by reference methods, by key of the cluster and level of theory.
    """

    crystal: MolecularCrystal
    frames: Configurations
    clusters: tuple[ClusterSet, ...] = ()
    references: Mapping[str, Mapping[str, ClusterReference]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        keys = [clusters.cluster.key for clusters in self.clusters]
        if len(set(keys)) != len(keys):
            raise InvalidSettings(f"Cluster keys must differ within a section, got {', '.join(keys)}.")


@dataclass(frozen=True, eq=False)
class MDSection:
    """Molecular dynamics at one temperature and pressure.

    trajectory: the stored frames as the run left them, with cells, energies, forces and velocities, and with
        ``time_fs`` in their origin.
    series: columns ``time_fs``, ``temperature_K``, ``kinetic_energy_eV`` and more from t = 0; for NPT also
        ``pressure_GPa``.  Holds a row for every frame.
    pressure_GPa: None for NVT.
    """

    root_key: str
    ensemble: str
    temperature_K: float
    pressure_GPa: float | None
    time_equilibration_fs: float
    trajectory: Configurations
    series: Table
    molecules: Molecules | None = None
    provenance: Mapping[str, Provenance] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.ensemble == "NPT") != (self.pressure_GPa is not None):
            raise InvalidSettings(f"ensemble = {self.ensemble!r} with pressure_GPa = {self.pressure_GPa}: NPT has one.")
        needed = ("cells", "energies", "forces", "velocities")
        missing = [name for name in needed if getattr(self.trajectory, name) is None]
        missing += [] if "time_fs" in self.trajectory.origin else ["time_fs in origin"]
        columns = ["time_fs", "temperature_K", "kinetic_energy_eV"] + ["pressure_GPa"] * (self.ensemble == "NPT")
        missing += [f"{column} in series" for column in columns if column not in self.series.columns]
        if missing:
            raise InvalidSettings(f"The trajectory of {self.group} lacks {', '.join(missing)}.")
        if np.any(np.asarray(self.trajectory.origin["time_fs"]) <= self.time_equilibration_fs):
            raise InvalidSettings(
                f"The trajectory of {self.group} has frames of the equilibration: only frames with "
                f"t > time_equilibration_fs = {self.time_equilibration_fs} belong into a dataset."
            )

    @property
    def group(self) -> str:
        """Path of the section in the file."""
        return f"{self.root_key}/{names.md_crystal_name(self.temperature_K, self.pressure_GPa)}"


@dataclass(frozen=True, eq=False)
class QuasiHarmonicSection:
    """Relaxed structures, force constants and derived properties, by name of the crystal (``crystal[opt:atoms]``).

    Tables have the file's column names (``names.V_CRYSTAL`` ...), one row per volume or temperature;
    ``eos_interpolated`` also has two-dimensional columns, (temperatures, volumes).
    """

    root_key: str
    structures: Mapping[str, Configurations] = field(default_factory=dict)
    force_constants: Mapping[str, ForceConstants] = field(default_factory=dict)
    bands: Mapping[str, BandStructure] = field(default_factory=dict)
    thermodynamics_fixed_volume: Table | None = None
    thermodynamics_equilibrium_volume: Table | None = None
    eos_sampled: Table | None = None
    eos_interpolated: Table | None = None
    provenance: Mapping[str, Provenance] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """Path of the section in the file."""
        return self.root_key


@dataclass(frozen=True, eq=False)
class Modes:
    """The n sampled normal modes and the m frames of each.

    q_points: reduced, (n, 3).  mode_indices: 1-based band, (n,).  frequencies_THz: (n,).
    sigmas: thermal standard deviations of the normal coordinates, Å·√amu, (n,).
    mode_amplitudes: displacement along each mode in each of its frames, in units of sigma, (m, n).
    superposed: whether frame i holds all modes at once.
    """

    q_points: FloatArray
    mode_indices: IntArray
    frequencies_THz: FloatArray
    sigmas: FloatArray
    mode_amplitudes: FloatArray
    superposed: bool = False

    @classmethod
    def of(cls, sampled: PhononFrames) -> Self:
        """The mode table of sampled phonons."""
        return cls(**{field.name: getattr(sampled, field.name) for field in fields(cls)})


@dataclass(frozen=True, eq=False)
class PhononSection:
    """Configurations displaced along normal modes.

    frames: displaced supercells; where there are ``molecules`` their frames are what the file keeps, and this
        is None.
    force_constants_key: path in the same file of the force constants the modes belong to; None when the file
        has none.
    n_below_window, n_imaginary, n_repeated_frames: what was left out and what repeats.
    """

    root_key: str
    temperature_K: float
    statistics: str
    modes: Modes
    frames: Configurations | None = None
    molecules: Molecules | None = None
    force_constants_key: str | None = None
    n_below_window: int = 0
    n_imaginary: int = 0
    n_repeated_frames: int = 0
    provenance: Mapping[str, Provenance] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.frames is None) == (self.molecules is None):
            raise InvalidSettings(f"{self.root_key}: give the displaced frames or their molecules, one of the two.")

    @property
    def group(self) -> str:
        """Path of the section in the file."""
        return self.root_key


Section = MDSection | QuasiHarmonicSection | PhononSection


@dataclass(frozen=True, eq=False)
class Dataset:
    """Content of one file.

    provenance: attributes of the file as a whole: structure, settings, package versions.
    """

    sections: tuple[Section, ...] = ()
    provenance: Provenance = field(default_factory=dict)

    @property
    def md(self) -> tuple[MDSection, ...]:
        """The molecular dynamics sections."""
        return tuple(section for section in self.sections if isinstance(section, MDSection))

    @property
    def quasi_harmonic(self) -> tuple[QuasiHarmonicSection, ...]:
        """The quasi-harmonic sections."""
        return tuple(section for section in self.sections if isinstance(section, QuasiHarmonicSection))

    @property
    def phonons(self) -> tuple[PhononSection, ...]:
        """The phonon sampling sections."""
        return tuple(section for section in self.sections if isinstance(section, PhononSection))

    @property
    def cluster_sets(self) -> dict[str, ClusterSet]:
        """Every cluster set by its path in the file, sorted."""
        sampled: list[MDSection | PhononSection] = [*self.md, *self.phonons]
        found = {
            f"{section.group}/{names.FINITE_SUBSYSTEMS}/{clusters.cluster.key}": clusters
            for section in sampled
            if section.molecules is not None
            for clusters in section.molecules.clusters
        }
        return dict(sorted(found.items()))

    @property
    def references(self) -> dict[str, Mapping[str, ClusterReference]]:
        """Labels by reference methods of every cluster set that has some: by its path, then by level of theory."""
        sampled: list[MDSection | PhononSection] = [*self.md, *self.phonons]
        found = {
            f"{section.group}/{names.FINITE_SUBSYSTEMS}/{key}": by_method
            for section in sampled
            if section.molecules is not None
            for key, by_method in section.molecules.references.items()
        }
        return dict(sorted(found.items()))
