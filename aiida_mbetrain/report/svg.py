"""Plots as SVG text: axes, lines, points, bars and shaded spans.

Colours are classes (``blue``, ``orange`` ...) that the page's style sheet turns into light or dark ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10

import numpy as np
from numpy.typing import ArrayLike

from aiida_mbetrain.report.html import Markup, element

LEFT, RIGHT, TOP, BOTTOM = 68.0, 12.0, 12.0, 44.0
"""Margins around the axes; long numbers at the y axis make the left one larger."""
LABEL_WIDTH, DIGIT_WIDTH = 30.0, 7.4
"""Of the label of the y axis with its gaps, and of a digit at most."""

MOST_POINTS = 1200
"""Longer lines are drawn by the smallest and largest value of each of half as many intervals."""


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` round numbers within [low, high], steps of 1, 2, 2.5 or 5 times a power of ten."""
    span = high - low
    raw = span / max(count, 1)
    power = 10.0 ** floor(log10(raw))
    step = next(power * factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if power * factor >= raw * (1 - 1e-9))
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [round(i * step, 12) + 0.0 for i in range(first, last + 1)]


def padded(low: float, high: float, part: float = 0.06) -> tuple[float, float]:
    """The range with a margin on both sides; one of finite width also where both ends are equal."""
    width = high - low
    if width <= 1e-12 * max(abs(low), abs(high)):
        width = max(abs(low) * 0.02, 1e-9)
    return low - part * width, high + part * width


def number(value: float) -> str:
    """A tick's or table's number: plain, with a true minus sign."""
    return f"{value:.6g}".replace("-", "\u2212")


class Plot:
    """A figure with one pair of axes; what is drawn first lies below."""

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        x_label: str,
        y_label: str,
        title: str,
        description: str,
        width: int = 440,
        height: int = 250,
        x_ticks: Sequence[tuple[float, str]] | None = None,
        y_ticks: Sequence[tuple[float, str]] | None = None,
        grid: bool = True,
    ) -> None:
        self.x, self.y, self.width, self.height = x, y, width, height
        self.title, self.description = title, description
        self.legend: list[tuple[str, str]] = []
        x_named = [(tick, number(tick)) for tick in nice_ticks(*x)] if x_ticks is None else x_ticks
        y_named = [(tick, number(tick)) for tick in nice_ticks(*y, count=4)] if y_ticks is None else y_ticks
        self._left = max(LEFT, LABEL_WIDTH + DIGIT_WIDTH * max((len(text) for _, text in y_named), default=0))
        self._behind: list[Markup] = []
        self._parts: list[Markup] = []
        self._axes = self._frame(x_named, y_named, x_label, y_label)
        if grid:
            left, right = self._left, width - RIGHT
            self._behind += [
                element("line", x1=left, x2=right, y1=_f(self._v(at)), y2=_f(self._v(at)), class_="grid")
                for at, _ in y_named
            ]

    def _u(self, x: float) -> float:
        low, high = self.x
        return self._left + (x - low) / (high - low) * (self.width - self._left - RIGHT)

    def _v(self, y: float) -> float:
        low, high = self.y
        return self.height - BOTTOM - (y - low) / (high - low) * (self.height - TOP - BOTTOM)

    def _frame(
        self, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]], x_label: str, y_label: str
    ) -> list[Markup]:
        bottom, middle = self.height - BOTTOM, (TOP + self.height - BOTTOM) / 2
        parts = [element("path", d=f"M{self._left:g} {TOP:g}V{bottom:g}H{self.width - RIGHT:g}", class_="axis")]
        for at, text in x_ticks:
            parts.append(element("path", d=f"M{_f(self._u(at))} {bottom:g}v4", class_="axis"))
            parts.append(element("text", text, x=_f(self._u(at)), y=bottom + 18, class_="tick middle"))
        for at, text in y_ticks:
            parts.append(element("path", d=f"M{self._left:g} {_f(self._v(at))}h-4", class_="axis"))
            parts.append(element("text", text, x=self._left - 8, y=_f(self._v(at) + 4.5), class_="tick end"))
        center = (self._left + self.width - RIGHT) / 2
        parts.append(element("text", x_label, x=_f(center), y=self.height - 5, class_="label middle"))
        turned = f"rotate(-90 13 {middle:g})"
        parts.append(element("text", y_label, x=13, y=_f(middle), transform=turned, class_="label middle"))
        return parts

    def line(self, x: ArrayLike, y: ArrayLike, colour: str, *, style: str = "", name: str | None = None) -> None:
        """A polyline; gaps where y is not finite.  style: further classes: thin, dashed, faint."""
        xs, ys = _thinned(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
        path, drawing = [], False
        for u, v, finite in zip(self._u_all(xs), self._v_all(ys), np.isfinite(ys), strict=True):
            if finite:
                path.append(f"{'L' if drawing else 'M'}{u:.1f} {v:.1f}")
            drawing = bool(finite)
        self._parts.append(element("path", d="".join(path), class_=f"line {colour} {style}".strip()))
        self._name(name, colour)

    def points(self, x: ArrayLike, y: ArrayLike, colour: str, *, radius: float = 3.0, name: str | None = None) -> None:
        """Filled circles."""
        xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        dots = [
            element("circle", cx=_f(u), cy=_f(v), r=f"{radius:g}")
            for u, v in zip(self._u_all(xs), self._v_all(ys), strict=True)
            if np.isfinite(v)
        ]
        self._parts.append(element("g", *dots, class_=f"dots {colour}"))
        self._name(name, colour)

    def area(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, colour: str, *, name: str | None = None) -> None:
        """The region between two curves."""
        xs = np.asarray(x, dtype=np.float64)
        upper = zip(self._u_all(xs), self._v_all(np.broadcast_to(high, xs.shape)), strict=True)
        lower = zip(self._u_all(xs), self._v_all(np.broadcast_to(low, xs.shape)), strict=True)
        corners = [f"{u:.1f} {v:.1f}" for u, v in [*upper, *reversed(list(lower))]]
        self._parts.append(element("path", d="M" + "L".join(corners) + "Z", class_=f"area {colour}"))
        self._name(name, colour)

    def span_x(self, low: float, high: float, colour: str, name: str | None = None) -> None:
        """A shaded range of x, named at its upper left."""
        low, high = max(low, self.x[0]), min(high, self.x[1])
        if high <= low:
            return
        left, right = self._u(low), self._u(high)
        size = {"width": _f(right - left), "height": _f(self.height - TOP - BOTTOM)}
        self._behind.append(element("rect", x=_f(left), y=TOP, class_=f"span {colour}", **size))
        if name is not None:
            self._parts.append(element("text", name, x=_f(left + 5), y=TOP + 13, class_="note"))

    def span_y(self, low: float, high: float, colour: str, name: str | None = None) -> None:
        """A shaded range of y, named at its right end."""
        low, high = max(low, self.y[0]), min(high, self.y[1])
        if high <= low:
            return
        top, bottom = self._v(high), self._v(low)
        size = {"width": _f(self.width - self._left - RIGHT), "height": _f(bottom - top)}
        self._behind.append(element("rect", x=self._left, y=_f(top), class_=f"span {colour}", **size))
        if name is not None:
            self._parts.append(element("text", name, x=self.width - RIGHT - 5, y=_f(top + 14), class_="note end"))

    def rule_x(self, x: float, colour: str, *, style: str = "thin") -> None:
        """A vertical line across the plot."""
        path = f"M{_f(self._u(x))} {TOP:g}V{self.height - BOTTOM:g}"
        self._parts.append(element("path", d=path, class_=f"line {colour} {style}"))

    def rule_y(self, y: float, colour: str, *, style: str = "dashed", name: str | None = None) -> None:
        """A horizontal line across the plot."""
        path = f"M{self._left:g} {_f(self._v(y))}H{self.width - RIGHT:g}"
        self._parts.append(element("path", d=path, class_=f"line {colour} {style}"))
        self._name(name, colour)

    def text(self, x: float, y: float, content: str, *, classes: str = "note") -> None:
        """Text at a point of the axes."""
        self._parts.append(element("text", content, x=_f(self._u(x)), y=_f(self._v(y)), class_=classes))

    def _name(self, name: str | None, colour: str) -> None:
        if name is not None:
            self.legend.append((name, colour))

    def _u_all(self, xs: np.ndarray) -> np.ndarray:
        low, high = self.x
        return np.asarray(self._left + (xs - low) / (high - low) * (self.width - self._left - RIGHT))

    def _v_all(self, ys: np.ndarray) -> np.ndarray:
        low, high = self.y
        # what lies outside is cut by the clip path; far outside, numbers would only be long
        inside = np.clip(ys, low - (high - low), high + (high - low))
        return np.asarray(self.height - BOTTOM - (inside - low) / (high - low) * (self.height - TOP - BOTTOM))

    def figure(self, caption: object = None) -> Markup:
        """The plot with its title, legend and caption; the description is its text alternative."""
        left, top = self._left, TOP - 4
        width, height = self.width - self._left - RIGHT + 6, self.height - TOP - BOTTOM + 8
        window = {"x": left, "y": top, "width": width, "height": height, "viewBox": f"{left} {top} {width} {height}"}
        drawing = element(
            "svg",
            element("title", self.title),
            element("desc", self.description),
            *self._behind,
            element("svg", *self._parts, **window),
            *self._axes,
            viewBox=f"0 0 {self.width} {self.height}",
            role="img",
            aria_label=f"{self.title}. {self.description}",
        )
        return framed(self.title, drawing, self.legend, caption)


def framed(title: str, drawing: Markup, legend: Sequence[tuple[str, str]] = (), caption: object = None) -> Markup:
    """A drawing as a figure of the page."""
    keys = [element("li", element("span", class_=f"key {colour}"), name) for name, colour in legend]
    head = element("div", element("h4", title), element("ul", *keys, class_="legend") if keys else None, class_="head")
    return element("figure", head, drawing, None if caption is None else element("figcaption", caption))


def figures(*parts: object) -> Markup:
    """Figures side by side where there is room."""
    return element("div", *parts, class_="figures")


def _f(value: float) -> str:
    return f"{value:.1f}"


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The line with at most MOST_POINTS points and the same outline."""
    if len(x) <= MOST_POINTS:
        return x, y
    pieces = np.array_split(np.arange(len(x)), MOST_POINTS // 2)
    safe = np.where(np.isfinite(y), y, 0.0)
    kept = np.array([sorted((piece[safe[piece].argmin()], piece[safe[piece].argmax()])) for piece in pieces]).ravel()
    return x[kept], y[kept]
