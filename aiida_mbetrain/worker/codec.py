"""Science objects in files: arrays in npz, facts beside them in JSON, by the name of the class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aiida_mbetrain.errors import UnreadableFile
from aiida_mbetrain.science.clusters import ClusterSet
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.io import load_npz, save_npz
from aiida_mbetrain.science.molecules import MolecularCrystal
from aiida_mbetrain.science.phonons import ForceConstants
from aiida_mbetrain.science.reference_labels import FragmentLabels, Fragments
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.science.training import LabelledFrames, ModelFile, ReplayFile
from aiida_mbetrain.settings import JsonObject, shown

CLASSES: dict[str, Any] = {
    "Configurations": Configurations,
    "ClusterSet": ClusterSet,
    "ForceConstants": ForceConstants,
    "FragmentLabels": FragmentLabels,
    "Fragments": Fragments,
    "LabelledFrames": LabelledFrames,
    "ModelFile": ModelFile,
    "MolecularCrystal": MolecularCrystal,
    "ReplayFile": ReplayFile,
    "Table": Table,
    "dict": dict,
}


def save(folder: Path, name: str, value: Any) -> JsonObject:
    """Write one object to ``folder``; gives the entry that :func:`load` needs: type, file and attributes."""
    entry: JsonObject = {"type": type(value).__name__}
    if isinstance(value, dict):
        return entry | {"attributes": value}
    entry["file"] = f"{name}.npz"
    if hasattr(value, "attributes"):
        entry["attributes"] = value.attributes()
    save_npz(folder / entry["file"], value.to_arrays())
    return entry


def load(folder: Path, entry: JsonObject) -> Any:
    """Read an object; raises UnreadableFile for a missing or damaged file and an unknown type."""
    if not isinstance(entry, dict):
        raise UnreadableFile(f"An output is {shown(entry)}: give type, file and attributes.")
    name = entry.get("type")
    kind = CLASSES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise UnreadableFile(f"type = {shown(entry.get('type'))} is none of {', '.join(CLASSES)}.")
    if kind is dict:
        if not isinstance(entry.get("attributes"), dict):
            raise UnreadableFile(f"attributes = {shown(entry.get('attributes'))}: give a mapping.")
        return entry["attributes"]
    arrays = load_npz(inside(folder, entry.get("file")))
    try:
        attributes = entry.get("attributes")
        return kind.from_arrays(arrays) if attributes is None else kind.from_arrays(arrays, attributes)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise UnreadableFile(f"{entry['file']} does not hold a {entry['type']}: {error!r}.") from error


def inside(folder: Path, name: object) -> Path:
    """The path of a file in a folder.  Raises UnreadableFile for a name that leaves the folder, also by a link."""
    if not isinstance(name, str) or "\0" in name or not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise UnreadableFile(f"file = {shown(name)} does not lie in the folder of the job: give a file inside it.")
    return folder / name


def write_json(path: Path, values: JsonObject) -> None:
    """Write a JSON file under a temporary name and rename it."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(values, indent=1) + "\n", "utf-8")
    temporary.replace(path)
