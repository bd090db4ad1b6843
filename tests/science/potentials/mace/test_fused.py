"""Fused modules against those of e3nn and MACE that they replace."""

from __future__ import annotations

import copy
import importlib.metadata
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from mace_reference import assert_same_labels, reference
from models import rattled, save_random_mace

from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.potentials import load_mace
from aiida_mbetrain.settings import Inference

import aiida_mbetrain.science.potentials.mace  # noqa: F401  isort: skip  imports mace before e3nn
import torch  # isort: skip
from e3nn import o3  # isort: skip
from mace.modules.symmetric_contraction import SymmetricContraction  # isort: skip
from mace.tools.scatter import scatter_sum  # isort: skip
from aiida_mbetrain.science.potentials.mace import model as mace_model  # isort: skip
from aiida_mbetrain.science.potentials.mace.fused import mace_modules  # isort: skip
from aiida_mbetrain.science.potentials.mace.fused.arrangement import arrange  # isort: skip
from aiida_mbetrain.science.potentials.mace.fused.contraction import FusedContraction  # isort: skip
from aiida_mbetrain.science.potentials.mace.fused.convolution import FusedConvolution  # isort: skip
from aiida_mbetrain.science.potentials.mace.fused.current import Current  # isort: skip
from aiida_mbetrain.science.potentials.mace.fused.self_connection import FusedSelfConnection  # isort: skip
from aiida_mbetrain.science.potentials.mace.graphs import Graphs, build_graphs  # isort: skip
from aiida_mbetrain.science.potentials.mace.kernels import choose_kernels  # isort: skip
from aiida_mbetrain.science.potentials.mace.pair_lists import PairLists  # isort: skip

forward = FusedConvolution.forward

ARCHITECTURES = {
    "scalars": {},
    "vectors": {"max_l": 1},
    "tensors": {"max_l": 2, "max_ell": 3},
    "pairs_only": {"correlation": 1},
    "triples": {"correlation": 3},
    "quadruples": {"correlation": 4, "max_l": 1},
    "one_element_for_all": {"use_agnostic_product": True},
    "Agnesi": {"distance_transform": "Agnesi"},
    "cutoff_of_weights": {"apply_cutoff": False},
    "repulsion": {"pair_repulsion": True},
    "chebyshev": {"radial_type": "chebyshev"},
    "three_layers": {"num_interactions": 3},
    "density": {
        "interaction": "RealAgnosticDensityResidualInteractionBlock",
        "interaction_first": "RealAgnosticDensityInteractionBlock",
    },
    "attention": {"interaction": "RealAgnosticAttResidualInteractionBlock"},
    "nonlinear": {
        "interaction": "RealAgnosticResidualNonLinearInteractionBlock",
        "interaction_first": "RealAgnosticResidualNonLinearInteractionBlock",
        "max_l": 1,
    },
}
HALVED = {"density", "attention", "nonlinear"}  # not these: they make more from the radial embedding


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_fused_models_equal_mace_calculator(tmp_path, small_sets, name):
    path = save_random_mace(tmp_path / "a.model", **ARCHITECTURES[name])
    potential = load_mace(path, Inference(device="cpu", kernels="fused"))
    model = potential._model
    assert all(type(block.conv_tp) is FusedConvolution for block in model.interactions)
    assert all(type(block.symmetric_contractions) is FusedContraction for block in model.products)
    assert any(type(block.skip_tp) is FusedSelfConnection for block in model.interactions) == (name != "nonlinear")
    assert hasattr(model.radial_embedding, "embedding") == (name not in HALVED)
    for labels, part in zip(potential.evaluate(small_sets, features=True), small_sets, strict=True):
        assert_same_labels(labels, reference(path, part), 1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fused_and_e3nn_kernels_agree_to_their_precision(models, small_sets, dtype):
    fused, e3nn = (
        load_mace(models["vector"], Inference(device="cpu", default_dtype=dtype, kernels=kernels)).evaluate(
            small_sets, features=True
        )
        for kernels in ("fused", "e3nn")
    )
    for one, other in zip(fused, e3nn, strict=True):
        assert_same_labels(one, other, {"float32": 1e-4, "float64": 1e-12}[dtype])


def test_auto_is_fused_on_a_cpu_and_what_was_chosen_is_recorded(models):
    assert load_mace(models["scalar"], Inference(device="cpu")).describe()["kernels"] == "fused"
    e3nn = load_mace(models["scalar"], Inference(device="cpu", kernels="e3nn"))
    assert e3nn.describe()["kernels"] == "e3nn"
    assert all(isinstance(block.conv_tp, o3.TensorProduct) for block in e3nn._model.interactions)


def test_atoms_without_neighbours_are_evaluated(models):
    """Alone, and in a batch with others."""
    far = Configurations(np.array([1, 7]), np.array([[[0.0, 0, 0], [50.0, 0, 0]]]))
    sets = [far, rattled(molecule("NH3"), 2, 1)]
    expected = reference(models["scalar"], far)
    for kernels in ("fused", "e3nn"):
        potential = load_mace(models["scalar"], Inference(device="cpu", kernels=kernels))
        [alone], together = (potential.evaluate(which, features=True) for which in ([far], sets))
        for labels in (alone, together[0]):
            assert not labels.forces.any()
            np.testing.assert_allclose(labels.energies, expected.energies, rtol=1e-14)
            np.testing.assert_allclose(labels.features, expected.features, atol=1e-14)


def graphs_of_clusters() -> Graphs:
    """Receivers of 1 to 20 edges, some of none, and two elements."""
    loose = Configurations(np.array([1, 7, 7]), np.array([[[0.0, 0, 0], [2.0, 0, 0], [60.0, 0, 0]]]))
    return build_graphs([loose, rattled(molecule("NH3"), 2, 1), rattled(molecule("C6H6"), 2, 2)], PairLists(4.0))


def announced(graphs: Graphs, species: np.ndarray, *, halved: bool) -> Current:
    current = Current()
    current.arrangement = arrange(graphs, species, torch.device("cpu"), torch.float64, halved=halved)
    return current


@pytest.mark.parametrize(
    ("senders", "harmonics"),
    [("5x0e", "1x0e+1x1o+1x2e"), ("3x0e+3x1o", "1x0e+1x1o"), ("2x0e+2x0o+3x1o+2x2e", "1x0e+1x1o+1x2e+1x3o")],
)
@pytest.mark.parametrize("halved", [True, False])
def test_convolution_equals_tensor_product_and_scatter(senders, harmonics, halved):
    from mace.modules.irreps_tools import tp_out_irreps_with_instructions

    senders, harmonics = o3.Irreps(senders), o3.Irreps(harmonics)
    middle, instructions = tp_out_irreps_with_instructions(senders, harmonics, o3.Irreps("0e+0o+1o+1e+2e+2o+3o"))
    torch.manual_seed(0)
    options = {"instructions": instructions, "shared_weights": False, "internal_weights": False}
    product = o3.TensorProduct(senders, harmonics, middle, **options).double()
    assert mace_modules.is_channelwise_product(product)
    graphs = graphs_of_clusters()
    n_atoms, n_edges = len(graphs.numbers), graphs.n_edges
    edges = torch.as_tensor(graphs.edges)
    inputs = [
        torch.randn(shape, dtype=torch.float64, requires_grad=True)
        for shape in (
            (n_atoms, senders.dim),
            (n_edges, harmonics.dim),
            (n_edges // 2 if halved else n_edges, product.weight_numel),
        )
    ]
    x, y, w = inputs
    current = announced(graphs, np.zeros(n_atoms, dtype=int), halved=halved)
    assert len(current.arrangement.receivers) == 2  # of few and of many edges
    found = FusedConvolution(product, current).double()(x, y, w, edges)
    every_weight = torch.cat([w, w]) if halved else w
    expected = scatter_sum(product(x[edges[0]], y, every_weight), edges[1], dim=0, dim_size=n_atoms)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    direction = torch.randn_like(found)
    pairs = zip(*(torch.autograd.grad(values, inputs, direction) for values in (found, expected)), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


def announced_atoms(species: np.ndarray) -> Current:
    """Atoms without edges."""
    atoms = Configurations(np.ones(len(species), dtype=int), 9.0 * np.eye(len(species), 3)[None])
    return announced(build_graphs([atoms], PairLists(1.0)), species, halved=True)


@pytest.mark.parametrize(
    ("inputs", "outputs"), [("3x0e+2x1o", "4x0e+5x1o"), ("3x0e", "3x0e+2x1o"), ("2x0e+3x0e+2x1o", "2x0e")]
)
def test_self_connection_equals_the_tensor_product_with_one_hot_elements(inputs, outputs):
    torch.manual_seed(0)
    product = o3.FullyConnectedTensorProduct(inputs, "4x0e", outputs).double()
    assert mace_modules.is_product_with_elements(product)
    species = np.array([3, 0, 3, 1, 0, 0, 3])
    x = torch.randn(7, o3.Irreps(inputs).dim, dtype=torch.float64, requires_grad=True)
    found = FusedSelfConnection(product, announced_atoms(species))(x, None)
    expected = product(x, torch.nn.functional.one_hot(torch.as_tensor(species), 4).double())
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    one, other = (torch.autograd.grad(values.square().sum(), x)[0] for values in (found, expected))
    torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("correlation", [1, 2, 3])
@pytest.mark.parametrize("outputs", ["3x0e", "3x0e+3x1o+3x2e"])
def test_contraction_has_the_value_and_gradient_of_the_one_of_mace(correlation, outputs):
    torch.manual_seed(0)
    contraction = SymmetricContraction(
        o3.Irreps("3x0e+3x1o+3x2e"), o3.Irreps(outputs), correlation=correlation, num_elements=4
    ).double()
    species = np.array([3, 0, 3, 1, 0, 0, 3])
    x = torch.randn(7, 3, 9, dtype=torch.float64, requires_grad=True)
    found = FusedContraction(contraction, announced_atoms(species))(x, None)
    expected = contraction(x, torch.nn.functional.one_hot(torch.as_tensor(species), 4).double())
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    direction = torch.randn_like(found)
    one, other = (torch.autograd.grad(values, x, direction)[0] for values in (found, expected))
    torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


def test_a_fused_contraction_follows_its_weights_to_another_precision():
    contraction = SymmetricContraction(o3.Irreps("3x0e+3x1o"), o3.Irreps("3x0e"), correlation=2, num_elements=1)
    fused = FusedContraction(contraction.double(), Current())
    x = torch.rand(5, 3, 4, dtype=torch.float64)
    double = fused(x, None)
    torch.testing.assert_close(fused.float()(x.float(), None), double.float(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("factor", [0.9, np.nan])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_that_compute_another_model_are_refused(models, monkeypatch, dtype, factor):
    """As those of another version of MACE, whose blocks might use what was replaced in another way."""
    monkeypatch.setattr(FusedConvolution, "forward", lambda self, *args: factor * forward(self, *args))
    inference = Inference(device="cpu", default_dtype=dtype)
    with pytest.raises(InvalidSettings, match=r"kernels = 'fused' changes this model: .* forces by .* Take 'e3nn'"):
        load_mace(models["scalar"], inference)
    load_mace(models["scalar"], inference.model_copy(update={"kernels": "e3nn"}))


def parts_of_mace(model) -> dict[str, object]:
    """Everything that the fused kernels read of a model, by the function that reads it."""
    block, product = model.interactions[1], model.products[1]
    contraction = product.symmetric_contractions
    return {
        "replaceable_convolutions": mace_modules.replaceable_convolutions(model),
        "couplings": mace_modules.couplings(block.conv_tp),
        "is_product_with_elements": mace_modules.is_product_with_elements(block.skip_tp),
        "element_matrices": mace_modules.element_matrices(block.skip_tp),
        "is_contraction": mace_modules.is_contraction(contraction),
        "has_one_element": not mace_modules.has_one_element(contraction),
        "coefficients_by_degree": mace_modules.coefficients_by_degree(contraction.contractions[0], 0),
        "has_plain_radial_embedding": mace_modules.has_plain_radial_embedding(model),
    }


def test_the_installed_mace_has_the_parts_that_the_fused_kernels_read(tmp_path):
    """Fails first, and with the versions, when another mace-torch or e3nn has renamed one of them."""
    versions = {name: importlib.metadata.version(name) for name in ("mace-torch", "e3nn")}
    model = load_mace(save_random_mace(tmp_path / "a.model"), Inference(device="cpu", kernels="e3nn"))._model
    try:
        found = parts_of_mace(model)
    except Exception as error:
        pytest.fail(f"the fused kernels do not know the modules of {versions}: {error!r}")
    assert all(found.values()), f"{[name for name, part in found.items() if not part]} with {versions}"


def test_fused_kernels_that_do_not_know_a_module_are_refused_with_the_versions(models, monkeypatch):
    monkeypatch.delattr(o3.TensorProduct, "weight_views")
    with pytest.raises(InvalidSettings, match=r"does not know the modules of mace-torch \d.*weight_views.*take 'e3nn'"):
        load_mace(models["scalar"], Inference(device="cpu", kernels="fused"))


def test_cueq_without_its_package_is_refused_with_the_remedy(models, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "cuequiv" in name else find(name))
    with pytest.raises(InvalidSettings, match="kernels = 'cueq' needs the package cuequivariance-torch"):
        load_mace(models["scalar"], Inference(device="cpu", kernels="cueq"))


@pytest.mark.skipif(importlib.util.find_spec("cuequivariance_torch") is None, reason="cuequivariance-torch is absent")
def test_cueq_without_its_gpu_kernels_is_refused_on_a_gpu_only(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "_ops_" in name else find(name))
    assert choose_kernels("cueq", torch.device("cpu")) == "cueq"
    with pytest.raises(InvalidSettings, match="on a GPU its kernels \\(cuequivariance-ops-torch-cu12\\)"):
        choose_kernels("cueq", torch.device("cuda"))


@pytest.mark.parametrize(
    ("missing", "device", "expected"),
    [
        ((), "cuda", "cueq"),
        (("cuequivariance_ops_torch",), "cuda", "e3nn"),
        (("cuequivariance_torch",), "cuda", "e3nn"),
        ((), "cpu", "fused"),
    ],
)
def test_auto_takes_cueq_on_a_gpu_where_all_of_it_is_installed(monkeypatch, missing, device, expected):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else object())
    assert choose_kernels("auto", torch.device(device)) == expected


def as_on_a_gpu_with_cueq(monkeypatch, kernels_of):
    """Let auto choose cueq, and replace what converts a model to it."""
    monkeypatch.setattr(mace_model, "choose_kernels", lambda wanted, device: "cueq" if wanted == "auto" else wanted)
    monkeypatch.setattr(mace_model, "with_kernels", kernels_of)


def fails(*_):
    raise RuntimeError("CUDA error: no kernel image is available for execution on the device")


def computes_something_else(model, *_):
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.01)
    return other, None


@pytest.mark.parametrize(
    ("kernels_of", "reason"), [(fails, "no kernel image is available"), (computes_something_else, "changes this model")]
)
def test_auto_keeps_the_own_kernels_where_cueq_does_not_compute_the_model_and_says_why(
    models, small_sets, monkeypatch, kernels_of, reason
):
    with monkeypatch.context() as patch:
        as_on_a_gpu_with_cueq(patch, kernels_of)
        with pytest.warns(UserWarning, match=rf"its own kernels \(e3nn\), for cueq: .*{reason}"):
            found = load_mace(models["scalar"], Inference(device="cpu"))
    own = load_mace(models["scalar"], Inference(device="cpu", kernels="e3nn"))
    assert found.describe() == own.describe()
    for ours, theirs in zip(found.evaluate(small_sets), own.evaluate(small_sets), strict=True):
        np.testing.assert_array_equal(ours.forces, theirs.forces)


def test_auto_keeps_cueq_where_it_computes_the_model(models, monkeypatch):
    as_on_a_gpu_with_cueq(monkeypatch, lambda model, *_: (copy.deepcopy(model), None))
    assert load_mace(models["scalar"], Inference(device="cpu")).describe()["kernels"] == "cueq"


@pytest.mark.skipif(importlib.util.find_spec("cuequivariance_torch") is None, reason="cuequivariance-torch is absent")
@pytest.mark.parametrize("variant", ["scalar", "vector", "two_heads"])
def test_cueq_gives_the_labels_of_mace_calculator(models, small_sets, variant):
    """On a CPU cuEquivariance has its reference implementation."""
    potential = load_mace(models[variant], Inference(device="cpu", kernels="cueq"))
    assert potential.describe()["kernels"] == "cueq"
    assert not any(isinstance(block.conv_tp, o3.TensorProduct) for block in potential._model.interactions)
    assert torch.get_default_dtype() == torch.float32
    path: Path = models[variant]
    for labels, part in zip(potential.evaluate(small_sets, features=True), small_sets, strict=True):
        assert_same_labels(labels, reference(path, part), 1e-10)
