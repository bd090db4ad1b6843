"""Training of models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiida_mbetrain.cli.common import command_of, read_options, stopping_in_order, with_profile
from aiida_mbetrain.cli.frames_of_file import frames_of_file
from aiida_mbetrain.cli.sources import (
    integers,
    is_campaign,
    is_file,
    model_of_source,
    numbers,
    processes_of,
    stages_of_node,
    words,
)
from aiida_mbetrain.cli.trainings import other_models, part_of_frames, training_of_frames
from aiida_mbetrain.errors import InvalidSettings, LabelsMissing, MbetrainError, UnreadableFile

if TYPE_CHECKING:
    from aiida import orm
    from aiida.engine import ProcessBuilder
    from rich.console import Console

    from aiida_mbetrain.cli.export_xyz import Options
    from aiida_mbetrain.data.labelled_frames import LabelledFramesData
    from aiida_mbetrain.settings import Training, TrainingFrames

SECTIONS = ("frames", "training")


@click.command("train")
@click.argument("process", metavar="SOURCE")
@click.option("--reference", "references", required=True, multiple=True, metavar="METHOD",
              help="Labels of `reference run`: their name, or its pk; several for --kind multihead.")  # fmt: skip
@click.option("--model", help="Baseline of an HDF5 file whose model is not in the profile: a file, pk or uuid.")
@click.option("--kind", type=click.Choice(["delta", "finetune", "finetune_replay", "multihead"]),
              help="Delta model, baseline fine-tuned (with replay), or new model of several heads.")  # fmt: skip
@click.option("--replay", metavar="FILE", help="Extended XYZ of the baseline's own training, for finetune_replay.")
@click.option("--size", type=click.Choice(["small", "balanced", "stringent"]), help="Of the model [small].")
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training set; default: those of the size.")
@click.option("--seed", type=click.IntRange(min=0), help="Of the first weights and the order of frames [42].")
@click.option("--split", callback=numbers, help="Shares of training, validation and test [0.8,0.1,0.1].")
@click.option("--hold-out", multiple=True, metavar="WHAT=VALUE",
              help="Only test on crystal=NAME, temperature=K or size=N; may be repeated.")  # fmt: skip
@click.option("--sources", callback=words, help="Some of md,phonons [both].")
@click.option("--sizes", callback=integers, help="Numbers of molecules, such as 1,2,3; default: all with labels.")
@click.option("--learning-curve", callback=numbers, metavar="PARTS",
              help="Train on parts of the training set as well, as in 0.25,0.5.")  # fmt: skip
@click.option("--settings", "path", help="YAML file with the sections frames (TrainingFrames) and training (Training).")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Compute device [auto].")
@click.option("--code", help="mbetrain-worker as LABEL@COMPUTER: submit a job; without, train here.")
@click.option("--options", help="YAML file with metadata.options of the job.")
@stopping_in_order
@with_profile
def train(process: str, references: tuple[str, ...], code: str | None, options: str | None, **given: Any) -> None:
    """Train a model on the labelled clusters of SOURCE: pk or uuid of a finished run, name of a campaign, or HDF5 file.

    Training, validation and test set share no related frames.  Interrupted, the same command goes on.
    """
    from aiida import orm
    from aiida.engine.daemon.client import get_daemon_client
    from rich.console import Console

    from aiida_mbetrain.calculations.functions.training import require_inputs
    from aiida_mbetrain.science.training import REFERENCE, mace_fields, require_joint
    from aiida_mbetrain.workflows.model_training import ModelTrainingWorkChain

    wanted, settings = read_settings(given)
    mace_fields(settings)  # a refusal comes before anything is stored
    of_file = not is_campaign(process) and is_file(process)
    if given["model"] is not None and not of_file:
        raise InvalidSettings(f"--model {given['model']} is for an HDF5 file: {process} names its model itself.")
    if options is not None and code is None:
        raise InvalidSettings(f"--options {options} is about jobs: give --code as well.")
    parts = read_parts(given["learning_curve"] or ())
    if len(references) > 1 and (settings.kind != "multihead" or parts):
        what = "--learning-curve" if parts else f"kind = {settings.kind!r}"
        raise InvalidSettings(
            f"--reference is given {len(references)} times, and {what} takes the labels of one method: give it once"
            + ("." if parts else ", or --kind multihead.")
        )
    if code is not None and not get_daemon_client().is_daemon_running:
        raise InvalidSettings("--code submits to the daemon, which is not running; run `verdi daemon start`.")
    console = Console()
    replay = read_replay(given["replay"])
    found = [
        frames_of_file(process, reference, wanted, given["model"]) if of_file else frames_of(process, reference, wanted)
        for reference in references
    ]
    frames, baseline = found[0]
    others = {f"{REFERENCE}_{number}": part for number, (part, _) in enumerate(found[1:], start=2)}
    require_joint(frames.to_science(), {head: part.to_science() for head, part in others.items()})
    require_inputs(settings, baseline, replay, others)
    for chosen in (frames, *(part_of_frames(frames, part) for part in parts)):
        done = training_of_frames(chosen, baseline, settings, replay) if parts else None
        if done is not None:
            console.print(f"{done.process_label}<{done.pk}> has trained on this part", highlight=False)
            continue
        builder = ModelTrainingWorkChain.get_builder_from_protocol(
            chosen,
            baseline,
            None if code is None else orm.load_code(code),
            other_frames=others,
            replay=replay,
            overrides=settings.to_dict(),
            options=read_options(options),
        )
        _train(console, builder, submitted=code is not None)


def _train(console: Console, builder: ProcessBuilder, *, submitted: bool) -> None:
    """Train in this process, or in the daemon."""
    from aiida.engine import submit

    if not submitted:
        show_training(console, run_training(console, builder))
        return
    node = submit(builder)
    follow = command_of("status", str(node.pk), "--watch")
    console.print(f"submitted {node.process_label}<{node.pk}>; follow it: {follow}", soft_wrap=True)


def read_replay(path: str | None) -> orm.SinglefileData | None:
    """The unstored node of a replay file.  Raises UnreadableFile."""
    from aiida import orm

    if path is None:
        return None
    if not Path(path).is_file():
        raise UnreadableFile(f"--replay {path} does not exist or is not a file: check the path.")
    return orm.SinglefileData(Path(path).resolve())


def read_parts(fractions: Sequence[float]) -> list[float]:
    """Parts of the training set, but for the whole.  Raises InvalidSettings."""
    for fraction in fractions:
        if not 0 < fraction <= 1:
            raise InvalidSettings(
                f"--learning-curve {fraction:g}: give parts above 0 and at most 1 of the training set, as in 0.25,0.5."
            )
    return sorted({fraction for fraction in fractions if fraction < 1})


def read_settings(given: Options) -> tuple[TrainingFrames, Training]:
    """Settings of a file, of which the options replace some.  Raises UnreadableFile, InvalidSettings."""
    from aiida_mbetrain.cli.export_xyz import read_hold_out
    from aiida_mbetrain.settings import Training, TrainingFrames, read_mapping

    sections = {} if given["path"] is None else read_mapping(given["path"], "--settings", "frames: and training:")
    if unknown := sorted(set(sections) - set(SECTIONS)):
        raise InvalidSettings(f"--settings {given['path']}: {unknown[0]} is none of {', '.join(SECTIONS)}.")
    frames, training = (dict(sections.get(name) or {}) for name in SECTIONS)
    found = {"sources": given["sources"], "sizes": given["sizes"], "fractions": given["split"]}
    if given["hold_out"]:
        held_out = read_hold_out(given["hold_out"])
        found |= {"test_crystals": held_out.crystals, "test_temperatures_K": held_out.temperatures_K}
        found["test_sizes"] = held_out.sizes
    frames |= {name: value for name, value in found.items() if value is not None}
    chosen = {"kind": given["kind"], "size": given["size"], "max_num_epochs": given["epochs"], "seed": given["seed"]}
    training |= {name: value for name, value in (chosen | {"device": given["device"]}).items() if value is not None}
    return TrainingFrames(**frames), Training(**training)


def frames_of(process: str, reference: str, settings: TrainingFrames) -> tuple[LabelledFramesData, orm.Data]:
    """The labelled frames of a run or campaign, stored once for the same labels and split, and the baseline model."""
    from aiida import orm
    from aiida.manage.caching import enable_caching

    from aiida_mbetrain.calculations.functions.training import labelled_frames

    parts, baseline = labelled_parts(process, reference)
    if "" in parts:
        wanted, inputs = settings.to_dict(), parts[""]
    else:
        places = {f"stage_{number}": place for number, place in enumerate(parts)}
        wanted = settings.to_dict() | {"root_keys": places}
        inputs = {name: parts[place] for name, place in places.items()}
    with enable_caching():
        _, node = labelled_frames.run_get_node(settings=orm.Dict(wanted), baseline=baseline, **inputs)
    if not node.is_finished_ok:
        raise MbetrainError(f"labelled_frames<{node.pk}> failed [{node.exit_status}]: {node.exit_message}")
    return node.outputs.result, baseline


def labelled_parts(process: str, reference: str) -> tuple[dict[str, dict[str, Any]], orm.Data]:
    """Stages, labels and expansions of a run (under ""), or of each labelled stage of a campaign, and the baseline.

    Raises LabelsMissing where nothing is labelled, InvalidSettings for clusters of several models.
    """
    from aiida_mbetrain.calculations.functions.training import identity_of_model, labels_of_stages
    from aiida_mbetrain.datasets.from_graph import dataset_of

    parts: dict[str, dict[str, Any]] = {}
    models: dict[str, orm.Data] = {}
    missing: LabelsMissing | None = None
    for place, node in sorted(processes_of(process).items()):
        stages = stages_of_node(node)
        try:
            labels = labels_of_stages(stages, reference)
        except LabelsMissing as error:  # of a campaign, some stages may be labelled and others not
            missing = error
            continue
        parts[place] = {**stages, **labels}
        model = model_of_source(process, dataset_of(stages))
        if model is not None:
            models.setdefault(identity_of_model(model), model)
    if missing is not None and not parts:
        raise missing
    if len(models) != 1:
        raise InvalidSettings(f"The clusters of {process} were labelled by several models: train a model for each.")
    return parts, next(iter(models.values()))


def run_training(console: Console, builder: ProcessBuilder) -> orm.ProcessNode:
    """Train in this process.  Raises MbetrainError if it fails."""
    from aiida.engine import run_get_node

    from aiida_mbetrain.calculations.functions.interruption import Interruption, current
    from aiida_mbetrain.cli.progress import progress_bars

    (current() or Interruption()).running = True
    with progress_bars(console):
        _, node = run_get_node(builder)
    if not node.is_finished_ok:
        raise MbetrainError(f"{node.process_label}<{node.pk}> failed [{node.exit_status}]: {node.exit_message}")
    return node


def show_training(console: Console, node: orm.ProcessNode) -> None:
    """Errors of the validation set after the last epoch, and the nodes."""
    history, facts = node.outputs.history, node.outputs.summary.get_dict()
    n_frames = ", ".join(f"{number} {name}" for name, number in facts["n_frames"].items())
    energy, force = (history.get_array(name)[-1] for name in ("energy_rmse_eV_per_atom", "force_rmse_eV_per_A"))
    learned = f"{facts['level_of_theory']} minus {facts['baseline'][:16]}"
    names = {"model": "delta model", "sum": "baseline + delta"}
    if (kind := facts.get("kind", "delta")) != "delta":
        learned = f"{facts['level_of_theory']} by {kind} with {facts['baseline'][:16]}"
        names = {"model": "model", "heads": "all heads"}
    nodes = {title: node.outputs[name] for name, title in names.items() if name in node.outputs}
    nodes |= {f"model of {facts['methods'][head]['level_of_theory']}": model for head, model in other_models(node)}
    for line in (
        f"{learned}: {n_frames} frames, {facts['n_epochs']} epochs",
        f"errors of the validation set: {1000 * energy:.2f} meV/atom, {1000 * force:.1f} meV/Å (RMSE)",
        *(f"{title:<16}  {type(it).__name__}<{it.pk}>  sha256 {it.sha256[:16]}…" for title, it in nodes.items()),
        f"{node.process_label}<{node.pk}>",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
