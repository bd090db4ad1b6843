"""Code blocks of Markdown documents, and the shell script that runs those of one document in order.

A block of ``bash`` or ``python`` runs unless a comment right before it says ``<!-- not run: why -->``.
``<!-- file: NAME -->`` before a block of another language writes it to that file.  Python blocks that follow one
another are one program.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

RUNNABLE = {"bash", "python"}
SHOWN = {"text", "yaml"}
"""Output and layouts; a settings file."""

FENCE = re.compile(
    r"^(?:<!-- (?P<comment>[^\n]*?) -->\n)?^(?P<fence>```+)(?P<language>[^\n]*)\n(?P<code>.*?)^(?P=fence)[ ]*$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    language: what stands after the fence; directives of MyST keep their braces.  comment: of the line before it.
    """

    language: str
    code: str
    line: int
    comment: str = ""

    @property
    def is_directive(self) -> bool:
        """Whether it is a MyST directive instead of code."""
        return self.language.startswith("{")

    @property
    def reason_not_run(self) -> str:
        """Why a block is not run here, empty for one that is."""
        kind, _, reason = self.comment.partition(": ")
        return reason if kind == "not run" else ""

    @property
    def file(self) -> str:
        """The file that the block is written to, empty for none."""
        kind, _, name = self.comment.partition(": ")
        return name if kind == "file" else ""

    @property
    def runs(self) -> bool:
        """Whether it is part of the document's script."""
        return bool(self.file) or (self.language in RUNNABLE and not self.reason_not_run)


def blocks_of(text: str) -> Iterator[Block]:
    """The fenced blocks of a document."""
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("fence")) + 1
        yield Block(match["language"].strip(), match["code"], line, match["comment"] or "")


def script_of(blocks: list[Block]) -> str:
    """Shell script of the blocks that run."""
    parts = ["set -euo pipefail"]
    running = [block for block in blocks if block.runs]
    for language, group in groupby(running, key=lambda block: block.language):
        together = list(group)
        if language == "python":
            parts.append(_python(together))
        else:
            parts += [_file(block) if block.file else _bash(block) for block in together]
    return "\n".join(parts) + "\n"


def _bash(block: Block) -> str:
    return f"echo '+ block at line {block.line}' >&2\n{block.code}"


def _python(blocks: list[Block]) -> str:
    name = f"block_{blocks[0].line}.py"
    code = "\n".join(f"# line {block.line}\n{block.code}" for block in blocks)
    said = f"echo '+ Python at line {blocks[0].line}' >&2"
    return f"{said}\ncat > {name} <<'END_OF_BLOCK'\n{code}END_OF_BLOCK\npython {name}"


def _file(block: Block) -> str:
    return f"cat > {block.file} <<'END_OF_BLOCK'\n{block.code}END_OF_BLOCK"


def documents(root: Path) -> list[Path]:
    """Every document with code for users."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
