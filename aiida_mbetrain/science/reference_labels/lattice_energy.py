"""Lattice energy of a reference method: its difference from the baseline, expanded in clusters of the static crystal.

The baseline's energy of the periodic crystal contains its interactions of all orders and distances.  What the
reference adds to it is short-ranged where the baseline has the right long-range behaviour, and is summed over n-mers:

    E_ref(cell) = E_base(cell) + Σ_orbits N_orbit [V_ref(S) - V_base(S)],

V(S) the n-body energy of one cluster S of an orbit and N_orbit the number of its clusters per cell (multilevel
expansion of the lattice energy; Nanda & Beran, J. Chem. Phys. 137 (2012) 174106).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import units
from scipy.sparse import csr_array

from aiida_mbetrain.errors import InvalidSettings, LabelsMissing
from aiida_mbetrain.science.clusters import Measure, MoleculeSymmetry, Representative, orbit_representatives
from aiida_mbetrain.science.configurations import FloatArray, IntArray
from aiida_mbetrain.science.molecules import MolecularCrystal
from aiida_mbetrain.science.reference_labels.fragments import Fragment, Fragments, MoleculeStates
from aiida_mbetrain.science.reference_labels.labels import FragmentLabels
from aiida_mbetrain.science.reference_labels.many_body_expansion import expansion_terms
from aiida_mbetrain.science.tables import Table


@dataclass(frozen=True, eq=False)
class LatticeExpansion:
    """Orbits of n-mers of a static crystal, by n and extent, and the fragments that their n-body energies need.

    orders, extents: (S,), molecules of each cluster and largest distance of two of them, Å.
    per_cell: (S,), clusters of the orbit per cell of the crystal.
    coefficients: (S, R), from energies of fragments to n-body energies.
    n_molecules: molecules per cell.
    """

    fragments: Fragments
    orders: IntArray
    extents: FloatArray
    per_cell: IntArray
    coefficients: csr_array
    n_molecules: int


@dataclass(frozen=True, eq=False)
class LatticeEnergies:
    """The crystal at the level of the reference.

    crystal_energy: eV per cell.
    lattice_energy: eV per molecule, relative to isolated molecules in the geometry that they have in the crystal.
    convergence: table of all orbits by order and extent: ``order``, ``extent_A``, ``clusters_per_cell``,
        ``n_body_difference_eV`` (reference less baseline of one cluster), ``correction_eV`` per molecule, and
        ``lattice_energy_eV`` per molecule and ``lattice_energy_kJ_per_mol`` up to and including this orbit.
    """

    crystal_energy: float
    lattice_energy: float
    convergence: Table


def expand_lattice(
    crystal: MolecularCrystal,
    cutoffs: Mapping[int, float],
    *,
    counterpoise: Literal["none", "vmfc"] = "none",
    states: MoleculeStates | None = None,
    measure: Measure = "closest_contact",
    symprec: float = 1e-2,
) -> LatticeExpansion:
    """All orbits of n-mers below the cutoffs (Å by number of molecules, such as ``{2: 12.0, 3: 7.0}``).

    Without ghosts a fragment is calculated once per orbit, although it is part of many n-mers; with ``vmfc`` once per
    n-mer, whose basis it has.  Energies only: forces of equivalent clusters are not rotated onto one another.
    Raises InvalidSettings for cutoffs with a gap, or that grow with the number of molecules.
    """
    order = max(cutoffs, default=1)
    limits = [cutoffs.get(n, np.inf) for n in range(2, order + 1)]
    if (
        sorted(cutoffs) != list(range(2, order + 1))
        or sorted(limits, reverse=True) != limits
        or min(limits, default=1) <= 0
    ):
        raise InvalidSettings(
            f"cutoffs = {dict(cutoffs)}: give one above 0 Å for each number of molecules from 2, not growing with it, "
            "so that the parts of an n-mer are in the expansion as well."
        )
    symmetry = MoleculeSymmetry.of(crystal, symprec=symprec)
    states = states or MoleculeStates.of(crystal)
    clusters = [
        cluster
        for n in range(1, order + 1)
        for cluster in orbit_representatives(crystal, symmetry, n, cutoffs.get(n, 1.0), measure=measure)
    ]
    rows = _Rows(crystal, symmetry, states)
    entries = [
        (index, rows.of(cluster, term.real, term.ghosts), term.contributions[-1])
        for index, cluster in enumerate(clusters)
        for term in expansion_terms(len(cluster.molecules), len(cluster.molecules), counterpoise)
        if term.contributions[-1]
    ]
    index, row, value = np.array(entries, dtype=np.int64).reshape(-1, 3).T
    matrix = csr_array((value.astype(np.float64), (index, row)), shape=(len(clusters), len(rows.fragments)))
    n_primitive = round(abs(np.linalg.det(symmetry.supercell)))
    return LatticeExpansion(
        fragments=Fragments.of(rows.fragments),
        orders=np.array([len(cluster.molecules) for cluster in clusters], dtype=np.int64),
        extents=np.array([cluster.extent for cluster in clusters]),
        per_cell=np.array([cluster.orbit.per_primitive_cell * n_primitive for cluster in clusters], dtype=np.int64),
        coefficients=matrix,
        n_molecules=crystal.n_molecules,
    )


class _Rows:
    """Distinct fragments of clusters of a static crystal, and the row of each."""

    def __init__(self, crystal: MolecularCrystal, symmetry: MoleculeSymmetry, states: MoleculeStates) -> None:
        self._crystal, self._symmetry, self._states = crystal, symmetry, states
        self._row_of: dict[str, int] = {}
        self._row_of_orbit: dict[str, int] = {}
        self.fragments: list[Fragment] = []

    def of(self, cluster: Representative, real: tuple[int, ...], ghosts: tuple[int, ...]) -> int:
        """The row of a part of a cluster; parts without ghosts that are equivalent by symmetry share one."""
        if ghosts:
            return self._row(self._fragment(cluster, real, ghosts))
        part = list(real)
        orbit = self._symmetry.orbit(cluster.molecules[part], cluster.translations[part]).id
        if orbit not in self._row_of_orbit:
            self._row_of_orbit[orbit] = self._row(self._fragment(cluster, real, ()))
        return self._row_of_orbit[orbit]

    def _row(self, fragment: Fragment) -> int:
        row = self._row_of.setdefault(fragment.id, len(self.fragments))
        if row == len(self.fragments):
            self.fragments.append(fragment)
        return row

    def _fragment(self, cluster: Representative, real: tuple[int, ...], ghosts: tuple[int, ...]) -> Fragment:
        crystal, states = self._crystal, self._states
        # In an order that a lattice translation does not change, as in the expansion of cluster sets.
        ranked = np.lexsort((*cluster.translations.T[::-1], cluster.molecules)).tolist()
        members = [*sorted(real, key=ranked.index), *sorted(ghosts, key=ranked.index)]
        atoms = [crystal.molecules[cluster.molecules[m]] for m in members]
        shifts = [
            np.tile(cluster.translations[m] @ crystal.cell, (len(a), 1)) for m, a in zip(members, atoms, strict=True)
        ]
        molecules = cluster.molecules[list(real)]
        packed = np.concatenate(atoms)
        return Fragment(
            numbers=crystal.numbers[packed],
            positions=crystal.positions[packed] + np.concatenate(shifts),
            ghosts=np.arange(len(packed)) >= states.n_atoms[molecules].sum(),
            charge=int(states.charges[molecules].sum()),
            multiplicity=int(states.unpaired[molecules].sum()) + 1,
        )


def lattice_energies(
    expansion: LatticeExpansion, reference: FragmentLabels, baseline: FragmentLabels, baseline_energy: float
) -> LatticeEnergies:
    """The reference's lattice energy from labels of the expansion's fragments by both methods, in its order.

    baseline_energy: of the periodic crystal by the baseline, eV per cell.
    Raises LabelsMissing, with the first missing fragment, for incomplete labels.
    """
    for name, labels in (("reference", reference), ("baseline", baseline)):
        if n_missing := int(np.count_nonzero(~labels.labelled)):
            row = int(np.flatnonzero(~labels.labelled)[0])
            reason = labels.failures.get(row, "not calculated")
            raise LabelsMissing(
                f"The {name} lacks {n_missing} of {len(labels)} fragments, {labels.ids[row]} the first ({reason}): "
                "calculate them, or lower the cutoffs."
            )
    differences = expansion.coefficients @ (reference.energies - baseline.energies)
    corrections = expansion.per_cell * differences
    monomers = expansion.orders == 1
    molecules = float((expansion.per_cell * (expansion.coefficients @ reference.energies))[monomers].sum())
    energies = baseline_energy + np.cumsum(corrections)
    # Below the last monomer the difference of the isolated molecules would count as lattice energy: it cancels only
    # when all are in.
    bound = (energies - molecules) / expansion.n_molecules
    n = np.count_nonzero(monomers)
    table = Table(
        {
            "order": expansion.orders,
            "extent_A": expansion.extents,
            "clusters_per_cell": expansion.per_cell,
            "n_body_difference_eV": differences,
            "correction_eV": corrections / expansion.n_molecules,
            "lattice_energy_eV": np.where(monomers, bound[n - 1], bound),
            "lattice_energy_kJ_per_mol": np.where(monomers, bound[n - 1], bound) / (units.kJ / units.mol),
        }
    )
    return LatticeEnergies(float(energies[-1]), float(bound[-1]), table)
