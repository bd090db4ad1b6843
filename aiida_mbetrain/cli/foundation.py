"""MACE's foundation models by name, downloaded by the loaders of mace."""

from __future__ import annotations

import http.client
import os
import pickle
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

from aiida_mbetrain.errors import UnreadableFile

PREFIX = "mace-"
DEFAULTS = {"mace-mp": "mace-mp-medium", "mace-off": "mace-off-medium"}
ANICC_URL = "https://github.com/ACEsuit/mace/raw/main/mace/calculators/foundations_models/ani500k_large_CC.model"
CHARGED = ("mace-omol", "mace-polar")
"""Families whose models need inputs that this package does not provide."""


@dataclass(frozen=True)
class Foundation:
    """One model: its URL, and the loader of mace, which returns the path of the file."""

    url: str
    fetch: Callable[[], str | Path]


def is_name(source: str) -> bool:
    """Return True if the text names a foundation model and not a file."""
    return source.startswith(PREFIX) and os.sep not in source and not source.endswith(".model")


def foundation_models() -> dict[str, Foundation]:
    """All models that can be registered, by name."""
    from mace.calculators import foundations_models as zoo

    known = {}
    for size, url in zoo.mace_mp_urls.items():
        name = size if size.startswith(PREFIX) else f"mace-mp-{size}"
        known[name] = Foundation(url, partial(zoo.download_mace_mp_checkpoint, size))
    for size, url in zoo.mace_off_urls.items():
        known[f"mace-off-{size}"] = Foundation(url, partial(_off, zoo, size, url))
    known["mace-anicc"] = Foundation(ANICC_URL, partial(_anicc, zoo))
    return known


def fetch_foundation_model(name: str, folder: Path) -> Path:
    """Copy the file of a model into ``folder``, after mace has downloaded it into its cache if necessary.

    The copy has the name of the published file, which the cache of mace does not always keep.
    Raises UnreadableFile if the name is unknown or the download fails.
    """
    known = foundation_models()
    wanted = DEFAULTS.get(name, name)
    if wanted not in known:
        raise UnreadableFile(_unknown(name, known))
    model = known[wanted]
    try:
        return Path(shutil.copy(model.fetch(), folder / _file_name(model.url)))
    except (OSError, RuntimeError, EOFError, http.client.HTTPException, pickle.UnpicklingError) as error:
        raise UnreadableFile(
            f"{wanted} could not be downloaded ({error.__cause__ or error}): fetch {model.url} where there is a "
            "network and import the file."
        ) from error


def _unknown(name: str, known: Iterable[str]) -> str:
    if name.startswith(CHARGED):
        reason = "takes the total charge and spin as inputs, which frames do not have here"
    else:
        reason = "is neither a file nor a foundation model that mace has"
    return f"{name} {reason}: take one of {', '.join(known)}, or give a file."


def _off(zoo: ModuleType, size: str, url: str) -> Path:
    zoo.mace_off(size, device="cpu", return_raw_model=True)
    return _cached(zoo, url)


def _anicc(zoo: ModuleType) -> Path:
    """Load ANI-CC from the cache like the others; mace by itself stores it in the installed package."""
    path = _cached(zoo, ANICC_URL)
    zoo.mace_anicc(device="cpu", model_path=str(path), return_raw_model=True)
    return path


def _cached(zoo: ModuleType, url: str) -> Path:
    return Path(zoo.get_cache_dir()) / _file_name(url)


def _file_name(url: str) -> str:
    return os.path.basename(url).partition("?")[0]
