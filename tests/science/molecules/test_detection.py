"""Molecules: against chemistry, brute force, and every change of description that leaves the crystal the same."""

import re
from itertools import product

import crystals
import numpy as np
import pytest
from ase import Atoms
from ase.build import make_supercell
from ase.data import covalent_radii
from crystals import MOLECULAR, MOLECULES_PER_CELL, one_frame
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from aiida_mbetrain.errors import InfiniteNetwork, InvalidStructure, UnequalMolecules
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecules import MolecularCrystal, check_structure, detect_molecules, unwrap_molecules
from aiida_mbetrain.science.molecules.bond_checks import bonds_intact
from aiida_mbetrain.science.molecules.bond_graph import find_bonds, spanning_forest, sum_to_roots
from aiida_mbetrain.settings import FiniteSubsystemFilter

BOND_LENGTHS = {
    "CC": (1.19, 1.57), "CH": (1.04, 1.11), "CO": (1.14, 1.32), "CN": (1.32, 1.49), "HN": (0.96, 1.03),
    "HO": (0.95, 1.05), "NN": (1.10, 1.14), "NO": (1.17, 1.21),
}  # fmt: skip
"""Chemically sensible bond lengths of the crystals in the tests, Å."""

COMPOSITIONS = {
    "carbon_dioxide": {"CO2"}, "urea": {"CH4N2O"}, "benzene": {"C6H6"}, "naphthalene": {"C10H8"},
    "ammonia": {"H3N"}, "hexamethylenetetramine": {"C6H12N4"}, "oxalic_acid_dihydrate": {"C2H2O4", "H2O"},
    "argon": {"Ar"}, "long_molecule_in_small_cell": {"C8H2"}, "two_orientations": {"N2O"},
}  # fmt: skip

TOLERANCES = {"bond_tolerance": 1.2, "bond_check_tolerance": 1.5}


def detect(atoms: Atoms) -> MolecularCrystal:
    return detect_molecules(one_frame(atoms), assert_identical_composition=False)


def distances_inside(crystal: MolecularCrystal) -> list[np.ndarray]:
    """Sorted interatomic distances of each molecule, molecules sorted."""
    found = []
    for atoms in crystal.molecules:
        vectors = crystal.positions[atoms][:, None] - crystal.positions[atoms][None]
        found.append(np.sort(np.linalg.norm(vectors, axis=-1).ravel()))
    return sorted(found, key=lambda d: (len(d), *d.round(4)))


def assert_same_molecules(first: MolecularCrystal, second: MolecularCrystal) -> None:
    assert first.n_molecules == second.n_molecules
    for a, b in zip(distances_inside(first), distances_inside(second), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def brute_force_bonds(atoms: Atoms, tolerance: float) -> set[tuple[int, ...]]:
    """Bonds (i, j, offset), i <= j, by trying every image in a box that surely holds them."""
    reach = 3.0 * tolerance * covalent_radii[atoms.numbers].max()
    inverse = np.linalg.inv(atoms.cell.array)
    spread = np.ptp(atoms.positions @ inverse, axis=0) + reach * np.linalg.norm(inverse, axis=0)
    bonds = set()
    for offset in product(*(range(-int(np.ceil(s)), int(np.ceil(s)) + 1) for s in spread)):
        vectors = atoms.positions[None] + np.array(offset) @ atoms.cell.array - atoms.positions[:, None]
        radii = covalent_radii[atoms.numbers]
        near = np.linalg.norm(vectors, axis=-1) < tolerance * (radii[:, None] + radii[None])
        for i, j in np.argwhere(near):
            if i < j or (i == j and offset > (0, 0, 0)):
                bonds.add((int(i), int(j), *offset))
    return bonds


@pytest.mark.parametrize("name", MOLECULAR)
def test_crystals_of_the_tests_are_chemically_right(name):
    atoms = MOLECULAR[name]()
    crystal = detect(atoms)
    assert crystal.n_molecules == MOLECULES_PER_CELL[name]
    assert {crystal.composition_of(m) for m in range(crystal.n_molecules)} == COMPOSITIONS[name]
    for i, j in crystal.bonds:
        low, high = BOND_LENGTHS["".join(sorted(atoms.symbols[[i, j]]))]
        assert low < np.linalg.norm(crystal.positions[j] - crystal.positions[i]) < high


@pytest.mark.parametrize("name", [*MOLECULAR, "diamond", "graphite", "polyacetylene"])
def test_bonds_equal_brute_force_over_images(name):
    atoms = getattr(crystals, name)()
    atoms.positions += np.random.default_rng(1).integers(-1, 2, (len(atoms), 3)) @ atoms.cell.array
    bonds, offsets = find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, 1.2)
    found = [tuple(map(int, row)) for row in np.column_stack([bonds, offsets])]
    assert len(found) == len(set(found))
    assert {either_way(bond) for bond in found} == {either_way(bond) for bond in brute_force_bonds(atoms, 1.2)}


def either_way(bond: tuple[int, ...]) -> tuple[int, ...]:
    """A bond of an atom with its own image may be named in either direction."""
    i, j, *offset = bond
    return bond if i < j else (i, j, *max(tuple(offset), tuple(-o for o in offset)))


@pytest.mark.parametrize("name", MOLECULAR)
def test_every_bond_closes_in_the_unwrapped_structure(name):
    atoms = MOLECULAR[name]()
    atoms.positions += np.random.default_rng(2).integers(-3, 4, (len(atoms), 3)) @ atoms.cell.array
    crystal = detect(atoms)
    shifts = crystal.image_offsets @ atoms.cell.array
    np.testing.assert_allclose(crystal.positions, atoms.positions + shifts, atol=1e-12)
    i, j = crystal.bonds.T
    in_input = atoms.positions[j] + crystal.bond_offsets @ atoms.cell.array - atoms.positions[i]
    np.testing.assert_allclose(crystal.positions[j] - crystal.positions[i], in_input, atol=1e-9)
    centers = [np.average(crystal.positions[m], axis=0, weights=atoms.get_masses()[m]) for m in crystal.molecules]
    np.testing.assert_allclose(crystal.centers_of_mass, centers, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "dimension"), [("polyacetylene", "a chain"), ("graphite", "a layer"), ("diamond", "a framework")]
)
@pytest.mark.parametrize("repeat", [(1, 1, 1), (2, 3, 1), (1, 1, 2)])
def test_infinite_networks_are_refused_by_dimension(name, dimension, repeat):
    with pytest.raises(InfiniteNetwork, match=f"{dimension}.*bond_tolerance = 1.2"):
        detect(getattr(crystals, name)().repeat(repeat))


def test_one_atom_bonded_to_its_own_images_is_a_network():
    with pytest.raises(InfiniteNetwork, match="a layer"):
        detect(Atoms("C", cell=[1.5, 1.5, 6.0], pbc=True))
    with pytest.raises(InfiniteNetwork, match="a chain"):
        detect(Atoms("C", cell=[[4.0, 0, 0], [4.0, -1.4, 0.2], [0, 0, 6.0]], pbc=True))


def test_network_beside_molecules_is_refused():
    atoms = crystals.polyacetylene()
    atoms += Atoms("Ar", [(3.5, 2.1, 0.0)])
    with pytest.raises(InfiniteNetwork, match="C2H2"):
        detect(atoms)


CHANGES = st.fixed_dictionaries(
    {
        "name": st.sampled_from(sorted(MOLECULAR)),
        "seed": st.integers(0, 2**32 - 1),
        "repeat": st.sampled_from([(1, 1, 1), (1, 2, 1), (2, 1, 1)]),
    }
)


@settings(max_examples=60, deadline=None)
@given(change=CHANGES)
def test_same_crystal_described_otherwise_has_the_same_molecules(change):
    rng = np.random.default_rng(change["seed"])
    atoms = MOLECULAR[change["name"]]().repeat(change["repeat"])
    reference = detect(atoms)
    order = rng.permutation(len(atoms))
    rotation = Rotation.random(random_state=change["seed"]).as_matrix()
    positions = atoms.positions + rng.normal(size=3) * 5 + rng.integers(-2, 3, (len(atoms), 3)) @ atoms.cell.array
    cell = random_basis(rng) @ atoms.cell.array @ rotation
    other = Atoms(atoms.numbers[order], (positions @ rotation)[order], cell=cell, pbc=True)
    crystal = detect(other)
    assert_same_molecules(crystal, reference)
    partition = {frozenset(order[m].tolist()) for m in crystal.molecules}
    assert partition == {frozenset(m.tolist()) for m in reference.molecules}
    fractional = crystal.centers_of_mass @ np.linalg.inv(crystal.cell)
    assert (fractional > -2e-6).all()
    assert (fractional < 1.0).all()


def random_basis(rng: np.random.Generator) -> np.ndarray:
    """A random unimodular matrix of either sign."""
    basis = np.eye(3, dtype=int)
    for _ in range(4):
        i, j = rng.permutation(3)[:2]
        basis[i] += rng.integers(-1, 2) * basis[j]
    return basis[rng.permutation(3)]


FRACTIONS = (0.0, 0.5, 0.25, 0.75, 1 / 3, 2 / 3, 1 / 6, 1 / 8)


@pytest.mark.parametrize("repeat", [(1, 1, 1), (2, 1, 1), (2, 2, 2)])
@pytest.mark.parametrize("name", [name for name in MOLECULAR if name != "two_orientations"])
def test_centre_of_mass_on_a_cell_fraction_is_no_boundary_case(name, repeat):
    atoms = MOLECULAR[name]().repeat(repeat)
    reference = detect(atoms)
    molecules = {0, reference.n_molecules - 1} if repeat == (1, 1, 1) else {0}
    for molecule, fraction in product(molecules, FRACTIONS):
        shift = np.full(3, fraction) @ atoms.cell.array - reference.centers_of_mass[molecule]
        noise = np.random.default_rng(molecule).normal(size=atoms.positions.shape) * 1e-10
        found = []
        for sign, wrapped in [(0, False), (1, True), (-1, True)]:
            shifted = atoms.copy()
            shifted.positions += shift + sign * noise
            if wrapped:
                shifted.wrap()
            found.append(detect(shifted))
        assert_same_molecules(found[-1], reference)
        for crystal in found[1:]:
            np.testing.assert_allclose(crystal.centers_of_mass, found[0].centers_of_mass, atol=1e-8)
            assert crystal.central_molecule_index == found[0].central_molecule_index


def test_molecules_in_a_primitive_cell_equal_those_of_the_conventional_one():
    conventional = crystals.hexamethylenetetramine()
    primitive = make_supercell(conventional, np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]))
    half = conventional.cell.array.T @ np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]).T / 2
    fractional = np.linalg.solve(half, primitive.positions.T).T % 1.0
    _, first = np.unique((fractional.round(6) % 1.0).round(6), axis=0, return_index=True)
    cell = Atoms(primitive.numbers[first], primitive.positions[first], cell=half.T, pbc=True)
    crystal = detect(cell)
    assert len(cell) == 22
    np.testing.assert_allclose(distances_inside(crystal)[0], distances_inside(detect(conventional))[0], atol=1e-9)


@pytest.mark.parametrize("name", ["urea", "oxalic_acid_dihydrate", "argon", "two_orientations"])
def test_distances_to_the_central_molecule_equal_brute_force(name):
    crystal = detect(MOLECULAR[name]())
    central = crystal.positions[crystal.atoms_of(crystal.central_molecule_index)]
    for molecule in range(crystal.n_molecules):
        bounds = []
        for shift in product(range(-3, 4), repeat=3):
            image = crystal.positions[crystal.atoms_of(molecule)] + np.array(shift) @ crystal.cell
            distances = np.linalg.norm(image[:, None] - central[None], axis=-1)
            bounds.append((distances.min(), distances.max()))
        smallest, largest = np.min(bounds, axis=0)
        assert crystal.min_distances_to_central_molecule[molecule] == pytest.approx(smallest, abs=1e-9)
        assert crystal.max_distances_to_central_molecule[molecule] == pytest.approx(largest, abs=1e-9)


@pytest.mark.parametrize("name", MOLECULAR)
def test_central_molecule_is_closest_to_the_centre_of_mass_of_the_system(name):
    atoms = MOLECULAR[name]().repeat((1, 2, 2))
    crystal = detect(atoms)
    center = np.average(crystal.positions, axis=0, weights=atoms.get_masses())
    shifts = np.array(list(product(range(-2, 3), repeat=3))) @ crystal.cell
    images = crystal.centers_of_mass[:, None] + shifts[None] - center
    nearest = np.linalg.norm(images, axis=-1).min(axis=1)
    ties = np.flatnonzero(nearest < nearest.min() + 1e-6)
    assert crystal.central_molecule_index == ties[0]


def displaced(name, seed):
    """The crystal with every atom moved by 0.1 Å in a random direction."""
    atoms = MOLECULAR[name]()
    directions = np.random.default_rng(seed).normal(size=(len(atoms), 3))
    atoms.positions += 0.1 * directions / np.linalg.norm(directions, axis=1)[:, None]
    return atoms


@pytest.mark.parametrize("name", MOLECULAR)
def test_default_tolerance_finds_the_molecules_of_displaced_crystals(name):
    tolerance = FiniteSubsystemFilter().bond_tolerance

    def bonds(atoms, at):
        return np.hstack(find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, at)).tolist()

    expected = bonds(MOLECULAR[name](), tolerance)
    for undistorted in (1.15, 1.35):
        assert bonds(MOLECULAR[name](), undistorted) == expected
    for seed in range(10):
        assert bonds(displaced(name, seed), tolerance) == expected


def test_broken_molecule_names_the_nearest_miss_and_the_tolerance_that_bridges_it():
    atoms = crystals.urea()
    reference = detect(atoms)
    i, j = next((i, j) for i, j in reference.bonds if set(atoms.numbers[[i, j]]) == {1, 7})
    hydrogen, nitrogen = (i, j) if atoms.numbers[i] == 1 else (j, i)
    atoms.set_distance(nitrogen, hydrogen, 1.4, fix=0, mic=True)
    with pytest.raises(UnequalMolecules) as caught:
        detect_molecules(one_frame(atoms))
    message = caught.value.message
    first, second = sorted((hydrogen, nitrogen))
    symbols = [f"{atoms.symbols[k]} {k}" for k in (first, second)]
    assert f"{symbols[0]} to {symbols[1]} (counted from 0): 1.400 Å, 1.373 times" in message  # radii 0.31 and 0.71 Å
    tolerance = float(re.search(r"bond_tolerance = (\S+) bridges it", message).group(1))
    assert tolerance == 1.38
    assert detect_molecules(one_frame(atoms), bond_tolerance=tolerance).n_molecules == 2


def test_co_crystal_needs_permission():
    solvate = one_frame(crystals.oxalic_acid_dihydrate())
    with pytest.raises(UnequalMolecules, match=r"2 x C2H2O4, 4 x H2O.*assert_identical_composition"):
        detect_molecules(solvate)
    crystal = detect_molecules(solvate, assert_identical_composition=False)
    assert not crystal.identical_composition
    assert crystal.index_map.shape == (6, 8)
    assert (crystal.index_map == -1).sum() == 4 * 5
    assert detect_molecules(one_frame(crystals.urea())).identical_composition


def test_isomers_have_identical_composition():
    """The same formula in another order of atoms is the same composition."""
    atoms = Atoms("NNOONN", [(0, 0, 0), (0, 0, 1.13), (0, 0, 2.32), (3.5, 0, 0), (3.5, 0, 1.19), (3.5, 0, 2.32)])
    atoms.set_cell([7.0, 4.0, 6.0])
    atoms.pbc = True
    assert detect_molecules(one_frame(atoms)).identical_composition


def test_crystal_survives_its_arrays(tmp_path):
    crystal = detect(crystals.oxalic_acid_dihydrate())
    np.savez(tmp_path / "crystal.npz", **crystal.to_arrays())
    with np.load(tmp_path / "crystal.npz", allow_pickle=False) as arrays:
        copy = MolecularCrystal.from_arrays(arrays)
    for name, value in crystal.to_arrays().items():
        np.testing.assert_array_equal(getattr(copy, name), value)
    assert type(copy.central_molecule_index) is int
    assert copy.identical_composition is False


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda a: a.positions.__setitem__((0, 0), np.nan), "NaN"),
        (lambda a: a.positions.__setitem__(1, a.positions[0] + a.cell[1] + [0.1, 0, 0]), "0.100 Å apart"),
        (lambda a: a.positions.__setitem__(1, a.positions[0]), "0.000 Å apart"),
        (lambda a: a.numbers.__setitem__(0, 0), "not an element"),
        (lambda a: a.set_cell([[5, 0, 0], [0, 5, 0], [5, 5, 1e-4]]), "volume"),
    ],
)
def test_impossible_structures_are_refused(damage, message):
    atoms = crystals.urea()
    damage(atoms)
    frame = Configurations(numbers=atoms.numbers, positions=atoms.positions[None], cells=atoms.cell.array[None])
    with pytest.raises(InvalidStructure, match=message):
        check_structure(frame)


def test_only_one_periodic_frame_is_a_crystal():
    frame = one_frame(crystals.urea())
    with pytest.raises(InvalidStructure, match=r"2 frame\(s\)"):
        detect_molecules(Configurations.concatenate([frame, frame]))
    with pytest.raises(InvalidStructure, match="no cell"):
        detect_molecules(frame.with_(cells=None))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 40))
def test_sums_to_roots_equal_walking_each_path(seed, n):
    rng = np.random.default_rng(seed)
    parents = np.array([rng.integers(0, i + 1) for i in range(n)])
    steps = rng.integers(-3, 4, (2, n, 3)) * (parents != np.arange(n))[:, None]
    totals = sum_to_roots(parents, steps)
    for atom in range(n):
        walked, here = np.zeros((2, 3), dtype=int), atom
        while parents[here] != here:
            walked, here = walked + steps[:, here], parents[here]
        np.testing.assert_array_equal(totals[:, atom], walked)


def test_forest_follows_bonds_from_the_first_atom_of_each_molecule():
    crystal = detect(crystals.naphthalene())
    parents = spanning_forest(crystal.molecule_of_atom, crystal.bonds)
    bonded = {frozenset(bond.tolist()) for bond in crystal.bonds}
    for atom, parent in enumerate(parents):
        is_first = atom == crystal.atoms_of(crystal.molecule_of_atom[atom])[0]
        assert parent == atom if is_first else frozenset({atom, int(parent)}) in bonded


# Frames


def thermal_frames(crystal: MolecularCrystal, seed: int, *, n_frames: int = 5, strain: float = 0.03) -> Configurations:
    """Continuous frames: molecules rotated by up to 20 degrees, moved by 0.2 Å, atoms by 0.03 Å, cells strained."""
    rng = np.random.default_rng(seed)
    positions = np.repeat(crystal.positions[None], n_frames, axis=0)
    cells = crystal.cell @ (np.eye(3) + rng.uniform(-strain, strain, (n_frames, 3, 3)))
    for frame, (molecule, atoms) in product(range(n_frames), enumerate(crystal.molecules)):
        center = crystal.centers_of_mass[molecule]
        turn = Rotation.from_rotvec(rng.uniform(-0.2, 0.2, 3)).as_matrix()
        moved_center = center @ np.linalg.inv(crystal.cell) @ cells[frame] + rng.normal(size=3) * 0.1
        positions[frame, atoms] = (positions[frame, atoms] - center) @ turn + moved_center
    positions += rng.normal(size=positions.shape) * 0.015
    return Configurations(numbers=crystal.numbers, positions=positions, cells=cells)


def scrambled(frames: Configurations, seed: int) -> Configurations:
    """The same frames, each drifted as a whole and every atom moved by a random lattice vector."""
    rng = np.random.default_rng(seed)
    offsets = rng.integers(-2, 3, frames.positions.shape)
    drift = rng.uniform(-9, 9, (frames.n_frames, 1, 3))
    return frames.with_(positions=frames.positions + drift + offsets @ frames.cells)


def assert_equal_up_to_translation(found: np.ndarray, expected: np.ndarray) -> None:
    difference = found - expected
    np.testing.assert_allclose(difference, np.repeat(difference[:, :1], found.shape[1], axis=1), atol=1e-8)


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(sorted(MOLECULAR)), seed=st.integers(0, 2**32 - 1), repeat=st.sampled_from([1, 2]))
def test_scrambled_frames_are_made_whole_with_every_molecule_in_its_place(name, seed, repeat):
    crystal = detect(MOLECULAR[name]().repeat((1, 1, repeat)))
    frames = thermal_frames(crystal, seed)
    whole = unwrap_molecules(crystal, scrambled(frames, seed))
    assert_equal_up_to_translation(whole.positions, frames.positions)


def test_frames_keep_what_is_known_about_them():
    crystal = detect(crystals.urea())
    frames = thermal_frames(crystal, 1, n_frames=2).with_(energies=np.array([1.0, 2.0]), origin={"md_step": [5, 6]})
    whole = unwrap_molecules(crystal, frames)
    np.testing.assert_array_equal(whole.energies, [1.0, 2.0])
    np.testing.assert_array_equal(whole.origin["md_step"], [5, 6])


@pytest.mark.parametrize("angle", [0, 30, 60, 90, 120, 150, 180])
def test_molecule_turned_round_in_a_small_cell_stays_whole(angle):
    """N2 in a cell of 2.9 Å: turned by 180 degrees, the image nearest to the reference bond is the wrong one."""
    crystal = detect(Atoms("N2", [(0, 0, 0), (1.1, 0, 0)], cell=[[2.9, 0, 0], [0.7, 3.5, 0], [0, 0.6, 3.6]], pbc=True))
    turn = Rotation.from_euler("z", angle, degrees=True).as_matrix()
    positions = (crystal.positions - crystal.centers_of_mass) @ turn
    frames = Configurations(numbers=crystal.numbers, positions=positions[None], cells=crystal.cell[None])
    whole = unwrap_molecules(crystal, scrambled(frames, 3))
    assert_equal_up_to_translation(whole.positions, frames.positions)


def test_molecule_that_diffused_by_a_lattice_vector_is_brought_back():
    crystal = detect(crystals.carbon_dioxide().repeat((2, 2, 1)))
    frames = thermal_frames(crystal, 5)
    moved = frames.positions.copy()
    moved[2, crystal.atoms_of(7)] += np.array([1, -2, 1]) @ frames.cells[2]
    whole = unwrap_molecules(crystal, frames.with_(positions=moved))
    assert_equal_up_to_translation(whole.positions, frames.positions)


def test_frames_of_another_crystal_are_refused():
    crystal = detect(crystals.urea())
    with pytest.raises(InvalidStructure, match="no cells"):
        unwrap_molecules(crystal, one_frame(crystals.urea()).with_(cells=None))
    with pytest.raises(InvalidStructure, match=r"32 atoms.*16 atoms"):
        unwrap_molecules(crystal, one_frame(crystals.urea().repeat((2, 1, 1))))


# Bond checks


def intact_frames(crystal, frames):
    return bonds_intact(crystal, unwrap_molecules(crystal, frames), **TOLERANCES)


def test_undistorted_and_thermal_frames_are_intact():
    for name, build in MOLECULAR.items():
        crystal = detect(build())
        frames = scrambled(thermal_frames(crystal, 11), 11)
        assert intact_frames(crystal, frames).all(), name
        assert intact_frames(crystal, one_frame(build())).all(), name


def test_bond_is_broken_beyond_the_check_tolerance_only():
    crystal = detect(crystals.carbon_dioxide())
    carbon, oxygen = crystal.bonds[0]
    bond = crystal.positions[oxygen] - crystal.positions[carbon]
    limit = 1.5 * (covalent_radii[6] + covalent_radii[8])
    frames = Configurations.concatenate([crystal.reference] * 4)
    positions = frames.positions.copy()
    for frame, length in enumerate([1.16, limit - 1e-6, limit + 1e-6, 2.5]):
        positions[frame, oxygen] = positions[frame, carbon] + bond * length / np.linalg.norm(bond)
    intact = intact_frames(crystal, scrambled(frames.with_(positions=positions), 4))
    assert intact.tolist() == [True, True, False, False]


def test_new_bond_between_molecules_and_to_an_image_is_seen():
    crystal = detect(crystals.argon())
    cutoff = 1.2 * 2 * covalent_radii[18]
    frames = Configurations.concatenate([crystal.reference] * 4)
    positions, cells = frames.positions.copy(), frames.cells.copy()
    for frame, distance in [(1, cutoff + 1e-6), (2, cutoff - 1e-6)]:
        vector = positions[frame, 1] - positions[frame, 0]
        positions[frame, 0] += vector * (1 - distance / np.linalg.norm(vector))
    cells[3, 0] *= 2.4 / np.linalg.norm(cells[3, 0])
    intact = intact_frames(crystal, frames.with_(positions=positions, cells=cells))
    assert intact.tolist() == [True, True, False, False]


@pytest.mark.parametrize(("scale", "intact"), [(0.95, True), (0.90, False), (0.75, False)])
def test_compression_alone_can_form_bonds(scale, intact):
    """Argon squeezed to contacts of 2.8 Å; bonded below 2.54 Å."""
    squeezed = crystals.argon()
    squeezed.set_cell(np.eye(3) * 2.8 * np.sqrt(2), scale_atoms=True)
    crystal = detect(squeezed)
    frame = crystal.reference.with_(positions=crystal.positions[None] * scale, cells=crystal.cell[None] * scale)
    assert intact_frames(crystal, frame).tolist() == [intact]


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), noise=st.floats(0.02, 0.5), name=st.sampled_from(["ammonia", "urea", "argon"]))
def test_bond_check_equals_comparing_whole_bond_graphs(seed, noise, name):
    """The short cut of one list of candidate pairs against a neighbour search in every frame."""
    crystal = detect(MOLECULAR[name]())
    rng = np.random.default_rng(seed)
    positions = crystal.positions + rng.normal(size=(6, crystal.n_atoms, 3)) * noise
    cells = crystal.cell @ (np.eye(3) + rng.uniform(-0.1, 0.1, (6, 3, 3)) * noise / 0.5)
    frames = Configurations(numbers=crystal.numbers, positions=positions, cells=cells)
    known = {(*bond, 0, 0, 0) for bond in crystal.bonds.tolist()}
    expected = []
    for x, cell in zip(positions, cells, strict=True):
        atoms = Atoms(crystal.numbers, x, cell=cell, pbc=True)
        expected.append(brute_force_bonds(atoms, 1.2) <= known <= brute_force_bonds(atoms, 1.5))
    assert intact_frames(crystal, frames).tolist() == expected


@pytest.mark.parametrize("factor", [1000.0 ** (1 / 3), 100.0, 1000.0, 1e100])
def test_cell_a_thousand_times_too_large_is_refused(factor):
    atoms = crystals.argon()
    atoms.set_cell(atoms.cell * factor, scale_atoms=True)
    with pytest.raises(InvalidStructure, match="Å"):
        check_structure(Configurations.from_atoms(atoms))


@pytest.mark.parametrize("number", [97, 118])
def test_element_without_a_covalent_radius_is_refused(number):
    atoms = crystals.argon()
    atoms.numbers[:] = number
    with pytest.raises(InvalidStructure, match="no known covalent radius"):
        check_structure(Configurations.from_atoms(atoms))


@pytest.mark.parametrize("number", [-1, 119, 300])
def test_number_of_no_element_is_refused(number):
    with pytest.raises(InvalidStructure, match="not an element"):
        Configurations(numbers=np.array([number]), positions=np.zeros((1, 1, 3)))
