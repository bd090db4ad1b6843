"""Radial embeddings of edges, once for both directions."""

from __future__ import annotations

from typing import Any

import torch
from mace.modules.blocks import (
    RadialEmbeddingBlock,
    RealAgnosticInteractionBlock,
    RealAgnosticResidualInteractionBlock,
)


class HalvedRadialEmbedding(torch.nn.Module):
    """Of the first half of the edges; the second half holds the same edges reversed, which are as long.

    What the interaction blocks compute from it (the weights of the convolution) is half as long too.
    """

    def __init__(self, embedding: torch.nn.Module) -> None:
        super().__init__()
        self.embedding = embedding

    @staticmethod
    def can_replace(model: Any) -> bool:
        """Whether nothing but the weights of convolutions is made from the model's radial embedding."""
        return type(model.radial_embedding) is RadialEmbeddingBlock and all(
            type(block) in (RealAgnosticInteractionBlock, RealAgnosticResidualInteractionBlock)
            for block in model.interactions
        )

    def forward(
        self,
        edge_lengths: torch.Tensor,
        node_attrs: torch.Tensor,
        edge_index: torch.Tensor,
        atomic_numbers: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What the embedding gives for half of the lengths (e, 1), Å."""
        half = len(edge_lengths) // 2
        embedded: tuple[torch.Tensor, torch.Tensor | None] = self.embedding(
            edge_lengths[:half], node_attrs, edge_index[:, :half], atomic_numbers
        )
        return embedded
