"""Segments survive a kill at any moment, and an append does not rewrite those before."""

from __future__ import annotations

import pytest

from aiida_mbetrain.errors import UnreadableFile
from aiida_mbetrain.science.io import SegmentFile

SEGMENTS = [b"first", b"", b"third segment", bytes(40)]


@pytest.fixture
def path(tmp_path):
    """A file of the segments above."""
    path = tmp_path / "segments"
    for segment in SEGMENTS:
        SegmentFile(path).append(segment)
    return path


def test_segments_are_read_in_order(path):
    assert list(SegmentFile(path).read()) == SEGMENTS


def test_absent_file_has_no_segments(tmp_path):
    assert list(SegmentFile(tmp_path / "absent").read()) == []
    assert not list(tmp_path.iterdir())


def test_file_cut_at_any_byte_holds_the_whole_segments_before_and_can_be_continued(path):
    content = path.read_bytes()
    seen = set()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        found = list(SegmentFile(path).read())
        assert found == SEGMENTS[: len(found)]
        assert len(found) < len(SEGMENTS)
        seen.add(len(found))
        SegmentFile(path).append(b"again")
        assert list(SegmentFile(path).read()) == [*found, b"again"]
    assert seen == {0, 1, 2, 3}


def test_file_with_any_byte_changed_holds_no_other_segment(path):
    content = path.read_bytes()
    start = content.index(b"first") - 40
    for place in range(start, len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        found = list(SegmentFile(path).read())
        assert found == SEGMENTS[: len(found)]
        assert len(found) < len(SEGMENTS)


@pytest.mark.parametrize("content", [b"hello", b"PK\x03\x04" + bytes(100)])
def test_file_of_another_format_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "foreign"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match="foreign"):
        list(SegmentFile(path).read())
    with pytest.raises(UnreadableFile, match="foreign"):
        SegmentFile(path).append(b"new")
    assert path.read_bytes() == content
