"""Tables of reference labels in the profile: those that clusters have, and those that a run made."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiida import orm
    from rich.console import Console

    from aiida_mbetrain.cli.reference_options import ClusterOptions
    from aiida_mbetrain.science.reference_labels import Expansion, FragmentLabels
    from aiida_mbetrain.settings import ReferenceLabels


def known(settings: ReferenceLabels, clusters: ClusterOptions) -> tuple[Expansion, FragmentLabels]:
    """Expansion of the chosen clusters of a process, and the labels and failures that the profile has for it."""
    from aiida_mbetrain.calculations.functions.reference_labels import expansion_of
    from aiida_mbetrain.data.conversion import as_science
    from aiida_mbetrain.science.reference_labels import merge_labels
    from aiida_mbetrain.workflows.fragment_bundles import tried_labels

    expansion = expansion_of(settings, *clusters.load())
    nodes = tried_labels(settings, set(expansion.fragments.ids.tolist()))
    labels = merge_labels(expansion.fragments, settings.method.hash, [as_science(node) for node in nodes])
    return expansion, labels


def show_run(console: Console, node: orm.ProcessNode, settings: ReferenceLabels) -> None:
    """Labelled frames of each set, and failures."""
    from rich.table import Table

    from aiida_mbetrain.workflows.fragment_bundles import outputs_of

    missing = node.outputs.missing.get_dict()
    clusters = {label.removeprefix("clusters__"): output for label, output in outputs_of(node).items()}
    table = Table("set", "frames", "labelled", "without forces", "pk")
    for name, given in sorted(node.inputs.sets.items()):
        found = clusters.get(name)
        labelled = 0 if found is None else found.base.attributes.get("n_frames")
        no_forces = labelled if found is not None and "forces" not in found.get_arraynames() else 0
        n_frames = given.base.attributes.get("n_frames")
        table.add_row(name, str(n_frames), str(labelled), str(no_forces), "-" if found is None else str(found.pk))
    console.print(table)
    for name, message in missing["failures"].items():
        console.print(f"failed {name}: {message}", highlight=False, markup=False)
    programs = ", ".join(node.outputs.labels.base.attributes.get("programs"))
    console.print(f"{node.process_label}<{node.pk}>: {settings.name} by {programs}", highlight=False, markup=False)
