"""Trainings in the profile: their evaluations, and those on parts of one training set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aiida_mbetrain.cli.common import require_finished
from aiida_mbetrain.errors import InvalidSettings

if TYPE_CHECKING:
    from aiida import orm

    from aiida_mbetrain.data.labelled_frames import LabelledFramesData
    from aiida_mbetrain.data.mace_model import MaceModelData
    from aiida_mbetrain.settings import Training

CHAIN = "ModelTrainingWorkChain"


def require_training(node: orm.Node) -> orm.WorkChainNode:
    """The node itself.  Raises InvalidSettings for what has trained no model."""
    from aiida import orm

    if not isinstance(node, orm.WorkChainNode) or node.process_label != CHAIN or "model" not in node.outputs:
        name = type(node).__name__
        raise InvalidSettings(f"{name}<{node.pk}> has trained no model: give the {CHAIN} that `train` printed.")
    return node


def other_models(chain: orm.ProcessNode) -> Iterator[tuple[str, MaceModelData]]:
    """Heads and models of the other methods of a multihead training."""
    models = chain.outputs.other_models if "other_models" in chain.outputs else {}
    return ((head, models[head]) for head in sorted(models))


def judged_pair(chain: orm.ProcessNode, head: str | None) -> tuple[LabelledFramesData, MaceModelData]:
    """The frames with the labels of a head, and its model; None: of the method that was given first."""
    if head is None:
        return chain.inputs.frames, chain.outputs.model
    return chain.inputs.other_frames[head], chain.outputs.other_models[head]


def evaluate_model(chain: orm.Node, subset: str, head: str | None = None) -> orm.ProcessNode:
    """The evaluation of a trained model, stored once.  Raises InvalidSettings, MbetrainError.

    head: of another method of a multihead training.
    """
    from aiida import orm
    from aiida.manage.caching import enable_caching

    from aiida_mbetrain.calculations.functions.training import evaluation

    chain = require_training(chain)
    frames, model = judged_pair(chain, head)
    with enable_caching():
        _, node = evaluation.run_get_node(
            frames=frames,
            model=model,
            baseline=chain.inputs.baseline,
            settings=orm.Dict({"subset": subset}),
        )
    require_finished(node)
    return node


def training_of_model(model: orm.Node) -> orm.WorkChainNode:
    """The training that handed out a model, or one that this is a head of.  Raises InvalidSettings."""
    from aiida.common import LinkType

    for node in model.base.links.get_incoming(link_type=LinkType.RETURN).all_nodes():
        if getattr(node, "process_label", None) == CHAIN:
            return require_training(node)
    raise InvalidSettings(f"The model <{model.pk}> was trained by no {CHAIN} of this profile.")


def evaluations_of(chain: orm.WorkChainNode, subset: str = "test", head: str | None = None) -> list[Any]:
    """Finished evaluations of the model of a training, the newest first."""
    from aiida import orm

    _, model = judged_pair(chain, head)
    query = orm.QueryBuilder().append(orm.Data, filters={"id": model.pk}, tag="model")
    query.append(orm.CalcFunctionNode, filters={"attributes.process_label": "evaluation"}, with_incoming="model")
    query.order_by({orm.CalcFunctionNode: {"id": "desc"}})
    return [
        node for node in query.all(flat=True) if node.is_finished_ok and node.inputs.settings.get("subset") == subset
    ]


def trainings() -> Iterator[orm.WorkChainNode]:
    """Finished trainings, the newest first."""
    from aiida import orm

    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={"attributes.process_label": CHAIN}, tag="chain")
    query.order_by({"chain": {"id": "desc"}})
    for node in query.iterall():
        if node[0].is_finished_ok:
            yield node[0]


def training_of_frames(
    frames: LabelledFramesData, baseline: orm.Data, settings: Training, replay: orm.SinglefileData | None = None
) -> orm.ProcessNode | None:
    """The newest finished training of these frames with these settings."""
    from aiida import orm

    from aiida_mbetrain.workflows.finished import finished_process
    from aiida_mbetrain.workflows.model_training import ModelTrainingWorkChain

    inputs = {"frames": frames, "baseline": baseline, "settings": orm.Dict(settings.to_dict())}
    if replay is not None:
        inputs["replay"] = replay
    return finished_process(ModelTrainingWorkChain, inputs)


def trainings_on_parts(chain: orm.WorkChainNode) -> list[orm.WorkChainNode]:
    """Finished trainings on parts of the training set of another one, which are like it in all else.

    There are none of a model of several reference methods.
    """
    from aiida_mbetrain.workflows.finished import same_content

    if dict(other_models(chain)):
        return []
    found: dict[str, orm.WorkChainNode] = {}
    for other in trainings():
        creator: Any = other.inputs.frames.creator
        if creator is None or creator.process_label != "training_part":
            continue
        if (
            same_content(creator.inputs.frames, chain.inputs.frames)
            and same_content(other.inputs.baseline, chain.inputs.baseline)
            and other.inputs.settings.get_dict() == chain.inputs.settings.get_dict()
            and _same_replay(other, chain)
        ):
            found.setdefault(other.inputs.frames.base.caching.get_hash(), other)
    return list(found.values())


def _same_replay(first: orm.WorkChainNode, second: orm.WorkChainNode) -> bool:
    """True for trainings with the same replay file, or without any."""
    from aiida_mbetrain.workflows.finished import same_content

    given = [chain.inputs.replay for chain in (first, second) if "replay" in chain.inputs]
    return not given or (len(given) == 2 and same_content(*given))


def learning_curve_of(chain: orm.WorkChainNode, evaluated: orm.ProcessNode, subset: str) -> Any:
    """The learning curve of an evaluation, with the models that were trained on parts of its training set."""
    from aiida.manage.caching import enable_caching

    from aiida_mbetrain.calculations.functions.learning_curve import learning_curve

    parts = {
        f"part_{number}": evaluate_model(part, subset).outputs.learning_curve
        for number, part in enumerate(trainings_on_parts(chain))
    }
    if not parts:
        return evaluated.outputs.learning_curve
    with enable_caching():
        _, node = learning_curve.run_get_node(whole=evaluated.outputs.learning_curve, **parts)
    require_finished(node)
    return node.outputs.result


def part_of_frames(frames: LabelledFramesData, fraction: float) -> LabelledFramesData:
    """Labelled frames with a part of their training set, stored once.  Raises MbetrainError."""
    from aiida import orm
    from aiida.manage.caching import enable_caching

    from aiida_mbetrain.calculations.functions.learning_curve import training_part

    with enable_caching():
        _, node = training_part.run_get_node(frames=frames, settings=orm.Dict({"fraction": fraction}))
    require_finished(node)
    part: LabelledFramesData = node.outputs.result
    return part
