"""Summary of a finished training set: contents and times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.model import Dataset, Molecules, QuasiHarmonicSection
from aiida_mbetrain.science.configurations import Configurations

if TYPE_CHECKING:
    from aiida import orm

    from aiida_mbetrain.settings import JsonObject


def print_summary(
    console: Console, process: orm.ProcessNode, dataset: Dataset, output: Path, *, seconds_before: float = 0.0
) -> None:
    """Print periodic frames, clusters by size, energy ranges, times of the stages and the path of the file.

    seconds_before: since the start of the program until the process began.
    """
    console.print(_contents(dataset))
    if dataset.quasi_harmonic:
        console.print(_phonons(dataset))
    console.print(_times(process, seconds_before))
    size = output.stat().st_size / 1e6
    console.print(f"\nDataset: [bold]{output.resolve()}[/] ({size:.1f} MB), from {process.process_label}<{process.pk}>")


def _contents(dataset: Dataset) -> Table:
    table = Table("source", "system", "configurations", "energy range (eV per atom)", title="Contents")
    for section in dataset.md:
        _add_rows(table, "MD", section.trajectory, section.molecules)
    for sampled in dataset.phonons:
        frames = sampled.frames if sampled.molecules is None else sampled.molecules.frames
        assert frames is not None  # a phonon section has one of the two
        _add_rows(table, "phonons", frames, sampled.molecules)
    return table


def _add_rows(table: Table, source: str, frames: Configurations, molecules: Molecules | None) -> None:
    """A row for the periodic frames and one for every cluster."""
    table.add_row(source, f"crystal of {frames.n_atoms} atoms", *_number_and_energies(frames))
    for clusters in () if molecules is None else molecules.clusters:
        table.add_row(source, clusters.cluster.key, *_number_and_energies(clusters.configurations))


def _phonons(dataset: Dataset) -> Table:
    """A row for every crystal with force constants: what its supercell and its free energy leave out."""
    table = Table("crystal", "atoms", "displacements", "operations kept", "modes left out of F", title="\nPhonons")
    for section in dataset.quasi_harmonic:
        left_out = _modes_left_out(section)
        for label, constants in section.force_constants.items():
            kept = constants.kept_operations
            table.add_row(
                escape(label),
                str(constants.supercell.n_atoms),
                str(constants.n_displacements),
                f"{kept.sum()} of {len(kept)}",
                left_out.get(label, ""),
            )
    return table


def _modes_left_out(section: QuasiHarmonicSection) -> dict[str, str]:
    """By crystal how many of the modes of the mesh enter no sum."""
    found = {}
    for thermodynamics in (
        section.thermodynamics_fixed_volume, section.eos_sampled, section.thermodynamics_equilibrium_volume,
    ):  # fmt: skip
        if thermodynamics is not None:
            columns = (names.SYSTEM_LABEL_CRYSTAL, names.N_LEFT_OUT_MODES, names.N_MODES)
            for label, n_left_out, n_modes in zip(*(thermodynamics[name] for name in columns), strict=True):
                found[str(label)] = f"{n_left_out} of {n_modes}"
    return found


def _number_and_energies(frames: Configurations) -> tuple[str, str]:
    if frames.energies is None or not frames.n_frames:
        return str(frames.n_frames), ""
    energies = frames.energies / frames.n_atoms
    return str(frames.n_frames), f"{energies.min():.5f} … {energies.max():.5f}"


def _times(process: orm.ProcessNode, seconds_before: float) -> Table:
    table = Table("stage", "seconds", "share", title="\nWhere the time went", box=None)
    infos = list(run_infos(process))
    spent = stage_times(infos)
    loading = sum(info.get("loading_time_s", 0.0) for _, info in infos)
    whole = (process.mtime - process.ctime).total_seconds()
    spent["AiiDA, clusters, files"] = whole - loading - sum(spent.values())
    spent["import and loading"] = seconds_before + loading
    whole += seconds_before
    for name, seconds in spent.items():
        table.add_row(name, f"{seconds:.1f}", f"{seconds / whole:.0%}")
    return table


def stage_times(infos: Iterable[tuple[str, JsonObject]]) -> dict[str, float]:
    """Seconds by stage WorkChain and heavy stage, summed over the crystals of a thermal expansion."""
    spent: dict[str, float] = {}
    for owner, info in infos:
        name = f"{owner}: {info['stage']}"
        spent[name] = spent.get(name, 0.0) + info["wall_time_s"]
    return spent


def run_infos(process: orm.ProcessNode) -> Iterator[tuple[str, JsonObject]]:
    """``run_info`` of every heavy stage computed below the process, with the call label of its outermost WorkChain.

    Stages whose results AiiDA took from an earlier run are not among them.
    """
    from aiida import orm
    from aiida.common import LinkType
    from aiida.orm.nodes.caching import NodeCaching

    called = process.base.links.get_outgoing(link_type=(LinkType.CALL_CALC, LinkType.CALL_WORK)).all()
    owners = {node.pk: link.link_label for link in called for node in (link.node, *link.node.called_descendants)}
    computed = {"id": {"in": [*owners]}, "extras": {"!has_key": NodeCaching.CACHED_FROM_KEY}}
    made = {"label": "run_info", "type": LinkType.CREATE.value}
    query = orm.QueryBuilder().append(orm.ProcessNode, filters=computed, tag="stage", project="id")
    query.append(orm.Dict, with_incoming="stage", edge_filters=made, project="attributes")
    query.order_by({orm.ProcessNode: "id"})
    for pk, info in query.iterall():
        yield owners[pk], info
