"""Thermal expansion end to end, on argon with Lennard-Jones: WorkChains, provenance, dataset, refusals."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from argon import LENNARD_JONES, argon_atoms, merged
from ase import Atoms
from ase.build import bulk
from commands import call

from aiida_mbetrain import demo
from aiida_mbetrain.cli.plot import _phonon_figures as phonon_figures
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.from_graph import dataset_of, stage_nodes, stages_of
from aiida_mbetrain.datasets.hdf5 import read_dataset, write_dataset
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecules import detect_molecules
from aiida_mbetrain.settings import FreeEnergy
from aiida_mbetrain.workflows.quasi_harmonic import QuasiHarmonicWorkChain
from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain

MODEL = merged(LENNARD_JONES, {"parameters": {"rc": 9.0}})
EXPANSION: dict[str, Any] = {
    "thermal_expansion": True,
    "relax_input_cell": "full",
    "supercell_radius": 7.0,
    "fourier_interpolation_mesh": [4, 4, 4],
    "temperatures_K": [0.0, 30.0, 100.0],
    "volume_range": [0.0005, 0.97, 1.01, 1.05, 1.09, 1.13],
    "equation_of_state": "birch_murnaghan",
}
VOLUMES = ["V_0_9700", "V_1_0100", "V_1_0500", "V_1_0900", "V_1_1300"]
KEY = "training/quasi_harmonic/phonons/crystal[eq:T=30.00]/force_constants"
SMALL = {
    "md_sampling": {
        "temperature_K": 20.0,
        "finite_subsystem_filter": None,
        "md_crystal": {
            "ensemble": "NVT",
            "time_total_fs": 20.0,
            "time_equilibration_fs": 10.0,
            "sampling_interval_fs": 10.0,
            "time_step_fs": 5.0,
            "supercell_radius": 7.0,
        },
    },
    "quasi_harmonic": EXPANSION,
    "phonon_sampling": {
        "temperature_K": 30.0,
        "finite_subsystem_filter": {"n_molecules": [1]},
        "phonon_filter": {"k_point_mesh": "commensurate"},
        "n_frames": 2,
        "modes": "all",
        "force_constants_key": KEY,
    },
}


def quasi_harmonic(molecule: Atoms | None = None, *, crystal: Atoms | None = None, **changes: Any) -> orm.WorkChainNode:
    builder = QuasiHarmonicWorkChain.get_builder()
    builder.structure = orm.StructureData(ase=crystal or argon_atoms())
    builder.model = orm.Dict(MODEL)
    builder.settings = orm.Dict(EXPANSION | changes)
    if molecule is not None:
        builder.molecule = orm.StructureData(ase=molecule)
    return run_get_node(builder)[1]


def training_set(**changes: Any) -> orm.WorkChainNode:
    builder = TrainingSetWorkChain.get_builder_from_protocol(
        orm.StructureData(ase=argon_atoms()), orm.Dict(MODEL), protocol="fast", overrides=merged(SMALL, changes)
    )
    builder.quasi_harmonic.molecule = orm.StructureData(ase=Atoms("Ar"))
    return run_get_node(builder)[1]


def called(node: orm.WorkChainNode) -> dict[str, orm.ProcessNode]:
    links = node.base.links.get_outgoing().all()
    return {link.link_label: link.node for link in links if link.link_type.value.startswith("call")}


def advised(text: str, field: str) -> float:
    """The number that a message says to add to a range."""
    found = re.search(rf"extrapolates it to .*; add (-?\d+\.\d+) (?:\(GPa\) )?to {field}", text)
    assert found is not None, text
    return float(found.group(1))


def reports(node: orm.WorkChainNode) -> str:
    return "\n".join(log.message for log in orm.Log.collection.get_logs_for(node))


@pytest.fixture(scope="module")
def expanded(profile) -> orm.WorkChainNode:
    """A training set sampled at the volume of 30 K; one volume fails, one temperature has no minimum."""
    node = training_set()
    assert node.is_finished_ok, f"{node.exit_status} {node.exit_message}"
    return node


@pytest.fixture(scope="module")
def stage(expanded) -> orm.WorkChainNode:
    return stages_of(expanded)[1]


@pytest.fixture(scope="module")
def section(expanded, tmp_path_factory) -> Any:
    path = tmp_path_factory.mktemp("expansion") / "set.hdf5"
    path.write_bytes(expanded.outputs.dataset.get_content("rb"))
    return read_dataset(path)


def test_every_volume_and_every_equilibrium_is_a_step_of_its_own(stage):
    steps = called(stage)
    crystals = {name for name, node in steps.items() if node.process_label == "HarmonicCrystalWorkChain"}
    assert crystals == {"V_0_0005", *VOLUMES, "T_0_00", "T_30_00"}
    assert set(called(steps["V_1_0100"])) == {"relaxation", "force_constants", "phonon_bands", "thermodynamics"}
    assert {"relaxation", "force_constants", "isolated_molecule", "thermal_expansion", "sublimation"} <= set(steps)


def test_provenance_leads_from_the_expanded_crystal_to_every_volume(stage):
    start = called(stage)["T_30_00"].inputs.structure
    fit = start.creator
    assert fit.process_label == "thermal_expansion"
    assert fit.uuid == stage.outputs.equilibrium.creator.uuid
    for name in VOLUMES:
        thermodynamics = stage.outputs.volumes[name]["thermodynamics"]
        assert fit.inputs[name].thermodynamics.uuid == thermodynamics.uuid
        assert thermodynamics.creator.caller.uuid == called(stage)[name].uuid


def test_all_volumes_use_the_supercell_of_the_reference(stage):
    wanted = stage.outputs.force_constants.get_array("supercell_matrix")
    for nodes in (*stage.outputs.volumes.values(), *stage.outputs.equilibrium_crystals.values()):
        assert np.array_equal(nodes["force_constants"].get_array("supercell_matrix"), wanted)


def test_failed_volume_is_reported_and_left_out(stage):
    facts = stage.outputs.samples["V_0_0005"]
    assert facts["used"] is False
    assert "[203]" in facts["removed_by"]
    assert "crystal[eos:V=0.0005] is left out of the fits" in reports(stage)
    assert [name for name, one in stage.outputs.samples.get_dict().items() if one["used"]] == VOLUMES


def test_temperature_without_minimum_is_reported_with_the_sampled_volumes(stage):
    table = stage.outputs.equilibrium.to_science()
    assert table["bracketed"].tolist() == [True, True, False]
    assert np.isnan(table["V_A3"][2])
    said = "at 100.0 K the free energy has no minimum between 35.30 and 41.12 Å³: the fit has no minimum at all"
    assert said in reports(stage)


def test_crystal_at_equilibrium_has_the_volume_and_the_free_energy_of_the_fit(stage):
    table = stage.outputs.equilibrium.to_science()
    assert table["V_A3"][1] > table["V_A3"][0] > stage.outputs.structure.get_cell_volume()
    for i, name in enumerate(("T_0_00", "T_30_00")):
        nodes = stage.outputs.equilibrium_crystals[name]
        assert nodes["structure"].get_cell_volume() == pytest.approx(table["V_A3"][i], rel=1e-9)
        static = nodes["relaxed"].get_array("energies")[0] * 96.4853321  # kJ/mol
        total = static + nodes["thermodynamics"].get_array("F_vib_kJ_per_mol")[0]
        assert total == pytest.approx(table["F_tot_kJ_per_mol"][i], abs=2e-3)
        assert nodes["thermodynamics"].get_array("temperature_K").tolist() == [[0.0, 30.0][i]]


def test_free_energy_at_zero_kelvin_is_static_plus_zero_point(stage):
    table = stage.outputs.equilibrium.to_science()
    nodes = stage.outputs.equilibrium_crystals["T_0_00"]
    zero_point = nodes["thermodynamics"].get_array("ZPE_kJ_per_mol")[0]
    assert zero_point > 0.5
    static = nodes["relaxed"].get_array("energies")[0] * 96.4853321
    assert table["F_tot_kJ_per_mol"][0] == pytest.approx(static + zero_point, abs=2e-3)


def test_phonons_are_sampled_from_the_crystal_that_the_key_names(expanded, stage, section):
    used = called(expanded)["phonon_sampling"].inputs.force_constants
    assert used.uuid == stage.outputs.equilibrium_crystals["T_30_00"]["force_constants"].uuid
    assert section.phonons[0].force_constants_key == KEY
    volume = section.phonons[0].molecules.frames.volumes[0] / section.phonons[0].molecules.frames.n_atoms
    assert volume == pytest.approx(stage.outputs.equilibrium.get_array("V_A3")[1])


def test_dataset_holds_every_crystal_under_its_label(section):
    [found] = section.quasi_harmonic
    crystals = {
        "crystal[opt:atoms,shape,V]",
        *(f"crystal[eos:V={ratio:.4f}]" for ratio in EXPANSION["volume_range"][1:]),
        "crystal[eq:T=0.00]",
        "crystal[eq:T=30.00]",
    }
    assert set(found.structures) == crystals | {"molecule[opt:atoms]"}
    assert set(found.force_constants) == set(found.bands) == crystals
    assert "process_uuid" in found.provenance["phonons/crystal[eq:T=30.00]/force_constants"]


def test_dataset_has_the_tables_under_the_names_that_readers_look_up(section):
    [found] = section.quasi_harmonic
    equilibrium = found.thermodynamics_equilibrium_volume
    assert equilibrium["T (K)"].tolist() == [0.0, 30.0]
    assert list(equilibrium[names.SYSTEM_LABEL_CRYSTAL]) == ["crystal[eq:T=0.00]", "crystal[eq:T=30.00]"]
    assert np.allclose(equilibrium[names.V_CRYSTAL], equilibrium[names.V_EOS])
    assert np.allclose(equilibrium[names.F_TOT_CRYSTAL], equilibrium[names.F_TOT_EOS], atol=2e-3)
    sampled = found.eos_sampled
    assert len(sampled[names.V_CRYSTAL]) == 5 * 3
    assert sampled[names.USED_IN_FIT].all()
    assert set(found.thermodynamics_fixed_volume.columns) <= set(sampled.columns) | set(equilibrium.columns)
    curves = found.eos_interpolated
    assert curves[names.F_SAMPLED].shape == curves[names.V_SAMPLED].shape == (3, 5)
    assert np.isnan(curves[names.V_MIN]).tolist() == [False, False, True]
    rows = sampled["T (K)"] == 30.0
    assert np.allclose(curves[names.F_SAMPLED][1], sampled[names.F_TOT_CRYSTAL][rows])
    assert "eos_sampled" in found.provenance


def test_sublimation_is_that_of_a_monatomic_gas(stage, section):
    table = stage.outputs.sublimation_equilibrium.to_science()
    equilibrium = stage.outputs.equilibrium.to_science()
    assert np.allclose(table["E_el_molecule_kJ_per_mol"], 0.0)
    assert table["G_sub_kJ_per_mol"][0] == pytest.approx(-equilibrium["F_tot_kJ_per_mol"][0], abs=2e-3)
    assert stage.outputs.molecule.summary["geometry"] == "monatomic"
    columns = section.quasi_harmonic[0].thermodynamics_equilibrium_volume
    assert np.array_equal(columns["H_sub (kJ∕mol∕molecule)"], table["H_sub_kJ_per_mol"])


def test_volume_and_pressure_sampling_agree(stage):
    node = quasi_harmonic(
        eos_sampling="pressure", pressure_range=[0.15, 0.0, -0.05, -0.1, -0.15], temperatures_K=[30.0, 50.0]
    )
    assert node.is_finished_ok, node.exit_message
    assert "p_thermal_minus_0_1500" in node.outputs.volumes
    ours, other = (one.outputs.equilibrium.to_science() for one in (node, stage))
    assert ours["V_A3"][0] == pytest.approx(other["V_A3"][1], rel=1e-3)
    assert ours["F_tot_kJ_per_mol"][0] == pytest.approx(other["F_tot_kJ_per_mol"][1], abs=1e-3)
    assert ours["bulk_modulus_GPa"][0] == pytest.approx(other["bulk_modulus_GPa"][1], rel=0.03)
    # the reference of both is the same crystal, and a static crystal under no pressure
    zero = node.outputs.volumes["p_thermal_0_0000"]["structure"].get_cell_volume()
    assert zero == pytest.approx(stage.outputs.structure.get_cell_volume(), rel=1e-4)
    # 50 K is beyond the range; the report says how far to go
    assert ours["bracketed"].tolist() == [True, False]
    assert -0.25 < advised(reports(node), "pressure_range") < -0.16


def test_too_few_volumes_left_is_an_error_that_says_what_removed_the_others():
    node = quasi_harmonic(volume_range=[0.0005, 0.97, 1.0, 1.03, 1.7], filter_out_imaginary_acoustic=True)
    assert node.exit_status == 454
    assert "filter_out_imaginary_acoustic removes 1" in node.exit_message
    assert "crystal[eos:V=0.0005] failed" in node.exit_message


def test_no_minimum_at_all_names_the_ratio_that_brackets_it(stage):
    node = quasi_harmonic(volume_range=[0.86, 0.89, 0.92, 0.95], temperatures_K=[30.0])
    assert node.exit_status == 455
    ratio = advised(node.exit_message, "volume_range")
    assert ratio * stage.outputs.structure.get_cell_volume() > stage.outputs.equilibrium.get_array("V_A3")[1]


def test_no_minimum_at_all_names_the_pressure_that_brackets_it(stage):
    """It pulls more than the vibrations push."""
    node = quasi_harmonic(eos_sampling="pressure", pressure_range=[0.3, 0.2, 0.1, 0.05], temperatures_K=[30.0])
    assert node.exit_status == 455
    pressure = advised(node.exit_message, "pressure_range")
    assert pressure < stage.outputs.equilibrium.get_array("thermal_pressure_GPa")[1]


def test_imaginary_modes_are_reported_and_their_volume_is_left_out():
    """Hexagonal close-packed argon has optical modes; beyond the spinodal volume many modes are imaginary."""
    crystal = bulk("Ar", "hcp", a=3.72, c=6.07)
    node = quasi_harmonic(crystal=crystal, volume_range=[0.97, 1.01, 1.05, 1.09, 1.7], temperatures_K=[20.0])
    assert node.is_finished_ok, node.exit_message
    samples = node.outputs.samples.get_dict()
    removed = {name: one["removed_by"] for name, one in samples.items() if not one["used"]}
    assert removed == {"V_1_7000": "filter_out_imaginary_optical"}
    assert "crystal[eos:V=1.7000] is left out of the fits: filter_out_imaginary_optical" in reports(node)
    table = node.outputs.volumes["V_1_7000"]["thermodynamics"].to_science()
    n_imaginary, n_modes = (int(table[name][0]) for name in ("n_imaginary_modes", "n_modes"))
    assert n_imaginary > 100
    said = reports(called(node)["V_1_7000"])
    n_left_out = int(table["n_left_out_modes"][0])
    assert n_left_out >= n_imaginary
    assert f"{n_left_out} of {n_modes} modes of the mesh have no real frequency and enter no sum" in said
    assert f"{n_imaginary} of them below imaginary_mode_threshold" in said
    attributes = node.outputs.volumes["V_1_7000"]["thermodynamics"].base.attributes
    assert attributes.get("n_left_out_modes") == n_left_out
    acoustic, optical = (table[f"{kind}_freq_min_THz"][0] for kind in ("acoustic", "optical"))
    assert f"lowest acoustic frequency {acoustic:.3f} THz, lowest optical {optical:.3f} THz" in said
    assert "no real frequency" not in reports(called(node)["V_1_0100"])


def test_volume_of_another_symmetry_is_left_out_by_name(stage):
    """A shear so small that the reference counts as relaxed; a much smaller, stiffer crystal goes back to fcc."""
    crystal = stage.outputs.structure.get_ase()
    shear = np.array([[1.0, 6e-5, 0.0], [6e-5, 1.0, 3e-5], [0.0, 3e-5, 1.0]])
    crystal.set_cell(crystal.cell.array @ shear, scale_atoms=True)
    node = quasi_harmonic(
        crystal=crystal,
        volume_range=[0.8, 0.97, 1.0, 1.03, 1.06],
        temperatures_K=[0.0, 40.0],
        symmetrize_unit_cell=False,
        symmetry_tolerance_strict=1e-4,
    )
    assert node.is_finished_ok, node.exit_message
    groups = {name: one["relaxation"]["space_group"] for name, one in node.outputs.volumes.items()}
    assert groups.pop("V_0_8000") == "Fm-3m"
    assert set(groups.values()) == {node.outputs.relaxation["space_group"]} == {"P-1"}
    samples = node.outputs.samples.get_dict()
    removed = {name: one["removed_by"] for name, one in samples.items() if not one["used"]}
    assert removed == {"V_0_8000": "filter_out_broken_symmetry"}
    assert "crystal[eos:V=0.8000] is left out of the fits: filter_out_broken_symmetry" in reports(node)
    table = node.outputs.equilibrium.to_science()
    assert table["bracketed"].tolist() == [True, False]
    assert (
        advised(reports(node), "volume_range") * crystal.get_volume()
        > table["V_fit_A3"][1]
        > 1.06 * crystal.get_volume()
    )


@pytest.mark.parametrize(
    ("label", "link", "changes"),
    [
        ("crystal[eos:V=1.0300]", "V_1_0300", {"volume_range": [0.99, 1.03, 1.07, 1.11]}),
        (
            "crystal[eos:p_thermal=-0.1000]",
            "p_thermal_minus_0_1000",
            {"eos_sampling": "pressure", "pressure_range": [0.1, 0.0, -0.1, -0.15]},
        ),
    ],
)
def test_phonons_are_sampled_from_any_sampled_crystal(label, link, changes, tmp_path):
    key = f"training/quasi_harmonic/phonons/{label}/force_constants"
    node = training_set(
        quasi_harmonic=changes | {"temperatures_K": [30.0]}, phonon_sampling={"force_constants_key": key}
    )
    assert node.is_finished_ok, f"{node.exit_status} {node.exit_message}"
    crystal = node.outputs.quasi_harmonic.volumes[link]
    assert called(node)["phonon_sampling"].inputs.force_constants.uuid == crystal["force_constants"].uuid
    path = tmp_path / "set.hdf5"
    path.write_bytes(node.outputs.dataset.get_content("rb"))
    [sampled] = read_dataset(path).phonons
    assert sampled.force_constants_key == key
    frames = sampled.molecules.frames
    assert frames.volumes[0] / frames.n_atoms == pytest.approx(crystal["structure"].get_cell_volume(), rel=1e-9)


def test_plot_draws_every_crystal_at_equilibrium_and_the_expansion(expanded, stage, tmp_path):
    told = [Path(line) for line in call("plot", expanded.pk, "-o", tmp_path / "all").split()]
    alone = [Path(line) for line in call("plot", stage.pk, "-o", tmp_path / "stage").split()]
    of_the_stage = {
        "phonon_bands.png",
        "phonon_bands_T_0_00.png",
        "phonon_bands_T_30_00.png",
        "phonon_density_of_states.png",
        "free_energy.png",
        "thermal_expansion.png",
    }
    assert {path.name for path in alone} == of_the_stage
    assert {path.name for path in told} == of_the_stage | {"molecular_dynamics.png", "phonon_clusters.png"}
    for path in (*told, *alone):
        pixels = matplotlib.image.imread(path)
        assert min(pixels.shape[:2]) > 200
        assert pixels[..., :3].std() > 0.02


def test_figures_of_the_expansion_show_its_tables(stage):
    [nodes] = stage_nodes([stage]).values()
    figures = dict(phonon_figures(nodes, {"freq_min_THz": 0.1, "freq_max_THz": 8.0}, KEY))
    assert figures["phonon_bands_T_30_00"].get_suptitle().endswith("phonons of crystal[eq:T=30.00]")
    marked = {
        name for name, figure in figures.items() if "sampled" in [text.get_text() for text in figure.axes[0].texts]
    }
    assert marked == {"phonon_bands_T_30_00"}
    legend = figures["phonon_density_of_states"].axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["crystal[opt:atoms,shape,V]", "crystal[eq:T=30.00]"]
    table = stage.outputs.equilibrium.to_science()
    volumes, static = figures["thermal_expansion"].axes[0].lines[:2]
    assert np.array_equal(volumes.get_ydata(), table["V_A3"], equal_nan=True)
    assert static.get_ydata()[0] == pytest.approx(stage.outputs.structure.get_cell_volume())
    diamonds = next(line for line in figures["free_energy"].axes[0].lines if line.get_marker() == "D")
    assert np.array_equal(diamonds.get_xdata(), table["V_A3"], equal_nan=True)


def test_bands_of_a_sampled_volume_are_drawn_where_its_phonons_are_sampled(stage):
    [nodes] = stage_nodes([stage]).values()
    names = {name for name, _ in phonon_figures(nodes, {}, KEY.replace("eq:T=30.00", "eos:V=1.0500"))}
    assert "phonon_bands_V_1_0500" in names


def test_default_of_the_stage_is_that_of_its_settings():
    default = QuasiHarmonicWorkChain.spec().inputs["settings"].default()
    assert default.get_dict() == FreeEnergy().to_dict()
    assert default["thermal_expansion"] is True
    assert TrainingSetWorkChain.spec().inputs["quasi_harmonic"]["settings"].default().get_dict() == default.get_dict()


def test_wrong_key_is_refused_before_anything_runs():
    node = training_set(phonon_sampling={"force_constants_key": KEY.replace("30.00", "31.00")})
    assert node.exit_status == 201
    assert KEY in node.exit_message
    assert called(node) == {}


def test_molecule_of_another_crystal_is_refused_before_anything_runs():
    node = quasi_harmonic(molecule=Atoms("N2", [(0, 0, 0), (0, 0, 1.1)]))
    assert node.exit_status == 203
    assert "does not make up the crystal" in node.exit_message
    assert called(node) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"relax_input_cell": "only_atoms"}, "only_atoms"),
        ({"volume_range": [0.98, 1.0, 1.02]}, "volume_range"),
        ({"volume_range": [0.98, 1.0, 1.02, 1.02]}, "different"),
        ({"eos_sampling": "pressure", "pressure_range": [0.0]}, "pressure_range"),
        ({"temperatures_K": [10.001, 10.002]}, "temperatures_K"),
    ],
)
def test_settings_without_an_equation_of_state_are_refused_by_the_port(changes, message):
    with pytest.raises(ValueError, match=message):
        quasi_harmonic(**changes)


@pytest.mark.slow
def test_two_runs_give_the_same_dataset(tmp_path: Path):
    digests = [
        write_dataset(
            tmp_path / str(i), dataset_of(stage_nodes([quasi_harmonic(temperatures_K=[30.0])])), provenance=False
        )
        for i in range(2)
    ]
    assert digests[0] == digests[1]


@pytest.mark.slow
def test_demo_crystal_and_its_molecule_from_relaxation_to_sublimation(profile):
    """Every step on a MACE model; the smallest supercell, so filters that judge its phonons are off."""
    crystal = demo.crystal()
    found = detect_molecules(Configurations.from_atoms(crystal))
    builder = QuasiHarmonicWorkChain.get_builder()
    builder.structure = orm.StructureData(ase=crystal)
    builder.model = MaceModelData.get_or_create(demo.model_path())
    builder.molecule = orm.StructureData(ase=Atoms(found.numbers, found.positions))
    builder.settings = orm.Dict(
        EXPANSION
        | {
            "supercell_radius": 6.0,
            "temperatures_K": [0.0, 100.0],
            "volume_range": [0.92, 0.96, 1.0, 1.04, 1.08],
            "max_force_on_atom": 1e-3,
            "filter_out_imaginary_optical": False,
            "filter_out_left_out_optical": False,
            "filter_out_extrapolated_minimum": False,
        }
    )
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    equilibrium = node.outputs.equilibrium.to_science()
    relaxed = node.outputs.structure.get_cell_volume()
    assert np.all(np.abs(equilibrium["V_A3"] / relaxed - 1) < 0.15)
    assert np.all(equilibrium["bulk_modulus_GPa"] > 1)
    assert node.outputs.molecule.summary["symmetry_number"] == 12  # of T_d
    assert len(node.outputs.molecule.vibrations.get_array("frequency_THz")) == 3 * 22 - 6
    sublimation = node.outputs.sublimation_equilibrium.to_science()
    assert np.all(sublimation["E_lattice_kJ_per_mol"] < 0)
    assert sublimation["G_sub_kJ_per_mol"][0] > sublimation["G_sub_kJ_per_mol"][1] > 0


@pytest.mark.slow
def test_volume_and_pressure_sampling_agree_on_the_demo_crystal(profile):
    """With a MACE model and every filter on: two fits of the same F(V), through other points.

    At 1.2 GPa, because there all phonons are real on both sides of the minimum (see the model card).
    """
    common = {
        "supercell_matrix": [[2, 0, 0], [0, 2, 0], [0, 0, 2]],
        "pressure_GPa": 1.2,
        "temperatures_K": [0.0, 50.0, 100.0],
        "max_force_on_atom": 1e-4,
        "filter_out_imaginary_acoustic": True,
    }
    sampled = {
        "volume": {"volume_range": [0.985, 0.995, 1.005, 1.015, 1.025, 1.035, 1.045, 1.055]},
        "pressure": {"pressure_range": [0.5, 0.25, 0.0, -0.25, -0.5, -0.7, -0.95, -1.2]},
    }
    found = {}
    for how, points in sampled.items():
        builder = QuasiHarmonicWorkChain.get_builder()
        builder.structure = orm.StructureData(ase=demo.crystal())
        builder.model = MaceModelData.get_or_create(demo.model_path())
        builder.settings = orm.Dict(EXPANSION | common | points | {"eos_sampling": how})
        _, node = run_get_node(builder)
        assert node.is_finished_ok, node.exit_message
        assert len(node.outputs.volumes) == 8
        found[how] = node.outputs.equilibrium.to_science()
    ours, other = found["volume"], found["pressure"]
    assert ours["bracketed"].all()
    assert other["bracketed"].all()
    np.testing.assert_allclose(ours["V_A3"], other["V_A3"], rtol=1e-4)
    np.testing.assert_allclose(ours["F_tot_kJ_per_mol"], other["F_tot_kJ_per_mol"], atol=0.01)
    np.testing.assert_allclose(ours["bulk_modulus_GPa"], other["bulk_modulus_GPa"], rtol=0.02)
