"""Labels by reference methods: their number, and the baseline's energies against theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import units

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.tree import Group
from aiida_mbetrain.report.html import Markup, join
from aiida_mbetrain.report.page import Section
from aiida_mbetrain.report.source import Source
from aiida_mbetrain.report.svg import Plot, figures, number, padded
from aiida_mbetrain.report.tables import table
from aiida_mbetrain.science.configurations import BoolArray, FloatArray

COLOURS = ("blue", "orange", "green", "purple", "red", "ink")
MOST_POINTS = 500
"""Clusters of a size that are drawn, evenly spread."""
EV_IN_KJ_PER_MOL = units.mol / units.kJ


@dataclass(frozen=True, eq=False)
class Labels:
    """Energies of all clusters of a size by one method and by the baseline, kJ/mol per molecule.

    reference: NaN where a cluster has no label.
    """

    method: str
    n_molecules: int
    reference: FloatArray
    baseline: FloatArray
    forces: bool

    @property
    def labelled(self) -> BoolArray:
        """Clusters with a label."""
        return np.isfinite(self.reference)

    @property
    def relative(self) -> tuple[FloatArray, FloatArray]:
        """Energies of the labelled clusters by baseline and reference, each from its own mean.

        The methods count energy from different zeros; only differences between clusters can be compared.
        """
        both = self.baseline[self.labelled], self.reference[self.labelled]
        return both[0] - both[0].mean(), both[1] - both[1].mean()

    @property
    def spread(self) -> float:
        """Root mean square of the difference that remains."""
        baseline, reference = self.relative
        return float(np.sqrt(np.mean((reference - baseline) ** 2)))


def reference_labels_section(source: Source) -> Section | None:
    """Labelled and unlabelled clusters, and parity of baseline and reference; None without labels."""
    found = _by_method_and_size(source)
    if not found:
        return None
    rows = [
        [
            labels.method,
            f"{labels.n_molecules}",
            f"{np.count_nonzero(labels.labelled):,}",
            f"{np.count_nonzero(~labels.labelled):,}",
            "yes" if labels.forces else "no",
            number(round(labels.spread, 3)) if np.count_nonzero(labels.labelled) > 1 else "",
        ]
        for labels in found
    ]
    columns = ["method", "molecules", "labelled", "unlabelled", "forces", "difference / kJ/mol"]
    listing = table(columns, rows, caption="Labels by method and size of cluster")
    methods = list(dict.fromkeys(labels.method for labels in found))
    drawn = [_parity(method, [labels for labels in found if labels.method == method]) for method in methods]
    lead = (
        "Energies per molecule, those of each size from their mean; the difference is the root mean square of "
        "reference less baseline, what a delta model has to learn."
    )
    shown = [figure for figure in drawn if figure is not None]
    return Section("reference", "Reference labels", join(listing, figures(*shown)), lead=lead)


def _by_method_and_size(source: Source) -> list[Labels]:
    parts: dict[tuple[str, int], list[Labels]] = {}
    for kind in ("md_sampling", "phonon_sampling"):
        for _, section in source.sections(kind):
            for item in section.groups.get(names.FINITE_SUBSYSTEMS, Group()).groups.values():
                for labels in _labels_of(item):
                    parts.setdefault((labels.method, labels.n_molecules), []).append(labels)
    return [
        Labels(
            method,
            size,
            np.concatenate([part.reference for part in found]),
            np.concatenate([part.baseline for part in found]),
            all(part.forces for part in found),
        )
        for (method, size), found in sorted(parts.items())
    ]


def _labels_of(item: Group) -> Iterator[Labels]:
    """Labels of one cluster set; energies are stored per atom."""
    for group in item.groups.get(names.REFERENCE_LABELS, Group()).groups.values():
        structure, size = item[names.CLUSTER_OF_MOLECULES], len(item.array(names.MOLECULE_INDICES))
        if names.E_POT in structure.datasets:
            unit = group.integer(names.N_ATOMS) / size * EV_IN_KJ_PER_MOL
            energies = [unit * np.asarray(where.array(names.E_POT), dtype=np.float64) for where in (group, structure)]
            forces = names.FORCES in group.datasets
            yield Labels(str(group.attributes[names.LEVEL_OF_THEORY]), size, energies[0], energies[1], forces)


def _parity(method: str, found: Sequence[Labels]) -> Markup | None:
    """Reference against baseline, a colour for each size; None where no size has two labels."""
    sizes = [labels for labels in found if np.count_nonzero(labels.labelled) > 1]
    if not sizes:
        return None
    values = np.concatenate([value for labels in sizes for value in labels.relative])
    ends = padded(float(values.min()), float(values.max()))
    plot = Plot(
        ends,
        ends,
        x_label="baseline / kJ/mol",
        y_label="reference / kJ/mol",
        title=method,
        description=f"Energies per molecule by {method} against those of the baseline; difference by size: "
        + "; ".join(f"{labels.n_molecules} molecules, {labels.spread:.3g} kJ/mol" for labels in sizes)
        + ".",
        height=320,
    )
    plot.line(ends, ends, "ink", style="thin")
    for index, labels in enumerate(sizes):
        step = -(-np.count_nonzero(labels.labelled) // MOST_POINTS)
        baseline, reference = (value[::step] for value in labels.relative)
        name = f"{labels.n_molecules} molecule{'s' if labels.n_molecules > 1 else ''}"
        plot.points(baseline, reference, COLOURS[index % len(COLOURS)], radius=2.0, name=name)
    return plot.figure()
