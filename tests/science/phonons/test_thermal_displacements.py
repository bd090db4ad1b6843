"""Phonon frames against the supercell's Hessian, phonopy and statistics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import units
from cheap_potentials import HarmonicCrystal, sodium_chloride
from phonopy.phonon.random_displacements import RandomDisplacements
from scipy import stats
from spring_crystals import as_phonopy, monatomic_chain_crystal, rock_salt, scrambled_eigh, triclinic_crystal

from aiida_mbetrain.errors import IncommensurateMesh, InvalidSettings, NoModesSelected, SelectedModesOutOfRange
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.phonons import PhononFrames, calculate_force_constants, sample_phonons
from aiida_mbetrain.science.phonons import normal_modes as normal_modes_module
from aiida_mbetrain.science.phonons.thermal_displacements import thermal_sigma
from aiida_mbetrain.settings import FreeEnergy, PhononFilter, PhononSampling

EVERYTHING = {"k_point_mesh": "commensurate", "freq_min_THz": 0.0, "freq_max_THz": None}


@pytest.fixture(scope="module")
def triclinic():
    return triclinic_crystal()


@pytest.fixture(scope="module")
def salt():
    return rock_salt()


def sample(crystal, *, phonon_filter=EVERYTHING, **settings) -> PhononFrames:
    return sample_phonons(crystal, PhononSampling(phonon_filter=phonon_filter, **settings))


def displacements(crystal, sampled: PhononFrames):
    return sampled.frames.positions - crystal.supercell.positions[0]


def covariance(crystal, sampled: PhononFrames):
    """<u u^T> over the frames, (3 Ns, 3 Ns); for frames of one mode each, summed over the modes."""
    u = displacements(crystal, sampled).reshape(sampled.frames.n_frames, -1)
    return u.T @ u / len(sampled.mode_amplitudes)


def exact_covariance(crystal, temperature_K, statistics):
    """From the eigenvectors of the mass-weighted Hessian of the whole supercell; units from ase, Å²."""
    masses = np.repeat(crystal.supercell.masses, 3)
    n = len(masses)
    hessian = crystal.force_constants.swapaxes(1, 2).reshape(n, n)
    eigenvalues, vectors = np.linalg.eigh(hessian / np.sqrt(np.outer(masses, masses)))
    omega = np.sqrt(eigenvalues[3:])
    hbar_omega = units._hbar / units._e * units.s * omega
    kT = units.kB * temperature_K
    energy = hbar_omega * (0.5 + 1.0 / np.expm1(hbar_omega / kT)) if statistics == "quantum" else kT
    scaled = vectors[:, 3:] / np.sqrt(masses)[:, None]
    return (scaled * (energy / omega**2)) @ scaled.T


def distance(matrix, reference):
    return np.linalg.norm(matrix - reference) / np.linalg.norm(reference)


@pytest.mark.parametrize("statistics", ["quantum", "classical"])
@pytest.mark.parametrize("crystal", [triclinic_crystal(), rock_salt(), monatomic_chain_crystal()])
def test_modes_add_up_to_the_exact_covariance(crystal, statistics):
    """Frames at plus and minus one σ of every mode have exactly its mean square."""
    sampled = sample(crystal, amplitude_scan="equidistant", n_frames=2, amplitude_max=1.0, statistics=statistics)
    assert len(sampled.sigmas) == 3 * crystal.supercell.n_atoms - 3
    reference = exact_covariance(crystal, 298.15, statistics)
    assert np.abs(covariance(crystal, sampled) - reference).max() < 1e-9 * np.abs(reference).max()


@pytest.mark.parametrize("statistics", ["quantum", "classical"])
def test_thermal_frames_have_the_exact_covariance(triclinic, statistics):
    sampled = sample(triclinic, modes="all", amplitude_scan="thermal", n_frames=10000, statistics=statistics)
    reference = exact_covariance(triclinic, 298.15, statistics)
    error = covariance(triclinic, sampled) - reference
    # Wick: var(<u_i u_j>) = (C_ij² + C_ii C_jj) / n.
    expected = np.sqrt((reference**2 + np.outer(np.diag(reference), np.diag(reference))) / 10000)
    assert np.abs(error / expected).max() < 5.0
    assert np.mean((error / expected) ** 2) == pytest.approx(1.0, abs=0.5)


def test_covariance_is_that_of_phonopy(triclinic):
    phonon = as_phonopy(triclinic)
    random = RandomDisplacements(phonon.supercell, phonon.primitive, triclinic.force_constants, cutoff_frequency=0.01)
    random.run_correlation_matrix(100.0)
    n = 3 * triclinic.supercell.n_atoms
    theirs = random.uu.swapaxes(1, 2).reshape(n, n)
    assert distance(exact_covariance(triclinic, 100.0, "quantum"), theirs) < 1e-5
    sampled = sample(triclinic, temperature_K=100.0, amplitude_scan="equidistant", n_frames=2, amplitude_max=1.0)
    assert distance(covariance(triclinic, sampled), theirs) < 1e-5


def test_mean_squares_of_rock_salt_agree_with_phonopy(salt):
    phonon = as_phonopy(salt)
    random = RandomDisplacements(phonon.supercell, phonon.primitive, salt.force_constants)
    random.run(300.0, number_of_snapshots=10000, random_seed=5)
    sampled = sample(salt, temperature_K=300.0, modes="all", amplitude_scan="thermal", n_frames=10000)
    for number in (11, 17):
        atoms = salt.supercell.numbers == number
        ours = np.mean(displacements(salt, sampled)[:, atoms] ** 2)
        theirs = np.mean(random.u[:, atoms] ** 2)
        assert ours == pytest.approx(theirs, rel=5e-3)


def test_time_average_of_the_trajectory_is_the_thermal_mean_square(triclinic):
    sampled = sample(triclinic, time_step_fs=37.3, n_frames=4000)
    reference = exact_covariance(triclinic, 298.15, "quantum")
    assert distance(covariance(triclinic, sampled), reference) < 1e-3


def test_superposed_frames_of_a_degenerate_crystal_have_the_thermal_covariance(salt):
    """Mean squares of equivalent atoms agree within their statistical error, and so do all correlations."""
    n_frames = 2000
    sampled = sample(salt, modes="all", temperature_K=300.0, n_frames=n_frames)
    reference = exact_covariance(salt, 300.0, "quantum")
    found = covariance(salt, sampled)
    for number in (11, 17):
        atoms = salt.supercell.numbers == number
        mean_squares = np.diag(found).reshape(-1, 3).sum(axis=1)[atoms]
        expected = np.diag(reference).reshape(-1, 3).sum(axis=1)[atoms]
        # Three independent components of equal variance: <(u²)²> - <u²>² = (2/3) <u²>².
        assert np.abs(mean_squares / expected - 1).max() < 4.0 * np.sqrt(2.0 / 3.0 / n_frames)
    error = np.sqrt((reference**2 + np.outer(np.diag(reference), np.diag(reference))) / n_frames)
    assert np.abs((found - reference) / error).max() < 5.5
    assert np.mean(((found - reference) / error) ** 2) == pytest.approx(1.0, abs=0.2)


def test_same_seed_gives_the_same_superposed_frames_and_another_seed_others(salt):
    one, again, other = (sample(salt, modes="all", n_frames=3, rng_seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.frames.positions, again.frames.positions)
    assert not np.allclose(one.frames.positions, other.frames.positions)
    longer = sample(salt, modes="all", n_frames=5, rng_seed=1)
    assert np.array_equal(longer.frames.positions[:3], one.frames.positions)


def test_superposed_frames_have_no_time(salt):
    assert "time_fs" not in sample(salt, modes="all", n_frames=2).frames.origin


def test_phases_are_random_and_no_frame_is_the_undisplaced_crystal(salt):
    sampled = sample(salt, modes="all", n_frames=1)
    phases = sampled.mode_amplitudes[0] / np.sqrt(2.0)
    assert stats.kstest(phases, stats.arcsine(loc=-1, scale=2).cdf).pvalue > 0.01
    degenerate = np.abs(sampled.frequencies_THz - sampled.frequencies_THz[0]) < 1e-6
    assert degenerate.sum() > 1
    assert len(np.unique(np.round(phases[degenerate], 9))) == degenerate.sum()
    assert np.linalg.norm(displacements(salt, sampled)) > 0.1


@pytest.mark.parametrize("scan", ["time_propagation", "thermal"])
def test_windows_add_up(triclinic, scan):
    windows = [(0.0, 7.0), (7.0, 9.0), (9.0, 100.0)]
    filters = [EVERYTHING | {"freq_min_THz": low, "freq_max_THz": high} for low, high in windows]
    parts = [sample(triclinic, phonon_filter=f, modes="all", amplitude_scan=scan, n_frames=5) for f in filters]
    whole = sample(triclinic, modes="all", amplitude_scan=scan, n_frames=5)
    total = sum(displacements(triclinic, part) for part in parts)
    assert min(len(part.sigmas) for part in parts) > 0
    assert np.abs(total - displacements(triclinic, whole)).max() < 1e-12


def test_a_mode_gets_the_same_frames_from_every_mesh(triclinic):
    full = sample(triclinic, n_frames=3)
    mesh = sample(triclinic, phonon_filter=EVERYTHING | {"k_point_mesh": (3, 1, 1)}, n_frames=3)
    shared = np.isclose(full.frames.origin["q_point"][:, 1:], 0.0).all(axis=1)
    assert np.array_equal(full.frames.positions[shared], mesh.frames.positions)


def test_superposed_modes_are_the_sum_of_single_ones(triclinic):
    each = sample(triclinic, n_frames=4, amplitude_scan="thermal")
    together = sample(triclinic, n_frames=4, amplitude_scan="thermal", modes="all")
    n_modes = len(each.sigmas)
    total = displacements(triclinic, each).reshape(n_modes, 4, -1, 3).sum(axis=0)
    assert np.abs(total - displacements(triclinic, together)).max() < 1e-12


def test_thermal_displacements_are_gaussian(triclinic):
    sampled = sample(triclinic, modes="all", amplitude_scan="thermal", n_frames=10000)
    sigma = np.sqrt(np.diag(exact_covariance(triclinic, 298.15, "quantum")))
    scaled = displacements(triclinic, sampled).reshape(10000, -1) / sigma
    for coordinate in scaled.T[::13]:
        assert stats.kstest(coordinate, "norm").pvalue > 1e-3
    # Coordinates are correlated; amplitudes are not.
    assert stats.kurtosis(sampled.mode_amplitudes, axis=None, fisher=False) == pytest.approx(3.0, abs=0.03)
    assert stats.kstest(sampled.mode_amplitudes[:, ::7].ravel(), "norm").pvalue > 0.01


def test_mean_potential_energy_is_half_kT_per_mode(triclinic):
    """Each mode at one σ holds kT/2 exactly; so do thermal frames on average."""
    half_kT = units.kB * 200.0 / 2.0

    def energies(sampled):
        u = displacements(triclinic, sampled)
        return 0.5 * np.einsum("fia,ijab,fjb->f", u, triclinic.force_constants, u, optimize=True)

    common = {"statistics": "classical", "temperature_K": 200.0}
    at_sigma = sample(triclinic, amplitude_scan="equidistant", n_frames=2, amplitude_max=1.0, **common)
    assert energies(at_sigma) == pytest.approx(half_kT, rel=1e-9)
    thermal = sample(triclinic, modes="all", amplitude_scan="thermal", n_frames=5000, **common)
    n_modes = len(thermal.sigmas)
    error = 3.0 * half_kT * np.sqrt(2.0 * n_modes / 5000)
    assert energies(thermal).mean() == pytest.approx(n_modes * half_kT, abs=error)


def test_potential_gives_frames_from_its_own_force_constants_half_kT_each():
    potential = HarmonicCrystal(sodium_chloride(), cutoff=4.5)
    structure = Configurations.from_atoms(sodium_chloride())
    crystal = calculate_force_constants(structure, potential, FreeEnergy(supercell_radius=8.0))
    scan = {"amplitude_scan": "equidistant", "n_frames": 2, "amplitude_max": 1.0}
    sampled = sample(crystal, statistics="classical", temperature_K=300.0, **scan)
    at_rest, displaced = potential.evaluate([crystal.supercell, sampled.frames])
    assert displaced.energies - at_rest.energies == pytest.approx(units.kB * 300.0 / 2.0, rel=1e-6)


def test_quantum_amplitudes_tend_to_zero_point_motion_and_to_classical_ones():
    frequency = np.array([5.0])
    hbar_omega = units._hplanck / units._e * 5e12
    omega = 2 * np.pi * 5e12 / units.s
    assert thermal_sigma(frequency, 1e-3)[0] ** 2 == pytest.approx(hbar_omega / 2 / omega**2)
    classical = thermal_sigma(frequency, 1e5, statistics="classical")
    assert thermal_sigma(frequency, 1e5) == pytest.approx(classical, rel=1e-5)


def test_equivalent_atoms_get_equal_mean_squares(salt):
    sampled = sample(salt, amplitude_scan="equidistant", n_frames=2, amplitude_max=1.0)
    blocks = covariance(salt, sampled).reshape(64, 3, 64, 3)[np.arange(64), :, np.arange(64)]
    for number in (11, 17):
        equivalent = blocks[salt.supercell.numbers == number]
        isotropic = np.trace(equivalent[0]) / 3 * np.eye(3)
        assert np.abs(equivalent - isotropic).max() < 1e-9 * isotropic[0, 0]


@pytest.mark.parametrize("modes", ["each", "all"])
def test_centre_of_mass_is_at_rest(triclinic, modes):
    sampled = sample(triclinic, modes=modes, n_frames=3)
    momentum = np.einsum("j,fja->fa", triclinic.supercell.masses, displacements(triclinic, sampled))
    assert np.abs(momentum).max() < 1e-10


def test_displacements_continue_across_the_cell_boundary(triclinic):
    """Atoms of one kind differ by the Bloch phase, through any image of the supercell."""
    sampled = sample(triclinic, amplitude_scan="equidistant", n_frames=2)
    u = displacements(triclinic, sampled)[1::2] / sampled.sigmas[:, None, None]
    labels = np.column_stack([np.round(sampled.q_points, 9), sampled.mode_indices])
    waves = {tuple(label): row for row, label in enumerate(labels)}
    images = np.random.default_rng(3).integers(-2, 3, size=(triclinic.supercell.n_atoms, 3))
    positions = triclinic.supercell.positions[0] + images @ triclinic.supercell.cells[0]
    cell = triclinic.primitive.cells[0]
    checked = 0
    for (*q, mode), row in waves.items():
        partner = waves[(*(-x + 0.0 if 2 * abs(x) != 1 else x for x in q), mode)]
        if partner <= row:
            continue
        wave = u[row] + 1j * u[partner]
        for number in (6, 7, 8):
            atoms = np.flatnonzero(triclinic.supercell.numbers == number)
            lattice_vectors = np.rint((positions[atoms] - positions[atoms[0]]) @ np.linalg.inv(cell))
            bloch = np.exp(2j * np.pi * lattice_vectors @ sampled.q_points[row])
            assert np.abs(wave[atoms] - bloch[:, None] * wave[atoms[0]]).max() < 1e-9
            checked += 1
    assert checked == 3 * 9 * 2  # three elements, nine modes, two pairs q, -q


def test_frames_do_not_depend_on_the_eigensolver(salt, monkeypatch):
    before = sample(salt, n_frames=2)
    monkeypatch.setattr(normal_modes_module.np.linalg, "eigh", scrambled_eigh(seed=7))
    after = sample(salt, n_frames=2)
    assert np.abs(before.frames.positions - after.frames.positions).max() < 1e-8


def test_same_seed_same_frames_and_another_seed_other_frames(triclinic):
    one, again, other = (sample(triclinic, n_frames=2, rng_seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.frames.positions, again.frames.positions)
    assert not np.allclose(one.frames.positions, other.frames.positions)


def test_frames_follow_q_point_then_mode_then_time(triclinic):
    sampled = sample(triclinic, phonon_filter={"k_point_mesh": (3, 1, 1), "freq_max_THz": None}, n_frames=2)
    origin = sampled.frames.origin
    assert origin["q_index"].tolist() == [0] * 12 + [1] * 18 + [2] * 18
    assert origin["mode"][:12].tolist() == [4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9]
    assert origin["mode_frame"][:4].tolist() == [0, 1, 0, 1]
    assert origin["time_fs"][:4].tolist() == [0.0, 100.0, 0.0, 100.0]
    assert origin["q_point"][[0, 12, 30]] == pytest.approx(np.array([[0, 0, 0], [1 / 3, 0, 0], [-1 / 3, 0, 0]]))
    assert np.array_equal(origin["frequency_THz"][::2], sampled.frequencies_THz)
    assert np.array_equal(origin["amplitude"], sampled.amplitudes[sampled.amplitudes != 0.0])
    assert sampled.amplitudes.shape == (48, 24)
    assert np.array_equal(sampled.frames.cells, np.repeat(triclinic.supercell.cells, 48, axis=0))


def test_every_frame_follows_from_its_recorded_amplitude(triclinic):
    """u grows linearly with the recorded amplitude: the frames of one mode are parallel."""
    sampled = sample(triclinic, n_frames=3)
    u = displacements(triclinic, sampled).reshape(len(sampled.sigmas), 3, -1)
    ratio = u / sampled.mode_amplitudes.T[:, :, None]
    assert np.abs(ratio - ratio[:, :1]).max() < 1e-9


def test_superposed_grid_is_a_latin_hypercube(triclinic):
    sampled = sample(triclinic, modes="all", amplitude_scan="equidistant", n_frames=5, amplitude_max=2.0)
    grid = np.linspace(-2, 2, 5)
    assert np.array_equal(np.sort(sampled.mode_amplitudes, axis=0), np.tile(grid[:, None], (1, len(sampled.sigmas))))
    assert len(np.unique(sampled.mode_amplitudes.T, axis=0)) > 20


def test_window_is_open_and_what_it_leaves_out_is_counted(triclinic):
    gamma = sample(triclinic, phonon_filter=EVERYTHING | {"k_point_mesh": "gamma"}, n_frames=1)
    low, high = gamma.frequencies_THz[[1, 4]]
    # The frequencies to the last bit, which a filter that is validated would round.
    window = PhononFilter(k_point_mesh="gamma").model_copy(update={"freq_min_THz": low, "freq_max_THz": high})
    inside = sample(triclinic, phonon_filter=window, n_frames=1)
    assert inside.mode_indices.tolist() == [6, 7]
    assert (inside.n_below_window, inside.n_imaginary) == (2, 0)


def test_selected_modes_override_the_window(triclinic):
    sampled = sample(triclinic, phonon_filter={"selected_modes": (9, 4), "freq_max_THz": 0.2}, n_frames=1)
    assert sampled.mode_indices.tolist() == [4, 9]


@pytest.mark.parametrize(
    ("selected", "message"),
    [((10,), "contains 10, but there are 9 modes"), ((2, 5), r"contains 2, which at q = \(0, 0, 0\) is a uniform")],
)
def test_modes_that_do_not_exist_are_refused(triclinic, selected, message):
    with pytest.raises(SelectedModesOutOfRange, match=message):
        sample(triclinic, phonon_filter={"selected_modes": selected})


def unstable(crystal, mode_index):
    """The same crystal with the given mode at Γ made imaginary."""
    only = {"selected_modes": (mode_index,)}
    up = sample(crystal, phonon_filter=only, amplitude_scan="equidistant", n_frames=2)
    force = displacements(crystal, up)[1] * crystal.supercell.masses[:, None]
    force /= np.sqrt(np.sum(force**2 / crystal.supercell.masses[:, None]))
    softening = 2.0 * (2 * np.pi * up.frequencies_THz[0] * 1e-3 / units.fs) ** 2
    change = softening * np.einsum("ia,jb->ijab", force, force)
    return replace(crystal, force_constants=crystal.force_constants - change)


def test_imaginary_modes_are_counted_and_never_sampled(triclinic):
    crystal = unstable(triclinic, 6)
    gamma = EVERYTHING | {"k_point_mesh": "gamma"}
    sampled = sample(crystal, phonon_filter=gamma, n_frames=2)
    assert (sampled.n_imaginary, sampled.n_below_window) == (1, 0)
    assert sampled.mode_indices.tolist() == [5, 6, 7, 8, 9]  # 1 is imaginary, 2 to 4 translations
    with pytest.raises(SelectedModesOutOfRange, match=r"contains 1, .* is imaginary"):
        sample(crystal, phonon_filter={"selected_modes": (1, 5)})


def test_empty_window_names_the_frequencies_there_are(triclinic):
    with pytest.raises(NoModesSelected, match=r"freq_min_THz = 90.* from \d"):
        sample(triclinic, phonon_filter={"freq_min_THz": 90.0, "freq_max_THz": 99.0})
    with pytest.raises(NoModesSelected, match="none"):
        sample(monatomic_chain_crystal(), phonon_filter={"k_point_mesh": "gamma"})


def test_incommensurate_mesh_is_refused(triclinic):
    with pytest.raises(IncommensurateMesh, match="3 1 1"):
        sample(triclinic, phonon_filter={"k_point_mesh": (2, 2, 1)})


def test_even_grid_needs_two_frames():
    with pytest.raises(InvalidSettings, match="at least 2"):
        PhononSampling(amplitude_scan="equidistant", n_frames=1)


def test_frames_repeated_by_a_commensurate_time_step_are_counted(triclinic):
    only = {"selected_modes": (5,)}
    frequency = sample(triclinic, phonon_filter=only, n_frames=1).frequencies_THz[0]
    quarter_period = 1e3 / frequency / 4
    sampled = sample(triclinic, phonon_filter=only, n_frames=10, time_step_fs=quarter_period)
    assert sampled.n_repeated_frames == 6
    assert np.abs(sampled.frames.positions[4:] - sampled.frames.positions[:6]).max() < 1e-12
    together = {"phonon_filter": {"selected_modes": (5, 6)}, "n_frames": 10, "time_step_fs": quarter_period}
    assert sample(triclinic, **together).n_repeated_frames == 6
    assert sample(triclinic, modes="all", **together).n_repeated_frames == 0


def test_undisplaced_frames_of_the_even_grid_count_once(triclinic):
    odd = sample(triclinic, phonon_filter={"selected_modes": (5, 6, 7)}, amplitude_scan="equidistant", n_frames=3)
    assert odd.n_repeated_frames == 2
    assert len(np.unique(odd.frames.positions.round(9), axis=0)) == 9 - 2


@pytest.mark.parametrize("modes", ["each", "all"])
def test_arrays_round_trip(triclinic, modes):
    sampled = sample(triclinic, n_frames=2, modes=modes)
    again = PhononFrames.from_arrays(sampled.to_arrays())
    assert np.array_equal(again.amplitudes, sampled.amplitudes)
    assert np.array_equal(again.frames.positions, sampled.frames.positions)
    assert again.frames.origin.keys() == sampled.frames.origin.keys()
    assert (again.superposed, again.n_imaginary, again.n_repeated_frames) == (modes == "all", 0, 0)
    assert (again.temperature_K, again.quantum) == (298.15, True)


def test_progress_counts_q_points(triclinic):
    seen = []
    settings = PhononSampling(phonon_filter=EVERYTHING, n_frames=1)
    sample_phonons(triclinic, settings, report=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 6) for i in range(1, 7)]
