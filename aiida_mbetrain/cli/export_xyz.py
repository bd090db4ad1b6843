"""Write extended XYZ for a trainer, from nodes or from an HDF5 file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiida_mbetrain.cli import sources as source_options
from aiida_mbetrain.errors import InvalidSettings

if TYPE_CHECKING:
    from aiida_mbetrain.datasets.model import Dataset
    from aiida_mbetrain.datasets.training import Entry, ExternalLabels, HoldOut

Options = dict[str, Any]
"""Of the command line by name."""

E0S_HELP = "model, average, a .json or .yaml file {C: -1029.6, ...} (eV), or a .model file."


@click.command("export-xyz")
@click.argument("source")
@click.option("-o", "--output", default="mace", show_default=True, help="Folder to write to.")
@click.option("--split", callback=source_options.numbers, default="0.8,0.1,0.1", show_default=True,
              help="Fractions of training, validation and test.")  # fmt: skip
@click.option("--seed", default=42, show_default=True, help="Seed of the split.")
@click.option("--block", type=int, help="MD frames that stay together; a tenth of the trajectory by default.")
@click.option("--gap", default=1, show_default=True, help="MD frames left out at the seams between two sets.")
@click.option("--hold-out", multiple=True, metavar="WHAT=VALUE",
              help="Only test on crystal=NAME of a campaign, temperature=K or size=N; may be repeated.")  # fmt: skip
@click.option("--sources", callback=source_options.words, help="Some of md,phonons,quasi_harmonic [md,phonons].")
@click.option("--sizes", callback=source_options.integers, help="Numbers of molecules, 0 for the crystal [all].")
@click.option("--picks", help="Only the frames that a `subsample` of this run picked: its pk.")
@click.option("--e0s", help=f"Energies of isolated atoms: {E0S_HELP}")
@click.option("--no-labels", is_flag=True, help="Geometries and uids only, to be labelled elsewhere.")
@click.option("--labels", help="Take imported labels: the pk of `labels import`, or a labelled file.")
@click.option("--reference", metavar="METHOD", help="Take labels of `reference run`: their name, or its pk.")
@click.option("--delta", is_flag=True,
              help="With --labels or --reference: energies, forces and E0s minus the baseline's.")  # fmt: skip
@click.option("--baseline-e0s", default="model", show_default=True, help="With --delta: E0s of the baseline, as --e0s.")
@click.option("--head", help="Head of the model that these data are for, in train.yaml and on every frame.")
@click.option("--name", default="mace", show_default=True, help="Name of the model in train.yaml.")
def export_xyz(source: str, output: str, no_labels: bool, **options: Any) -> None:
    """Write SOURCE (pk or uuid of a run, or an HDF5 file) as extended XYZ for MACE, with a ready train.yaml.

    Training, validation and test set share no related frames: clusters of one frame, frames of one mode and
    neighbouring MD frames stay together.
    """
    from aiida_mbetrain.datasets.training import Split, entries_of, undetermined, write_training_files, write_unlabelled

    held_out = read_hold_out(options["hold_out"])
    split = Split(options["split"], seed=options["seed"], block=options["block"], gap=options["gap"], hold_out=held_out)
    check_options(options)
    from_profile = options["reference"] and not source_options.is_file(source)
    dataset = source_options.read_source(source, (options["reference"],) if from_profile else (), features=False)
    if no_labels:
        entries = entries_of(dataset, sources=options["sources"], sizes=options["sizes"])
        written = write_unlabelled(output, _picked(entries, dataset, options["picks"]))
    else:
        choose = _reference_targets if options["reference"] else _labelled
        entries, e0s, origin = choose(source, dataset, options | {"split": split})
        entries = _picked(entries, dataset, options["picks"])
        reason = undetermined(entries)
        if reason is not None:
            click.echo(f"{reason}; they are taken from {origin} and written to train.yaml.")
        written = write_training_files(output, entries, e0s, split=split, head=options["head"], name=options["name"])
    for name, n_frames in written.n_frames.items():
        click.echo(f"{(written.folder / name).resolve()}  {n_frames} frames")
    if written.n_left_out:
        click.echo(f"{written.n_left_out} frames were left out: at the seams (--gap), or equal to another frame.")
    if not no_labels:
        click.echo(f"cd {written.folder} && mace_run_train --config train.yaml")


def read_hold_out(words: Sequence[str]) -> HoldOut:
    """The HoldOut of words like ``crystal=urea``.  Raises InvalidSettings."""
    from aiida_mbetrain.datasets.training import HoldOut

    found: dict[str, list[Any]] = {"crystal": [], "temperature": [], "size": []}
    kinds: dict[str, type] = {"crystal": str, "temperature": float, "size": int}
    for word in words:
        name, _, value = word.partition("=")
        try:
            found[name].append(kinds[name](value))
        except (KeyError, ValueError):
            raise InvalidSettings(
                f"--hold-out {word}: give crystal=NAME, temperature=KELVIN or size=MOLECULES (0: the crystal)."
            ) from None
    return HoldOut(tuple(found["crystal"]), tuple(found["temperature"]), tuple(found["size"]))


def check_options(options: Options) -> None:
    """Check the options before the dataset is read."""
    from aiida_mbetrain.datasets.training import check_sources

    check_sources(options["sources"] or ())
    if options["labels"] and options["reference"]:
        raise InvalidSettings("--labels and --reference are two sources of targets: give one of them.")
    if options["delta"] and not (options["labels"] or options["reference"]):
        raise InvalidSettings("--delta needs --labels or --reference: the target that the baseline is subtracted from.")
    for name in ("e0s", "baseline_e0s"):
        wanted = options[name]
        if wanted not in (None, "model", "average") and not source_options.is_file(wanted):
            raise InvalidSettings(f"--{name.replace('_', '-')} {wanted}: give {E0S_HELP}")


def _labelled(source: str, dataset: Dataset, options: Options) -> tuple[list[Entry], dict[int, float], str]:
    """Entries with the requested labels, their E0s and the origin of the E0s."""
    from aiida_mbetrain.datasets.training import (
        SOURCES,
        delta_e0s,
        elements_of,
        entries_of,
        require_elements,
        target_minus_baseline,
        with_labels,
    )

    chosen = entries_of(dataset, sources=options["sources"], sizes=options["sizes"])
    if not options["labels"]:
        return chosen, *_e0s(options["e0s"] or "model", source, dataset, chosen, "--e0s")
    external = read_external(options["labels"])
    paths = {entry.path: entry for entry in chosen}
    labelled = with_labels(entries_of(dataset, sources=tuple(SOURCES)), external)
    entries = [entry for entry in labelled if entry.path in paths]
    if not entries:
        raise InvalidSettings(f"{external.where} has no label for a frame of the chosen sources and sizes.")
    if options["e0s"]:
        e0s, origin = _e0s(options["e0s"], source, dataset, entries, "--e0s")
    else:
        e0s, origin = dict(external.e0s), external.where
        if not e0s:
            raise InvalidSettings(f"{external.where} has no isolated atoms: give their energies with --e0s FILE.")
    if options["delta"]:
        entries = [target_minus_baseline(entry, paths[entry.path]) for entry in entries]
        baseline, other = _e0s(options["baseline_e0s"], source, dataset, list(paths.values()), "--baseline-e0s")
        e0s = delta_e0s(require_elements(e0s, elements_of(entries), origin), baseline)
        origin = f"{origin} minus {other}"
    return entries, e0s, origin


def _reference_targets(source: str, dataset: Dataset, options: Options) -> tuple[list[Entry], dict[int, float], str]:
    """Entries with the labels of a reference method or their differences from the baseline's, E0s and their origin."""
    from aiida_mbetrain.datasets.training import (
        delta_e0s,
        entries_of,
        fit_e0s,
        fit_shifts,
        target_minus_baseline,
        undetermined,
        with_reference,
    )

    baseline = entries_of(dataset, sources=options["sources"], sizes=options["sizes"])
    # A run brings the labels of one method, whose name a pk does not tell.
    brought = {name for by_method in dataset.references.values() for name in by_method}
    name = options["reference"] if source_options.is_file(source) else brought.pop()
    entries = with_reference(baseline, dataset, name)
    if not options["delta"] and not options["e0s"]:
        if undetermined(entries) is not None:
            raise InvalidSettings(
                f"{undetermined(entries)}: give energies of isolated atoms by {options['reference']} with --e0s FILE, "
                "or export differences with --delta."
            )
        return entries, fit_e0s(entries), "a least-squares fit"
    if not options["delta"]:
        return entries, *_e0s(options["e0s"], source, dataset, entries, "--e0s")
    whole = {entry.path: entry for entry in baseline}
    differences = [target_minus_baseline(entry, whole[entry.path]) for entry in entries]
    if not options["e0s"]:
        return differences, fit_shifts(differences, options["split"]), "a least-squares fit to the training set"
    e0s, origin = _e0s(options["e0s"], source, dataset, entries, "--e0s")
    other, where = _e0s(options["baseline_e0s"], source, dataset, entries, "--baseline-e0s")
    return differences, delta_e0s(e0s, other), f"{origin} minus {where}"


def _picked(entries: list[Entry], dataset: Dataset, picks: str | None) -> list[Entry]:
    """Frames of the entries that a subsampling picked; all frames if no subsampling is given."""
    if picks is None:
        return entries
    from aiida import orm

    from aiida_mbetrain.datasets.training import picked_entries

    node = source_options.load_node(picks)
    if not isinstance(node, orm.ProcessNode):
        raise InvalidSettings(f"--picks {picks} is a {type(node).__name__}: give the pk that `subsample` printed.")
    from aiida_mbetrain.calculations.functions.subsampling import picked_rows

    return picked_entries(entries, dataset, picked_rows(node))


def read_external(labels: str) -> ExternalLabels:
    """Read labels from a file or from the nodes of an import."""
    from aiida_mbetrain.datasets.training import read_labels

    if source_options.is_file(labels):
        return read_labels(labels)
    from aiida import orm

    node = source_options.load_node(labels)
    if not isinstance(node, orm.ProcessNode):
        raise InvalidSettings(
            f"--labels {labels} is a {type(node).__name__}: give the pk that `labels import` printed."
        )
    from aiida_mbetrain.calculations.functions.external_labels import imported_labels

    return imported_labels(node)


def _e0s(
    wanted: str, source: str, dataset: Dataset, entries: Sequence[Entry], option: str
) -> tuple[dict[int, float], str]:
    """E0s of the entries' elements by the given option, and their origin."""
    from aiida_mbetrain.datasets.training import elements_of, fit_e0s, read_e0s, require_elements
    from aiida_mbetrain.science.potentials import mace_atomic_energies

    elements = elements_of(entries)
    if wanted == "average":
        return fit_e0s(entries), "a least-squares fit"
    if wanted == "model":
        e0s, origin = _e0s_of_model(source, dataset, elements, option)
    else:
        is_model = Path(wanted).suffix == ".model"
        e0s, origin = (mace_atomic_energies(wanted) if is_model else read_e0s(wanted)), wanted
    return require_elements(e0s, elements, origin), origin


def _e0s_of_model(source: str, dataset: Dataset, elements: Sequence[int], option: str) -> tuple[dict[int, float], str]:
    """E0s of the model of the dataset: those stored in a MACE model, or single atoms in a named calculator."""
    from aiida_mbetrain.datasets.training import isolated_atom_energies
    from aiida_mbetrain.science.potentials import mace_atomic_energies

    model = source_options.model_of_source(source, dataset)
    if model is None:
        raise InvalidSettings(
            f"The model behind {source} (sha256 {dataset.provenance.get('model_sha256', 'unknown')}) is not in this "
            f"profile, so its E0s are unknown: give {option} FILE, the .model file or the energies of isolated atoms."
        )
    from aiida_mbetrain.calculations.functions.in_process import load_potential
    from aiida_mbetrain.data.mace_model import MaceModelData
    from aiida_mbetrain.settings import Inference

    origin = f"the model <{model.pk}>"
    if isinstance(model, MaceModelData):
        with model.as_path() as path:
            return mace_atomic_energies(path, sha256=model.sha256), origin
    return isolated_atom_energies(load_potential(model, Inference()), elements), origin
