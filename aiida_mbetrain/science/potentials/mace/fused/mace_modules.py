"""Parts of MACE and e3nn that the fused kernels replace: the only place that knows these modules from inside.

None of it is a public interface of either package (mace-torch 0.3.14 to 0.3.16, e3nn 0.4.4); with another version it
may be missing, which ``kernels.with_kernels`` reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from e3nn import o3
from mace.modules import blocks
from mace.modules.symmetric_contraction import SymmetricContraction

MaceModule: TypeAlias = Any
"""A module of MACE or e3nn: torch knows its attributes as tensors or modules only."""

WITH_CONVOLUTION = (
    blocks.RealAgnosticInteractionBlock,
    blocks.RealAgnosticResidualInteractionBlock,
    blocks.RealAgnosticDensityInteractionBlock,
    blocks.RealAgnosticDensityResidualInteractionBlock,
    blocks.RealAgnosticAttResidualInteractionBlock,
    blocks.RealAgnosticResidualNonLinearInteractionBlock,
)
"""Interaction blocks that call a fused convolution if they have the attribute ``conv_fusion``."""

WITH_PLAIN_RADIAL_EMBEDDING = (blocks.RealAgnosticInteractionBlock, blocks.RealAgnosticResidualInteractionBlock)
"""Interaction blocks that use the radial embedding for the weights of their convolution alone."""


def replaceable_convolutions(model: MaceModule) -> list[MaceModule]:
    """Interaction blocks whose convolution couples each channel with one harmonic and one weight."""
    return [
        block
        for block in model.interactions
        if type(block) in WITH_CONVOLUTION
        and not hasattr(block, "conv_fusion")
        and is_channelwise_product(block.conv_tp)
    ]


def is_channelwise_product(product: MaceModule) -> bool:
    """Return True for a tensor product of e3nn that couples each channel with one harmonic and one weight."""
    return (
        isinstance(product, o3.TensorProduct)
        and not product.internal_weights
        and all(part.mul == 1 for part in product.irreps_in2)
        and all(path.connection_mode == "uvu" and path.has_weight for path in product.instructions)
        and sorted(path.i_out for path in product.instructions) == list(range(len(product.irreps_out)))
    )


@dataclass(frozen=True)
class Coupling:
    """One path of a channel-wise tensor product: irreps of sender and edge, place of the message's irrep.

    coefficients: (d_sender, d_harmonic, d_message), the path's factor included.
    """

    sender: int
    harmonic: int
    message: int
    n_channels: int
    coefficients: torch.Tensor


def couplings(product: MaceModule) -> list[Coupling]:
    """The paths of a channel-wise tensor product in the order of its weights.

    The coefficients are those that the model holds, which may have been rounded to single precision.
    """
    stored = {name.rpartition(".")[2]: buffer for name, buffer in product.named_buffers()}
    found = []
    for path in product.instructions:
        sender, harmonic, message = (
            product.irreps_in1[path.i_in1].ir.l,
            product.irreps_in2[path.i_in2].ir.l,
            product.irreps_out[path.i_out].ir.l,
        )
        coefficients = stored.get(f"_w3j_{sender}_{harmonic}_{message}")
        if coefficients is None:
            coefficients = o3.wigner_3j(sender, harmonic, message, dtype=torch.float64)
        n_channels = product.irreps_in1[path.i_in1].mul
        found.append(Coupling(path.i_in1, path.i_in2, path.i_out, n_channels, path.path_weight * coefficients))
    return found


def is_product_with_elements(product: MaceModule) -> bool:
    """Return True for a tensor product of e3nn with internal weights and scalars as its second factor."""
    return (
        type(product) is o3.FullyConnectedTensorProduct
        and product.internal_weights
        and [part.ir for part in product.irreps_in2] == [o3.Irrep("0e")]
        and all(path.connection_mode == "uvw" and path.has_weight for path in product.instructions)
    )


@dataclass(frozen=True)
class ElementMatrices:
    """One path of a product with one-hot elements: irreps of input and output, matrices (elements, inputs, outputs)."""

    input: int
    output: int
    matrices: torch.Tensor


def element_matrices(product: MaceModule) -> list[ElementMatrices]:
    """The paths of a fully connected tensor product with one-hot elements."""
    found = []
    for path, weight in zip(product.instructions, product.weight_views(), strict=True):
        dim = product.irreps_out[path.i_out].ir.dim
        # couplings of l and 0 to l are 1 / sqrt(2 l + 1)
        matrices = path.path_weight * dim**-0.5 * weight.detach().movedim(1, 0)
        found.append(ElementMatrices(path.i_in1, path.i_out, matrices))
    return found


def is_contraction(module: MaceModule) -> bool:
    """Return True if a symmetric contraction is MACE's own."""
    return type(module) is SymmetricContraction


def has_one_element(contraction: MaceModule) -> bool:
    """Return True where all elements share their weights."""
    return bool(contraction.contractions[0].weights_max.shape[0] == 1)


def coefficients_by_degree(contraction: MaceModule, element: int) -> Mapping[int, torch.Tensor]:
    """Coefficients (channels, components, d, .., d) of the polynomial of one output irrep, by degree from 1."""
    top = contraction.correlation
    weights = {top: contraction.weights_max} | {top - 1 - k: w for k, w in enumerate(contraction.weights)}
    tensors = {}
    for degree in range(1, top + 1):
        coupling = contraction.U_tensors(degree)
        tensor = torch.einsum("...k,kc->c...", coupling, weights[degree][element])
        # scalar outputs have no axis for their one component
        tensors[degree] = tensor.unsqueeze(1) if coupling.dim() == degree + 1 else tensor
    return tensors


def has_plain_radial_embedding(model: MaceModule) -> bool:
    """Return True if only the weights of convolutions are computed from the model's radial embedding."""
    return type(model.radial_embedding) is blocks.RadialEmbeddingBlock and all(
        type(block) in WITH_PLAIN_RADIAL_EMBEDDING for block in model.interactions
    )
