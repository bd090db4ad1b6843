"""Pictures of thermal expansion and of the density of states: what they show."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_mbetrain.pictures import density_of_states_picture, expansion_picture, free_energy_picture, save
from aiida_mbetrain.pictures.style import RED
from aiida_mbetrain.science.phonons import DensityOfStates
from aiida_mbetrain.science.tables import Table


def curves(n_temperatures: int = 3) -> Table:
    """Parabolas whose minimum moves to the right; the last one has none."""
    temperatures = np.linspace(0.0, 200.0, n_temperatures)
    sampled, fine = np.linspace(95.0, 110.0, 6), np.linspace(95.0, 110.0, 50)
    minima = 100.0 + 0.03 * temperatures

    def energies(volumes):
        return 0.05 * (volumes - minima[:, None]) ** 2 - 0.1 * temperatures[:, None]

    minima_found = np.append(minima[:-1], np.nan)
    return Table(
        {
            "temperatures_K": temperatures,
            "sampled_volumes": sampled,
            "sampled_free_energies": energies(sampled),
            "curve_volumes": fine,
            "curve_free_energies": energies(fine),
            "volumes": minima_found,
            "free_energies": np.append(-0.1 * temperatures[:-1], np.nan),
        }
    )


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_every_curve_stands_on_its_own_minimum_by_equal_steps():
    [axes] = free_energy_picture(curves()).axes
    heights = [line.get_ydata().min() for line in axes.lines[:4:2]]  # fit, points, fit, points ...
    assert heights[0] == pytest.approx(0.0, abs=1e-2)
    diamonds = next(line for line in axes.lines if line.get_marker() == "D")
    assert np.allclose(diamonds.get_xdata()[:2], [100.0, 103.0])
    assert diamonds.get_ydata()[1] < diamonds.get_ydata()[0] == 0.0
    assert np.isnan(diamonds.get_ydata()[2])


def test_temperature_without_minimum_is_named_in_red():
    [axes] = free_energy_picture(curves()).axes
    assert texts(axes) == ["0 K", "100 K", "200 K,\nno minimum"]
    assert axes.texts[2].get_color() == RED


def test_many_temperatures_get_a_colour_bar():
    assert len(free_energy_picture(curves(12)).axes) == 2


def test_volume_over_temperature_marks_what_is_missing():
    table = Table(
        {
            "temperature_K": np.array([0.0, 100.0, 200.0]),
            "V_A3": np.array([100.0, 103.0, np.nan]),
            "bulk_modulus_GPa": np.array([9.0, 8.0, np.nan]),
        }
    )
    upper, lower = expansion_picture(table, 98.0).axes
    assert upper.lines[0].get_ydata()[1] == 103.0
    assert lower.lines[0].get_ydata()[0] == 9.0
    assert set(texts(upper)) == {"static", "no minimum between the sampled volumes"}
    assert upper.lines[-1].get_xdata().tolist() == [200.0]


def test_imaginary_states_lie_on_a_red_ground():
    x = np.linspace(-1.5, 5.0, 200)
    stable = DensityOfStates(x, np.where(x > 0, x, 0.0))
    unstable = DensityOfStates(x, np.where(np.abs(x + 0.5) < 0.4, 1.0, stable.densities))
    [axes] = density_of_states_picture({"stable": stable}).axes
    assert texts(axes) == []
    [axes] = density_of_states_picture({"stable": stable, "unstable": unstable}).axes
    assert texts(axes) == ["imaginary"]
    assert axes.get_xlim()[0] < -0.9
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["stable", "unstable"]


def test_same_figure_gives_the_same_bytes(tmp_path):
    paths = [save(free_energy_picture(curves()), tmp_path / f"{i}.png") for i in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
