"""Second half of the demo, on a short run of its crystal and model."""

from __future__ import annotations

import csv
import io

import click
import pytest
from aiida import orm
from aiida.engine import run_get_node
from rich.console import Console

from aiida_mbetrain.cli.demo_delta import run_delta
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.demo import crystal, model_path
from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain

TIMES = {"time_total_fs": 400.0, "time_equilibration_fs": 100.0, "sampling_interval_fs": 10.0, "time_step_fs": 1.0}


@pytest.mark.long
def test_forces_against_gfn2_are_five_times_better_with_the_delta_model(profile, tmp_path):
    pytest.importorskip("tblite", reason="tblite is not installed")
    short = {"finite_subsystem_filter": {"n_molecules": [1, 2]}, "md_crystal": TIMES | {"supercell_radius": 7.0}}
    builder = MDSamplingWorkChain.get_builder_from_protocol(
        orm.StructureData(ase=crystal()),
        MaceModelData.get_or_create(model_path()),
        protocol="fast",
        overrides={"md_sampling": short},
    )
    _, node = run_get_node(builder)
    said = io.StringIO()
    with click.Context(click.Command("demo")):
        run_delta(Console(file=said, width=200), node, tmp_path)
    with (tmp_path / "delta" / "errors.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["group"] == "all"]
    forces = {row["model"]: float(row["force_rmse_meV_per_A"] or "nan") for row in rows}
    assert forces["baseline"] > 5 * forces["delta"]
    assert "10 steps with baseline + delta" in said.getvalue()
    assert "<h4>Energy parity</h4>" in (tmp_path / "delta" / "report.html").read_text("utf-8")
