"""Options of the commands about reference labels: clusters, and the settings of a method."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from aiida_mbetrain.cli.common import read_options, with_profile
from aiida_mbetrain.cli.sources import integers

if TYPE_CHECKING:
    from aiida_mbetrain.settings import ReferenceLabels


def of_clusters(function: Callable[..., None]) -> Callable[..., None]:
    """Argument and options of the commands that choose clusters and a method."""
    for decorate in (
        click.option("--sizes", callback=integers, help="Numbers of molecules, such as 1,2,3; default: all."),
        click.option(
            "--counterpoise",
            type=click.Choice(["none", "cp", "vmfc"]),
            help="Basis of the fragments: their own, the cluster's, or that of each n-mer.",
        ),
        click.option("--order", type=click.IntRange(min=1), help="Molecules per fragment; default: whole clusters."),
        click.option("--method", help="GFN2-xTB, or method/basis such as PBE-D4/def2-SVP or CCSD(T)/cc-pVDZ."),
        click.option("--settings", "path", help="YAML file with the settings of ReferenceLabels."),
        click.argument("process"),
    ):
        function = decorate(function)
    return with_profile(function)


def read_settings(path: str | None, method: str | None, order: int | None, counterpoise: str | None) -> ReferenceLabels:
    """Settings of a file, of which the options replace some.  Raises UnreadableFile, InvalidSettings."""
    from aiida_mbetrain.settings import ReferenceLabels, method_of_name

    values = read_options(path)
    given = {"order": order, "counterpoise": counterpoise}
    values |= {name: value for name, value in given.items() if value is not None}
    if method is not None:
        values["method"] = method_of_name(method).to_dict()
    return ReferenceLabels(**values)
