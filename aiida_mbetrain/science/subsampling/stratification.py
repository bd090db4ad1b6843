"""Strata of frames, and the allocation of picks to strata."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from aiida_mbetrain.science.clusters import ClusterSet
from aiida_mbetrain.science.configurations import AnyArray, Configurations, IntArray
from aiida_mbetrain.settings import Subsampling

FrameSet = Configurations | ClusterSet


def configurations_of(value: FrameSet) -> Configurations:
    """The frames of a set."""
    return value.configurations if isinstance(value, ClusterSet) else value


def apportion(total: int, weights: AnyArray, capacities: AnyArray) -> IntArray:
    """``total`` items over places in proportion to weights, as far as each place's capacity reaches.

    What one place cannot hold goes to the others; rounding follows the largest remainder, then the largest
    capacity, then the order.  The capacities must hold the total.
    """
    weights, capacities = np.asarray(weights, dtype=float), np.asarray(capacities, dtype=np.int64)
    full = capacities == 0
    level = 0.0
    while not full.all():
        level = (total - capacities[full].sum()) / weights[~full].sum()
        overflowing = ~full & (capacities < level * weights)
        if not overflowing.any():
            break
        full |= overflowing
    ideal = np.where(full, capacities, level * weights)
    shares = np.floor(ideal + 1e-9).astype(np.int64)
    order = np.lexsort((-capacities, -np.round(ideal - shares, 9), shares >= capacities))
    shares[order[: total - shares.sum()]] += 1
    return shares


def strata_of_frames(sets: Mapping[str, FrameSet], settings: Subsampling) -> tuple[NDArray[np.str_], IntArray]:
    """Names of strata, sorted, and which of them each frame of all sets belongs to, one set after another."""
    names, members = [""], [np.empty(0, dtype=np.int64)]
    for name, value in sets.items():
        own, places = _strata_of_set(name, value, settings)
        members.append(places + len(names))
        names += own
    distinct, order = np.unique(np.array(names), return_inverse=True)
    return distinct, order[np.concatenate(members)].astype(np.int64)


def _strata_of_set(name: str, value: FrameSet, settings: Subsampling) -> tuple[list[str], IntArray]:
    """Names of strata, and which of them each frame belongs to; frames of a set differ in temperature alone."""
    frames = configurations_of(value)
    cluster = value.cluster if isinstance(value, ClusterSet) else None
    temperatures, places = _temperatures(name, frames, settings)
    traits = {
        "source": _source(name, frames),
        "size": "crystal" if cluster is None else f"{cluster.n_molecules} molecules",
        "orbit": "" if cluster is None or cluster.orbit is None else f"orbit {cluster.orbit}",
    }
    by_temperature = [traits | {"temperature": temperature} for temperature in temperatures]
    texts = [", ".join(filter(None, (own[trait] for trait in settings.stratify_by))) or "all" for own in by_temperature]
    return texts, places


def _source(name: str, frames: Configurations) -> str:
    """Method that made the frames, by their origin; else the name of the set."""
    return {"md_step": "molecular dynamics", "mode": "phonons"}.get(
        next((key for key in ("md_step", "mode") if key in frames.origin), ""), name
    )


def _temperatures(name: str, frames: Configurations, settings: Subsampling) -> tuple[list[str], IntArray]:
    """Texts of temperatures, empty where none is known, and which of them each frame has."""
    if name in settings.temperatures_K or "temperature_K" not in frames.origin:
        known = settings.temperatures_K.get(name)
        return ["" if known is None else _shown(known)], np.zeros(len(frames), dtype=np.int64)
    found, places = np.unique(frames.origin["temperature_K"], return_inverse=True)
    return [_shown(temperature) for temperature in found.tolist()], places.astype(np.int64)


def _shown(temperature_K: float) -> str:
    return f"T = {temperature_K:.2f} K"
