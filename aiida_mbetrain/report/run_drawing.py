"""Drawing of a run: boxes in two columns, from top to bottom, narrow enough for a phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiida_mbetrain.report.html import Markup, element

WIDTH, BOX_W, BOX_H, ROW = 480, 214, 62, 96


@dataclass(frozen=True)
class Box:
    """One step.

    column: 0 or 1; None in the middle.  identity: uuid or digest, shown shortened.  after: names of the boxes that
    arrows come from.
    """

    name: str
    row: int
    column: int | None
    title: str
    detail: str
    identity: str = ""
    after: tuple[str, ...] = ()

    @property
    def x(self) -> float:
        """Centre."""
        return WIDTH / 2 if self.column is None else (8 + BOX_W / 2 if self.column == 0 else WIDTH - 8 - BOX_W / 2)

    @property
    def y(self) -> float:
        """Upper edge."""
        return 8 + ROW * self.row


def drawing(boxes: Sequence[Box]) -> Markup:
    """The boxes with arrows between them."""
    by_name = {box.name: box for box in boxes}
    arrows = [_arrow(by_name[before], box) for box in boxes for before in box.after]
    steps = "; ".join(f"{box.title} ({box.detail}){_after(box, by_name)}" for box in boxes)
    return element(
        "svg",
        element("title", "Drawing of the run"),
        element("desc", steps),
        *arrows,
        *[_box(box) for box in boxes],
        viewBox=f"0 0 {WIDTH} {ROW * max(box.row for box in boxes) + BOX_H + 16}",
        role="img",
        aria_label=f"Drawing of the run. {steps}",
        class_="run",
    )


def _after(box: Box, by_name: Mapping[str, Box]) -> str:
    return f" after {', '.join(by_name[name].title for name in box.after)}" if box.after else ""


def _box(box: Box) -> Markup:
    left = box.x - BOX_W / 2
    lines = [(_short(box.title, 24), "box-title", 21), (_short(box.detail, 34), "box-detail", 38)]
    if box.identity:
        lines.append((box.identity[:8], "box-identity", 53))
    texts = [element("text", text, x=f"{box.x:g}", y=f"{box.y + down:g}", class_=style) for text, style, down in lines]
    full = f"{box.title}, {box.detail}" + (f", {box.identity}" if box.identity else "")
    frame = element("rect", x=f"{left:g}", y=f"{box.y:g}", width=BOX_W, height=BOX_H, rx=8, class_="box")
    return element("g", element("title", full), frame, *texts)


def _arrow(start: Box, end: Box) -> Markup:
    """A curve from the lower edge to the upper one, with a tip."""
    y0, y1 = start.y + BOX_H, end.y - 1
    x0 = start.x + (10 if end.x > start.x else -10 if end.x < start.x else 0)
    x1 = end.x + (10 if start.x > end.x else -10 if start.x < end.x else 0)
    bend = min(26.0, (y1 - y0) / 2)
    path = f"M{x0:g} {y0:g}C{x0:g} {y0 + bend:g} {x1:g} {y1 - bend:g} {x1:g} {y1 - 6:g}"
    tip = f"M{x1 - 4:g} {y1 - 7:g}h8l-4 7z"
    return element("g", element("path", d=path, class_="arrow"), element("path", d=tip, class_="tip"))


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
