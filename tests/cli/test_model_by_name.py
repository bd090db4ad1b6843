"""``model import NAME``: through mace's own loaders, of which only the download itself is replaced."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

import pytest
from mace.calculators import foundations_models as zoo  # before models: e3nn must not come first
from models import save_random_mace

from aiida_mbetrain.cli.foundation import foundation_models, is_name

OFF_SMALL = "https://raw.githubusercontent.com/ACEsuit/mace-off/main/mace_off23/MACE-OFF23_small.model"


@pytest.fixture(scope="module")
def random_model(tmp_path_factory) -> Path:
    return save_random_mace(tmp_path_factory.mktemp("net") / "random.model", channels=2, seed=31)


@pytest.fixture
def model_file(random_model, tmp_path, request) -> Path:
    """Other bytes for every test, by a comment in the zip file: the same are one node with the first file name."""
    path = Path(shutil.copy(random_model, tmp_path / "some.model"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = request.node.name.encode()
    return path


@pytest.fixture
def downloads(monkeypatch, tmp_path, model_file) -> list[str]:
    """The URLs that mace asks for; each gives the random model.  mace's cache is an empty folder."""
    asked: list[str] = []

    def retrieve(url: str, filename: str):
        asked.append(url)
        return shutil.copy(model_file, filename), "Content-Type: application/octet-stream"

    monkeypatch.setattr(zoo, "_urlretrieve_with_timeout", retrieve)
    monkeypatch.setattr(zoo, "get_cache_dir", lambda: str(tmp_path / "cache"))
    return asked


def imported(told: str) -> str:
    """The file name of the node that was made."""
    found = re.search(r"MaceModelData<\d+>  (\S+)  H, C, N  sha256", told)
    assert found is not None, told
    return found[1]


@pytest.mark.parametrize(
    ("name", "url", "file"),
    [
        ("mace-off-small", OFF_SMALL, "MACE-OFF23_small.model"),
        ("mace-off", OFF_SMALL.replace("small", "medium"), "MACE-OFF23_medium.model"),
        ("mace-mp-small", zoo.mace_mp_urls["small"], "2023-12-10-mace-128-L0_energy_epoch-249.model"),
        ("mace-mp", zoo.mace_mp_urls["medium"], "2023-12-03-mace-128-L1_epoch-199.model"),
        (
            "mace-matpes-r2scan-0",
            zoo.mace_mp_urls["mace-matpes-r2scan-0"],
            "MACE-matpes-r2scan-omat-ft.model",
        ),
        ("mace-anicc", foundation_models()["mace-anicc"].url, "ani500k_large_CC.model"),
    ],
    ids=lambda value: value if value.startswith("mace-") else "",
)
def test_model_is_fetched_and_registered_under_the_name_it_has_on_the_net(succeed, downloads, name, url, file):
    assert imported(succeed("model", "import", name)) == file
    assert downloads == [url]


def test_model_in_the_cache_of_mace_is_not_fetched_again(succeed, downloads):
    for _ in range(2):
        imported(succeed("model", "import", "mace-off-small"))
    assert len(downloads) == 1


@pytest.mark.parametrize("name", ["mace-off-small", "mace-mp-small"])
def test_query_of_a_url_is_no_part_of_the_file_name(succeed, downloads, monkeypatch, name):
    for urls in (zoo.mace_off_urls, zoo.mace_mp_urls):
        monkeypatch.setitem(urls, "small", "https://some.where/Some_small.model?raw=true")
    assert imported(succeed("model", "import", name)) == "Some_small.model"


def test_unknown_name_lists_the_known_ones(fail, downloads):
    told = fail("model", "import", "mace-mp-giant")
    assert "mace-mp-giant is neither a file nor a foundation model" in told
    for name in ("mace-mp-small", "mace-mp-medium-mpa-0", "mace-off-large", "mace-matpes-pbe-0", "mace-anicc"):
        assert name in told
    assert "mace-mp-mace" not in told
    assert not downloads


@pytest.mark.parametrize("name", ["mace-omol", "mace-omol-extra_large", "mace-polar-1-s"])
def test_model_that_needs_charge_and_spin_is_refused_before_it_is_fetched(fail, downloads, name):
    told = fail("model", "import", name)
    assert told.startswith(f"Error: {name} takes the total charge and spin as inputs")
    assert "mace-off-small" in told
    assert not downloads


@pytest.mark.parametrize("name", ["mace-off-small", "mace-mp-small", "mace-anicc"])
def test_failed_download_tells_the_url(call, monkeypatch, downloads, name):
    def refuse(url: str, filename: str):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(zoo, "_urlretrieve_with_timeout", refuse)
    result = call("model", "import", name)
    assert result.exit_code == 1
    [line] = result.stderr.splitlines()
    url = foundation_models()[name].url
    assert line.startswith(f"Error: {name} could not be downloaded (Network is unreachable): fetch {url} where")


def test_files_are_not_taken_for_names(succeed, fail, downloads, model_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "There is no model file mace-mp-0.model" in fail("model", "import", "mace-mp-0.model")
    assert not is_name("models/mace-mp-small")
    shutil.copy(model_file, tmp_path / "mace-off-small")
    assert imported(succeed("model", "import", "mace-off-small")) == "mace-off-small"
    assert not downloads
