"""MACE models against MACECalculator, finite differences and sums of fragments."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mace_reference import LABELS, assert_same_labels, reference
from models import rattled, save_random_mace

from aiida_mbetrain.demo import model_path
from aiida_mbetrain.errors import (
    DeviceNotAvailable,
    ElementsNotInModel,
    InvalidSettings,
    InvalidStructure,
    ModelHashMismatch,
    NotAModel,
    OutOfMemory,
)
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.potentials import CPU_BATCH_ATOMS, inspect_mace, load_mace
from aiida_mbetrain.science.potentials.mace import model as mace_module
from aiida_mbetrain.science.potentials.mace.model_files import read_model, write_model
from aiida_mbetrain.settings import Inference

import torch  # isort: skip  # after mace

CPU = Inference(device="cpu")


@pytest.mark.parametrize("variant", ["scalar", "vector", "two_heads", "unscaled"])
def test_batches_of_mixed_sizes_equal_mace_calculator(models, small_sets, variant):
    labelled = load_mace(models[variant], CPU).evaluate(small_sets, features=True)
    for part, labels in zip(small_sets, labelled, strict=True):
        assert_same_labels(labels, reference(models[variant], part), 1e-10)


def test_a_model_that_reads_its_last_layer_alone_equals_mace_calculator(tmp_path, small_sets):
    path = save_random_mace(tmp_path / "m.model", use_last_readout_only=True)
    [labels] = load_mace(path, CPU).evaluate(small_sets[:1], features=True)
    assert_same_labels(labels, reference(path, small_sets[0]), 1e-10)


@pytest.mark.parametrize("num_interactions", [1, 3])
def test_features_hold_every_interaction_layer(tmp_path, small_sets, num_interactions):
    path = save_random_mace(tmp_path / "m.model", max_l=1, num_interactions=num_interactions)
    [labels] = load_mace(path, CPU).evaluate(small_sets[:1], features=True)
    assert labels.features.shape[-1] == 4 * num_interactions
    assert_same_labels(labels, reference(path, small_sets[0]), 1e-10)


def test_the_named_head_is_evaluated(models, small_sets):
    path = models["two_heads"]
    by_head = {}
    for head in ("dft", "Default"):
        potential = load_mace(path, Inference(device="cpu", head=head))
        [by_head[head]] = potential.evaluate(small_sets[:1], features=True)
        assert potential.describe()["head"] == head
        assert_same_labels(by_head[head], reference(path, small_sets[0], head=head), 1e-10)
    assert np.abs(by_head["dft"].energies - by_head["Default"].energies).min() > 0.1


def test_single_precision_agrees_with_double_precision(models, small_sets):
    single = load_mace(models["vector"], Inference(device="cpu", default_dtype="float32"))
    double = load_mace(models["vector"], CPU)
    for low, high in zip(
        single.evaluate(small_sets, features=True), double.evaluate(small_sets, features=True), strict=True
    ):
        assert low.energies.dtype == low.forces.dtype == low.features.dtype == np.float64
        assert_same_labels(low, high, 1e-5)
        assert np.abs(low.forces - high.forces).max() > 0


def test_atomic_energies_are_summed_in_double_precision(tmp_path):
    """A float32 sum of 10,000 eV is good to 0.0005 eV; the interaction energy loses far less."""
    path = save_random_mace(tmp_path / "all_electron.model", atomic_energy=-1012.3456)
    frame = rattled(molecule("CH3CN"), 1, 1)
    [single] = load_mace(path, Inference(device="cpu", default_dtype="float32")).evaluate([frame])
    [double] = load_mace(path, CPU).evaluate([frame])
    summed_by_mace = reference(path, frame, default_dtype="float32")
    assert abs(single.energies[0] - double.energies[0]) < 2e-5
    assert abs(summed_by_mace.energies[0] - double.energies[0]) > 1e-4


@pytest.fixture(scope="module")
def scalar_potential(models):
    return load_mace(models["scalar"], CPU)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch_atoms=st.integers(2, 80), order=st.permutations(range(4)), seed=st.integers(0, 10))
def test_labels_do_not_depend_on_batch_size_or_order(scalar_potential, small_sets, batch_atoms, order, seed):
    frames = np.random.default_rng(seed).permutation(small_sets[0].n_frames)
    sets = [small_sets[i] if i else small_sets[0].select(frames) for i in order]
    labels = {}
    for size in (1, batch_atoms):
        scalar_potential._set_batch_size(size)
        labels[size] = scalar_potential.evaluate(sets, features=True)
    for together, alone in zip(labels[batch_atoms], labels[1], strict=True):
        assert_same_labels(together, alone, 1e-12)


def test_evaluating_twice_gives_the_same_bits(models, small_sets):
    """From the first evaluation on, in whatever batches came before: a restarted run continues a trajectory."""
    first, later = load_mace(models["vector"], CPU), load_mace(models["vector"], CPU)
    for part in small_sets:
        later.evaluate([part])
    frame = small_sets[3].select([0])
    [one] = first.evaluate([frame], features=True)
    [two] = later.evaluate([frame], features=True)
    for name in LABELS:
        assert np.array_equal(getattr(one, name), getattr(two, name)), name


def test_forces_are_minus_the_energy_gradient(models, small_sets):
    potential, h = load_mace(models["vector"], CPU), 1e-4
    for part in (small_sets[0].select([0]), small_sets[1].select([0])):
        [labels] = potential.evaluate([part])
        steps = h * np.eye(3 * part.n_atoms).reshape(-1, part.n_atoms, 3)
        cells = None if part.cells is None else np.repeat(part.cells, 2 * len(steps), axis=0)
        displaced = Configurations(
            part.numbers, np.concatenate([part.positions + steps, part.positions - steps]), cells
        )
        up, down = potential.evaluate([displaced])[0].energies.reshape(2, -1)
        gradient = (up - down).reshape(-1, 3) / (2 * h)
        assert np.abs(gradient).max() > 1e-3
        np.testing.assert_allclose(labels.forces[0], -gradient, atol=1e-6)


def test_stress_is_the_energy_derivative_by_strain_over_volume(models, small_sets):
    potential, h = load_mace(models["vector"], CPU), 1e-4
    part = small_sets[1].select([0])
    [labels] = potential.evaluate([part])
    energies = []
    for sign in (1, -1):
        for i, j in np.ndindex(3, 3):
            strain = np.zeros((3, 3))
            strain[i, j] += sign * h / 2
            strain[j, i] += sign * h / 2
            deformation = np.eye(3) + strain
            energies.append(part.with_(positions=part.positions @ deformation, cells=part.cells @ deformation))
    up, down = potential.evaluate([Configurations.concatenate(energies)])[0].energies.reshape(2, 3, 3)
    expected = (up - down) / (2 * h) / part.volumes[0]
    assert np.abs(expected).max() > 1e-4
    np.testing.assert_allclose(labels.stress[0], expected, atol=1e-7)


def test_energy_of_distant_molecules_is_the_sum_of_monomers(models):
    potential = load_mace(models["scalar"], CPU)
    monomers = [rattled(molecule(name), 1, seed) for seed, name in enumerate(("CH3CN", "NH3", "CH4"))]
    far = [part.positions[0] + 50.0 * k for k, part in enumerate(monomers)]
    trimer = Configurations(np.concatenate([part.numbers for part in monomers]), np.concatenate(far)[None])
    alone = potential.evaluate(monomers, features=True)
    [together] = potential.evaluate([trimer], features=True)
    assert together.energies[0] == pytest.approx(sum(part.energies[0] for part in alone), rel=1e-13)
    np.testing.assert_allclose(together.features[0], np.concatenate([part.features[0] for part in alone]), atol=1e-13)


def test_large_clusters_take_the_cell_list_and_give_the_same(models, monkeypatch):
    """Above DENSE_ATOMS the neighbours come from a cell list: the same labels, far from the origin too."""
    from aiida_mbetrain.science.potentials.mace import pair_lists

    potential = load_mace(models["scalar"], CPU)
    cluster = rattled(molecule("CH3CN", cell=[4, 4, 4], pbc=True).repeat((3, 2, 2)), 2, 5)
    cluster = Configurations(cluster.numbers, cluster.positions - 100.0)
    [dense] = potential.evaluate([cluster], features=True)
    monkeypatch.setattr(pair_lists, "DENSE_ATOMS", 1)
    [sparse] = potential.evaluate([cluster], features=True)
    assert_same_labels(sparse, dense, 1e-12)


def test_single_atoms_and_empty_sets_are_evaluated(models):
    potential = load_mace(models["scalar"], CPU)
    atom = Configurations(np.array([6]), np.zeros((2, 1, 3)))
    nothing = Configurations(np.array([6, 1]), np.zeros((0, 2, 3)))
    labelled, empty = potential.evaluate([atom, nothing], features=True)
    expected = reference(models["scalar"], atom)
    np.testing.assert_allclose(labelled.energies, expected.energies, rtol=1e-12)
    assert not labelled.forces.any()
    assert empty.energies.shape == (0,)
    assert empty.features.shape == (0, 2, 8)


def test_progress_counts_atoms_up_to_all(models, small_sets):
    calls = []
    potential = load_mace(models["scalar"], Inference(device="cpu", batch_atoms=10))
    potential.evaluate(small_sets, report=lambda done, total: calls.append((done, total)))
    total = sum(part.n_frames * part.n_atoms for part in small_sets)
    assert len(calls) > 3
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert calls[-1] == (total, total)
    assert {of for _, of in calls} == {total}


def shrink_memory(potential, monkeypatch, atoms: int, error: Exception) -> list[int]:
    """Let every pass of more than ``atoms`` atoms fail; returns the sizes of the passes tried."""
    forward, tried = potential._model, []

    def limited(data, **options):
        tried.append(len(data["positions"]))
        if tried[-1] > atoms:
            raise error
        return forward(data, **options)

    limited.atomic_numbers = forward.atomic_numbers
    monkeypatch.setitem(potential.__dict__, "_model", limited)
    return tried


@pytest.mark.parametrize(
    "message", ["CUDA out of memory. Tried to allocate 2 GiB", "[enforce fail] DefaultCPUAllocator: can't allocate"]
)
def test_batches_are_halved_when_memory_runs_out(models, small_sets, monkeypatch, message):
    potential = load_mace(models["scalar"], CPU)
    expected = potential.evaluate(small_sets, features=True)
    tried = shrink_memory(potential, monkeypatch, 12, RuntimeError(message))
    for labels, wanted in zip(potential.evaluate(small_sets, features=True), expected, strict=True):
        assert_same_labels(labels, wanted, 1e-12)
    assert max(tried) > 12
    assert sum(size for size in tried if size <= 12) == sum(part.n_frames * part.n_atoms for part in small_sets)


def test_one_configuration_too_large_for_the_memory_is_reported(models, small_sets, monkeypatch):
    potential = load_mace(models["scalar"], CPU)
    shrink_memory(potential, monkeypatch, 5, RuntimeError("out of memory"))
    with pytest.raises(OutOfMemory, match="6 atoms"):
        potential.evaluate(small_sets)


def test_other_errors_of_the_model_are_not_taken_for_lack_of_memory(models, small_sets, monkeypatch):
    potential = load_mace(models["scalar"], CPU)
    tried = shrink_memory(potential, monkeypatch, 0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        potential.evaluate(small_sets)
    assert len(tried) == 1


def test_dense_configurations_get_smaller_batches(models, small_sets, monkeypatch):
    potential = load_mace(models["scalar"], CPU)
    expected = potential.evaluate(small_sets)
    tried = shrink_memory(potential, monkeypatch, 10**6, RuntimeError())
    potential._edge_limit = 150
    for labels, wanted in zip(potential.evaluate(small_sets), expected, strict=True):
        assert_same_labels(labels, wanted, 1e-12)
    assert len(tried) > 3


def test_batches_do_not_depend_on_what_was_evaluated_before(models, monkeypatch):
    potential = load_mace(models["scalar"], CPU)
    potential._edge_limit = 600
    tried = shrink_memory(potential, monkeypatch, 10**6, RuntimeError())
    sparse, dense = rattled(molecule("CH3CN"), 100, 1), rattled(molecule("C6H6"), 100, 1)
    potential.evaluate([sparse])
    first = tried[:]
    potential.evaluate([dense])
    tried.clear()
    potential.evaluate([sparse])
    assert tried == first


def test_memory_does_not_grow_with_the_number_of_clusters(models, monkeypatch):
    potential = load_mace(models["scalar"], CPU)
    tried = shrink_memory(potential, monkeypatch, 10**6, RuntimeError())
    potential.evaluate([rattled(molecule("CH3CN"), 200, 1), rattled(molecule("NH3"), 200, 1)])
    assert sum(tried) == 2000
    assert max(tried) <= CPU_BATCH_ATOMS


def test_a_first_small_batch_on_cuda_tells_how_many_edges_fit(models, monkeypatch):
    """With CUDA's memory counters replaced: 1 kB per edge and 1 MB free leave room for 600 edges."""
    potential = load_mace(models["scalar"], CPU)
    tried = shrink_memory(potential, monkeypatch, 10**6, RuntimeError())
    cuda = mace_module.torch.cuda
    part = rattled(molecule("CH3CN"), 100, 1)
    edges = [mace_module.build_graphs([part.select([k])], potential._pairs).n_edges for k in range(100)]
    n_probed = mace_module.PROBE_ATOMS // 6
    monkeypatch.setattr(cuda, "reset_peak_memory_stats", lambda *_: None)
    monkeypatch.setattr(cuda, "max_memory_allocated", lambda *_: 1000 * sum(edges[:n_probed]))
    monkeypatch.setattr(cuda, "mem_get_info", lambda *_: (10**6, 10**7))
    potential._probes_memory, potential._edge_limit = True, np.inf
    potential.evaluate([part])
    assert potential._edge_limit == pytest.approx(600)
    assert tried[0] == 6 * n_probed
    assert max(tried[1:]) <= 6 * 600 / min(edges)


def test_elements_the_model_lacks_are_refused_by_name(models, small_sets):
    potential = load_mace(models["scalar"], CPU)
    with pytest.raises(ElementsNotInModel, match=r"contains O, Cl, the model knows H, C, N"):
        potential.evaluate([*small_sets, rattled(molecule("HOCl"), 1, 1)])


def test_an_unknown_head_is_refused_with_the_known_ones(models):
    with pytest.raises(InvalidSettings, match=r"'ccsd'.*dft, Default"):
        load_mace(models["two_heads"], Inference(device="cpu", head="ccsd"))


def test_a_model_of_several_heads_without_default_needs_a_choice(tmp_path):
    path = save_random_mace(tmp_path / "m.model", heads=("pbe", "mp2"))
    with pytest.raises(InvalidSettings, match="pbe, mp2"):
        load_mace(path, CPU)


def test_cuda_is_refused_where_there_is_none(models, monkeypatch):
    monkeypatch.setattr(mace_module.torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceNotAvailable, match="cuda"):
        load_mace(models["scalar"], Inference(device="cuda"))
    assert load_mace(models["scalar"]).describe()["device"] == "cpu"


def test_a_changed_file_is_refused_before_it_is_unpickled(models, tmp_path, monkeypatch):
    path = tmp_path / "changed.model"
    path.write_bytes(models["scalar"].read_bytes() + b" ")
    digest = hashlib.sha256(models["scalar"].read_bytes()).hexdigest()
    monkeypatch.setattr(mace_module.torch, "load", lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(ModelHashMismatch, match=digest):
        load_mace(path, CPU, sha256=digest)


def test_the_file_of_the_recorded_hash_is_accepted(models):
    digest = hashlib.sha256(models["scalar"].read_bytes()).hexdigest()
    assert load_mace(models["scalar"], CPU, sha256=digest.upper()).describe()["sha256"] == digest


def files_that_are_no_models(folder: Path) -> dict[str, Path]:
    torch = mace_module.torch
    paths = {name: folder / name for name in ("text", "empty", "state", "layer", "folder")}
    paths["text"].write_text("H 0 0 0\n")
    paths["empty"].write_bytes(b"")
    torch.save({"weights": torch.zeros(2)}, paths["state"])
    torch.save(torch.nn.Linear(1, 1), paths["layer"])
    paths["folder"].mkdir()
    return paths | {"missing": folder / "missing"}


@pytest.mark.parametrize("kind", ["text", "empty", "state", "layer", "folder", "missing"])
@pytest.mark.parametrize("function", [load_mace, inspect_mace])
def test_a_file_that_is_no_model_is_refused_by_path(tmp_path, kind, function):
    path = files_that_are_no_models(tmp_path)[kind]
    with pytest.raises(NotAModel, match=str(path)):
        function(path)


def test_a_model_that_wants_charges_is_refused_by_their_name(models, tmp_path):
    model = mace_module.torch.load(models["scalar"], weights_only=False)
    model.embedding_specs = {"total_charge": {}, "total_spin": {}}
    mace_module.torch.save(model, tmp_path / "charged.model")
    with pytest.raises(NotAModel, match="total_charge, total_spin"):
        load_mace(tmp_path / "charged.model", CPU)


def test_a_model_of_a_training_that_diverged_is_refused_by_its_weights(models, tmp_path):
    model = mace_module.torch.load(models["scalar"], weights_only=False)
    with mace_module.torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    mace_module.torch.save(model, tmp_path / "diverged.model")
    with pytest.raises(NotAModel, match=r"its \S+ is not finite"):
        load_mace(tmp_path / "diverged.model", CPU)


def test_a_flipped_bit_in_the_weights_is_refused_by_the_checksum(models, tmp_path):
    """PyTorch compares no checksums: it would be another model."""
    content = bytearray(models["scalar"].read_bytes())
    weights = next(mace_module.torch.load(models["scalar"], weights_only=False).parameters())
    content[content.index(weights.detach().numpy().tobytes())] ^= 1
    (tmp_path / "flipped.model").write_bytes(content)
    with pytest.raises(NotAModel, match=r"the checksum of .* is wrong"):
        load_mace(tmp_path / "flipped.model", CPU)


def test_inspection_tells_what_the_model_is(models):
    info = inspect_mace(models["two_heads"])
    assert {key: info[key] for key in ("elements", "r_max", "num_interactions", "dtype", "heads")} == {
        "elements": ["H", "C", "N"], "r_max": 4.0, "num_interactions": 2, "dtype": "float64",
        "heads": ["dft", "Default"],
    }  # fmt: skip


def test_description_records_model_precision_and_versions(models):
    potential = load_mace(models["scalar"], Inference(device="cpu", default_dtype="float32"))
    described = potential.describe()
    assert described["dtype"] == "float32"
    assert described["elements"] == "H C N"
    assert described["name"] == "scalar.model"
    assert all(described[f"{package}_version"] for package in ("torch", "mace", "e3nn"))
    assert potential.receptive_field == 8.0
    assert potential.elements == {1, 6, 7}


@pytest.mark.parametrize("which", [0, 1])
def test_the_ase_view_equals_mace_calculator(models, small_sets, which):
    path, part = models["vector"], small_sets[which]
    calculator, labels = load_mace(path, CPU).calculator(), {name: [] for name in LABELS}
    atoms = part.to_atoms()[0]
    atoms.calc = calculator
    for positions in part.positions:
        atoms.positions = positions
        labels["features"].append(calculator.get_property("features", atoms))
        labels["energies"].append(atoms.get_potential_energy())
        labels["forces"].append(atoms.get_forces())
        if part.periodic:
            labels["stress"].append(atoms.get_stress(voigt=False))
    actual = part.with_(**{name: np.array(values) for name, values in labels.items() if values})
    assert_same_labels(actual, reference(path, part), 1e-10)


def test_the_ase_view_evaluates_each_structure_once(models, small_sets, monkeypatch):
    potential = load_mace(models["scalar"], CPU)
    tried = shrink_memory(potential, monkeypatch, 10**6, RuntimeError())
    atoms = small_sets[1].to_atoms()[0]
    atoms.calc = potential.calculator()
    for _ in range(3):
        atoms.positions += 0.01
        atoms.calc.get_property("features", atoms), atoms.get_forces(), atoms.get_stress(), atoms.get_potential_energy()
        atoms.get_potential_energy(force_consistent=True)
    assert len(tried) == 3


def test_a_finite_system_has_no_stress(models):
    atoms = molecule("NH3")
    atoms.calc = load_mace(models["scalar"], CPU).calculator()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_a_slab_is_refused(models):
    atoms = molecule("NH3", cell=[5, 5, 20], pbc=[True, True, False])
    atoms.calc = load_mace(models["scalar"], CPU).calculator()
    with pytest.raises(InvalidStructure, match="pbc"):
        atoms.get_potential_energy()


def test_input_frames_are_left_as_they_were(models, small_sets):
    before = small_sets[1].positions.copy(), small_sets[1].cells.copy()
    load_mace(models["scalar"], CPU).evaluate(small_sets)
    assert np.array_equal(small_sets[1].positions, before[0])
    assert np.array_equal(small_sets[1].cells, before[1])
    assert small_sets[1].energies is None


def test_loading_and_evaluating_prints_nothing_and_importing_is_light(models):
    """In a fresh process: no torch before a model is loaded, and silence on both streams after it."""
    code = (
        "import sys; from aiida_mbetrain.science.potentials import load_mace; assert 'torch' not in sys.modules;"
        "from ase.build import molecule; atoms = molecule('NH3');"
        f"atoms.calc = load_mace({str(models['scalar'])!r}).calculator(); atoms.get_potential_energy()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("save", "equal"), [(write_model, True), (torch.save, False)])
def test_equal_models_have_equal_bytes_whatever_the_process_did_before(save, equal, tmp_path):
    """Which names in a model are the same object depends on it, and plain pickles of two equal models differ."""
    model, _ = read_model(model_path())
    path, contents = tmp_path / "same.model", []
    for _ in range(2):
        save(model, path)
        contents.append(path.read_bytes())
        for module in model.modules():
            copied = {"".join(list(name)): value for name, value in module.__dict__.items()}
            module.__dict__.clear()
            module.__dict__.update(copied)
    assert (contents[0] == contents[1]) is equal
