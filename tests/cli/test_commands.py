"""Every command on a finished training set, and its one-line refusals."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from aiida import orm
from aiida.engine import run_get_node
from argon import ARGON_SETTINGS, LENNARD_JONES, argon_atoms, argon_settings
from ase.build import bulk, molecule
from ase.io import write
from job_runs import local_code
from models import save_random_mace

from aiida_mbetrain.workflows.quasi_harmonic import QuasiHarmonicWorkChain
from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain


@pytest.fixture(scope="module")
def model_file(tmp_path_factory) -> Path:
    """A random MACE model that knows argon."""
    return save_random_mace(tmp_path_factory.mktemp("models") / "argon.model", elements=(18,), channels=2, seed=21)


@pytest.fixture
def argon_file(tmp_path) -> Path:
    path = tmp_path / "argon.cif"
    write(path, argon_atoms())
    return path


@pytest.fixture
def overrides(tmp_path) -> Path:
    """The settings of argon as the user's YAML file."""
    path = tmp_path / "overrides.yaml"
    path.write_text(yaml.safe_dump(ARGON_SETTINGS))
    return path


# ---------------------------------------------------------------------------------------------------------------
# model


def test_importing_a_model_twice_gives_the_same_node(succeed, model_file):
    first, second = (succeed("model", "import", model_file) for _ in range(2))
    assert first == second
    assert re.match(r"MaceModelData<\d+>  argon.model  Ar  sha256 [0-9a-f]{16}…", first)
    listed = succeed("model", "list")
    pk = re.search(r"<(\d+)>", first)[1]
    assert len([line for line in listed.splitlines() if line.split()[0] == pk]) == 1


def test_importing_what_is_no_model_is_one_line(fail, argon_file, tmp_path):
    assert f"The file {argon_file} is not a MACE model" in fail("model", "import", argon_file)
    assert "There is no model file" in fail("model", "import", tmp_path / "missing.model")


# ---------------------------------------------------------------------------------------------------------------
# export


def test_export_writes_the_stored_bytes(finished, succeed, tmp_path):
    output = tmp_path / "set.hdf5"
    assert str(output) in succeed("export", finished.pk, "-o", output)
    assert output.read_bytes() == finished.outputs.dataset.get_content("rb")


@pytest.mark.parametrize("stage", ["md_sampling", "quasi_harmonic", "phonon_sampling"])
def test_export_of_a_single_stage_reads_back(finished, succeed, tmp_path, stage):
    from aiida_mbetrain.datasets.hdf5 import read_dataset

    links = finished.base.links.get_outgoing(link_label_filter=stage).all()
    node = next(link.node for link in links if isinstance(link.node, orm.WorkChainNode))
    succeed("export", node.uuid, "-o", tmp_path / "stage.hdf5")
    dataset = read_dataset(tmp_path / "stage.hdf5")
    assert bool(dataset.md) == (stage == "md_sampling")
    assert bool(dataset.phonons) == (stage == "phonon_sampling")


def test_export_refuses_in_one_line(finished, fail, tmp_path):
    assert "cannot be written" in fail("export", finished.pk, "-o", tmp_path / "missing" / "set.hdf5")
    assert "no " in fail("export", "999999", "-o", tmp_path / "set.hdf5").lower()
    message = fail("export", finished.outputs.md_sampling.supercell.pk, "-o", tmp_path / "set.hdf5")
    assert "StructureData" in message
    _, failed = run_get_node(
        TrainingSetWorkChain.get_builder_from_protocol(
            orm.StructureData(ase=molecule("N2")), orm.Dict(LENNARD_JONES), overrides=ARGON_SETTINGS
        )
    )
    assert "md_sampling: it was not run" in fail("export", failed.pk, "-o", tmp_path / "set.hdf5")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------------------
# show


def nodes_to_show(finished) -> dict[str, orm.Node]:
    outputs = finished.outputs
    return {
        "TrajectoryData": outputs.md_sampling.trajectory,
        "MolecularCrystalData": outputs.md_sampling.molecular_crystal,
        "ClusterSetData": outputs.md_sampling.clusters.n_2,
        "TableData": outputs.md_sampling.thermodynamics,
        "StructureData": outputs.md_sampling.supercell,
        "ForceConstantsData": outputs.quasi_harmonic.force_constants,
        "BandsData": outputs.quasi_harmonic.phonon_bands,
        "Dict": outputs.quasi_harmonic.relaxation,
        "SinglefileData": outputs.dataset,
        "WorkChainNode": finished,
        "CalcFunctionNode": outputs.dataset.creator,
    }


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("TrajectoryData", ["made by molecular_dynamics", "positions", "forces"]),
        ("MolecularCrystalData", ["n_molecules", "central_molecule_index"]),
        ("ClusterSetData", ["n=2", "n_frames", "labelled"]),
        ("TableData", ["temperature_K"]),
        ("StructureData", ["supercell_matrix"]),
        ("ForceConstantsData", ["space_group", "acoustic_sum_rule_violation", "n_operations_kept", "force_constants"]),
        ("BandsData", ["THz"]),
        ("Dict", ["max_force", "algorithm"]),
        ("SinglefileData", ["content_sha256", "training_set.hdf5"]),
        ("WorkChainNode", ["TrainingSetWorkChain: finished", "exit status 0", "md_sampling.trajectory"]),
        ("CalcFunctionNode", ["build_dataset: finished"]),
    ],
)
def test_show_tells_what_a_node_holds(finished, succeed, kind, facts):
    node = nodes_to_show(finished)[kind]
    told = succeed("show", node.pk)
    assert told.startswith(f"{kind}<{node.pk}>")
    for fact in facts:
        assert fact in told


def test_show_tells_what_a_model_is(succeed, model_file):
    pk = re.search(r"<(\d+)>", succeed("model", "import", model_file))[1]
    told = succeed("show", pk)
    assert all(fact in told for fact in ("r_max", "sha256", "float64"))


def test_show_of_nothing_is_one_line(fail):
    assert "999999" in fail("show", "999999")


# ---------------------------------------------------------------------------------------------------------------
# trace


@pytest.fixture
def dataset_file(finished, tmp_path) -> Path:
    path = tmp_path / "set.hdf5"
    path.write_bytes(finished.outputs.dataset.get_content("rb"))
    return path


def test_trace_leads_from_a_cluster_to_molecules_step_and_job(finished, succeed, dataset_file):
    told = succeed("trace", dataset_file, "training/md_sampling/crystal[dyn:T=20.00]/finite_subsystems/n=2", 1)
    assert len(re.findall(r"molecule \d+, lattice translation", told)) == 2
    assert "md_step = 8" in told
    assert "time (fs) = 40" in told
    assert finished.outputs.md_sampling.clusters.n_2.uuid in told
    assert f"(pk {finished.outputs.md_sampling.clusters.n_2.pk})" in told


def test_trace_leads_from_a_phonon_frame_to_its_mode(succeed, dataset_file):
    told = succeed("trace", dataset_file, "training/phonon_sampling/finite_subsystems/n=1", 0)
    assert all(word in told for word in ("mode = ", "frequency (THz) = ", "amplitude (sigma) = ", "q_point = ("))


def test_trace_refuses_in_one_line(fail, dataset_file, tmp_path):
    entry = "training/phonon_sampling/finite_subsystems/n=1"
    assert "frame" in fail("trace", dataset_file, entry, 10**6)
    assert "n=7" in fail("trace", dataset_file, "training/phonon_sampling/finite_subsystems/n=7", 0)
    (tmp_path / "notes.txt").write_text("no dataset")
    assert "notes.txt" in fail("trace", tmp_path / "notes.txt", entry, 0)
    assert "missing.hdf5" in fail("trace", tmp_path / "missing.hdf5", entry, 0)


# ---------------------------------------------------------------------------------------------------------------
# plot


def test_plot_draws_pictures_that_are_not_blank(finished, succeed, tmp_path):
    import matplotlib.image

    told = succeed("plot", finished.pk, "-o", tmp_path)
    names = {Path(line).name for line in told.split()}
    assert names >= {"molecular_dynamics.png", "md_clusters.png", "phonon_clusters.png", "phonon_bands.png"}
    for name in names:
        pixels = matplotlib.image.imread(tmp_path / name)
        assert min(pixels.shape[:2]) > 200
        assert pixels[..., :3].std() > 0.02


# ---------------------------------------------------------------------------------------------------------------
# run


def run_options(structure: Path, model: Path, overrides: Path, output: Path) -> list[object]:
    return [
        "run", "--structure", structure, "--model", model, "--protocol", "fast", "--overrides", overrides, "-o", output,
    ]  # fmt: skip


def test_jobs_of_labels_reach_both_samplings(
    succeed, argon_file, model_file, overrides, tmp_path, monkeypatch, profile
):
    module = importlib.import_module("aiida_mbetrain.cli.run")
    built = []
    monkeypatch.setattr(module, "submit_run", lambda console, builder, path: built.append(builder))
    code = local_code(tmp_path)
    jobs = ("--code", f"{code.label}@{code.computer.label}", "--label-jobs", "3")
    given = run_options(argon_file, model_file, overrides, tmp_path / "set.hdf5")
    succeed(*given, *jobs)
    succeed(*given, *jobs, "--only", "md")
    both, dynamics = built
    assert [both.md_sampling.n_jobs.value, both.phonon_sampling.n_jobs.value, dynamics.n_jobs.value] == [3, 3, 3]


@pytest.mark.parametrize("more", [(), ("--code", "mbetrain@cluster", "--only", "relaxation")])
def test_jobs_of_labels_without_any_are_refused(fail, argon_file, model_file, overrides, tmp_path, more):
    given = run_options(argon_file, model_file, overrides, tmp_path / "set.hdf5")
    assert "--label-jobs is about jobs of labels" in fail(*given, "--label-jobs", "3", *more)


def cells_of(told: str, row: str) -> list[str]:
    """The columns of a row of the dry run's table: dynamics, force constants, phonons."""
    line = next(line for line in told.splitlines() if line.strip().startswith(row))
    return re.split(r"\s{2,}", line.strip().removeprefix(row).strip())


def test_dry_run_warns_of_too_little_memory_and_of_features_left_out(
    succeed, argon_file, model_file, overrides, tmp_path
):
    options = tmp_path / "options.yaml"
    options.write_text("max_memory_kb: 1000")
    given = run_options(argon_file, model_file, overrides, tmp_path / "set.hdf5")
    assert "Warning" not in succeed(*given, "--dry-run")
    told = succeed(*given, "--dry-run", "--options", options)
    assert re.search(
        r"Warning: molecular dynamics takes \d+ MB here, and the options ask for max_memory_kb = 1000", told
    )
    settings = yaml.safe_load(Path(overrides).read_text())
    more = tmp_path / "more.yaml"
    more.write_text(yaml.safe_dump(settings | {"inference": {"max_features_GB": 0.0}}))
    told = succeed(*run_options(argon_file, model_file, more, tmp_path / "set.hdf5"), "--dry-run")
    assert re.search(r"Warning: phonon sampling.*: feature vectors of \d+ MB will be left out", told)


def test_dry_run_prints_the_cost_and_runs_nothing(succeed, argon_file, model_file, overrides, tmp_path):
    before = orm.QueryBuilder().append(orm.ProcessNode).count()
    told = succeed(*run_options(argon_file, model_file, overrides, tmp_path / "set.hdf5"), "--dry-run")
    assert re.search(r" +molecular dynamics +force constants +phonon sampling", told)
    # 60 fs in steps of 5 fs and the start; 2 frames for 3 branches at every q-point, one per cell of the supercell
    n_atoms = [int(cell) for cell in cells_of(told, "atoms per supercell")]
    assert n_atoms[1] == n_atoms[2]
    assert cells_of(told, "displacements") == ["-", "1", "-"]
    n_frames = 2 * int(re.search(r"of (\d+) modes", told)[1])
    assert n_frames <= 2 * 3 * n_atoms[2]
    assert f"at most {2 * 3 * n_atoms[2]:,}" in told
    assert cells_of(told, "evaluations") == ["13", "2", str(n_frames)]
    assert cells_of(told, "frames") == ["4", "0", str(n_frames)]
    assert cells_of(told, "clusters") == ["12", "0", str(3 * n_frames)]
    assert all(re.fullmatch(r"\d+\.\d min", cell) for cell in cells_of(told, "CPU time, model"))
    assert all(re.fullmatch(r"\d+\.\d min", cell) for cell in cells_of(told, "CPU time, AiiDA"))
    assert re.search(r"CPU time: \d+\.\d min in all", told)
    assert re.search(r"Disk: \d+ MB", told)
    assert all(re.fullmatch(r"\d+ MB", cell) for cell in cells_of(told, "stored"))
    with_pytorch = [int(cell.removesuffix(" MB").replace(",", "")) for cell in cells_of(told, "peak memory")]
    assert all(100 < megabytes < 10_000 for megabytes in with_pytorch)
    assert "measured on" in told
    assert "time steps of 5 fs; masses are natural, from 39.9 to 39.9 u" in told
    assert re.search(r"keep_point_group +atoms +displacements +operations kept", told)
    for row in ("False (chosen)", "True"):
        atoms, displacements, kept = cells_of(told, row)
        assert (int(atoms), displacements) == (n_atoms[1], "1")
        assert kept == "48 of 48"
    assert orm.QueryBuilder().append(orm.ProcessNode).count() == before
    assert not (tmp_path / "set.hdf5").exists()


def test_dry_run_needs_no_profile_and_makes_none(argon_file, model_file, overrides, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "AIIDA_PATH"}
    code = "from aiida_mbetrain.cli import main; main(prog_name='aiida-mbetrain')"
    arguments = map(str, [*run_options(argon_file, model_file, overrides, tmp_path / "set.hdf5"), "--dry-run"])
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", code, *arguments],
        env=environment | {"HOME": str(tmp_path / "home")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "atoms per supercell" in done.stdout
    assert not (tmp_path / "home" / ".aiida").exists()


def test_dry_run_says_where_memory_cannot_be_measured(
    succeed, argon_file, model_file, overrides, tmp_path, monkeypatch
):
    monkeypatch.setattr("aiida_mbetrain.science.stages.memory_use.CLEAR", tmp_path / "no" / "clear_refs")
    told = succeed(*run_options(argon_file, model_file, overrides, tmp_path / "set.hdf5"), "--dry-run")
    assert cells_of(told, "peak memory") == ["-", "-", "-"]
    assert "cannot be measured" in told
    assert all(cell.endswith(" MB") for cell in cells_of(told, "stored"))


def test_temperature_and_pressure_options_win_over_the_overrides(overrides):
    from aiida_mbetrain.cli.run import merged_overrides

    merged = merged_overrides(str(overrides), 77.0, 0.5)
    assert merged["md_sampling"]["temperature_K"] == merged["phonon_sampling"]["temperature_K"] == 77.0
    assert merged["md_sampling"]["pressure_GPa"] == 0.5
    assert merged["md_sampling"]["md_crystal"] == ARGON_SETTINGS["md_sampling"]["md_crystal"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: molecule("N2"), "no cell.*Give the periodic structure of the crystal"),
        (lambda: argon_atoms() + argon_atoms(), "0.000 Å apart; remove duplicates"),
        (lambda: bulk("Ne", "fcc", a=4.4), "contains Ne, the model knows Ar: take a model trained for these elements"),
    ],
    ids=["no-cell", "overlap", "element"],
)
def test_run_refuses_a_structure_in_one_line(fail, model_file, overrides, tmp_path, make, message):
    path = tmp_path / "bad.xyz"
    write(path, make(), format="extxyz")
    assert re.search(message, fail(*run_options(path, model_file, overrides, tmp_path / "set.hdf5")))


def test_run_refuses_files_in_one_line(fail, argon_file, model_file, overrides, tmp_path):
    output = tmp_path / "set.hdf5"
    assert "no.cif does not exist" in fail(*run_options(tmp_path / "no.cif", model_file, overrides, output))
    assert "give a structure as cif, xyz or POSCAR" in fail(*run_options(overrides, model_file, overrides, output))
    assert "is not a MACE model" in fail(*run_options(argon_file, argon_file, overrides, output))
    assert "neither a file nor a registered model" in fail(*run_options(argon_file, Path("999999"), overrides, output))
    assert "--overrides" in fail(*run_options(argon_file, model_file, tmp_path / "no.yaml", output))
    missing = tmp_path / "missing" / "set.hdf5"
    assert f"--output {missing} cannot be written" in fail(*run_options(argon_file, model_file, overrides, missing))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("md_sampling: {temperature_K: -5}", "MDSampling.temperature_K = -5"),
        ("md_sampling: {md_crystal: {time_stepp_fs: 1}}", "did you mean 'time_step_fs'"),
        ("phonon_sampling: {finite_subsystem_filter: {n_molecules: [0]}}", r"n_molecules = \[0\]"),
        ("phonon_samplings: {}", "no section 'phonon_samplings'"),
        ("[1, 2]", "give a mapping"),
        ("a: [", "cannot be read"),
    ],
)
def test_run_refuses_overrides_in_one_line(fail, argon_file, model_file, tmp_path, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    assert re.search(message, fail(*run_options(argon_file, model_file, path, tmp_path / "set.hdf5")))


def test_missing_options_are_a_usage_error(call):
    result = call("run")
    assert result.exit_code == 2
    assert "Missing option '--structure'" in result.output
    assert "Traceback" not in result.output


def test_run_ends_with_the_exit_code_and_message_of_the_process(call, argon_file, model_file, tmp_path):
    """The random model has no bound argon: what the process says is the command's last line."""
    settings = argon_settings(md_sampling={"md_crystal": {"max_force": 1e-12}})
    path = tmp_path / "overrides.yaml"
    path.write_text(yaml.safe_dump(settings))
    result = call(*run_options(argon_file, model_file, path, tmp_path / "set.hdf5"))
    assert result.exit_code == 1
    last = result.output.strip().splitlines()[-1]
    assert re.search(r"Error: TrainingSetWorkChain<\d+> failed \[450\]: .*max_force = 1e-12", last)
    assert "Traceback" not in result.output
    assert not (tmp_path / "set.hdf5").exists()


@pytest.mark.slow
def test_run_makes_file_and_pictures_on_the_demo_crystal(call, tmp_path):
    from aiida_mbetrain.demo import crystal, model_path

    write(tmp_path / "crystal.xyz", crystal(), format="extxyz")
    tiny = {
        "md_sampling": {
            "finite_subsystem_filter": {"n_molecules": [1, 2]},
            "md_crystal": {
                "time_total_fs": 8.0, "time_equilibration_fs": 4.0, "sampling_interval_fs": 2.0, "time_step_fs": 1.0,
                "supercell_radius": 5.5,
            },
        },
        "quasi_harmonic": {"supercell_radius": 5.5, "max_force_on_atom": 0.05, "fourier_interpolation_mesh": [1, 1, 1]},
        "phonon_sampling": {"finite_subsystem_filter": {"n_molecules": [1]}, "n_frames": 1},
    }  # fmt: skip
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    output = tmp_path / "set.hdf5"
    result = call(*run_options(tmp_path / "crystal.xyz", model_path(), tmp_path / "tiny.yaml", output))
    assert result.exit_code == 0, result.output
    assert "Where the time went" in result.output
    assert re.search(r"Verdicts: \d+ of \d+ passed", result.output)
    assert "→" in result.output  # three frames are not equilibrated, and it says what to do
    assert str(output) in result.output.replace("\n", "")
    assert output.stat().st_size > 10000
    assert {path.name for path in tmp_path.glob("*.png")} >= {"set_molecular_dynamics.png", "set_phonon_bands.png"}


def test_stage_of_a_failed_run_is_named(fail, tmp_path):
    _, node = run_get_node(
        QuasiHarmonicWorkChain.get_builder_from_protocol(
            orm.StructureData(ase=molecule("N2")), orm.Dict(LENNARD_JONES), overrides=ARGON_SETTINGS
        )
    )
    message = fail("plot", node.pk, "-o", tmp_path)
    assert f"QuasiHarmonicWorkChain<{node.pk}> has nothing to draw. quasi_harmonic: it failed [203]" in message
