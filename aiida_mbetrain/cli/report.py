"""Write HTML pages about a run, a dataset file or a campaign."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import click

from aiida_mbetrain.cli import sources
from aiida_mbetrain.cli.common import node_of_uuid
from aiida_mbetrain.errors import InvalidSettings

if TYPE_CHECKING:
    from aiida import orm

    from aiida_mbetrain.datasets.model import Dataset
    from aiida_mbetrain.report import RunFacts, TrainedModel


@click.command("report")
@click.argument("source")
@click.option("-o", "--output", default="report.html", show_default=True, help="Page to write.")
@click.option("--seed", default=42, show_default=True, help="Of the clusters and points that a large page shows.")
@click.option(
    "--parts/--no-parts", default=True, show_default=True, help="Of a campaign, a page for every member as well."
)
@click.option("--explore", is_flag=True, help="Add the viewer of chemiscope, where that package is installed.")
@click.option("--reference", "references", multiple=True, metavar="METHOD",
              help="Add labels of `reference run`: their name, its pk, or all; may be repeated.")  # fmt: skip
@click.pass_context
def report(
    ctx: click.Context,
    source: str,
    output: str,
    seed: int,
    parts: bool,
    explore: bool,
    references: tuple[str, ...],
) -> None:
    """Write one HTML page about SOURCE, an HDF5 file, the pk or uuid of a run or training, or the name of a campaign.

    Verdicts, figures, a map of all clusters with molecules in 3D, provenance.  The page opens offline in any browser.
    A file is enough; where the profile knows its run, the page also shows processes, times and disk.  Of a run that
    failed it shows the stages that finished.  Of a campaign, by its file or its name, it shows all crystals and
    conditions, and links to a page for every member.  Of a training it shows the errors of its model, which is
    judged first where it was not; the page of the run that it was trained on shows them too.
    """
    from aiida_mbetrain.cli.run import require_writable
    from aiida_mbetrain.report import write_model_report, write_report

    require_writable(Path(output))
    if sources.is_file(source):
        if references:
            raise InvalidSettings(
                f"--reference takes labels from the profile: {source} is a file and shows those it has."
            )
        known = known_of_file(source, ctx.meta.get("mbetrain_profile"))
        written = write_report(source, output, **known, seed=seed, parts=parts, explore=explore)
    elif sources.is_campaign(source):
        written = write_report_of_campaign(source, output, references, seed=seed, parts=parts, explore=explore)
    elif (training := training_behind(source)) is not None:
        if references or explore:
            raise InvalidSettings(f"--reference and --explore are for clusters of a run: {source} is a training.")
        written = write_model_report(*training, output, seed=seed)
    else:
        dataset, known = dataset_and_known(source, references)
        written = write_report(dataset, output, **known, seed=seed, explore=explore)
    click.echo(written)


@sources.in_profile
def write_report_of_campaign(name: str, output: str, references: Sequence[str] = (), **options: Any) -> Path:
    """The pages of what is finished of a campaign of the profile."""
    from aiida import orm

    from aiida_mbetrain.campaigns.export import export_campaign
    from aiida_mbetrain.campaigns.state import FINISHED, recorded_states
    from aiida_mbetrain.cli.run_facts import trained_models_of
    from aiida_mbetrain.report import write_report

    plan, states = recorded_states(name)
    finished = {state.pk for state in states.values() if state.state == FINISHED}
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={"id": {"in": [*finished] or [-1]}})
    models = trained_models_of(*query.all(flat=True))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.hdf5"
        export_campaign(path, plan, states, references=references)
        return write_report(path, output, trained_models=models, file_name=path.name, **options)


class Known(TypedDict, total=False):
    """Arguments of ``write_report`` about what a profile knows."""

    run: RunFacts
    trained_models: Sequence[TrainedModel]


def known_of_file(path: str, profile: str | None) -> Known:
    """Facts about the run or campaign behind a file; none where no profile knows it.  Raises UnreadableFile."""
    from aiida import orm
    from aiida.manage import get_manager

    from aiida_mbetrain.cli.run_facts import root_of, trained_models_of
    from aiida_mbetrain.datasets.hdf5 import opened
    from aiida_mbetrain.datasets.names import CONTENT_SHA256

    with opened(path) as root:
        uuids = [group.provenance["process_uuid"] for _, group in root.walk() if "process_uuid" in group.provenance]
        content = str(root.attributes.get(CONTENT_SHA256))
    campaign = sources.is_campaign_file(path)
    nodes = [node_of_uuid(str(uuid), profile) for uuid in (uuids if campaign else uuids[:1])]
    processes = [node for node in nodes if isinstance(node, orm.ProcessNode)]
    if get_manager().get_profile() is None:
        return {}
    if campaign or not processes:
        return {"trained_models": trained_models_of(*processes, content_sha256=content)}
    return _known(root_of(processes[0]), content)


def _known(process: orm.ProcessNode, content_sha256: str | None = None) -> Known:
    from aiida_mbetrain.cli.run_facts import run_facts, trained_models_of

    return {"run": run_facts(process), "trained_models": trained_models_of(process, content_sha256=content_sha256)}


def training_behind(source: str) -> tuple[Sequence[TrainedModel], RunFacts] | None:
    """The models of a training and the training, also by an evaluation that judged one; None for another node.

    Models without evaluation are judged on the test set.  Raises MbetrainError.
    """
    from aiida import orm

    from aiida_mbetrain.cli.run_facts import models_of_training, run_facts
    from aiida_mbetrain.cli.trainings import CHAIN, evaluate_model, evaluations_of, other_models, training_of_model

    node = sources.load_node(source)
    label, subset = getattr(node, "process_label", None), "test"
    if isinstance(node, orm.CalcFunctionNode) and label == "evaluation":
        node, subset = training_of_model(node.inputs.model), node.inputs.settings.get("subset", subset)
    elif not isinstance(node, orm.WorkChainNode) or label != CHAIN or "model" not in node.outputs:
        return None
    for head in (None, *dict(other_models(node))):
        if not evaluations_of(node, subset, head):
            evaluate_model(node, subset, head)
    return models_of_training(node, subset), run_facts(node)


def dataset_and_known(source: str, references: Sequence[str] = ()) -> tuple[Dataset, Known]:
    """The dataset of a run, or of the stages that it finished, and the facts about it.  Raises InvalidSettings."""
    from aiida import orm

    from aiida_mbetrain.datasets.from_graph import STAGE_OF, TRAINING_SET, dataset_of, stage_nodes, with_references
    from aiida_mbetrain.datasets.model import Dataset

    node = sources.load_node(source)
    if not isinstance(node, orm.WorkChainNode) or node.process_label not in (TRAINING_SET, *STAGE_OF):
        raise InvalidSettings(
            f"{source} is a {getattr(node, 'process_label', None) or type(node).__name__}: give a dataset file, a "
            f"{TRAINING_SET} or one of {', '.join(STAGE_OF)}."
        )
    finished = [stage for stage in _stages(node, TRAINING_SET, STAGE_OF) if stage.is_finished_ok]
    if not finished:
        return Dataset(), _known(node)
    stages = stage_nodes(finished)
    return with_references(dataset_of(stages), stages, references), _known(node)


def _stages(node: Any, training_set: str, stage_of: Mapping[str, str]) -> list[Any]:
    """The stages of a training set in the order of the dataset, or the stage itself."""
    if node.process_label != training_set:
        return [node]
    called = [child for child in node.called if child.process_label in stage_of]
    return sorted(called, key=lambda child: list(stage_of).index(child.process_label))
