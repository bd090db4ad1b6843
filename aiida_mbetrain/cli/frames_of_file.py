"""Labelled frames of an HDF5 dataset, whose labels of reference and baseline are those of the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiida_mbetrain.cli.common import node_of_uuid, read_model
from aiida_mbetrain.errors import InvalidSettings

if TYPE_CHECKING:
    from aiida import orm

    from aiida_mbetrain.data.labelled_frames import LabelledFramesData
    from aiida_mbetrain.datasets.model import Dataset, MDSection, PhononSection
    from aiida_mbetrain.settings import TrainingFrames

OF_MODEL = ("model_sha256", "model_uuid")


def frames_of_file(
    path: str, reference: str, settings: TrainingFrames, model: str | None
) -> tuple[LabelledFramesData, orm.Data]:
    """The labelled frames of a file, stored once, and the baseline model.

    The node has the name and the digests of the file as attribute ``file``; no process made it.
    model: file, pk or uuid of the baseline; None: the one of the profile that the file names.
    Raises UnreadableFile, InvalidSettings, LabelsMissing.
    """
    from aiida_mbetrain.calculations.functions.training import identity_of_model
    from aiida_mbetrain.data.labelled_frames import LabelledFramesData
    from aiida_mbetrain.data.mace_model import sha256_of
    from aiida_mbetrain.datasets.hdf5 import opened, read_dataset
    from aiida_mbetrain.datasets.names import CONTENT_SHA256
    from aiida_mbetrain.datasets.training import labelled_frames

    dataset = read_dataset(path)
    baseline = baseline_of_file(path, dataset, model)
    frames = labelled_frames(dataset, reference, settings, baseline=identity_of_model(baseline))
    with opened(path) as root:
        content = str(root.attributes[CONTENT_SHA256])
    node = LabelledFramesData.from_science(frames)
    facts = {"name": Path(path).name, "sha256": sha256_of(path), CONTENT_SHA256: content}
    node.base.attributes.set("file", facts | {"settings": settings.to_dict()})
    return _stored_once(node), baseline


def baseline_of_file(path: str, dataset: Dataset, model: str | None) -> Any:
    """The model that labelled the clusters of a file.

    Raises InvalidSettings for several models, one that is not in the profile, and another one than the file's.
    """
    from aiida_mbetrain.data.mace_model import MaceModelData

    stated = _stated_models(dataset)
    if len(stated) > 1:
        raise InvalidSettings(f"The clusters of {path} were labelled by several models: train a model for each.")
    sha256, uuid = stated[0] if stated else (None, None)
    if model is not None:
        node = read_model(model)
        if sha256 is not None and node.sha256 != sha256:
            raise InvalidSettings(
                f"--model {model} has sha256 {node.sha256}, and the clusters of {path} were labelled by {sha256}: "
                "give that one."
            )
        return node
    known = None if uuid is None else node_of_uuid(uuid, None)
    if known is None and sha256 is not None:
        known = MaceModelData.of_digest(sha256)
    if known is None:
        raise InvalidSettings(
            f"The model that labelled the clusters of {path} (sha256 {sha256 or 'unknown'}) is not in this profile: "
            "give --model FILE."
        )
    return known


def _stated_models(dataset: Dataset) -> list[tuple[str | None, str | None]]:
    """Pairs of sha256 and uuid of the models that the cluster sets of a file, or else the file itself, name.

    One file in several profiles is one model: its uuids are those of the profiles.
    """
    from aiida_mbetrain.datasets.names import FINITE_SUBSYSTEMS

    sections: list[MDSection | PhononSection] = [*dataset.md, *dataset.phonons]
    of_clusters = [
        facts
        for section in sections
        for place, facts in section.provenance.items()
        if place.startswith(FINITE_SUBSYSTEMS) and any(name in facts for name in OF_MODEL)
    ]
    found: dict[str, tuple[str | None, str | None]] = {}
    for facts in of_clusters or [dataset.provenance]:
        sha256, uuid = (_text(facts.get(name)) for name in OF_MODEL)
        if identity := sha256 or uuid:
            found.setdefault(identity, (sha256, uuid))
    return list(found.values())


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _stored_once(node: LabelledFramesData) -> LabelledFramesData:
    """The stored node of the same content, or the node itself, stored."""
    from aiida import orm

    from aiida_mbetrain.data.labelled_frames import LabelledFramesData
    from aiida_mbetrain.workflows.finished import same_content

    digest = node.base.attributes.get("file")["sha256"]
    query = orm.QueryBuilder().append(LabelledFramesData, filters={"attributes.file.sha256": digest})
    for (other,) in query.iterall():
        if same_content(other, node):
            return other  # type: ignore[no-any-return]
    return node.store()
