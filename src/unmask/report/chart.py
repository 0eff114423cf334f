"""Plots as SVG text, drawn by hand: curves, dots with intervals, a scatter of points, a matrix of counts.

Colours are CSS classes that the page's style sheet defines, so that light, dark and print have their own; series differ
by dash and mark as well as by colour. The same values give the same bytes. Each plot is one SVG that scales by its
viewBox: texts have room for the letters of a phone (FONT), and are set smaller where the plot is shown larger.
"""

import itertools
import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 480  # units of the viewBox
LARGEST = 1.5  # pixels of a unit, at most
FONT = 14  # units, as in the style sheet
COLOURS = 6  # classes c1 to c6
MAX_POINTS = 240  # of one curve; more are averaged in groups
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Point = tuple[float, float]
Format = Callable[[float], str]


@dataclass(frozen=True)
class Scale:
    """Maps values from `low` to `high` onto units from `start` to `end`; `log`: equal ratios take equal room."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log(x) if self.log else x for x in (self.low, self.high, value))
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
    digit = round(value / 10.0**exponent)
    raised = f"10{str(exponent).translate(SUPERSCRIPTS)}"
    return raised if digit == 1 else f"{digit}·{raised}"


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
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for factor in (1, 2, 5, 10, 20) if (step := factor * power) >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def thinned(points: Sequence[Point], most: int = MAX_POINTS) -> list[Point]:
    """At most `most` points: the means of neighbouring groups, the last point as it is."""
    if len(points) <= most:
        return list(points)
    edges = [len(points) * number // (most - 1) for number in range(most)]
    groups = [points[start:stop] for start, stop in itertools.pairwise(edges)]
    means = [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
    return [*means, points[-1]]


def text_width(text: str) -> float:
    """About how wide a text is, in units."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return FONT * (wide + 0.56 * (len(text) - wide))


def shortened(text: str, most: float) -> str:
    """A text cut to at most `most` units."""
    if text_width(text) <= most:
        return text
    while text and text_width(text) > most - FONT:
        text = text[:-1]
    return text.rstrip() + "…"


@dataclass(frozen=True)
class Curve:
    """One series. `marks` draws its points; `ring` names the x of one point to be singled out.

    `ghost` draws it faint and leaves it out of the legend: it goes with another series of its colour.
    `strength` of the line, at most 1, orders many series of one colour; a series without a name is not in the legend.
    """

    name: str
    points: Sequence[Point]
    colour: int = 1  # 1 to COLOURS
    marks: bool = False
    ring: float | None = None
    ghost: bool = False
    strength: float = 1.0

    @property
    def opacity(self) -> str:
        return f' stroke-opacity="{self.strength:.2f}"' if self.strength < 1 else ""

    def draw(self, x: Scale, y: Scale) -> str:
        points = self.points if self.marks else thinned(self.points)
        places = [(x(at), y(value)) for at, value in points]
        path = " ".join(f"{across:.1f},{down:.1f}" for across, down in places)
        style = " ghost" if self.ghost else "" if self.marks else " fine"
        parts = [f'<polyline class="curve c{self.colour}{style}"{self.opacity} points="{path}"/>']
        if self.marks:
            parts += [_mark(across, down, self.colour) for across, down in places]
        for (at, _), (across, down) in zip(points, places, strict=True):
            if self.ring is not None and at == self.ring:
                parts.append(f'<circle class="ring c{self.colour}" cx="{across:.1f}" cy="{down:.1f}" r="8"/>')
        return "".join(parts)


@dataclass(frozen=True)
class Curves:
    """Curves over one x axis, with dashed reference lines (name, height).

    height: units of plot and x axis together, below the legend; enclose: heights that the y axis shows in any case;
    log: a logarithmic y axis, of values above 0.
    """

    series: Sequence[Curve]
    x_label: str
    y_label: str = ""
    references: Sequence[tuple[str, float]] = ()
    x_format: Format = plain
    y_format: Format = plain
    height: int = 270
    enclose: Sequence[float] = ()
    log: bool = False

    def svg(self, description: str) -> str:
        """The plot as SVG text."""
        every = [point for curve in self.series for point in curve.points]
        furthest = max(max(x for x, _ in every), 1e-12)
        heights = [y for _, y in every] + [y for _, y in self.references] + [*self.enclose]
        y_ticks = (log_ticks if self.log else ticks)(min(heights), max(heights))
        left = (30 if self.y_label else 12) + max(text_width(self.y_format(value)) for value in y_ticks)
        legend, top = self._legend(left)
        height = top + self.height
        x = Scale(0.0, furthest, left, WIDTH - 18)
        y = Scale(y_ticks[0], y_ticks[-1], height - 54, top + 12, self.log)
        parts = [legend]
        for value in y_ticks:
            parts.append(_line(x.start, y(value), x.end, y(value), "grid"))
            parts.append(_text(x.start - 8, y(value), self.y_format(value), "end"))
        for value in ticks(0.0, furthest, 5):
            if value <= x.high:
                parts.append(_line(x(value), y.start, x(value), y.start + 5, "axis"))
                parts.append(_text(x(value), y.start + 17, self.x_format(value), "middle"))
        parts += _axes(x, y, self.x_label, self.y_label)
        parts += [_line(x.start, y(value), x.end, y(value), "reference") for _, value in self.references]
        parts += [curve.draw(x, y) for curve in self.series]
        # names last, so that no curve runs over them
        parts += [_text(x.end, y(value) - 10, name, "end", "halo") for name, value in self.references]
        return _svg(WIDTH, height, description, parts)

    def _legend(self, left: float) -> tuple[str, int]:
        """The names of the series in as many lines as they need, and the height that they take."""
        parts: list[str] = []
        across, down = left, 14
        for curve in self.series:
            if not curve.name or curve.ghost:
                continue
            name = shortened(curve.name, WIDTH - left - 40)
            if across > left and across + 34 + text_width(name) > WIDTH:
                across, down = left, down + 22
            path = f"{across:.1f},{down} {across + 26:.1f},{down}"
            parts.append(f'<polyline class="curve c{curve.colour}"{curve.opacity} points="{path}"/>')
            if curve.marks:
                parts.append(_mark(across + 13, down, curve.colour))
            parts.append(_text(across + 34, down, name))
            across += 50 + text_width(name)
        return "".join(parts), down + 12 if parts else 0


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
        x, bottom = Scale(marks[0], marks[-1], 12.0, WIDTH - right), height - 46
        parts = []
        for value in marks:
            parts.append(_line(x(value), 6, x(value), bottom, "grid"))
            parts.append(_text(x(value), bottom + 16, plain(value), "middle"))
        for number, (name, value, low, high, shown) in enumerate(self.rows):
            down, strong = 36 + 46 * number, number == self.strong
            colour = "c1" if strong else "c0"
            parts.append(_text(0, down - 18, shortened(name, WIDTH - 90), "start", "strong halo" if strong else "halo"))
            parts.append(_line(x(low), down, x(high), down, f"span {colour}"))
            parts += [_line(x(end), down - 5, x(end), down + 5, f"span {colour}") for end in (low, high)]
            parts.append(f'<circle class="mark {colour}" cx="{x(value):.1f}" cy="{down}" r="4"/>')
            parts.append(_text(WIDTH, down, shown, "end"))
        parts.append(_text((x.start + x.end) / 2, height - 10, self.x_label, "middle"))
        return _svg(WIDTH, height, description, parts)


@dataclass(frozen=True)
class Scatter:
    """A dot for each (x, y) on axes of one scale, with the line where both are the same."""

    points: Sequence[Point]
    x_label: str
    y_label: str

    def svg(self, description: str) -> str:
        """The plot as SVG text."""
        values = [value for point in self.points for value in point]
        marks = ticks(min(values), max(values))
        left = 30 + max(text_width(plain(value)) for value in marks)
        side = WIDTH - left - 18
        x, y = Scale(marks[0], marks[-1], left, left + side), Scale(marks[0], marks[-1], 14 + side, 14)
        parts = []
        for value in marks:
            parts.append(_line(x.start, y(value), x.end, y(value), "grid"))
            parts.append(_text(x.start - 8, y(value), plain(value), "end"))
            parts.append(_line(x(value), y.start, x(value), y.start + 5, "axis"))
            parts.append(_text(x(value), y.start + 17, plain(value), "middle"))
        parts += [*_axes(x, y, self.x_label, self.y_label), _line(x.start, y.start, x.end, y.end, "reference")]
        parts += [
            f'<circle class="mark c1" fill-opacity="0.4" cx="{x(true):.1f}" cy="{y(predicted):.1f}" r="2.5"/>'
            for true, predicted in self.points
        ]
        return _svg(WIDTH, y.start + 54, description, parts)


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
        size = len(self.labels)
        names = [shortened(label, 110.0) for label in self.labels]
        longest = max(map(text_width, names))
        digits = max(text_width(f"{count}") for row in self.counts for count in row) + 6
        left = 36 + longest
        cell = int(max(24, digits, min(50, (WIDTH - left - 4) // size)))
        upright = longest <= cell - 6
        top = 30 + (18 if upright else longest + 8)
        # the name of the columns may be wider than the matrix
        right = max(left + size * cell, text_width(self.x_label) + left) + 4
        parts = [
            _text(left + size * cell / 2, 12, self.x_label, "middle"),
            _turned(12, top + size * cell / 2, self.y_label),
        ]
        for number, name in enumerate(names):
            middle = number * cell + cell / 2
            parts.append(_text(left - 8, top + middle, name, "end"))
            if upright:
                parts.append(_text(left + middle, top - 12, name, "middle"))
            else:
                parts.append(_turned(left + middle, top - 8, name, "start"))
        for down, row in enumerate(self.counts):
            for across, count in enumerate(row):
                share = count / max(1, sum(row))
                x, y = left + across * cell, top + down * cell
                square = f'x="{x:.1f}" y="{y:.1f}" width="{cell - 2}" height="{cell - 2}"'
                parts.append(f'<rect class="cell" {square} fill-opacity="{share:.3f}"/>')
                style = "on" if share > 0.6 else "deep" if share > 0.15 else "" if count else "faint"
                parts.append(_text(x + cell / 2 - 1, y + cell / 2 - 1, f"{count}", "middle", style))
        height = max(top + size * cell, top + size * cell / 2 + text_width(self.y_label) / 2) + 4
        return _svg(right, height, description, parts)


Plot = Curves | Dots | Scatter | Matrix


def _mark(across: float, down: float, colour: int) -> str:
    """A circle, a square or a diamond: three shapes in turn, so that colour is not needed."""
    if colour % 3 == 1:
        return f'<circle class="mark c{colour}" cx="{across:.1f}" cy="{down:.1f}" r="3.5"/>'
    if colour % 3 == 2:
        return f'<rect class="mark c{colour}" x="{across - 3.5:.1f}" y="{down - 3.5:.1f}" width="7" height="7"/>'
    corners = ((0.0, -4.6), (4.6, 0.0), (0.0, 4.6), (-4.6, 0.0))
    path = " ".join(f"{across + dx:.1f},{down + dy:.1f}" for dx, dy in corners)
    return f'<polygon class="mark c{colour}" points="{path}"/>'


def _axes(x: Scale, y: Scale, x_label: str, y_label: str) -> list[str]:
    """The line of the x axis, and what both axes show."""
    parts = [_line(x.start, y.start, x.end, y.start, "axis")]
    parts.append(_text((x.start + x.end) / 2, y.start + 42, x_label, "middle"))
    return [*parts, _turned(12, (y.start + y.end) / 2, y_label)] if y_label else parts


def _svg(width: float, height: float, description: str, parts: Sequence[str]) -> str:
    large = ' class="large"' if width > 1.2 * WIDTH else ""
    frame = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{LARGEST * width:.0f}" height="{LARGEST * height:.0f}"'
    return f'<svg{large} {frame} role="img" aria-label="{escape(description)}">{"".join(parts)}</svg>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", style: str = "") -> str:
    """A text whose middle stands at height y."""
    named = f' class="{style}"' if style else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _turned(x: float, y: float, text: str, anchor: str = "middle") -> str:
    place = f'transform="translate({x:.1f} {y:.1f}) rotate(-90)"'
    return f'<text {place} text-anchor="{anchor}">{escape(text)}</text>'
