"""Plots as SVG text, drawn by hand: curves, dots with intervals, a scatter of points, a matrix of counts.

Colours are CSS classes that the page's style sheet defines, so that light, dark and print have their own;
series differ by dash and mark as well as by colour. The same values give the same bytes. Each plot is drawn
for a given width, since a plot for a desk, made smaller, cannot be read on a phone.
"""

import itertools
import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDE, NARROW = 736, 350  # pixels: the text column at a desk and on a phone
FONT = 12  # pixels, as in the style sheet
COLOURS = 6  # classes c1 to c6
MAX_POINTS = 240  # of one curve; more are averaged in groups
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Point = tuple[float, float]
Format = Callable[[float], str]


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


@dataclass(frozen=True)
class Scale:
    """Maps values from `low` to `high` onto pixels from `start` to `end`; `log`: equal ratios take equal room."""

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
    """About how wide a text is, in pixels at the font size of the plots."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return FONT * (wide + 0.56 * (len(text) - wide))


def shortened(text: str, most: float = 22 * 0.56 * FONT) -> str:
    """A text cut to at most `most` pixels."""
    if text_width(text) <= most:
        return text
    while text and text_width(text) > most - FONT:
        text = text[:-1]
    return text.rstrip() + "…"


def curves(
    series: Sequence[Curve],
    describe: str,
    x_label: str,
    y_label: str,
    *,
    references: Sequence[tuple[str, float]] = (),
    x_format: Format = plain,
    y_format: Format = plain,
    width: int = WIDE,
    room: int | None = None,
    enclose: Sequence[float] = (),
    log: bool = False,
) -> str:
    """Curves over one x axis, with dashed reference lines at given heights.

    room: pixels for plot and x axis together, below the legend; enclose: heights that the y axis shows in any
    case; log: a logarithmic y axis, of values above 0.
    """
    every = [point for curve in series for point in curve.points]
    furthest = max(max(x for x, _ in every), 1e-12)
    heights = [y for _, y in every] + [y for _, y in references] + [*enclose]
    y_ticks = (log_ticks if log else ticks)(min(heights), max(heights))
    left = (34 if y_label else 12) + max(text_width(y_format(value)) for value in y_ticks)
    legend, top = _legend([curve for curve in series if curve.name and not curve.ghost], left, width)
    height = top + (room or (290 if width >= WIDE else 260))
    x = Scale(0.0, furthest, left, width - 18)
    y = Scale(y_ticks[0], y_ticks[-1], height - 52, top + 14, log)
    parts = [legend]
    for value in y_ticks:
        parts.append(_line(x.start, y(value), x.end, y(value), "grid"))
        parts.append(_text(x.start - 8, y(value) + 4, y_format(value), "end"))
    for value in ticks(0.0, furthest, 6 if width >= WIDE else 5):
        if value <= x.high:
            parts.append(_line(x(value), y.start, x(value), y.start + 5, "axis"))
            parts.append(_text(x(value), y.start + 20, x_format(value), "middle"))
    parts.append(_line(x.start, y.start, x.end, y.start, "axis"))
    parts.append(_text((x.start + x.end) / 2, height - 8, x_label, "middle", "label"))
    if y_label:
        parts.append(_turned(14, (y.start + y.end) / 2, y_label))
    for _, value in references:
        parts.append(_line(x.start, y(value), x.end, y(value), "reference"))
    parts += [_curve(curve, x, y) for curve in series]
    # names last, so that no curve runs over them
    parts += [_text(x.end, y(value) - 6, name, "end", "halo") for name, value in references]
    return _svg(width, height, describe, parts)


def _curve(curve: Curve, x: Scale, y: Scale) -> str:
    points = curve.points if curve.marks else thinned(curve.points)
    places = [(x(at), y(value)) for at, value in points]
    path = " ".join(f"{across:.1f},{down:.1f}" for across, down in places)
    style = " ghost" if curve.ghost else "" if curve.marks else " fine"
    parts = [f'<polyline class="curve c{curve.colour}{style}"{_strength(curve)} points="{path}"/>']
    if curve.marks:
        parts += [_mark(across, down, curve.colour) for across, down in places]
    for (at, _), (across, down) in zip(points, places, strict=True):
        if curve.ring is not None and at == curve.ring:
            parts.append(f'<circle class="ring c{curve.colour}" cx="{across:.1f}" cy="{down:.1f}" r="8"/>')
    return "".join(parts)


def _strength(curve: Curve) -> str:
    return f' stroke-opacity="{curve.strength:.2f}"' if curve.strength < 1 else ""


def _mark(across: float, down: float, colour: int) -> str:
    """A circle, a square or a diamond: three shapes in turn, so that colour is not needed."""
    if colour % 3 == 1:
        return f'<circle class="mark c{colour}" cx="{across:.1f}" cy="{down:.1f}" r="3.5"/>'
    if colour % 3 == 2:
        return f'<rect class="mark c{colour}" x="{across - 3.5:.1f}" y="{down - 3.5:.1f}" width="7" height="7"/>'
    corners = ((0.0, -4.6), (4.6, 0.0), (0.0, 4.6), (-4.6, 0.0))
    path = " ".join(f"{across + dx:.1f},{down + dy:.1f}" for dx, dy in corners)
    return f'<polygon class="mark c{colour}" points="{path}"/>'


def _legend(series: Sequence[Curve], left: float, width: int) -> tuple[str, int]:
    """The names of the series in as many lines as they need, and the height that they take."""
    parts: list[str] = []
    across, down = left, 16
    for curve in series:
        name = shortened(curve.name, width - left - 40)
        if across > left and across + 34 + text_width(name) > width:
            across, down = left, down + 20
        path = f"{across:.1f},{down} {across + 26:.1f},{down}"
        parts.append(f'<polyline class="curve c{curve.colour}"{_strength(curve)} points="{path}"/>')
        if curve.marks:
            parts.append(_mark(across + 13, down, curve.colour))
        parts.append(_text(across + 34, down + 4, name))
        across += 34 + text_width(name) + (26 if width >= WIDE else 12)
    return "".join(parts), down + 10 if parts else 0


def dots(
    rows: Sequence[tuple[str, float, float, float, str]],
    describe: str,
    x_label: str,
    strong: int,
    width: int = WIDE,
) -> str:
    """One dot with its interval for each (name, value, low, high, shown); line `strong` has the accent.

    On a phone the names stand above their lines.
    """
    above = width < WIDE
    longest = width - 90.0 if above else 270.0
    left = 12.0 if above else 24 + max(text_width(shortened(name, longest)) for name, *_ in rows)
    right = 18 + max(text_width(shown) for *_, shown in rows)
    pitch, first = (46, 34) if above else (34, 24)
    height = pitch * len(rows) + 58
    marks = ticks(
        min(low for _, _, low, _, _ in rows),
        max(high for _, _, _, high, _ in rows),
        4 if above else 6,
    )
    x = Scale(marks[0], marks[-1], left, width - right)
    bottom = height - 46
    parts = []
    for value in marks:
        parts.append(_line(x(value), 6, x(value), bottom, "grid"))
        parts.append(_text(x(value), bottom + 18, plain(value), "middle"))
    for number, (name, value, low, high, shown) in enumerate(rows):
        down, colour = first + pitch * number, "c1" if number == strong else "c0"
        style = "strong" if number == strong else ""
        if above:
            parts.append(_text(0, down - 14, shortened(name, longest), "start", f"{style} halo".strip()))
        else:
            parts.append(_text(left - 12, down + 4, shortened(name, longest), "end", style))
        parts.append(_line(x(low), down, x(high), down, f"span {colour}"))
        parts += [_line(x(end), down - 5, x(end), down + 5, f"span {colour}") for end in (low, high)]
        parts.append(f'<circle class="mark {colour}" cx="{x(value):.1f}" cy="{down}" r="4"/>')
        parts.append(_text(width, down + 4, shown, "end"))
    parts.append(_text((x.start + x.end) / 2, height - 8, x_label, "middle", "label"))
    return _svg(width, height, describe, parts)


def scatter(points: Sequence[Point], describe: str, x_label: str, y_label: str, width: int = WIDE) -> str:
    """A dot for each (x, y) on axes of one scale, with the line where both are the same."""
    values = [value for point in points for value in point]
    marks = ticks(min(values), max(values))
    left = 34 + max(text_width(plain(value)) for value in marks)
    side = min(width, 520) - left - 18
    x, y = Scale(marks[0], marks[-1], left, left + side), Scale(marks[0], marks[-1], 14 + side, 14)
    parts = []
    for value in marks:
        parts.append(_line(x.start, y(value), x.end, y(value), "grid"))
        parts.append(_text(x.start - 8, y(value) + 4, plain(value), "end"))
        parts.append(_line(x(value), y.start, x(value), y.start + 5, "axis"))
        parts.append(_text(x(value), y.start + 20, plain(value), "middle"))
    parts.append(_line(x.start, y.start, x.end, y.start, "axis"))
    parts.append(_line(x.start, y.start, x.end, y.end, "reference"))
    parts += [
        f'<circle class="mark c1" fill-opacity="0.4" cx="{x(true):.1f}" cy="{y(said):.1f}" r="2.5"/>'
        for true, said in points
    ]
    parts.append(_text((x.start + x.end) / 2, y.start + 44, x_label, "middle", "label"))
    parts.append(_turned(14, (y.start + y.end) / 2, y_label))
    return _svg(width, y.start + 52, describe, parts)


def matrix(
    counts: Sequence[Sequence[int]],
    labels: Sequence[str],
    describe: str,
    x_label: str,
    y_label: str,
    width: int = WIDE,
) -> str:
    """Counts as numbers on squares, shaded by their share of the row; rows down, columns across.

    It is no wider than `width` unless its squares would be too small to read.
    """
    size = len(labels)
    narrow = width < WIDE
    names = [shortened(label, 74.0 if narrow else 148.0) for label in labels]
    longest = max(map(text_width, names))
    digits = max(text_width(f"{count}") for row in counts for count in row) + 6
    left = (30 if narrow else 44) + longest
    cell = int(max(24, digits, min(58, (480 if width >= WIDE else width - left - 2) // size)))
    upright = longest <= cell - 6
    top = 30 + (18 if upright else longest + 8)
    # the name of the columns may be wider than the matrix
    right = max(left + size * cell, text_width(x_label) + left) + 4
    parts = [
        _text(left + size * cell / 2, 14, x_label, "middle", "label"),
        _turned(14, top + size * cell / 2, y_label),
    ]
    for number, name in enumerate(names):
        middle = number * cell + cell / 2
        parts.append(_text(left - 8, top + middle + 4, name, "end"))
        if upright:
            parts.append(_text(left + middle, top - 8, name, "middle"))
        else:
            parts.append(_turned(left + middle + 4, top - 8, name, "start"))
    for down, row in enumerate(counts):
        for across, count in enumerate(row):
            share = count / max(1, sum(row))
            place = f'x="{left + across * cell:.1f}" y="{top + down * cell:.1f}"'
            square = f'{place} width="{cell - 2}" height="{cell - 2}"'
            parts.append(f'<rect class="cell" {square} fill-opacity="{share:.3f}"/>')
            style = "on" if share > 0.6 else "deep" if share > 0.15 else "" if count else "faint"
            middle = left + across * cell + cell / 2 - 1
            parts.append(_text(middle, top + down * cell + cell / 2 + 3, f"{count}", "middle", style))
    height = max(top + size * cell, top + size * cell / 2 + text_width(y_label) / 2) + 4
    return _svg(right, height, describe, parts)


def _svg(width: float, height: float, describe: str, parts: Sequence[str]) -> str:
    frame = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return f'<svg {frame} role="img" aria-label="{escape(describe)}">{"".join(parts)}</svg>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", style: str = "") -> str:
    named = f' class="{style}"' if style else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _turned(x: float, y: float, text: str, anchor: str = "middle") -> str:
    place = f'transform="translate({x:.1f} {y:.1f}) rotate(-90)"'
    style = ' class="label"' if anchor == "middle" else ""
    return f'<text{style} {place} text-anchor="{anchor}">{escape(text)}</text>'
