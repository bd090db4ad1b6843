"""From a file or dataset to a page on disk."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from aiida_mbetrain.datasets.hdf5 import verified
from aiida_mbetrain.datasets.inspection import verdicts_of_tree
from aiida_mbetrain.datasets.layout import from_dataset
from aiida_mbetrain.datasets.model import Dataset
from aiida_mbetrain.datasets.names import MEMBERS
from aiida_mbetrain.datasets.tree import Group
from aiida_mbetrain.errors import UnwritableOutput
from aiida_mbetrain.report.campaign import Member, is_campaign, members, part_of, results
from aiida_mbetrain.report.html import element, escaped, join
from aiida_mbetrain.report.page import Section, page
from aiida_mbetrain.report.run_facts import RunFacts
from aiida_mbetrain.report.sections import all_sections, headline
from aiida_mbetrain.report.sections.campaign import Row, attention_section, campaign_section, unfinished_section
from aiida_mbetrain.report.sections.explore import require_chemiscope
from aiida_mbetrain.report.sections.provenance import processes
from aiida_mbetrain.report.sections.trained_models import trained_models_section
from aiida_mbetrain.report.source import Source
from aiida_mbetrain.report.trained_models import TrainedModel
from aiida_mbetrain.science.training import TRAINED

DEFAULT_FILE = "training_set.hdf5"
"""Name of the file in commands where a dataset has none."""


def write_report(
    source: Dataset | str | Path,
    path: str | Path,
    *,
    run: RunFacts | None = None,
    trained_models: Sequence[TrainedModel] = (),
    file_name: str | None = None,
    seed: int = 42,
    parts: bool = True,
    explore: bool = False,
) -> Path:
    """Write the report of a dataset or of its HDF5 file to ``path``.

    The file of a campaign gives a page of its crystals, conditions and trained models, and in the folder ``PATH_parts``
    beside it a page for every member, made one after another.
    run, trained_models: what the profile knows about the run, and about models trained on its clusters.
    file_name: the file in commands to paste; by default its own name.
    seed: of the choice of clusters where there are too many for one page.
    parts: of a campaign, write the pages of the members too.
    explore: add the viewer of chemiscope, some 4 MB, to the page, or to those of the members.
    Raises UnreadableFile, UnwritableOutput; InvalidSettings where chemiscope is not installed.
    """
    if explore:
        require_chemiscope()
    size = None if isinstance(source, Dataset) else _size(Path(source))
    name = file_name or (DEFAULT_FILE if isinstance(source, Dataset) else str(source))
    with _tree(source) as root:
        given = Source(root, name, file_bytes=size, run=run, trained_models=trained_models, seed=seed, explore=explore)
        if is_campaign(root):
            return _write_campaign(given, Path(path), parts=parts)
        return _write(Path(path), _training_set_page(given))


def write_model_report(models: Sequence[TrainedModel], run: RunFacts, path: str | Path, *, seed: int = 42) -> Path:
    """Write the report of a training to ``path``.

    models: what was trained, one for each reference method.  run: the training.
    seed: of the choice of points where there are too many for a figure.
    Raises UnwritableOutput.
    """
    source = Source(Group(), DEFAULT_FILE, run=run, trained_models=models, seed=seed)
    made = [trained_models_section(source), Section("provenance", "Processes", processes(run))]
    shown = [section for section in made if section is not None]
    title = f"{', '.join(model.level_of_theory for model in models)}: {TRAINED[models[0].kind]} model"
    return _write(Path(path), page(title, escaped(title), escaped(models[0].name), shown))


def _training_set_page(source: Source) -> str:
    title, heading, subtitle = headline(source)
    return page(title, heading, subtitle, all_sections(source))


def _member_page(source: Source, member: Member, campaign_page: str) -> str:
    """The page of a training set under the name of the member, with a link back."""
    title = f"{member.crystal}, {member.model}, {member.condition}"
    *_, subtitle = headline(source)
    back = element("a", "the campaign", href=f"../{quote(campaign_page)}")
    return page(title, escaped(title), join(subtitle, " \u00b7 ", back), all_sections(source))


def _write_campaign(source: Source, path: Path, *, parts: bool) -> Path:
    """The page of a campaign, and one for each of its members that has anything finished."""
    folder = path.with_name(f"{path.stem}_parts")
    rows = []
    for member in members(source.root):
        part = part_of(source.root, member)
        link = f"{folder.name}/{member.file_name}" if parts and part.groups else None
        if link is not None:
            _make(folder)
            alone = replace(source, root=part, file_bytes=None, trained_models=())
            _write(folder / member.file_name, _member_page(alone, member, path.name))
        href = None if link is None else quote(link)
        rows.append(Row(member, results(part, member.temperature_K), verdicts_of_tree(part), href))
    name = str(source.root[MEMBERS].attributes["campaign"])
    sections = [
        campaign_section(rows), attention_section(rows), unfinished_section(rows), trained_models_section(source),
    ]  # fmt: skip
    subtitle = escaped(f"{len(rows)} members \u00b7 {source.short_name}")
    shown = [section for section in sections if section is not None]
    return _write(path, page(f"{name}: campaign", escaped(f"{name}: campaign"), subtitle, shown))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UnwritableOutput(f"{folder} cannot be made: {error.strerror or error}.") from None


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


@contextmanager
def _tree(source: Dataset | str | Path) -> Iterator[Group]:
    if isinstance(source, Dataset):
        yield from_dataset(source)
    else:
        with verified(source) as root:
            yield root


def _write(path: Path, text: str) -> Path:
    """Write under another name and rename: a reader never sees half a page."""
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        partial.write_text(text, "utf-8")
        os.replace(partial, target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UnwritableOutput(f"{path} cannot be written: {error.strerror or error}.") from None
    return path
