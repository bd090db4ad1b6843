"""Origin of a trained model: training, labels, baseline, split and dataset."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from aiida_mbetrain.cli.common import load
from aiida_mbetrain.errors import InvalidSettings

if TYPE_CHECKING:
    from aiida import orm

    from aiida_mbetrain.settings import JsonObject

METHOD = ("level_of_theory", "method_hash")
"""Attributes of labelled frames."""
Sections = dict[str, list[str]]
"""Heading -> lines."""


def trained_model(source: str) -> orm.Data:
    """The model of a pk, uuid or sha256, of a model file, or of a training.

    Raises InvalidSettings for what was not trained in this profile; aiida's NotExistent for an unknown pk.
    """
    from pathlib import Path

    from aiida import orm

    from aiida_mbetrain.data.mace_model import MaceModelData, sha256_of
    from aiida_mbetrain.data.sum_model import SumModelData

    digest = sha256_of(source) if Path(source).is_file() else source
    found = MaceModelData.of_digest(digest) or SumModelData.of_digest(digest)
    if found is None and digest != source:
        raise InvalidSettings(f"{source} has sha256 {digest}, and the profile has no such model: give a dataset file "
                              "with ENTRY and FRAME, or a model of this profile.")  # fmt: skip
    node = load(source) if found is None else found
    if isinstance(node, orm.WorkChainNode) and "model" in node.outputs:
        node = node.outputs.sum if "sum" in node.outputs else node.outputs.model
    if not isinstance(node, MaceModelData | SumModelData):
        raise InvalidSettings(
            f"{source} is a {type(node).__name__}: give a model or its training, or a dataset file with ENTRY and "
            "FRAME; `query origin` takes cluster sets and trajectories."
        )
    if note_of(node) is None or node.creator is None:
        raise InvalidSettings(f"{type(node).__name__}<{node.pk}> ({node.sha256}) was not trained in this profile.")
    return node


def note_of(model: orm.Node) -> str | None:
    """Kind and labels of a trained model; None for any other node."""
    from aiida_mbetrain.data.mace_model import MaceModelData
    from aiida_mbetrain.data.sum_model import SumModelData

    if isinstance(model, SumModelData):
        return "baseline + delta"
    if not isinstance(model, MaceModelData):
        return None
    facts = model.base.attributes.get("delta", None) or model.base.attributes.get("trained", None)
    return None if facts is None else f"{facts.get('kind', 'delta')} of {facts['level_of_theory']}"


def origin_of_model(model: orm.Data) -> Sections:
    """Facts about a trained model, from the provenance graph."""
    made = _inputs(model.creator)
    facts = [f"{type(model).__name__}<{model.pk}> {model.uuid}", f"sha256 = {model.sha256}"]
    if "delta" in made:  # of a sum
        below = origin_of_model(made["delta"])
        return {"model": [*facts, f"made by {_line(model.creator)}"], "delta": below.pop("model")} | below
    head = made["head"].value if "head" in made else None
    training = model.creator if head is None else made["heads"].creator
    given = _inputs(training)
    frames = [given["frames"] if head is None else given[f"other_frames__{head}"]]
    if head is None and _is_whole(model):
        frames += [node for label, node in sorted(given.items()) if label.startswith("other_frames__")]
    stated = model.base.attributes.get("delta", None) or model.base.attributes.get("trained")
    packed = _Frames.of(frames)
    labels = [f"{name} = {part.base.attributes.get(name)}" for part in frames for name in METHOD]
    known = {"foundation": "fine-tuned from", "replay": "replay"}
    return {
        "model": [*facts, *([] if head is None else [f"head = {head} of {_line(made['heads'])}"])],
        "training": [
            *_callers(training),
            f"kind = {stated['kind']}",
            f"settings = {_text(given['settings'])}",
            *(f"{title} {_line(given[name])}" for name, title in known.items() if name in given),
        ],
        "labels": [*labels, *packed.methods],
        "baseline": [f"identity = {stated['baseline']}", *packed.baselines],
        "split": [*(f"{_line(part)}: {_counts(part)}" for part in frames), *packed.splits],
        "dataset": packed.datasets,
    }


class _Frames:
    """Lines about labelled frames: methods, baselines, splits and datasets behind them."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self.baselines: list[str] = []
        self.splits: list[str] = []
        self.datasets: list[str] = []

    @classmethod
    def of(cls, frames: Iterable[orm.Data]) -> _Frames:
        """The lines about nodes and those that they were made of."""
        found = cls()
        for node in frames:
            found._add(node)
        for lines in (found.methods, found.baselines, found.splits, found.datasets):
            lines[:] = dict.fromkeys(lines)
        return found

    def _add(self, frames: orm.Data) -> None:
        from aiida_mbetrain.data.labelled_frames import LabelledFramesData

        file = frames.base.attributes.get("file", None)
        if file is not None:
            self.datasets += [f"{name} = {file[name]}" for name in ("name", "sha256", "content_sha256")]
            self.splits.append(f"settings = {json.dumps(file['settings'], sort_keys=True)}")
        if frames.creator is None:
            return
        self.splits.append(f"made by {_line(frames.creator)}")
        for label, node in _inputs(frames.creator).items():
            places = label.split("__")
            if "labels" in places:
                self._add_labels(node)
            elif "clusters" in places or "sets" in places:
                self.datasets += [f"{_line(node)}, {node.base.attributes.get('key', label)}", *_callers(node.creator)]
            elif label == "settings":
                self.splits.append(f"settings = {_text(node)}")
            elif label == "baseline":
                self.baselines.append(_line(node))
            elif isinstance(node, LabelledFramesData):  # the whole of a part, or those of the rounds before
                self._add(node)

    def _add_labels(self, node: orm.Data) -> None:
        inputs = _inputs(node.creator)
        if "settings" in inputs:
            self.methods.append(f"settings = {_text(inputs['settings'])}")
        self.methods += _callers(node.creator)


def _is_whole(model: orm.Data) -> bool:
    """True for the model with all its heads."""
    from aiida.common import LinkType

    return bool(model.base.links.get_incoming(link_type=LinkType.CREATE).one().link_label == "heads")


def _inputs(process: orm.ProcessNode | None) -> dict[str, orm.Data]:
    """Inputs by link label."""
    from aiida import orm

    links = [] if process is None else process.base.links.get_incoming(node_class=orm.Data).all()
    return {link.link_label: link.node for link in links if isinstance(link.node, orm.Data)}


def _callers(process: orm.ProcessNode | None) -> Iterator[str]:
    """A process and those that called it, the outermost last."""
    while process is not None:
        yield _line(process)
        process = process.caller


def _line(node: orm.Node) -> str:
    name = getattr(node, "process_label", None) or type(node).__name__
    digest = node.base.attributes.get("sha256", None)
    return f"{name}<{node.pk}> {node.uuid}" + (f" sha256 {digest}" if digest else "")


def _text(settings: orm.Data) -> str:
    values: JsonObject = settings.get_dict()
    return json.dumps(values, sort_keys=True)


def _counts(frames: orm.Data) -> str:
    names: Iterable[str] = ("train", "valid", "test")
    return ", ".join(f"{frames.base.attributes.get(f'n_{name}')} {name}" for name in names)
