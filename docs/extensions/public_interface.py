"""Docstrings of the public interface as autodoc shows them.

The package describes arguments and fields as ``name: meaning.``, several in a row; each becomes an item of a list.
Constants that a package passes on from another module are shown with the text that stands after their assignment
there, which autodoc does not find.  Names of settings lead to the page on settings.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.nodes import make_refnode

LITERAL = re.compile(r"(``.+?``|:\w+:`.+?`)")
ITEM = re.compile(r"([a-z]\w*(?:, [a-z]\w*)*): (?=\S)")
"""``name: `` or ``first, second: `` at the start of a line."""
BETWEEN_ITEMS = re.compile(rf"(?<=[.;)])  (?={ITEM.pattern})")


def items_apart(lines: list[str]) -> Iterator[str]:
    """Lines of a docstring as reStructuredText, every argument or field as an item of a list."""
    inside, sentence_over = False, True
    for line in lines:
        if line.startswith((" ", "\t")) and not inside:
            yield line  # a block in its own right
            continue
        for part in BETWEEN_ITEMS.split(line.strip())[:: ITEM.groups + 1]:
            found = ITEM.match(part) if sentence_over else None
            if found:
                yield from ("", f"* ``{found[1]}``: {escaped(part[found.end() :])}")
                inside = True
            elif inside and part and (not sentence_over or line.startswith(" ")):
                yield f"  {escaped(part)}"
            else:
                yield from ("", escaped(part)) if inside else (escaped(part),)
                inside = False
            sentence_over = not part or part.endswith((".", ":", ";"))


def escaped(text: str) -> str:
    """Text whose bars and stars are not markup, literals and references as they are."""
    parts = LITERAL.split(text)
    return "".join(part if index % 2 else re.sub(r"([|*])", r"\\\1", part) for index, part in enumerate(parts))


def text_of_constant(module: ModuleType, name: str) -> list[str]:
    """The string after the assignment of a constant, also where a package takes it from another module."""
    own = ModuleAnalyzer.for_module(module.__name__).find_attr_docs().get(("", name))
    if own:
        return own
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            return ModuleAnalyzer.for_module(str(node.module)).find_attr_docs().get(("", name), [])
    return []


ARRAY = re.compile(r"~?numpy\.ndarray\[tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[~?([\w.]+)\]\]")
NAMES_OF_ARRAYS = {"numpy.float64": "FloatArray", "numpy.int64": "IntArray"}


def readable(signature: str | None) -> str | None:
    """A signature with short names of arrays, and with dots for defaults that a factory makes."""
    if signature is None:
        return None
    short = ARRAY.sub(lambda found: NAMES_OF_ARRAYS.get(found[1], "NDArray"), signature)
    return short.replace("<factory>", "...")


def process_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, arguments: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Shorten the types."""
    return readable(arguments), readable(returns)


def process_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Put the text of a constant and the items of a docstring in place."""
    if what == "data":
        module, _, constant = name.rpartition(".")
        lines[:] = text_of_constant(sys.modules[module], constant)
    lines[:] = [*items_apart(lines), ""]


def settings_page(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement) -> Any:
    """Link to the section of a settings class, which its own page describes."""
    target = node.get("reftarget", "")
    if not target.startswith("aiida_mbetrain.settings."):
        return None
    return make_refnode(app.builder, node["refdoc"], "reference/settings", target.rpartition(".")[2].lower(), text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to autodoc."""
    app.connect("autodoc-process-docstring", process_docstring)
    app.connect("autodoc-process-signature", process_signature)
    app.connect("missing-reference", settings_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
