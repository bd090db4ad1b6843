"""Labelled frames of a delta model from a dataset with labels of a reference method beside the baseline's."""

from __future__ import annotations

import numpy as np

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.model import Dataset, MDSection, Molecules, PhononSection
from aiida_mbetrain.datasets.training.frames import Entry, entries_of
from aiida_mbetrain.datasets.training.splits import LEFT_OUT, HoldOut, Split, split_entries
from aiida_mbetrain.errors import InvalidSettings, LabelsMissing
from aiida_mbetrain.science.configurations import AnyArray, IntArray
from aiida_mbetrain.science.training import LabelledFrames
from aiida_mbetrain.settings import TrainingFrames


def split_of(settings: TrainingFrames) -> Split:
    """The split that the settings describe."""
    held_out = HoldOut(settings.test_crystals, settings.test_temperatures_K, settings.test_sizes)
    return Split(settings.fractions, seed=settings.seed, block=settings.block, gap=settings.gap, hold_out=held_out)


def labelled_frames(
    dataset: Dataset, level_of_theory: str, settings: TrainingFrames, *, baseline: str
) -> LabelledFrames:
    """All chosen clusters with a label of the reference, and the part of the split that each belongs to.

    The split is that of the clusters with and without labels together: another label moves no frame.
    baseline: sha256 of the model of the dataset, or name of its calculator.
    Raises LabelsMissing where no frame has a label, InvalidSettings for labels of two methods under one name.
    """
    entries = entries_of(dataset, sources=settings.sources, sizes=settings.sizes)
    clusters = [entry for entry in entries if entry.path in dataset.references]
    if not any(level_of_theory in dataset.references[entry.path] for entry in clusters):
        known = sorted({name for by_method in dataset.references.values() for name in by_method})
        raise LabelsMissing(
            f"No chosen frame has a label of {level_of_theory!r}; there are labels of "
            f"{', '.join(known) or 'no reference method'}."
        )
    used = [entry for entry in clusters if level_of_theory in dataset.references[entry.path]]
    hashes = {dataset.references[entry.path][level_of_theory].method_hash for entry in used}
    if len(hashes) > 1:
        raise InvalidSettings(
            f"The labels of {level_of_theory!r} are of {len(hashes)} methods with different settings "
            f"({', '.join(sorted(hashes))}): label all frames by one of them."
        )
    molecules = molecules_of_clusters(dataset)
    lineages = {entry.lineage.key: number for number, entry in enumerate(used)}
    parts = []
    for entry, share in zip(used, split_entries(used, split_of(settings)), strict=True):
        labels = dataset.references[entry.path][level_of_theory]
        rows = np.flatnonzero(np.isfinite(labels.energies[entry.rows]) & (share != LEFT_OUT))
        if len(rows):
            parts.append(_columns(entry, rows, share, dataset, level_of_theory, molecules[entry.path], lineages))
    if not parts:
        raise LabelsMissing(f"No chosen frame has a complete label of {level_of_theory!r}.")
    columns = {name: [part[name] for part in parts] for name in parts[0]}
    if len({values.shape[1] for values in columns["features"]}) > 1:  # features of all sets, or of none
        columns["features"] = [values[:, :0] for values in columns["features"]]
    sizes = [len(part["numbers"]) // len(part["energies"]) for part in parts]
    n_atoms = np.repeat(sizes, [len(part["energies"]) for part in parts])
    return LabelledFrames(
        **{name: np.concatenate(values) for name, values in columns.items()},
        offsets=np.concatenate([[0], np.cumsum(n_atoms)]).astype(np.int64),
        level_of_theory=level_of_theory,
        method_hash=hashes.pop(),
        baseline=baseline,
    )


def molecules_of_clusters(dataset: Dataset) -> dict[str, IntArray]:
    """Molecule of every atom of the clusters of each path, counted from 0."""
    found: dict[str, IntArray] = {}
    for section in dataset.sections:
        if isinstance(section, MDSection | PhononSection) and section.molecules is not None:
            found |= _molecules_of(f"{section.group}/{names.FINITE_SUBSYSTEMS}", section.molecules)
    return found


def _molecules_of(group: str, molecules: Molecules) -> dict[str, IntArray]:
    sizes = (molecules.crystal.index_map >= 0).sum(axis=1)
    return {
        f"{group}/{item.cluster.key}": np.repeat(
            np.arange(item.cluster.n_molecules), sizes[item.cluster.molecule_indices]
        )
        for item in molecules.clusters
    }


def _columns(
    entry: Entry,
    rows: IntArray,
    share: IntArray,
    dataset: Dataset,
    level_of_theory: str,
    molecules: IntArray,
    lineages: dict[str, int],
) -> dict[str, AnyArray]:
    """Columns of the chosen frames of an entry; atoms one after another."""
    frames, labels = entry.configurations, dataset.references[entry.path][level_of_theory]
    if frames.energies is None or frames.forces is None:
        raise LabelsMissing(f"{entry.path} has no energies and forces of the baseline: label it first.")
    where, n, n_atoms = entry.rows[rows], len(rows), frames.n_atoms
    forces = np.full((n, n_atoms, 3), np.nan) if labels.forces is None else labels.forces[where]
    interactions = np.full(n, np.nan) if labels.interaction is None else labels.interaction[where]
    features = np.empty((n, 0)) if frames.features is None else frames.features[rows].sum(axis=1, dtype=np.float64)
    temperature = np.nan if entry.lineage.temperature_K is None else entry.lineage.temperature_K
    units = entry.units[rows] + (lineages[entry.lineage.key] << 32)
    return {
        "numbers": np.tile(frames.numbers, n),
        "positions": frames.positions[rows].reshape(-1, 3),
        "molecules": np.tile(molecules, n),
        "energies": labels.energies[where],
        "forces": forces.reshape(-1, 3),
        "baseline_energies": frames.energies[rows],
        "baseline_forces": frames.forces[rows].reshape(-1, 3),
        "interactions": interactions,
        "features": features,
        "subsets": share[rows],
        "units": units,
        "sources": np.full(n, entry.source),
        "temperatures_K": np.full(n, temperature),
        "paths": np.full(n, entry.path),
        "uids": np.array(entry.select(rows).uids),
    }
