"""Every example script does what its first lines say, on the demo's crystal and model with shortened times."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from shortened import SHORT
from workplace import Workplace, new_workplace

from aiida_mbetrain import demo

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

EXAMPLES = ROOT / "examples"
SHORTENED = json.dumps({name: SHORT[name] for name in ("md_sampling", "quasi_harmonic", "phonon_sampling")})


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A folder with a profile of its own."""
    place = new_workplace(tmp_path_factory.mktemp("examples") / "work")
    place = dataclasses.replace(place, environment=place.environment | {"AIIDA_PATH": str(place.folder)})
    place.run("verdi presto -n")
    return place


def run_example(workplace: Workplace, name: str, arguments: str = "") -> str:
    return workplace.run(f"python {EXAMPLES / name} {arguments}")


def pk_in(output: str) -> str:
    return re.findall(r"WorkChain<(\d+)>", output)[-1]


@pytest.fixture(scope="module")
def training_set(workplace: Workplace) -> str:
    return run_example(workplace, "training_set.py", f"crystal.cif my.model --overrides '{SHORTENED}'")


@pytest.fixture(scope="module")
def quasi_harmonic(workplace: Workplace) -> str:
    return run_example(workplace, "quasi_harmonic.py", "--save phonopy_params.yaml")


def test_training_set_writes_its_dataset(workplace: Workplace, training_set: str):
    assert "training_set.hdf5 holds" in training_set
    assert (workplace.folder / "training_set.hdf5").stat().st_size > 100_000


def test_export_writes_the_same_file_again(workplace: Workplace, training_set: str):
    output = run_example(workplace, "export_dataset.py", "--dataset again.hdf5")
    again, first = ((workplace.folder / name).read_bytes() for name in ("again.hdf5", "training_set.hdf5"))
    assert again == first
    assert "training/phonon_sampling/finite_subsystems/n=3" in output


def test_md_sampling_prints_frames_and_clusters(workplace: Workplace):
    output = run_example(workplace, "md_sampling.py", "--structure crystal.cif --model my.model --temperature 200")
    assert ": 2 frames" in output
    assert re.findall(r"^(n_\d): 2 clusters", output, re.MULTILINE) == ["n_1", "n_2", "n_3"]


def test_quasi_harmonic_saves_what_phonopy_reads(workplace: Workplace, quasi_harmonic: str):
    import phonopy

    assert "I-43m" in quasi_harmonic
    phonon = phonopy.load(workplace.folder / "phonopy_params.yaml", produce_fc=False)
    assert phonon.force_constants.shape == (22, 22, 3, 3)


def test_phonon_sampling_takes_force_constants_that_are_there(workplace: Workplace, quasi_harmonic: str):
    shown = workplace.run(f"aiida-mbetrain show {pk_in(quasi_harmonic)}")
    pk = re.findall(r"ForceConstantsData<(\d+)>", shown)[0]
    output = run_example(workplace, "phonon_sampling.py", f"--force-constants {pk} --temperature 200")
    assert re.search(r": \d+ frames of \d+ modes", output)
    assert "n_3: " in output


def test_queries_find_what_the_scripts_made(workplace: Workplace, training_set: str):
    output = run_example(workplace, "query_provenance.py")
    assert f"training set <{pk_in(training_set)}> of C6H12N4" in output
    assert re.search(r"labelled \d+ configurations of n=3", output)
    assert re.search(r"force constants <\d+> of structure <\d+>, I-43m", output)
    assert re.search(r"molecular_dynamics on \S+: ", output)


@pytest.mark.daemon
def test_a_graph_made_by_hand_shares_the_model_and_the_force_constants(tmp_path: Path):
    place = new_workplace(tmp_path / "work")
    place = dataclasses.replace(place, environment=place.environment | {"AIIDA_PATH": str(place.folder)})
    place.run("verdi presto -n --use-zeromq && verdi config set runner.poll.interval 1 && verdi daemon start 1")
    compressed = demo.crystal()
    compressed.set_cell(0.99 * compressed.cell.array, scale_atoms=False)
    compressed.write(place.folder / "other.xyz", format="extxyz")
    try:
        output = run_example(
            place, "two_crystals_graph.py", f"crystal.cif other.xyz my.model --overrides '{SHORTENED}'"
        )
        printed = re.findall(r"^(\w+): <\d+> finished$", output, re.MULTILINE)
        assert sorted(printed) == [
            *(f"force_constants_{number}" for number in (1, 2)),
            *(f"phonons_{number}_{temperature}K" for number in (1, 2) for temperature in (100, 300)),
        ]
        stages = place.run("verdi process list -a -r -P process_label | grep -c -e QuasiHarmonic -e PhononSamplingW")
        assert int(stages) == 2 + 4
    finally:
        place.run("verdi daemon stop --timeout 60")


def test_every_script_has_a_test():
    tested = set(re.findall(r'"(\w+\.py)"', Path(__file__).read_text("utf-8")))
    assert {path.name for path in EXAMPLES.glob("*.py")} - {"common.py"} <= tested
