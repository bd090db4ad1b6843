"""Options of the commands of reference labels: the clusters, and the method that labels them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiida_mbetrain.cli.common import read_reference_settings
from aiida_mbetrain.cli.sources import integers, load_node, stages_of_node, words
from aiida_mbetrain.errors import InvalidSettings

if TYPE_CHECKING:
    from aiida_mbetrain.calculations.functions.reference_labels import ClusterInputs
    from aiida_mbetrain.settings import ReferenceLabels


@dataclass(frozen=True)
class MethodOptions:
    """The options that name a method, as they were given."""

    path: str | None
    method: str | None
    order: int | None
    counterpoise: str | None

    def settings(self, folder: str | None = None) -> ReferenceLabels:
        """Settings of the options, or of a folder of `reference export`, which has its own."""
        from aiida_mbetrain.science.reference_labels.elsewhere import folder_settings

        if folder is None:
            return read_reference_settings(self.path, self.method, self.order, self.counterpoise)
        if twice := [name for name, value in vars(self).items() if value is not None]:
            options = ", ".join(f"--{'settings' if name == 'path' else name}" for name in twice)
            raise InvalidSettings(f"--folder has settings of its own: leave out {options}.")
        return folder_settings(Path(folder))


@dataclass(frozen=True)
class ClusterOptions:
    """The clusters of a process, all or some, as the options say."""

    process: str
    sizes: tuple[int, ...] | None
    sources: tuple[str, ...] | None
    picks: str | None

    def load(self) -> ClusterInputs:
        """Cluster sets of the process.  Raises InvalidSettings where nothing is left of them."""
        from aiida_mbetrain.calculations.functions.reference_labels import cluster_sets

        choice = None if self.picks is None else load_node(self.picks)
        return cluster_sets(
            stages_of_node(load_node(self.process)), sizes=self.sizes, sources=self.sources, choice=choice
        )


def choosing_clusters(function: Callable[..., None]) -> Callable[..., None]:
    """Add the argument PROCESS and the options that choose some of its clusters."""

    @functools.wraps(function)
    def wrapped(
        process: str,
        sizes: tuple[int, ...] | None,
        sources: tuple[str, ...] | None,
        picks: str | None,
        **others: object,
    ) -> None:
        function(clusters=ClusterOptions(process, sizes, sources, picks), **others)

    command: Callable[..., None] = wrapped
    for decorate in (
        click.option("--picks", help="Only the frames that a `subsample` of this run picked: its pk."),
        click.option("--sources", callback=words, help="Some of md,phonons [both]."),
        click.option("--sizes", callback=integers, help="Numbers of molecules, such as 1,2,3 [all]."),
        click.argument("process"),
    ):
        command = decorate(command)
    return command


def choosing_method(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that name a method."""

    @functools.wraps(function)
    def wrapped(
        path: str | None, method: str | None, order: int | None, counterpoise: str | None, **others: object
    ) -> None:
        function(chosen=MethodOptions(path, method, order, counterpoise), **others)

    command: Callable[..., None] = wrapped
    for decorate in (
        click.option(
            "--counterpoise",
            type=click.Choice(["none", "cp", "vmfc"]),
            help="Basis of the fragments: their own, the cluster's, or that of each n-mer.",
        ),
        click.option("--order", type=click.IntRange(min=1), help="Molecules per fragment; default: whole clusters."),
        click.option("--method", help="GFN2-xTB, or method/basis such as PBE-D4/def2-SVP or CCSD(T)/cc-pVDZ."),
        click.option("--settings", "path", help="YAML file with the settings of ReferenceLabels."),
    ):
        command = decorate(command)
    return command
