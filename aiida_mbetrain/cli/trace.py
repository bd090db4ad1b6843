"""Origin of a frame of the dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from aiida_mbetrain.cli.common import node_of_uuid

LONGEST_LINE = 132


@click.command("trace")
@click.argument("file")
@click.argument("entry")
@click.argument("frame", type=int)
@click.pass_context
def trace(ctx: click.Context, file: str, entry: str, frame: int) -> None:
    """Show the origin of FRAME (counted from 0) of ENTRY in FILE.

    ENTRY is a path in the file, such as training/phonon_sampling/finite_subsystems/n=3: molecules and lattice
    translations, MD step or phonon mode, then job, model and structure.  No profile is needed; the pk of a node is
    shown if the profile has it.
    """
    from aiida_mbetrain.datasets.hdf5 import origin_of

    origin = origin_of(file, entry, frame)
    tree = Tree(Text(f"{origin.entry}  frame {frame}", style="bold"))
    if origin.molecule_indices:
        molecules = tree.add(f"cluster of {origin.n_molecules} molecules, {origin.n_repeated_molecules} repeated")
        if origin.orbit is not None:
            molecules.add(f"orbit {origin.orbit}, {origin.multiplicity} such clusters around its first molecule")
        for index, translation in zip(origin.molecule_indices, origin.translations, strict=True):
            molecules.add(f"molecule {index}, lattice translation {_vector(translation)}")
    source = tree.add("source")
    for name, value in origin.source.items():
        source.add(Text(f"{name} = {_text(value)}"))
    profile = ctx.meta.get("mbetrain_profile")
    said: set[tuple[str, str]] = set()
    for path, attributes in origin.provenance.items():
        branch = tree.add(Text(path or "file"))
        for line in _provenance_lines(attributes, profile, said):
            branch.add(Text(line))
    Console(width=max(Console().width, LONGEST_LINE)).print(tree)


def _provenance_lines(attributes: Mapping[str, Any], profile: str | None, said: set[tuple[str, str]]) -> Iterator[str]:
    """Provenance of a group that differs from that of the groups above it."""
    for name, value in attributes.items():
        if (name, str(value)) in said:
            continue
        said.add((name, str(value)))
        node = node_of_uuid(str(value), profile) if name.endswith("_uuid") else None
        yield f"{name} = {value}" + ("" if node is None else f"   (pk {node.pk})")


def _text(value: Any) -> str:
    return (
        _vector(value) if isinstance(value, list | tuple) else f"{value:g}" if isinstance(value, float) else str(value)
    )


def _vector(values: Any) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
