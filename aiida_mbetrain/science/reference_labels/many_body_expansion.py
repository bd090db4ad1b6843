"""Many-body expansion of clusters in fragments, with three choices of the fragments' basis.

The m-body energy of an n-mer S is V(S) = Σ_{T ⊆ S} (-1)^(|S|-|T|) E(T), and the expansion to order k is the sum of V
over all S of at most k molecules.  The schemes differ in the basis functions with which E(T) is calculated:

- none (NoCP): those of T.
- cp: those of the whole cluster (site-site function counterpoise; Wells & Wilson, Chem. Phys. Lett. 101 (1983) 429).
- vmfc: those of S (Valiron & Mayer, Chem. Phys. Lett. 275 (1997) 46).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from scipy.sparse import csr_array

from aiida_mbetrain.science.clusters import ClusterSet
from aiida_mbetrain.science.configurations import BoolArray, FloatArray, IntArray
from aiida_mbetrain.science.molecules import MolecularCrystal
from aiida_mbetrain.science.reference_labels.fragments import (
    Fragment,
    Fragments,
    MoleculeStates,
    fragment_ids,
)
from aiida_mbetrain.science.reference_labels.labels import FragmentLabels
from aiida_mbetrain.settings import Counterpoise, ReferenceLabels


@dataclass(frozen=True)
class Term:
    """A fragment of a cluster, by indices of the cluster's molecules, and its coefficients.

    contributions: coefficient in the m-body energy of the cluster for m = 1, 2, ...; of an unfragmented cluster the
        single coefficient of its energy.
    """

    real: tuple[int, ...]
    ghosts: tuple[int, ...]
    contributions: tuple[int, ...]


def expansion_terms(n_molecules: int, order: int | None, counterpoise: Counterpoise = "none") -> list[Term]:
    """All fragments of a cluster of n molecules up to an order, None: the cluster itself.

    Terms whose coefficients add up to zero are kept: they belong to the m-body energies and to the interaction energy.
    """
    n, everything = n_molecules, tuple(range(n_molecules))
    if order is None:
        return [Term(everything, (), (1,))]
    subsets = [subset for size in range(1, min(order, n) + 1) for subset in combinations(everything, size)]
    terms = []
    for subset in subsets:
        size = len(subset)
        if counterpoise == "vmfc":
            for part in (part for k in range(1, size + 1) for part in combinations(subset, k)):
                ghosts = tuple(m for m in subset if m not in part)
                terms.append(Term(part, ghosts, _only(size, (-1) ** (size - len(part)), order)))
            continue
        # n - size molecules are left to complete the subset to an m-mer
        sums = tuple(
            (-1) ** (m - size) * comb(n - size, m - size) if size <= m <= n else 0 for m in range(1, order + 1)
        )
        ghosts = tuple(m for m in everything if m not in subset) if counterpoise == "cp" else ()
        terms.append(Term(subset, ghosts, sums))
    return terms


def _only(m: int, coefficient: int, order: int) -> tuple[int, ...]:
    return tuple(coefficient if k == m else 0 for k in range(1, order + 1))


@dataclass(frozen=True, eq=False)
class ExpandedEnergies:
    """Labels of the F frames of a cluster, composed from its fragments.

    energies: (F,), eV, NaN where a fragment is missing.
    forces: (F, N, 3), eV/Å, NaN where one has none.
    contributions: (F, k), eV, m-body energies for m = 1 to k; of unfragmented clusters the energies themselves.
    interaction: (F,), eV, energies less those of the molecules; None for unfragmented clusters.
    missing: ids of the missing fragments of each frame.
    """

    energies: FloatArray
    forces: FloatArray
    contributions: FloatArray
    interaction: FloatArray | None
    missing: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class ClusterExpansion:
    """One cluster in F frames as a sum over T terms.

    terms: their molecules and coefficients.
    atoms: for each term the cluster's atoms in the order of the fragment's, real ones first.
    rows: (F, T), the fragment behind each term in each frame.
    """

    terms: tuple[Term, ...]
    atoms: tuple[IntArray, ...]
    rows: IntArray
    n_atoms: int
    fragmented: bool

    def coefficients(self, n_fragments: int, *, first_order: int = 1) -> csr_array:
        """Matrix (F, R) from energies of the fragments to those of the cluster, from an order upwards."""
        n_frames, n_terms = self.rows.shape
        values = np.array([sum(term.contributions[first_order - 1 :]) for term in self.terms], dtype=np.float64)
        frames = np.repeat(np.arange(n_frames), n_terms)
        matrix = csr_array((np.tile(values, n_frames), (frames, self.rows.ravel())), shape=(n_frames, n_fragments))
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        return matrix

    def compose(self, labels: FragmentLabels) -> ExpandedEnergies:
        """Energies, forces and interaction energies from the labels of all fragments of the expansion, in its order.

        A frame with a missing fragment has no label, also where that one's coefficients add up to zero.
        """
        known: BoolArray = labels.labelled
        energies = np.where(known, labels.energies, 0.0)
        complete = np.all(known[self.rows], axis=1)
        n_orders = len(self.terms[0].contributions)
        matrices = [self.coefficients(len(energies), first_order=m) for m in range(1, n_orders + 1)]
        sums = np.column_stack([np.where(complete, matrix @ energies, np.nan) for matrix in matrices])
        return ExpandedEnergies(
            energies=sums[:, 0],
            forces=np.where(complete[:, None, None], self._forces(labels), np.nan),
            contributions=sums - np.column_stack([sums[:, 1:], np.zeros(len(sums))]),
            interaction=(sums[:, 1] if n_orders > 1 else np.where(complete, 0.0, np.nan)) if self.fragmented else None,
            missing=tuple(tuple(dict.fromkeys(labels.ids[row[~known[row]]].tolist())) for row in self.rows),
        )

    def _forces(self, labels: FragmentLabels) -> FloatArray:
        """Forces (F, N, 3): those on ghost atoms act on the atoms whose basis functions they are."""
        forces = np.zeros((len(self.rows), self.n_atoms, 3))
        for term, atoms, rows in zip(self.terms, self.atoms, self.rows.T, strict=True):
            if coefficient := sum(term.contributions):
                packed = labels.offsets[rows][:, None] + np.arange(len(atoms))
                forces[:, atoms] += coefficient * labels.forces[packed]
        return forces


@dataclass(frozen=True, eq=False)
class Expansion:
    """Cluster sets as sums over the distinct fragments that they have in common.

    clusters: by the names of the sets.
    n_terms: fragments before equal ones were recognised.
    """

    fragments: Fragments
    clusters: Mapping[str, ClusterExpansion]

    @property
    def n_terms(self) -> int:
        """Calculations without recognition of duplicates."""
        return sum(cluster.rows.size for cluster in self.clusters.values())

    @property
    def n_clusters(self) -> int:
        """Frames of all sets together."""
        return sum(len(cluster.rows) for cluster in self.clusters.values())


def expand(
    sets: Mapping[str, ClusterSet], crystals: Mapping[str, MolecularCrystal], settings: ReferenceLabels
) -> Expansion:
    """Expand every frame of every set; crystals: the reference of each set, under the set's name.

    Raises InvalidSettings where charges and multiplicities do not fit the molecules.
    """
    found: dict[str, int] = {}
    fragments: list[Fragment] = []
    clusters = {}
    for name, clusters_of_name in sets.items():
        states = MoleculeStates.of(crystals[name], settings.charges, settings.multiplicities)
        clusters[name] = _expand_set(clusters_of_name, states, settings, found, fragments)
    return Expansion(Fragments.of(fragments), clusters)


def _expand_set(
    clusters: ClusterSet,
    states: MoleculeStates,
    settings: ReferenceLabels,
    found: dict[str, int],
    fragments: list[Fragment],
) -> ClusterExpansion:
    """Add the set's fragments to those found before."""
    cluster, frames = clusters.cluster, clusters.configurations
    molecules = cluster.molecule_indices
    blocks = np.split(np.arange(frames.n_atoms), np.cumsum(states.n_atoms[molecules])[:-1])
    # Molecules in an order that a common lattice translation does not change, so that equal fragments of different
    # clusters list their atoms alike.
    ranked = np.lexsort((*cluster.translations.T[::-1], molecules)).tolist()
    terms = [
        Term(tuple(ranked[i] for i in term.real), tuple(ranked[i] for i in term.ghosts), term.contributions)
        for term in expansion_terms(len(molecules), settings.order, settings.counterpoise)
    ]
    rows = np.empty((len(frames), len(terms)), dtype=np.int64)
    atoms_of_terms = []
    for column, term in enumerate(terms):
        atoms = np.concatenate([blocks[m] for m in (*term.real, *term.ghosts)])
        atoms_of_terms.append(atoms)
        real = molecules[list(term.real)]
        n_real = states.n_atoms[real].sum()
        numbers, positions, ghosts = frames.numbers[atoms], frames.positions[:, atoms], np.arange(len(atoms)) >= n_real
        charge, multiplicity = int(states.charges[real].sum()), int(states.unpaired[real].sum()) + 1
        for frame, fragment_id in enumerate(fragment_ids(numbers, positions, ghosts, charge, multiplicity)):
            row = found.setdefault(fragment_id, len(fragments))
            if row == len(fragments):
                fragments.append(Fragment(numbers, positions[frame], ghosts, charge, multiplicity))
            rows[frame, column] = row
    return ClusterExpansion(tuple(terms), tuple(atoms_of_terms), rows, frames.n_atoms, settings.order is not None)
