"""The file of a campaign as members, each a crystal and model at a temperature and pressure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.inspection import sections_of
from aiida_mbetrain.datasets.tree import Group
from aiida_mbetrain.science.configurations import FloatArray

G_PER_CM3 = 1.66053906660
"""u/Å³ in g/cm³."""
CONDITION = re.compile(r"(?P<value>[-+.\deE]+)(?P<unit>K|GPa)")


@dataclass(frozen=True)
class Member:
    """One row of the table of members."""

    crystal: str
    model: str
    temperature_K: float
    pressure_GPa: float
    state: str
    reason: str

    @property
    def condition(self) -> str:
        """``298.15 K, 0.0001 GPa``."""
        return f"{self.temperature_K:.10g} K, {self.pressure_GPa:.10g} GPa"

    @property
    def file_name(self) -> str:
        """``urea_mace_298.15K_0.0001GPa.html``."""
        return f"{self.crystal}_{self.model}_{self.temperature_K:.10g}K_{self.pressure_GPa:.10g}GPa.html"


def is_campaign(root: Group) -> bool:
    """True for the tree of a campaign's file."""
    return names.MEMBERS in root.groups


def members(root: Group) -> list[Member]:
    """All members of the campaign, finished or not."""
    table = root[names.MEMBERS]
    columns = [table.array(name).tolist() for name in ("crystal", "model", names.T_COLUMN, names.PRESSURE)]
    states = [table.array(name).tolist() for name in ("state", "reason")]
    return [Member(*row) for row in zip(*columns, *states, strict=True)]


def part_of(root: Group, member: Member) -> Group:
    """The tree of a member alone: its dynamics, and the phonons and force constants that it shares with others."""
    part = Group(provenance={name: value for name, value in root.provenance.items() if not isinstance(value, list)})
    for path, section in _sections(root, member):
        part.put(path, section)
        part.provenance |= {name: said for name, said in section.provenance.items() if name.startswith("crystal_")}
    return part


def _sections(root: Group, member: Member) -> Iterator[tuple[str, Group]]:
    wanted = {"K": member.temperature_K, "GPa": member.pressure_GPa}
    for path, section in sections_of(root):
        crystal, model, *condition, _ = path.split("/")
        said = [match for text in condition for match in CONDITION.finditer(text)]
        if (crystal, model) == (member.crystal, member.model) and all(
            float(match["value"]) == float(f"{wanted[match['unit']]:.10g}") for match in said
        ):
            yield path, section


@dataclass(frozen=True)
class Results:
    """Numbers of a member; None where its file has none.

    volume_A3: of a molecule, the mean of the kept dynamics.  density_g_per_cm3: of the same frames.
    lattice_energy_kJ_per_mol: of a molecule, without vibrations.
    """

    volume_A3: float | None = None
    density_g_per_cm3: float | None = None
    lattice_energy_kJ_per_mol: float | None = None


def results(part: Group, temperature_K: float) -> Results:
    """Numbers of the tree of a member."""
    volume: float | None = None
    density: float | None = None
    lattice: float | None = None
    for _, section in sections_of(part):
        kind = section.attributes[names.SECTION]
        if kind == "md_sampling" and names.MOLECULAR_CRYSTAL in section:
            cell = _mean_volume(section)
            masses = section[f"{names.MOLECULAR_CRYSTAL}/{names.REFERENCE}"].array(names.MASSES)
            volume = cell / section[names.MOLECULAR_CRYSTAL].integer(names.N_MOLECULES)
            density = float(masses.sum()) / cell * G_PER_CM3
        elif kind == "quasi_harmonic":
            lattice = _lattice_energy(section, temperature_K)
    return Results(volume, density, lattice)


def _mean_volume(section: Group) -> float:
    """Mean volume of the supercell after equilibration, Å³."""
    series = section[names.TIME_SERIES]
    per_atom: FloatArray = series.array(names.VOLUME)
    start = float(section[names.TRAJECTORY].attributes[names.TIME_EQUILIBRATION])  # type: ignore[arg-type]
    return float(per_atom[series.array(names.TIME) > start].mean()) * series.integer(names.N_ATOMS)


def _lattice_energy(section: Group, temperature_K: float) -> float | None:
    column = names.SUBLIMATION["E_lattice_kJ_per_mol"]
    for place in (names.THERMODYNAMICS_EQUILIBRIUM_VOLUME, names.THERMODYNAMICS_FIXED_VOLUME):
        table = section.groups.get(place)
        if table is not None and column in table.datasets:
            nearest = int(np.abs(table.array(names.T_COLUMN) - temperature_K).argmin())
            return float(table.array(column)[nearest])
    return None
