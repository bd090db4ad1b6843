"""Dynamics of a campaign that one process makes together, as replicas of one crystal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from aiida_mbetrain.campaigns.plan import DYNAMICS, Stage, condition_name
from aiida_mbetrain.campaigns.sources import digest
from aiida_mbetrain.settings import MDReplicas, MDSampling, Replica, Settings

TOGETHER = "replica_sampling"
"""Kind of the process, beside those of stages."""


def made_together(stages: Iterable[Stage], replicas_per_job: int) -> list[list[Stage]]:
    """Stages in their order, each in a list of those that one process makes; of equal dynamics the first.

    Dynamics of one crystal and model that differ in temperature, pressure and seed alone are made together, so many at
    most; where they start from the crystal relaxed at their pressure, those of one pressure.
    """
    lists: list[list[Stage]] = []
    growing: dict[str, list[Stage]] = {}
    seen: set[str] = set()
    for stage in stages:
        if stage.kind != DYNAMICS or replicas_per_job == 1:
            lists.append([stage])
        elif stage.key not in seen:
            seen.add(stage.key)
            found = growing.get(_in_common(stage))
            if found is None or len(found) == replicas_per_job:
                found = growing[_in_common(stage)] = []
                lists.append(found)
            found.append(stage)
    return lists


def _in_common(stage: Stage) -> str:
    """Digest of what replicas have in common."""
    assert isinstance(stage.settings, MDSampling)
    settings = stage.settings.to_dict()
    dynamics = settings.pop("md_crystal")
    del settings["temperature_K"], dynamics["rng_seed"]
    if not (settings["relax_first"] and dynamics["ensemble"] == "NPT"):
        del settings["pressure_GPa"]
    return digest([stage.crystal.name, stage.model.name, stage.inference.to_dict(), settings, dynamics])


def process_of(together: Sequence[Stage]) -> tuple[str, Settings]:
    """Kind and settings of the process that makes some stages."""
    stage = together[0]
    return (stage.kind, stage.settings) if len(together) == 1 else (TOGETHER, replicas_of(together))


def replicas_of(stages: Sequence[Stage]) -> MDReplicas:
    """Settings of dynamics that are made together."""
    first = stages[0].settings
    assert isinstance(first, MDSampling)
    replicas = {}
    for stage in stages:
        assert isinstance(stage.settings, MDSampling)
        own = stage.settings
        replicas[replica_name(stage)] = Replica(
            temperature_K=own.temperature_K, pressure_GPa=own.pressure_GPa, rng_seed=own.md_crystal.rng_seed
        )
    return MDReplicas(sampling=first, replicas=replicas)


def replica_name(stage: Stage) -> str:
    """``at_298_15K_0_0001GPa``."""
    return f"at_{condition_identifier(stage)}"


def condition_identifier(stage: Stage) -> str:
    """``298_15K_0_0001GPa``."""
    return identifier(condition_name(stage.temperature_K, stage.pressure_GPa).replace("-", "minus_"))


def identifier(name: str) -> str:
    """A name as AiiDA's labels of links allow it."""
    return re.sub(r"\W", "_", name)
