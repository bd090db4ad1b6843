"""The whole job on the shipped crystal and model, with nothing but Python installed."""

from __future__ import annotations

import shlex
import warnings
from pathlib import Path

import click
from rich.console import Console

from aiida_mbetrain.cli.profile import load_local_profile

OVERRIDES = {
    "md_sampling": {
        "finite_subsystem_filter": {"n_molecules": [1, 2, 3, 4, 5, 6, 7, 8]},
        "md_crystal": {
            "time_total_fs": 1000.0,
            "time_equilibration_fs": 500.0,
            "sampling_interval_fs": 25.0,
            "time_step_fs": 1.0,
            "supercell_radius": 10.0,
        },
    },
    "quasi_harmonic": {"supercell_radius": 10.0},
    "phonon_sampling": {"finite_subsystem_filter": {"n_molecules": [1, 2, 3, 4, 5, 6, 7, 8]}, "n_frames": 5},
}
"""Short enough for four minutes on two cores; the physics is that of a real run."""


@click.command("demo")
@click.option(
    "--folder",
    default="mbetrain-demo",
    show_default=True,
    help="Where the profile, the dataset and the pictures go.",
)
def demo(folder: str) -> None:
    """Run the whole job on the shipped crystal and model.

    Hexamethylenetetramine at 298.15 K: molecular dynamics, force constants, phonon sampling, clusters, labels,
    one HDF5 file.  Uses an AiiDA profile of its own in FOLDER; no service is needed and ~/.aiida is not touched.
    """
    from aiida_mbetrain.demo import crystal, model_path

    place = Path(folder).resolve()
    console = Console()
    console.print(f"Profile and results in [bold]{place}[/]")
    warnings.filterwarnings("ignore", message="Creating AiiDA configuration folder")
    load_local_profile(place)

    from aiida import orm

    from aiida_mbetrain.cli.run import run_training_set
    from aiida_mbetrain.data.mace_model import MaceModelData
    from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain

    builder = TrainingSetWorkChain.get_builder_from_protocol(
        orm.StructureData(ase=crystal()),
        MaceModelData.get_or_create(model_path()),
        protocol="fast",
        overrides=OVERRIDES,
    )
    dataset = place / "training_set.hdf5"
    node = run_training_set(console, builder, dataset)
    console.print("\nTry next:")
    entry = "training/phonon_sampling/finite_subsystems/n=3"
    for command in (
        f"export AIIDA_PATH={shlex.quote(str(place))}   # this demo's profile, for the next two",
        f"verdi process status {node.pk}",
        f"aiida-mbetrain trace {shlex.quote(str(dataset))} {entry} 0",
    ):
        console.print(f"  {command}", highlight=False, soft_wrap=True)
