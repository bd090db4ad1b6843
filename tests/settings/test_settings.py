"""Settings: names, units and defaults, what is accepted and refused, and that every field changes something."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from cheap_potentials import LennardJones, argon, carbon_dioxide, nitrogen, nitrogen_potential
from md_potentials import DumbbellCrystal, dumbbell_structure
from models import save_random_mace
from settings_catalog import CLASSES, FIELDS, IN_WORKFLOWS, REFERENCE, TRAINING

from aiida_mbetrain import settings
from aiida_mbetrain.errors import InvalidSettings, MbetrainError
from aiida_mbetrain.science.clusters import extract_clusters, select_clusters
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.crystal import make_supercell, md_supercell_matrix, phonon_supercell_matrix
from aiida_mbetrain.science.molecular_dynamics import run_molecular_dynamics
from aiida_mbetrain.science.molecules import detect_molecules
from aiida_mbetrain.science.phonons import ForceConstants, calculate_force_constants, plan_displacements, sample_phonons
from aiida_mbetrain.science.potentials import load_mace, named_calculator
from aiida_mbetrain.science.relaxation import relax
from aiida_mbetrain.science.stages import STAGES, Job
from aiida_mbetrain.science.subsampling.choice import pick_frames
from aiida_mbetrain.science.thermodynamics import (
    HarmonicThermodynamics,
    SampledVolume,
    harmonic_thermodynamics,
    thermal_expansion,
)
from aiida_mbetrain.science.thermodynamics.sampled_volumes import filtered_by
from aiida_mbetrain.settings import (
    ClassicalMD,
    FiniteSubsystemFilter,
    FreeEnergy,
    Inference,
    MDReplicas,
    MDSampling,
    NamedCalculator,
    PhononFilter,
    PhononSampling,
    Replica,
    Subsampling,
)

KEY = "training/quasi_harmonic/phonons/crystal[opt:atoms,shape]/force_constants"

DOCUMENTED = {
    ClassicalMD: {
        "ensemble": "NVT",
        "time_total_fs": 50000.0,
        "time_step_fs": 0.5,
        "sampling_interval_fs": 50.0,
        "time_equilibration_fs": 5000.0,
        "nvt_algo": "csvr",
        "npt_algo": "mtk_full",
        "thermostat_time_fs": 100.0,
        "barostat_time_fs": 1000.0,
        "tchain": 3,
        "pchain": 3,
        "supercell_radius": 25.0,
        "supercell_matrix": None,
        "supercell_diagonal": False,
        "masses": "natural",
    },
    MDSampling: {
        "temperature_K": 298.15,
        "pressure_GPa": 1.0e-4,
        "finite_subsystem_filter": FiniteSubsystemFilter(),
        "md_crystal": ClassicalMD(
            ensemble="NPT",
            time_total_fs=100000.0,
            time_step_fs=1.0,
            time_equilibration_fs=1000.0,
            sampling_interval_fs=1000.0,
            supercell_radius=15.0,
        ),
        "root_key": "training/md_sampling",
    },
    FiniteSubsystemFilter: {
        "selection_rule": "closest_to_central_molecule",
        "n_molecules": (1, 2, 3, 4, 5, 6, 7, 8),
        "distances": None,
        "assert_identical_composition": True,
    },
    PhononFilter: {"k_point_mesh": "gamma", "selected_modes": None, "freq_min_THz": 0.1, "freq_max_THz": 8.0},
    PhononSampling: {
        "temperature_K": 298.15,
        "phonon_filter": PhononFilter(),
        "finite_subsystem_filter": FiniteSubsystemFilter(),
        "time_step_fs": 100.0,
        "n_frames": 20,
        "root_key": "training/phonon_sampling",
        "force_constants_key": KEY,
    },
    FreeEnergy: {
        "thermal_expansion": True,
        "supercell_radius": 25.0,
        "relax_input_cell": "constant_volume",
        "fourier_interpolation_mesh": 150.0,
        "temperatures_K": (298.15,),
        "symmetrize_unit_cell": True,
        "symmetry_tolerance_loose": 1e-2,
        "symmetry_tolerance_strict": 1e-5,
        "max_force_on_atom": 1e-4,
        "relax_algo_primary": "PreconLBFGS",
        "relax_algo_fallback": "PreconFIRE",
        "supercell_matrix": None,
        "supercell_diagonal": False,
        "supercell_displacement": 0.01,
        "volume_range": (0.96, 0.97, 0.98, 0.99, 1.0, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06, 1.07, 1.08),
        "pressure_range": (0.2, 0.0, -0.2, -0.3, -0.4, -0.5, -0.6),
        "equation_of_state": "polynomial",
        "eos_sampling": "volume",
        "imaginary_mode_threshold": -0.1,
        "filter_out_imaginary_acoustic": False,
        "filter_out_imaginary_optical": True,
        "filter_out_left_out_acoustic": False,
        "filter_out_left_out_optical": True,
        "filter_out_broken_symmetry": True,
        "filter_out_extrapolated_minimum": True,
    },
}
"""The defaults that input files of mbe-automation rely on.

One differs on purpose: FreeEnergy.root_key is the key of the training set, not "quasi_harmonic".
"""


@pytest.mark.parametrize("cls", DOCUMENTED, ids=lambda cls: cls.__name__)
def test_names_and_defaults_are_those_of_the_reference(cls):
    made = cls()
    assert {name: getattr(made, name) for name in DOCUMENTED[cls]} == DOCUMENTED[cls]


def test_every_settings_class_of_the_module_is_tested():
    found = {c for _, c in inspect.getmembers(settings, inspect.isclass) if issubclass(c, settings.Settings)}
    assert found - {settings.Settings} == {*CLASSES, *REFERENCE, *TRAINING}


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_has_a_description_and_its_unit_in_the_name(field):
    cls_name, name = field.split(".")
    info = getattr(settings, cls_name).model_fields[name]
    assert info.description
    for unit, suffix in (("(fs)", "_fs"), ("(THz)", "_THz")):
        if unit in info.description and name != "imaginary_mode_threshold":
            assert name.endswith(suffix)


# ---------------------------------------------------------------------------------------------------------------
# What is accepted and what is refused


@pytest.mark.parametrize(
    ("cls", "wrong", "right"),
    [
        (ClassicalMD, "time_totl_fs", "time_total_fs"),
        (ClassicalMD, "timestep_fs", "time_step_fs"),
        (MDSampling, "temperature", "temperature_K"),
        (MDSampling, "preasure_GPa", "pressure_GPa"),
        (FiniteSubsystemFilter, "n_molecule", "n_molecules"),
        (PhononFilter, "kpoint_mesh", "k_point_mesh"),
        (PhononSampling, "nframes", "n_frames"),
        (FreeEnergy, "relax_input", "relax_input_cell"),
        (Inference, "dtype", "default_dtype"),
    ],
)
def test_unknown_fields_are_refused_with_the_nearest_name(cls, wrong, right):
    with pytest.raises(InvalidSettings, match=rf"{cls.__name__} has no field '{wrong}': did you mean '{right}'\?"):
        cls(**{wrong: 1})


def test_an_unknown_field_like_no_other_lists_the_known_ones():
    with pytest.raises(InvalidSettings, match="known fields: k_point_mesh, selected_modes"):
        PhononFilter(xyzzy=1)


def test_unknown_fields_are_refused_in_nested_settings():
    with pytest.raises(InvalidSettings, match="did you mean 'time_step_fs'"):
        MDSampling(md_crystal={"time_stepp_fs": 1.0})


@pytest.mark.parametrize("name", ["crystal", "calculator", "work_dir", "dataset"])
def test_inputs_of_the_reference_scripts_say_where_they_went(name):
    with pytest.raises(InvalidSettings, match=f"MDSampling.{name} is not a setting here: .*(input|output|AiiDA)"):
        MDSampling(**{name: "anything"})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClassicalMD(sampling_interval_fs=0.25), "sampling_interval_fs = 0.25 is below time_step_fs = 0.5"),
        (lambda: ClassicalMD(sampling_interval_fs=50.3), "50.3 is not a multiple of time_step_fs = 0.5"),
        (lambda: ClassicalMD(time_total_fs=100.0), "time_equilibration_fs = 5000.0 .* exceeds time_total_fs = 100.0"),
        (lambda: ClassicalMD(time_step_fs=-1.0), "time_step_fs = -1.0: Input should be greater than 0"),
        (lambda: ClassicalMD(ensemble="NVE"), "ensemble = 'NVE'.*'NVT' or 'NPT'"),
        (lambda: ClassicalMD(supercell_matrix=-np.eye(3, dtype=int)), "determinant must be positive"),
        (lambda: ClassicalMD(supercell_matrix=[[1, 0], [0, 1]]), "supercell_matrix"),
        (lambda: ClassicalMD(temperature_window=(1.1, 2.0)), "temperature_window .*low < 1 < high"),
        (lambda: ClassicalMD(max_atoms=0), "max_atoms = 0"),
        (lambda: ClassicalMD(rng_seed=-1), "rng_seed = -1"),
        (lambda: MDSampling(temperature_K=-5.0), "MDSampling.temperature_K = -5.0: Input should be greater than 0"),
        (lambda: MDSampling(temperature_K=float("nan")), "temperature_K = nan"),
        (lambda: MDSampling(pressure_GPa=float("inf")), "pressure_GPa = inf"),
        (lambda: MDReplicas(replicas={}), "replicas"),
        (lambda: MDReplicas(replicas={"300K_": {}}), "MDReplicas.replicas = .*the name '300K_' has other than letters"),
        (lambda: MDReplicas(replicas={"a__b": {}}), "the name 'a__b'"),
        (lambda: MDReplicas(replicas={"a": {"temprature_K": 1.0}}), "did you mean 'temperature_K'"),
        (lambda: MDReplicas(replicas={"a": {}, "b": {}}), "MDReplicas: replicas a and b are the same run.*rng_seed"),
        (
            lambda: MDReplicas(
                sampling={"md_crystal": {"ensemble": "NVT"}}, replicas={"a": {}, "b": {"pressure_GPa": 1.0}}
            ),
            "replicas a and b are the same run",
        ),
        (
            lambda: MDReplicas(
                sampling=MDSampling(relax_first=True), replicas={"a": {}, "b": {"pressure_GPa": 1.0}}
            ),
            r"at the pressure of b \(pressure_GPa = 1.0\) is another .* give one pressure",
        ),
        (lambda: PhononSampling(temperature_K=0), "PhononSampling.temperature_K = 0"),
        (lambda: PhononSampling(n_frames=0), "n_frames = 0"),
        (lambda: PhononSampling(amplitude_scan="equidistant", n_frames=1), "needs n_frames of at least 2"),
        (lambda: FiniteSubsystemFilter(n_molecules=[0]), r"n_molecules = \[0\]: .*at least 1"),
        (lambda: FiniteSubsystemFilter(n_molecules=[]), "n_molecules"),
        (lambda: FiniteSubsystemFilter(n_molecules=[2, 2]), "distinct"),
        (lambda: FiniteSubsystemFilter(selection_rule="nearest"), "selection_rule = 'nearest'.*closest_to_center"),
        (
            lambda: FiniteSubsystemFilter(selection_rule="max_min_distance_to_central_molecule"),
            r"selection_rule = 'max_min_distance_to_central_molecule' needs distances \(Å\)",
        ),
        (lambda: FiniteSubsystemFilter(distances=[3.0]), "takes n_molecules, not distances"),
        (
            lambda: FiniteSubsystemFilter(
                selection_rule="max_max_distance_to_central_molecule", distances=[3.001, 3.002]
            ),
            "first two decimals",
        ),
        (lambda: FiniteSubsystemFilter(bond_check_tolerance=1.0), "bond_check_tolerance = 1.0 must not be below"),
        (lambda: PhononFilter(freq_min_THz=9.0), "the window is empty: freq_min_THz = 9.0, freq_max_THz = 8.0"),
        (lambda: PhononFilter(selected_modes=[0]), "selected_modes .*1-based"),
        (lambda: PhononFilter(k_point_mesh=[2, 2, 0]), "k_point_mesh .*three integers of at least 1"),
        (lambda: PhononFilter(k_point_mesh="dense"), "k_point_mesh = 'dense'"),
        (lambda: FreeEnergy(fourier_interpolation_mesh="commensurate"), "fourier_interpolation_mesh"),
        (lambda: FreeEnergy(temperatures_K=[]), "temperatures_K"),
        (lambda: FreeEnergy(temperatures_K=[-1.0]), "at least 0 K"),
        (lambda: FreeEnergy(relax_input_cell="none"), "relax_input_cell = 'none'"),
        (lambda: Inference(default_dtype="float16"), "default_dtype = 'float16'"),
        (lambda: Inference(batch_atoms=0), "batch_atoms = 0"),
        (lambda: NamedCalculator(name="vasp"), "name = 'vasp'.*'lennard_jones'"),
    ],
)  # fmt: skip
def test_mistakes_are_refused_naming_class_field_and_value(make, message):
    with pytest.raises(InvalidSettings, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_settings_are_frozen():
    with pytest.raises(Exception, match="frozen"):
        ClassicalMD().time_step_fs = 1.0


@pytest.mark.parametrize("kind", [np.array, list, tuple])
def test_arrays_lists_and_tuples_are_alike(kind):
    rule = FiniteSubsystemFilter(n_molecules=kind([3, 1, 2]))
    assert rule.n_molecules == (1, 2, 3)
    matrix = kind([kind([2, 0, 0]), kind([0, 1, 0]), kind([0, 0, 1])])
    assert ClassicalMD(supercell_matrix=matrix).supercell_matrix == ((2, 0, 0), (0, 1, 0), (0, 0, 1))
    assert PhononFilter(k_point_mesh=kind([2, 1, 1])).k_point_mesh == (2, 1, 1)
    assert FreeEnergy(volume_range=kind([0.98, 1.0])).volume_range == (0.98, 1.0)


def test_single_numbers_and_numpy_scalars_are_taken():
    assert FiniteSubsystemFilter(n_molecules=4).n_molecules == (4,)
    assert FiniteSubsystemFilter(n_molecules=np.int64(4)).n_molecules == (4,)
    assert FreeEnergy(temperatures_K=np.float64(20.0)).temperatures_K == (20.0,)
    assert MDSampling(temperature_K=np.float64(20.0)).temperature_K == 20.0
    assert PhononFilter(k_point_mesh=np.float64(30.0)).k_point_mesh == 30.0


def test_plain_dicts_stand_for_nested_settings():
    nested = {"finite_subsystem_filter": {"n_molecules": [2]}, "md_crystal": {"time_step_fs": 1.0}}
    assert MDSampling(**nested).finite_subsystem_filter == FiniteSubsystemFilter(n_molecules=[2])
    assert MDSampling(**nested).md_crystal == ClassicalMD(time_step_fs=1.0)
    assert PhononSampling(finite_subsystem_filter=None).finite_subsystem_filter is None


EXAMPLES = [
    *(cls() for cls in CLASSES if cls not in (NamedCalculator, Subsampling)),
    Subsampling(n_frames=7, temperatures_K={"md": 300.0}, stratify_by=np.array(["source", "orbit"])),
    NamedCalculator(name="morse", parameters={"epsilon": 1.0, "rho0": 6}),
    Inference(default_dtype="float32", head="pbe", batch_atoms=64, features="clusters"),
    ClassicalMD(supercell_matrix=np.diag([2, 3, 1]), temperature_window=(0.5, 2.0), rng_seed=7),
    MDSampling(finite_subsystem_filter=None, pressure_GPa=-0.1),
    FiniteSubsystemFilter(
        selection_rule="max_min_distance_to_central_molecule", distances=np.array([6.5, 4.0]), n_molecules=None
    ),
    PhononSampling(phonon_filter={"k_point_mesh": (2, 1, 1), "selected_modes": [4], "freq_max_THz": None}),
    PhononFilter(k_point_mesh="commensurate"),
    PhononFilter(k_point_mesh=25),
    FreeEnergy(temperatures_K=np.linspace(0, 300, 4), fourier_interpolation_mesh=[4, 4, 4]),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_json_there_and_back_loses_nothing(example):
    through_json = json.loads(json.dumps(example.to_dict(), allow_nan=False))
    assert through_json == example.to_dict()
    assert type(example)(**through_json) == example


# ---------------------------------------------------------------------------------------------------------------
# Every field changes something
#
# An entry of EFFECTS is (observe, base, other): ``observe`` gives a number, text or bytes that differ between the
# settings ``base`` and the same with the field set to ``other``.

Observe = Callable[[Any], Any]
EFFECTS: dict[str, tuple[Observe, dict[str, Any], Any]] = {}


def effect(observe: Observe, /, base: dict[str, Any] | None = None, **others: Any) -> None:
    """Register fields of the class that ``observe`` takes, each with its other value."""
    cls = next(iter(inspect.signature(observe, eval_str=True).parameters.values())).annotation
    for field, other in others.items():
        EFFECTS[f"{cls.__name__}.{field}"] = (observe, base or {}, other)


def outcome(observe: Observe, made: Any) -> Any:
    """What is observed; for a refusal its status."""
    try:
        return observe(made)
    except MbetrainError as error:
        return error.status


def one(atoms: Atoms) -> Configurations:
    return Configurations.from_atoms(atoms)


# Molecular dynamics

SHORT = {"time_total_fs": 40.0, "time_equilibration_fs": 10.0, "sampling_interval_fs": 10.0, "time_step_fs": 5.0}
NPT = SHORT | {"ensemble": "NPT"}


def dynamics(made: ClassicalMD) -> bytes:
    """Positions and times of the stored frames of warm argon."""
    supercell = make_supercell(one(argon()), np.diag([3, 3, 3]))
    run = run_molecular_dynamics(supercell, LennardJones(), made, temperature_K=40.0, pressure_GPa=0.1)
    return run.frames.positions.tobytes() + run.frames.origin["time_fs"].tobytes()


def bonded_dynamics(made: ClassicalMD) -> bytes:
    """Positions of the stored frames of bonded carbon and hydrogen."""
    structure = dumbbell_structure()
    run = run_molecular_dynamics(structure, DumbbellCrystal(structure), made, temperature_K=300.0)
    return run.frames.positions.tobytes()


def md_supercell(made: ClassicalMD) -> bytes:
    return md_supercell_matrix(one(argon()), made).tobytes()


effect(dynamics, SHORT, ensemble="NPT", time_total_fs=60.0, time_step_fs=2.5, sampling_interval_fs=5.0)
effect(dynamics, SHORT, time_equilibration_fs=20.0, nvt_algo="nose_hoover_chain", thermostat_time_fs=50.0, rng_seed=1)
effect(dynamics, SHORT, max_force=1e-6)
effect(dynamics, SHORT | {"thermostat_time_fs": 5.0}, temperature_window=(0.999, 1.001))
effect(dynamics, NPT, npt_algo="mtk_isotropic", barostat_time_fs=200.0, pchain=1, volume_window=(0.9999999, 1.0000001))
effect(dynamics, SHORT | {"nvt_algo": "nose_hoover_chain"}, tchain=1)
BONDED = SHORT | {"time_step_fs": 1.0}
effect(bonded_dynamics, BONDED, masses="uniform")
effect(bonded_dynamics, BONDED | {"masses": "hydrogen"}, hydrogen_mass_u=2.0)
effect(md_supercell, {"supercell_radius": 7.0}, supercell_radius=9.0, supercell_matrix=np.diag([2, 2, 3]))
effect(md_supercell, {"supercell_radius": 7.0}, supercell_diagonal=True, max_atoms=3)


# Sampling by molecular dynamics


def md_stage(made: MDSampling) -> bytes:
    supercell = make_supercell(one(argon()), np.diag([2, 2, 2]))
    job = Job(inputs={"supercell": supercell}, potential=LennardJones(cutoff=5.2), settings=made.to_dict())
    return STAGES["molecular_dynamics"](job)["trajectory"].positions.tobytes()


def replicas_stage(made: MDReplicas) -> bytes:
    supercell = make_supercell(one(argon()), np.diag([2, 2, 2]))
    job = Job(inputs={"supercell": supercell}, potential=LennardJones(cutoff=5.2), settings=made.to_dict())
    found = STAGES["md_replicas"](job)
    return b"".join(found[f"replicas.{name}.trajectory"].positions.tobytes() for name in made.replicas)


def one_replica(made: Replica) -> bytes:
    return replicas_stage(MDReplicas(sampling={"md_crystal": NPT}, replicas={"it": made}))


effect(one_replica, temperature_K=60.0, pressure_GPa=1.0, rng_seed=1)
effect(
    replicas_stage,
    {"sampling": {"md_crystal": NPT}, "replicas": {"it": {}}},
    sampling={"md_crystal": SHORT},
    replicas={"it": {}, "other": {"rng_seed": 1}},
)
effect(md_stage, {"md_crystal": NPT}, temperature_K=60.0, pressure_GPa=1.0, md_crystal=NPT | {"time_step_fs": 2.5})


# Clusters


def stretched_frames() -> tuple[Configurations, Configurations]:
    """Dry ice, and two frames of it: at rest, and one C=O bond 1.3 times the sum of the covalent radii long."""
    crystal = one(carbon_dioxide())
    frames = crystal.select([0, 0])
    positions = frames.positions.copy()
    bond = detect_molecules(crystal).bonds[0]
    vectors = positions[1, bond[1]] - positions[1, bond[0]]
    vectors -= np.rint(vectors / 5.6) * 5.6
    positions[1, bond[1]] = positions[1, bond[0]] + 1.3 * 1.42 * vectors / np.linalg.norm(vectors)
    return crystal, frames.with_(positions=positions)


def clusters(made: FiniteSubsystemFilter) -> list[Any]:
    crystal, frames = stretched_frames()
    molecules = detect_molecules(
        crystal,
        bond_tolerance=made.bond_tolerance,
        assert_identical_composition=made.assert_identical_composition,
    )
    sets = extract_clusters(molecules, frames, made)
    return [(s.cluster.key, s.configurations.positions.tobytes()) for s in sets]


def cocrystal_clusters(made: FiniteSubsystemFilter) -> list[Any]:
    """Keys and elements of the clusters of a hypothetical 1:1 crystal of nitrogen and argon."""
    crystal = one(Atoms("N2Ar", [[0, 0, 0], [0, 0, 1.1], [3.5, 3.5, 3.5]], cell=np.eye(3) * 7.0, pbc=True))
    molecules = detect_molecules(crystal, assert_identical_composition=made.assert_identical_composition)
    sets = extract_clusters(molecules, crystal, made)
    return [(s.cluster.key, s.configurations.numbers.tolist()) for s in sets]


DISTANCE = {"selection_rule": "max_min_distance_to_central_molecule", "distances": [3.5], "n_molecules": None}
effect(clusters, {"n_molecules": [3]}, n_molecules=[2], selection_rule="closest_to_center_of_mass", bond_tolerance=0.5)
effect(clusters, {"n_molecules": [3]}, bond_check_tolerance=1.25)
effect(clusters, {"n_molecules": [3], "bond_check_tolerance": 1.25}, broken_molecules="keep")
effect(clusters, DISTANCE, distances=[4.5])
effect(cocrystal_clusters, {"n_molecules": [2]}, assert_identical_composition=False)


def sampled_orbits(made: FiniteSubsystemFilter) -> list[Any]:
    """Members and orbits in dry ice whose atoms are off their sites by some 0.001 Å."""
    atoms = carbon_dioxide()
    atoms.positions += np.random.default_rng(1).uniform(-1e-3, 1e-3, atoms.positions.shape)
    found = select_clusters(detect_molecules(one(atoms)), made)
    return [(c.key, c.orbit, c.molecule_indices.tolist(), c.translations.tolist()) for c in found]


MANY = {"n_molecules": [2], "clusters_per_size": 6, "symmetry_tolerance": 0.02}
effect(sampled_orbits, {"n_molecules": [2]}, clusters_per_size=4, symmetry_tolerance=1e-5)
effect(sampled_orbits, MANY, unique_only=True, n_candidates=6, rng_seed=7)


# Phonon sampling


class Prepared:
    """Force constants of relaxed alpha-N2 in a doubled cell; made once."""

    _made: ForceConstants | None = None

    @classmethod
    def force_constants(cls) -> ForceConstants:
        if cls._made is None:
            wanted = FreeEnergy(supercell_matrix=np.diag([2, 1, 1]), max_force_on_atom=1e-3)
            relaxed = relax(one(nitrogen()), nitrogen_potential(), wanted).structure
            cls._made = calculate_force_constants(relaxed, nitrogen_potential(), wanted)
        return cls._made


def phonon_frames(made: PhononSampling) -> bytes:
    return sample_phonons(Prepared.force_constants(), made).frames.positions.tobytes()


def filtered_frames(made: PhononFilter) -> bytes:
    return phonon_frames(PhononSampling(phonon_filter=made, n_frames=1))


FEW = {"n_frames": 2, "phonon_filter": {"selected_modes": [4]}}
effect(phonon_frames, FEW, temperature_K=50.0, phonon_filter={"selected_modes": [5]}, time_step_fs=50.0, n_frames=3)
effect(phonon_frames, FEW, amplitude_scan="thermal", statistics="classical", rng_seed=1)
effect(phonon_frames, {"n_frames": 2}, modes="all")
effect(phonon_frames, FEW | {"amplitude_scan": "equidistant"}, amplitude_max=2.0)
effect(filtered_frames, k_point_mesh="commensurate", selected_modes=[6], freq_min_THz=1.5, freq_max_THz=1.6)


# Relaxation, force constants, thermodynamics


def distorted() -> Configurations:
    """Alpha-N2 as read from a file of three decimals: its symmetry holds within 0.01 Å only."""
    crystal = one(nitrogen())
    noise = np.random.default_rng(3).normal(scale=1e-3, size=crystal.positions.shape)
    return crystal.with_(positions=crystal.positions + noise)


def relaxed(made: FreeEnergy) -> tuple[bytes, str, str]:
    result = relax(distorted(), nitrogen_potential(), made)
    return result.structure.positions.tobytes(), result.algorithm, result.space_group


def failing_relaxation(made: FreeEnergy) -> str:
    """Which algorithms were tried."""
    with pytest.raises(MbetrainError) as caught:
        relax(distorted(), nitrogen_potential(), made)
    return str(caught.value)


def phonon_supercell(made: FreeEnergy) -> bytes:
    return phonon_supercell_matrix(one(argon()), made).tobytes()


def displaced(made: FreeEnergy) -> bytes:
    return plan_displacements(one(nitrogen()), made).frames.positions.tobytes()


def thermodynamics(made: FreeEnergy) -> list[Any]:
    result = harmonic_thermodynamics(
        Prepared.force_constants(),
        made.temperatures_K,
        made.fourier_interpolation_mesh,
        imaginary_mode_threshold_THz=made.imaginary_mode_threshold,
    )
    return [column.tobytes() for column in result.columns().values()]


def sampled_volume(
    ratio: float,
    *,
    acoustic: bool = True,
    optical: bool = True,
    left_out: tuple[int, int] = (0, 0),
    group: str = "Pa-3",
) -> SampledVolume:
    energies = 3.0 * (ratio - 1.0) ** 2 - 2.0 * (ratio - 1.0) ** 3 + (ratio - 1.0) ** 4
    zeros = np.zeros(2)
    vibrations = HarmonicThermodynamics(
        np.array([0.0, 100.0]), np.array([0.0, -100.0 * (ratio - 1)]), zeros, 0.0, zeros, zeros, 8, (1, 1, 1), 24,
        0, *left_out, 0.5, 1.0, acoustic, optical,
    )  # fmt: skip
    return SampledVolume(140.0 * ratio, energies, group, vibrations)


def volumes_used(made: FreeEnergy) -> list[bool]:
    flawed: list[dict[str, Any]] = [{}, {"acoustic": False}, {"optical": False}, {"group": "P1"}]
    flawed += [{"left_out": (1, 0)}, {"left_out": (1, 1)}]
    removed = filtered_by([sampled_volume(1.0, **flaw) for flaw in flawed], made, space_group="Pa-3")
    return [not name for name in removed]


def expansion(made: FreeEnergy) -> list[str]:
    """Equilibrium volumes; at 100 K the minimum lies beyond the sampled ones."""
    samples = [sampled_volume(ratio) for ratio in (0.94, 0.96, 0.98, 1.0, 1.02)]
    found = thermal_expansion(samples, made, space_group="Pa-3", reference_volume=140.0)
    return [f"{volume:.6f}" for volume in found.volumes]


def squeezed(made: FreeEnergy) -> float:
    """Volume of argon relaxed by the stage."""
    job = Job(inputs={"structure": one(argon())}, potential=LennardJones(), settings=made.to_dict())
    return float(STAGES["relaxation"](job)["relaxed"].volumes[0])


def molecule(made: FreeEnergy) -> int:
    diatomic = Configurations(np.array([7, 7]), np.array([[[0, 0, 0], [0, 0, 1.1]]]))
    job = Job(inputs={"structure": diatomic}, potential=nitrogen_potential(), settings=made.to_dict())
    return int(STAGES["isolated_molecule"](job)["summary"]["symmetry_number"])


effect(squeezed, {"relax_input_cell": "full"}, pressure_GPa=0.5)
effect(molecule, molecule_symmetry_number=1)
LOOSE = {"max_force_on_atom": 1e-2, "symmetrize_unit_cell": False}
HOPELESS = {"max_force_on_atom": 1e-9, "max_n_steps": 1, "symmetrize_unit_cell": False}
effect(relaxed, LOOSE, relax_input_cell="only_atoms", max_force_on_atom=1e-3)
effect(relaxed, LOOSE, relax_algo_primary="PreconFIRE", symmetrize_unit_cell=True)
effect(relaxed, {"max_force_on_atom": 1e-2}, symmetry_tolerance_loose=1e-5)
effect(relaxed, {"max_force_on_atom": 1e-3}, symmetry_tolerance_strict=1e-16)
effect(failing_relaxation, HOPELESS, relax_algo_fallback="PreconLBFGS", max_n_steps=2)
effect(phonon_supercell, {"supercell_radius": 7.0}, supercell_radius=11.0, supercell_matrix=np.diag([2, 2, 3]))
effect(phonon_supercell, {"supercell_radius": 10.0}, supercell_diagonal=True, max_atoms=3)
effect(phonon_supercell, {"supercell_radius": 8.0}, keep_point_group=True)
effect(displaced, {"supercell_matrix": np.eye(3, dtype=int)}, supercell_displacement=0.02)
effect(
    thermodynamics, {"fourier_interpolation_mesh": [2, 2, 2]}, fourier_interpolation_mesh=20.0, temperatures_K=[20.0]
)
effect(thermodynamics, {"fourier_interpolation_mesh": [2, 2, 2]}, imaginary_mode_threshold=2.0)
effect(volumes_used, filter_out_imaginary_acoustic=True, filter_out_imaginary_optical=False)
effect(volumes_used, filter_out_broken_symmetry=False)
effect(volumes_used, filter_out_left_out_acoustic=True, filter_out_left_out_optical=False)
effect(expansion, equation_of_state="vinet", filter_out_extrapolated_minimum=False)


# Potentials


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_mace(
        tmp_path_factory.mktemp("models") / "two.model", elements=(7,), heads=("Default", "other"), channels=2
    )


def evaluated(made: Inference, model_file: Path) -> tuple[float, int, str, str]:
    """Energy, number of batches, and what evaluated them on which device."""
    potential = load_mace(model_file, made)
    seen: list[int] = []
    frames = one(nitrogen()).select([0, 0, 0])
    labelled = potential.evaluate([frames], report=lambda done, total: seen.append(done))[0]
    return (
        float(labelled.energies[0]),
        len(seen),
        str(potential.describe()["device"]),
        str(potential.describe()["kernels"]),
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [("default_dtype", "float32"), ("head", "other"), ("batch_atoms", 8), ("device", "cuda"), ("kernels", "e3nn")],
)
def test_every_field_of_the_inference_changes_the_evaluation(model_file, field, value, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # so that cuda is refused everywhere alike
    observe = lambda made: evaluated(made, model_file)  # noqa: E731
    assert outcome(observe, Inference()) != outcome(observe, Inference(**{field: value}))


def test_tune_malloc_decides_whether_the_allocator_is_tuned(model_file, monkeypatch):
    from aiida_mbetrain.science.potentials.mace import model as mace

    calls: list[bool] = []
    monkeypatch.setattr(mace, "tune_malloc", lambda: calls.append(True))
    load_mace(model_file, Inference(tune_malloc=False, device="cpu"))
    assert not calls
    load_mace(model_file, Inference(device="cpu"))
    assert calls


@pytest.mark.parametrize(
    ("wanted", "with_features"), [("all", {"frames", "n_2"}), ("clusters", {"n_2"}), ("none", set())]
)
def test_features_are_given_to_what_the_inference_names(model_file, wanted, with_features):
    crystal = one(nitrogen())
    sets = extract_clusters(detect_molecules(crystal), crystal, FiniteSubsystemFilter(n_molecules=[2]))
    job = Job(
        inputs={"frames": crystal, "n_2": sets[0]},
        potential=load_mace(model_file, Inference()),
        inference=Inference(features=wanted),
    )
    labelled = STAGES["labels"](job)
    found = {"frames": labelled["frames"].features, "n_2": labelled["n_2"].configurations.features}
    assert {name for name, features in found.items() if features is not None} == with_features


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_features_are_stored_in_the_precision_of_the_inference(model_file, precision):
    potential = load_mace(model_file, Inference())
    job = Job({"frames": one(nitrogen())}, potential, inference=Inference(features_dtype=precision))
    labelled = STAGES["labels"](job)["frames"]
    [exact] = potential.evaluate([one(nitrogen())], features=True)
    assert labelled.features.dtype == precision
    np.testing.assert_array_equal(labelled.features, exact.features.astype(precision))
    np.testing.assert_array_equal(labelled.forces, exact.forces)


@pytest.mark.parametrize("features", ["all", "clusters"])
def test_features_above_the_limit_are_left_out_with_a_warning(model_file, features):
    crystal = one(nitrogen()).select([0] * 3)
    sets = extract_clusters(detect_molecules(crystal.select([0])), crystal, FiniteSubsystemFilter(n_molecules=[2]))
    potential, warnings = load_mace(model_file, Inference()), []
    n_atoms = 3 * 4 + (3 * crystal.n_atoms if features == "all" else 0)
    size_GB = n_atoms * potential.feature_length * 4 / 1e9

    def labelled(limit_GB: float | None) -> bool:
        inference = Inference(features=features, max_features_GB=limit_GB)
        job = Job({"frames": crystal, "n_2": sets[0]}, potential, inference=inference, warn=warnings.append)
        return STAGES["labels"](job)["n_2"].configurations.features is not None

    assert [labelled(limit) for limit in (size_GB, None)] == [True, True]
    assert warnings == []
    assert not labelled(0.99 * size_GB)
    assert "Inference.max_features_GB" in warnings[0]
    assert f"{n_atoms} atoms" in warnings[0]


# Subsampling


def picked_frames(made: Subsampling) -> list[Any]:
    """Of two sets of random frames with features, unequally many."""
    rng = np.random.default_rng(5)
    sets = {
        name: Configurations(
            numbers=[18],
            positions=rng.normal(size=(n, 1, 3)),
            features=rng.normal(size=(n, 1, 3)),
            origin={key: np.arange(n)},
        )
        for name, key, n in (("md", "md_step", 9), ("phonons", "mode", 30))
    }
    picks = pick_frames(sets, made)
    return [picks.names.tolist(), picks.rows.tolist(), picks.reasons.tolist(), picks.strata.tolist()]


SOME = {"n_frames": 12, "random_share": 0.25}
effect(picked_frames, SOME, n_frames=13, method="k_means", random_share=0.5, stratify_by=[], allocation="proportional")
effect(picked_frames, SOME, temperatures_K={"md": 300.0}, rng_seed=7)


def calculator_energy(made: NamedCalculator) -> float:
    return float(named_calculator(made).evaluate([one(argon(a=3.0))])[0].energies[0])


effect(calculator_energy, {"name": "lennard_jones", "parameters": {"sigma": 3.4}}, parameters={"sigma": 3.3})
effect(calculator_energy, {"name": "lennard_jones"}, name="morse")


INFERENCE = {
    "Inference.default_dtype",
    "Inference.device",
    "Inference.kernels",
    "Inference.head",
    "Inference.features",
    "Inference.features_dtype",
    "Inference.max_features_GB",
    "Inference.batch_atoms",
    "Inference.tune_malloc",
}
"""Tested above, by tests of their own."""


def test_no_field_is_without_a_test_of_its_effect():
    assert set(EFFECTS) | INFERENCE | IN_WORKFLOWS == set(FIELDS)
    assert not set(EFFECTS) & (INFERENCE | IN_WORKFLOWS)


@pytest.mark.parametrize("field", sorted(EFFECTS))
def test_every_field_changes_something(field):
    observe, base, other = EFFECTS[field]
    cls_name, name = field.split(".")
    cls = getattr(settings, cls_name)
    before, after = cls(**base), cls(**(base | {name: other}))
    assert outcome(observe, before) == outcome(observe, before), "the observation itself is not reproducible"
    assert outcome(observe, before) != outcome(observe, after)


@pytest.mark.parametrize("kind", [MDSampling, PhononSampling, FreeEnergy])
@pytest.mark.parametrize(
    "key",
    ["", "/", "/a", "a/", "a//b", ".", "a/../b", "a/./b", "a\0b", "a\nb", " a", "a/b ", "\ud800", "a" * 300, "a/" * 40],
)
def test_root_keys_that_are_no_paths_are_refused(kind, key):
    with pytest.raises(InvalidSettings, match=f"{kind.__name__}.root_key"):
        kind(root_key=key)


@pytest.mark.parametrize("field", ["volume_range", "pressure_range", "temperatures_K"])
@pytest.mark.parametrize(
    "values", [[], [float("nan")], [float("inf")], [1.0, -float("inf")], [1e300], None, ["a"], [[1.0]]]
)
def test_ranges_without_finite_values_are_refused(field, values):
    if field == "pressure_range" and values == [1e300]:
        values = [10**400]
    with pytest.raises(InvalidSettings, match=f"FreeEnergy.{field}"):
        FreeEnergy(**{field: values})


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (ClassicalMD, "time_total_fs", 1e308),
        (ClassicalMD, "time_equilibration_fs", 1e308),
        (ClassicalMD, "time_step_fs", 5e-324),
        (ClassicalMD, "max_atoms", 10**400),
        (ClassicalMD, "supercell_matrix", [[10**59, 0, 0], [0, 1, 0], [0, 0, 1]]),
        (FreeEnergy, "fourier_interpolation_mesh", [10**59] * 3),
        (FreeEnergy, "fourier_interpolation_mesh", [10**5] * 3),
        (FreeEnergy, "fourier_interpolation_mesh", 1e59),
        (FreeEnergy, "fourier_interpolation_mesh", [None, {}, "a"]),
        (FreeEnergy, "supercell_radius", 1e300),
        (PhononSampling, "time_step_fs", 1e308),
        (PhononSampling, "n_frames", 10**59),
        (PhononSampling, "temperature_K", 1e308),
    ],
)
def test_numbers_beyond_all_computers_are_refused(kind, field, value):
    with pytest.raises(InvalidSettings, match=field):
        kind(**{field: value})


def test_message_does_not_repeat_a_value_of_any_length():
    with pytest.raises(InvalidSettings) as refusal:
        FreeEnergy(temperatures_K="7" * 100_000)
    assert len(str(refusal.value)) < 1000
