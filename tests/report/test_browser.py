"""Pages in a browser: no request, no error, choices and filters that agree with the data, molecules that are drawn."""

from __future__ import annotations

import base64
import io
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_logs import errors, requests
from matplotlib.image import imread
from report_datasets import md_section

from aiida_mbetrain.datasets.model import Dataset
from aiida_mbetrain.report import write_report

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("width", [1400, 400])]


def page_data(browser: Any) -> dict[str, Any]:
    return json.loads(browser.execute_script("return document.getElementById('map-data').textContent"))


def facts(browser: Any) -> dict[str, str]:
    """What the page says of the chosen cluster."""
    return dict(
        browser.execute_script(
            "return [...document.querySelectorAll('#map-description dl div')].map(d => [d.children[0].textContent, "
            "d.children[1].textContent])"
        )
    )


def place_of(browser: Any, index: int) -> tuple[float, float]:
    """Where a point lies on the canvas, from the data and the canvas' size, as the script computes it."""
    data = page_data(browser)
    x, y = (np.frombuffer(base64.b64decode(data[name]["data"]), dtype="<f4").astype(float) for name in "xy")
    width, height = browser.execute_script(
        "const c = document.getElementById('map-canvas'); return [c.clientWidth, c.clientHeight]"
    )

    def part(values: np.ndarray) -> float:
        margin = 0.06 * np.ptp(values)
        return (values[index] - values.min() + margin) / (np.ptp(values) + 2 * margin)

    return 26 + part(x) * (width - 36), height - 26 - part(y) * (height - 36)


def scroll_to(browser: Any, identifier: str) -> None:
    place = "{block: 'center', behavior: 'instant'}"
    browser.execute_script(f"document.getElementById(arguments[0]).scrollIntoView({place})", identifier)


def click_point(browser: Any, index: int) -> None:
    left, top = place_of(browser, index)
    browser.execute_script(
        "document.getElementById('map-canvas').scrollIntoView({block: 'center', behavior: 'instant'})"
    )
    box = browser.execute_script(
        "const b = document.getElementById('map-canvas').getBoundingClientRect(); return [b.left, b.top]"
    )
    for kind in ("mousePressed", "mouseReleased"):
        event = {"type": kind, "x": box[0] + left, "y": box[1] + top, "button": "left", "clickCount": 1}
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)


def lonely_point(browser: Any, among: range) -> int:
    """The point with the most room around it."""
    data = page_data(browser)
    points = np.stack([np.frombuffer(base64.b64decode(data[name]["data"]), dtype="<f4") for name in "xy"], axis=1)
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    np.fill_diagonal(distances, np.inf)
    return max(among, key=lambda i: distances[i].min())


def picture(browser: Any) -> np.ndarray:
    """Pixels of the viewer."""
    scroll_to(browser, "viewer")
    # the viewer starts when it comes into sight; two frames later what was drawn last is on the screen
    browser.execute_async_script(
        "const done = arguments[0], next = requestAnimationFrame; "
        "const ready = () => (document.querySelector('#viewer canvas') ? next(() => next(done)) : next(ready)); ready()"
    )
    left, top, width, height = browser.execute_script(
        "const b = document.getElementById('viewer').getBoundingClientRect(); "
        "return [b.left + scrollX, b.top + scrollY, b.width, b.height]"
    )
    clip = {"x": left, "y": top, "width": width, "height": height, "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "clip": clip})
    return imread(io.BytesIO(base64.b64decode(shot["data"])))[..., :3]


def coloured_part(pixels: np.ndarray) -> float:
    """Part of the pixels that differ from the ground, which the corner shows."""
    return float((np.abs(pixels - pixels[2, 2]).max(axis=-1) > 0.1).mean())


def select(browser: Any, identifier: str, value: str) -> None:
    browser.execute_script(
        "const e = document.getElementById(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event('change', "
        "{bubbles: true}))",
        identifier,
        value,
    )


def test_page_asks_for_nothing_and_has_no_error(visit, carbon_dioxide_page, width):
    browser = visit(carbon_dioxide_page, width)
    assert errors(browser) == []
    assert requests(browser) == {carbon_dioxide_page.as_uri()}


def test_page_is_as_wide_as_the_screen(visit, carbon_dioxide_page, width):
    browser = visit(carbon_dioxide_page, width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_click_on_a_point_shows_its_cluster_and_origin(visit, carbon_dioxide_page, width):
    browser = visit(carbon_dioxide_page, width)
    data = page_data(browser)
    chosen = next(one for one in data["sets"] if one["source"] == "phonons" and one["size"] == 3)
    index = lonely_point(browser, range(chosen["first"], chosen["first"] + chosen["count"]))
    click_point(browser, index)
    shown, frame = facts(browser), index - chosen["first"]
    assert shown["cluster"] == "n=3, 3 molecules, from phonons at 150 K"
    assert shown["frame of the set"] == str(frame)
    assert shown["mode"] == ("4" if frame < 4 else "7")
    assert shown["frequency / THz"] == ("1.25" if frame < 4 else "2.5")
    assert shown["q point"] == "(0, 0.5, 0)"
    assert shown["orbit"].startswith(chosen["orbit"])
    command = browser.execute_script("return document.getElementById('map-trace').textContent")
    assert command == f"aiida-mbetrain trace 'co2 set.hdf5' training/phonons/finite_subsystems/n=3 {frame}"


def test_filters_leave_as_many_points_as_the_data_say(visit, carbon_dioxide_page, width):
    browser = visit(carbon_dioxide_page, width)
    sets = page_data(browser)["sets"]

    def toggle(value: str) -> None:
        browser.execute_script(
            "[...document.querySelectorAll('#map-controls input')].find(b => b.value === arguments[0]).click()", value
        )

    def count() -> str:
        return browser.execute_script("return document.getElementById('map-count').textContent")

    total = sum(one["count"] for one in sets)
    assert count() == f"{total} of {total} clusters"
    toggle("phonons")
    left = [one for one in sets if one["source"] == "dynamics"]
    assert count() == f"{sum(one['count'] for one in left)} of {total} clusters"
    toggle("2")
    left = [one for one in left if one["size"] != 2]
    assert count() == f"{sum(one['count'] for one in left)} of {total} clusters"
    select(browser, "map-orbit", left[0]["orbit"])
    left = [one for one in left if one["orbit"] == left[0]["orbit"]]
    assert count() == f"{sum(one['count'] for one in left)} of {total} clusters"
    toggle("dynamics")
    assert count() == f"0 of {total} clusters"


def test_molecules_are_drawn_in_every_mode(visit, carbon_dioxide_page, width):
    browser = visit(carbon_dioxide_page, width)
    drawn = []
    for mode in ("cluster", "crystal", "cell", "unit"):
        select(browser, "viewer-mode", mode)
        drawn.append(picture(browser))
        assert 0.005 < coloured_part(drawn[-1]) < 0.9, mode
    assert all(np.abs(one - two).max() > 0.1 for one, two in pairwise(drawn[:3]))
    assert errors(browser) == []


def test_slider_goes_through_the_frames_of_the_set(visit, carbon_dioxide_page, width):
    browser = visit(carbon_dioxide_page, width)
    before = picture(browser)
    browser.execute_script(
        "const s = document.getElementById('viewer-frame'); s.value = 5; s.dispatchEvent(new Event('input'))"
    )
    assert facts(browser)["frame of the set"] == "5"
    assert facts(browser)["md step"] == "1100"
    assert np.abs(picture(browser) - before).max() > 0.1


def test_every_colour_has_a_legend(visit, carbon_dioxide_page, width):
    browser = visit(carbon_dioxide_page, width)
    expected = {"energy": "meV/atom", "largest force": "eV/Å", "source": "phonons", "size": "3 molecules",
                "orbit": page_data(browser)["sets"][0]["orbit"], "temperature": "150 K"}  # fmt: skip
    for colour, text in expected.items():
        select(browser, "map-colour", colour)
        assert text in browser.execute_script("return document.getElementById('map-legend').textContent")


def test_arrow_keys_go_from_cluster_to_cluster(visit, carbon_dioxide_page, width):
    from selenium.webdriver.common.keys import Keys

    browser = visit(carbon_dioxide_page, width)
    canvas = browser.find_element("id", "map-canvas")
    start = facts(browser)["cluster"]
    canvas.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert facts(browser)["frame of the set"] == "2"
    canvas.send_keys(Keys.ARROW_UP)
    assert facts(browser)["cluster"] != start
    assert facts(browser)["frame of the set"] == "2"


def test_dark_is_the_systems_choice_until_the_reader_makes_one(visit, carbon_dioxide_page, width):
    browser = visit(carbon_dioxide_page, width, dark=True)
    ground = "return getComputedStyle(document.body).backgroundColor"
    dark = browser.execute_script(ground)
    browser.find_element("id", "theme").click()
    light = browser.execute_script(ground)
    assert max(map(int, dark[4:-1].split(", "))) < 60
    assert min(map(int, light[4:-1].split(", "))) > 200


def test_names_with_markup_stay_text(visit, tmp_path: Path, width):
    evil = "a<b>&\"'</script><img src=x onerror=\"document.title='caught'\">ü⟨Å⟩"
    page = write_report(Dataset((md_section(8, root_key=evil),)), tmp_path / "evil.html", file_name=f"{evil}.hdf5")
    browser = visit(page, width)
    assert browser.title.endswith("training set")
    assert browser.find_elements("tag name", "img") == []
    assert errors(browser) == []
    assert any(evil in heading.text for heading in browser.find_elements("tag name", "h3"))
    command = browser.execute_script("return document.getElementById('map-trace').textContent")
    assert command.count("<img") == 2  # file and entry


def test_set_without_features_says_that_the_map_is_one_of_geometry(visit, tmp_path: Path, width):
    page = write_report(Dataset((md_section(8, features=None),)), tmp_path / "plain.html")
    browser = visit(page, width)
    assert "the map is one of geometry" in browser.find_element("id", "map").text
    assert errors(browser) == []
    assert coloured_part(picture(browser)) > 0.005
