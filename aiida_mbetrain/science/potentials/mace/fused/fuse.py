"""Replacing the modules of a loaded MACE model."""

from __future__ import annotations

import torch

from aiida_mbetrain.science.configurations import IntArray
from aiida_mbetrain.science.potentials.mace.fused.arrangement import arrange
from aiida_mbetrain.science.potentials.mace.fused.contraction import FusedContraction
from aiida_mbetrain.science.potentials.mace.fused.convolution import FusedConvolution
from aiida_mbetrain.science.potentials.mace.fused.current import Current
from aiida_mbetrain.science.potentials.mace.fused.mace_modules import (
    MaceModule,
    has_plain_radial_embedding,
    is_contraction,
    is_product_with_elements,
    replaceable_convolutions,
)
from aiida_mbetrain.science.potentials.mace.fused.radial import HalvedRadialEmbedding
from aiida_mbetrain.science.potentials.mace.fused.self_connection import FusedSelfConnection
from aiida_mbetrain.science.potentials.mace.graphs import Graphs


class FusedModules:
    """Handle on the modules that ``fuse`` put into a model, which have to know every batch before the model runs."""

    def __init__(self, current: Current, *, halved: bool) -> None:
        self._current, self._halved = current, halved

    def arrange(self, graphs: Graphs, species: IntArray, device: torch.device, dtype: torch.dtype) -> None:
        """Announce a batch; ``species``: the place of every atom's element in the model's table, (n,)."""
        self._current.arrangement = arrange(graphs, species, device, dtype, halved=self._halved)


def fuse(model: MaceModule) -> FusedModules:
    """Replace the modules of a model for which there is a fused one, in place."""
    current = Current()
    convolutions = replaceable_convolutions(model)
    for block in convolutions:
        block.conv_tp, block.conv_fusion = FusedConvolution(block.conv_tp, current), True
    for block in model.interactions:
        if is_product_with_elements(getattr(block, "skip_tp", None)):
            block.skip_tp = FusedSelfConnection(block.skip_tp, current)
    for block in model.products:
        if is_contraction(block.symmetric_contractions):
            block.symmetric_contractions = FusedContraction(block.symmetric_contractions, current)
    halved = len(convolutions) == len(model.interactions) and has_plain_radial_embedding(model)
    if halved:
        model.radial_embedding = HalvedRadialEmbedding(model.radial_embedding)
    return FusedModules(current, halved=halved)
