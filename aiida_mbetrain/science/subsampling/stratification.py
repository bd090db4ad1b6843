"""Strata of frames, and the allocation of picks to strata."""

from __future__ import annotations

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


def stratum_of_frames(name: str, value: FrameSet, settings: Subsampling) -> NDArray[np.str_]:
    """Stratum of each frame of a set, (F,)."""
    frames = configurations_of(value)
    cluster = value.cluster if isinstance(value, ClusterSet) else None
    parts: dict[str, AnyArray] = {
        "source": _everywhere(_source(name, frames), frames),
        "temperature": _temperatures(name, frames, settings),
        "size": _everywhere("crystal" if cluster is None else f"{cluster.n_molecules} molecules", frames),
        "orbit": _everywhere("" if cluster is None or cluster.orbit is None else f"orbit {cluster.orbit}", frames),
    }
    chosen = [parts[trait] for trait in settings.stratify_by]
    return np.array(
        [", ".join(filter(None, row)) or "all" for row in zip(*chosen, strict=True)] or ["all"] * len(frames)
    )


def _everywhere(text: str, frames: Configurations) -> NDArray[np.str_]:
    return np.full(len(frames), text)


def _source(name: str, frames: Configurations) -> str:
    """Method that made the frames, by their origin; else the name of the set."""
    return {"md_step": "molecular dynamics", "mode": "phonons"}.get(
        next((key for key in ("md_step", "mode") if key in frames.origin), ""), name
    )


def _temperatures(name: str, frames: Configurations, settings: Subsampling) -> NDArray[np.str_]:
    if name in settings.temperatures_K:
        return _everywhere(f"T = {settings.temperatures_K[name]:.2f} K", frames)
    if "temperature_K" in frames.origin:
        return np.array([f"T = {temperature:.2f} K" for temperature in frames.origin["temperature_K"]])
    return _everywhere("", frames)
