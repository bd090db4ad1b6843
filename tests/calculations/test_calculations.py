"""Jobs on this machine: the same nodes with the same arrays as in process; how they end and are continued."""

from __future__ import annotations

import io

import numpy as np
import pytest
from aiida import orm
from aiida.common import AttributeDict, LinkType
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from aiida.plugins import CalculationFactory, ParserFactory, WorkflowFactory
from argon import LENNARD_JONES, argon_settings
from ase import Atoms
from ase.build import bulk
from job_runs import SLOW, SLEEP_s, assert_same_outputs, data_outputs, interrupted, local_code, walltime_for
from labelled_frames import MORSE, labelled_frames

from aiida_mbetrain.calculations import stage as stage_module
from aiida_mbetrain.calculations.exit_codes import foreseeable_errors, invalidates_cache
from aiida_mbetrain.calculations.functions.clusters import detect_molecules, extract_clusters
from aiida_mbetrain.data.conversion import as_node, as_science
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.demo import model_path
from aiida_mbetrain.errors import JobCancelled, NoProgress, NoResults, StoppedEarly, UnstableDynamics
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.io import save_npz
from aiida_mbetrain.science.potentials import named_calculator
from aiida_mbetrain.science.reference_labels import expand
from aiida_mbetrain.settings import AseMethod, FiniteSubsystemFilter, Inference, ReferenceLabels
from aiida_mbetrain.workflows.heavy_stages import HEAVY
from aiida_mbetrain.workflows.jobs import MAX_JOBS_WITHOUT_PROGRESS, MolecularDynamicsJob

MD = {
    "temperature_K": 20.0,
    "md_crystal": {
        "time_total_fs": 60.0,
        "time_equilibration_fs": 20.0,
        "sampling_interval_fs": 10.0,
        "time_step_fs": 5.0,
    },
}
REPLICAS = {
    "sampling": MD,
    "replicas": {"cold": {"temperature_K": 10.0}, "warm": {"temperature_K": 20.0}, "seed_1": {"rng_seed": 1}},
}
FREE_ENERGY = {"thermal_expansion": False, "supercell_radius": 6.0, "relax_input_cell": "full"}


@pytest.fixture(scope="module")
def code(profile, tmp_path_factory) -> orm.InstalledCode:
    return local_code(tmp_path_factory.mktemp("jobs"))


def distorted_argon() -> orm.StructureData:
    """Two atoms in a cell of low symmetry."""
    atoms = bulk("Ar", "fcc", a=5.3).repeat((1, 1, 2))
    atoms.rattle(0.05, seed=1)
    return orm.StructureData(ase=atoms)


def long_dynamics(time_total_fs: float) -> dict[str, orm.Data]:
    """32 atoms, whose temperature stays within its window."""
    times = {"time_total_fs": time_total_fs, "sampling_interval_fs": 100.0}
    supercell = orm.StructureData(ase=bulk("Ar", "fcc", a=5.3, cubic=True).repeat(2))
    return {"supercell": supercell, "settings": orm.Dict(MD | {"md_crystal": MD["md_crystal"] | times})}


def cluster_sets() -> dict[str, orm.Data]:
    """Periodic frames and the clusters of one and two molecules cut from them, not labelled."""
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    frames = as_node(Configurations.from_atoms([atoms, atoms.copy()]))
    rule = orm.Dict(FiniteSubsystemFilter(n_molecules=[1, 2]).to_dict())
    crystal = detect_molecules(orm.StructureData(ase=atoms), rule)
    return {"frames": frames, **extract_clusters(frames, crystal, rule)}


def fragments_of_argon() -> dict[str, orm.Data]:
    """Molecules and pairs of them, to be calculated by a calculator of ASE."""
    sets = cluster_sets()
    settings = ReferenceLabels(method=AseMethod(method="lj", parameters={"sigma": 3.4}), order=2)
    crystal = as_science(detect_molecules(sets["frames"].get_step_structure(0), orm.Dict()))
    clusters = {name: as_science(node) for name, node in sets.items() if name != "frames"}
    fragments = expand(clusters, dict.fromkeys(clusters, crystal), settings).fragments
    return {"fragments": as_node(fragments), "settings": orm.Dict(settings.to_dict())}


def potential_of(stage: str) -> dict[str, orm.Data]:
    """Inputs of the stages that evaluate the baseline."""
    if not HEAVY[stage].calculation.needs_potential:
        return {}
    return {"model": orm.Dict(LENNARD_JONES), "inference": orm.Dict(Inference().to_dict())}


def inputs_of(stage: str) -> dict[str, orm.Data]:
    """Small inputs of a stage, by the names that calcfunction and job share."""
    if stage == "labels":
        return cluster_sets()
    if stage == "reference_labels":
        return fragments_of_argon()
    if stage == "training":
        settings = {"max_num_epochs": 1, "device": "cpu", "mace": {"num_channels": 4, "r_max": 4.0}}
        frames = labelled_frames(named_calculator(MORSE), n_frames=6, sizes=(1,))
        return {"frames": as_node(frames), "settings": orm.Dict(settings)}
    if stage == "molecular_dynamics":
        return {"supercell": distorted_argon(), "settings": orm.Dict(MD)}
    if stage == "md_replicas":
        return {"supercell": distorted_argon(), "settings": orm.Dict(REPLICAS)}
    if stage == "isolated_molecule":
        dimer = orm.StructureData(ase=Atoms("Ar2", [[0.0, 0.0, 0.0], [0.0, 0.0, 3.9]]))
        return {"structure": dimer, "settings": orm.Dict(FREE_ENERGY)}
    return {"structure": distorted_argon(), "settings": orm.Dict(FREE_ENERGY)}


def job_inputs(stage: str, inputs: dict[str, orm.Data], code: orm.Code, **more) -> dict:
    """Inputs of the CalcJob of a stage."""
    return {"code": code, **potential_of(stage), **({"sets": inputs} if stage == "labels" else inputs), **more}


@pytest.mark.parametrize("stage", list(HEAVY))
def test_job_gives_the_nodes_of_the_calcfunction(stage, code):
    inputs = inputs_of(stage)
    _, in_process = HEAVY[stage].function.run_get_node(**potential_of(stage), **inputs)
    assert in_process.is_finished_ok, in_process.exit_message
    _, job = run_get_node(HEAVY[stage].job, calculation=job_inputs(stage, inputs, code))
    assert job.is_finished_ok, job.exit_message
    assert_same_outputs(in_process, job)
    info = job.outputs.run_info.get_dict()
    assert {"stage", "wall_time_s", "hostname", "python", "aiida_mbetrain", "potential"} <= info.keys()


def test_job_with_the_demo_model_gives_equal_arrays_and_features(code):
    from aiida_mbetrain.demo import crystal

    model = MaceModelData.get_or_create(model_path())
    frames = as_node(Configurations.from_atoms(crystal()))
    inference = orm.Dict(Inference(device="cpu").to_dict())
    _, in_process = HEAVY["labels"].function.run_get_node(model=model, inference=inference, frames=frames)
    calculation = {"code": code, "model": model, "inference": inference, "sets": {"frames": frames}}
    _, job = run_get_node(HEAVY["labels"].job, calculation=calculation)
    assert job.is_finished_ok, job.exit_message
    assert_same_outputs(in_process, job)
    assert "features" in job.outputs.frames.get_arraynames()


def test_features_above_the_limit_are_left_out_alike_and_the_process_says_so(code):
    from aiida_mbetrain.demo import crystal

    model = MaceModelData.get_or_create(model_path())
    frames = as_node(Configurations.from_atoms(crystal()))
    inference = orm.Dict(Inference(device="cpu", max_features_GB=1e-6).to_dict())
    _, in_process = HEAVY["labels"].function.run_get_node(model=model, inference=inference, frames=frames)
    _, job = run_get_node(
        CalculationFactory("mbetrain.labels"), code=code, model=model, inference=inference, sets={"frames": frames}
    )
    assert_same_outputs(in_process, job)
    for process in (in_process, job):
        assert "features" not in process.outputs.frames.get_arraynames()
        assert "forces" in process.outputs.frames.get_arraynames()
        [warning] = process.outputs.run_info["warnings"]
        assert "Inference.max_features_GB" in warning
        assert warning in [log.message for log in orm.Log.collection.get_logs_for(process)]


def test_dynamics_leaves_out_features_above_the_limit():
    from aiida_mbetrain.demo import crystal

    model = MaceModelData.get_or_create(model_path())
    supercell = orm.StructureData(ase=crystal())
    md = {"time_total_fs": 2.0, "time_equilibration_fs": 0.0, "time_step_fs": 1.0, "sampling_interval_fs": 1.0}
    settings = orm.Dict({"temperature_K": 300.0, "md_crystal": md | {"ensemble": "NVT"}})
    bytes_of_two_frames = 2 * len(crystal()) * 2 * 16 * 4
    for limit_GB, there in ((bytes_of_two_frames / 1e9, True), (0.99 * bytes_of_two_frames / 1e9, False)):
        inference = orm.Dict(Inference(device="cpu", max_features_GB=limit_GB).to_dict())
        _, node = HEAVY["molecular_dynamics"].function.run_get_node(
            model=model, inference=inference, supercell=supercell, settings=settings
        )
        assert ("features" in node.outputs.trajectory.get_arraynames()) == there


def test_stored_files_of_a_job_hold_no_arrays_twice(code):
    """Inputs are in the input nodes, outputs in the output nodes."""
    inputs = job_inputs("molecular_dynamics", inputs_of("molecular_dynamics"), code)
    _, node = run_get_node(CalculationFactory("mbetrain.molecular_dynamics"), **inputs)
    assert "inputs" not in node.base.repository.list_object_names()
    assert {"results.json", "progress.json"} <= set(node.outputs.retrieved.list_object_names())
    assert not [name for name in node.outputs.retrieved.list_object_names() if name.endswith(".npz")]


def test_identical_inputs_of_identical_versions_are_taken_from_the_cache(code, monkeypatch):
    inputs = job_inputs("molecular_dynamics", inputs_of("molecular_dynamics"), code)
    inputs["settings"] = orm.Dict(MD | {"temperature_K": 19.0})
    process = CalculationFactory("mbetrain.molecular_dynamics")
    _, first = run_get_node(process, **inputs)
    with enable_caching(identifier="aiida.calculations:mbetrain.molecular_dynamics"):
        _, again = run_get_node(process, **inputs)
        hotter = orm.Dict(MD | {"temperature_K": 21.0})
        _, other = run_get_node(process, **(inputs | {"settings": hotter}))
        monkeypatch.setattr(stage_module, "package_versions", lambda: {"torch": "1.0"})
        _, newer = run_get_node(process, **inputs)
    assert again.base.caching.get_cache_source() == first.uuid
    assert other.base.caching.get_cache_source() is None
    assert newer.base.caching.get_cache_source() is None
    assert_same_outputs(first, again)


def test_refused_input_keeps_its_code_and_message(code):
    inputs = inputs_of("molecular_dynamics")
    settings = {"temperature_K": 20.0, "md_crystal": MD["md_crystal"] | {"max_force": 1e-6}}
    calculation = job_inputs("molecular_dynamics", inputs | {"settings": orm.Dict(settings)}, code)
    _, node = run_get_node(MolecularDynamicsJob, calculation=calculation)
    assert node.exit_status == UnstableDynamics.code
    assert "max_force" in node.exit_message
    assert len(node.called) == 1


@pytest.fixture(scope="module")
def one_unstable(code) -> dict[str, orm.ProcessNode]:
    """Replicas of which one becomes unstable, in process and as jobs."""
    sampling = {"md_crystal": MD["md_crystal"] | {"max_force": 0.5}}
    replicas = {"calm": {"temperature_K": 20.0}, "wild": {"temperature_K": 5000.0}}
    settings = orm.Dict({"sampling": sampling, "replicas": replicas})
    inputs = inputs_of("md_replicas") | {"settings": settings}
    _, in_process = HEAVY["md_replicas"].function.run_get_node(**potential_of("md_replicas"), **inputs)
    _, job = run_get_node(HEAVY["md_replicas"].job, calculation=job_inputs("md_replicas", inputs, code))
    return {"in process": in_process, "job": job}


@pytest.mark.parametrize("where", ["in process", "job"])
def test_unstable_replica_has_its_own_outcome_and_leaves_the_others_whole(where, one_unstable):
    node = one_unstable[where]
    assert node.exit_status == UnstableDynamics.code
    assert "1 of 2 replicas became unstable; wild: Molecular dynamics stopped at step" in node.exit_message
    outcomes = node.outputs.outcomes.get_dict()
    assert outcomes["calm"] == {"status": "finished", "message": ""}
    assert outcomes["wild"]["status"] == UnstableDynamics.status
    assert "max_force" in outcomes["wild"]["message"]
    times = {name: node.outputs.replicas[name].thermodynamics.get_array("time_fs")[-1] for name in ("calm", "wild")}
    assert times["calm"] == 60.0
    assert times["wild"] < 60.0
    assert "trajectory" in node.outputs.replicas.calm


def test_unstable_replicas_are_the_same_in_process_and_as_jobs(one_unstable):
    assert_same_outputs(one_unstable["in process"], one_unstable["job"])
    assert len([child for child in one_unstable["job"].called if isinstance(child, orm.CalcJobNode)]) == 1


def test_replica_is_the_dynamics_that_it_is_by_itself(code):
    """To the rounding of a batch, which a calculator of ASE does not have."""
    inputs = inputs_of("md_replicas")
    _, together = HEAVY["md_replicas"].function.run_get_node(**potential_of("md_replicas"), **inputs)
    single = inputs | {"settings": orm.Dict(MD | {"temperature_K": 10.0})}
    _, alone = HEAVY["molecular_dynamics"].function.run_get_node(**potential_of("molecular_dynamics"), **single)
    for name in ("positions", "forces", "velocities"):
        expected = alone.outputs.trajectory.get_array(name)
        np.testing.assert_allclose(together.outputs.replicas.cold.trajectory.get_array(name), expected, atol=1e-12)


def test_program_that_cannot_start_is_reported_with_its_words(code, tmp_path):
    computer = code.computer
    broken = orm.InstalledCode(computer=computer, filepath_executable="/bin/false", label=f"broken-{tmp_path.name}")
    calculation = job_inputs("molecular_dynamics", inputs_of("molecular_dynamics"), broken.store())
    _, node = run_get_node(MolecularDynamicsJob, calculation=calculation)
    assert node.exit_status == NoProgress.code
    assert f"[{NoResults.code}]" in node.exit_message
    assert len(node.called) == MAX_JOBS_WITHOUT_PROGRESS


def test_every_named_error_has_an_exit_code_in_every_process():
    for name in ("relaxation", "molecular_dynamics", "md_replicas", "force_constants", "labels"):
        for process in (CalculationFactory(f"mbetrain.{name}"), WorkflowFactory(f"mbetrain.{name}")):
            codes = {code.status for code in process.exit_codes.values()}
            assert {error.code for error in foreseeable_errors()} <= codes


def test_codes_and_status_words_are_unique():
    errors = list(foreseeable_errors())
    assert len({error.code for error in errors}) == len({error.status for error in errors}) == len(errors)


def test_interruptions_are_not_cached_and_physics_is():
    assert invalidates_cache(StoppedEarly)
    assert invalidates_cache(NoResults)
    assert not invalidates_cache(UnstableDynamics)


class TestRestarts:
    """Handlers, each given a finished job with an exit code."""

    @pytest.fixture
    def process(self, code):
        return self.chain(code)

    @staticmethod
    def chain(code, stage="molecular_dynamics", **given):
        from aiida.engine.utils import instantiate_process
        from aiida.manage import get_manager

        calculation = job_inputs(stage, inputs_of(stage), code)
        process = instantiate_process(get_manager().get_runner(), HEAVY[stage].job, calculation=calculation, **given)
        process.setup()
        return process

    def inspect(self, process, exit_status: int, *, checkpoint: bytes | None = None, message: str = "it said so"):
        """Inject a finished job and let the handlers look at it."""
        node = orm.CalcJobNode(computer=process.ctx.inputs.code.computer)
        node.set_process_state("finished")
        node.set_exit_status(exit_status)
        node.set_exit_message(message)
        node.store()
        if checkpoint is not None:
            output = orm.SinglefileData(io.BytesIO(checkpoint))
            output.base.links.add_incoming(node, LinkType.CREATE, "checkpoint")
            output.store()
        process.ctx.iteration += 1
        process.ctx.children = [*process.ctx.get("children", []), node]
        return process.inspect_process()

    @pytest.mark.parametrize("exit_status", [400, 310, 311, 411, 100, 120, 140])
    def test_interrupted_job_is_continued_from_its_checkpoint(self, process, exit_status):
        result = self.inspect(process, exit_status, checkpoint=b"first")
        assert result.status == 0
        assert process.should_run_process()
        assert process.ctx.inputs.checkpoint.get_content("rb") == b"first"

    @pytest.mark.parametrize("exit_status", [310, 140])
    def test_job_without_checkpoint_is_run_again_from_the_last_one(self, process, exit_status):
        self.inspect(process, 400, checkpoint=b"first")
        assert self.inspect(process, exit_status).status == 0
        assert process.ctx.inputs.checkpoint.get_content("rb") == b"first"

    def test_jobs_that_move_nothing_end_the_chain(self, process):
        assert self.inspect(process, 400, checkpoint=b"same").status == 0
        results = [self.inspect(process, 400, checkpoint=b"same").status for _ in range(MAX_JOBS_WITHOUT_PROGRESS)]
        assert results == [0] * (MAX_JOBS_WITHOUT_PROGRESS - 1) + [NoProgress.code]

    def test_progress_forgives_earlier_failures(self, process):
        for number in range(3 * MAX_JOBS_WITHOUT_PROGRESS):
            assert self.inspect(process, 140).status == 0
            assert self.inspect(process, 400, checkpoint=str(number).encode()).status == 0

    def test_out_of_memory_halves_the_batch_and_continues(self, process):
        assert self.inspect(process, 110, checkpoint=b"a").status == 0
        assert process.ctx.inputs.inference["batch_atoms"] == 128
        assert process.ctx.inputs.checkpoint.get_content("rb") == b"a"
        assert self.inspect(process, 110, checkpoint=b"b").status == 0
        assert process.ctx.inputs.inference["batch_atoms"] == 64

    def test_out_of_memory_with_the_smallest_batch_ends_the_chain(self, process):
        statuses = [self.inspect(process, 110, checkpoint=str(number).encode()).status for number in range(5)]
        assert statuses == [0, 0, 0, 0, 110]

    def test_reference_labels_out_of_memory_go_on_from_the_last_fragment_and_end_where_none_is_begun(self, code):
        process = self.chain(code, "reference_labels")
        assert self.inspect(process, 110, checkpoint=b"first").status == 0
        assert process.ctx.inputs.checkpoint.get_content("rb") == b"first"
        killed = "The scheduler ran out of memory."
        for _ in range(MAX_JOBS_WITHOUT_PROGRESS):
            last = self.inspect(process, 110, checkpoint=b"first", message=killed)
        assert last.status == NoProgress.code
        assert f"[110] {killed}" in last.message
        assert process.ctx.inputs.checkpoint.get_content("rb") == b"first"

    @pytest.mark.parametrize("exit_status", [201, 202, 212, 304, 340, 410, 421, 422, 450, 451, 150])
    def test_what_another_job_cannot_mend_ends_with_its_own_code_and_message(self, process, exit_status):
        result = self.inspect(process, exit_status, checkpoint=b"x", message="a force of 300 eV/Å")
        assert (result.status, result.message) == (exit_status, "a force of 300 eV/Å")

    def test_cancelled_job_is_continued_where_the_user_wants_it(self, code):
        process = self.chain(code, continue_cancelled=orm.Bool(True))
        assert self.inspect(process, 421, checkpoint=b"first").status == 0
        assert process.ctx.inputs.checkpoint.get_content("rb") == b"first"

    def test_finished_job_finishes_the_chain(self, process):
        assert self.inspect(process, 0) is None
        assert not process.should_run_process()


class TestParser:
    """What becomes of the files that a job left."""

    def parse(
        self,
        tmp_path,
        results: str | None,
        *,
        exit_status: int | None = None,
        stderr: str | None = None,
        accounting: str = "",
    ):
        node = orm.CalcJobNode(process_type="aiida.calculations:mbetrain.molecular_dynamics")
        node.set_exit_status(exit_status) if exit_status is not None else None
        node.set_option("scheduler_stderr", "_scheduler-stderr.txt")
        node.set_detailed_job_info({"retval": 0, "stdout": accounting, "stderr": ""})
        node.store()
        retrieved = orm.FolderData()
        if stderr is not None:
            retrieved.base.repository.put_object_from_bytes(stderr.encode(), "_scheduler-stderr.txt")
        if results is not None:
            retrieved.base.repository.put_object_from_bytes(results.encode(), "results.json")
        retrieved.base.links.add_incoming(node, LinkType.CREATE, "retrieved")
        retrieved.store()
        parser = ParserFactory("mbetrain.stage")(node)
        return parser.parse(retrieved_temporary_folder=str(tmp_path)), AttributeDict(parser.outputs)

    @pytest.mark.parametrize("status", [120, 110, 140])
    def test_scheduler_code_stays_where_the_worker_left_nothing(self, tmp_path, status):
        assert self.parse(tmp_path, None, exit_status=status)[0] is None

    def test_no_results_at_all(self, tmp_path):
        assert self.parse(tmp_path, None)[0].status == NoResults.code

    @pytest.mark.parametrize(
        "results",
        [
            "{", "[]", "1", "null", "{}", '{"status": 3, "message": ""}', '{"status": "no such word", "message": ""}',
            '{"status": "finished"}', '{"status": "finished", "message": "", "outputs": []}',
            '{"status": "finished", "message": "", "outputs": {"frames": 3}}',
            '{"status": "finished", "message": "", "outputs": {"frames": {"type": ["a"], "file": "a"}}}',
            '{"status": "finished", "message": "", "outputs": {"frames": {"type": "dict", "attributes": 3}}}',
            '{"status": "finished", "message": "", "outputs": {"no_such": {"type": "dict", "attributes": {}}}}',
            '{"status": "finished", "message": "", "outputs": {"../x": {"type": "dict", "attributes": {}}}}',
        ],
    )  # fmt: skip
    def test_damaged_results(self, tmp_path, results):
        assert self.parse(tmp_path, results)[0].status == 311

    def test_missing_output_file(self, tmp_path):
        entries = '{"trajectory": {"type": "Configurations", "file": "trajectory.npz"}}'
        code, _ = self.parse(tmp_path, f'{{"status": "finished", "message": "", "outputs": {entries}}}')
        assert code.status == 311
        assert "trajectory.npz" in code.message

    @pytest.mark.parametrize(
        "name", ["{outside}", "../outside.npz", "link.npz", "folder/outside.npz", ".", "a\\u0000b"]
    )
    def test_names_of_files_cannot_leave_the_folder_of_the_job(self, tmp_path, name):
        folder = tmp_path / "job" / "outputs"
        folder.mkdir(parents=True)
        outside = tmp_path / "job" / "outside.npz"
        frames = Configurations(np.array([18]), np.zeros((1, 1, 3)))
        save_npz(outside, frames.to_arrays())
        (folder / "link.npz").symlink_to(outside)
        (folder / "folder").symlink_to(outside.parent)
        entry = f'{{"type": "Configurations", "file": "{name.format(outside=outside)}"}}'
        results = f'{{"status": "finished", "message": "", "outputs": {{"trajectory": {entry}}}}}'
        code, outputs = self.parse(tmp_path / "job", results)
        assert code.status == 311
        assert "trajectory" not in outputs

    def test_checkpoint_that_is_a_link_is_not_taken(self, tmp_path):
        (tmp_path / "secret").write_text("of another user")
        (tmp_path / "checkpoint.segments").symlink_to(tmp_path / "secret")
        assert "checkpoint" not in self.parse(tmp_path, None, exit_status=120)[1]

    def test_word_of_the_worker_beats_the_scheduler(self, tmp_path):
        code, _ = self.parse(tmp_path, '{"status": "stopped", "message": "continue it"}', exit_status=120)
        assert (code.status, code.message) == (StoppedEarly.code, "continue it")
        assert code.invalidates_cache

    @pytest.mark.parametrize("results", [None, '{"status": "stopped", "message": ""}'])
    @pytest.mark.parametrize(
        "told",
        [
            {"accounting": "AllocCPUS|JobID|State|\n1|81|CANCELLED by 1000|\n1|81.batch|CANCELLED|\n"},
            {"stderr": "working\nslurmstepd: error: *** JOB 81 ON node7 CANCELLED AT 2026-11-26T02:03:04 ***\n"},
        ],
    )
    def test_cancelled_job_is_recognised_and_its_checkpoint_kept(self, tmp_path, results, told):
        (tmp_path / "checkpoint.segments").write_bytes(b"work of hours")
        code, outputs = self.parse(tmp_path, results, **told)
        assert code.status == JobCancelled.code
        assert outputs.checkpoint.get_content("rb") == b"work of hours"

    @pytest.mark.parametrize("reason", ["TIME LIMIT", "PREEMPTION", "NODE FAILURE"])
    def test_job_that_slurm_itself_ends_is_not_cancelled(self, tmp_path, reason):
        stderr = f"slurmstepd: error: *** JOB 81 ON node7 CANCELLED AT 2026-11-26T02:03:04 DUE TO {reason} ***\n"
        code, _ = self.parse(tmp_path, '{"status": "stopped", "message": ""}', stderr=stderr)
        assert code.status == StoppedEarly.code

    def test_finished_job_is_finished_although_it_was_cancelled(self, tmp_path):
        accounting = "JobID|State|\n81|CANCELLED by 1000|\n"
        code, _ = self.parse(tmp_path, '{"status": "finished", "message": "", "outputs": {}}', accounting=accounting)
        assert code.status == 0

    def test_job_that_a_monitor_stopped_keeps_the_code_of_the_monitor(self, tmp_path):
        accounting = "JobID|State|\n81|CANCELLED by 1000|\n"
        assert self.parse(tmp_path, None, exit_status=150, accounting=accounting)[0] is None

    def test_checkpoint_of_a_killed_job_is_kept(self, tmp_path):
        (tmp_path / "checkpoint.segments").write_bytes(b"work of hours")
        _, outputs = self.parse(tmp_path, None, exit_status=120)
        assert outputs.checkpoint.get_content("rb") == b"work of hours"


def test_options_reach_every_job_of_the_training_set(argon, lennard_jones, code):
    process = WorkflowFactory("mbetrain.training_set")
    options = {"max_wallclock_seconds": 77, "queue_name": "tesla"}
    builder = process.get_builder_from_protocol(argon, lennard_jones, code=code, options=options)
    builder.md_sampling.molecular_dynamics.metadata.options.max_wallclock_seconds = 99
    for section, stage, seconds in (
        ("md_sampling", "molecular_dynamics", 99),
        ("md_sampling", "labels", 77),
        ("quasi_harmonic", "relaxation", 77),
        ("quasi_harmonic", "force_constants", 77),
        ("phonon_sampling", "labels", 77),
    ):
        given = builder[section][stage].metadata.options
        assert (given.max_wallclock_seconds, given.queue_name) == (seconds, "tesla")


def test_options_without_a_code_are_refused(argon, lennard_jones):
    from aiida_mbetrain.errors import InvalidSettings

    with pytest.raises(InvalidSettings, match="code"):
        WorkflowFactory("mbetrain.training_set").get_builder_from_protocol(
            argon, lennard_jones, options={"queue_name": "tesla"}
        )


@pytest.mark.parametrize(
    ("workflow", "where"),
    [
        ("training_set", "md_sampling.molecular_dynamics"),
        ("training_set", "phonon_sampling.labels"),
        ("md_sampling", "molecular_dynamics"),
        ("quasi_harmonic", "force_constants"),
    ],
)
def test_what_is_said_about_jobs_is_refused_without_a_code(workflow, where, argon, lennard_jones):
    """It would be ignored: nothing runs as a job."""
    builder = WorkflowFactory(f"mbetrain.{workflow}").get_builder_from_protocol(argon, lennard_jones, protocol="fast")
    namespace = builder
    for name in where.split("."):
        namespace = namespace[name]
    namespace.max_iterations = orm.Int(3)
    with pytest.raises(ValueError, match=f"{where} is about jobs.*give code"):
        run_get_node(builder)


@pytest.mark.slow
def test_short_walltimes_give_the_same_frames_in_several_jobs(code):
    """The worker stops itself before each walltime; three jobs make one trajectory."""
    inputs = long_dynamics(500.0)
    _, in_process = HEAVY["molecular_dynamics"].function.run_get_node(
        model=orm.Dict(LENNARD_JONES), inference=orm.Dict(Inference().to_dict()), **inputs
    )
    _, in_one_job = run_get_node(MolecularDynamicsJob, calculation=job_inputs("molecular_dynamics", inputs, code))

    def again(parts: int) -> orm.ProcessNode:
        options = {
            "max_wallclock_seconds": walltime_for(in_one_job, parts, slept_s=SLEEP_s),
            "environment_variables": SLOW,
        }
        calculation = job_inputs("molecular_dynamics", inputs, code, metadata={"options": options})
        _, node = run_get_node(MolecularDynamicsJob, calculation=calculation)
        assert node.is_finished_ok, node.exit_message
        return node

    node = interrupted(again, lambda node: len(node.called))
    assert_same_outputs(in_process, node)
    assert "checkpoint" not in data_outputs(node)


def test_monitor_stops_dynamics_outside_its_window(code):
    inputs = long_dynamics(1e6)
    cold = {"entry_point": "mbetrain.stability", "kwargs": {"temperature_K": [0.0, 0.1]}}
    calculation = job_inputs("molecular_dynamics", inputs, code, monitors={"stability": orm.Dict(cold)})
    _, node = run_get_node(MolecularDynamicsJob, calculation=calculation)
    assert node.called[0].exit_status == 150
    assert node.exit_status == UnstableDynamics.code
    assert "temperature_K" in node.exit_message
    assert len(node.called) == 1


def test_monitor_watches_the_volume_too(code):
    inputs = long_dynamics(1e6)
    settings = inputs["settings"].get_dict()
    settings["md_crystal"] |= {"ensemble": "NPT"}
    inputs["settings"] = orm.Dict(settings | {"pressure_GPa": 1e-4})
    small = {"entry_point": "mbetrain.stability", "kwargs": {"volume_A3": [1.0, 2.0]}}
    calculation = job_inputs("molecular_dynamics", inputs, code, monitors={"stability": orm.Dict(small)})
    _, node = run_get_node(MolecularDynamicsJob, calculation=calculation)
    assert node.exit_status == UnstableDynamics.code
    assert "volume_A3" in node.exit_message


def test_monitor_is_handed_down_to_the_job(code, argon, lennard_jones):
    settings = argon_settings(md_sampling={"md_crystal": {"time_total_fs": 1e6}})
    builder = WorkflowFactory("mbetrain.md_sampling").get_builder_from_protocol(
        argon, lennard_jones, code=code, protocol="fast", overrides={"md_sampling": settings["md_sampling"]}
    )
    cold = {"entry_point": "mbetrain.stability", "kwargs": {"temperature_K": [0.0, 0.1]}}
    builder.molecular_dynamics.monitors = {"stability": orm.Dict(cold)}
    _, node = run_get_node(builder)
    assert node.exit_status == UnstableDynamics.code
    assert "temperature_K" in node.exit_message
