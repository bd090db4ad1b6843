"""Every declared input port of the WorkChains reaches what it is for, and refuses what it cannot take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.engine.processes.ports import InputPort, PortNamespace
from argon import ARGON_SETTINGS, LENNARD_JONES, argon_atoms, argon_settings
from ase.build import molecule
from models import save_random_mace

from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.settings import FreeEnergy, MDSampling, PhononSampling
from aiida_mbetrain.workflows.heavy_stages import HEAVY
from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain
from aiida_mbetrain.workflows.phonon_sampling import PhononSamplingWorkChain
from aiida_mbetrain.workflows.quasi_harmonic import QuasiHarmonicWorkChain
from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain

WORKCHAINS = (MDSamplingWorkChain, QuasiHarmonicWorkChain, PhononSamplingWorkChain, TrainingSetWorkChain)
RESTARTS = (
    *("clean_workdir", "handler_overrides", "max_iterations", "on_unhandled_failure", "pause_on_max_iterations"),
    "continue_cancelled",
)
"""Ports of the restart WorkChains, most of them those of aiida, which the namespaces of the jobs pass on."""


def leaves(namespace: PortNamespace, prefix: str = "") -> Iterator[tuple[str, InputPort]]:
    """Ports by dotted name; the metadata that AiiDA gives every process left out."""
    for name, port in namespace.items():
        if name == "metadata":
            continue
        if isinstance(port, PortNamespace):
            yield from leaves(port, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", port


def ports_of(workchain: Any) -> dict[str, InputPort]:
    return dict(leaves(workchain.spec().inputs))


def is_of_a_job(name: str) -> bool:
    """Whether the port belongs to running stages as jobs, whose own tests show what it does."""
    parts = name.split(".")
    return name == "code" or (len(parts) > 1 and parts[-2] in HEAVY and parts[-1] in RESTARTS)


# A value for each port that ends the process with an exit code that only this port can have caused.
OTHER_CALCULATOR = {"name": "emt"}
MODEL, STRUCTURE, SMALL, MESH, HEAD = 202, 203, 206, 207, 201
REACHES: dict[tuple[str, str], int] = {
    ("MDSamplingWorkChain", "structure"): STRUCTURE,
    ("MDSamplingWorkChain", "model"): MODEL,
    ("MDSamplingWorkChain", "inference"): HEAD,
    ("MDSamplingWorkChain", "settings"): SMALL,
    ("QuasiHarmonicWorkChain", "structure"): STRUCTURE,
    ("QuasiHarmonicWorkChain", "model"): MODEL,
    ("QuasiHarmonicWorkChain", "inference"): HEAD,
    ("QuasiHarmonicWorkChain", "settings"): SMALL,
    ("PhononSamplingWorkChain", "force_constants"): MESH,
    ("PhononSamplingWorkChain", "model"): MODEL,
    ("PhononSamplingWorkChain", "inference"): HEAD,
    ("PhononSamplingWorkChain", "settings"): MESH,
    ("TrainingSetWorkChain", "structure"): STRUCTURE,
    ("TrainingSetWorkChain", "model"): MODEL,
    ("TrainingSetWorkChain", "inference"): HEAD,
    ("TrainingSetWorkChain", "md_sampling.settings"): SMALL,
    ("TrainingSetWorkChain", "quasi_harmonic.settings"): SMALL,
    ("TrainingSetWorkChain", "phonon_sampling.settings"): MESH,
}
ELSEWHERE = {
    ("QuasiHarmonicWorkChain", "molecule"),
    ("TrainingSetWorkChain", "quasi_harmonic.molecule"),
    ("MDSamplingWorkChain", "n_jobs"),
    ("PhononSamplingWorkChain", "n_jobs"),
    ("TrainingSetWorkChain", "md_sampling.n_jobs"),
    ("TrainingSetWorkChain", "phonon_sampling.n_jobs"),
}
"""The tests of sublimation and of label jobs show what these do."""
OF_REPLICAS = ("supercell", "relaxed_structure", "trajectory", "thermodynamics", "outcome")
ELSEWHERE |= {("MDSamplingWorkChain", f"replica.{name}") for name in OF_REPLICAS}
"""The tests of ReplicaSamplingWorkChain show what these do."""


def test_no_port_is_without_a_test():
    declared = {(w.__name__, name) for w in WORKCHAINS for name in ports_of(w) if not is_of_a_job(name)}
    assert declared == set(REACHES) | ELSEWHERE


@pytest.mark.parametrize("workchain", WORKCHAINS)
def test_every_port_refuses_a_value_of_another_type(workchain):
    for name, port in ports_of(workchain).items():
        error = port.validate(orm.Float(1.0))
        assert error is not None, name
        assert name.rpartition(".")[2] in str(error)


@pytest.mark.parametrize("workchain", WORKCHAINS)
def test_every_port_says_what_it_is_for(workchain):
    for name, port in ports_of(workchain).items():
        assert is_of_a_job(name) or port.help, name


def namespaces(namespace: PortNamespace, prefix: str = "") -> Iterator[tuple[str, PortNamespace]]:
    """The namespace itself and all within, but for the metadata."""
    yield prefix, namespace
    for name, port in namespace.items():
        if isinstance(port, PortNamespace) and name != "metadata":
            yield from namespaces(port, f"{prefix}{name}.")


@pytest.mark.parametrize("workchain", WORKCHAINS)
def test_misspelt_ports_are_refused_in_every_namespace(workchain):
    for where, namespace in namespaces(workchain.spec().inputs):
        error = namespace.validate({"setings": orm.Dict({})})
        assert error is not None, where
    with pytest.raises(AttributeError):
        workchain.get_builder().setings = orm.Dict({})


@pytest.fixture(scope="module")
def argon_model(profile, tmp_path_factory) -> MaceModelData:
    """A random MACE model that knows argon and has one head."""
    folder = tmp_path_factory.mktemp("models")
    return MaceModelData.get_or_create(save_random_mace(folder / "ar.model", elements=(18,), channels=2, seed=31))


def wrong_value(workchain: str, port: str, argon_model: MaceModelData) -> dict[str, Any]:
    """Arguments of the builder that make the port cause its exit code."""
    small = {"max_atoms": 3}
    mesh = {"phonon_filter": {"k_point_mesh": [5, 1, 1]}}
    settings = {
        "MDSamplingWorkChain": {"md_sampling": {"md_crystal": small}},
        "QuasiHarmonicWorkChain": {"quasi_harmonic": small},
        "PhononSamplingWorkChain": {"phonon_sampling": mesh},
    }
    return {
        "structure": lambda: {"source": orm.StructureData(ase=molecule("N2"))},
        "model": lambda: {"model": orm.Dict(OTHER_CALCULATOR)},
        "inference": lambda: {"model": argon_model, "overrides": argon_settings(inference={"head": "pbe"})},
        "settings": lambda: {"overrides": argon_settings(**settings[workchain])},
        "md_sampling.settings": lambda: {"overrides": argon_settings(md_sampling={"md_crystal": small})},
        "quasi_harmonic.settings": lambda: {"overrides": argon_settings(quasi_harmonic=small)},
        "phonon_sampling.settings": lambda: {"overrides": argon_settings(phonon_sampling=mesh)},
    }[port]()


@pytest.mark.parametrize(("workchain", "port"), [key for key in REACHES if key[1] != "force_constants"])
def test_every_port_reaches_what_it_is_for(workchain, port, finished, argon_model):
    process = next(w for w in WORKCHAINS if w.__name__ == workchain)
    constants = finished.outputs.quasi_harmonic.force_constants
    source = constants if process is PhononSamplingWorkChain else orm.StructureData(ase=argon_atoms())
    right = {"source": source, "model": orm.Dict(LENNARD_JONES), "overrides": ARGON_SETTINGS}
    given = right | wrong_value(workchain, port, argon_model)
    builder = process.get_builder_from_protocol(
        given["source"], given["model"], protocol="fast", overrides=given["overrides"]
    )
    _, node = run_get_node(builder)
    assert node.exit_status == REACHES[workchain, port], node.exit_message


def test_force_constants_are_those_that_are_sampled(finished):
    """A mesh that fits into one supercell does not fit into the other."""
    from aiida_mbetrain.data.conversion import as_node
    from aiida_mbetrain.science.configurations import Configurations
    from aiida_mbetrain.science.phonons import calculate_force_constants
    from aiida_mbetrain.science.potentials import named_calculator
    from aiida_mbetrain.settings import NamedCalculator

    wide = FreeEnergy(supercell_matrix=[[3, 0, 0], [0, 3, 0], [0, 0, 3]])
    potential = named_calculator(NamedCalculator(**LENNARD_JONES))
    other = as_node(calculate_force_constants(Configurations.from_atoms(argon_atoms()), potential, wide))
    wanted = argon_settings(phonon_sampling={"phonon_filter": {"k_point_mesh": [3, 1, 1]}, "n_frames": 1})
    status = []
    for constants in (finished.outputs.quasi_harmonic.force_constants, other):
        builder = PhononSamplingWorkChain.get_builder_from_protocol(
            constants, orm.Dict(LENNARD_JONES), protocol="fast", overrides=wanted
        )
        status.append(run_get_node(builder)[1].exit_status)
    assert status == [MESH, 0]


@pytest.mark.parametrize(
    ("workchain", "settings"),
    [
        (MDSamplingWorkChain, MDSampling),
        (QuasiHarmonicWorkChain, FreeEnergy),
        (PhononSamplingWorkChain, PhononSampling),
    ],
)
def test_settings_ports_refuse_with_the_message_of_the_settings(workchain, settings):
    port = ports_of(workchain)["settings"]
    error = port.validate(orm.Dict({"root_kye": "somewhere"}))
    assert error is not None
    assert f"{settings.__name__} has no field 'root_kye': did you mean 'root_key'?" in str(error)
    assert port.validate(orm.Dict(settings(**{"root_key": "somewhere"}).to_dict())) is None


def test_model_and_inference_ports_refuse_with_the_message_of_the_settings():
    ports = ports_of(TrainingSetWorkChain)
    assert "name = 'vasp'" in str(ports["model"].validate(orm.Dict({"name": "vasp"})))
    assert "did you mean 'default_dtype'" in str(ports["inference"].validate(orm.Dict({"dtype": "float32"})))
