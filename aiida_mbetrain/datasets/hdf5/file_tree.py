"""Tree of an open file, compared with its digests; damage, foreign formats and links elsewhere are refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import h5py

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.arrays import StoredArray
from aiida_mbetrain.datasets.layout import SCHEMA_VERSION
from aiida_mbetrain.datasets.tree import Group, array_digests, content_sha256, forget_inherited, plain
from aiida_mbetrain.errors import InvalidStructure, UnreadableFile

# What h5py and the containers raise on a file whose bytes are not what they were.
DAMAGE = (
    OSError,
    KeyError,
    ValueError,
    TypeError,
    RuntimeError,
    AttributeError,
    AssertionError,
    MemoryError,
    InvalidStructure,
)


def require_unchanged(path: str | Path, root: Group, digests: Mapping[tuple[str, str], str]) -> None:
    """Raise UnreadableFile unless an open file's content is what was written."""
    if content_sha256(root, digests) != root.attributes[names.CONTENT_SHA256]:
        raise UnreadableFile(f"{path} is damaged or was edited: its content does not give its content_sha256.")


@contextmanager
def opened(path: str | Path, *, verify: bool = True) -> Iterator[Group]:
    """Yield the tree of an open file; errors of h5py on a damaged file are raised as UnreadableFile.

    Attributes and the digests that the arrays state are compared with the digest of the file now, an array when it is
    read, so that a part costs no more than itself.  A file whose arrays state no digests is read as a whole.
    """
    if not Path(path).is_file():
        raise UnreadableFile(f"{path} does not exist or is not a file.")
    try:
        if not h5py.is_hdf5(path):
            raise UnreadableFile(f"{path} is not an HDF5 file.")
        with h5py.File(path, "r") as file:
            root = _read_root(file, compare=verify)
            _check_schema(path, root)
            if verify:
                require_unchanged(path, root, _stated_digests(root) or array_digests(root))
            forget_inherited(root)
            yield root
    except DAMAGE as error:
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableFile(f"{path} is truncated, damaged or incomplete: {detail}") from error


@contextmanager
def verified(path: str | Path) -> Iterator[Group]:
    """The tree of an open file whose content is what was written.

    Damage is found before anything is handed out, so that errors of the caller keep their own names.
    Raises UnreadableFile.
    """
    with opened(path) as root:
        array_digests(root)
    with h5py.File(path, "r") as file:
        root = _read_root(file, compare=False)
        forget_inherited(root)
        yield root


def _stated_digests(root: Group) -> dict[tuple[str, str], str] | None:
    """Digests that the arrays of a file state; None where one of them states none, as in files of earlier versions."""
    stated = {(path, name): array.sha256 for path, group in root.walk() for name, array in group.datasets.items()}
    return None if None in stated.values() else stated


def _check_schema(path: str | Path, root: Group) -> None:
    version = root.attributes.get(names.SCHEMA_VERSION)
    if version is None or names.CONTENT_SHA256 not in root.attributes:
        raise UnreadableFile(f"{path} is an HDF5 file, but not a dataset of aiida-mbetrain: it has no schema_version.")
    if version != SCHEMA_VERSION:
        raise UnreadableFile(f"{path} has schema_version {version}; this version reads {SCHEMA_VERSION}.")


def _read_root(file: h5py.File, *, compare: bool) -> Group:
    """The tree of a file, without what the root says for people."""
    root = _read_group(file, compare=compare)
    for name in (names.TITLE, names.WRITTEN_BY, names.FORMAT):
        root.attributes.pop(name, None)
    return root


def _read_group(source: h5py.Group, *, compare: bool = True, seen: set[int] | None = None) -> Group:
    """The tree below a group.  Raises UnreadableFile for links to other files and places, and for circles of groups.

    compare: compare arrays with the digests that they state when they are read.
    """
    seen = set() if seen is None else seen
    address = h5py.h5o.get_info(source.id).addr
    if address in seen:
        raise UnreadableFile(f"The group {source.name} stands in the file twice, or contains itself: export it again.")
    seen.add(address)
    group = Group()
    for name, value in source.attrs.items():
        if name.startswith(names.PROVENANCE_PREFIX):
            group.provenance[name.removeprefix(names.PROVENANCE_PREFIX)] = plain(value)
        else:
            group.attributes[name] = plain(value)
    for name in source:
        where = f"{source.file.filename}: {source.name.rstrip('/')}/{name}"
        if source.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise UnreadableFile(f"{where} is a link to another place or file: replace it by what it links to.")
        item = source[name]
        if isinstance(item, h5py.Group):
            group.groups[name] = _read_group(item, compare=compare, seen=seen)
        else:
            group.datasets[name] = _stored_array(item, where, compare=compare)
    return group


def _stored_array(item: object, where: str, *, compare: bool) -> StoredArray:
    """An array of the file.  Raises UnreadableFile for one whose numbers lie elsewhere or nowhere."""
    if not isinstance(item, h5py.Dataset):
        raise UnreadableFile(f"{where} is neither a group nor an array.")
    if item.is_virtual or item.external is not None:
        raise UnreadableFile(f"The numbers of {where} lie in another file: copy them into this one.")
    if item.size and not item.id.get_storage_size():
        raise UnreadableFile(f"{where} has the shape {item.shape}, but no numbers.")
    stated = item.attrs.get(names.ARRAY_SHA256) if compare else None
    return StoredArray(item, where, None if stated is None else str(stated))
