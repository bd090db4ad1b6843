"""Neighbour graphs of many configurations, joined into the one input that MACE takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from aiida_mbetrain.science.configurations import Configurations, FloatArray, IntArray
from aiida_mbetrain.science.potentials.mace.pair_lists import PairLists


@dataclass(frozen=True)
class Graphs:
    """G configurations of n atoms and e directed edges in all.

    positions: (n, 3), Å.  numbers: atomic numbers, (n,).  cells: (G, 3, 3), Å, the identity where finite.
    edges: (2, e), sender and receiver; edge e / 2 + k is edge k reversed.
    unit_shifts: (e, 3), lattice translations of the receiver.
    sizes: atoms of each configuration, (G,).  periodic: whether any configuration is.
    """

    positions: FloatArray
    numbers: IntArray
    cells: FloatArray
    edges: IntArray
    unit_shifts: FloatArray
    sizes: IntArray
    periodic: bool

    @property
    def n_edges(self) -> int:
        """e."""
        return int(self.edges.shape[1])


def build_graphs(parts: Sequence[Configurations], pairs: PairLists) -> Graphs:
    """The neighbour graphs of all frames of all parts, in order."""
    starts = np.cumsum([0, *(part.n_frames * part.n_atoms for part in parts)])
    found = [pairs.of_frames(part) for part in parts]
    atoms = [each.atoms + start for each, start in zip(found, starts, strict=False)]
    return Graphs(
        positions=np.concatenate([part.positions.reshape(-1, 3) for part in parts]),
        numbers=np.concatenate([np.tile(part.numbers, part.n_frames) for part in parts]),
        cells=np.concatenate([_cells(part) for part in parts]),
        edges=np.concatenate([*atoms, *(pair[::-1] for pair in atoms)], axis=1),
        unit_shifts=np.concatenate([*(each.shifts for each in found), *(-each.shifts for each in found)]),
        sizes=np.concatenate([np.full(part.n_frames, part.n_atoms) for part in parts]),
        periodic=any(part.periodic for part in parts),
    )


def _cells(part: Configurations) -> FloatArray:
    # a unit volume keeps the stress of a finite configuration, which nobody reads, free of divisions by zero
    return np.tile(np.eye(3), (part.n_frames, 1, 1)) if part.cells is None else part.cells


def to_model_input(
    graphs: Graphs, species: IntArray, n_species: int, head: int, device: torch.device, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """The input of ``MACE.forward``; ``species``: index of every atom's element in the model's table, (n,)."""
    n_graphs = len(graphs.sizes)
    batch = torch.as_tensor(np.repeat(np.arange(n_graphs), graphs.sizes), device=device)
    edges = torch.as_tensor(graphs.edges, device=device)
    cells = torch.as_tensor(graphs.cells, device=device)
    unit_shifts = torch.as_tensor(graphs.unit_shifts, device=device).to(dtype)
    return {
        "positions": torch.as_tensor(graphs.positions, device=device).to(dtype),
        "node_attrs": torch.nn.functional.one_hot(torch.as_tensor(species, device=device), n_species).to(dtype),
        "edge_index": edges,
        "unit_shifts": unit_shifts,
        "shifts": unit_shifts.new_zeros(1, 3).expand_as(unit_shifts),  # periodic: MACE makes them, for the stress
        "cell": cells.to(dtype).reshape(-1, 3),
        "batch": batch,
        "ptr": torch.as_tensor(np.concatenate([[0], np.cumsum(graphs.sizes)]), device=device),
        "head": torch.full((n_graphs,), head, dtype=torch.int64, device=device),
    }
