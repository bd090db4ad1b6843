"""Demo crystal and small MACE model, with which the whole workflow runs on a laptop in minutes.

Hexamethylenetetramine stays a crystal at room temperature, has one molecule of 22 atoms in its primitive cell
and real phonons.  The model imitates GFN1-xTB; MODEL_CARD.md lists its errors and limits.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["ROOM_TEMPERATURE", "crystal", "model_card_path", "model_path"]

ROOM_TEMPERATURE = 1.05
"""Volume of the crystal at 298.15 K over that at its minimum: the mean of 1 ps of dynamics with the demo model."""

NAME = "hexamethylenetetramine"
_FOLDER = Path(__file__).parent


def crystal(volume_ratio: float = 1.0) -> Atoms:
    """The primitive cell at the minimum of GFN1-xTB: 22 atoms, N, C and H in this order, one molecule.

    volume_ratio: volume over that of the minimum; the molecule keeps its geometry.
    """
    from ase import Atoms
    from ase.geometry import find_mic
    from ase.io import read

    cell = read(_FOLDER / f"{NAME}.cif", primitive_cell=True, subtrans_included=False)
    assert isinstance(cell, Atoms)
    order = (-cell.numbers).argsort(kind="stable")
    found = Atoms(cell.numbers[order], cell.positions[order], cell=cell.cell, pbc=True)
    if volume_ratio != 1.0:
        # the centre of the molecule is at the origin: the nearest images of its atoms are the whole molecule
        whole, _ = find_mic(found.positions, found.cell, found.pbc)
        found.set_cell(found.cell.array * volume_ratio ** (1 / 3))
        found.positions = whole
    return found


def model_path() -> Path:
    """The demo model, a MACE .model file of less than 1 MB (float64; elements H, C, N)."""
    return _FOLDER / f"{NAME}.model"


def model_card_path() -> Path:
    """Method, errors, limits and sha256 of the demo model."""
    return _FOLDER / "MODEL_CARD.md"
