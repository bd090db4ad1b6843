"""Neighbour graphs of many configurations, joined into the one input that MACE takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matscipy.neighbours import neighbour_list

from aiida_mbetrain.science.configurations import Configurations, FloatArray, IntArray

DENSE_ATOMS = 300  # up to this many atoms all distances of a finite configuration cost less than a cell list


@dataclass(frozen=True)
class Graphs:
    """G configurations of n atoms and e directed edges in all.

    positions: (n, 3), Å.  numbers: atomic numbers, (n,).  cells: (G, 3, 3), Å, the identity where finite.
    edges: (2, e), sender and receiver.  unit_shifts: (e, 3), lattice translations of the receiver.
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
        return self.edges.shape[1]


def build_graphs(parts: Sequence[Configurations], r_max: float) -> Graphs:
    """The neighbour graphs of all frames of all parts, in order, with atoms closer than ``r_max`` (Å) joined."""
    sizes = np.concatenate([np.full(part.n_frames, part.n_atoms) for part in parts])
    starts = np.cumsum([0, *(part.n_frames * part.n_atoms for part in parts)])
    lists = [_edges(part, r_max) for part in parts]
    return Graphs(
        positions=np.concatenate([part.positions.reshape(-1, 3) for part in parts]),
        numbers=np.concatenate([np.tile(part.numbers, part.n_frames) for part in parts]),
        cells=np.concatenate([_cells(part) for part in parts]),
        edges=np.concatenate([edges + start for (edges, _), start in zip(lists, starts, strict=False)], axis=1),
        unit_shifts=np.concatenate([shifts for _, shifts in lists]),
        sizes=sizes,
        periodic=any(part.periodic for part in parts),
    )


def _cells(part: Configurations) -> FloatArray:
    # a unit volume keeps the stress of a finite configuration, which nobody reads, free of divisions by zero
    return np.tile(np.eye(3), (part.n_frames, 1, 1)) if part.cells is None else part.cells


def _edges(part: Configurations, r_max: float) -> tuple[IntArray, FloatArray]:
    """Edges (2, e) numbered within the part, and their unit shifts (e, 3)."""
    if part.cells is None and part.n_atoms <= DENSE_ATOMS:
        return _dense_edges(part.positions, r_max)
    # matscipy takes one configuration at a time
    lists = [_sparse_edges(part, frame, r_max) for frame in range(part.n_frames)]
    edges = [edges + frame * part.n_atoms for frame, (edges, _) in enumerate(lists)]
    return np.concatenate(edges, axis=1), np.concatenate([shifts for _, shifts in lists])


def _dense_edges(positions: FloatArray, r_max: float) -> tuple[IntArray, FloatArray]:
    """All pairs of finite frames (F, N, 3) within ``r_max``."""
    n = positions.shape[1]
    components = np.moveaxis(positions, -1, 0)
    squares = sum((x[:, :, None] - x[:, None, :]) ** 2 for x in components)
    squares[:, np.arange(n), np.arange(n)] = np.inf
    frames, senders, receivers = np.nonzero(squares < r_max**2)
    return np.stack([senders, receivers]) + frames * n, np.zeros((len(frames), 3))


def _sparse_edges(part: Configurations, frame: int, r_max: float) -> tuple[IntArray, FloatArray]:
    """Edges and unit shifts of one frame by matscipy's cell list."""
    positions = part.positions[frame]
    if part.cells is None:
        cell = np.diag(np.ptp(positions, axis=0) + 2 * r_max)
        positions = positions - positions.min(axis=0) + r_max
    else:
        cell = part.cells[frame]
    senders, receivers, shifts = neighbour_list(
        "ijS", cell=cell, pbc=[part.periodic] * 3, positions=positions, cutoff=r_max
    )
    return np.stack([senders, receivers]).astype(np.int64), shifts.astype(np.float64)


def to_model_input(
    graphs: Graphs, species: IntArray, n_species: int, head: int, device: torch.device, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """What ``MACE.forward`` reads; ``species`` maps an atomic number to its place in the model's table."""
    n_graphs = len(graphs.sizes)
    batch = torch.as_tensor(np.repeat(np.arange(n_graphs), graphs.sizes), device=device)
    edges = torch.as_tensor(graphs.edges, device=device)
    cells = torch.as_tensor(graphs.cells, device=device)
    unit_shifts = torch.as_tensor(graphs.unit_shifts, device=device)
    shifts = torch.einsum("ea,eab->eb", unit_shifts, cells[batch[edges[0]]])
    node_species = torch.as_tensor(species[graphs.numbers], device=device)
    return {
        "positions": torch.as_tensor(graphs.positions, device=device).to(dtype),
        "node_attrs": torch.nn.functional.one_hot(node_species, n_species).to(dtype),
        "edge_index": edges,
        "unit_shifts": unit_shifts.to(dtype),
        "shifts": shifts.to(dtype),
        "cell": cells.to(dtype).reshape(-1, 3),
        "batch": batch,
        "ptr": torch.as_tensor(np.concatenate([[0], np.cumsum(graphs.sizes)]), device=device),
        "head": torch.full((n_graphs,), head, dtype=torch.int64, device=device),
    }
