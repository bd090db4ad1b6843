"""Datasets of carbon dioxide for reports: molecules, clusters and origins are real, energies and features made up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from crystals import carbon_dioxide
from numpy.typing import NDArray

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.layout import from_dataset
from aiida_mbetrain.datasets.model import (
    Dataset,
    MDSection,
    Modes,
    Molecules,
    PhononSection,
    QuasiHarmonicSection,
)
from aiida_mbetrain.datasets.tree import Group
from aiida_mbetrain.science.clusters import extract_clusters
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecules import MolecularCrystal, detect_molecules
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.settings import FiniteSubsystemFilter


def crystal(repeat: int = 1) -> MolecularCrystal:
    """Four molecules per cell of 5.6 Å."""
    return detect_molecules(Configurations.from_atoms(carbon_dioxide().repeat(repeat)))


def shaken(
    reference: MolecularCrystal, n_frames: int, origin: dict[str, NDArray], *, seed: int, size: float, shift: float,
    features: int | None,
) -> Configurations:  # fmt: skip
    """Frames with random displacements; features are noise around ``shift``."""
    rng = np.random.default_rng(seed)
    shape = (n_frames, reference.n_atoms, 3)
    return Configurations(
        numbers=reference.numbers,
        positions=reference.positions + size * rng.normal(size=shape),
        cells=np.repeat(reference.cell[None], n_frames, axis=0) * (1 + 0.002 * rng.normal(size=(n_frames, 1, 1))),
        energies=-7.0 * reference.n_atoms + rng.normal(size=n_frames),
        forces=rng.normal(size=shape),
        features=None if features is None else shift + rng.normal(size=(n_frames, reference.n_atoms, features)),
        origin=origin,
    )


def molecules_of(
    reference: MolecularCrystal, frames: Configurations, sizes: tuple[int, ...], *, seed: int, shift: float
) -> Molecules:
    """Clusters of every size, labelled."""
    rule = FiniteSubsystemFilter(n_molecules=sizes)
    rng = np.random.default_rng(seed)
    sets = []
    for found in extract_clusters(reference, frames, rule):
        bare = found.configurations
        labels = {"energies": -7.0 * bare.n_atoms + rng.normal(size=bare.n_frames) * 0.1 * bare.n_atoms,
                  "forces": rng.normal(size=bare.positions.shape)}  # fmt: skip
        if frames.features is not None:
            labels["features"] = shift + rng.normal(size=(*bare.positions.shape[:2], frames.features.shape[-1]))
        sets.append(replace(found, configurations=bare.with_(**labels)))
    return Molecules(reference, frames, tuple(sets))


def md_section(
    n_frames: int = 12, *, sizes: tuple[int, ...] = (1, 2, 3), features: int | None = 4, root_key: str = "training/md",
    drifting: bool = False, ensemble: str = "NPT", repeat: int = 1,
) -> MDSection:  # fmt: skip
    """Dynamics whose series is white noise, with a drift of the volume where asked for."""
    reference = crystal(repeat)
    rng = np.random.default_rng(5)
    times = np.arange(0.0, 100.0 * (n_frames + 5) + 1, 10.0)
    steps = (600 + 100 * np.arange(n_frames)).astype(np.int64)
    origin = {"md_step": steps, "time_fs": steps * 1.0}
    frames = shaken(reference, n_frames, origin, seed=1, size=0.05, shift=0.0, features=features)
    n_atoms = reference.n_atoms
    noise = {name: rng.normal(size=len(times)) for name in ("T", "p", "V", "E", "K", "H")}
    volume = abs(np.linalg.det(reference.cell)) * (1 + 0.002 * noise["V"] + (2e-5 * times if drifting else 0.0))
    columns = {
        "time_fs": times,
        "temperature_K": 200.0 + 5 * noise["T"],
        "kinetic_energy_eV": 0.5 + 0.01 * noise["K"],
        "potential_energy_eV": n_atoms * (-7.0 + 0.001 * noise["E"]),
        "conserved_energy_eV": n_atoms * (-6.9 + 1e-6 * noise["H"]),
    }
    if ensemble == "NPT":
        columns |= {"pressure_GPa": 0.1 * noise["p"], "volume_A3": volume}
    return MDSection(
        root_key=root_key,
        ensemble=ensemble,
        temperature_K=200.0,
        pressure_GPa=0.0 if ensemble == "NPT" else None,
        time_equilibration_fs=500.0,
        trajectory=frames.with_(velocities=0.01 * rng.normal(size=frames.positions.shape)),
        series=Table(columns),
        molecules=molecules_of(reference, frames, sizes, seed=2, shift=0.0) if sizes else None,
        provenance={"trajectory": {"process_uuid": "aaaa0000-md", "model_sha256": "ab" * 32}},
    )


def phonon_section(
    n_frames: int = 8, *, sizes: tuple[int, ...] = (1, 2, 3), features: int | None = 4, shift: float = 0.0,
    n_imaginary: int = 0,
) -> PhononSection:  # fmt: skip
    """Frames along two modes."""
    reference = crystal()
    half = n_frames // 2
    origin = {
        "q_index": np.zeros(n_frames, dtype=int),
        "q_point": np.tile([0.0, 0.5, 0.0], (n_frames, 1)),
        "mode": np.repeat([4, 7], half),
        "frequency_THz": np.repeat([1.25, 2.5], half),
        "amplitude": np.linspace(-1.5, 1.5, n_frames),
        "mode_frame": np.tile(np.arange(half), 2),
    }
    frames = shaken(reference, n_frames, origin, seed=3, size=0.02, shift=shift, features=features)
    return PhononSection(
        root_key="training/phonons",
        temperature_K=150.0,
        statistics="quantum",
        modes=Modes(
            q_points=np.tile([0.0, 0.5, 0.0], (2, 1)),
            mode_indices=np.array([4, 7]),
            frequencies_THz=np.array([1.25, 2.5]),
            sigmas=np.array([0.4, 0.2]),
            mode_amplitudes=np.linspace(-1.5, 1.5, 2 * half).reshape(half, 2),
        ),
        molecules=molecules_of(reference, frames, sizes, seed=4, shift=shift),
        n_imaginary=n_imaginary,
    )


def expansion_section() -> QuasiHarmonicSection:
    """A relaxed crystal, and F(V) of parabolas whose minimum moves with temperature; the hottest has none."""
    reference = crystal()
    relaxed = Configurations(
        reference.numbers, reference.positions[None], cells=reference.cell[None],
        energies=np.array([-84.0]), forces=np.full((1, reference.n_atoms, 3), 1e-5),
    )  # fmt: skip
    temperatures = np.array([0.0, 50.0, 100.0, 150.0, 200.0, 250.0])
    minima = np.array([170.0, 170.8, 172.0, 173.5, 175.4, np.nan])
    volumes, curve = np.linspace(164, 178, 6), np.linspace(164, 178, 50)
    centre = np.where(np.isfinite(minima), minima, 181.0)[:, None]
    falling = -0.01 * temperatures[:, None] - 5.0

    def energy(v: NDArray) -> NDArray:
        return 0.02 * (v[None] - centre) ** 2 + falling

    curves = Table(
        {
            names.T_COLUMN: temperatures,
            names.V_SAMPLED: np.tile(volumes, (6, 1)),
            names.F_SAMPLED: energy(volumes),
            names.V_INTERP: np.tile(curve, (6, 1)),
            names.F_INTERP: energy(curve),
            names.V_MIN: minima,
            names.F_MIN: np.where(np.isfinite(minima), falling[:, 0], np.nan),
        }
    )
    kept = slice(0, 5)
    equilibrium = Table(
        {
            names.T_COLUMN: temperatures[kept],
            names.V_EOS: minima[kept],
            names.B_EOS: np.linspace(9.0, 7.0, 5),
            names.F_VIB_CRYSTAL: np.linspace(40.0, 30.0, 5),
            names.S_VIB_CRYSTAL: np.linspace(0.0, 80.0, 5),
            names.C_V_VIB_CRYSTAL: np.linspace(0.0, 60.0, 5),
        }
    )
    return QuasiHarmonicSection(
        root_key="training/expansion",
        structures={"crystal[opt:atoms,shape]": relaxed},
        thermodynamics_equilibrium_volume=equilibrium,
        eos_interpolated=curves,
    )


def campaign_trees() -> list[Group]:
    """Two crystals at 200 and 300 K; the hotter member of the second failed.  Names need care in pages and links."""
    members = [(name, at) for name in ("co2", "ice #2 & <b>") for at in (200.0, 300.0)]
    finished = [("finished", "")] * 3 + [("failed", "md_sampling: [450] moved")]
    trees = [
        from_dataset(
            Dataset((replace(md_section(6), root_key=f"{name}/lj/{at:g}K_0GPa/md_sampling", temperature_K=at),))
        )
        for (name, at), (state, _) in zip(members, finished, strict=True)
        if state == "finished"
    ]
    columns = {
        "crystal": [name for name, _ in members],
        "model": ["lj"] * len(members),
        "state": [state for state, _ in finished],
        "reason": [reason for _, reason in finished],
    }
    table = Group(
        attributes={names.DATACLASS: "CampaignMembers", "campaign": "made up", "n_members": len(members)},
        datasets={name: np.array(values, dtype=object) for name, values in columns.items()}
        | {names.T_COLUMN: np.array([at for _, at in members]), names.PRESSURE: np.zeros(len(members))},
    )
    return [*trees, Group(groups={names.MEMBERS: table})]


def carbon_dioxide_dataset(**changes: object) -> Dataset:
    """Dynamics, phonons and thermal expansion; changes go to the section of dynamics."""
    sections = (md_section(**changes), expansion_section(), phonon_section())  # type: ignore[arg-type]
    provenance = {"aiida_mbetrain": "0.1.0", "crystal_formula": "C4O8", "crystal_uuid": "cccc0000-crystal"}
    return Dataset(sections, provenance=provenance)
