"""Force constants against analytic Hessians, phonopy's own way, and the rules they must obey."""

import json
import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from cheap_potentials import (
    HarmonicCrystal,
    LennardJones,
    argon,
    carbon_dioxide,
    carbon_dioxide_potential,
    nitrogen,
    nitrogen_potential,
    sodium_chloride,
)
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from aiida_mbetrain.errors import ElementsNotInModel, InvalidSettings, InvalidStructure, SupercellTooLarge
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.phonons import ForceConstants, band_structure, calculate_force_constants, plan_displacements
from aiida_mbetrain.science.phonons.phonopy_cells import primitive_cell
from aiida_mbetrain.science.relaxation import relax
from aiida_mbetrain.settings import FreeEnergy

warnings.filterwarnings("ignore", message=".*symmetries of supercell.*")


def structure_of(atoms):
    return Configurations.from_atoms(atoms)


@pytest.fixture(scope="module")
def salt():
    """NaCl of springs: exactly harmonic."""
    potential = HarmonicCrystal(sodium_chloride(), cutoff=4.5)
    settings = FreeEnergy(supercell_radius=9.5)
    return potential, calculate_force_constants(structure_of(sodium_chloride()), potential, settings)


@pytest.fixture(scope="module")
def dry_ice():
    """Relaxed CO2, Pa-3, and its force constants."""
    potential = carbon_dioxide_potential()
    relaxed = relax(structure_of(carbon_dioxide()), potential, FreeEnergy(relax_input_cell="full")).structure
    return potential, relaxed, calculate_force_constants(relaxed, potential, FreeEnergy(supercell_radius=8.0))


def test_harmonic_crystal_gives_its_analytic_hessian(salt):
    potential, constants = salt
    expected = potential.hessian(constants.supercell.to_atoms()[0])
    assert np.allclose(constants.force_constants, expected, atol=1e-9)
    assert constants.n_displacements == 2
    assert constants.space_group == "Fm-3m"


def test_displaced_frame_energy_is_half_u_phi_u(salt):
    potential, constants = salt
    supercell = constants.supercell
    u = 0.05 * np.random.default_rng(0).normal(size=(supercell.n_atoms, 3))
    [moved] = potential.evaluate([supercell.with_(positions=supercell.positions + u)])
    assert moved.energies[0] == pytest.approx(
        0.5 * np.einsum("ia,ijab,jb", u, constants.force_constants, u), abs=1e-10, rel=1e-10
    )


def test_sum_rule_and_permutation_symmetry_hold_to_1e_10(salt, dry_ice):
    for phi in (salt[1].force_constants, dry_ice[2].force_constants):
        assert np.abs(phi.sum(axis=0)).max() < 1e-10
        assert np.abs(phi.sum(axis=1)).max() < 1e-10
        assert np.abs(phi - phi.transpose(1, 0, 3, 2)).max() < 1e-10


def test_violations_are_recorded_as_they_were_before_symmetrisation():
    potential = HarmonicCrystal(sodium_chloride(), cutoff=4.5)
    plan = plan_displacements(structure_of(sodium_chloride()), FreeEnergy(supercell_radius=7.0))
    [labelled] = potential.evaluate([plan.frames])
    clean = plan.force_constants(labelled.forces)
    assert clean.acoustic_sum_rule_violation < 1e-10
    assert clean.permutation_asymmetry < 1e-10
    forces = labelled.forces.copy()
    forces[1] += [0.002, 0.0, 0.0]  # a drift of every atom's force in one displaced supercell
    spoilt = plan.force_constants(forces)
    n_atoms = plan.frames.n_atoms
    assert 0.002 * n_atoms / 0.01 / 10 < spoilt.acoustic_sum_rule_violation <= 0.002 * n_atoms / 0.01 * 1.01
    assert spoilt.permutation_asymmetry > 1e-2
    assert np.abs(spoilt.force_constants.sum(axis=1)).max() < 1e-10


def test_residual_forces_of_the_undisplaced_supercell_do_not_matter():
    class Tilted(HarmonicCrystal):
        """Every atom is pulled along its own constant vector."""

        def frame(self, numbers, positions, cell):
            energy, forces, stress = super().frame(numbers, positions, cell)
            return energy, forces + 0.1 * np.sin(np.arange(3 * len(numbers))).reshape(-1, 3), stress

    settings = FreeEnergy(supercell_radius=7.0)
    plain, tilted = (
        calculate_force_constants(structure_of(sodium_chloride()), kind(sodium_chloride(), cutoff=4.5), settings)
        for kind in (HarmonicCrystal, Tilted)
    )
    assert np.allclose(plain.force_constants, tilted.force_constants, atol=1e-10)


def test_conventional_cell_is_reduced_to_the_primitive_one_without_rotation():
    conventional = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    conventional.rotate(25, (1, 1, 3), rotate_cell=True)
    primitive = primitive_cell(structure_of(conventional))
    assert primitive.n_atoms == 2
    basis = primitive.cells[0] @ np.linalg.inv(conventional.cell.array)
    assert np.allclose(4 * basis, np.rint(4 * basis), atol=1e-8)
    for number, position in zip(primitive.numbers, primitive.positions[0], strict=True):
        away = (conventional.positions - position) @ np.linalg.inv(primitive.cells[0])
        same = np.abs(away - np.rint(away)).max(axis=1) < 1e-8
        assert same.sum() == 4
        assert set(conventional.numbers[same]) == {number}


def test_primitive_input_is_left_as_it_is():
    structure = structure_of(nitrogen())
    structure = structure.with_(positions=structure.positions + 7.3)
    assert np.array_equal(primitive_cell(structure).positions, structure.positions)


@pytest.mark.parametrize(
    "values", [{"supercell_matrix": ((2, 0, 0), (0, 1, 0), (0, 0, 1))}, {"supercell_diagonal": True}]
)
def test_matrix_and_diagonal_refer_to_the_cell_of_the_input(values):
    conventional = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    plan = plan_displacements(structure_of(conventional), FreeEnergy(supercell_radius=11.0, **values))
    multiples = np.diag([2, 1, 1]) if "supercell_matrix" in values else np.diag([2, 2, 2])
    assert np.allclose(plan.frames.cells[0], multiples @ conventional.cell.array)
    assert np.allclose(plan.phonopy.supercell_matrix.T @ plan.primitive.cells[0], plan.frames.cells[0])


@pytest.mark.parametrize("values", [{}, {"supercell_matrix": ((2, 0, 0), (0, 2, 0), (0, 0, 2))}])
def test_left_handed_cell_is_treated_as_its_right_handed_mirror(values):
    conventional = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    conventional.set_cell(conventional.cell.array * [[1], [1], [-1]])
    plan = plan_displacements(structure_of(conventional), FreeEnergy(supercell_radius=9.0, **values))
    assert np.linalg.det(plan.primitive.cells[0]) == pytest.approx(5.64**3 / 4)
    assert plan.n_displacements == 2


def test_overlapping_atoms_are_refused():
    overlapping = Atoms("Ar2", [(0, 0, 0), (0, 0, 0)], cell=[4, 5, 6], pbc=True)
    with pytest.raises(InvalidStructure):
        plan_displacements(structure_of(overlapping), FreeEnergy())


def test_conventional_and_primitive_input_give_the_same_frequencies(salt):
    potential, constants = salt
    conventional = structure_of(bulk("NaCl", "rocksalt", a=5.64, cubic=True))
    other = calculate_force_constants(conventional, potential, FreeEnergy(supercell_radius=9.5))
    q = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])
    frequencies = []
    for each in (constants, other):
        phonon = each.phonopy()
        phonon.run_qpoints(q)
        frequencies.append(phonon.qpoints.frequencies)
    assert np.allclose(*frequencies, atol=1e-6)


def test_frequencies_equal_those_of_phonopy_run_by_hand(dry_ice):
    potential, relaxed, constants = dry_ice
    atoms = relaxed.to_atoms()[0]
    phonon = Phonopy(
        PhonopyAtoms(
            numbers=atoms.numbers,
            cell=atoms.cell.array,
            scaled_positions=atoms.get_scaled_positions(),
            masses=relaxed.masses,
        ),
        supercell_matrix=constants.supercell_matrix,
        primitive_matrix=np.eye(3),
    )
    phonon.generate_displacements(distance=0.01)
    phonon.forces = [potential.frame(s.numbers, s.positions, s.cell)[1] for s in phonon.supercells_with_displacements]
    phonon.produce_force_constants(show_drift=False)
    phonon.symmetrize_force_constants()
    ours = constants.phonopy()
    for each in (phonon, ours):
        each.run_qpoints([[0, 0, 0], [0.5, 0, 0], [0.13, 0.27, 0.41]])
    assert np.allclose(ours.qpoints.frequencies[1:], phonon.qpoints.frequencies[1:], atol=1e-5)
    assert len(phonon.displacements) == constants.n_displacements == 3
    assert constants.min_frequency_gamma_THz == pytest.approx(ours.qpoints.frequencies[0][3], abs=1e-6)
    assert constants.min_frequency_gamma_THz > 0.5


def test_lowest_optical_mode_is_found_below_the_translations():
    """An imaginary optical mode sorts before the three zeros and must not be taken for one of them."""
    potential = HarmonicCrystal(sodium_chloride(), cutoff=4.5, k=-1.0)
    constants = calculate_force_constants(structure_of(sodium_chloride()), potential, FreeEnergy(supercell_radius=7.0))
    phonon = constants.phonopy()
    phonon.run_qpoints([[0, 0, 0]])
    assert constants.min_frequency_gamma_THz == pytest.approx(phonon.qpoints.frequencies[0][0])
    assert constants.min_frequency_gamma_THz < -1


def test_single_atom_has_no_optical_mode():
    constants = calculate_force_constants(structure_of(argon()), LennardJones(), FreeEnergy(supercell_radius=9.0))
    assert constants.min_frequency_gamma_THz == 0.0
    assert constants.n_displacements == 1


def test_all_supercells_go_into_one_evaluation_and_are_counted():
    calls, seen = [], []

    class Counting(HarmonicCrystal):
        def evaluate(self, sets, **options):
            calls.append([part.n_frames for part in sets])
            return super().evaluate(sets, **options)

    calculate_force_constants(
        structure_of(sodium_chloride()),
        Counting(sodium_chloride(), cutoff=4.5),
        FreeEnergy(supercell_radius=7.0),
        report=lambda done, total: seen.append((done, total)),
    )
    assert calls == [[3]]
    assert seen[0] == (1, 3)
    assert seen[-1] == (3, 3)


def test_interrupted_run_goes_on_where_it_stopped(dry_ice):
    potential, relaxed, constants = dry_ice
    settings, saved = FreeEnergy(supercell_radius=8.0), []
    calculate_force_constants(relaxed, potential, settings, frames_per_batch=1, on_batch=saved.append)
    assert [len(forces) for forces in saved] == [1, 2, 3, 4]
    before = potential.n_evaluated
    resumed = calculate_force_constants(relaxed, potential, settings, done=saved[2])
    assert potential.n_evaluated == before + 1
    assert np.array_equal(resumed.force_constants, constants.force_constants)


def test_forces_of_another_run_are_refused(dry_ice):
    potential, relaxed, _ = dry_ice
    with pytest.raises(InvalidSettings):
        calculate_force_constants(relaxed, potential, FreeEnergy(supercell_radius=8.0), done=np.zeros((1, 12, 3)))


def test_foreseeable_refusals():
    with pytest.raises(ElementsNotInModel):
        calculate_force_constants(structure_of(argon()), nitrogen_potential(), FreeEnergy())
    with pytest.raises(SupercellTooLarge):
        calculate_force_constants(structure_of(nitrogen()), nitrogen_potential(), FreeEnergy(max_atoms=100))


def test_arrays_and_attributes_give_the_same_object_back(salt):
    constants = salt[1]
    attributes = json.loads(json.dumps(constants.attributes()))
    arrays = constants.to_arrays()
    assert all(array.dtype.kind in "fi" for array in arrays.values())
    again = ForceConstants.from_arrays(arrays, attributes)
    for name in ("primitive", "supercell"):
        assert np.array_equal(getattr(again, name).positions, getattr(constants, name).positions)
        assert np.array_equal(getattr(again, name).numbers, getattr(constants, name).numbers)
    assert np.array_equal(again.supercell_matrix, constants.supercell_matrix)
    assert np.array_equal(again.force_constants, constants.force_constants)
    assert again.attributes() == constants.attributes()


def test_live_phonopy_refuses_a_supercell_in_another_order(salt):
    constants = salt[1]
    swapped = constants.supercell.with_(positions=constants.supercell.positions[:, ::-1])
    broken = ForceConstants.from_arrays(
        constants.to_arrays() | {"supercell_positions": swapped.positions}, constants.attributes()
    )
    with pytest.raises(InvalidStructure):
        broken.phonopy()


@pytest.mark.parametrize("full", [True, False])
def test_force_constants_of_an_earlier_phonopy_run_are_taken_over(salt, full):
    potential, _ = salt
    conventional = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    unit = PhonopyAtoms(
        numbers=conventional.numbers, cell=conventional.cell.array, scaled_positions=conventional.get_scaled_positions()
    )
    phonon = Phonopy(unit, supercell_matrix=np.diag([2, 2, 2]), primitive_matrix="F")
    phonon.generate_displacements(distance=0.01)
    phonon.forces = [potential.frame(s.numbers, s.positions, s.cell)[1] for s in phonon.supercells_with_displacements]
    phonon.produce_force_constants(show_drift=False, calculate_full_force_constants=full)
    taken = ForceConstants.from_phonopy(phonon)
    assert taken.primitive.n_atoms == 2
    assert np.allclose(taken.force_constants, potential.hessian(taken.supercell.to_atoms()[0]), atol=1e-8)
    assert taken.n_displacements == len(phonon.displacements)


def test_phonopy_without_force_constants_is_refused():
    unit = PhonopyAtoms(numbers=[18], cell=5.3 * np.eye(3), scaled_positions=[[0, 0, 0]])
    with pytest.raises(InvalidStructure):
        ForceConstants.from_phonopy(Phonopy(unit, supercell_matrix=np.eye(3, dtype=int), primitive_matrix=np.eye(3)))


class TestBands:
    def test_path_of_a_face_centred_cubic_crystal(self, salt):
        bands = band_structure(salt[1])
        assert bands.labels[0] == "$\\Gamma$"
        assert len(bands.labels) == 1 + len(bands.qpoints) + sum(not c for c in bands.path_connections[:-1])
        assert np.allclose(bands.qpoints[0][0], 0)
        assert np.allclose(bands.frequencies_THz[0][0, :3], 0, atol=1e-4)
        assert bands.min_frequency_THz == pytest.approx(0, abs=1e-4)
        assert all(f.shape == (len(q), 6) for f, q in zip(bands.frequencies_THz, bands.qpoints, strict=True))

    def test_frequencies_are_those_of_the_hessian_at_commensurate_points(self, salt):
        """At X, (0, 1, 1)/2, the supercell's own modes contain the band's frequencies."""
        constants = salt[1]
        bands = band_structure(constants)
        index = bands.labels.index("$\\mathrm{X}$")
        frequencies = bands.frequencies_THz[index - 1][-1]
        masses = np.repeat(constants.supercell.masses, 3)
        phi = constants.force_constants.transpose(0, 2, 1, 3).reshape(len(masses), -1)
        values = np.linalg.eigvalsh(phi / np.sqrt(np.outer(masses, masses)))
        supercell = np.sqrt(np.abs(values)) * constants.phonopy().unit_conversion_factor
        q = bands.qpoints[index - 1][-1]
        assert np.allclose(constants.supercell_matrix.T @ q, np.rint(constants.supercell_matrix.T @ q))
        assert all(np.abs(supercell - f).min() < 1e-6 for f in frequencies)

    def test_segments_that_connect_share_point_and_distance(self, dry_ice):
        bands = band_structure(dry_ice[2], spacing=0.02)
        for i, connects in enumerate(bands.path_connections[:-1]):
            assert connects == np.allclose(bands.qpoints[i][-1], bands.qpoints[i + 1][0])
            assert bands.distances[i][-1] == pytest.approx(bands.distances[i + 1][0])
        assert not bands.path_connections[-1]

    def test_bands_do_not_depend_on_the_orientation_or_basis_of_the_primitive_cell(self, salt):
        """seekpath's points belong to its standard cell; here they must be expressed in the cell at hand."""
        constants = salt[1]
        atoms = sodium_chloride()
        turned = atoms.copy()
        turned.set_cell(np.array([[0, 1, 0], [1, 1, 0], [-1, 0, -1]]) @ atoms.cell.array)
        turned.rotate(33, (1, 2, 0), rotate_cell=True)
        other = calculate_force_constants(
            structure_of(turned), HarmonicCrystal(turned, cutoff=4.5), FreeEnergy(supercell_radius=9.5)
        )
        one, two = (band_structure(each, spacing=0.05) for each in (constants, other))
        assert list(one.labels) == list(two.labels)
        for first, second in zip(one.frequencies_THz, two.frequencies_THz, strict=True):
            assert np.allclose(first, second, atol=1e-4)


def test_the_phonopy_that_made_the_force_constants_serves_as_the_one_that_is_built_from_them(dry_ice):
    constants = dry_ice[2]
    kept, built = constants.shared_phonopy, constants.phonopy()
    assert "shared_phonopy" in vars(constants)
    for phonon in (kept, built):
        phonon.run_mesh([3, 3, 3], is_gamma_center=True)
    np.testing.assert_array_equal(kept.mesh.qpoints, built.mesh.qpoints)
    np.testing.assert_array_equal(kept.mesh.frequencies, built.mesh.frequencies)


def test_a_phonopy_of_another_tolerance_is_not_kept():
    settings = FreeEnergy(supercell_radius=8.0, symmetry_tolerance_strict=1e-4)
    constants = calculate_force_constants(
        structure_of(sodium_chloride()), HarmonicCrystal(sodium_chloride(), cutoff=4.5), settings
    )
    assert constants.shared_phonopy.symmetry.tolerance == 1e-5
