"""Clusters: against enumeration over images, known coordination shells, and changes of description."""

from itertools import product

import crystals
import numpy as np
import pytest
from ase import Atoms
from crystals import MOLECULAR, one_frame
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from aiida_mbetrain.errors import BrokenMolecules
from aiida_mbetrain.science import configurations
from aiida_mbetrain.science.clusters import Cluster, ClusterSet, extract_clusters, select_clusters
from aiida_mbetrain.science.clusters.extraction import neighbors_within
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecules import MolecularCrystal, detect_molecules
from aiida_mbetrain.settings import DISTANCE_RULES, NUMBER_RULES, FiniteSubsystemFilter

RULES = (*NUMBER_RULES, *DISTANCE_RULES)
CENTRAL_RULES = tuple(rule for rule in RULES if rule != "closest_to_center_of_mass")
Member = tuple[int, tuple[int, int, int]]


def detect(atoms: Atoms) -> MolecularCrystal:
    return detect_molecules(one_frame(atoms), assert_identical_composition=False)


def rule_for(name: str, **changes) -> FiniteSubsystemFilter:
    """Settings of one rule, with a range of sizes or distances."""
    chosen = (
        {"n_molecules": (1, 2, 3, 5, 9)} if name in NUMBER_RULES else {"n_molecules": None, "distances": (2.7, 6.5)}
    )
    return FiniteSubsystemFilter(**({"selection_rule": name} | chosen | changes))


def members(cluster: Cluster) -> list[Member]:
    return [(int(m), tuple(map(int, t))) for m, t in zip(cluster.molecule_indices, cluster.translations, strict=True)]


def images_by_brute_force(crystal: MolecularCrystal, rule: str, reach: int) -> list[tuple[float, int, tuple]]:
    """(distance, molecule, translation) of every image up to ``reach`` cells away, by the rule's own definition."""
    central = crystal.positions[crystal.atoms_of(crystal.central_molecule_index)]
    system = np.average(crystal.positions, axis=0, weights=crystal.reference.masses)
    found = []
    for molecule in range(crystal.n_molecules):
        atoms = crystal.positions[crystal.atoms_of(molecule)]
        for translation in product(range(-reach, reach + 1), repeat=3):
            shift = np.array(translation) @ crystal.cell
            center = crystal.centers_of_mass[molecule] + shift
            contacts = np.linalg.norm((atoms + shift)[:, None] - central[None], axis=-1)
            distance = {
                "closest_to_center_of_mass": np.linalg.norm(center - system),
                "closest_to_central_molecule": np.linalg.norm(
                    center - crystal.centers_of_mass[crystal.central_molecule_index]
                ),
                "closest_contact_to_central_molecule": contacts.min(),
                "max_min_distance_to_central_molecule": contacts.min(),
                "max_max_distance_to_central_molecule": contacts.max(),
            }[rule]
            found.append((float(distance), molecule, translation))
    return sorted(found)


def in_order(images: list[tuple[float, int, tuple]]) -> list[tuple[float, int, tuple]]:
    """Sorted images with distances closer than 1e-6 Å ordered by molecule and translation."""
    ordered, shell = [], [images[0]]
    for image in images[1:]:
        if image[0] - shell[-1][0] > 1e-6:
            ordered += sorted(shell, key=lambda i: i[1:])
            shell = []
        shell.append(image)
    return ordered + sorted(shell, key=lambda i: i[1:])


@pytest.mark.parametrize("name", MOLECULAR)
@pytest.mark.parametrize("rule", RULES)
def test_clusters_equal_enumeration_over_images(name, rule):
    crystal = detect(MOLECULAR[name]())
    images = images_by_brute_force(crystal, rule, reach=4 if crystal.n_molecules == 1 else 3)
    central = (crystal.central_molecule_index, (0, 0, 0))
    ordered = in_order(images)
    if rule in CENTRAL_RULES:
        ordered = [(0.0, *central)] + [image for image in ordered if image[1:] != central]
    filter_ = rule_for(rule)
    clusters = select_clusters(crystal, filter_)
    if filter_.counts_molecules:
        expected = [ordered[:n] for n in filter_.n_molecules]
        assert [c.key for c in clusters] == [f"n={n}" for n in filter_.n_molecules]
    else:
        expected = [[i for i in ordered if i[0] < d or i[1:] == central] for d in filter_.distances]
        assert [c.key for c in clusters] == [f"r={d:.2f}" for d in filter_.distances]
    for cluster, images_ in zip(clusters, expected, strict=True):
        assert members(cluster) == [image[1:] for image in images_]
        assert cluster.n_repeated_molecules == len(images_) - len({image[1] for image in images_})


def test_neighbours_in_ammonia_are_two_shells_of_six():
    """P2_13, closest contact up to 2.6 Å: six hydrogen-bonded pairs and six others around every molecule."""
    crystal = detect(crystals.ammonia())
    for molecule in range(4):
        distances = neighbors_within(crystal, molecule, 2.6, measure="closest_contact").distances
        assert len(distances) == 12
        np.testing.assert_allclose(distances[:6], distances[0], atol=1e-9)
        np.testing.assert_allclose(distances[6:], distances[6], atol=1e-9)
        assert distances[6] - distances[5] > 0.1


def test_neighbours_in_carbon_dioxide_are_one_shell_of_twelve():
    crystal = detect(crystals.carbon_dioxide())
    for molecule in range(4):
        distances = neighbors_within(crystal, molecule, 3.2, measure="closest_contact").distances
        np.testing.assert_allclose(distances, np.full(12, distances[0]), atol=1e-9)


def test_argon_has_the_shells_of_the_face_centred_lattice():
    crystal = detect(crystals.argon().repeat((2, 1, 1)))
    a = 5.311
    distances = neighbors_within(crystal, 0, 1.5 * a, measure="center_of_mass").distances
    expected = np.repeat(a * np.sqrt([0.5, 1.0, 1.5, 2.0]), [12, 6, 24, 12])
    np.testing.assert_allclose(distances, expected, atol=1e-9)


def test_distance_rules_are_strict():
    crystal = detect(crystals.argon())
    shell = 5.311 / np.sqrt(2)
    for cutoff, n_molecules in [(shell - 1e-3, 1), (shell, 1), (shell + 5e-7, 1), (shell + 1e-3, 13)]:
        for rule in DISTANCE_RULES:
            cluster, _ = select_clusters(crystal, rule_for(rule, distances=(cutoff, 6.0)))
            assert cluster.n_molecules == n_molecules
        assert len(neighbors_within(crystal, 0, cutoff, measure="closest_contact")) == n_molecules - 1


def test_unsorted_distances_keep_their_labels():
    crystal = detect(crystals.carbon_dioxide())
    clusters = select_clusters(crystal, rule_for("max_min_distance_to_central_molecule", distances=(6.5, 3.2, 5.123)))
    assert [cluster.key for cluster in clusters] == ["r=3.20", "r=5.12", "r=6.50"]
    assert clusters[0].n_molecules == 13
    assert clusters[0].n_molecules < clusters[1].n_molecules < clusters[2].n_molecules


def test_central_molecule_is_a_member_below_its_own_diameter():
    crystal = detect(crystals.benzene())
    (cluster,) = select_clusters(crystal, rule_for("max_max_distance_to_central_molecule", distances=1.0))
    assert members(cluster) == [(crystal.central_molecule_index, (0, 0, 0))]


def test_guest_with_the_same_centre_does_not_displace_the_central_molecule():
    """Helium in the centre of a ring: equal centres of mass, and the guest may have the lower index."""
    ring = np.array([[np.cos(t), np.sin(t), 0] for t in np.arange(6) * np.pi / 3]) * 2.6
    bonded = Atoms("C6", ring * 1.40 / 2.6, cell=[9, 9, 9], pbc=True)
    for guest_first in (True, False):
        guest = Atoms("He", [(0, 0, 0)], cell=bonded.cell, pbc=True)
        crystal = detect(guest + bonded if guest_first else bonded + guest)
        clusters = select_clusters(crystal, rule_for("closest_to_central_molecule", n_molecules=2))
        assert clusters[0].molecule_indices[0] == crystal.central_molecule_index
        assert set(clusters[0].molecule_indices) == {0, 1}


def test_small_cells_repeat_molecules_and_say_so():
    rule = rule_for("closest_to_central_molecule", n_molecules=(1, 5, 13))
    primitive = Atoms("Ar", cell=5.311 / 2 * (1 - np.eye(3)), pbc=True)
    large = crystals.argon().repeat((3, 3, 3))
    repeated = [[c.n_repeated_molecules for c in select_clusters(detect(a), rule)] for a in (primitive, large)]
    assert repeated == [[0, 4, 12], [0, 0, 0]]


def fingerprint(configurations: Configurations) -> np.ndarray:
    """Sorted (element, element, distance) of all pairs of atoms of the first frame."""
    numbers, positions = configurations.numbers, configurations.positions[0]
    i, j = np.triu_indices(len(numbers), 1)
    low, high = np.minimum(numbers[i], numbers[j]), np.maximum(numbers[i], numbers[j])
    distances = np.linalg.norm(positions[i] - positions[j], axis=1)
    order = np.lexsort((distances, high, low))
    return np.stack([low, high, distances])[:, order]


FULL_SHELLS = {
    "carbon_dioxide": rule_for("closest_to_central_molecule", n_molecules=13),
    "ammonia": rule_for("closest_contact_to_central_molecule", n_molecules=13),
    "benzene": rule_for("max_min_distance_to_central_molecule", distances=2.9),
    "naphthalene": rule_for("max_max_distance_to_central_molecule", distances=12.0),
    "urea": rule_for("max_min_distance_to_central_molecule", distances=2.9),
}
"""Rules that cut no shell of equal distances, in crystals whose molecules are all equivalent."""


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(sorted(FULL_SHELLS)), seed=st.integers(0, 2**32 - 1), repeat=st.sampled_from([1, 2]))
def test_clusters_do_not_depend_on_how_the_crystal_is_described(name, seed, repeat):
    """Rotation, translation, permutation, wrapping, basis and size of the cell: the same finite system."""
    rng = np.random.default_rng(seed)
    atoms, rule = MOLECULAR[name](), FULL_SHELLS[name]
    (reference,) = extract_clusters(detect(atoms), one_frame(atoms), rule)
    atoms = atoms.repeat((1, repeat, 1))
    order, rotation = rng.permutation(len(atoms)), Rotation.random(random_state=seed).as_matrix()
    positions = atoms.positions + rng.normal(size=3) * 4 + rng.integers(-2, 3, (len(atoms), 3)) @ atoms.cell.array
    shear = np.eye(3, dtype=int)
    shear[rng.permutation(3)[0]] += rng.integers(-1, 2) * shear[rng.permutation(3)[1]]
    shear = shear if round(np.linalg.det(shear)) == 1 else np.eye(3, dtype=int)
    cell = shear @ atoms.cell.array @ rotation
    other = Atoms(atoms.numbers[order], (positions @ rotation)[order], cell=cell, pbc=True)
    (found,) = extract_clusters(detect(other), one_frame(other), rule)
    np.testing.assert_allclose(fingerprint(found.configurations), fingerprint(reference.configurations), atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(sorted(MOLECULAR)), rule=st.sampled_from(RULES), seed=st.integers(0, 2**32 - 1))
def test_rounding_errors_decide_no_tie(name, rule, seed):
    rng = np.random.default_rng(seed)
    atoms = MOLECULAR[name]()
    noisy = atoms.copy()
    noisy.positions += rng.normal(size=atoms.positions.shape) * 1e-9
    noisy.positions += rng.integers(-2, 3, (len(atoms), 3)) @ atoms.cell.array
    first, second = (select_clusters(detect(a), rule_for(rule)) for a in (atoms, noisy))
    assert [members(c) for c in first] == [members(c) for c in second]


# Frames


def moving_frames(crystal: MolecularCrystal, seed: int, n_frames: int = 4) -> Configurations:
    """Continuous frames with displacements around 0.05 Å and cells of their own."""
    rng = np.random.default_rng(seed)
    cells = crystal.cell @ (np.eye(3) + rng.uniform(-0.03, 0.03, (n_frames, 3, 3)))
    fractional = crystal.centers_of_mass @ np.linalg.inv(crystal.cell)
    rigid = (fractional @ cells - crystal.centers_of_mass)[:, crystal.molecule_of_atom]
    positions = crystal.positions + rigid + rng.normal(size=rigid.shape) * 0.03
    return Configurations(numbers=crystal.numbers, positions=positions, cells=cells)


def scrambled(frames: Configurations, seed: int) -> Configurations:
    """The same frames, each drifted as a whole and every atom moved by a random lattice vector."""
    rng = np.random.default_rng(seed)
    offsets = rng.integers(-2, 3, frames.positions.shape)
    drift = rng.uniform(-9, 9, (frames.n_frames, 1, 3))
    return frames.with_(positions=frames.positions + drift + offsets @ frames.cells)


@pytest.mark.parametrize("name", ["urea", "ammonia", "oxalic_acid_dihydrate", "long_molecule_in_small_cell"])
@pytest.mark.parametrize("rule", RULES)
def test_every_frame_holds_the_same_molecules_in_its_own_cell(name, rule):
    crystal = detect(MOLECULAR[name]().repeat((1, 1, 2)))
    frames = moving_frames(crystal, 7)
    for found in extract_clusters(crystal, scrambled(frames, 7), rule_for(rule)):
        configurations = found.configurations
        assert not configurations.periodic
        numbers, columns = [], []
        for molecule, translation in members(found.cluster):
            atoms = crystal.atoms_of(molecule)
            numbers.extend(crystal.numbers[atoms])
            columns.append(frames.positions[:, atoms] + (np.array(translation) @ frames.cells)[:, None])
        expected = np.concatenate(columns, axis=1)
        drift = configurations.positions[:, :1] - expected[:, :1]
        np.testing.assert_array_equal(configurations.numbers, numbers)
        np.testing.assert_allclose(configurations.positions, expected + drift, atol=1e-8)


@pytest.mark.parametrize("rule", CENTRAL_RULES)
def test_choosing_in_a_slightly_moved_frame_gives_the_same_cluster(rule):
    """No ties: the cluster cut with the reference's choice is the one enumerated in the frame itself."""
    crystal = detect(crystals.two_orientations())
    noise = np.random.default_rng(3).normal(size=(4, crystal.n_atoms, 3)) * 1e-5
    cells = np.repeat(crystal.cell[None], 4, axis=0)
    frames = Configurations(numbers=crystal.numbers, positions=crystal.positions + noise, cells=cells)
    sets = extract_clusters(crystal, scrambled(frames, 3), rule_for(rule))
    for frame, found in product(range(len(frames)), sets):
        atoms = Atoms(crystal.numbers, frames.positions[frame], cell=crystal.cell, pbc=True)
        own = detect(atoms)
        assert own.central_molecule_index == crystal.central_molecule_index
        again = {each.cluster.key: each for each in extract_clusters(own, one_frame(atoms), rule_for(rule))}
        difference = found.configurations.positions[frame] - again[found.cluster.key].configurations.positions[0]
        np.testing.assert_allclose(difference, np.repeat(difference[:1], len(difference), axis=0), atol=1e-8)


def test_cluster_crosses_the_cell_boundary():
    """A pair on both sides of a face, wrapped into the cell, comes out as a pair."""
    atoms = Atoms("Ar2", [(1.6, 5, 5), (10.3, 5, 5)], cell=[12, 10, 10], pbc=True)
    (pair,) = extract_clusters(detect(atoms), one_frame(atoms), rule_for(NUMBER_RULES[1], n_molecules=2))
    assert np.ptp(pair.configurations.positions[0], axis=0) == pytest.approx([3.3, 0, 0])


def broken_run() -> tuple[MolecularCrystal, Configurations]:
    """Six frames of CO2 of which the third lost an oxygen."""
    crystal = detect(crystals.carbon_dioxide())
    frames = moving_frames(crystal, 9, n_frames=6)
    positions = frames.positions.copy()
    carbon, oxygen = crystal.bonds[0]
    positions[2, oxygen] += positions[2, oxygen] - positions[2, carbon]
    return crystal, frames.with_(positions=positions, origin={"md_step": np.arange(6) * 50})


@pytest.mark.parametrize(("treatment", "kept"), [("drop", [0, 1, 3, 4, 5]), ("keep", [0, 1, 2, 3, 4, 5])])
def test_broken_frames_are_dropped_or_kept_and_recorded(treatment, kept):
    crystal, frames = broken_run()
    for found in extract_clusters(crystal, frames, rule_for(NUMBER_RULES[1], broken_molecules=treatment)):
        origin = found.configurations.origin
        np.testing.assert_array_equal(origin["frame"], kept)
        np.testing.assert_array_equal(origin["md_step"], np.array(kept) * 50)
        np.testing.assert_array_equal(origin["intact"], np.array(kept) != 2)


@pytest.mark.parametrize("treatment", ["drop", "keep"])
def test_frames_in_blocks_give_the_same_bits_as_all_at_once(treatment, monkeypatch):
    crystal, frames = broken_run()
    rule = rule_for(NUMBER_RULES[1], broken_molecules=treatment)
    whole = extract_clusters(crystal, frames, rule)
    monkeypatch.setattr(configurations, "BLOCK_BYTES", 2 * 24 * frames.n_atoms)
    assert len(list(frames.blocks())) > 1
    for found, expected in zip(extract_clusters(crystal, frames, rule), whole, strict=True):
        for name, values in expected.to_arrays().items():
            np.testing.assert_array_equal(found.to_arrays()[name], values)


def test_broken_frames_are_refused_by_number():
    crystal, frames = broken_run()
    with pytest.raises(BrokenMolecules, match=r"1 of 6 frames .*\(frames 2, "):
        extract_clusters(crystal, frames, rule_for(NUMBER_RULES[1], broken_molecules="refuse"))


def test_no_intact_frame_left_is_an_error():
    crystal, frames = broken_run()
    with pytest.raises(BrokenMolecules, match="None of the 1 frames"):
        extract_clusters(crystal, frames.select([2]), rule_for(NUMBER_RULES[1]))


def test_check_tolerance_decides_what_is_broken():
    crystal, frames = broken_run()
    rule = rule_for(NUMBER_RULES[1], bond_check_tolerance=2.0, broken_molecules="refuse")
    assert extract_clusters(crystal, frames, rule)[0].configurations.n_frames == 6


def test_cluster_set_survives_its_arrays(tmp_path):
    crystal, frames = broken_run()
    (found,) = extract_clusters(crystal, frames, rule_for(NUMBER_RULES[0], n_molecules=3))
    np.savez(tmp_path / "clusters.npz", **found.to_arrays())
    with np.load(tmp_path / "clusters.npz", allow_pickle=False) as arrays:
        copy = ClusterSet.from_arrays(arrays)
    assert members(copy.cluster) == members(found.cluster)
    assert (copy.cluster.key, copy.cluster.n_repeated_molecules) == ("n=3", found.cluster.n_repeated_molecules)
    np.testing.assert_array_equal(copy.configurations.positions, found.configurations.positions)
    np.testing.assert_array_equal(copy.configurations.origin["md_step"], found.configurations.origin["md_step"])
