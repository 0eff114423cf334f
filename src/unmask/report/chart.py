"""Plots as SVG text, drawn by hand: curves, dots with intervals, a matrix of counts.

Colours are CSS classes that the page's style sheet defines, so that light, dark and print have their own;
series differ by dash and mark as well as by colour. The same values give the same bytes.
"""

import itertools
import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 736
FONT = 12  # pixels, as in the style sheet
MAX_POINTS = 240  # of one curve; more are averaged in groups

Point = tuple[float, float]
Format = Callable[[float], str]


@dataclass(frozen=True)
class Curve:
    """One series. `marks` draws its points; `ring` names the x of one point to be singled out."""

    name: str
    points: Sequence[Point]
    colour: int = 1  # 1 or 2: the classes c1 and c2
    marks: bool = False
    ring: float | None = None


@dataclass(frozen=True)
class Scale:
    """Maps values from `low` to `high` onto pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def plain(value: float) -> str:
    """A number for an axis: without needless zeros."""
    return f"{value:,.10g}".replace("-", "−")


def thousands(value: float) -> str:
    """A large number for an axis: `500 k`, `1.5 M`, `2 G`."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.10g}\u00a0{name}"
    return plain(value)


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
    means = [
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups
    ]
    return [*means, points[-1]]


def text_width(text: str) -> float:
    """About how wide a text is, in pixels at the font size of the plots."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return FONT * (wide + 0.56 * (len(text) - wide))


def shortened(text: str, most: int = 22) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def curves(
    series: Sequence[Curve],
    describe: str,
    x_label: str,
    y_label: str,
    *,
    references: Sequence[tuple[str, float]] = (),
    x_format: Format = plain,
    y_format: Format = plain,
    height: int = 330,
) -> str:
    """Curves over one x axis, with dashed reference lines at given heights."""
    every = [point for curve in series for point in curve.points]
    x_ticks = ticks(0.0, max(x for x, _ in every))
    heights = [y for _, y in every] + [y for _, y in references]
    y_ticks = ticks(min(heights), max(heights))
    x = Scale(0.0, max(max(x for x, _ in every), 1e-12), 62, WIDTH - 18)
    y = Scale(y_ticks[0], y_ticks[-1], height - 52, 40)
    parts = [_legend(series)]
    for value in y_ticks:
        parts.append(_line(x.start, y(value), x.end, y(value), "grid"))
        parts.append(_text(x.start - 8, y(value) + 4, y_format(value), "end"))
    for value in x_ticks:
        if value <= x.high:
            parts.append(_line(x(value), y.start, x(value), y.start + 5, "axis"))
            parts.append(_text(x(value), y.start + 20, x_format(value), "middle"))
    parts.append(_line(x.start, y.start, x.end, y.start, "axis"))
    parts.append(_text((x.start + x.end) / 2, height - 8, x_label, "middle", "label"))
    parts.append(_turned(16, (y.start + y.end) / 2, y_label))
    for name, value in references:
        parts.append(_line(x.start, y(value), x.end, y(value), "reference"))
        parts.append(_text(x.end, y(value) - 6, name, "end", "halo"))
    parts += [_curve(curve, x, y) for curve in series]
    return _svg(WIDTH, height, describe, parts)


def _curve(curve: Curve, x: Scale, y: Scale) -> str:
    points = curve.points if curve.marks else thinned(curve.points)
    places = [(x(at), y(value)) for at, value in points]
    path = " ".join(f"{across:.1f},{down:.1f}" for across, down in places)
    fine = "" if curve.marks else " fine"
    parts = [f'<polyline class="curve c{curve.colour}{fine}" points="{path}"/>']
    if curve.marks:
        parts += [_mark(across, down, curve.colour) for across, down in places]
    for (at, _), (across, down) in zip(points, places, strict=True):
        if curve.ring is not None and at == curve.ring:
            parts.append(f'<circle class="ring c{curve.colour}" cx="{across:.1f}" cy="{down:.1f}" r="8"/>')
    return "".join(parts)


def _mark(across: float, down: float, colour: int) -> str:
    if colour == 1:
        return f'<circle class="mark c1" cx="{across:.1f}" cy="{down:.1f}" r="3.5"/>'
    return f'<rect class="mark c2" x="{across - 3.5:.1f}" y="{down - 3.5:.1f}" width="7" height="7"/>'


def _legend(series: Sequence[Curve]) -> str:
    parts, across = [], 62.0
    for curve in series:
        parts.append(
            f'<polyline class="curve c{curve.colour}" points="{across:.1f},16 {across + 26:.1f},16"/>'
        )
        if curve.marks:
            parts.append(_mark(across + 13, 16, curve.colour))
        parts.append(_text(across + 34, 20, curve.name))
        across += 34 + text_width(curve.name) + 26
    return "".join(parts)


def dots(
    rows: Sequence[tuple[str, float, float, float, str]], describe: str, x_label: str, strong: int
) -> str:
    """One dot with its interval for each (name, value, low, high, shown); line `strong` has the accent."""
    left = 24 + max(text_width(shortened(name, 34)) for name, *_ in rows)
    right = 18 + max(text_width(shown) for *_, shown in rows)
    height = 34 * len(rows) + 58
    marks = ticks(min(low for _, _, low, _, _ in rows), max(high for _, _, _, high, _ in rows))
    x = Scale(marks[0], marks[-1], left, WIDTH - right)
    bottom = height - 46
    parts = []
    for value in marks:
        parts.append(_line(x(value), 6, x(value), bottom, "grid"))
        parts.append(_text(x(value), bottom + 18, plain(value), "middle"))
    for number, (name, value, low, high, shown) in enumerate(rows):
        down, colour = 24 + 34 * number, "c1" if number == strong else "c0"
        parts.append(
            _text(left - 12, down + 4, shortened(name, 34), "end", "strong" if number == strong else "")
        )
        parts.append(_line(x(low), down, x(high), down, f"span {colour}"))
        parts += [_line(x(end), down - 5, x(end), down + 5, f"span {colour}") for end in (low, high)]
        parts.append(f'<circle class="mark {colour}" cx="{x(value):.1f}" cy="{down}" r="4"/>')
        parts.append(_text(WIDTH, down + 4, shown, "end"))
    parts.append(_text((x.start + x.end) / 2, height - 8, x_label, "middle", "label"))
    return _svg(WIDTH, height, describe, parts)


def matrix(
    counts: Sequence[Sequence[int]], labels: Sequence[str], describe: str, x_label: str, y_label: str
) -> str:
    """Counts as numbers on squares, shaded by their share of the row; rows down, columns across."""
    size = len(labels)
    cell = max(30, min(58, 480 // size))
    longest = max(text_width(shortened(label)) for label in labels)
    upright = longest <= cell - 6
    left, top = 44 + longest, 30 + (18 if upright else longest + 8)
    parts = [
        _text(left + size * cell / 2, 14, x_label, "middle", "label"),
        _turned(16, top + size * cell / 2, y_label),
    ]
    for number, label in enumerate(labels):
        middle = number * cell + cell / 2
        parts.append(_text(left - 10, top + middle + 4, shortened(label), "end"))
        if upright:
            parts.append(_text(left + middle, top - 8, label, "middle"))
        else:
            parts.append(_turned(left + middle + 4, top - 8, shortened(label), "start"))
    for down, row in enumerate(counts):
        for across, count in enumerate(row):
            share = count / max(1, sum(row))
            place = f'x="{left + across * cell:.1f}" y="{top + down * cell:.1f}"'
            square = f'{place} width="{cell - 2}" height="{cell - 2}"'
            parts.append(f'<rect class="cell" {square} fill-opacity="{share:.3f}"/>')
            style = "on" if share > 0.5 else "" if count else "faint"
            middle = left + across * cell + cell / 2 - 1
            parts.append(_text(middle, top + down * cell + cell / 2 + 3, f"{count}", "middle", style))
    return _svg(left + size * cell + 4, top + size * cell + 4, describe, parts)


def _svg(width: float, height: float, describe: str, parts: Sequence[str]) -> str:
    wide = ' class="wide"' if width == WIDTH else ""
    frame = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return f'<svg{wide} {frame} role="img" aria-label="{escape(describe)}">{"".join(parts)}</svg>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", style: str = "") -> str:
    named = f' class="{style}"' if style else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _turned(x: float, y: float, text: str, anchor: str = "middle") -> str:
    place = f'transform="translate({x:.1f} {y:.1f}) rotate(-90)"'
    style = ' class="label"' if anchor == "middle" else ""
    return f'<text{style} {place} text-anchor="{anchor}">{escape(text)}</text>'
