"""Pages of delta models and of campaigns in a browser: no request leaves them, links lead to the parts, no error."""

from __future__ import annotations

import re

import pytest
from browser_logs import errors, requests

TITLES = ["co2, lj, 200 K, 0 GPa", "co2, lj, 300 K, 0 GPa", "ice #2 & <b>, lj, 200 K, 0 GPa"]

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("width", [1400, 400])]


@pytest.mark.parametrize("page", ["model_page", "campaign_page"])
def test_page_asks_for_nothing_has_no_error_and_fits_the_screen(visit, page, request, width):
    page = request.getfixturevalue(page)
    browser = visit(page, width)
    assert errors(browser) == []
    assert requests(browser) == {page.as_uri()}
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_figures_of_a_delta_model_keep_their_text_inside_and_have_alternatives(visit, model_page, width):
    browser = visit(model_page, width)
    outside = browser.execute_script(
        "return [...document.querySelectorAll('#models svg[role=img]')].flatMap(svg => {"
        "  const a = svg.getBoundingClientRect();"
        "  return [...svg.querySelectorAll('text')].filter(text => { const b = text.getBoundingClientRect();"
        "    return b.left < a.left - 1 || b.right > a.right + 1 || b.top < a.top - 1 || b.bottom > a.bottom + 1"
        "  }).map(text => text.textContent) })"
    )
    assert outside == []
    labels = browser.execute_script(
        "return [...document.querySelectorAll('#models svg[role=img]')].map(svg => svg.getAttribute('aria-label'))"
    )
    assert len(labels) == 8
    assert all(re.search(r"\d", label) for label in labels), "a text alternative says the numbers"


def test_figures_of_a_delta_model_show_points_of_every_model(visit, model_page, width):
    """Each colour has its pixels: the points are drawn, and within the axes."""
    browser = visit(model_page, width)
    drawn = browser.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('#models figure')].map(figure => {"
        "  const box = figure.querySelector('svg').getBoundingClientRect();"
        "  const groups = [...figure.querySelectorAll('g.dots')].map(group => [...group.children].filter(dot => {"
        "    const b = dot.getBoundingClientRect();"
        "    return b.width > 1 && b.left > box.left && b.right < box.right && b.top > box.top && b.bottom < box.bottom"
        "  }).length);"
        "  return [figure.querySelector('h4').textContent, groups] }))"
    )
    assert {len(counts) for title, counts in drawn.items() if title.startswith("Energy")} == {3}
    assert {len(counts) for title, counts in drawn.items() if title.startswith("Force")} == {2}
    assert all(min(counts) > 0 for counts in drawn.values())


def test_page_of_a_campaign_draws_volume_and_density_of_every_crystal(visit, campaign_page, width):
    browser = visit(campaign_page, width)
    assert len(browser.find_elements("css selector", "#campaign svg[role=img]")) == 4, (
        "volume and density of two crystals"
    )


def test_delta_models_of_a_campaign_are_on_its_page_and_not_on_those_of_its_members(visit, campaign_page, width):
    browser = visit(campaign_page, width)
    assert [one.get_attribute("id") for one in browser.find_elements("css selector", "main > section")][-1] == "models"
    assert browser.find_elements("css selector", "#models svg[role=img]")
    browser.get(browser.find_element("css selector", "#campaign td a").get_attribute("href"))
    assert not browser.find_elements("id", "models")


def test_links_of_a_campaign_lead_to_its_parts_and_back(visit, campaign_page, width):
    browser = visit(campaign_page, width)
    cells = [link.get_attribute("href") for link in browser.find_elements("css selector", "#campaign td a")]
    assert len(set(cells)) == len(cells) == 3
    for index in range(len(cells)):
        link = browser.find_elements("css selector", "#campaign td a")[index]
        browser.execute_script("arguments[0].click()", link)
        assert browser.current_url == cells[index]
        assert browser.title == TITLES[index]
        assert browser.find_elements("id", "map-canvas")
        browser.find_element("link text", "the campaign").click()
        assert browser.current_url == campaign_page.as_uri()
    assert errors(browser) == []
    assert requests(browser) == {campaign_page.as_uri(), *cells}


def test_page_of_a_campaign_names_members_that_are_not_finished(visit, campaign_page, width):
    browser = visit(campaign_page, width)
    row = browser.find_element("css selector", "#unfinished tbody tr").text
    assert "ice #2 & <b>, lj, 300 K, 0 GPa" in row
    assert "failed" in row
    assert "md_sampling: [450] moved" in row
