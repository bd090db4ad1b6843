"""Lattices of translations: reduced bases, short vectors, and all sublattices that avoid short vectors."""

from __future__ import annotations

from itertools import permutations, product
from math import gcd

import numpy as np
from ase.geometry import minkowski_reduce

from aiida_mbetrain.errors import InvalidStructure
from aiida_mbetrain.science.configurations import BoolArray, FloatArray, IntArray

LENGTH_TOLERANCE = 1e-6
"""Å; lengths closer than this count as equal, so that a cell of exactly R reaches R whatever its last bits."""


def reduced_basis(cell: FloatArray) -> FloatArray:
    """The three shortest independent vectors of the lattice, right-handed, rows, (3, 3), Å.

    In three dimensions vectors that attain the successive minima are a basis.  Ties are broken by Cartesian
    components, so the result depends on the lattice alone and not on the basis that describes it.
    Raises InvalidStructure when the cell has no volume.
    """
    minkowski = _minkowski_basis(cell)
    coefficients = np.array([c for c in product(range(-2, 3), repeat=3) if any(c)])
    vectors = _one_of_each_pair(coefficients @ minkowski)
    first, second, third = vectors[0], None, None
    for vector in vectors[1:]:
        if second is None and np.linalg.norm(np.cross(first, vector)) > 1e-3 * first @ first:
            second = vector
        elif second is not None and abs(np.linalg.det([first, second, vector])) > 1e-6 * np.linalg.norm(first) ** 3:
            third = vector
            break
    basis = np.array([first, second, third])
    if np.linalg.det(basis) < 0:
        basis[2] *= -1
    return basis


def _minkowski_basis(cell: FloatArray) -> FloatArray:
    cell = np.asarray(cell, dtype=float)
    if not abs(np.linalg.det(cell)) > 1e-6 * np.prod(np.linalg.norm(cell, axis=1)):
        raise InvalidStructure(f"The cell vectors {cell.tolist()} are not independent: give a cell with a volume.")
    reduced: FloatArray = minkowski_reduce(cell)[0]
    return reduced


def _one_of_each_pair(vectors: FloatArray) -> FloatArray:
    """Of every v and -v the one whose first non-zero component is positive; sorted by shell, then components."""
    rounded = np.round(vectors, 4)
    leading = np.take_along_axis(rounded, (rounded != 0).argmax(axis=1)[:, None], axis=1)[:, 0]
    vectors = vectors[leading > 0]
    lengths = np.linalg.norm(vectors, axis=1)
    order = np.argsort(lengths)
    shell = np.empty(len(order), dtype=int)
    shell[order] = np.concatenate([[0], np.cumsum(np.diff(lengths[order]) > 1e-4)])
    x, y, z = -np.round(vectors.T, 4)
    return vectors[np.lexsort((z, y, x, shell))]


def shortest_vector(cell: FloatArray) -> float:
    """Length of the shortest non-zero lattice vector, Å: the smallest distance between periodic images."""
    return float(np.linalg.norm(_minkowski_basis(cell), axis=1).min())


def short_vectors(basis: FloatArray, radius: float) -> IntArray:
    """Coefficients (K, 3) of the lattice vectors shorter than the radius, one of each pair v and -v, by length."""
    heights = 1 / np.linalg.norm(np.linalg.inv(basis), axis=0)
    limits = np.floor(radius / heights + 1e-9).astype(int)
    axes = [np.arange(-limit, limit + 1) for limit in limits]
    coefficients = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    coefficients = coefficients[len(coefficients) // 2 + 1 :]
    lengths = np.linalg.norm(coefficients @ basis, axis=1)
    inside = lengths < radius - LENGTH_TOLERANCE
    by_length: IntArray = coefficients[inside][np.argsort(lengths[inside], kind="stable")]
    return by_length


def divisors(number: int) -> list[int]:
    """All positive divisors in rising order."""
    return [d for d in range(1, number + 1) if number % d == 0]


def sublattices_avoiding(forbidden: IntArray, index: int) -> IntArray:
    """Every sublattice of the given index that contains none of the forbidden vectors.

    Returns Hermite normal forms [[a, b, c], [0, e, f], [0, 0, g]] with 0 <= b < e and 0 <= c, f < g, whose rows
    span the sublattice, (n, 3, 3).  Each sublattice of index a e g has exactly one.
    """
    found = [_avoiding(forbidden, a, e, index // a // e) for a in divisors(index) for e in divisors(index // a)]
    return np.concatenate(found)


def _avoiding(forbidden: IntArray, a: int, e: int, g: int) -> IntArray:
    """The normal forms with diagonal (a, e, g).

    A vector x = k1 row1 + k2 row2 + k3 row3 lies in the sublattice when k1 = x1/a, k2 = (x2 - k1 b)/e and
    k3 = (x3 - k1 c - k2 f)/g are integers.  Vectors with k1 = 0 decide about f alone; each other one strikes
    out the few c that solve k1 c = x3 - k2 f (mod g), instead of being tried on every c.
    """
    in_plane = forbidden[(forbidden[:, 0] == 0) & (forbidden[:, 1] % e == 0)]
    f = np.arange(g)
    f = f[((in_plane[:, 2] - np.outer(f, in_plane[:, 1] // e)) % g != 0).all(axis=1)]
    allowed = np.ones((len(f), e, g), dtype=bool)
    others = forbidden[(forbidden[:, 0] != 0) & (forbidden[:, 0] % a == 0)] if len(f) else forbidden[:0]
    for k1 in np.unique(others[:, 0] // a).tolist():
        common = gcd(k1, g)
        period = g // common
        inverse = pow(k1 // common, -1, period)
        x = others[others[:, 0] == k1 * a]
        rest = x[:, 1] - k1 * np.arange(e)[:, None]
        b, which = np.nonzero(rest % e == 0)
        right = (x[which, 2] - np.outer(f, rest[b, which] // e)) % g
        row, column = np.nonzero(right % common == 0)
        c = right[row, column] // common * inverse % period
        for shift in range(0, g, period):
            allowed[row, b[column], c + shift] = False
    row, b, c = np.nonzero(allowed)
    forms = np.zeros((len(b), 3, 3), dtype=np.int64)
    forms[:, 0, 0], forms[:, 1, 1], forms[:, 2, 2] = a, e, g
    forms[:, 0, 1], forms[:, 0, 2], forms[:, 1, 2] = b, c, f[row]
    return forms


def contain(forms: IntArray, vectors: IntArray) -> BoolArray:
    """Mask of the vectors (K, 3) that each sublattice (n, 3, 3) contains, (n, K)."""
    x1, x2, x3 = vectors.T
    a, b, c = (forms[:, 0, i, None] for i in range(3))
    e, f, g = forms[:, 1, 1, None], forms[:, 1, 2, None], forms[:, 2, 2, None]
    k1 = x1 // a
    k2 = (x2 - k1 * b) // e
    inside = (k1 * a == x1) & (k1 * b + k2 * e == x2)
    contained: BoolArray = inside & ((x3 - k1 * c - k2 * f) % g == 0)
    return contained


def minimum_lengths(forms: IntArray, basis: FloatArray) -> FloatArray:
    """Length of the shortest vector of each sublattice (n, 3, 3) of one index, (n,), Å."""
    volume = abs(np.linalg.det(basis)) * float(np.prod(np.diagonal(forms[0])))
    # No lattice is packed more densely than the face-centred cubic one (Gauss): length <= 2^(1/6) V^(1/3).
    vectors = short_vectors(basis, 2 ** (1 / 6) * volume ** (1 / 3) + 1e-3)
    lengths: FloatArray = np.linalg.norm(vectors[contain(forms, vectors).argmax(axis=1)] @ basis, axis=1)
    return lengths


def aligned(matrix: IntArray, cell: FloatArray) -> IntArray:
    """Rows of the matrix reordered and reversed, its determinant made positive, to point along the cell's axes."""
    old = cell / np.linalg.norm(cell, axis=1)[:, None]
    new = matrix @ cell
    overlap = new / np.linalg.norm(new, axis=1)[:, None] @ old.T
    choices = []
    for rows in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            turned = matrix[list(rows)] * np.array(signs)[:, None]
            if np.linalg.det(turned) > 0:
                along = sum(sign * overlap[row, axis] for axis, (row, sign) in enumerate(zip(rows, signs, strict=True)))
                choices.append((round(float(along), 6), turned.tolist()))
    return np.array(max(choices)[1], dtype=np.int64)
