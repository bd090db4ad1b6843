"""Messages of an interaction block without an array of all edges and harmonics."""

from __future__ import annotations

from typing import NamedTuple

import torch
from e3nn import o3

from aiida_mbetrain.science.potentials.mace.fused.arrangement import Receivers
from aiida_mbetrain.science.potentials.mace.fused.current import Current
from aiida_mbetrain.science.potentials.mace.fused.mace_modules import couplings


class _Path(NamedTuple):
    """One coupling: irreps of the sender and of the edge, dimensions of the sender's and of the message's."""

    sender: int
    harmonic: int
    d_sender: int
    d_message: int


class FusedConvolution(torch.nn.Module):
    """The channel-wise tensor product of senders and harmonics, times radial weights, summed over a receiver's edges.

    With C the coupling coefficients (l1 l2 -> l3), Y the harmonics of an edge, x its sender's features and w its
    weights, the message of atom n in channel u is

        m[n, u, k] = sum over edges and i of (sum_j C[i, j, k] Y[edge, j]) (w[edge, u] x[sender, u, i]),

    for every n a product of two small matrices over the joint index (edge, i): Batatia et al., arXiv:2206.07697,
    equation 8.  Called as MACE calls fused convolutions (its attribute ``conv_fusion``).
    """

    def __init__(self, product: o3.TensorProduct, current: Current) -> None:
        super().__init__()
        self._current = current
        self._feature_dims = [part.dim for part in product.irreps_in1]
        self._irreps = [(part.mul, part.ir.dim) for part in product.irreps_in1]
        self._harmonic_dims = [part.dim for part in product.irreps_in2]
        paths = couplings(product)
        # the blocks of a message follow its irreps, the weights follow the paths
        self._channels = [path.n_channels for path in paths]
        self._order = sorted(range(len(paths)), key=lambda place: paths[place].message)
        self._paths = []
        for place, path in enumerate(paths):
            d_sender, _, d_message = path.coefficients.shape
            self._paths.append(_Path(path.sender, path.harmonic, d_sender, d_message))
            # a scalar sender couples to the harmonic itself, up to a factor
            matrix = path.coefficients.movedim(1, 0).flatten(1) if d_sender > 1 else path.coefficients[0, 0, 0]
            self.register_buffer(f"coupling_{place}", matrix)

    def forward(
        self, node_feats: torch.Tensor, edge_attrs: torch.Tensor, tp_weights: torch.Tensor, edge_index: torch.Tensor
    ) -> torch.Tensor:
        """Messages (n, irreps); features (n, irreps), harmonics (e, irreps), weights (e or e / 2, paths x channels)."""
        arrangement = self._current.arrangement
        messages = [self._received(node_feats, edge_attrs, tp_weights, group) for group in arrangement.receivers]
        if arrangement.receiver_order is None:
            return messages[0]
        return torch.cat(messages).index_select(0, arrangement.receiver_order)

    def _received(
        self, node_feats: torch.Tensor, edge_attrs: torch.Tensor, tp_weights: torch.Tensor, group: Receivers
    ) -> torch.Tensor:
        rows = group.n * group.width
        features = [
            block.view(rows, mul, dim).transpose(1, 2).contiguous() if dim > 1 else block.unsqueeze(1)
            for block, (mul, dim) in zip(
                node_feats.index_select(0, group.senders).split(self._feature_dims, dim=1), self._irreps, strict=True
            )
        ]
        harmonics = (edge_attrs.index_select(0, group.edges) * group.present).split(self._harmonic_dims, dim=1)
        weights = tp_weights.index_select(0, group.radial).split(self._channels, dim=1)
        blocks = []
        for place in self._order:
            path, coupling = self._paths[place], getattr(self, f"coupling_{place}")
            harmonic = harmonics[path.harmonic]
            coupled = harmonic @ coupling if path.d_sender > 1 else harmonic * coupling
            sent = features[path.sender] * weights[place].unsqueeze(1)
            block = torch.bmm(
                coupled.view(group.n, group.width * path.d_sender, path.d_message).transpose(1, 2),
                sent.view(group.n, group.width * path.d_sender, self._channels[place]),
            )
            blocks.append(block.transpose(1, 2).flatten(1))
        return torch.cat(blocks, dim=1)
