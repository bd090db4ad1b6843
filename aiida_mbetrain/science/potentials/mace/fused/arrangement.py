"""Order of the atoms and edges of a batch for matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from aiida_mbetrain.science.configurations import IntArray
from aiida_mbetrain.science.potentials.mace.graphs import Graphs

PADDING = 1.2
"""Rows per edge up to which all receivers are padded to the same number of edges; beyond, they are sorted first."""


@dataclass(frozen=True)
class Receivers:
    """n atoms, each with ``width`` rows for its edges; the rows of missing edges point at edge 0.

    edges, radial, senders: (n * width,), the edge of a row, its row in the radial embedding, and its sender.
    present: (n * width, 1), 1 or 0 for a missing edge.
    """

    n: int
    width: int
    edges: torch.Tensor
    radial: torch.Tensor
    senders: torch.Tensor
    present: torch.Tensor


@dataclass(frozen=True)
class Arrangement:
    """Order of the atoms of a batch as receivers and by species.

    receivers: every atom once.  receiver_order: place of every atom in them, None: their own order.

    species: index in the model's table -> atoms.  species_order: place of every atom in them.
    """

    receivers: tuple[Receivers, ...]
    receiver_order: torch.Tensor | None
    species: dict[int, torch.Tensor]
    species_order: torch.Tensor


def arrange(
    graphs: Graphs, species: IntArray, device: torch.device, dtype: torch.dtype, *, halved: bool
) -> Arrangement:
    """The arrangement of a batch; ``species``: the place of every atom's element in the model's table, (n,).

    halved: the radial embedding has rows for the first half of the edges, which the second half shares.
    """
    groups = list(_receiver_groups(graphs, device, dtype, halved=halved))
    by_species, species_order = _by_species(species.tobytes(), device)
    return Arrangement(
        receivers=tuple(group for _, group in groups),
        receiver_order=None if len(groups) == 1 else _places([nodes for nodes, _ in groups], device),
        species=by_species,
        species_order=species_order,
    )


@lru_cache(maxsize=1)
def _by_species(species: bytes, device: torch.device) -> tuple[dict[int, torch.Tensor], torch.Tensor]:
    """The atoms of each species and their places; kept, as the atoms of a trajectory stay the same."""
    kinds = np.frombuffer(species, dtype=np.int64)
    nodes = {int(kind): np.flatnonzero(kinds == kind) for kind in np.unique(kinds)}
    by_species = {kind: torch.as_tensor(atoms, device=device) for kind, atoms in nodes.items()}
    return by_species, _places(list(nodes.values()), device)


def _places(parts: list[IntArray], device: torch.device) -> torch.Tensor:
    """Position of each atom in the joined parts."""
    return torch.as_tensor(np.argsort(np.concatenate(parts)), device=device)


def _smallest_type(n: int) -> np.dtype:
    """Smallest type of n indices: NumPy sorts 16-bit integers by radix sort, three times faster than 64-bit ones."""
    return np.min_scalar_type(max(n - 1, 0))


def _receiver_groups(
    graphs: Graphs, device: torch.device, dtype: torch.dtype, *, halved: bool
) -> Iterator[tuple[IntArray, Receivers]]:
    """All atoms in one group, or in two of few and of many edges where that saves padding."""
    senders, receivers = graphs.edges
    n_atoms, n_edges = len(graphs.numbers), len(receivers)
    by_receiver = np.argsort(receivers.astype(_smallest_type(n_atoms)), kind="stable")
    counts = np.bincount(receivers, minlength=n_atoms)
    firsts = np.cumsum(counts) - counts
    groups = [np.arange(n_atoms)]
    if n_atoms * counts.max() > PADDING * n_edges:
        groups = [nodes for nodes in np.array_split(np.argsort(counts, kind="stable"), 2) if len(nodes)]
    for nodes in groups:
        slots = np.arange(counts[nodes].max())
        present = slots < counts[nodes, None]
        table = np.zeros(present.shape, dtype=np.int64)
        table[present] = by_receiver.take((firsts[nodes, None] + slots)[present])
        edges = table.ravel()
        radial = np.where(edges < n_edges // 2, edges, edges - n_edges // 2) if halved else edges
        yield (
            nodes,
            Receivers(
                n=len(nodes),
                width=len(slots),
                edges=torch.as_tensor(edges, device=device),
                radial=torch.as_tensor(radial, device=device),
                senders=torch.as_tensor(senders.take(edges), device=device),
                present=torch.as_tensor(present.reshape(-1, 1), device=device).to(dtype),
            ),
        )
