"""Test job for a code: two frames of the demo crystal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from aiida_mbetrain.cli.common import read_options, with_profile
from aiida_mbetrain.errors import MbetrainError

if TYPE_CHECKING:
    from aiida import orm

    from aiida_mbetrain.data.crystals import Nodes

SAME_ENERGY = 1e-5
"""eV; above the rounding of another device or version, below the error of another model file."""


@click.command("check")
@click.argument("code")
@click.option("--options", help="YAML file of metadata.options for the job: queue, GPU, walltime.")
@with_profile
def check(code: str, options: str | None) -> None:
    """Run a two-frame job on CODE (mbetrain@COMPUTER) and print device, versions and speed."""
    from aiida import orm
    from aiida.engine import run_get_node

    from aiida_mbetrain.calculations.labels import LabelsCalculation

    console, chosen = Console(), orm.load_code(code)
    metadata = {"options": read_options(options)}
    inputs = labels_inputs()
    console.print("One job of two frames of the demo crystal ...")
    _, node = run_get_node(LabelsCalculation, code=chosen, metadata=metadata, **inputs)
    if not node.is_finished_ok:
        stderr = (node.get_scheduler_stderr() or "").strip() if "retrieved" in node.outputs else ""
        raise MbetrainError(f"The job <{node.pk}> failed [{node.exit_status}]: {node.exit_message} {stderr[-500:]}")
    console.print(report(node))
    difference = energy_difference(node, inputs)
    if difference > SAME_ENERGY:
        raise MbetrainError(f"The energies differ by {difference:.1e} eV from those computed here: compare versions.")
    console.print(f"energies agree with those computed here to {difference:.0e} eV")


def labels_inputs() -> Nodes:
    """Inputs of the job: two frames of the demo crystal, in separate batches, as the first one includes warming up."""
    from aiida import orm

    from aiida_mbetrain.data.conversion import as_node
    from aiida_mbetrain.data.mace_model import MaceModelData
    from aiida_mbetrain.demo import crystal, model_path
    from aiida_mbetrain.science.configurations import Configurations
    from aiida_mbetrain.settings import Inference

    atoms = crystal()
    frames = as_node(Configurations.from_atoms([atoms, atoms.copy()]))
    inference = orm.Dict(Inference(batch_atoms=len(atoms)).to_dict())
    return {"model": MaceModelData.get_or_create(model_path()), "inference": inference, "sets": {"frames": frames}}


def report(node: orm.ProcessNode) -> Table:
    """Print the computer, device, versions and speed of the job."""
    info = node.outputs.run_info.get_dict()
    progress = json.loads(node.outputs.retrieved.base.repository.get_object_content("progress.json"))
    table = Table(box=None, show_header=False)
    table.add_row("device", f"{info['potential']['device']} ({info['potential'].get('device_name')})")
    table.add_row("host", f"{info['hostname']}, OMP_NUM_THREADS = {info['omp_num_threads']}")
    table.add_row("versions", f"aiida-mbetrain {info['aiida_mbetrain']}, Python {info['python']}")
    table.add_row("", ", ".join(f"{name} {version}" for name, version in info["versions"].items()))
    table.add_row("speed", f"{progress['rate']:,.0f} atoms/s" if progress["rate"] else "unknown")
    table.add_row("time", f"{info['total_time_s']:.1f} s, of which {info['wall_time_s']:.1f} s after the imports")
    table.add_row("memory", f"{info['peak_memory_bytes'] / 1e6:,.0f} MB")
    return table


def energy_difference(node: orm.ProcessNode, inputs: Nodes) -> float:
    """Largest difference (eV) between the job's energies and those computed in this process."""
    from aiida_mbetrain.calculations.functions.in_process import load_potential
    from aiida_mbetrain.data.conversion import as_science
    from aiida_mbetrain.settings import Inference

    potential = load_potential(inputs["model"], Inference(**inputs["inference"].get_dict()))
    [here] = potential.evaluate([as_science(inputs["sets"]["frames"])])
    return float(abs(here.energies - node.outputs.frames.get_array("energies")).max())
