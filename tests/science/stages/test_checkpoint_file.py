"""Checkpoints: saved at intervals by every stage, at the cost of what is new, and refused to every other job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.lj import LennardJones
from stage_jobs import LENNARD_JONES, MD, REPLICAS, UNSTABLE_REPLICAS, arrays_of, distorted_argon, job_of

from aiida_mbetrain.errors import StoppedEarly, UnreadableFile, UnstableDynamics
from aiida_mbetrain.science.io import SegmentFile
from aiida_mbetrain.science.potentials import AsePotential, named_calculator
from aiida_mbetrain.science.stages import STAGES, Job, checkpoint_file
from aiida_mbetrain.science.stages.checkpoint_file import CheckpointFile, Progress
from aiida_mbetrain.science.stages.fingerprint import fingerprint
from aiida_mbetrain.science.stages.table import ATOMS_PER_PIECE
from aiida_mbetrain.settings import Inference, NamedCalculator

WITH_POTENTIAL = [stage for stage in STAGES if stage not in ("reference_labels", "training")]
"""Reference labels and training are the work of other programs: their checkpoints are tested beside them."""

OFTEN = 1e-9
NEVER = 1e9


class Killed(Exception):
    """In place of SIGKILL: nothing is saved on the way out."""


class Counted(LennardJones):
    """Counts its evaluations, and ends the job at a given one."""

    n_calls, last = 0, 10**9

    def calculate(self, *args, **kwargs):
        self.n_calls += 1
        if self.n_calls == self.last:
            raise Killed
        super().calculate(*args, **kwargs)


def counted(job: Job, last: int = 10**9) -> tuple[Job, Counted]:
    """The job with a potential that counts."""
    calculator = Counted(**LENNARD_JONES.parameters)
    calculator.last = last
    return replace(job, potential=AsePotential(calculator, name="lennard_jones")), calculator


def run_counted(stage: str, job: Job) -> tuple[dict[str, np.ndarray], int]:
    """Outputs, and the number of evaluations they took."""
    job, calculator = counted(job)
    return arrays_of(STAGES[stage](job)), calculator.n_calls


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.fixture
def small_pieces(monkeypatch):
    """One displaced supercell, or two frames, between two offers."""
    monkeypatch.setitem(ATOMS_PER_PIECE, "cpu", 9)


@pytest.mark.parametrize("stage", WITH_POTENTIAL)
def test_killed_stage_has_what_it_saved_at_intervals(stage, tmp_path, small_pieces):
    job = replace(job_of(stage), checkpoint=tmp_path / "checkpoint", checkpoint_interval_s=OFTEN)
    expected, n_all = run_counted(stage, job_of(stage))
    n_killed = n_all // 4  # of the isolated molecule before its vibrations, which are one batch
    with pytest.raises(Killed):
        STAGES[stage](counted(job, n_killed)[0])
    found, n_left = run_counted(stage, job)
    assert n_left <= n_all - n_killed + 3, "at most a piece is computed again"
    assert_equal(found, expected)


@pytest.mark.parametrize("stage", WITH_POTENTIAL)
def test_stage_saves_nothing_before_the_interval_is_over(stage, tmp_path, small_pieces):
    job = replace(job_of(stage), checkpoint=tmp_path / "checkpoint", checkpoint_interval_s=NEVER)
    with pytest.raises(Killed):
        STAGES[stage](counted(job, 5)[0])
    assert not job.checkpoint.exists()


@pytest.mark.parametrize("stage", ["molecular_dynamics", "md_replicas", "labels", "relaxation"])
def test_checkpoint_cut_at_any_place_continues_to_the_same_numbers(stage, tmp_path, small_pieces):
    path = tmp_path / "checkpoint"
    job = replace(job_of(stage), checkpoint=path, checkpoint_interval_s=OFTEN)
    expected, n_all = run_counted(stage, job)
    content = path.read_bytes()
    needed = []
    for size in np.linspace(0, len(content), 12).astype(int):
        path.write_bytes(content[:size])
        found, n_calls = run_counted(stage, job)
        assert_equal(found, expected)
        needed.append(n_calls)
    assert needed[0] == n_all
    assert needed == sorted(needed, reverse=True), "a longer rest holds no less"
    assert needed[-1] <= 3


def bytes_written() -> int:
    """Bytes that this process has handed to the operating system to write."""
    return int(dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())["wchar"])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system does not count bytes written")
def test_cost_of_a_save_does_not_grow_with_what_is_saved(tmp_path):
    job = replace(job_of("labels"), checkpoint=tmp_path / "checkpoint", checkpoint_interval_s=NEVER)
    checkpoint = CheckpointFile(job, "labels", {})
    rows: list[np.ndarray] = []
    costs: list[int] = []
    checkpoint.offer(lambda: Progress({"rows": rows}, {"state": np.array(len(rows))}))
    for _ in range(40):
        rows.extend([np.ones(100)] * 10)
        before = bytes_written()
        checkpoint.save()
        costs.append(bytes_written() - before)
    assert min(costs) > 8000
    assert max(costs) < 10000
    again = CheckpointFile(job, "labels", {})
    np.testing.assert_array_equal(again.found.rows["rows"], np.array(rows))


@pytest.mark.parametrize("stage", WITH_POTENTIAL)
def test_every_stage_appends_what_is_new(stage, tmp_path, small_pieces, monkeypatch):
    sizes = []
    append = SegmentFile.append

    def measured(self: SegmentFile, segment: bytes, *, durable: bool) -> None:
        sizes.append(len(segment))
        append(self, segment, durable=durable)

    monkeypatch.setattr(SegmentFile, "append", measured)
    job = replace(job_of(stage), checkpoint=tmp_path / "checkpoint", checkpoint_interval_s=OFTEN)
    STAGES[stage](job)
    saves = np.array(sizes[1:])  # the first is the fingerprint
    assert len(saves) >= 4
    # a frame of dynamics, or a piece across two sets, has a few arrays more than another, each with a name in the npz
    assert saves[-len(saves) // 2 :].max() <= saves[: len(saves) // 2].max() + 6 * 300


def test_job_without_progress_leaves_the_file_as_it_was(tmp_path):
    job = replace(job_of("molecular_dynamics"), checkpoint=tmp_path / "checkpoint", should_stop=lambda: True)
    contents = []
    for _ in range(2):
        with pytest.raises(StoppedEarly):
            STAGES["molecular_dynamics"](job)
        contents.append(job.checkpoint.read_bytes())
    assert contents[0] == contents[1]


def test_rows_that_are_forgotten_are_replaced(tmp_path):
    job = replace(job_of("labels"), checkpoint=tmp_path / "checkpoint")
    for rows, n_kept in (([1, 2, 3], 0), ([1, 7], 1), ([1, 7, 8], 2)):
        checkpoint = CheckpointFile(job, "labels", {})
        checkpoint.forget_rows(n_kept)
        checkpoint.offer(lambda rows=rows: Progress({"rows": rows}))
        checkpoint.save()
        assert CheckpointFile(job, "labels", {}).found.rows["rows"].tolist() == rows


def test_a_save_of_many_rows_takes_little_memory_and_counts_as_a_whole(tmp_path, monkeypatch):
    """Cut in the middle, also of one that replaces rows, it leaves the save before."""
    monkeypatch.setattr(checkpoint_file, "LARGE_BYTES", 8 * 30)
    sizes, append = [], SegmentFile.append

    def measured(self: SegmentFile, segment: bytes, *, durable: bool) -> None:
        sizes.append(len(segment))
        append(self, segment, durable=durable)

    monkeypatch.setattr(SegmentFile, "append", measured)
    job = replace(job_of("labels"), checkpoint=tmp_path / "checkpoint")
    saves = [
        {"long": np.arange(100.0), "wide": np.ones((40, 3))},
        {"long": np.arange(300.0), "wide": np.ones((50, 3))},
        {
            "long": np.concatenate([np.arange(20.0), -np.arange(200.0)]),
            "wide": np.repeat([[1.0] * 3, [0.0] * 3], [20, 25], axis=0),
        },
    ]
    for number, rows in enumerate(saves):
        checkpoint = CheckpointFile(job, "labels", {})
        checkpoint.forget_rows(20)
        checkpoint.offer(lambda number=number, rows=rows: Progress(rows, {"number": np.array(number)}))
        checkpoint.save()
    assert len(sizes) > 20
    assert max(sizes) < 2 * 8 * 30 + 1000, "beside the headers of an npz"

    content, found = job.checkpoint.read_bytes(), []
    for size in np.linspace(0, len(content), 60).astype(int):
        job.checkpoint.write_bytes(content[:size])
        checkpoint = CheckpointFile(job, "labels", {})
        progress = checkpoint.found
        found.append(-1 if progress is None else int(progress.state["number"]))
        if progress is not None:
            assert_equal(progress.rows, saves[found[-1]])
            checkpoint.offer(lambda rows=progress.rows: Progress(rows, {"number": np.array(7)}))
            checkpoint.save()
            again = CheckpointFile(job, "labels", {}).found
            assert int(again.state["number"]) == 7
            assert_equal(again.rows, saves[found[-1]])
    assert sorted(set(found)) == [-1, 0, 1, 2]
    assert found == sorted(found)


def keys(value) -> str:
    """Identifier of a test's parameter that is the same in every process."""
    return value if isinstance(value, str) else ",".join(value)


class Described(AsePotential):
    """Lennard-Jones that describes itself as told."""

    def __init__(self, **facts):
        super().__init__(LennardJones(**LENNARD_JONES.parameters))
        self.facts = facts

    def describe(self):
        return {"name": "model", "sha256": "ab", "head": "one", "dtype": "float64", "parameters": "{}"} | self.facts


def with_input(job: Job, **changes) -> Job:
    """Other fields of the first input."""
    name, value = next((name, value) for name, value in job.inputs.items() if name != "n_1" and name != "n_2")
    return replace(job, inputs=job.inputs | {name: value.with_(**changes)})


def of_job(stage="labels", settings=None, **changes) -> str:
    return fingerprint(replace(job_of("labels"), **({"potential": Described()} | changes)), stage, settings or {})


@pytest.mark.parametrize("changes", [
    {"stage": "relaxation"},
    {"settings": {"temperature_K": 1.0}},
    {"inference": Inference(default_dtype="float32")},
    {"inference": Inference(head="other")},
    {"inference": Inference(features="none")},
    {"potential": Described(name="other")},
    {"potential": Described(sha256="cd")},
    {"potential": Described(parameters='{"sigma": 3.0}')},
    {"potential": Described(head="two")},
    {"potential": Described(dtype="float32")},
    {"inputs": {"frames": distorted_argon(7)}},
], ids=keys)  # fmt: skip
def test_fingerprint_tells_apart(changes):
    assert of_job(**changes) != of_job()


@pytest.mark.parametrize("changes", [
    {"inference": Inference(device="cpu", kernels="e3nn", batch_atoms=7, tune_malloc=False)},
    {"potential": Described(device="cuda", device_name="a card", kernels="cueq", torch_version="9")},
    {"checkpoint_interval_s": 1.0},
], ids=keys)  # fmt: skip
def test_fingerprint_leaves_the_machine_free(changes):
    assert of_job(**changes) == of_job()


def test_fingerprint_covers_name_values_and_shape_of_the_inputs():
    frames = distorted_argon(2)
    moved = frames.with_(positions=frames.positions + 1e-9)
    labelled = frames.with_(energies=np.zeros(2))
    tables = [{"a": frames}, {"b": frames}, {"a": moved}, {"a": labelled}, {"a": frames.select([0])}]
    tables += [{"a": frames.with_(origin={"q": np.zeros(shape)})} for shape in ((2, 2), (2, 2, 1))]
    assert len({of_job(inputs=inputs) for inputs in tables}) == len(tables)


def md(**changes):
    """Settings of dynamics, with others in ``md_crystal``."""
    return {"settings": MD | {"md_crystal": MD["md_crystal"] | changes}}


def replicas(warm=None, **changes):
    """Settings of replicas, with others of one of them or in ``md_crystal`` of all."""
    chosen = REPLICAS["replicas"] | {"warm": REPLICAS["replicas"]["warm"] | (warm or {})}
    return {"settings": {"replicas": chosen, "sampling": md(**changes)["settings"]}}


NPT = {"ensemble": "NPT"}
OTHER_ARGON = named_calculator(
    NamedCalculator(name="lennard_jones", parameters={"sigma": 3.0, "epsilon": 0.05, "rc": 6.0})
)
REFUSED = [
    ("molecular_dynamics", {}, {"potential": OTHER_ARGON}),
    ("molecular_dynamics", {}, {"inference": Inference(head="other")}),
    ("molecular_dynamics", {}, {"inference": Inference(default_dtype="float32")}),
    ("molecular_dynamics", {}, {"inference": Inference(features="none")}),
    ("molecular_dynamics", {}, {"settings": MD | {"temperature_K": 41.0}}),
    ("molecular_dynamics", {}, md(rng_seed=1)),
    ("molecular_dynamics", {}, md(nvt_algo="nose_hoover_chain")),
    ("molecular_dynamics", {}, md(time_step_fs=2.5)),
    ("molecular_dynamics", md(**NPT), {"settings": md(**NPT)["settings"] | {"pressure_GPa": 0.1}}),
    ("md_replicas", {}, {"potential": OTHER_ARGON}),
    ("md_replicas", {}, replicas(warm={"temperature_K": 41.0})),
    ("md_replicas", {}, replicas(warm={"rng_seed": 3})),
    ("md_replicas", {}, replicas(time_step_fs=2.5)),
    ("md_replicas", replicas(**NPT), replicas(warm={"pressure_GPa": 0.1}, **NPT)),
    ("md_replicas", {}, {"settings": {"replicas": {"warm": {"temperature_K": 40.0}}}}),
    ("relaxation", {}, {"potential": OTHER_ARGON}),
    ("relaxation", {}, {"settings": {"relax_input_cell": "full", "max_force_on_atom": 0.01}}),
    ("isolated_molecule", {}, {"settings": {"max_force_on_atom": 0.01}}),
    ("force_constants", {}, {"settings": {"supercell_displacement": 0.02}}),
    ("labels", {}, {"potential": OTHER_ARGON}),
]


def begin(stage: str, path: Path, **changes) -> Job:
    """A job of a stage that has stopped at its first question."""
    job = replace(job_of(stage), checkpoint=path, **changes)
    with pytest.raises(StoppedEarly):
        STAGES[stage](replace(job, should_stop=lambda: True))
    return job


@pytest.mark.parametrize(("stage", "first", "changes"), REFUSED, ids=keys)
def test_stage_refuses_the_checkpoint_of_another_job(stage, first, changes, tmp_path, small_pieces):
    job = begin(stage, tmp_path / "checkpoint", **first)
    changes = {key: job.settings | value if key == "settings" else value for key, value in changes.items()}
    with pytest.raises(UnreadableFile, match="belongs to"):
        STAGES[stage](replace(job, **changes))


@pytest.mark.parametrize("stage", WITH_POTENTIAL)
def test_stage_refuses_the_checkpoint_of_another_structure(stage, tmp_path, small_pieces):
    job = begin(stage, tmp_path / "checkpoint")
    value = next(value for name, value in job.inputs.items() if name not in ("n_1", "n_2"))
    with pytest.raises(UnreadableFile, match="belongs to"):
        STAGES[stage](with_input(job, positions=value.positions + 1e-3))


@pytest.mark.parametrize("changes", [
    md(time_total_fs=300.0),
    md(temperature_window=[0.01, 9.0], volume_window=[0.1, 9.0], max_force=50.0),
    md(max_atoms=9, supercell_radius=3.0, supercell_diagonal=True, supercell_matrix=np.eye(3, dtype=int).tolist()),
    {"settings": MD | {"pressure_GPa": 1.0, "root_key": "training/other", "finite_subsystem_filter": None}},
    {"inference": Inference(device="cpu", kernels="e3nn", batch_atoms=7)},
], ids=keys)  # fmt: skip
def test_dynamics_continues_where_only_length_guards_or_machine_differ(changes, tmp_path):
    answers = iter([False] * 12 + [True])
    job = replace(job_of("molecular_dynamics"), checkpoint=tmp_path / "checkpoint")
    with pytest.raises(StoppedEarly):
        STAGES["molecular_dynamics"](replace(job, should_stop=lambda: next(answers)))
    done: list[int] = []
    STAGES["molecular_dynamics"](replace(job, report=lambda n, _: done.append(n), **changes))
    assert done[0] == 13


@pytest.mark.parametrize("changes", [
    replicas(warm={"pressure_GPa": 1.0}, time_total_fs=300.0, max_force=50.0, rng_seed=9),
    {"inference": Inference(device="cpu", kernels="e3nn", batch_atoms=7)},
], ids=keys)  # fmt: skip
def test_replicas_continue_where_only_length_guards_or_machine_differ(changes, tmp_path):
    answers = iter([False] * 12 + [True])
    job = replace(job_of("md_replicas"), checkpoint=tmp_path / "checkpoint")
    with pytest.raises(StoppedEarly):
        STAGES["md_replicas"](replace(job, should_stop=lambda: next(answers)))
    done: list[int] = []
    STAGES["md_replicas"](replace(job, report=lambda n, _: done.append(n), **changes))
    assert done[0] == 13


def test_replica_that_became_unstable_before_the_job_was_stopped_is_not_run_again(tmp_path):
    job = replace(job_of("md_replicas"), settings=UNSTABLE_REPLICAS)
    with pytest.raises(UnstableDynamics) as expected:
        STAGES["md_replicas"](job)
    job = replace(job, checkpoint=tmp_path / "checkpoint")
    answers = iter([False] * 12 + [True])
    with pytest.raises(StoppedEarly):
        STAGES["md_replicas"](replace(job, should_stop=lambda: next(answers)))
    counting, calculator = counted(job)
    with pytest.raises(UnstableDynamics) as found:
        STAGES["md_replicas"](counting)
    assert calculator.n_calls == 3 * (30 - 12)
    assert found.value.message == expected.value.message
    assert_equal(arrays_of(found.value.results), arrays_of(expected.value.results))
