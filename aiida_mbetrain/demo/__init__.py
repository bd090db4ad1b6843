"""Demo crystal and small MACE model, with which the whole workflow runs on a laptop in minutes.

Hexamethylenetetramine stays a crystal at room temperature, has one molecule of 22 atoms in its primitive cell
and real phonons.  The model imitates GFN1-xTB; MODEL_CARD.md lists its errors and limits.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["crystal", "model_card_path", "model_path"]

NAME = "hexamethylenetetramine"
_FOLDER = Path(__file__).parent


def crystal() -> Atoms:
    """The primitive cell at the minimum of GFN1-xTB: 22 atoms, N, C and H in this order, one molecule."""
    from ase import Atoms
    from ase.io import read

    cell = read(_FOLDER / f"{NAME}.cif", primitive_cell=True, subtrans_included=False)
    assert isinstance(cell, Atoms)
    order = (-cell.numbers).argsort(kind="stable")
    return Atoms(cell.numbers[order], cell.positions[order], cell=cell.cell, pbc=True)


def model_path() -> Path:
    """The demo model, a MACE .model file of less than 1 MB (float64; elements H, C, N)."""
    return _FOLDER / f"{NAME}.model"


def model_card_path() -> Path:
    """Method, errors, limits and sha256 of the demo model."""
    return _FOLDER / "MODEL_CARD.md"
