"""Radial embeddings of edges, once for both directions."""

from __future__ import annotations

import torch


class HalvedRadialEmbedding(torch.nn.Module):
    """Radial embedding of the first half of the edges; the second half holds the same edges reversed.

    The weights of the convolution, which the interaction blocks compute from it, are half as long too.
    """

    def __init__(self, embedding: torch.nn.Module) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(
        self,
        edge_lengths: torch.Tensor,
        node_attrs: torch.Tensor,
        edge_index: torch.Tensor,
        atomic_numbers: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The embedding of the first half of the lengths (e, 1), Å."""
        half = len(edge_lengths) // 2
        embedded: tuple[torch.Tensor, torch.Tensor | None] = self.embedding(
            edge_lengths[:half], node_attrs, edge_index[:, :half], atomic_numbers
        )
        return embedded
