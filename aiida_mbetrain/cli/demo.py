"""Complete workflow on the shipped crystal and model, without any service."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click
from rich.console import Console

from aiida_mbetrain.cli.common import stopping_in_order
from aiida_mbetrain.cli.profile import load_local_profile

OVERRIDES = {
    "md_sampling": {
        "finite_subsystem_filter": {"n_molecules": [1, 2, 3, 4, 5, 6, 7, 8]},
        "md_crystal": {
            "time_total_fs": 1400.0,
            "time_equilibration_fs": 600.0,
            "sampling_interval_fs": 50.0,
            "time_step_fs": 1.0,
            "thermostat_time_fs": 50.0,
            "barostat_time_fs": 300.0,
            "supercell_matrix": [[1, -1, 1], [2, 1, 0], [1, 2, 2]],
        },
    },
    "quasi_harmonic": {"relax_input_cell": "full", "supercell_radius": 13.0, "keep_point_group": True},
    "phonon_sampling": {"finite_subsystem_filter": {"n_molecules": [1, 2, 3, 4, 5, 6, 7, 8]}, "n_frames": 5},
}
"""Settings that take three minutes on two cores; the methods are those of a production run.

The supercell of dynamics is the smallest in which a molecule and its eight neighbours are nine different ones; that of
the phonons is the smallest such one with all operations of the crystal, for few displacements.  The start at the volume
of room temperature, the short times of thermostat and barostat and the equilibration let temperature and volume settle
in time.  Phonons are those of the fully relaxed crystal: at the volume of room temperature this model has imaginary
ones.
"""


@click.command("demo")
@click.option(
    "--folder",
    default="mbetrain-demo",
    show_default=True,
    help="Where the profile, the dataset and the pictures go.",
)
@click.option("--delta", is_flag=True, help="Go on: GFN2-xTB labels, a delta model, its errors, dynamics with it.")
@stopping_in_order
def demo(folder: str, delta: bool) -> None:
    """Run the complete workflow on the shipped crystal and model.

    Hexamethylenetetramine at 298.15 K: molecular dynamics, force constants, phonon sampling, clusters, labels,
    one HDF5 file.  Uses an AiiDA profile of its own in FOLDER; no service is needed and ~/.aiida is not touched.
    What an earlier demo has computed in FOLDER is used.
    """
    from aiida_mbetrain.demo import ROOM_TEMPERATURE, crystal, model_path

    place = Path(folder).resolve()
    console = Console()
    console.print(f"Profile and results in [bold]{place}[/]")
    load_local_profile(place)
    click.get_current_context().meta["mbetrain_place"] = place

    from aiida import orm
    from aiida.manage.caching import enable_caching

    from aiida_mbetrain.cli.run import STEPS, run_training_set
    from aiida_mbetrain.data.mace_model import MaceModelData
    from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain

    builder = TrainingSetWorkChain.get_builder_from_protocol(
        orm.StructureData(ase=crystal(ROOM_TEMPERATURE)),
        MaceModelData.get_or_create(model_path()),
        protocol="fast",
        overrides=OVERRIDES,
    )
    dataset = place / "training_set.hdf5"
    with enable_caching(identifier=STEPS):  # an earlier demo in this folder has done the work
        node = run_training_set(console, builder, dataset)
        if delta:
            from aiida_mbetrain.cli.demo_delta import run_delta

            run_delta(console, node, place)
    console.print("\nTry next:")
    for command in next_commands(node.pk, dataset, place):
        console.print(f"  {command}", highlight=False, markup=False, soft_wrap=True)


def next_commands(pk: int | None, dataset: Path, place: Path) -> list[str]:
    """Three shell commands that can be pasted as they are, in the current folder.

    They need neither an activated environment nor a variable, because the command of the README sets neither.
    """
    entry = "training/phonon_sampling/finite_subsystems/n=3"
    smaller = dataset.with_name(f"{dataset.stem}_without_features.hdf5")
    return [
        _command(place, "trace", _shortest(dataset), entry, "0"),
        _command(place, "status", str(pk)),
        _command(place, "export", str(pk), "--no-features", "-o", _shortest(smaller)),
    ]


def _command(place: Path, *arguments: str) -> str:
    program = _shortest(Path(sys.executable).parent / "aiida-mbetrain")
    return f"AIIDA_PATH={shlex.quote(_shortest(place))} {shlex.join([program, *arguments])}"


def _shortest(path: Path) -> str:
    """The shorter of the absolute path and the one relative to the current folder, safe in shells and options."""
    relative = os.path.relpath(path)
    if os.sep not in relative or relative.startswith("-"):
        relative = os.path.join(os.curdir, relative)
    return min(relative, str(path), key=len)
