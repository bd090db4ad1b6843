"""YAML files that are no settings are refused in one sentence."""

from __future__ import annotations

import pytest

from aiida_mbetrain.errors import InvalidSettings, MbetrainError
from aiida_mbetrain.settings import read_mapping

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        "- 1", "text", "3", "a: " + "[" * 1000 + "]" * 1000, "a: " + "[" * 30 + "]" * 30,
        "a: " + "{b: " * 1000 + "}" * 1000,
        "1: 2", "null: 2", BOMB, "a: &a [*a]", "a: &a {b: *a}", "a: 2001-99-99", "a: " + "9" * 5000, "\0",
        "a: !!python/name:os.x",
        "? [1]\n: 2", "a: [", "{" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_mapping_of_settings_is_refused(tmp_path, text):
    (tmp_path / "file.yaml").write_text(text)
    with pytest.raises(MbetrainError, match=r"--overrides .*file\.yaml"):
        read_mapping(tmp_path / "file.yaml", "--overrides", "a mapping")


def test_empty_file_is_an_empty_mapping(tmp_path):
    (tmp_path / "file.yaml").write_text("# nothing\n")
    assert read_mapping(tmp_path / "file.yaml", "--overrides", "a mapping") == {}


def test_section_that_is_a_list_is_refused():
    from aiida_mbetrain.workflows.protocols import protocol_settings

    with pytest.raises(InvalidSettings, match=r"section md_sampling .* \[1, 2\]"):
        protocol_settings("fast", {"md_sampling": [1, 2]})
