"""From a file or dataset to a page on disk."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiida_mbetrain.datasets.hdf5 import verified
from aiida_mbetrain.datasets.layout import from_dataset
from aiida_mbetrain.datasets.model import Dataset
from aiida_mbetrain.datasets.tree import Group
from aiida_mbetrain.errors import UnwritableOutput
from aiida_mbetrain.report.page import page
from aiida_mbetrain.report.run_facts import RunFacts
from aiida_mbetrain.report.sections import all_sections, headline
from aiida_mbetrain.report.source import Source

DEFAULT_FILE = "training_set.hdf5"
"""Name of the file in commands where a dataset has none."""


def write_report(
    source: Dataset | str | Path,
    path: str | Path,
    *,
    run: RunFacts | None = None,
    file_name: str | None = None,
    seed: int = 42,
) -> Path:
    """Write the report of a dataset or of its HDF5 file to ``path``.

    run: what the profile knows about the run.  file_name: the file in commands to paste; by default its own name.
    seed: of the choice of clusters where there are too many for one page.
    Raises UnreadableFile, UnwritableOutput.
    """
    size = None if isinstance(source, Dataset) else _size(Path(source))
    name = file_name or (DEFAULT_FILE if isinstance(source, Dataset) else str(source))
    with _tree(source) as root:
        given = Source(root=root, file_name=name, file_bytes=size, run=run, seed=seed)
        title, heading, subtitle = headline(given)
        text = page(title, heading, subtitle, all_sections(given))
    return _write(Path(path), text)


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


@contextmanager
def _tree(source: Dataset | str | Path) -> Iterator[Group]:
    if isinstance(source, Dataset):
        yield from_dataset(source)
    else:
        with verified(source) as root:
            yield root


def _write(path: Path, text: str) -> Path:
    """Write under another name and rename: a reader never sees half a page."""
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        partial.write_text(text, "utf-8")
        os.replace(partial, target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UnwritableOutput(f"{path} cannot be written: {error.strerror or error}.") from None
    return path
