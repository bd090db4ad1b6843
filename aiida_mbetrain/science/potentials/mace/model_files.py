"""Reading MACE model files: the first import of mace and of everything it needs, and its only import of pickles."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
import pickle
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, BinaryIO

from ase.data import chemical_symbols

from aiida_mbetrain.errors import InvalidSettings, ModelHashMismatch, NotAModel
from aiida_mbetrain.science.potentials.mace.inference_imports import inference_only

if TYPE_CHECKING:
    from aiida_mbetrain.science.potentials.mace.fused import MaceModule
    from aiida_mbetrain.settings import JsonObject


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what mace prints and warns at import and load out of the caller's output."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


with quiet(), inference_only():
    from mace import modules  # before anything from e3nn, whose import fails otherwise

import torch  # noqa: E402

SUPPORTED = (modules.MACE, modules.ScaleShiftMACE)  # other classes of mace need inputs that we do not have

LONGEST_CUTOFF = 100.0
"""Å; the neighbours within a longer one would not fit into memory."""


def read_model(path: Path, sha256: str | None = None) -> tuple[MaceModule, str]:
    """The model in a file, on the CPU, and the file's sha256, checked before anything is unpickled.

    Raises ModelHashMismatch, NotAModel.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if sha256 is not None and digest != sha256.lower():
                raise ModelHashMismatch(
                    f"The model file {path} has sha256 {digest}, on record is {sha256}: restore the registered file, "
                    "or register this one as a new model."
                )
            file.seek(0)
            model = _unpickle(file, path)
    except OSError as error:
        raise NotAModel(f"The model file {path} cannot be read: {error.strerror or error}.") from error
    if type(model) not in SUPPORTED:
        raise NotAModel(
            f"The file {path} holds a {type(model).__name__}, not a MACE model of energies and forces: "
            "give the .model file that mace_run_train wrote, not a compiled one, a checkpoint or a state dictionary."
        )
    if embedded := list(getattr(model, "embedding_specs", None) or ()):
        raise NotAModel(
            f"The model in {path} also wants {', '.join(embedded)} of every structure, which nothing here states: "
            "give a model of numbers, positions and cells alone."
        )
    try:
        fault = _first_fault(model)
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        fault = _first_line(error)
    if fault is not None:
        raise NotAModel(f"The model in {path} cannot be used: {fault}. Train or save it anew.")
    return model, digest


def _first_fault(model: MaceModule) -> str | None:
    """The first fact of a model that allows no evaluation, such as the weights of a training that diverged."""
    numbers = [int(number) for number in model.atomic_numbers]
    if not numbers or len(set(numbers)) < len(numbers) or not all(0 < n < len(chemical_symbols) for n in numbers):
        return f"its atomic_numbers are {numbers}"
    if not 0.0 < float(model.r_max) <= LONGEST_CUTOFF:
        return f"its cutoff r_max is {float(model.r_max)} Å"
    layers = (len(model.interactions), len(model.products))
    if layers != (int(model.num_interactions),) * 2:
        return f"it has {layers} interactions and products, and num_interactions is {int(model.num_interactions)}"
    if len(model.readouts) not in (1, layers[0]):  # one with use_last_readout_only
        return f"it has {len(model.readouts)} readouts of {layers[0]} layers"
    energies = torch.atleast_2d(model.atomic_energies_fn.atomic_energies)
    if tuple(energies.shape) != (len(heads_of(model)), len(numbers)):
        return f"its atomic_energies of {len(heads_of(model))} heads and {len(numbers)} elements are {energies.shape}"
    for name, values in (*model.named_parameters(), *model.named_buffers()):
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            return f"its {name} is not finite"
    return None


def _unpickle(file: BinaryIO, path: Path) -> MaceModule:
    """Unpickle a file whose checksums are right: PyTorch does not compare those of its archives itself."""
    try:
        if zipfile.is_zipfile(file) and (damaged := zipfile.ZipFile(file).testzip()) is not None:
            raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
        file.seek(0)
        with quiet():
            return torch.load(file, map_location="cpu", weights_only=False)
    except Exception as error:  # an unpickler meets arbitrary bytes: any exception is possible
        raise NotAModel(
            f"The file {path} is not a MACE model ({type(error).__name__}: {_first_line(error)}): give the .model "
            "file that mace_run_train wrote, with a mace-torch that can read it."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]


class _Pickler(pickle._Pickler):
    """Python's own pickler, to which equal texts are one object.

    A pickle refers back to an object that it holds, and of two equal texts it depends on what the process did before
    whether they are the same object.
    """

    def save(self, obj: object, save_persistent_id: bool = True) -> None:
        """Save an object, or refer to it."""
        super().save(sys.intern(obj) if type(obj) is str else obj, save_persistent_id)  # type: ignore[misc]  # no stub


def write_model(model: MaceModule, target: Path) -> None:
    """Write a model file, of equal models with equal bytes."""
    torch.save(model, target, pickle_module=SimpleNamespace(__name__="pickle", Pickler=_Pickler))


def heads_of(model: MaceModule) -> list[str]:
    """The names of the model's heads; models from before there were any have the head Default."""
    return list(getattr(model, "heads", None) or ["Default"])


def choose_head(model: MaceModule, wanted: str | None) -> str:
    """The wanted head, or the only one, or the one named default; raises InvalidSettings."""
    heads = heads_of(model)
    if wanted is None:
        candidates = heads if len(heads) == 1 else [head for head in heads if head.lower() == "default"]
    else:
        candidates = [head for head in heads if head == wanted]
    if not candidates:
        raise InvalidSettings(f"Inference.head = {wanted!r}: the model has the heads {', '.join(heads)}; name one.")
    return candidates[0]


def inspect_model(path: Path) -> JsonObject:
    """See ``potentials.inspect_mace``."""
    model, _ = read_model(path)
    return {
        "elements": [chemical_symbols[int(number)] for number in sorted(model.atomic_numbers)],
        "r_max": float(model.r_max),
        "num_interactions": int(model.num_interactions),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "heads": heads_of(model),
        "mace_version": importlib.metadata.version("mace-torch"),
    }


def atomic_energies(path: Path, head: str | None, sha256: str | None) -> dict[int, float]:
    """See ``potentials.mace_atomic_energies``."""
    model, _ = read_model(path, sha256)
    row = heads_of(model).index(choose_head(model, head))
    energies = torch.atleast_2d(model.atomic_energies_fn.atomic_energies.detach())[row]
    return {int(z): float(e) for z, e in zip(model.atomic_numbers, energies, strict=True)}


def rewrite_atomic_energies(path: Path, energies: Mapping[str, Mapping[int, float]], target: Path) -> None:
    """See ``potentials.rewrite_atomic_energies``."""
    model, _ = read_model(path)
    model = model.double()
    values = [[energies[head][int(number)] for number in model.atomic_numbers] for head in heads_of(model)]
    buffer = model.atomic_energies_fn.atomic_energies
    buffer.copy_(torch.tensor(values, dtype=torch.float64).reshape(buffer.shape))
    write_model(model, target)
