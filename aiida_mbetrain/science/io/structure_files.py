"""Files of structures that ASE reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import read

from aiida_mbetrain.errors import UnreadableFile


def read_frames(path: str | Path, *, what: str, **options: Any) -> list[Atoms]:
    """The frames of a file; ``what`` it should be is said in the error, ``options`` are those of ``ase.io.read``.

    Raises UnreadableFile for a file that is not there, has no frames or that ASE cannot read.
    """
    if not Path(path).is_file():
        raise UnreadableFile(f"{path} does not exist or is not a file: give {what}.")
    try:
        found = read(path, **options)
    except Exception as error:  # ASE's readers raise anything from ValueError to AssertionError
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableFile(f"ASE cannot read {path} ({reason}): give {what}.") from error
    frames = [found] if isinstance(found, Atoms) else list(found)
    if not frames:
        raise UnreadableFile(f"{path} has no frames: give {what}.")
    return frames
