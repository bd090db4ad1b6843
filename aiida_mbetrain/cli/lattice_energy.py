"""Lattice energy of the relaxed crystal at the level of a reference method."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiida_mbetrain.cli.common import read_reference_settings, with_profile
from aiida_mbetrain.cli.sources import load_node, stages_of_node
from aiida_mbetrain.errors import InvalidSettings, MbetrainError

if TYPE_CHECKING:
    from aiida import orm
    from rich.console import Console

    from aiida_mbetrain.data.crystals import Nodes
    from aiida_mbetrain.settings import JsonObject


@click.command("lattice")
@click.argument("process")
@click.option("--cutoffs", required=True, metavar="2:10,3:6", help="Å between molecules, by number of molecules.")
@click.option("--settings", "path", help="YAML file with the settings of ReferenceLabels.")
@click.option("--method", help="GFN2-xTB, or method/basis such as PBE-D4/def2-SVP or CCSD(T)/cc-pVDZ.")
@click.option("--counterpoise", type=click.Choice(["none", "vmfc"]), help="Basis of the parts of an n-mer.")
@click.option("-o", "--output", default="lattice_energy", show_default=True, help="Stem of the .csv and .png files.")
@with_profile
def lattice(
    process: str, cutoffs: str, path: str | None, method: str | None, counterpoise: str | None, output: str
) -> None:
    """Compute the lattice energy of the relaxed crystal of PROCESS (a training set or quasi-harmonic stage) here.

    To the baseline's energy of the periodic crystal it adds the differences of reference and baseline of all clusters
    below the cutoffs, one calculation for each symmetry orbit.  Labels that the profile has are used.
    """
    from aiida import orm
    from rich.console import Console

    from aiida_mbetrain.calculations.functions import lattice_energy as steps
    from aiida_mbetrain.calculations.functions.clusters import detect_molecules
    from aiida_mbetrain.calculations.functions.reference_labels import reference_labels
    from aiida_mbetrain.cli.progress import progress_bars
    from aiida_mbetrain.settings import Inference
    from aiida_mbetrain.workflows.reference_labels import known_labels

    order = None if counterpoise is None else max(read_cutoffs(cutoffs), default=1)
    settings = read_reference_settings(path, method, order, counterpoise)
    numbers = {str(n): cutoff for n, cutoff in read_cutoffs(cutoffs).items()}
    node = load_node(process)
    stages = stages_of_node(node)
    if "quasi_harmonic" not in stages:
        raise InvalidSettings(f"<{node.pk}> has no relaxed crystal: give a training set or a quasi-harmonic stage.")
    whole = orm.Dict({"assert_identical_composition": False})
    structure = stages["quasi_harmonic"]["structure"]
    crystal = _done(detect_molecules.run_get_node(structure=structure, settings=whole)[1]).outputs.result
    expansion = steps.expansion_of_crystal(crystal.to_science(), settings, numbers)
    known = known_labels(settings, set(expansion.fragments.ids.tolist()))
    shared: Nodes = {
        "molecular_crystal": crystal,
        "settings": orm.Dict(settings.to_dict()),
        "cutoffs": orm.Dict(numbers),
    }
    console = Console()
    with progress_bars(console):
        found = _done(steps.lattice_fragments.run_get_node(known=known, **shared)[1])
        if "fragments" in found.outputs:
            inputs = {"fragments": found.outputs.fragments, "settings": shared["settings"]}
            known["calculated"] = _done(reference_labels.run_get_node(**inputs)[1]).outputs.labels
        inference = node.inputs.inference if "inference" in node.inputs else orm.Dict(Inference().to_dict())
        result = _done(
            steps.lattice_energy.run_get_node(model=node.inputs.model, inference=inference, labels=known, **shared)[1]
        )
    show(console, result, settings.method.name, found.outputs.summary.get_dict(), Path(output))


def read_cutoffs(text: str) -> dict[int, float]:
    """Cutoffs by number of molecules.  Raises InvalidSettings."""
    try:
        pairs = [part.split(":") for part in text.split(",")]
        return {int(n): float(cutoff) for n, cutoff in pairs}
    except ValueError:
        raise InvalidSettings(f"--cutoffs {text}: give Å by number of molecules, such as 2:10,3:6.") from None


def _done(node: orm.CalcFunctionNode) -> orm.CalcFunctionNode:
    if not node.is_finished_ok:
        raise MbetrainError(f"{node.process_label}<{node.pk}> failed [{node.exit_status}]: {node.exit_message}")
    return node


def show(console: Console, node: orm.ProcessNode, method: str, counts: JsonObject, stem: Path) -> None:
    """Print the energies of reference and baseline, and write the table and the picture of the convergence."""
    import csv

    from ase import units

    from aiida_mbetrain.pictures import lattice_energy_picture, save

    unit = units.kJ / units.mol
    summary, table = node.outputs.summary.get_dict(), node.outputs.convergence.to_science()
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
