"""Origin of a frame of the dataset, or of a trained model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from aiida_mbetrain.cli.common import node_of_uuid, with_profile
from aiida_mbetrain.errors import InvalidSettings

if TYPE_CHECKING:
    from aiida import orm

LONGEST_LINE = 132
INDENT = 10
"""Of the lines of a tree, with room to spare."""


@click.command("trace")
@click.argument("source")
@click.argument("entry", required=False)
@click.argument("frame", type=int, required=False)
@click.option("--reference", metavar="METHOD", help="Its label by this method: fragments, jobs, settings, programs.")
@click.pass_context
def trace(ctx: click.Context, source: str, entry: str | None, frame: int | None, reference: str | None) -> None:
    """Show the origin of FRAME (counted from 0) of ENTRY in the file SOURCE, or of the trained model SOURCE.

    ENTRY is a path in the file, such as training/phonon_sampling/finite_subsystems/n=3: molecules and lattice
    translations, MD step or phonon mode, then job, model and structure.  No profile is needed; the pk of a node is
    shown if the profile has it.

    A model is a pk, uuid or sha256, a file, or the training: its settings, labels, baseline, split and dataset.
    """
    if entry is None or frame is None:
        if entry is not None or reference is not None:
            raise InvalidSettings(f"trace {source}: give FILE ENTRY FRAME, or a trained model alone.")
        return show_model(source)
    from aiida_mbetrain.datasets.hdf5 import origin_of, reference_facts

    origin = origin_of(source, entry, frame)
    facts = {} if reference is None else reference_facts(source, entry, frame, reference)
    tree = Tree(Text(f"{origin.entry}  frame {frame}", style="bold"))
    if origin.molecule_indices:
        molecules = tree.add(f"cluster of {origin.n_molecules} molecules, {origin.n_repeated_molecules} repeated")
        if origin.orbit is not None:
            molecules.add(f"orbit {origin.orbit}, {origin.multiplicity} such clusters around its first molecule")
        for index, translation in zip(origin.molecule_indices, origin.translations, strict=True):
            molecules.add(f"molecule {index}, lattice translation {_vector(translation)}")
    branch = tree.add("source")
    for name, value in origin.source.items():
        branch.add(Text(f"{name} = {_text(value)}"))
    profile = ctx.meta.get("mbetrain_profile")
    if facts:
        branch = tree.add(Text(f"reference label {reference}"))
        for name, value in facts.items():
            branch.add(Text(f"{name} = {value:g}" if isinstance(value, float) else f"{name} = {value}"))
        for line in _fragment_lines(facts, frame, profile):
            branch.add(Text(line))
    said: set[tuple[str, str]] = set()
    for path, attributes in origin.provenance.items():
        branch = tree.add(Text(path or "file"))
        for line in _provenance_lines(attributes, profile, said):
            branch.add(Text(line))
    Console(width=max(Console().width, LONGEST_LINE)).print(tree)


@with_profile
def show_model(source: str) -> None:
    """Print the origin of a trained model."""
    from aiida_mbetrain.cli.trace_model import note_of, origin_of_model, trained_model

    model = trained_model(source)
    tree = Tree(Text(f"{note_of(model)}", style="bold"))
    origin = origin_of_model(model)
    for title, lines in origin.items():
        branch = tree.add(Text(title))
        for line in lines:
            branch.add(Text(line))
    longest = max(len(line) for lines in origin.values() for line in lines)
    Console(width=longest + INDENT, soft_wrap=True).print(tree)  # settings are lines of JSON, to be copied whole


def _fragment_lines(facts: Mapping[str, object], frame: int, profile: str | None) -> Iterator[str]:
    """Fragments of a label with their calculations, if the profile has the process that composed it."""
    process = node_of_uuid(str(facts.get("process_uuid")), profile) if "process_uuid" in facts else None
    if process is None:
        return
    from aiida import orm

    from aiida_mbetrain.datasets.from_graph import composition_of, fragments_of

    assert isinstance(process, orm.CalcFunctionNode)
    for row in fragments_of(composition_of(process, str(facts["set_name"])), frame):
        ghosts = f" in the basis of {_vector(row['ghosts'])} too" if row["ghosts"] else ""
        energy = "no label" if row["energy_eV"] is None else f"{row['energy_eV']:.6f} eV by {row['made_by']}"
        yield f"{row['coefficient']} × molecules {_vector(row['molecules'])}{ghosts}: {energy}, fragment {row['id']}"


def _provenance_lines(
    attributes: Mapping[str, object], profile: str | None, said: set[tuple[str, str]]
) -> Iterator[str]:
    """Provenance of a group that differs from that of the groups above it."""
    for name, value in attributes.items():
        if (name, str(value)) in said:
            continue
        said.add((name, str(value)))
        node = node_of_uuid(str(value), profile) if name.endswith("_uuid") else None
        yield f"{name} = {value}" + ("" if node is None else f"   (pk {node.pk}{_trained(node)})")


def _trained(node: orm.Node) -> str:
    """Kind and labels of a trained model, whose own origin can be asked for."""
    from aiida_mbetrain.cli.trace_model import note_of

    note = note_of(node)
    return "" if note is None else f", {note}: aiida-mbetrain trace {node.pk}"


def _text(value: object) -> str:
    return (
        _vector(value) if isinstance(value, list | tuple) else f"{value:g}" if isinstance(value, float) else str(value)
    )


def _vector(values: Iterable[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
