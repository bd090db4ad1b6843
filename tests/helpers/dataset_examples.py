"""Datasets of random numbers with every kind of section, for the tests of files."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.model import (
    ClusterReference,
    Dataset,
    MDSection,
    Modes,
    Molecules,
    PhononSection,
    QuasiHarmonicSection,
)
from aiida_mbetrain.science.clusters import Cluster, ClusterSet
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecules import MolecularCrystal
from aiida_mbetrain.science.phonons import BandStructure, ForceConstants
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.science.thermodynamics import force_constants_key

NUMBERS = np.array([6, 8, 8, 8, 1, 1, 18])  # CO2, H2O, Ar
INDEX_MAP = np.array([[0, 1, 2], [3, 4, 5], [6, -1, -1]])
CELL = np.array([[6.0, 0.1, 0.0], [0.2, 6.5, 0.3], [0.0, -0.4, 7.0]])
LABEL = "crystal[opt:atoms,shape]"


def random_frames(
    rng: np.random.Generator,
    numbers: NDArray,
    n_frames: int,
    *,
    cells: NDArray | None = None,
    features: int | None = None,
    origin: dict[str, NDArray] | None = None,
) -> Configurations:
    """Labelled frames, periodic where cells are given, with energies of a usual size."""
    shape = (n_frames, len(numbers), 3)
    return Configurations(
        numbers=numbers,
        positions=rng.normal(size=shape),
        cells=cells,
        energies=-3800.0 + rng.normal(size=n_frames),
        forces=rng.normal(size=shape),
        stress=None if cells is None else rng.normal(size=(n_frames, 3, 3)),
        features=None if features is None else rng.normal(size=(n_frames, len(numbers), features)),
        origin=origin or {},
    )


def molecular_crystal(rng: np.random.Generator) -> MolecularCrystal:
    """Three molecules of different composition in one cell."""
    return MolecularCrystal(
        numbers=NUMBERS,
        positions=rng.normal(size=(7, 3)),
        cell=CELL,
        image_offsets=rng.integers(-1, 2, size=(7, 3)),
        index_map=INDEX_MAP,
        bonds=np.array([[0, 1], [0, 2], [3, 4], [3, 5]]),
        bond_offsets=rng.integers(-1, 2, size=(4, 3)),
        centers_of_mass=rng.normal(size=(3, 3)),
        central_molecule_index=1,
        min_distances_to_central_molecule=np.array([2.9, 0.0, 3.3]),
        max_distances_to_central_molecule=np.array([5.1, 1.6, 4.2]),
        identical_composition=False,
    )


def cluster_set(rng: np.random.Generator, molecules: list[int], key: str, origin: dict[str, NDArray]) -> ClusterSet:
    """The given molecules of the crystal in as many frames as the origin has."""
    atoms = np.concatenate([INDEX_MAP[m][INDEX_MAP[m] >= 0] for m in molecules])
    n_frames = len(next(iter(origin.values())))
    cluster = Cluster(
        key=key,
        molecule_indices=np.array(molecules),
        translations=rng.integers(-1, 2, size=(len(molecules), 3)),
        n_repeated_molecules=len(molecules) - len(set(molecules)),
    )
    frames = random_frames(rng, NUMBERS[atoms], n_frames, features=5, origin=origin)
    return ClusterSet(cluster=cluster, configurations=frames)


def references(sets: list[ClusterSet]) -> dict[str, dict[str, ClusterReference]]:
    """Labels of every pair by two methods: all by one with forces, all but one by one that gives energies alone."""
    (pairs,) = (item for item in sets if item.cluster.key == "n=2")
    frames = pairs.configurations
    assert frames.energies is not None
    assert frames.forces is not None
    whole = ClusterReference("GFN2-xTB", "a1" * 16, frames.energies + 0.5, 2.0 * frames.forces, None, ("",) * 4)
    energies = frames.energies - np.array([1.0, np.nan, 3.0, 4.0])
    missing = ("", "f0 f1", "", "")
    expanded = ClusterReference("MP2/cc-pVDZ[order=2,vmfc]", "b2" * 16, energies, None, 0.01 * energies, missing)
    return {"n=2": {item.level_of_theory: item for item in (whole, expanded)}}


def md_section(rng: np.random.Generator, *, ensemble: str = "NPT", molecules: bool = True) -> MDSection:
    """Four frames of a run whose series has a row every 50 fs."""
    steps = np.array([200, 300, 400, 500])
    origin = {"md_step": steps, "time_fs": steps * 1.0}
    cells = CELL + 0.01 * rng.normal(size=(4, 3, 3))
    frames = random_frames(rng, NUMBERS, 4, cells=cells, features=5, origin=origin)
    times = np.arange(0.0, 501.0, 50.0)
    extensive = ("potential_energy_eV", "kinetic_energy_eV", "conserved_energy_eV", "volume_A3")
    columns = {name: 100 * rng.normal(size=len(times)) for name in (*extensive, "temperature_K", "pressure_GPa")}
    cut = origin | {"frame": np.arange(4), "intact": np.array([True, True, False, True])}
    sets = [cluster_set(rng, [1, 0], "n=2", cut), cluster_set(rng, [1], "n=1", cut)]
    sets.append(cluster_set(rng, [1, 0, 1, 2, 0, 0, 1, 2, 2, 1], "n=10", cut))
    provenance = {
        "": {"process_uuid": "4b0c", "settings": '{"rng_seed": 42}'},
        "trajectory": {"node_uuid": "aa11", "model_sha256": "ff" * 32, "n_steps": 500, "wall_time_s": 1.5},
    }
    if molecules:
        provenance["finite_subsystems/n=2/reference_labels/GFN2-xTB"] = {"programs": ["tblite 0.5.0"]}
        provenance["finite_subsystems/n=2"] = {"node_uuid": "bb22", "input_uuids": ["c", "Γ"], "label": None}
    return MDSection(
        root_key="training/md_sampling",
        ensemble=ensemble,
        temperature_K=298.15,
        pressure_GPa=1e-4 if ensemble == "NPT" else None,
        time_equilibration_fs=100.0,
        trajectory=frames.with_(velocities=0.01 * rng.normal(size=(4, 7, 3)), features=None),
        series=Table({"time_fs": times, **columns}),
        molecules=Molecules(molecular_crystal(rng), frames, tuple(sets), references(sets)) if molecules else None,
        provenance=provenance,
    )


def force_constants(rng: np.random.Generator) -> ForceConstants:
    """Of a supercell twice as long as the primitive cell."""
    primitive = Configurations(NUMBERS, rng.normal(size=(1, 7, 3)), cells=CELL[None])
    doubled = CELL * np.array([[2.0], [1.0], [1.0]])
    supercell = Configurations(np.repeat(NUMBERS, 2), rng.normal(size=(1, 14, 3)), cells=doubled[None])
    return ForceConstants(
        primitive=primitive,
        supercell=supercell,
        supercell_matrix=np.array([[2, 0, 0], [1, 1, 0], [0, 0, 1]]),
        force_constants=rng.normal(size=(14, 14, 3, 3)),
        space_group="P2_1/c",
        acoustic_sum_rule_violation=1.25e-6,
        permutation_asymmetry=3.5e-7,
        n_displacements=42,
        min_frequency_gamma_THz=1.14,
    )


def band_structure(rng: np.random.Generator) -> BandStructure:
    """Two segments of 21 bands, not connected."""
    return BandStructure(
        qpoints=[rng.normal(size=(5, 3)), rng.normal(size=(4, 3))],
        distances=[np.linspace(0, 1, 5), np.linspace(1, 1.5, 4)],
        frequencies_THz=[rng.normal(size=(5, 21)), rng.normal(size=(4, 21))],
        labels=["$\\Gamma$", "X", "Y", "$\\Gamma$"],
        path_connections=[False, False],
    )


def quasi_harmonic_section(rng: np.random.Generator) -> QuasiHarmonicSection:
    """A relaxed structure with its phonons, and tables of a quasi-harmonic run."""
    relaxed = random_frames(rng, NUMBERS, 1, cells=CELL[None])
    fixed = Table(
        {
            names.T_COLUMN: np.array([0.0, 298.15]),
            names.F_VIB_CRYSTAL: rng.normal(size=2),
            names.V_CRYSTAL: np.full(2, 270.0),
            names.RHO_CRYSTAL: np.full(2, 1.3),
            names.N_ATOMS_UNIT_CELL: np.array([7, 7]),
            names.SPACE_GROUP: np.array([14, 14]),
            names.ACOUSTIC_FREQS_REAL: np.array([True, False]),
            names.N_MODES: np.array([189, 189]),
            names.N_LEFT_OUT_MODES: np.array([2, 2]),
            names.SYSTEM_LABEL_CRYSTAL: np.array([LABEL, LABEL], dtype=object),
        }
    )
    curves = Table(
        {
            names.T_COLUMN: np.array([100.0, 200.0, 300.0]),
            names.V_SAMPLED: rng.normal(size=(3, 4)),
            names.F_SAMPLED: rng.normal(size=(3, 4)),
            names.V_INTERP: np.linspace(250, 300, 20),
            names.F_INTERP: rng.normal(size=(3, 20)),
            names.V_MIN: rng.normal(size=3),
            names.F_MIN: rng.normal(size=3),
        }
    )
    return QuasiHarmonicSection(
        root_key="training/quasi_harmonic",
        structures={LABEL: relaxed},
        force_constants={LABEL: force_constants(rng)},
        bands={LABEL: band_structure(rng)},
        thermodynamics_fixed_volume=fixed,
        thermodynamics_equilibrium_volume=fixed,
        eos_sampled=Table({names.V_CRYSTAL: np.array([260.0, 270.0])}),
        eos_interpolated=curves,
        provenance={f"phonons/{LABEL}/force_constants": {"node_uuid": "dd44"}},
    )


def phonon_section(rng: np.random.Generator, *, molecules: bool = True) -> PhononSection:
    """Three modes with two frames each; the supercell is the same in all."""
    origin = {
        "q_index": np.zeros(6, dtype=int),
        "q_point": np.zeros((6, 3)),
        "mode": np.repeat([4, 5, 9], 2),
        "frequency_THz": np.repeat([1.1, 1.3, 4.0], 2),
        "amplitude": rng.normal(size=6),
        "mode_frame": np.tile([0, 1], 3),
        "time_fs": np.tile([0.0, 100.0], 3),
    }
    frames = random_frames(rng, NUMBERS, 6, cells=np.repeat(CELL[None], 6, axis=0), features=5, origin=origin)
    view = Molecules(molecular_crystal(rng), frames, (cluster_set(rng, [1, 1], "r=6.50", origin),))
    return PhononSection(
        root_key="training/phonon_sampling",
        temperature_K=298.15,
        statistics="quantum",
        modes=Modes(
            q_points=np.zeros((3, 3)),
            mode_indices=np.array([4, 5, 9]),
            frequencies_THz=np.array([1.1, 1.3, 4.0]),
            sigmas=rng.uniform(size=3),
            mode_amplitudes=rng.normal(size=(2, 3)),
        ),
        frames=None if molecules else frames,
        molecules=view if molecules else None,
        force_constants_key=force_constants_key("training/quasi_harmonic", LABEL),
        n_below_window=3,
        n_imaginary=1,
        provenance={"": {"process_uuid": "ee55"}}
        | ({"molecular_crystal/supercell": {"node_uuid": "ff66"}} if molecules else {}),
    )


def full_dataset(seed: int = 7) -> Dataset:
    """All sections, in the order of their paths."""
    rng = np.random.default_rng(seed)
    sections = (md_section(rng), phonon_section(rng), quasi_harmonic_section(rng))
    return Dataset(sections=sections, provenance={"structure_uuid": "0123", "versions": ["ase 3.29", "mace 0.3.16"]})


def differences(left: Any, right: Any, where: str = "") -> list[str]:
    """Where two objects differ in value, type or dtype; dataclasses, mappings and sequences are entered."""
    if type(left) is not type(right):
        return [f"{where}: {type(left).__name__} and {type(right).__name__}"]
    if is_dataclass(left):
        pairs = {field.name: (getattr(left, field.name), getattr(right, field.name)) for field in fields(left)}
    elif isinstance(left, dict):
        if left.keys() != right.keys():
            return [f"{where}: {sorted(left)} and {sorted(right)}"]
        pairs = {key: (left[key], right[key]) for key in left}
    elif isinstance(left, list | tuple):
        if len(left) != len(right):
            return [f"{where}: {len(left)} and {len(right)} items"]
        pairs = {str(i): pair for i, pair in enumerate(zip(left, right, strict=True))}
    elif isinstance(left, np.ndarray):
        equal = np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
        same = left.dtype == right.dtype and left.shape == right.shape and equal
        return [] if same else [f"{where}: {left.dtype} {left.shape} and {right.dtype} {right.shape}"]
    else:
        return [] if left == right else [f"{where}: {left!r} and {right!r}"]
    return [found for key, pair in pairs.items() for found in differences(*pair, f"{where}.{key}")]
