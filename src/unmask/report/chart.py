"""Plots as SVG text, drawn by hand: curves and points on axes, dots with intervals, a matrix of counts.

Colours are CSS classes that the page's style sheet defines, so that light, dark and print have their own; series differ
by dash and mark as well as by colour. The same values give the same bytes. Each plot is one SVG that scales by its
viewBox: texts have room for the letters of a phone (FONT), and are set smaller where the plot is shown larger.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

import numpy as np
from rich.cells import cell_len, set_cell_size

WIDTH = 480  # units of the viewBox
HEIGHT = 270  # units of curves and x axis together, below the legend
LARGEST = 1.5  # pixels of a unit, at most
FONT = 14  # units, as in the style sheet
COLOURS = 6  # classes c1 to c6
MAX_POINTS = 240  # of one curve; more are averaged in groups
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Point = tuple[float, float]
Format = Callable[[float], str]


@dataclass(frozen=True)
class Scale:
    """Maps values from the first to the last tick onto units from `start` to `end`; `log`: equal ratios take equal
    room."""

    ticks: Sequence[float]
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log(x) if self.log else x for x in (self.ticks[0], self.ticks[-1], value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def plain(value: float) -> str:
    """A number for an axis: without needless zeros."""
    return f"{value:,.10g}".replace("-", "−")


def thousands(value: float) -> str:
    """A large number for an axis: `500 k`, `1.5 M`, `2 G`."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.10g}\u00a0{name}"
    return plain(value)


def power(value: float) -> str:
    """A number for a logarithmic axis: `0.01`, `200`, `5·10⁻⁶`."""
    exponent = math.floor(math.log10(value) + 1e-9)
    if -4 < exponent < 5:
        return plain(value)
    raised = f"{value / 10.0**exponent:.0f}·10{str(exponent).translate(SUPERSCRIPTS)}"
    return raised.removeprefix("1·")


def log_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Values that enclose low and high, both above 0: 1, 2 and 5 times powers of ten, or powers of ten alone."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    last = max(last, first + 1)
    fine = [digit * 10.0**exponent for exponent in range(first, last + 1) for digit in (1, 2, 5)]
    start = max(number for number, value in enumerate(fine) if value <= low * (1 + 1e-9))
    stop = max(start + 1, min(number for number, value in enumerate(fine) if value >= high * (1 - 1e-9)))
    if stop - start < most:
        return fine[start : stop + 1]
    apart = max(1, -(-(last - first) // (most - 1)))
    return [10.0**exponent for exponent in range(first, last + apart, apart)]


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Values 1, 2 or 5 times a power of ten apart, of which the first and last enclose low and high."""
    if not high > low:
        low, high = low - (abs(low) / 10 or 1), high + (abs(high) / 10 or 1)
    rough = (high - low) / (most - 1)
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(step for factor in (1, 2, 5, 10, 20) if (step := factor * unit) >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most MAX_POINTS points: the means of neighbouring groups, the last point as it is."""
    if len(points) <= MAX_POINTS:
        return list(points)
    means = [group.mean(0) for group in np.array_split(np.asarray(points), MAX_POINTS - 1)]
    return [*((float(x), float(y)) for x, y in means), points[-1]]


def text_width(text: str) -> float:
    """About how wide a text is, in units."""
    return 0.56 * FONT * cell_len(text)


def shortened(text: str, most: float) -> str:
    """A text cut to at most `most` units."""
    cells = int(most / (0.56 * FONT))
    return text if cell_len(text) <= cells else set_cell_size(text, cells - 2).rstrip() + "…"


@dataclass(frozen=True)
class Curve:
    """One series of points, joined unless they are `dots`. A series without a name is not in the legend.

    style: `marks` draws the points, too; `ghost` is faint and not in the legend: it goes with another series of its
    colour. ring: the x of one point to be singled out. strength: of the line, at most 1, orders many of one colour.
    """

    name: str
    points: Sequence[Point]
    colour: int = 1  # 1 to COLOURS
    style: Literal["fine", "marks", "ghost", "dots"] = "fine"
    ring: float | None = None
    strength: float = 1.0

    def line(self, places: Sequence[Point], style: str = "") -> str:
        """Its line through some places of the plot."""
        path = " ".join(f"{across:.1f},{down:.1f}" for across, down in places)
        opacity = f' stroke-opacity="{self.strength:.2f}"' if self.strength < 1 else ""
        return f'<polyline class="curve c{self.colour}{style}"{opacity} points="{path}"/>'

    def draw(self, x: Scale, y: Scale) -> list[str]:
        """The series on the scales of a plot."""
        points = self.points if self.style in ("marks", "dots") else thinned(self.points)
        places = [(x(at), y(value)) for at, value in points]
        if self.style == "dots":
            return [_circle(place, f'"mark c{self.colour}" fill-opacity="0.4"', 2.5) for place in places]
        parts = [self.line(places, f" {self.style}")]
        if self.style == "marks":
            parts += [_mark(place, self.colour) for place in places]
        rings = [place for (at, _), place in zip(points, places, strict=True) if at == self.ring]
        return parts + [_circle(place, f'"ring c{self.colour}"', 8) for place in rings]


@dataclass(frozen=True)
class Curves:
    """Series over one x axis, with dashed reference lines (name, height).

    enclose: heights that the y axis shows in any case; log: a logarithmic y axis, of values above 0; square: both axes
    have one scale, and a line where both are equal.
    """

    series: Sequence[Curve]
    x_label: str
    y_label: str = ""
    references: Sequence[tuple[str, float]] = ()
    x_format: Format = plain
    y_format: Format = plain
    enclose: Sequence[float] = ()
    log: bool = False
    square: bool = False

    def svg(self, description: str) -> str:
        """The plot as SVG text."""
        across, down = zip(*(point for curve in self.series for point in curve.points), strict=True)
        heights = [*down, *(value for _, value in self.references), *self.enclose, *(across if self.square else ())]
        y_ticks = (log_ticks if self.log else ticks)(min(heights), max(heights))
        left = (30 if self.y_label else 12) + max(text_width(self.y_format(value)) for value in y_ticks)
        parts, top = self._legend(left)
        height = top + (WIDTH - left + 48 if self.square else HEIGHT)
        furthest = max(*across, 1e-12)
        x_ticks = y_ticks if self.square else [v for v in ticks(0.0, furthest, 5) if v <= furthest]
        x = Scale(y_ticks if self.square else (0.0, furthest), left, WIDTH - 18)
        y = Scale(y_ticks, height - 54, top + 12, self.log)
        for value in y_ticks:
            parts.append(_line(x.start, y(value), x.end, y(value), "grid"))
            parts.append(_text(x.start - 8, y(value), self.y_format(value), "end"))
        for value in x_ticks:
            parts.append(_line(x(value), y.start, x(value), y.start + 5, "axis"))
            parts.append(_text(x(value), y.start + 17, self.x_format(value), "middle"))
        parts.append(_line(x.start, y.start, x.end, y.start, "axis"))
        parts.append(_text((x.start + x.end) / 2, y.start + 42, self.x_label, "middle"))
        if self.y_label:
            parts.append(_text(12, (y.start + y.end) / 2, self.y_label, "middle", turned=True))
        if self.square:
            parts.append(_line(x.start, y.start, x.end, y.end, "reference"))
        parts += [_line(x.start, y(value), x.end, y(value), "reference") for _, value in self.references]
        parts += [part for curve in self.series for part in curve.draw(x, y)]
        # names last, so that no curve runs over them
        parts += [_text(x.end, y(value) - 10, name, "end", "halo") for name, value in self.references]
        return _svg(WIDTH, height, description, parts)

    def _legend(self, left: float) -> tuple[list[str], int]:
        """The names of the series in as many lines as they need, and the height that they take."""
        parts: list[str] = []
        across, down = left, 14
        for curve in self.series:
            if not curve.name or curve.style == "ghost":
                continue
            name = shortened(curve.name, WIDTH - left - 40)
            if across > left and across + 34 + text_width(name) > WIDTH:
                across, down = left, down + 22
            parts.append(curve.line([(across, down), (across + 26, down)]))
            if curve.style == "marks":
                parts.append(_mark((across + 13, down), curve.colour))
            parts.append(_text(across + 34, down, name))
            across += 50 + text_width(name)
        return parts, down + 12 if parts else 0


@dataclass(frozen=True)
class Dots:
    """One dot with its interval for each (name, value, low, high, shown); row `strong` has the accent."""

    rows: Sequence[tuple[str, float, float, float, str]]
    x_label: str
    strong: int

    def svg(self, description: str) -> str:
        """The plot as SVG text."""
        marks = ticks(min(row[2] for row in self.rows), max(row[3] for row in self.rows), 5)
        right = 18 + max(text_width(shown) for *_, shown in self.rows)
        height = 46 * len(self.rows) + 58
        x, bottom = Scale(marks, 12.0, WIDTH - right), height - 46
        parts = []
        for value in marks:
            parts.append(_line(x(value), 6, x(value), bottom, "grid"))
            parts.append(_text(x(value), bottom + 16, plain(value), "middle"))
        for number, (name, value, low, high, shown) in enumerate(self.rows):
            down, accent = 36 + 46 * number, "strong " if number == self.strong else ""
            colour = "c1" if accent else "c0"
            parts.append(_text(0, down - 18, shortened(name, WIDTH - 90), "start", f"{accent}halo"))
            parts.append(_line(x(low), down, x(high), down, f"span {colour}"))
            parts += [_line(x(end), down - 5, x(end), down + 5, f"span {colour}") for end in (low, high)]
            parts.append(_circle((x(value), down), f'"mark {colour}"', 4))
            parts.append(_text(WIDTH, down, shown, "end"))
        parts.append(_text((x.start + x.end) / 2, height - 10, self.x_label, "middle"))
        return _svg(WIDTH, height, description, parts)


@dataclass(frozen=True)
class Matrix:
    """Counts as numbers on squares, shaded by their share of the row; rows down, columns across.

    It is no wider than WIDTH unless its squares would be too small to read.
    """

    counts: Sequence[Sequence[int]]
    labels: Sequence[str]
    x_label: str
    y_label: str

    def svg(self, description: str) -> str:
        """The plot as SVG text."""
        names = [shortened(label, 110.0) for label in self.labels]
        longest = max(map(text_width, names))
        digits = max(text_width(f"{count}") for row in self.counts for count in row) + 6
        left = 36 + longest
        cell = int(max(24, digits, min(50, (WIDTH - left - 4) // len(names))))
        turned = longest > cell - 6  # names of the columns
        top = 30 + (longest + 8 if turned else 18)
        side = cell * len(names)
        parts = [
            _text(left + side / 2, 12, self.x_label, "middle"),
            _text(12, top + side / 2, self.y_label, "middle", turned=True),
        ]
        for number, (name, row) in enumerate(zip(names, self.counts, strict=True)):
            near = number * cell
            parts.append(_text(left - 8, top + near + cell / 2, name, "end"))
            above, anchor = (8, "start") if turned else (12, "middle")
            parts.append(_text(left + near + cell / 2, top - above, name, anchor, turned=turned))
            for across, count in enumerate(row):
                share, x, y = count / max(1, sum(row)), left + across * cell, top + near
                square = f'x="{x:.1f}" y="{y:.1f}" width="{cell - 2}" height="{cell - 2}"'
                parts.append(f'<rect class="cell" {square} fill-opacity="{share:.3f}"/>')
                style = "on" if share > 0.6 else "deep" if share > 0.15 else "" if count else "faint"
                parts.append(_text(x + cell / 2 - 1, y + cell / 2 - 1, f"{count}", "middle", style))
        # the names of rows and columns may be longer than the matrix
        right = left + max(side, text_width(self.x_label)) + 4
        height = top + max(side, (side + text_width(self.y_label)) / 2) + 4
        return _svg(right, height, description, parts)


Plot = Curves | Dots | Matrix


def _mark(place: Point, colour: int) -> str:
    """A circle, a square or a diamond: three shapes in turn, so that colour is not needed."""
    across, down = place
    if colour % 3 == 1:
        return _circle(place, f'"mark c{colour}"', 3.5)
    if colour % 3 == 2:
        return f'<rect class="mark c{colour}" x="{across - 3.5:.1f}" y="{down - 3.5:.1f}" width="7" height="7"/>'
    corners = ((0.0, -4.6), (4.6, 0.0), (0.0, 4.6), (-4.6, 0.0))
    path = " ".join(f"{across + dx:.1f},{down + dy:.1f}" for dx, dy in corners)
    return f'<polygon class="mark c{colour}" points="{path}"/>'


def _circle(place: Point, style: str, radius: float) -> str:
    return f'<circle class={style} cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="{radius:g}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", style: str = "", *, turned: bool = False) -> str:
    """A text whose middle stands at height y, or one that runs upwards from there."""
    named = f' class="{style}"' if style else ""
    place = f'transform="translate({x:.1f} {y:.1f}) rotate(-90)"' if turned else f'x="{x:.1f}" y="{y:.1f}"'
    return f'<text{named} {place} text-anchor="{anchor}">{escape(text)}</text>'


def _svg(width: float, height: float, description: str, parts: Sequence[str]) -> str:
    large = ' class="large"' if width > 1.2 * WIDTH else ""
    frame = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{LARGEST * width:.0f}" height="{LARGEST * height:.0f}"'
    return f'<svg{large} {frame} role="img" aria-label="{escape(description)}">{"".join(parts)}</svg>'
