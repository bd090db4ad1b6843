"""Analytic potentials of point particles as programs of quantum chemistry: pairwise, three-body, and with a basis."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from aiida_mbetrain.science.configurations import FloatArray
from aiida_mbetrain.science.reference_labels.backends import Backend, Evaluation
from aiida_mbetrain.science.reference_labels.fragments import Fragment, Fragments
from aiida_mbetrain.science.reference_labels.labels import FragmentLabels


class AnalyticBackend(Backend):
    """Counts what it is asked to calculate."""

    package = "numpy"
    has_ghosts = True
    n_evaluated = 0

    def require_elements(self, symbols: list[str]) -> None:
        """Any element."""

    def evaluate(self, fragment: Fragment) -> Evaluation:
        self.n_evaluated += 1
        return Evaluation(*self.energy_and_forces(fragment))

    def energy_and_forces(self, fragment: Fragment) -> tuple[float, FloatArray]:
        raise NotImplementedError


class Pairwise(AnalyticBackend):
    """Σ_{i<j} c (1/r^4 - 1/r^8) over pairs closer than a cutoff, plus an energy of each atom.  Ghosts do nothing."""

    def __init__(self, *, strength: float = 0.7, cutoff: float = np.inf) -> None:
        self.strength, self.cutoff = strength, cutoff

    def energy_and_forces(self, fragment):
        real = np.flatnonzero(~fragment.ghosts)
        energy, forces = -0.5 * float(fragment.numbers[real].sum()), np.zeros(fragment.positions.shape)
        for i, j in combinations(real, 2):
            vector = fragment.positions[j] - fragment.positions[i]
            r = np.linalg.norm(vector)
            if r < self.cutoff:
                energy += self.strength * (r**-4 - r**-8)
                pull = self.strength * (-4 * r**-5 + 8 * r**-9) * vector / r
                forces[i] += pull
                forces[j] -= pull
        return energy, forces


class AxilrodTeller(AnalyticBackend):
    """Triple-dipole energy of all triplets of atoms whose three distances lie below a cutoff.

    Forces by the derivative of the six squared distances: E = c [1/(pqs)^(3/2) + 3/8 (q+s-p)(s+p-q)(p+q-s)/(pqs)^(5/2)]
    with the squared distances p, q, s.
    """

    def __init__(self, *, strength: float = 40.0, cutoff: float = np.inf) -> None:
        self.strength, self.cutoff = strength, cutoff

    def energy_and_forces(self, fragment):
        real, x = np.flatnonzero(~fragment.ghosts), fragment.positions
        energy, forces = 0.0, np.zeros(x.shape)
        for triplet in combinations(real, 3):
            pairs = [(triplet[1], triplet[2]), (triplet[0], triplet[2]), (triplet[0], triplet[1])]
            d = np.array([((x[a] - x[b]) ** 2).sum() for a, b in pairs])
            if (d < self.cutoff**2).all():
                value, slopes = self._triplet(d)
                energy += value
                for (a, b), slope in zip(pairs, slopes, strict=True):
                    forces[a] -= 2 * slope * (x[a] - x[b])
                    forces[b] += 2 * slope * (x[a] - x[b])
        return energy, forces

    def _triplet(self, d):
        product, angles = d.prod(), np.array([d.sum() - 2 * value for value in d])
        value = product**-1.5 + 0.375 * angles.prod() * product**-2.5
        slopes = np.empty(3)
        for k in range(3):
            signs = np.where(np.arange(3) == k, -1.0, 1.0)
            slope_of_angles = sum(signs[m] * np.delete(angles, m).prod() for m in range(3))
            slopes[k] = -1.5 * product**-1.5 / d[k] + 0.375 * (
                slope_of_angles * product**-2.5 - 2.5 * angles.prod() * product**-2.5 / d[k]
            )
        return self.strength * value, self.strength * slopes


class ManyBodyWithBasis(AnalyticBackend):
    """Embedded atoms: E = -Σ_{i real} Z_i (1 + Σ_j w_j exp(-0.4 r_ij²))^½, with w = 0.3 of ghosts and Z of real atoms.

    Interactions of all orders, and a gain from the basis functions of ghosts nearby.
    """

    def energy_and_forces(self, fragment):
        x, real = fragment.positions, ~fragment.ghosts
        vectors = x[:, None] - x[None]
        overlaps = np.exp(-0.4 * (vectors**2).sum(axis=-1)) * (1 - np.eye(len(x)))
        weights = np.where(real, fragment.numbers, 0.3)
        roots = np.sqrt(1 + overlaps @ weights)
        pulls = np.where(real, fragment.numbers, 0) / (2 * roots)
        slopes = (pulls[:, None] * weights[None] + weights[:, None] * pulls[None]) * overlaps
        return -float((fragment.numbers * roots)[real].sum()), -0.8 * np.einsum("ij,ijk->ik", slopes, vectors)


def label(fragments: Fragments, backend: Backend) -> FragmentLabels:
    """Every fragment by a backend."""
    results = [backend.evaluate(fragments[row]) for row in range(len(fragments))]
    no_forces = [np.full((n, 3), np.nan) for n in fragments.n_atoms]
    return FragmentLabels(
        ids=fragments.ids,
        offsets=fragments.offsets,
        energies=np.array([result.energy for result in results]),
        forces=np.concatenate(
            [none if result.forces is None else result.forces for result, none in zip(results, no_forces, strict=True)]
        ),
        method_hash="0" * 32,
        programs=(backend.program,),
    )
