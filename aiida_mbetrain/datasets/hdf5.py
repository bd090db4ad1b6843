"""Writes a dataset to one HDF5 file: the same bytes for the same content, complete or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.model import Dataset
from aiida_mbetrain.datasets.sections import from_dataset
from aiida_mbetrain.datasets.tree import Attribute, Group, array_digests, content_sha256
from aiida_mbetrain.science.errors import UnwritableOutput

STRING = h5py.string_dtype(encoding="utf-8")


def write_dataset(path: str | Path, dataset: Dataset, *, provenance: bool = True) -> str:
    """Write the dataset and return its ``content_sha256``.

    The file appears under its name only when it is complete; an earlier file of that name is replaced.  Equal
    datasets give byte-identical files.  Without ``provenance`` the file says nothing about nodes and processes,
    so two runs with the same seed are byte-identical as well.  Equal arrays (the forces of a trajectory and of its
    frames with whole molecules) are stored once, under all their names: HDF5 hard links, invisible to readers.
    Raises UnwritableOutput; InvalidSettings where sections contradict one another.
    """
    root = from_dataset(dataset)
    arrays = array_digests(root)
    digest = content_sha256(root, arrays)
    root.attributes[names.CONTENT_SHA256] = digest
    target = _writable(Path(path))
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        with _create(partial) as file:
            _write(file, root, arrays, provenance=provenance)
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


def _write(file: h5py.File, root: Group, digests: Mapping[tuple[str, str], str], *, provenance: bool) -> None:
    written: dict[str, h5py.Dataset] = {}
    for path, group in root.walk():
        target = _create_group(file, path) if path else file
        _write_attributes(target, group, provenance=provenance)
        for name in sorted(group.datasets):
            digest = digests[path, name]
            if digest in written:
                target[name] = written[digest]
            else:
                written[digest] = _write_array(target, name, group.array(name))


def _write_array(target: h5py.Group, name: str, array: NDArray) -> h5py.Dataset:
    dtype = STRING if array.dtype.kind == "O" else None
    return target.create_dataset(name, data=array, dtype=dtype, track_times=False)


def _write_attributes(target: h5py.Group, group: Group, *, provenance: bool) -> None:
    said = {f"{names.PROVENANCE_PREFIX}{name}": value for name, value in group.provenance.items()}
    for name, value in sorted((group.attributes | (said if provenance else {})).items()):
        _write_attribute(target, name, value)


def _write_attribute(target: h5py.Group, name: str, value: Attribute) -> None:
    if isinstance(value, list):
        target.attrs.create(name, np.array(value, dtype=object), dtype=STRING)
    else:
        target.attrs[name] = value


def _create_group(file: h5py.File, path: str) -> h5py.Group:
    """A group, its parent exists, without creation time, which h5py's own ``create_group`` would record."""
    creation = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    creation.set_obj_track_times(False)
    link = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    link.set_char_encoding(h5py.h5t.CSET_UTF8)
    return h5py.Group(h5py.h5g.create(file.id, path.encode(), link, creation))
