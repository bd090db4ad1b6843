"""Files of structures that ASE reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from ase import Atoms
from ase.io import read
from ase.io.cif import parse_cif
from ase.io.formats import filetype
from ase.utils import string2index

from aiida_mbetrain.errors import InvalidStructure, MbetrainError, UnreadableFile
from aiida_mbetrain.science.site_occupancies import require_ordered_atoms, require_ordered_sites

DEUTERON_MASS = 2.01355
"""Mass that ASE gives to the symbol D of a CIF: that of the nucleus alone (u)."""
DEUTERIUM_MASS = 2.01410178
"""Of the atom (u): AME2020, Wang et al., Chinese Phys. C 45, 030003 (2021)."""


class ReadOptions(TypedDict, total=False):
    """Of ``ase.io.read``."""

    index: str
    format: str


def read_frames(path: str | Path, *, what: str, **options: Unpack[ReadOptions]) -> list[Atoms]:
    """The frames of a file; ``what`` it should be is said in the error, ``options`` are those of ``ase.io.read``.

    The symbol D of a CIF is hydrogen of the mass of deuterium.
    Raises UnreadableFile for a file that is not there, has no frames or that ASE cannot read; InvalidStructure, naming
    the site, for partial, shared or unknown occupancies.
    """
    if not Path(path).is_file():
        raise UnreadableFile(f"{path} does not exist or is not a file: give {what}.")
    try:
        kind = str(options.get("format") or filetype(str(path)))
        if kind == "cif":
            _require_ordered_cif(path, options.get("index", -1))
        if kind in ("xyz", "extxyz"):
            _require_whole_xyz(path)
        found = read(path, **options)
        frames = [found] if isinstance(found, Atoms) else list(found)
        for atoms in frames:
            require_ordered_atoms(atoms)
    except InvalidStructure as error:
        raise InvalidStructure(f"{path}: {error}") from None
    except MbetrainError:
        raise
    except Exception as error:  # ASE's readers raise anything from ValueError to AssertionError
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableFile(f"ASE cannot read {path} ({reason}): give {what}.") from error
    if not frames:
        raise UnreadableFile(f"{path} has no frames: give {what}.")
    return [_with_mass_of_deuterium(atoms) for atoms in frames]


def _require_ordered_cif(path: str | Path, index: object) -> None:
    """Check the occupancies of the blocks that will be read, under the labels of the file."""
    with Path(path).open("rb") as file:
        blocks = [block for block in parse_cif(file) if block.has_structure()]
    where: Any = string2index(index) if isinstance(index, str) else index
    for block in blocks[where] if isinstance(where, slice) else [blocks[where]]:
        occupancies = block.get("_atom_site_occupancy")
        if occupancies is not None:
            labels = block.get("_atom_site_label") or block.get_symbols()
            require_ordered_sites([str(label) for label in labels], occupancies)


def _require_whole_xyz(path: str | Path) -> None:
    """Raise UnreadableFile for a frame that announces more atoms than the file has lines: ASE would count to them."""
    lines = Path(path).read_text("utf-8", errors="replace").split("\n")
    start = 0
    while start < len(lines) and lines[start].strip().isdigit():
        n_atoms = int(lines[start]) if len(lines[start]) < 20 else len(lines)
        if n_atoms > len(lines) - start - 2:
            raise UnreadableFile(f"{path} is cut off: line {start + 1} announces more atoms than there are lines.")
        start += n_atoms + 2
        while start < len(lines) and lines[start].startswith("VEC"):
            start += 1


def _with_mass_of_deuterium(atoms: Atoms) -> Atoms:
    if atoms.has("masses"):
        masses = atoms.get_masses()
        masses[(atoms.numbers == 1) & np.isclose(masses, DEUTERON_MASS, rtol=0, atol=1e-6)] = DEUTERIUM_MASS
        atoms.set_masses(masses)
    return atoms
