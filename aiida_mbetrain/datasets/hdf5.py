"""Writes a dataset to one HDF5 file: the same bytes for the same content, complete or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

import h5py
import numpy as np

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.model import Dataset
from aiida_mbetrain.datasets.sections import from_dataset
from aiida_mbetrain.datasets.tree import Attribute, Group, content_sha256
from aiida_mbetrain.science.errors import UnwritableOutput

STRING = h5py.string_dtype(encoding="utf-8")


def write_dataset(path: str | Path, dataset: Dataset, *, provenance: bool = True) -> str:
    """Write the dataset and return its ``content_sha256``.

    The file appears under its name only when it is complete; an earlier file of that name is replaced.  Equal
    datasets give byte-identical files.  Without ``provenance`` the file says nothing about nodes and processes,
    so two runs with the same seed are byte-identical as well.
    Raises UnwritableOutput; InvalidSettings where sections contradict one another.
    """
    root = from_dataset(dataset)
    digest = content_sha256(root)
    root.attributes[names.CONTENT_SHA256] = digest
    target = _writable(Path(path))
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        with _create(partial) as file:
            _write_group(file, root, provenance=provenance)
        os.replace(partial, target)
    except OSError as error:
        raise UnwritableOutput(f"{target} cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return digest


def _writable(path: Path) -> Path:
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise UnwritableOutput(f"{path} is a folder: give the name of a file.")
    if not target.parent.is_dir():
        raise UnwritableOutput(f"{path} cannot be written: the folder {target.parent} does not exist.")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise UnwritableOutput(f"{path} cannot be written: no permission to write to the folder {target.parent}.")
    return target


def _create(path: Path) -> h5py.File:
    """A new file in the format of HDF5 1.8 (every reader opens it; its metadata carries checksums), without times."""
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_obj_track_times(False)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V18, h5py.h5f.LIBVER_V18)
    return h5py.File(h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_EXCL, creation, access))


def _write_group(target: h5py.Group, group: Group, *, provenance: bool) -> None:
    for name, value in sorted(group.attributes.items()):
        _write_attribute(target, name, value)
    if provenance:
        for name, value in sorted(group.provenance.items()):
            _write_attribute(target, f"{names.PROVENANCE_PREFIX}{name}", value)
    for name in sorted(group.datasets):
        array = group.array(name)
        dtype = STRING if array.dtype.kind == "O" else None
        target.create_dataset(name, data=array, dtype=dtype, track_times=False)
    for name in sorted(group.groups):
        _write_group(_create_group(target, name), group.groups[name], provenance=provenance)


def _write_attribute(target: h5py.Group, name: str, value: Attribute) -> None:
    if isinstance(value, list):
        target.attrs.create(name, np.array(value, dtype=object), dtype=STRING)
    else:
        target.attrs[name] = value


def _create_group(parent: h5py.Group, name: str) -> h5py.Group:
    """A sub-group without creation time, which h5py's own ``create_group`` would record."""
    creation = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    creation.set_obj_track_times(False)
    link = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    link.set_char_encoding(h5py.h5t.CSET_UTF8)
    return h5py.Group(h5py.h5g.create(parent.id, name.encode(), link, creation))
