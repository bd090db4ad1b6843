"""Identities of the many-body expansion, counts of calculations, and QCManyBody's numbers."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import comb

import numpy as np
import pytest
from cluster_examples import gas, shaken_clusters
from crystals import carbon_dioxide, oxalic_acid_dihydrate
from reference_potentials import AxilrodTeller, ManyBodyWithBasis, Pairwise, label

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.reference_labels.many_body_expansion import expand, expansion_terms
from aiida_mbetrain.settings import ExternalMethod, ReferenceLabels

METHOD = ExternalMethod(code="numbers", method="analytic")
BOHR = 0.529177210903
SCHEMES = ("none", "cp", "vmfc")


def settings(order, counterpoise="none", **others):
    return ReferenceLabels(method=METHOD, order=order, counterpoise=counterpoise, **others)


def expanded(clusters, crystal, order, counterpoise="none"):
    return expand({"set": clusters}, {"set": crystal}, settings(order, counterpoise))


def composed(clusters, crystal, order, backend, counterpoise="none"):
    expansion = expanded(clusters, crystal, order, counterpoise)
    return expansion.clusters["set"].compose(label(expansion.fragments, backend))


@pytest.fixture(scope="module")
def pentamer():
    """Five molecules of dry ice in three shaken frames."""
    crystal, (clusters,) = shaken_clusters(carbon_dioxide(), [5])
    return crystal, clusters


@pytest.fixture(scope="module")
def tetramer():
    """Four water molecules, none like another."""
    rng = np.random.default_rng(5)
    water = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    corners = np.array([[0, 0, 0], [2.9, 0, 0.2], [0.1, 3.0, 0], [2.8, 2.9, 1.2]])
    shaken = [water + corner + 0.05 * rng.standard_normal((3, 3)) for corner in corners]
    # QCSchema keeps 8 decimals, in bohr
    return gas([([8, 1, 1], np.round(positions / BOHR, 6) * BOHR) for positions in shaken])


def whole(clusters, crystal, backend):
    return composed(clusters, crystal, None, backend)


@pytest.mark.parametrize("counterpoise", SCHEMES)
def test_pairwise_energies_are_exact_at_order_2(pentamer, counterpoise):
    crystal, clusters = pentamer
    exact = whole(clusters, crystal, Pairwise())
    found = composed(clusters, crystal, 3, Pairwise(), counterpoise)
    np.testing.assert_allclose(found.energies, exact.energies, atol=1e-10)
    np.testing.assert_allclose(found.forces, exact.forces, atol=1e-10)
    np.testing.assert_allclose(found.contributions[:, 2], 0.0, atol=1e-10)
    second = composed(clusters, crystal, 2, Pairwise(), counterpoise)
    np.testing.assert_allclose(second.energies, exact.energies, atol=1e-10)


def test_three_body_energies_are_exact_at_order_3_and_not_before(pentamer):
    crystal, clusters = pentamer
    exact = whole(clusters, crystal, AxilrodTeller())
    third = composed(clusters, crystal, 3, AxilrodTeller())
    np.testing.assert_allclose(third.energies, exact.energies, rtol=1e-10)
    np.testing.assert_allclose(third.forces, exact.forces, atol=1e-9)
    second = composed(clusters, crystal, 2, AxilrodTeller())
    assert np.abs(second.energies - exact.energies).min() > 1e-4


@pytest.mark.parametrize("counterpoise", ["none", "cp"])
def test_full_order_is_the_supersystem(pentamer, counterpoise):
    crystal, clusters = pentamer
    exact = whole(clusters, crystal, ManyBodyWithBasis())
    found = composed(clusters, crystal, 5, ManyBodyWithBasis(), counterpoise)
    np.testing.assert_allclose(found.energies, exact.energies, rtol=1e-12)
    np.testing.assert_allclose(found.forces, exact.forces, atol=1e-10)


def test_an_order_above_the_size_changes_nothing(tetramer):
    crystal, clusters = tetramer
    full = composed(clusters, crystal, 4, ManyBodyWithBasis(), "vmfc")
    beyond = composed(clusters, crystal, 6, ManyBodyWithBasis(), "vmfc")
    np.testing.assert_array_equal(beyond.energies, full.energies)
    np.testing.assert_array_equal(beyond.contributions[:, 4:], 0.0)


@pytest.mark.parametrize("counterpoise", SCHEMES)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_coefficients_are_those_of_the_definition(counterpoise, order):
    """Sum over S of at most k molecules and over T in S, written out."""
    n, wanted = 5, {}
    for size in range(1, order + 1):
        for subset in combinations(range(n), size):
            for part in (part for k in range(1, size + 1) for part in combinations(subset, k)):
                basis = {"none": part, "cp": tuple(range(n)), "vmfc": subset}[counterpoise]
                key = part, tuple(m for m in basis if m not in part)
                wanted[key] = wanted.get(key, 0) + (-1) ** (size - len(part))
    found = {(term.real, term.ghosts): sum(term.contributions) for term in expansion_terms(n, order, counterpoise)}
    assert found == wanted


@pytest.mark.parametrize(("counterpoise", "count"), [("none", 15), ("cp", 15), ("vmfc", 65)])
def test_calculations_of_a_tetramer(tetramer, counterpoise, count):
    crystal, clusters = tetramer
    assert len(expanded(clusters, crystal, 4, counterpoise).fragments) == count


@pytest.mark.parametrize(
    ("order", "counterpoise", "before", "after"),
    [(3, "none", 246, 92), (3, "vmfc", 1170, 484), (3, "cp", 246, 246), (4, "none", 372, 162), (4, "vmfc", 3060, 1534)],
)
def test_nested_clusters_share_their_fragments(order, counterpoise, before, after):
    crystal, sets = shaken_clusters(carbon_dioxide() * (2, 2, 2), list(range(1, 9)), n_frames=1)
    assert {clusters.cluster.n_repeated_molecules for clusters in sets} == {0}
    named = {clusters.cluster.key: clusters for clusters in sets}
    expansion = expand(named, dict.fromkeys(named, crystal), settings(order, counterpoise))
    assert (expansion.n_terms, len(expansion.fragments), expansion.n_clusters) == (before, after, 8)


def test_periodic_images_of_a_fragment_are_one_calculation():
    """In a cell of four molecules a cluster of eight repeats some: their monomers, and pairs by the same vector."""
    crystal, (clusters,) = shaken_clusters(carbon_dioxide(), [8], n_frames=2)
    assert clusters.cluster.n_repeated_molecules == 5
    expansion = expanded(clusters, crystal, 1)
    assert len(expansion.fragments) == 2 * (8 - 5)
    exact = composed(clusters, crystal, 2, Pairwise())
    np.testing.assert_allclose(exact.energies, whole(clusters, crystal, Pairwise()).energies, atol=1e-10)
    np.testing.assert_allclose(exact.forces, whole(clusters, crystal, Pairwise()).forces, atol=1e-10)


def test_molecules_far_apart_have_no_interaction_and_no_counterpoise_correction():
    water = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    crystal, clusters = gas([([8, 1, 1], water + np.array([50.0 * k, 0, 0])) for k in range(3)])
    energies = {c: composed(clusters, crystal, 3, ManyBodyWithBasis(), c).energies for c in SCHEMES}
    np.testing.assert_allclose(energies["cp"], energies["none"], rtol=1e-14)
    np.testing.assert_allclose(energies["vmfc"], energies["none"], rtol=1e-14)
    np.testing.assert_allclose(composed(clusters, crystal, 1, ManyBodyWithBasis(), "cp").energies, energies["cp"])


@pytest.mark.parametrize("counterpoise", SCHEMES)
def test_forces_are_derivatives_of_the_energy(tetramer, counterpoise):
    crystal, clusters = tetramer
    frames, h = clusters.configurations, 1e-4
    moved = np.repeat(frames.positions, 6, axis=0)
    for k, (atom, axis) in enumerate([(0, 0), (4, 1), (11, 2)]):
        moved[2 * k, atom, axis] += h
        moved[2 * k + 1, atom, axis] -= h
    displaced = replace(clusters, configurations=Configurations(frames.numbers, moved))
    energies = composed(displaced, crystal, 3, ManyBodyWithBasis(), counterpoise).energies
    forces = composed(clusters, crystal, 3, ManyBodyWithBasis(), counterpoise).forces[0]
    numerical = (energies[1::2] - energies[::2]) / (2 * h)
    np.testing.assert_allclose([forces[0, 0], forces[4, 1], forces[11, 2]], numerical, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("counterpoise", SCHEMES)
def test_rotation_translation_and_order_of_molecules_change_nothing(tetramer, counterpoise):
    crystal, clusters = tetramer
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))
    order = np.array([2, 0, 3, 1])
    atoms = np.concatenate([np.arange(3) + 3 * m for m in order])
    frames = clusters.configurations
    turned = Configurations(frames.numbers[atoms], frames.positions[:, atoms] @ rotation.T + 7.0)
    shuffled = replace(
        clusters,
        configurations=turned,
        cluster=replace(clusters.cluster, molecule_indices=clusters.cluster.molecule_indices[order]),
    )
    before = composed(clusters, crystal, 3, ManyBodyWithBasis(), counterpoise)
    after = composed(shuffled, crystal, 3, ManyBodyWithBasis(), counterpoise)
    np.testing.assert_allclose(after.energies, before.energies, rtol=1e-12)
    np.testing.assert_allclose(after.interaction, before.interaction, rtol=1e-9)
    np.testing.assert_allclose(after.forces, before.forces[:, atoms] @ rotation.T, atol=1e-10)


def test_interaction_energy_is_what_the_molecules_lack(pentamer):
    crystal, clusters = pentamer
    monomers = composed(clusters, crystal, 1, ManyBodyWithBasis())
    found = composed(clusters, crystal, 3, ManyBodyWithBasis())
    np.testing.assert_allclose(found.interaction, found.energies - monomers.energies, atol=1e-9)
    np.testing.assert_allclose(found.contributions.sum(axis=1), found.energies, rtol=1e-14)
    assert monomers.interaction.tolist() == [0.0] * 3
    assert whole(clusters, crystal, ManyBodyWithBasis()).interaction is None


def test_a_cluster_with_a_missing_fragment_has_no_label_and_names_it(pentamer):
    crystal, clusters = pentamer
    expansion = expanded(clusters, crystal, 2)
    labels = label(expansion.fragments, Pairwise())
    lost = expansion.clusters["set"].rows[1, 7]
    labels.energies[lost] = np.nan
    found = expansion.clusters["set"].compose(labels)
    assert np.isnan(found.energies).tolist() == [False, True, False]
    assert np.isnan(found.forces[1]).all()
    assert not np.isnan(found.forces[[0, 2]]).any()
    assert found.missing == ((), (expansion.fragments.ids[lost],), ())


def test_energies_alone_are_labels(pentamer):
    crystal, clusters = pentamer
    expansion = expanded(clusters, crystal, 2)
    labels = label(expansion.fragments, Pairwise())
    with_forces = expansion.clusters["set"].compose(labels)
    labels.forces[:] = np.nan
    found = expansion.clusters["set"].compose(labels)
    np.testing.assert_array_equal(found.energies, with_forces.energies)
    assert np.isnan(found.forces).all()


def test_fragments_carry_the_sum_of_charges_and_of_unpaired_electrons():
    crystal, (clusters,) = shaken_clusters(oxalic_acid_dihydrate(), [3], n_frames=1)
    kinds = [crystal.composition_of(m) for m in clusters.cluster.molecule_indices]
    chosen = settings(2, charges={"H2O": 1, "C2H2O4": -2}, multiplicities={"H2O": 2})
    expansion = expand({"set": clusters}, {"set": crystal}, chosen)
    for term, row in zip(expansion.clusters["set"].terms, expansion.clusters["set"].rows[0], strict=True):
        waters = sum(kinds[m] == "H2O" for m in term.real)
        fragment = expansion.fragments[row]
        assert fragment.charge == waters - 2 * (len(term.real) - waters)
        assert fragment.multiplicity == waters + 1


def test_number_of_terms_grows_as_binomials():
    assert len(expansion_terms(8, 3)) == sum(comb(8, k) for k in (1, 2, 3))
    assert len(expansion_terms(8, 3, "vmfc")) == sum(comb(8, k) * (2**k - 1) for k in (1, 2, 3))


@pytest.mark.parametrize(("counterpoise", "theirs"), [("none", "nocp"), ("cp", "cp"), ("vmfc", "vmfc")])
@pytest.mark.parametrize("order", [2, 4])
def test_interaction_energies_are_those_of_qcmanybody(tetramer, counterpoise, theirs, order):
    core = pytest.importorskip("qcmanybody.core", reason="QCManyBody is not installed")
    from qcelemental.models import Molecule

    crystal, clusters = tetramer
    frames = clusters.configurations
    molecule = Molecule(
        symbols=["O", "H", "H"] * 4,
        geometry=frames.positions[0] / BOHR,
        fragments=[list(range(3 * m, 3 * m + 3)) for m in range(4)],
        fix_com=True,
        fix_orientation=True,
    )
    levels = {m: "analytic" for m in range(1, order + 1)}
    plan = core.ManyBodyCore(
        molecule, [theirs], levels, return_total_data=True, supersystem_ie_only=False, embedding_charges=None
    )
    backend, results = ManyBodyWithBasis(), {}
    for _, name, part in plan.iterate_molecules():
        fragment = fragment_of(part)
        results[name] = {"energy": backend.evaluate(fragment).energy}
    found = composed(clusters, crystal, order, backend, counterpoise)
    wanted = plan.analyze(results)["results"]
    np.testing.assert_allclose(
        found.interaction[0],
        wanted[f"{theirs}_corrected_interaction_energy"],
        rtol=1e-9,
    )


def fragment_of(molecule):
    from aiida_mbetrain.science.reference_labels.fragments import Fragment

    positions = np.asarray(molecule.geometry).reshape(-1, 3) * BOHR
    return Fragment(np.array([8, 1, 1] * (len(positions) // 3)), positions, ~np.asarray(molecule.real))
