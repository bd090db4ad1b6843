"""Pages in a headless Chromium without network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from judged_models import judged_model
from report_datasets import campaign_trees, carbon_dioxide_dataset

from aiida_mbetrain.datasets.hdf5 import append_trees
from aiida_mbetrain.report import Call, RunFacts, write_model_report, write_report


@pytest.fixture(scope="session")
def carbon_dioxide_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of dynamics, phonons and thermal expansion of carbon dioxide."""
    folder = tmp_path_factory.mktemp("report")
    return write_report(carbon_dioxide_dataset(n_frames=12), folder / "report.html", file_name="co2 set.hdf5")


@pytest.fixture(scope="session")
def model_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a delta model of two crystals, judged on its test set."""
    run = RunFacts(Call("ModelTrainingWorkChain", 12, "finished", False, 3.0))
    return write_model_report([judged_model()], run, tmp_path_factory.mktemp("delta") / "model.html")


@pytest.fixture(scope="session")
def campaign_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a campaign of two crystals at two temperatures; one member has failed, one name is hostile."""
    folder = tmp_path_factory.mktemp("campaign")
    append_trees(folder / "set.hdf5", campaign_trees())
    return write_report(folder / "set.hdf5", folder / "all of it.html", trained_models=(judged_model(),))


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One browser for all pages; skips where Chromium or its driver is missing."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("chromium and chromium-driver are not installed")
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--use-gl=angle", "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--hide-scrollbars",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    browser.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    yield browser
    browser.quit()


@pytest.fixture
def visit(chromium: Any) -> Callable[..., Any]:
    """``visit(path, width)``: the browser with the page open, its logs emptied before."""

    def go(path: Path, width: int = 1400, *, dark: bool = False) -> Any:
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": scheme})
        for kind in ("browser", "performance"):
            chromium.get_log(kind)
        chromium.get(path.as_uri())
        return chromium

    return go
