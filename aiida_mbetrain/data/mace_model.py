"""A MACE model file as a node, identified by its sha256."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Self

from aiida import orm

from aiida_mbetrain.errors import UnreadableFile
from aiida_mbetrain.science.potentials import Potential, inspect_mace, load_mace
from aiida_mbetrain.science.training import ModelFile
from aiida_mbetrain.settings import Inference


def sha256_of(path: str | Path) -> str:
    """Hexadecimal sha256 of a file, read in pieces."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class MaceModelData(orm.SinglefileData):
    """One MACE model file.

    A model file is executable code: loading it unpickles it.  Register only files you trust; every later load
    refuses a file whose sha256 is not the registered one.
    """

    def __init__(self, file: Path | str | BinaryIO | None = None, filename: str | None = None, **kwargs: Any) -> None:
        super().__init__(file=file, filename=filename, **kwargs)
        if file is not None:
            with self.as_path() as path:
                self.base.attributes.set_many({"sha256": sha256_of(path), **inspect_mace(path)})

    @classmethod
    def of_digest(cls, sha256: str) -> Self | None:
        """The stored node of the file with this sha256; None where there is none."""
        found: Self | None = orm.QueryBuilder().append(cls, filters={"attributes.sha256": sha256}).first(flat=True)
        return found

    @classmethod
    def get_or_create(cls, path: str | Path) -> Self:
        """The stored node of this file, or a new stored one; the same bytes are never stored twice.

        Raises UnreadableFile if the file does not exist and NotAModel if it is not a MACE model.
        """
        path = Path(path).expanduser()
        if not path.is_file():
            raise UnreadableFile(f"There is no model file {path}: check the path.")
        found = cls.of_digest(sha256_of(path))
        if found is not None:
            return found
        inspect_mace(path)  # so that a refusal names the user's path, not the repository's
        return cls(path.resolve()).store()

    @classmethod
    def from_science(cls, value: ModelFile) -> Self:
        """An unstored node of a model that was trained here."""
        return cls(BytesIO(value.content), filename=value.name)

    def to_science(self) -> ModelFile:
        """Content and name of the file; nothing is unpickled."""
        return ModelFile(self.get_content(mode="rb"), self.filename)

    @property
    def sha256(self) -> str:
        """Hexadecimal sha256 of the file."""
        return str(self.base.attributes.get("sha256"))

    @property
    def elements(self) -> list[str]:
        """Symbols of the elements the model knows."""
        return list(self.base.attributes.get("elements"))

    def load(self, inference: Inference) -> Potential:
        """Load the potential; raises ModelHashMismatch if the stored file was changed."""
        with self.as_path() as path:
            return load_mace(path, inference, sha256=self.sha256)
