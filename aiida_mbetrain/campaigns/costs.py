"""Evaluations, hours, memory and disk of a campaign, and all that its stages would refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiida_mbetrain.campaigns.plan import DYNAMICS, PHONONS, QUASI_HARMONIC, Plan, Stage
from aiida_mbetrain.campaigns.refusals import Refusals
from aiida_mbetrain.campaigns.sources import Model, digest
from aiida_mbetrain.errors import ElementsNotInModel
from aiida_mbetrain.science.crystal import make_supercell
from aiida_mbetrain.science.potentials import Potential, load_mace, named_calculator
from aiida_mbetrain.science.stages import (
    Probe,
    StageEstimate,
    estimate_force_constants,
    estimate_md,
    estimate_phonons,
    probe_potential,
)
from aiida_mbetrain.settings import FreeEnergy, Inference, MDSampling, PhononSampling

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Speed:
    """Cost of evaluating a model.

    n_features: per atom.  probe: where it was measured here.
    """

    seconds_per_atom: float
    n_features: int = 0
    probe: Probe | None = None


def estimate_plan(plan: Plan) -> dict[str, StageEstimate]:
    """Size of every stage, by name.

    Raises InvalidCampaign with everything that the stages of all crystals would refuse.
    """
    refusals, sizes, known = Refusals(), {}, {}
    for member in plan.members:
        constants, phonons, dynamics = member.stages
        with refusals.about(member.crystal):
            _require_elements(constants)
            for stage in (dynamics, constants, phonons):
                # Sizes do not depend on temperature and pressure: 15 members have the supercells of one.
                size_key = _size_key(stage)
                if size_key not in known:
                    known[size_key] = _estimate(stage)
                sizes[stage.name] = known[size_key]
    refusals.raise_if_any()
    return {name: sizes[name] for name in plan.stages}


def _size_key(stage: Stage) -> str:
    conditions = ("temperature_K", "pressure_GPa", "rng_seed")
    settings = {name: value for name, value in stage.settings.to_dict().items() if name not in conditions}
    parent = _size_key(stage.parent) if stage.parent else ""
    return digest([stage.kind, stage.crystal.digest, settings, parent])


def _require_elements(stage: Stage) -> None:
    if stage.model.elements is None:
        return
    missing = set(stage.crystal.configurations.numbers.tolist()) - stage.model.elements
    if missing:
        from ase.data import chemical_symbols

        known = ", ".join(chemical_symbols[number] for number in sorted(stage.model.elements))
        lacking = ", ".join(chemical_symbols[number] for number in sorted(missing))
        raise ElementsNotInModel(
            f"it contains {lacking}, the model {stage.model.name} knows {known}: leave the crystal out, or take a "
            "model trained for these elements."
        )


def _estimate(stage: Stage) -> StageEstimate:
    frame = stage.crystal.configurations
    if isinstance(stage.settings, MDSampling):
        return estimate_md(frame, stage.settings)
    if isinstance(stage.settings, FreeEnergy):
        return estimate_force_constants(frame, stage.settings)
    assert isinstance(stage.settings, PhononSampling)
    assert stage.parent is not None
    assert isinstance(stage.parent.settings, FreeEnergy)
    return estimate_phonons(frame, stage.parent.settings, stage.settings)


def measure(plan: Plan, sizes: Mapping[str, StageEstimate]) -> dict[str, Speed]:
    """Speed, features and memory of every model, on the smallest supercell of dynamics among the crystals."""
    speeds = {}
    for model in {stage.model.name: stage.model for stage in plan.stages.values()}.values():
        stages = [stage for stage in plan.stages.values() if stage.kind == DYNAMICS and stage.model.name == model.name]
        smallest = min(stages, key=lambda stage: sizes[stage.name].n_atoms)
        supercell = make_supercell(smallest.crystal.configurations, sizes[smallest.name].supercell_matrix)
        batch_atoms = smallest.inference.batch_atoms
        probe = probe_potential(supercell, _potential(model, smallest), batch_atoms=batch_atoms)
        speeds[model.name] = Speed(probe.seconds_per_atom, probe.n_features, probe)
    return speeds


def _potential(model: Model, stage: Stage) -> Potential:
    if model.calculator is not None:
        return named_calculator(model.calculator)
    if model.path is None:
        from aiida_mbetrain.campaigns.nodes import registered_potential

        return registered_potential(model, stage.inference)
    return load_mace(model.path, stage.inference, sha256=str(model.identity["sha256"]))


Row = dict[str, Any]


def cost_rows(plan: Plan, sizes: Mapping[str, StageEstimate], speeds: Mapping[str, Speed]) -> list[Row]:
    """Costs by crystal and model: shared stages once, evaluations, hours, peak memory and disk."""
    rows = []
    for name, stages in plan.groups().items():
        crystal, model = name.split("/")
        own = {stage.key: stage for stage in stages}.values()
        frame, dynamics = stages[0].crystal.configurations, next(s for s in own if s.kind == DYNAMICS)
        rows.append(
            {
                "crystal": crystal,
                "model": model,
                "formula": stages[0].crystal.formula,
                "members": sum(member.crystal == crystal and member.model == model for member in plan.members),
                **{kind: sum(stage.kind == kind for stage in own) for kind in (QUASI_HARMONIC, PHONONS, DYNAMICS)},
                "atoms_per_cell": frame.n_atoms,
                "atoms_per_supercell": sizes[dynamics.name].n_atoms,
                "evaluations": sum(sizes[stage.name].n_evaluations for stage in own),
                "frames": sum(sizes[stage.name].n_frames for stage in own),
                "clusters": sum(sizes[stage.name].n_clusters for stage in own),
                **_resources([sizes[stage.name] for stage in own], speeds[model], stages[0].inference),
            }
        )
    return rows


def _resources(sizes: list[StageEstimate], speed: Speed, inference: Inference) -> Row:
    seconds = sum(size.atom_evaluations for size in sizes) * speed.seconds_per_atom
    memory = None
    if speed.probe is not None and speed.probe.memory is not None:
        memory = max(speed.probe.peak_bytes(size, inference) or 0 for size in sizes)
    return {
        "hours": seconds / SECONDS_PER_HOUR,
        "peak_memory_bytes": memory,
        "stored_bytes": sum(size.bytes_stored(speed.n_features, inference) for size in sizes),
    }


def total_row(rows: list[Row]) -> Row:
    """Sums over all crystals and models, and the largest of memories and supercells."""
    largest = ("atoms_per_cell", "atoms_per_supercell", "peak_memory_bytes")
    total: Row = {"crystal": "total", "model": "", "formula": ""}
    for name in list(rows[0])[3:]:
        values = [row[name] for row in rows if row[name] is not None]
        total[name] = (max(values) if name in largest else sum(values)) if values else None
    return total
