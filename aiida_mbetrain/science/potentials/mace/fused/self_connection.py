"""Linear maps whose matrix depends on the element."""

from __future__ import annotations

import torch
from e3nn import o3

from aiida_mbetrain.science.potentials.mace.fused.current import Current
from aiida_mbetrain.science.potentials.mace.fused.mace_modules import element_matrices


class FusedSelfConnection(torch.nn.Module):
    """The fully connected tensor product of features with one-hot elements: for each element a matrix per irrep.

        out[n, w, k] = sum_u W[u, element of n, w] x[n, u, k].

    e3nn multiplies features and elements out first, so that most of its products are with zeros.
    """

    def __init__(self, product: o3.FullyConnectedTensorProduct, current: Current) -> None:
        super().__init__()
        self._current = current
        self._inputs = [(part.mul, part.ir.dim) for part in product.irreps_in1]
        self._output_dims = [part.dim for part in product.irreps_out]
        self._paths = []
        for place, path in enumerate(element_matrices(product)):
            self._paths.append((path.input, path.output))
            self.register_buffer(f"matrices_{place}", path.matrices)

    def forward(self, node_feats: torch.Tensor, node_attrs: torch.Tensor) -> torch.Tensor:
        """(n, irreps of the output), from features (n, irreps); the elements are those of the arrangement."""
        arrangement = self._current.arrangement
        parts = [
            self._of_element(kind, node_feats.index_select(0, nodes)) for kind, nodes in arrangement.species.items()
        ]
        return torch.cat(parts).index_select(0, arrangement.species_order)

    def _of_element(self, kind: int, node_feats: torch.Tensor) -> torch.Tensor:
        n = len(node_feats)
        blocks = node_feats.split([mul * dim for mul, dim in self._inputs], dim=1)
        inputs = [
            block.view(n, mul, dim).transpose(1, 2) for block, (mul, dim) in zip(blocks, self._inputs, strict=True)
        ]
        outputs: list[torch.Tensor | None] = [None] * len(self._output_dims)
        for place, (i_in, i_out) in enumerate(self._paths):
            product = (inputs[i_in] @ getattr(self, f"matrices_{place}")[kind]).transpose(1, 2).flatten(1)
            outputs[i_out] = product if outputs[i_out] is None else outputs[i_out] + product
        return torch.cat(
            [
                node_feats.new_zeros(n, dim) if output is None else output
                for output, dim in zip(outputs, self._output_dims, strict=True)
            ],
            dim=1,
        )
