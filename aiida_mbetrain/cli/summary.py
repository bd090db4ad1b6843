"""What a finished training set holds and where its time went."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from aiida_mbetrain.datasets.model import Dataset
from aiida_mbetrain.science.clusters import ClusterSet


def print_summary(console: Console, process: Any, dataset: Dataset, output: Path) -> None:
    """Frames, clusters per size, energy ranges, where the time went, the path of the file."""
    console.print(_contents(dataset))
    console.print(_times(process))
    size = output.stat().st_size / 1e6
    console.print(f"\nDataset: [bold]{output.resolve()}[/] ({size:.1f} MB), from {process.process_label}<{process.pk}>")


def _contents(dataset: Dataset) -> Table:
    table = Table("source", "clusters", "configurations", "energy range (eV per molecule)", title="Contents")
    for section in (*dataset.md, *dataset.phonons):
        name = "MD" if section in dataset.md else "phonons"
        for clusters in () if section.molecules is None else section.molecules.clusters:
            table.add_row(name, *_row(clusters))
    return table


def _row(clusters: ClusterSet) -> tuple[str, str, str]:
    n = clusters.cluster.n_molecules
    energies = clusters.configurations.energies
    span = "" if energies is None else f"{energies.min() / n:.3f} … {energies.max() / n:.3f}"
    return clusters.cluster.key, str(clusters.configurations.n_frames), span


def _times(process: Any) -> Table:
    table = Table("stage", "seconds", "share", title="\nWhere the time went", box=None)
    spent = list(_stage_times(process))
    whole = (process.mtime - process.ctime).total_seconds()
    rest = whole - sum(seconds for _, seconds in spent)
    for name, seconds in [*spent, ("AiiDA, clusters, files", rest)]:
        table.add_row(name, f"{seconds:.1f}", f"{seconds / whole:.0%}")
    return table


def _stage_times(process: Any) -> Iterator[tuple[str, float]]:
    from aiida import orm

    for job in process.called_descendants:
        links = job.base.links.get_outgoing(node_class=orm.Dict, link_label_filter="run_info").all()
        for link in links:
            caller = job.caller.base.links.get_incoming(link_label_filter="%").all()
            owner = next((item.link_label for item in caller if item.link_type.value.startswith("call")), "")
            info = link.node.get_dict()
            yield f"{owner}: {info['stage']}", info["wall_time_s"]
