"""Second half of the demo: reference labels, a delta model, its errors, and dynamics with baseline plus delta."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aiida_mbetrain.cli.common import require_finished

if TYPE_CHECKING:
    from rich.console import Console

METHOD = "GFN2-xTB"
SIZES = (1, 2)
N_EPOCHS = 30
DYNAMICS = {
    "md_sampling": {
        "finite_subsystem_filter": None,
        "relax_first": False,
        "md_crystal": {
            "time_total_fs": 10.0,
            "time_equilibration_fs": 0.0,
            "sampling_interval_fs": 1.0,
            "time_step_fs": 1.0,
            "supercell_radius": 6.0,
        },
    }
}
"""Ten steps, whose energies show that forces and energy of the sum belong together."""


def run_delta(console: Console, node: Any, place: Path) -> None:
    """Label molecules and pairs of a finished run, train on them, judge the model and run dynamics with the sum.

    Tables, pictures and a report go into the folder ``delta`` of ``place``.  Raises MbetrainError for a failed step.
    """
    from aiida_mbetrain.cli.evaluate import show_errors, write_evaluation
    from aiida_mbetrain.cli.run_facts import models_of_training, run_facts
    from aiida_mbetrain.cli.train import frames_of, run_training, show_training
    from aiida_mbetrain.cli.trainings import evaluate_model, require_training
    from aiida_mbetrain.report import write_model_report
    from aiida_mbetrain.settings import TrainingFrames
    from aiida_mbetrain.workflows.model_training import ModelTrainingWorkChain

    labelled = label(console, node)
    frames, baseline = frames_of(str(node.pk), str(labelled.pk), TrainingFrames(sizes=SIZES))
    overrides = {"max_num_epochs": N_EPOCHS}
    builder = ModelTrainingWorkChain.get_builder_from_protocol(frames, baseline, overrides=overrides)
    chain = require_training(run_training(console, builder))
    show_training(console, chain)
    judged = evaluate_model(chain, "test")
    errors, facts = judged.outputs.errors.to_science(), judged.outputs.summary.get_dict()
    show_errors(console, errors, facts)
    forces = {
        str(model): float(error)
        for model, group, error in zip(errors["model"], errors["group"], errors["force_rmse_meV_per_A"], strict=True)
        if group == "all"
    }
    factor = forces["baseline"] / forces["delta"]
    console.print(f"force error against {METHOD}: {factor:.1f} times smaller with the delta model", highlight=False)
    for path in write_evaluation(place / "delta", judged, judged.outputs.learning_curve.to_science()):
        console.print(str(path), highlight=False, soft_wrap=True)
    page = write_model_report(models_of_training(chain), run_facts(chain), place / "delta" / "report.html")
    console.print(f"Report: {page}", highlight=False, soft_wrap=True)
    show_dynamics(console, run_dynamics(console, chain.outputs.sum))


def label(console: Console, node: Any) -> Any:
    """The finished WorkChain with reference labels of the run."""
    from aiida import orm

    from aiida_mbetrain.calculations.functions.reference_labels import cluster_sets
    from aiida_mbetrain.cli.sources import stages_of_node
    from aiida_mbetrain.settings import ReferenceLabels, method_of_name
    from aiida_mbetrain.workflows.reference_labels import ReferenceLabelsWorkChain

    builder: Any = ReferenceLabelsWorkChain.get_builder()
    builder.sets, builder.crystals, _ = cluster_sets(stages_of_node(node), sizes=SIZES)
    builder.settings = orm.Dict(ReferenceLabels(method=method_of_name(METHOD), order=max(SIZES)).to_dict())
    return _run(console, builder)


def run_dynamics(console: Console, model: Any) -> Any:
    """Ten steps of the demo's crystal with a model."""
    from aiida import orm

    from aiida_mbetrain.demo import crystal
    from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain

    structure = orm.StructureData(ase=crystal())
    builder = MDSamplingWorkChain.get_builder_from_protocol(structure, model, protocol="fast", overrides=DYNAMICS)
    return _run(console, builder)


def show_dynamics(console: Console, node: Any) -> None:
    """Steps and conserved energy of the dynamics."""
    series = node.outputs.thermodynamics.to_science()
    conserved = series["conserved_energy_eV"]
    console.print(
        f"{node.process_label}<{node.pk}>: {len(conserved) - 1} steps with baseline + delta, conserved energy within "
        f"{1000 * float(np.ptp(conserved)):.2f} meV",
        highlight=False,
    )


def _run(console: Console, builder: Any) -> Any:
    from aiida.engine import run_get_node

    from aiida_mbetrain.cli.progress import progress_bars

    with progress_bars(console):
        _, node = run_get_node(builder)
    require_finished(node)
    return node
