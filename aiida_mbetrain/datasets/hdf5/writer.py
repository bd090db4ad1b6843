"""Writing a dataset to one HDF5 file: the same bytes for the same content, complete or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

from aiida_mbetrain import __version__
from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.arrays import SinglePrecision
from aiida_mbetrain.datasets.hdf5.array_storage import STRING, Storage, write_array
from aiida_mbetrain.datasets.hdf5.file_lock import exclusive
from aiida_mbetrain.datasets.hdf5.file_tree import opened
from aiida_mbetrain.datasets.hdf5.guarded_file import GuardedFile
from aiida_mbetrain.datasets.hdf5.merging import merge, settle_references
from aiida_mbetrain.datasets.layout import from_dataset
from aiida_mbetrain.datasets.model import Dataset
from aiida_mbetrain.datasets.tree import Attribute, Group, array_digests, content_sha256, stated_provenance
from aiida_mbetrain.errors import UnwritableOutput

SINGLE_PRECISION = (names.FEATURE_VECTORS, names.FORCES, names.VELOCITIES)
"""Arrays that ``Storage.float32`` halves.  Geometries stay exact (uids depend on them), and so do energies: of a
total energy of thousands of eV, float32 keeps 0.1 meV per atom."""

COPIED_BYTES = 1 << 20
"""Of a file at once."""

ABOUT_FILE = {
    names.TITLE: "Training set of a molecular crystal: periodic frames, molecular clusters, phonons",
    names.WRITTEN_BY: f"aiida-mbetrain {__version__}",
    names.FORMAT: "docs/reference/hdf5.md in the sources of aiida-mbetrain",
}
"""Attributes of the root for people: no part of ``content_sha256``, which depends on the data alone."""


def write_dataset(
    path: str | Path, dataset: Dataset, *, provenance: bool = True, storage: Storage | None = None
) -> str:
    """Write the dataset and return its ``content_sha256``.

    The file appears under its name only when it is complete; an earlier file of that name is replaced.  Equal
    datasets give byte-identical files.  Without ``provenance`` the file says nothing about nodes and processes,
    so two runs with the same seed are byte-identical as well.  Equal arrays (the forces of a trajectory and of its
    frames with whole molecules) are stored once, under all their names: HDF5 hard links, invisible to readers.
    Raises UnwritableOutput; InvalidSettings where sections contradict one another.
    """
    root = _tree(dataset, storage or Storage(), provenance=provenance)
    target = _writable(Path(path))
    with _locked(target):
        return _replace(target, root, array_digests(root), storage or Storage())


def copy_dataset(source: BinaryIO, path: str | Path) -> None:
    """Write a dataset that :func:`write_dataset` has written before, as it does.  Raises UnwritableOutput."""
    target = _writable(Path(path))
    with _locked(target), _renamed_to(target) as partial, partial.open("xb") as file:
        shutil.copyfileobj(source, file, COPIED_BYTES)
        file.flush()
        os.fsync(file.fileno())


def append_dataset(
    path: str | Path, dataset: Dataset, *, provenance: bool = True, storage: Storage | None = None
) -> str:
    """Add the dataset to a file, which is made if there is none, and return the new ``content_sha256``.

    Groups that the file already has must be equal, otherwise it is left unchanged; its arrays keep their precision
    and compression.  Labels of a reference method may have grown: of equal ones those of more frames are kept.
    Writers wait for one another (``file_lock``); each writes the whole file anew and renames it, so that readers never
    see an incomplete file.
    Raises UnreadableFile for a foreign or damaged file, UnwritableOutput, InvalidSettings for other data under the
    same key.
    """
    storage = storage or Storage()
    root = _tree(dataset, storage, provenance=provenance)
    digests = array_digests(root)
    target = _writable(Path(path))
    with _locked(target):
        if not target.exists():
            return _replace(target, root, digests, storage)
        with opened(target) as old:
            settle_references(old, root)
            old_digests = array_digests(old)
            merged = merge(old, root, old_digests, digests)
            return _replace(target, merged, {**digests, **old_digests}, storage)


def append_trees(
    path: str | Path,
    trees: Iterable[Group],
    *,
    replaced: Mapping[str, Group] | None = None,
    provenance: bool = True,
    storage: Storage | None = None,
) -> str:
    """Add datasets one after another, each a tree as ``from_dataset`` gives it; returns ``content_sha256``.

    As :func:`append_dataset`, but with one of them in memory at a time: they are collected in a temporary file
    beside the target, from which the arrays are copied one by one.
    replaced: groups by path that are written in place of those of the file.
    """
    storage = storage or Storage()
    target = _writable(Path(path))
    with contextlib.ExitStack() as stack:
        stack.enter_context(_locked(target))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent))
        collected = Path(folder) / "collected.hdf5"
        try:
            _collect(collected, trees, storage, provenance=provenance)
        except OSError as error:
            raise UnwritableOutput(f"{target} cannot be written: {error.strerror or error}") from None
        new = stack.enter_context(opened(collected, verify=False))
        digests = array_digests(new)
        if target.exists():
            old = stack.enter_context(opened(target))
            settle_references(old, new)
            old_digests = array_digests(old)
            for name in replaced or {}:
                old.groups.pop(name, None)
            new = merge(old, new, old_digests, digests)
            digests = {**digests, **old_digests}
        new.groups |= replaced or {}
        digests |= array_digests(Group(groups=dict(replaced or {})))
        return _replace(target, new, digests, storage)


def _collect(path: Path, trees: Iterable[Group], storage: Storage, *, provenance: bool) -> None:
    """A file of all trees, without the guarantees of a finished one."""
    root = from_dataset(Dataset())
    with GuardedFile(path, "x+") as disk:
        with _create(disk) as file:
            for tree in trees:
                root = merge(_without_groups(root), _without_groups(tree), {}, {})
                stored = _as_stored(tree, storage, provenance=provenance)
                _write(file, stored, array_digests(stored), storage, disk.check)
            root.attributes[names.CONTENT_SHA256] = ""
            root.provenance = root.provenance if provenance else {}
            _write(file, root, {}, storage, disk.check)
        disk.check()


def _without_groups(group: Group) -> Group:
    return Group(attributes=group.attributes, provenance=group.provenance)


def _tree(dataset: Dataset, storage: Storage, *, provenance: bool) -> Group:
    return _as_stored(from_dataset(dataset), storage, provenance=provenance)


def _as_stored(root: Group, storage: Storage, *, provenance: bool) -> Group:
    for _, group in root.walk():
        if not provenance:
            group.provenance = {}
        for name in SINGLE_PRECISION if storage.float32 else ():
            if name in group.datasets:
                group.datasets[name] = SinglePrecision(group.datasets[name])
    return root


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(exclusive(target))
        except OSError as error:
            raise UnwritableOutput(f"{target} cannot be locked: {error.strerror or error}") from None
        yield


def _replace(target: Path, root: Group, digests: Mapping[tuple[str, str], str], storage: Storage) -> str:
    """Write the tree in place of the target and return its ``content_sha256``."""
    digest = content_sha256(root, digests)
    root.attributes[names.CONTENT_SHA256] = digest
    with _renamed_to(target) as partial, GuardedFile(partial, "x+") as disk:
        with _create(disk) as file:
            _write(file, root, digests, storage, disk.check)
        disk.check()
    return digest


@contextlib.contextmanager
def _renamed_to(target: Path) -> Iterator[Path]:
    """A name beside the target for a file that takes its place once it is complete.  Raises UnwritableOutput."""
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
        os.replace(partial, target)
    except OSError as error:
        raise UnwritableOutput(f"{target} cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _writable(path: Path) -> Path:
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise UnwritableOutput(f"{path} is a folder: give the name of a file.")
    if not target.parent.is_dir():
        raise UnwritableOutput(f"{path} cannot be written: the folder {target.parent} does not exist.")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise UnwritableOutput(f"{path} cannot be written: no permission to write to the folder {target.parent}.")
    return target


def _create(disk: GuardedFile) -> h5py.File:
    """A new file in the format of HDF5 1.8 (every reader opens it; its metadata carries checksums), without times."""
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_obj_track_times(False)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V18, h5py.h5f.LIBVER_V18)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, disk)
    return h5py.File(h5py.h5f.create(b"partial", h5py.h5f.ACC_EXCL, creation, access))


def _write(
    file: h5py.File,
    root: Group,
    digests: Mapping[tuple[str, str], str],
    storage: Storage,
    check: Callable[[], None],
) -> None:
    written: dict[tuple[str, str | None], h5py.Dataset] = {}
    stated = stated_provenance(root)
    for name, value in ABOUT_FILE.items():
        _write_attribute(file, name, value)
    for path, group in root.walk():
        target = file if not path else file[path] if path in file else _create_group(file, path)
        _write_attributes(target, group.attributes, stated[path])
        for name in sorted(group.datasets):
            digest, unit = digests[path, name], names.unit_of(name)
            if (digest, unit) in written:
                target[name] = written[digest, unit]
            else:
                array = written[digest, unit] = write_array(target, name, group.datasets[name], storage)
                array.attrs[names.ARRAY_SHA256] = digest
                if unit is not None:
                    array.attrs[names.UNITS] = unit
                check()


def _write_attributes(target: h5py.Group, attributes: Mapping[str, Attribute], stated: Mapping[str, Attribute]) -> None:
    said = {f"{names.PROVENANCE_PREFIX}{name}": value for name, value in stated.items()}
    for name, value in sorted(({**attributes} | said).items()):
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
