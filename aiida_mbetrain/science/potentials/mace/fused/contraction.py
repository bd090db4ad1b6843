"""MACE's product basis as polynomials, whose gradients come with their values."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import torch

from aiida_mbetrain.science.potentials.mace.fused.current import Current
from aiida_mbetrain.science.potentials.mace.fused.mace_modules import (
    MaceModule,
    coefficients_by_degree,
    has_one_element,
)


class _Term(NamedTuple):
    """The part of one degree: coefficients (c, m * d, monomials), factors of the monomials (degree - 1, monomials)."""

    degree: int
    coefficients: torch.Tensor
    factors: torch.Tensor


class FusedContraction(torch.nn.Module):
    """The symmetric contraction of an atom's features A with themselves: Batatia et al., arXiv:2206.07697, equation 10.

    For every element and channel c and every component m of an output, it is a polynomial in the d components of
    A[c], with the coefficients T = sum_k U_k W_k.  T may be made symmetric in its indices; then, with

        v[i] = sum_jk.. T[i, j, k, ..] A[j] A[k] ..,

    a term of degree p has the value sum_i A[i] v[i] and, after Euler, the gradient p v: the backward pass has
    nothing left to compute.  The products A[j] A[k] .. are taken once for j <= k <= ..
    """

    def __init__(self, contraction: MaceModule, current: Current) -> None:
        super().__init__()
        self.contraction = contraction
        self._current = current
        self._of_one_element = has_one_element(contraction)
        self._polynomials: dict[int, list[list[_Term]]] = {}

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._polynomials.clear()  # what they were made from moves to another device or precision
        return super()._apply(fn, recurse)

    def forward(self, node_feats: torch.Tensor, node_attrs: torch.Tensor) -> torch.Tensor:
        """(n, irreps of the output), from features (n, c, d); the elements are those of the arrangement."""
        if self._of_one_element:
            return self._of_element(0, node_feats)
        arrangement = self._current.arrangement
        parts = [
            self._of_element(kind, node_feats.index_select(0, nodes)) for kind, nodes in arrangement.species.items()
        ]
        return torch.cat(parts).index_select(0, arrangement.species_order)

    def _of_element(self, kind: int, node_feats: torch.Tensor) -> torch.Tensor:
        if kind not in self._polynomials:
            self._polynomials[kind] = [_terms_of(part, kind) for part in self.contraction.contractions]
        outputs = [
            _Polynomial.apply(node_feats.permute(1, 2, 0).contiguous(), terms) for terms in self._polynomials[kind]
        ]
        return torch.cat([output.permute(2, 0, 1).flatten(1) for output in outputs], dim=1)


class _Polynomial(torch.autograd.Function):
    """Values (c, m, n) of polynomials without constant terms, at points (c, d, n)."""

    @staticmethod
    def forward(ctx: Any, points: torch.Tensor, terms: list[_Term]) -> torch.Tensor:
        channels, d, n = points.shape
        values = slopes = points.new_zeros(())
        for degree, coefficients, factors in terms:
            if degree == 1:
                vector = coefficients.expand(-1, -1, n)
            else:
                monomials = points.index_select(1, factors[0])
                for factor in factors[1:]:
                    monomials.mul_(points.index_select(1, factor))
                vector = torch.bmm(coefficients, monomials)
            values = values + vector
            # Euler: a homogeneous polynomial of degree p with symmetric coefficients has the gradient p v.
            slopes = torch.add(slopes, vector, alpha=degree)
        ctx.save_for_backward(slopes.view(channels, -1, d, n))
        return (values.view(channels, -1, d, n) * points.unsqueeze(1)).sum(dim=2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        (slopes,) = ctx.saved_tensors
        return (grad.unsqueeze(2) * slopes).sum(dim=1), None


def _terms_of(contraction: MaceModule, kind: int) -> list[_Term]:
    """The polynomial of one output irrep and element, by degree; degrees without coefficients are left out."""
    tensors = coefficients_by_degree(contraction, kind)
    return [_packed(tensor, degree) for degree, tensor in tensors.items() if tensor.any()] or [
        _packed(tensors[max(tensors)], max(tensors))
    ]


def _packed(tensor: torch.Tensor, degree: int) -> _Term:
    """Symmetric part of a tensor (c, m, d, d, ..), for monomials whose factors do not descend."""
    d = tensor.shape[2]
    orders = list(itertools.permutations(range(2, degree + 2)))
    tensor = torch.stack([tensor.permute(0, 1, *order) for order in orders]).mean(dim=0)
    factors = list(itertools.combinations_with_replacement(range(d), degree - 1))
    index = torch.tensor(factors, dtype=torch.int64, device=tensor.device).reshape(len(factors), degree - 1).T
    # A monomial stands for all orders of its factors: multinomial coefficient.
    repeats = [math.factorial(degree - 1) / math.prod(map(math.factorial, _counts(each))) for each in factors]
    packed = tensor[(..., *index)] if degree > 1 else tensor.unsqueeze(-1)
    packed = packed * torch.tensor(repeats, dtype=tensor.dtype, device=tensor.device)
    return _Term(degree, packed.flatten(1, 2).contiguous(), index)


def _counts(factors: tuple[int, ...]) -> list[int]:
    """Multiplicity of each factor of a monomial."""
    return [factors.count(factor) for factor in set(factors)]
