"""Documents: every command and program in them runs, the reference is complete, the pages build without a warning."""

from __future__ import annotations

import dataclasses
import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import h5py
import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "docs" / "extensions"), str(ROOT / "docs" / "figures")]

from blocks import RUNNABLE, SHOWN, Block, blocks_of, documents, script_of  # noqa: E402
from workplace import Workplace, new_workplace, what_the_demo_made  # noqa: E402

DOCS = ROOT / "docs"
TUTORIAL = DOCS / "tutorials" / "getting_started.md"

CI_RUNS = {"demo", "tests"}
"""Comments on the README's two commands, which .ci/run pastes as they are."""


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def with_code() -> list[Path]:
    return [document for document in documents(ROOT) if any(block.runs for block in read(document))]


def read(document: Path) -> list[Block]:
    blocks = list(blocks_of(document.read_text("utf-8")))
    return [block for block in blocks if block.comment not in CI_RUNS]


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A folder where the tutorial has been followed to its end, in the profile of the demo."""
    empty = new_workplace(tmp_path_factory.mktemp("docs") / "work")
    empty.run(script_of(read(TUTORIAL)))
    return dataclasses.replace(empty, environment=empty.environment | what_the_demo_made(empty))


@pytest.mark.slow
def test_tutorial_leads_to_two_datasets_with_pictures(workplace: Workplace):
    for folder in (workplace.folder / "mbetrain-demo", workplace.folder):
        assert (folder / "training_set.hdf5").stat().st_size > 100_000
        assert len(list(folder.glob("training_set_*.png"))) == 5


@pytest.mark.slow
@pytest.mark.parametrize("document", [page for page in with_code() if page != TUTORIAL], ids=name_of)
def test_code_of_a_document_runs(document: Path, workplace: Workplace, tmp_path: Path):
    here = workplace.at(tmp_path / "here")
    shutil.copy(workplace.folder / "mbetrain-demo" / "training_set.hdf5", here.folder)
    (here.folder / "mbetrain-demo").symlink_to(workplace.folder / "mbetrain-demo")
    here.run(script_of(read(document)))


@pytest.mark.parametrize("document", documents(ROOT), ids=name_of)
def test_every_block_runs_or_says_why_not(document: Path):
    for block in blocks_of(document.read_text("utf-8")):
        where = f"{name_of(document)}:{block.line}"
        if block.is_directive or block.comment in CI_RUNS:
            continue
        assert block.language in RUNNABLE | SHOWN or (block.language == "" and document.name == "README.md"), (
            f"{where}: name the language of the block, one of {sorted(RUNNABLE | SHOWN)}"
        )
        if block.language in RUNNABLE and not block.runs:
            assert len(block.reason_not_run) > 10, f"{where}: say why the block is not run"


def test_block_of_code_is_found_with_its_comment():
    text = "a\n\n<!-- not run: needs a cluster -->\n```bash\nsbatch\n```\n\n```python\n1 / 0\n```\n"
    blocks = list(blocks_of(text))
    assert [(block.language, block.runs, block.line) for block in blocks] == [
        ("bash", False, 4),
        ("python", True, 8),
    ]
    assert "1 / 0" in script_of(blocks)
    assert "sbatch" not in script_of(blocks)


@pytest.mark.parametrize("name", ["pipeline", "campaign"])
def test_figure_is_the_one_that_its_script_draws(name: str):
    figure = importlib.import_module(name).figure()
    assert (DOCS / "figures" / f"{name}.svg").read_text("utf-8") == figure


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages."""
    folder = tmp_path_factory.mktemp("pages")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", folder / "trees"]
    result = subprocess.run([*command, DOCS, folder / "html"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder / "html"


def sections(pages: Path, page: str) -> set[str]:
    """Anchors of the sections of a built page."""
    return set(re.findall(r'<section[^>]* id="([^"]+)"', (pages / page).read_text("utf-8")))


def test_every_settings_class_has_a_section(pages: Path):
    from generated_reference import settings_classes

    assert {"MDSampling", "FreeEnergy", "PhononSampling", "Inference"} <= set(settings_classes())
    assert {name.lower() for name in settings_classes()} <= sections(pages, "reference/settings.html")


def test_every_field_says_what_it_means_and_of_which_type():
    from generated_reference import fields_of, settings_classes, type_text

    for name, cls in settings_classes().items():
        for field, info in fields_of(cls):
            assert info.description, f"{name}.{field} has no description"
            assert not re.search(r"typing|Annotated|ForwardRef|\bAny\b", type_text(info)), f"{name}.{field}"


def test_every_command_has_a_section_and_describes_its_options(pages: Path):
    from generated_reference import command_names, find_command

    from aiida_mbetrain.cli import main

    names = list(command_names(main))
    assert {name.replace(" ", "-") for name in names} <= sections(pages, "reference/cli.html")
    for name in names:
        command = find_command(name.split())[0]
        assert all(option.help for option in command.params if isinstance(option, click.Option)), name


def test_every_exit_code_is_listed():
    from generated_reference import exit_codes_text

    from aiida_mbetrain import errors

    table = exit_codes_text()
    for error in errors.MbetrainError.__subclasses__():
        assert f"| {error.code} | `{error.status}` |" in table


# The Python interface

PACKAGE = ROOT / "aiida_mbetrain"
WINGS = (
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for pattern in ("science/*.py", "science/*/__init__.py", "datasets/*.py", "datasets/*/__init__.py")
    for path in PACKAGE.glob(pattern)
    if "\n__all__ = [" in path.read_text("utf-8")
)
PUBLIC = [*sorted(WINGS), "aiida_mbetrain.report", "aiida_mbetrain.demo", "aiida_mbetrain.provenance"]
"""Modules whose names a user may import; what is inside a wing is imported from the wing."""


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference_with_a_text(module: str, pages: Path):
    page = (pages / "reference" / "api.html").read_text("utf-8")
    for name in importlib.import_module(module).__all__:
        entry = re.search(rf'<dt[^>]* id="{re.escape(module)}\.{name}">.*?</dt>\s*<dd>(.*?)</dd>', page, re.DOTALL)
        assert entry, f"{module}.{name} is missing on docs/reference/api.md"
        assert len(re.sub(r"<[^>]+>", "", entry[1]).split()) > 1, f"{module}.{name} has no description"


def test_items_of_a_docstring_stand_apart():
    from public_interface import items_apart

    lines = ["Cut.", "", "cell: (3, 3), Å.  radius: of |x|,", "    Å.", "Raises ValueError."]
    assert list(items_apart(lines)) == [
        "Cut.", "", "", "* ``cell``: (3, 3), Å.", "", "* ``radius``: of \\|x\\|,", "  Å.", "", "Raises ValueError.",
    ]  # fmt: skip


# The HDF5 layout


@pytest.fixture(scope="module")
def documented() -> set[str]:
    """Every name in code marks of the page on the file."""
    return set(re.findall(r"`([^`\n]+)`", (DOCS / "reference" / "hdf5.md").read_text("utf-8")))


def test_names_are_documented_to_the_code_point(documented: set[str]):
    from generated_reference import hdf5_names

    unusual = {name for name in documented if not name.isascii()}
    assert len(unusual) > 30
    assert unusual - set(hdf5_names()) == set()


@pytest.mark.slow
def test_everything_in_a_file_is_documented(workplace: Workplace, documented: set[str]):
    said: set[str] = set()

    def collect(path: str, item: Any) -> None:
        own = [path.rpartition("/")[2]] if isinstance(item, h5py.Dataset) else []
        said.update(own + [name for name in item.attrs if not name.startswith("provenance.")])

    with h5py.File(workplace.folder / "mbetrain-demo" / "training_set.hdf5") as file:
        collect("", file)
        file.visititems(collect)
    assert {re.sub(r"(segment)_\d+", r"\1_0", name) for name in said} - documented == set()


@pytest.mark.slow
def test_attributes_that_the_reference_promises_are_there(workplace: Workplace):
    page = (DOCS / "reference" / "nodes_and_ports.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+Data)` \| ((?:`\w+`,? ?)+) \|$", page, re.MULTILINE)
    assert len(rows) == 4
    wanted = {node: sorted(re.findall(r"`(\w+)`", names)) for node, names in rows}
    program = f"""
from aiida import load_profile, orm
load_profile()
for kind, names in {wanted!r}.items():
    node = next(n for n in orm.QueryBuilder().append(orm.Data).all(flat=True) if type(n).__name__ == kind)
    there = sorted(name for name in node.base.attributes.all if not name.startswith("array|") and name != "content")
    assert there == names, (kind, there, names)
"""
    workplace.run(f"{sys.executable} - <<'END'\n{program}\nEND")
