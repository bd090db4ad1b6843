"""Lattice energy of the relaxed crystal at the level of a reference method."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiida_mbetrain.cli.common import read_reference_settings, require_finished, submit_as_jobs, with_profile
from aiida_mbetrain.cli.sources import load_node, stages_of_node
from aiida_mbetrain.errors import InvalidSettings

if TYPE_CHECKING:
    from aiida import orm
    from rich.console import Console


@click.command("lattice")
@click.argument("process")
@click.option("--cutoffs", required=True, metavar="2:10,3:6", help="Å between molecules, by number of molecules.")
@click.option("--settings", "path", help="YAML file with the settings of ReferenceLabels.")
@click.option("--method", help="GFN2-xTB, or method/basis such as PBE-D4/def2-SVP or CCSD(T)/cc-pVDZ.")
@click.option("--counterpoise", type=click.Choice(["none", "vmfc"]), help="Basis of the parts of an n-mer.")
@click.option("--code", help="mbetrain-worker as LABEL@COMPUTER: submit jobs; without, calculate here.")
@click.option("--jobs", "n_jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Jobs side by side.")
@click.option("--options", help="YAML file with metadata.options of the jobs.")
@click.option("-o", "--output", default="lattice_energy", show_default=True, help="Stem of the .csv and .png files.")
@with_profile
def lattice(
    process: str,
    cutoffs: str,
    path: str | None,
    method: str | None,
    counterpoise: str | None,
    code: str | None,
    n_jobs: int,
    options: str | None,
    output: str,
) -> None:
    """Compute the lattice energy of the relaxed crystal of PROCESS (a training set or quasi-harmonic stage).

    To the baseline's energy of the periodic crystal it adds the differences of reference and baseline of all clusters
    below the cutoffs, one calculation for each symmetry orbit.  Labels that the profile has are used: where jobs made
    them, the same command without --code writes the table and the picture.
    """
    from aiida import orm
    from aiida.engine import run_get_node
    from rich.console import Console

    from aiida_mbetrain.cli.progress import progress_bars
    from aiida_mbetrain.settings import IN_PROCESS, Inference
    from aiida_mbetrain.workflows.lattice_energy import LatticeEnergyWorkChain

    numbers = read_cutoffs(cutoffs)
    order = None if counterpoise is None else max(numbers, default=1)
    settings = read_reference_settings(path, method, order, counterpoise)
    if settings.method.program not in IN_PROCESS:
        raise InvalidSettings(f"{settings.method.program} is run elsewhere: give one of {', '.join(IN_PROCESS)}.")
    node = load_node(process)
    stages = stages_of_node(node)
    if "quasi_harmonic" not in stages:
        raise InvalidSettings(f"<{node.pk}> has no relaxed crystal: give a training set or a quasi-harmonic stage.")
    builder = LatticeEnergyWorkChain.get_builder()
    builder.structure, builder.model = stages["quasi_harmonic"]["structure"], node.inputs.model
    builder.inference = node.inputs.inference if "inference" in node.inputs else orm.Dict(Inference().to_dict())
    builder.settings, builder.n_jobs = orm.Dict(settings.to_dict()), orm.Int(n_jobs)
    builder.cutoffs = orm.Dict({str(n): cutoff for n, cutoff in numbers.items()})
    console = Console()
    if submit_as_jobs(console, builder, code, options):
        return
    with progress_bars(console):
        _, made = run_get_node(builder)
    require_finished(made)
    show(console, made, settings.method.name, Path(output))


def read_cutoffs(text: str) -> dict[int, float]:
    """Cutoffs by number of molecules.  Raises InvalidSettings."""
    try:
        pairs = [part.split(":") for part in text.split(",")]
        return {int(n): float(cutoff) for n, cutoff in pairs}
    except ValueError:
        raise InvalidSettings(f"--cutoffs {text}: give Å by number of molecules, such as 2:10,3:6.") from None


def show(console: Console, node: orm.ProcessNode, method: str, stem: Path) -> None:
    """Print the energies of reference and baseline, and write the table and the picture of the convergence."""
    import csv

    from ase import units

    from aiida_mbetrain.pictures import lattice_energy_picture, save

    unit = units.kJ / units.mol
    summary, counts = node.outputs.summary.get_dict(), node.outputs.counts.get_dict()
    table = node.outputs.convergence.to_science()
    baseline = summary["baseline_lattice_energy_eV"] / unit
    console.print(
        f"{counts['n_clusters_per_cell']:,} clusters per cell in {counts['n_orbits']:,} orbits, "
        f"{counts['n_fragments']:,} fragments, {counts['n_known']:,} known"
    )
    console.print(f"baseline {baseline:.3f} kJ/mol per molecule")
    console.print(f"{method} {summary['lattice_energy_eV'] / unit:.3f} kJ/mol per molecule", markup=False)
    files = stem.with_suffix(".csv"), stem.with_suffix(".png")
    with files[0].open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(zip(*(column.tolist() for column in table.columns.values()), strict=True))
    save(lattice_energy_picture(table, baseline_kJ_per_mol=baseline), files[1])
    console.print(f"{node.process_label}<{node.pk}>: {files[0]}, {files[1]}", markup=False)
