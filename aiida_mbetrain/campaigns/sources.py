"""Crystals and models of a campaign that are files; those of a profile are in ``nodes``."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
from ase.utils.structure_comparator import SymmetryEquivalenceCheck

from aiida_mbetrain.campaigns.refusals import Refusals
from aiida_mbetrain.campaigns.settings import CrystalEntry, check_name
from aiida_mbetrain.errors import InvalidSettings, UnreadableFile
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.io import read_frames
from aiida_mbetrain.science.molecules import check_structure
from aiida_mbetrain.settings import NamedCalculator, to_stored_precision

STRUCTURE_SUFFIXES = (".cif", ".xyz", ".extxyz", ".vasp", ".poscar", ".res", ".gen", ".in", ".json")
"""Files of a folder that are taken for structures."""
SAME_VOLUME = 1e-3
"""Relative difference of volumes per atom from which on two crystals are different without a closer look."""


def digest(facts: object) -> str:
    """sha256 of plain values; numbers as a stored node keeps them, so that a file and its node agree."""
    return hashlib.sha256(json.dumps(_plain(facts), sort_keys=True).encode()).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return to_stored_precision(float(value) + 0.0)  # -0.0 and 0.0 are one number
    return value


def crystal_digest(frame: Configurations) -> str:
    """Digest of atoms, isotopes and cell of a crystal."""
    assert frame.cells is not None
    isotopes = [] if frame.isotope_masses is None else [frame.isotope_masses]
    return digest([frame.numbers, frame.cells[0], frame.positions[0], *isotopes])


@dataclass(frozen=True, eq=False)
class Crystal:
    """A crystal of a campaign.

    source: its file, or its node as ``<pk>``.  uuid: of its node, where it has one.
    """

    name: str
    configurations: Configurations
    source: str
    uuid: str | None = None

    @cached_property
    def digest(self) -> str:
        """Of atoms and cell; the same for a file and for the node made of it."""
        return crystal_digest(self.configurations)

    @property
    def formula(self) -> str:
        """Chemical formula of the cell."""
        return str(self.configurations.to_atoms()[0].get_chemical_formula())


@dataclass(frozen=True)
class Model:
    """A model of a campaign.

    identity: ``{"sha256": ...}`` of a MACE model, ``{"name": ..., "parameters": ...}`` of a calculator.
    elements: atomic numbers that it knows; None: any, or unknown here.
    path: of a model file that is not registered.  uuid: of its node, where it has one.
    """

    name: str
    identity: Mapping[str, object]
    elements: frozenset[int] | None = None
    path: Path | None = None
    uuid: str | None = None

    @property
    def calculator(self) -> NamedCalculator | None:
        """The named calculator; None for a MACE model."""
        return None if "sha256" in self.identity else NamedCalculator(**self.identity)


def files_of(entry: CrystalEntry, folder: Path) -> list[Path]:
    """The structure files of an entry, sorted within each of its patterns.

    Raises UnreadableFile for a file, glob or folder that gives none.
    """
    found: list[Path] = []
    for pattern in entry.files or ():
        path = folder / Path(pattern).expanduser()
        if path.is_dir():
            matches = sorted(p for p in path.iterdir() if p.is_file() and _is_structure(p))
            if not matches:
                raise UnreadableFile(
                    f"The folder {pattern} has no structure file ({', '.join(STRUCTURE_SUFFIXES)}): put one there, or "
                    "name the files."
                )
        elif path.is_file() or not any(character in pattern for character in "*?["):
            matches = [path]
        else:
            root, *parts = Path(path).parts
            matches = sorted(p for p in Path(root).glob(str(Path(*parts))) if p.is_file())
            if not matches:
                raise UnreadableFile(f"{pattern} matches no file in {folder.resolve()}: correct the pattern.")
        found += matches
    return list(dict.fromkeys(found))


def _is_structure(path: Path) -> bool:
    return path.suffix.lower() in STRUCTURE_SUFFIXES or path.name.startswith(("POSCAR", "CONTCAR"))


def crystals_of_files(entry: CrystalEntry, folder: Path, refusals: Refusals) -> list[Crystal]:
    """The crystals of an entry of files; what cannot be read is refused."""
    files: list[Path] = []
    with refusals.about(", ".join(entry.files or ())):
        files = files_of(entry, folder)
        if entry.name is not None and len(files) != 1:
            raise InvalidSettings(f"name = {entry.name!r} is for one crystal, these are {len(files)}: leave it out.")
    found = []
    for path in files:
        name = entry.name or path.stem
        with refusals.about(name):
            [atoms] = read_frames(path, what="one structure as cif, xyz or POSCAR", index="-1:")
            found.append(checked_crystal(name, Configurations.from_atoms(atoms), str(path)))
    return found


def checked_crystal(name: str, configurations: Configurations, source: str, uuid: str | None = None) -> Crystal:
    """A crystal with a usable name and a periodic structure.  Raises InvalidSettings, InvalidStructure."""
    try:
        check_name(name)
    except ValueError as error:
        raise InvalidSettings(f"{error}: give the entry of {source} a `name`.") from None
    check_structure(configurations)
    return Crystal(name, configurations, source, uuid)


def refuse_doubles(crystals: Iterable[Crystal], refusals: Refusals) -> None:
    """Two crystals of one name, and one crystal under two names."""
    by_name: dict[str, list[Crystal]] = defaultdict(list)
    by_formula: dict[str, list[Crystal]] = defaultdict(list)
    for crystal in crystals:
        by_name[crystal.name].append(crystal)
        by_formula[_reduced_formula(crystal)].append(crystal)
    for name, same in by_name.items():
        if len(same) > 1:
            sources = ", ".join(crystal.source for crystal in same)
            refusals.add(name, f"{len(same)} crystals have this name ({sources}): give all but one another `name`.")
    for candidates in by_formula.values():
        for first, second in itertools.combinations(candidates, 2):
            if first.name != second.name and is_same_crystal(first.configurations, second.configurations):
                refusals.add(
                    f"{first.name}, {second.name}",
                    f"{first.source} and {second.source} are the same crystal: leave one of them out.",
                )


def _reduced_formula(crystal: Crystal) -> str:
    return str(crystal.configurations.to_atoms()[0].symbols.formula.reduce()[0])


def _isotopes(frame: Configurations) -> list[tuple[float, Fraction]]:
    """Masses with their shares of the atoms, whatever the size of the cell."""
    masses, counts = np.unique(frame.masses, return_counts=True)
    return [(float(m), Fraction(int(n), frame.n_atoms)) for m, n in zip(masses, counts, strict=True)]


def is_same_crystal(first: Configurations, second: Configurations) -> bool:
    """True for structures that differ by their cell, origin, orientation or order of atoms alone."""
    if _isotopes(first) != _isotopes(second):
        return False
    volumes = [frame.volumes[0] / frame.n_atoms for frame in (first, second)]
    if abs(volumes[0] - volumes[1]) > SAME_VOLUME * volumes[0]:
        return False
    # ASE's tolerances are meant for structures from different relaxations; polymorphs can be closer than that.
    check = SymmetryEquivalenceCheck(
        angle_tol=0.1, ltol=SAME_VOLUME, stol=SAME_VOLUME, vol_tol=SAME_VOLUME, to_primitive=True
    )
    return bool(check.compare(first.to_atoms()[0], second.to_atoms()[0]))


def model_of_file(name: str, source: str | NamedCalculator, folder: Path) -> Model:
    """A model that needs no profile: a file or a named calculator.

    Raises UnreadableFile, NotAModel, UnknownCalculator.
    """
    from aiida_mbetrain.science.potentials import inspect_mace, named_calculator

    if isinstance(source, NamedCalculator):
        return Model(name, source.to_dict(), named_calculator(source).elements)
    path = folder / Path(source).expanduser()
    if not path.is_file():
        raise UnreadableFile(f"{source} is no file: give a model file, or the pk or uuid of a registered model.")
    from ase.data import atomic_numbers

    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    elements = frozenset(atomic_numbers[symbol] for symbol in inspect_mace(path)["elements"])
    return Model(name, {"sha256": sha256}, elements, path.resolve())
