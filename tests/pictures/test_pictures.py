"""Pictures: what they show, that they are the same every time, and that they leave matplotlib alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import same_color
from matplotlib.image import imread

from aiida_mbetrain.errors import InvalidSettings, UnwritableOutput
from aiida_mbetrain.pictures import bands_picture, clusters_picture, density_of_states_picture, md_picture, save
from aiida_mbetrain.pictures.bands import path_ticks, pretty_label
from aiida_mbetrain.pictures.clusters import find_bonds, find_molecules
from aiida_mbetrain.pictures.md import running_mean
from aiida_mbetrain.pictures.style import BLUE, RED
from aiida_mbetrain.science.clusters import Cluster, ClusterSet
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.phonons import BandStructure, DensityOfStates
from aiida_mbetrain.science.tables import Table

WATER = np.array([[0.0, 0.0, 0.119], [0.0, 0.763, -0.477], [0.0, -0.763, -0.477]])


def series(*, constant_volume: bool = False) -> Table:
    rng = np.random.default_rng(0)
    time = np.arange(0.0, 2001.0, 10.0)
    noise = {name: rng.normal(size=len(time)) for name in ("T", "p", "V", "E", "H")}
    return Table(
        {
            "time_fs": time,
            "temperature_K": 300 + 20 * noise["T"],
            "pressure_GPa": 0.2 * noise["p"],
            "volume_A3": np.full(len(time), 500.0) if constant_volume else 500 + 5 * noise["V"],
            "potential_energy_eV": -100 + noise["E"],
            "conserved_energy_eV": -95 + 0.01 * noise["H"] + 2e-4 * time,
        }
    )


def bands(*, imaginary: bool = False, internal: bool = False) -> BandStructure:
    x = np.linspace(0.0, 1.0, 11)
    acoustic = 3 * np.sin(np.pi * x / 2) - (8.0 * x if imaginary else 0) * (x < 0.5)
    columns = [acoustic, 5 + 0 * x] + ([90 + 0 * x] if internal else [])
    segment = np.stack(columns, axis=1)
    return BandStructure(
        qpoints=[np.zeros((11, 3))] * 3,
        distances=[x, 1 + x, 2 + x],
        frequencies_THz=[segment, segment[::-1], segment],
        labels=["$\\Gamma$", "X", "$\\Gamma$", "H_2", "N"],
        path_connections=[True, False, False],
    )


def water_clusters(*sizes: int, n_frames: int = 2) -> list[ClusterSet]:
    rng = np.random.default_rng(1)
    sets = []
    for n in sizes:
        centers = 3.0 * np.arange(n)[:, None] * np.array([0.6, 0.0, 0.8])
        positions = (centers[:, None] + WATER).reshape(-1, 3)
        frames = positions + 0.01 * rng.normal(size=(n_frames, *positions.shape))
        cluster = Cluster(f"n={n}", np.arange(n), np.zeros((n, 3), dtype=int), 0)
        sets.append(ClusterSet(cluster, Configurations(np.tile([8, 1, 1], n), frames)))
    return sets


def test_running_mean_is_the_mean_over_the_window_that_fits() -> None:
    values = np.random.default_rng(2).normal(size=30)
    expected = [values[max(0, i - 3) : i + 4].mean() for i in range(30)]
    np.testing.assert_allclose(running_mean(values, 7), expected, rtol=1e-12)


def test_md_picture_shows_target_mean_and_drift_of_what_is_kept() -> None:
    figure = md_picture(series(), temperature_K=300.0, pressure_GPa=0.0, time_equilibration_fs=500.0, n_atoms=10)
    assert [axes.get_ylabel() for axes in figure.axes] == ["T / K", "p / GPa", "V / Å³", "E − ⟨E⟩ / meV/atom"]
    kept = series()["temperature_K"][51:]
    assert f"mean {kept.mean():.1f} K" in figure.axes[0].get_title(loc="right")
    assert "target 300 K" in figure.axes[0].get_title(loc="right")
    assert "drift of the conserved energy 20 meV/atom/ps" in figure.axes[3].get_title(loc="right")
    shaded = figure.axes[0].patches[0].get_extents().transformed(figure.axes[0].transData.inverted())
    assert (shaded.x0, shaded.x1) == pytest.approx((0.0, 0.5))


def test_md_picture_at_constant_volume_has_no_volume_and_no_target_pressure() -> None:
    figure = md_picture(series(constant_volume=True), temperature_K=300.0)
    assert [axes.get_ylabel() for axes in figure.axes] == ["T / K", "p / GPa", "E − ⟨E⟩ / eV"]
    assert "target" not in figure.axes[1].get_title(loc="right")


def test_a_potential_without_stress_has_no_panel_of_the_pressure() -> None:
    columns = dict(series().columns) | {"pressure_GPa": np.full(201, np.nan)}
    assert "p / GPa" not in [axes.get_ylabel() for axes in md_picture(columns, temperature_K=300.0).axes]


def test_imaginary_frequencies_are_red_and_below_zero() -> None:
    axes = bands_picture(bands(imaginary=True)).axes[0]
    assert axes.get_ylim()[0] < -0.1
    lines = [item for item in axes.collections if isinstance(item, LineCollection)]
    assert len(lines) == 6
    for item in lines:
        for piece, color in zip(item.get_segments(), item.get_colors(), strict=True):
            assert (piece[:, 1] <= 0).all() or (piece[:, 1] >= 0).all()
            assert same_color(color, RED if piece[:, 1].mean() < 0 else BLUE)
    assert "imaginary" in [text.get_text() for text in axes.texts]


def test_a_stable_crystal_has_no_room_below_zero() -> None:
    stable = bands()
    stable.frequencies_THz[0][0, 0] = -1e-6  # a translation at Γ, as it comes from a diagonalisation
    axes = bands_picture(stable).axes[0]
    assert axes.get_ylim()[0] == 0.0
    assert len(axes.texts) == 0


def test_the_sampled_window_is_shaded_and_ends_at_the_bands_without_a_cap() -> None:
    axes = bands_picture(bands(), freq_min_THz=0.1, freq_max_THz=None).axes[0]
    shaded = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (shaded.y0, shaded.y1) == pytest.approx((0.1, axes.get_ylim()[1]))


def test_internal_modes_far_above_the_window_get_their_own_panel() -> None:
    near, whole = bands_picture(bands(internal=True), freq_min_THz=0.1, freq_max_THz=8.0).axes
    assert near.get_ylim()[1] == pytest.approx(11.2)
    assert whole.get_ylim()[1] > 90
    assert len(bands_picture(bands(), freq_min_THz=0.1, freq_max_THz=8.0).axes) == 1


def test_special_points_are_named_once_and_jumps_twice() -> None:
    positions, labels = path_ticks(bands())
    assert positions == [0.0, 1.0, 2.0, 3.0]
    assert labels == ["$\\Gamma$", "X", "$\\Gamma$|H$_{2}$", "N"]


@pytest.mark.parametrize(("label", "pretty"), [("GAMMA", "Γ"), ("Γ", "Γ"), ("X_1", "X$_{1}$"), ("G", "Γ"), ("M", "M")])
def test_labels_are_set_as_in_textbooks(label: str, pretty: str) -> None:
    assert pretty_label(label) == pretty


def test_clusters_are_drawn_smallest_first_on_one_scale() -> None:
    figure = clusters_picture(water_clusters(10, 1, 2), columns=2)
    drawn = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in drawn] == ["n = 1", "n = 2", "n = 10"]
    assert drawn[2].texts[0].get_text() == "30 atoms · 2 frames"
    assert len({axes.get_xlim() for axes in drawn}) == 1


def test_elements_and_the_halo_of_the_central_molecule_have_a_legend() -> None:
    [legend] = clusters_picture(water_clusters(2)).legends
    assert [text.get_text() for text in legend.get_texts()] == ["H", "O", "central molecule"]


def test_every_picture_carries_its_title() -> None:
    title = "C6H12N4, demo.model (12345678): molecular dynamics, NPT, 298.15 K"
    states = DensityOfStates(np.linspace(0.0, 1.0, 5), np.ones(5))
    for figure in (
        md_picture(series(), temperature_K=300.0, title=title),
        bands_picture(bands(), title=title),
        clusters_picture(water_clusters(1), title=title),
        density_of_states_picture({"crystal": states}, title=title),
    ):
        assert figure.get_suptitle() == title


def test_foot_of_a_broadened_density_is_not_called_imaginary() -> None:
    x = np.linspace(-1.0, 5.0, 601)
    foot = DensityOfStates(x, np.exp(-0.5 * ((x - 0.1) / 0.15) ** 2), smearing_THz=0.15)
    axes = density_of_states_picture({"crystal": foot}).axes[0]
    assert axes.get_xlim()[0] == 0.0
    assert len(axes.texts) == 0
    assert "σ = 0.15 THz" in axes.get_xlabel()


def test_every_atom_and_bond_is_drawn() -> None:
    axes = clusters_picture(water_clusters(3)).axes[0]
    ground, matter = (item for item in axes.collections if isinstance(item, PatchCollection))
    assert len(ground.get_paths()) == 3 + 2  # the atoms and bonds of the central molecule
    assert len(matter.get_paths()) == 3 * 9 + 2 * 6  # three discs per ball, two halves per stick


def test_no_molecule_is_hidden_behind_another() -> None:
    """Along their common axis all ten would be one: the view must not be that one."""
    axes = clusters_picture(water_clusters(10)).axes[0]
    width = axes.collections[1].get_datalim(axes.transData)
    assert max(width.width, width.height) > 0.9 * 27.0


def test_molecules_are_found_from_distances() -> None:
    item = water_clusters(4)[0].configurations
    found = find_bonds(item.numbers, item.positions[0])
    assert found.tolist() == [[3 * m, 3 * m + h] for m in range(4) for h in (1, 2)]
    assert find_molecules(item.numbers, found).tolist() == np.repeat(range(4), 3).tolist()


def test_monatomic_clusters_can_be_drawn() -> None:
    atoms = Configurations(np.array([18, 18]), np.array([[[0.0, 0, 0], [3.7, 0, 0]]]))
    figure = clusters_picture([ClusterSet(Cluster("r=6.50", np.arange(2), np.zeros((2, 3), dtype=int), 0), atoms)])
    assert figure.axes[0].get_title() == "r = 6.50"


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="no clusters"):
        clusters_picture([])
    with pytest.raises(InvalidSettings, match="2 frames"):
        clusters_picture(water_clusters(1), frame=2)


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(clusters_picture(water_clusters(1, 2)), tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert imread(tmp_path / "a.png").min() < 0.5


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnwritableOutput, match="missing"):
        save(bands_picture(bands()), tmp_path / "missing" / "a.png")


def test_pictures_need_neither_the_global_figures_of_pyplot_nor_aiida() -> None:
    code = "import sys, aiida_mbetrain.pictures; assert not {'matplotlib.pyplot', 'aiida'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
