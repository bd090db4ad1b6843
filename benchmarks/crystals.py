"""The crystals whose supercells are chosen."""

from __future__ import annotations

from ase import Atoms
from ase.spacegroup import crystal

from aiida_mbetrain import demo


def urea() -> Atoms:
    """CO(NH2)2, P-42_1m; Swaminathan, Craven & McMullan, Acta Cryst. B40 (1984) 300, neutrons, 12 K."""
    sites = [
        (0.0, 0.5, 0.3260), (0.0, 0.5, 0.5953), (0.1459, 0.6459, 0.1766),
        (0.2575, 0.7575, 0.2827), (0.1441, 0.6441, -0.0380),
    ]  # fmt: skip
    return crystal("CONHH", sites, spacegroup=113, cellpar=[5.565, 5.565, 4.684, 90, 90, 90])


def monoclinic() -> Atoms:
    """The cell of naphthalene at room temperature, P2_1/c, with one atom in general position."""
    return crystal("C", [(0.1, 0.2, 0.3)], spacegroup=14, cellpar=[8.1, 5.95, 8.65, 90, 124, 90])


CRYSTALS = {"hexamethylenetetramine": demo.crystal, "urea": urea, "monoclinic": monoclinic}
