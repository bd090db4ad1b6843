"""Crystals for the tests: published molecular crystals, hypothetical ones, and infinite networks.

Lattice parameters in Å and degrees, fractional coordinates of the asymmetric unit, conventional cells.
Where X-rays leave hydrogen uncertain it is placed by geometry, and the docstring says so.
``test_molecules.py`` checks the intramolecular distances of every crystal here against chemistry.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import Spacegroup, crystal
from ase.spacegroup.spacegroup import spacegroup_from_data
from numpy.typing import NDArray

from aiida_mbetrain.science.configurations import Configurations, FloatArray

P21A = ("x,y,z", "-x,-y,-z", "1/2+x,1/2-y,z", "1/2-x,1/2+y,-z")
P21N = ("x,y,z", "-x,-y,-z", "1/2+x,1/2-y,1/2+z", "1/2-x,1/2+y,1/2-z")


def carbon_dioxide() -> Atoms:
    """CO2, Pa-3, 4 molecules; Simon & Peters, Acta Cryst. B36 (1980) 2750, 150 K."""
    return _crystal("CO", [(0, 0, 0), (0.1185, 0.1185, 0.1185)], 205, [5.624, 5.624, 5.624, 90, 90, 90])


def urea() -> Atoms:
    """CO(NH2)2, P-42_1m, 2 molecules; Swaminathan, Craven & McMullan, Acta Cryst. B40 (1984) 300, neutrons, 12 K."""
    sites = [
        (0.0, 0.5, 0.3260), (0.0, 0.5, 0.5953), (0.1459, 0.6459, 0.1766),
        (0.2575, 0.7575, 0.2827), (0.1441, 0.6441, -0.0380),
    ]  # fmt: skip
    return _crystal("CONHH", sites, 113, [5.565, 5.565, 4.684, 90, 90, 90])


def benzene() -> Atoms:
    """C6H6, Pbca, 4 molecules on inversion centres; Bacon, Curry & Wilson, Proc. R. Soc. A 279 (1964) 98, 218 K."""
    sites = [
        (-0.0569, 0.1387, -0.0054), (-0.1335, 0.0460, 0.1264), (-0.0774, -0.0925, 0.1295),
        (-0.0976, 0.2447, -0.0177), (-0.2409, 0.0794, 0.2218), (-0.1371, -0.1631, 0.2312),
    ]  # fmt: skip
    return _crystal("CCCHHH", sites, 61, [7.44, 9.55, 6.92, 90, 90, 90])


def naphthalene() -> Atoms:
    """C10H8, P2_1/a, 2 molecules on inversion centres; Cruickshank, Acta Cryst. 10 (1957) 504, room temperature.

    Hydrogen 1.09 Å from its carbon, on the outward bisector of the ring.
    """
    sites = [
        (0.0856, 0.0186, 0.3251), (0.1148, 0.1588, 0.2200), (0.0472, 0.1025, 0.0351),
        (0.0749, 0.2471, -0.0784), (0.0116, 0.1869, -0.2541),
    ]  # fmt: skip
    carbons = crystal("C5", sites, spacegroup=_group(P21A), cellpar=[8.235, 6.003, 8.658, 90, 122.92, 90])
    hydrogens = _ring_hydrogens(carbons, carbon_bond=1.55, length=1.09)
    return carbons + Atoms("H" * len(hydrogens), hydrogens)


def ammonia() -> Atoms:
    """NH3 (ND3), P2_13, 4 molecules; Hewat & Riekel, Acta Cryst. A35 (1979) 569, neutrons, 2 K."""
    return _crystal("NH", [(0.2107, 0.2107, 0.2107), (0.3689, 0.2671, 0.1159)], 198, [5.048, 5.048, 5.048, 90, 90, 90])


def hexamethylenetetramine() -> Atoms:
    """C6H12N4, I-43m, 2 molecules; Becka & Cruickshank, Proc. R. Soc. A 273 (1963) 435, 298 K."""
    sites = [(0.238, 0, 0), (0.1234, 0.1234, 0.1234), (0.0883, 0.0883, -0.3266)]
    return _crystal("CNH", sites, 217, [7.021, 7.021, 7.021, 90, 90, 90])


def oxalic_acid_dihydrate() -> Atoms:
    """(COOH)2 . 2 H2O, P2_1/n, 2 acid and 4 water molecules; Delaplane & Ibers, Acta Cryst. B25 (1969) 2423.

    Hydrogen by geometry: 1.03 Å from the acid's oxygen on its hydrogen bond; 0.97 Å from water's oxygen, at an angle
    of 106 degrees around the bisector of its two hydrogen bonds.
    """
    sites = [(-0.0452, 0.0585, 0.0518), (0.0850, -0.0562, 0.1498), (-0.2193, 0.2413, 0.0363), (-0.4520, 0.6309, 0.1793)]
    heavy = crystal("CO3", sites, spacegroup=_group(P21N), cellpar=[6.119, 3.607, 12.057, 90, 106.19, 90])
    kind = np.asarray(heavy.arrays["spacegroup_kinds"])
    hydroxyl, carbonyl, water = (np.flatnonzero(kind == k) for k in (1, 2, 3))
    placed = [donor_at + 1.03 * _towards(heavy, donor_at, water, 1) for donor_at in heavy.positions[hydroxyl]]
    placed += [_water_hydrogens(heavy, oxygen, carbonyl) for oxygen in heavy.positions[water]]
    hydrogens = np.concatenate(placed)
    return heavy + Atoms("H" * len(hydrogens), hydrogens)


def argon() -> Atoms:
    """Ar, Fm-3m, conventional cell of 4 monatomic molecules; a = 5.311 Å at 4 K, Barrett & Meyer (1964)."""
    return bulk("Ar", "fcc", a=5.311, cubic=True)


def long_molecule_in_small_cell() -> Atoms:
    """Hypothetical: one octatetrayne HC8H, 11 Å long, in a cell whose vectors are all shorter than the molecule."""
    bonds = np.array([1.06, 1.21, 1.37, 1.21, 1.37, 1.21, 1.37, 1.21, 1.06])
    height = np.concatenate([[0.0], np.cumsum(bonds)])
    positions = np.column_stack([np.zeros(10), np.zeros(10), height])
    cell = [[4.2, 0.0, 4.6], [0.0, 4.2, 4.6], [-4.2, -4.2, 4.6]]
    atoms = Atoms("HC8H", positions, cell=cell, pbc=True)
    atoms.wrap()
    return atoms


def two_orientations() -> Atoms:
    """Hypothetical: N2O, four molecules in P1 that no symmetry relates (Z' = 4), in a triclinic cell."""
    rod = np.array([[0.0, 0.0, -1.13], [0.0, 0.0, 0.0], [0.0, 0.0, 1.19]])
    axes = np.array([[1.0, 1, 1], [1, -1, 0.3], [0.2, 1, -1], [1, 0.1, -0.4]])
    axes /= np.linalg.norm(axes, axis=1)[:, None]
    centers = np.array([[0.02, 0.01, 0.03], [0.5, 0.48, 0.04], [0.03, 0.53, 0.5], [0.47, 0.02, 0.51]])
    cell = np.array([[5.9, 0.0, 0.0], [0.4, 6.1, 0.0], [-0.3, 0.6, 6.3]])
    positions = (centers @ cell)[:, None] + rod[None, :, 2:] * axes[:, None]
    atoms = Atoms("NNO" * 4, positions.reshape(-1, 3), cell=cell, pbc=True)
    atoms.wrap()
    return atoms


def diamond() -> Atoms:
    """Carbon, Fd-3m, primitive cell: a framework of 2 atoms."""
    return bulk("C", "diamond", a=3.567)


def graphite() -> Atoms:
    """Carbon, P6_3/mmc: two layers of 2 atoms."""
    return _crystal("CC", [(0, 0, 0.25), (1 / 3, 2 / 3, 0.25)], 194, [2.461, 2.461, 6.708, 90, 90, 120])


def polyacetylene() -> Atoms:
    """Hypothetical packing of trans-polyacetylene chains along the third vector, 2 CH per cell."""
    positions = [(0.32, 0.0, 0.0), (-0.32, 0.0, 1.23), (1.40, 0.0, 0.0), (-1.40, 0.0, 1.23)]
    return Atoms("CCHH", positions, cell=[7.0, 4.2, 2.46], pbc=True)


MOLECULAR = {
    "carbon_dioxide": carbon_dioxide,
    "urea": urea,
    "benzene": benzene,
    "naphthalene": naphthalene,
    "ammonia": ammonia,
    "hexamethylenetetramine": hexamethylenetetramine,
    "oxalic_acid_dihydrate": oxalic_acid_dihydrate,
    "argon": argon,
    "long_molecule_in_small_cell": long_molecule_in_small_cell,
    "two_orientations": two_orientations,
}
"""Every molecular crystal here, by name."""

MOLECULES_PER_CELL = {
    "carbon_dioxide": 4,
    "urea": 2,
    "benzene": 4,
    "naphthalene": 2,
    "ammonia": 4,
    "hexamethylenetetramine": 2,
    "oxalic_acid_dihydrate": 6,
    "argon": 4,
    "long_molecule_in_small_cell": 1,
    "two_orientations": 4,
}


def one_frame(atoms: Atoms) -> Configurations:
    """The crystal as a container of one frame."""
    return Configurations.from_atoms(atoms)


def _crystal(symbols: str, sites: list[tuple[float, ...]], group: int, cellpar: list[float]) -> Atoms:
    # A plain Atoms: the site bookkeeping of ase.spacegroup does not survive repeats and concatenation.
    return _plain(crystal(list(symbols), sites, spacegroup=group, cellpar=cellpar))


def _plain(atoms: Atoms) -> Atoms:
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)


def _group(operations: tuple[str, ...]) -> Spacegroup:
    """Space group 14 in a setting that ASE's table does not hold."""
    return spacegroup_from_data(no=14, setting=1, symbol="P 1 21/c 1", sitesym=list(operations))


def _images(atoms: Atoms) -> FloatArray:
    shifts = np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T
    return np.asarray(atoms.positions[None] + (shifts @ atoms.cell.array)[:, None])


def _ring_hydrogens(atoms: Atoms, *, carbon_bond: float, length: float) -> FloatArray:
    """One hydrogen on every carbon with two neighbours, opposite to them."""
    images = _images(atoms).reshape(-1, 3)
    placed = []
    for position in atoms.positions:
        distance = np.linalg.norm(images - position, axis=1)
        near = images[(distance > 0.1) & (distance < carbon_bond)]
        if len(near) == 2:
            outward = position - near.mean(axis=0)
            placed.append(position + length * outward / np.linalg.norm(outward))
    return np.array(placed)


def _towards(atoms: Atoms, donor: FloatArray, acceptors: NDArray[np.intp], count: int) -> FloatArray:
    """Unit vectors from the donor to its ``count`` nearest acceptors, (count, 3)."""
    vectors = _images(atoms)[:, acceptors].reshape(-1, 3) - donor
    distance = np.linalg.norm(vectors, axis=1)
    nearest = np.argsort(distance)[:count]
    return np.asarray(vectors[nearest] / distance[nearest, None])


def _water_hydrogens(atoms: Atoms, oxygen: FloatArray, acceptors: NDArray[np.intp]) -> FloatArray:
    """The two hydrogens of a water molecule, in the plane of its two hydrogen bonds, (2, 3)."""
    first, second = _towards(atoms, oxygen, acceptors, 2)
    bisector, across = (
        (first + second) / np.linalg.norm(first + second),
        (first - second) / np.linalg.norm(first - second),
    )
    half = np.radians(106 / 2)
    return oxygen + 0.97 * np.array([np.cos(half) * bisector + np.sin(half) * side * across for side in (1, -1)])
