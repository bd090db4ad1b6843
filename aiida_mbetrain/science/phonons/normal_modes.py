"""Harmonic normal modes of a supercell, in a gauge that does not depend on the eigensolver.

With L the lattice vector of an atom's primitive cell and j its place in that cell,

    D_jj'(q) = sum_L Φ(j 0, j' L) exp(2πi q·L) / sqrt(m_j m_j'),     D e = ω² e.

Phases run over lattice vectors only, not over atomic positions: then D is real where q = -q + G, and e is real
there.  A pair q, -q has two real normal modes of the supercell, a cosine and a sine wave,

    W_q = sqrt(2/N) Re[e exp(2πi q·L)],     W_-q = sqrt(2/N) Im[e exp(2πi q·L)],

and a q with q = -q + G has one, W_q = sqrt(1/N) e exp(2πi q·L).  All of them together are 3 N_atoms orthonormal
vectors in mass-weighted coordinates.  (M. Born and K. Huang, Dynamical Theory of Crystal Lattices, §38.)

Gauge: modes closer than DEGENERACY_THz to their neighbour in frequency form one subspace and share the mean
eigenvalue.  Its basis is obtained by projecting fixed generic vectors onto the subspace and orthonormalising them
in order (QR with a positive diagonal).  The projector does not depend on the basis the eigensolver returned, so
neither does the result; for a single mode this fixes the sign or phase.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiida_mbetrain.errors import InvalidStructure
from aiida_mbetrain.science.configurations import AnyArray, FloatArray, IntArray
from aiida_mbetrain.science.constants import THZ_PER_ROOT_EIGENVALUE
from aiida_mbetrain.science.phonons.force_constants import ForceConstants
from aiida_mbetrain.science.phonons.q_points import number_of_cells

ComplexArray = NDArray[np.complex128]

DEGENERACY_THz = 1e-4
"""Well above the noise of symmetry-degenerate frequencies, well below the spacing of distinct ones."""

SITE_TOLERANCE = 1e-2
"""Å; how far an atom of the supercell may lie from its site of the primitive lattice."""


@dataclass(frozen=True, eq=False)
class PrimitiveLattice:
    """Sites and lattice vectors of the atoms of a supercell on the primitive lattice.

    site: index of the primitive atom, (Ns,).
    lattice_vectors: primitive cell of each atom, (Ns, 3), integers.
    masses: of the primitive atoms, (Np,), amu.
    n_cells: N, primitive cells per supercell.
    """

    site: IntArray
    lattice_vectors: IntArray
    masses: FloatArray
    n_cells: int

    @classmethod
    def of(cls, force_constants: ForceConstants) -> PrimitiveLattice:
        """Match the atoms of supercell and primitive cell; raises InvalidStructure if that fails."""
        primitive, supercell = force_constants.primitive, force_constants.supercell
        assert primitive.cells is not None
        cell = primitive.cells[0]
        difference = (supercell.positions[0][:, None] - primitive.positions[0]) @ np.linalg.inv(cell)
        offsets = np.rint(difference)
        distance = np.linalg.norm((difference - offsets) @ cell, axis=-1)
        distance[supercell.numbers[:, None] != primitive.numbers] = np.inf
        site = np.argmin(distance, axis=1)
        atoms = np.arange(supercell.n_atoms)
        n_cells = number_of_cells(force_constants.supercell_matrix)
        # Every site must occur once in each primitive cell: a shifted origin can match two atoms to the same site.
        counts = np.bincount(site, minlength=primitive.n_atoms)
        if np.any(distance[atoms, site] > SITE_TOLERANCE) or np.any(counts != n_cells):
            raise InvalidStructure(
                f"The supercell of the force constants ({supercell.n_atoms} atoms) is not {n_cells} copies of their "
                f"primitive cell ({primitive.n_atoms} atoms): supercell_matrix, primitive and supercell disagree."
            )
        return cls(site, offsets[atoms, site].astype(np.int64), primitive.masses, n_cells)

    def phases(self, numerators: IntArray) -> ComplexArray:
        """exp(2πi q·L) of every atom, (..., Ns), for numerators (..., 3); exact reduction modulo 1."""
        # The N-th roots of unity are tabulated and indexed by integers, so that equal phases are equal to the last bit.
        roots = np.exp(2j * np.pi * np.arange(self.n_cells) / self.n_cells)
        phases: ComplexArray = roots[(numerators @ self.lattice_vectors.T) % self.n_cells]
        return phases


@dataclass(frozen=True, eq=False)
class NormalModes:
    """The 3 Np modes at one q-point, in ascending order of frequency.

    numerators: q-point as integers over N, (3,).
    frequencies_THz: (3 Np,); negative where ω² < 0; zero by definition for uniform translations.
    eigenvectors: mass-weighted and normalised, one mode per row, (3 Np, Np, 3), complex.
    translation: True for the three uniform translations at Γ, (3 Np,).
    self_conjugate: whether q = -q + G.
    """

    numerators: IntArray
    frequencies_THz: FloatArray
    eigenvectors: ComplexArray
    translation: NDArray[np.bool_]
    self_conjugate: bool

    def displacements(self, modes: IntArray, lattice: PrimitiveLattice, *, sine: bool = False) -> FloatArray:
        """Displacements of the supercell per unit of the normal coordinate, (len(modes), Ns, 3), amu^-1/2.

        modes: 0-based indices.  sine: the wave that belongs to -q.
        """
        amplitude = self.eigenvectors[modes] / np.sqrt(lattice.masses * lattice.n_cells)[:, None]
        if self.self_conjugate:
            return amplitude.real[:, lattice.site] * lattice.phases(self.numerators).real[:, None]
        wave = np.sqrt(2.0) * amplitude[:, lattice.site] * lattice.phases(self.numerators)[:, None]
        part: FloatArray = wave.imag if sine else wave.real
        return part


def dynamical_matrices(
    force_constants: ForceConstants, lattice: PrimitiveLattice, numerators: IntArray
) -> ComplexArray:
    """D(q) at commensurate q-points, (n, 3 Np, 3 Np), eV/Å²/amu, with phases over lattice vectors.

    numerators: (n, 3).
    """
    n_sites = len(lattice.masses)
    images = np.argsort(lattice.site, kind="stable").reshape(n_sites, lattice.n_cells)
    # By translation symmetry one atom of each site gives a whole row of D; the reference cell may differ between
    # sites, hence the phase of the first atom is divided out below.
    first = images[:, 0]
    phases = lattice.phases(numerators)
    blocks = force_constants.force_constants[first[:, None, None], images[None]]
    matrix = np.einsum("jknab,qkn->qjakb", blocks, phases[:, images], optimize=True)
    matrix *= phases[:, first].conj()[:, :, None, None, None]
    # Mass-weighted (Born and Huang, § 38); averaged with its adjoint, since rounding leaves D slightly non-Hermitian.
    root_mass = np.sqrt(np.repeat(lattice.masses, 3))
    matrix = matrix.reshape(-1, 3 * n_sites, 3 * n_sites) / (root_mass[:, None] * root_mass)
    hermitian: ComplexArray = (matrix + matrix.conj().swapaxes(1, 2)) / 2.0
    return hermitian


def normal_modes(force_constants: ForceConstants, lattice: PrimitiveLattice, numerators: IntArray) -> list[NormalModes]:
    """Frequencies and gauge-fixed eigenvectors at commensurate q-points.

    numerators: (n, 3).
    """
    matrices = dynamical_matrices(force_constants, lattice, numerators)
    return [_diagonalize(matrix, q, lattice) for matrix, q in zip(matrices, numerators, strict=True)]


def _diagonalize(matrix: ComplexArray, numerators: IntArray, lattice: PrimitiveLattice) -> NormalModes:
    # Where q = -q + G all phases are +1 or -1: a real solver gives real eigenvectors and with them one real wave.
    self_conjugate = not np.any(2 * numerators % lattice.n_cells)
    hermitian = matrix.real if self_conjugate else matrix
    if np.any(numerators % lattice.n_cells):
        frequencies, vectors = _solve(hermitian)
        translation = np.zeros(len(frequencies), dtype=bool)
    else:
        frequencies, vectors, translation = _solve_at_gamma(hermitian, lattice.masses)
    eigenvectors = vectors.T.astype(np.complex128).reshape(len(frequencies), -1, 3)
    return NormalModes(numerators, frequencies, eigenvectors, translation, self_conjugate)


def _solve_at_gamma(matrix: AnyArray, masses: FloatArray) -> tuple[FloatArray, AnyArray, NDArray[np.bool_]]:
    """Uniform translations taken as they are, and the other modes from the space orthogonal to them.

    Recognising them by their form and not by the lowest frequencies holds for unstable crystals, and it makes
    every other mode leave the centre of mass at rest even where the acoustic sum rule is slightly violated.
    """
    # Mass-weighted uniform displacements e = sqrt(m_j / M) along x, y, z, and an orthonormal basis of the rest.
    translations = np.kron(np.sqrt(masses / masses.sum())[:, None], np.eye(3))
    complement = np.linalg.qr(translations, mode="complete")[0][:, 3:]
    frequencies, vectors = _solve(complement.T @ matrix @ complement, complement)
    frequencies = np.concatenate([np.zeros(3), frequencies])
    order = np.argsort(frequencies, kind="stable")
    return frequencies[order], np.hstack([translations, vectors])[:, order], order < 3


def _solve(matrix: AnyArray, basis: FloatArray | None = None) -> tuple[FloatArray, AnyArray]:
    """Frequencies (THz) in ascending order and gauge-fixed eigenvectors (columns), expanded in ``basis``."""
    eigenvalues, vectors = np.linalg.eigh(matrix)
    if basis is not None:
        vectors = basis @ vectors
    subspaces = _degenerate_subspaces(_to_frequencies(eigenvalues))
    # Subspaces of equal size are treated together, as one stack of matrices.
    for size in np.unique(np.bincount(subspaces)):
        members = np.flatnonzero(np.bincount(subspaces)[subspaces] == size).reshape(-1, size)
        eigenvalues[members] = eigenvalues[members].mean(axis=1, keepdims=True)
        vectors[:, members] = _canonical_basis(vectors[:, members].swapaxes(0, 1)).swapaxes(0, 1)
    return _to_frequencies(eigenvalues), vectors


def _to_frequencies(eigenvalues: FloatArray) -> FloatArray:
    return np.sign(eigenvalues) * np.sqrt(np.abs(eigenvalues)) * THZ_PER_ROOT_EIGENVALUE


def _degenerate_subspaces(frequencies: FloatArray) -> IntArray:
    """Number of the subspace of each mode, (n,), for ascending frequencies."""
    return np.concatenate([[0], np.cumsum(np.diff(frequencies) > DEGENERACY_THz)])[: len(frequencies)]


def _canonical_basis(vectors: AnyArray) -> AnyArray:
    """The basis of each subspace that follows from the subspace alone.

    vectors: orthonormal columns of each subspace, (n_subspaces, n, d).
    """
    size = vectors.shape[-1]
    overlap = vectors.conj().swapaxes(1, 2) @ _generic_vectors(vectors.shape[1], size)
    # V V^† G = V Q R: the columns of V Q depend on the projector V V^† alone once the phases of R are fixed, because
    # the QR decomposition with a positive diagonal is unique (Golub and Van Loan, Matrix Computations, § 5.2).
    rotation, triangle = np.linalg.qr(overlap)
    diagonal = np.diagonal(triangle, axis1=1, axis2=2)
    basis: AnyArray = vectors @ (rotation * (diagonal / np.abs(diagonal))[:, None, :])
    return basis


def _generic_vectors(length: int, number: int) -> FloatArray:
    """Fixed columns without any symmetry, (length, number), from a raw bit stream that NumPy keeps stable."""
    raw = np.random.PCG64(0).random_raw(number * length).reshape(number, length)
    return raw.T / 2.0**64 - 0.5
