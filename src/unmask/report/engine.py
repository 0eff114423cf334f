"""The section on training: speed, loss over tokens and time, learning rate, gradients, norms of each layer."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unmask import console
from unmask.messages import message
from unmask.report import chart
from unmask.report.blocks import Block, Columns, Folded, Panel, Panels, facts, table
from unmask.report.chart import Curve, Curves, Point
from unmask.report.figures import Rows, evaluations, is_loss, log_of, main_figure, training
from unmask.report.formats import format_percent, known

Results = dict[str, Any]

HEIGHT = 290  # units, of the plot of a panel
FAINTEST = 0.35  # strength of the lowest layer's curve
UNITS = (
    ("hours of training", 3600.0, 10800.0),
    ("minutes of training", 60.0, 180.0),
    ("seconds of training", 1.0, 0.0),
)  # seconds; used from where on


@dataclass(frozen=True)
class Training:
    """One run of the page: its name, its log, and the figures of its speed."""

    name: str
    log: Rows
    speed: Results


def training_section(results: Results, run: Path) -> Iterable[Block | None]:
    """The figures of speed of all runs of a page, and the curves of each; unfolded where there is one run only."""
    runs = [one for one in _runs(results, run) if any("loss" in row for row in one.log)]
    columns: Columns = {
        "run": "Run",
        "tokens_per_second": ("Tokens per second", console.count),
        "gemm_share": ("Share of the measured matrix rate", format_percent),
        "mfu": ("Share of the device's peak (MFU)", format_percent),
        "data_wait": ("Time waited for data", format_percent),
        "peak_memory": ("Peak memory", console.size),
        "skipped": ("Skipped steps", console.count),
    }
    caption = message("Speed. Steps are skipped where the loss or the gradient is not finite.")
    if len(runs) == 1:
        yield facts(runs[0].speed, columns, caption)
    else:
        yield table([{"run": one.name} | one.speed for one in runs], columns, caption)
    for one in runs:
        yield Folded(message("{run}: curves", one.name), [Panels(list(panels(one.log)))], open=len(runs) == 1)


def _runs(results: Results, run: Path) -> Iterator[Training]:
    entries: list[tuple[str, Results]] = [(message("Pretraining"), results.get("pretraining") or {})]
    for entry in results.get("finetuning") or []:
        entries.append((message("Fine-tuning, {start}", known(entry["name"])), entry))
    for name, entry in entries:
        if log := log_of(run, entry):
            yield Training(name, log, _speed(entry, log))


def _speed(entry: Results, log: Rows) -> Results:
    """What the run measured of its speed; what it did not is taken from its log where that says it."""
    measured = dict(entry.get("speed") or {})
    rows = [row for row in log if "tokens_per_second" in row]
    speed: Results = {"skipped": sum(row.get("skipped", 0) for row in log) or None}
    # a row says how many tokens were read and how fast: together how long that took
    read = [row.get("tokens", 0) - before.get("tokens", 0) for before, row in zip([{}, *rows], rows, strict=False)]
    took = [tokens / max(1e-9, row["tokens_per_second"]) for tokens, row in zip(read, rows, strict=True)]
    if (whole := sum(took)) > 0:
        speed["tokens_per_second"] = sum(read) / whole
        waited = sum(row.get("data_wait", 0.0) * time for row, time in zip(rows, took, strict=True))
        speed["data_wait"] = waited / whole
    return speed | {key: value for key, value in measured.items() if value is not None}


def panels(log: Rows) -> Iterator[Panel]:
    """The small plots of one run; what the log does not hold is left out."""
    unit, size = _unit(log)
    clock = [row | {"seconds": row["seconds"] / size} if "seconds" in row else row for row in log]
    waits = [(at, 100 * share) for at, share in _points(clock, "data_wait", "seconds")]
    yield from _panel("Loss (nats) against tokens", _losses(log, "tokens"))
    yield from _panel("Loss (nats) against time", _losses(clock, "seconds"), time=unit)
    yield from _panel("Learning rate", [Curve("", _points(log, "lr", "tokens"))], enclose=(0,))
    yield from _panel("Gradient norm before clipping", [Curve("", _points(log, "grad_norm", "tokens"))], log=True)
    rates = [Curve("", _points(clock, "tokens_per_second", "seconds"))]
    yield from _panel("Tokens per second", rates, time=unit, y_format=chart.thousands, enclose=(0,))
    yield from _panel("Time waited for data (%)", [Curve("", waits)], time=unit, enclose=(0, 5))
    note = message("To watch for: curves that fall towards the lower layers (the faint ones), which then hardly learn.")
    yield from _panel("Gradient norm by layer", layers(log, "gradient"), log=True, note=note)
    note = message("To watch for: curves that keep rising; a lower learning rate may prevent the loss from diverging.")
    yield from _panel("Norm of the hidden states by layer", layers(log, "activation"), log=True, note=note)


def _unit(log: Rows) -> tuple[str, float]:
    """The unit that suits how long the run took, and its length in seconds."""
    last = max((float(row["seconds"]) for row in log if "seconds" in row), default=0.0)
    return next((name, size) for name, size, least in UNITS if last >= least)


def _losses(log: Rows, across: str) -> list[Curve]:
    """Training loss, and that on held-out text or development rows."""
    names = {name for row in log for name in row.get("evaluation") or {} if is_loss(name)}
    own = "masked.loss" if "masked.loss" in names else main_figure(dict.fromkeys(names, 0.0))
    curves = [Curve(message("training"), _finite(training(log, across)))]
    if own is not None:
        name = message("held-out text" if own == "masked.loss" else "development rows")
        curves.append(Curve(name, _finite(evaluations(log, own, across)), colour=2, marks=True))
    return curves


def layers(log: Rows, kind: str) -> list[Curve]:
    """A curve of norms for each layer, from faint (the first) to strong (the last); embeddings apart."""
    rows = [row for row in log if "tokens" in row and (row.get("norms") or {}).get(kind)]
    if not rows:
        return []
    last = min(len(row["norms"][kind]) for row in rows) - 1
    curves = []
    for at in range(last + 1):
        points = _finite([(float(row["tokens"]), float(row["norms"][kind][at])) for row in rows])
        if at == 0:
            curves.append(Curve(message("embeddings"), points, colour=2))
            continue
        strength = 1.0 if at == last else FAINTEST + (1 - FAINTEST) * (at - 1) / (last - 1)
        name = message("layer {number}", at) if at in (1, last) else ""
        curves.append(Curve(name, points, strength=strength))
    return curves


def _points(log: Rows, name: str, across: str) -> list[Point]:
    return _finite([(float(row[across]), float(row[name])) for row in log if name in row and across in row])


def _finite(points: Sequence[Point]) -> list[Point]:
    """Without those of steps that were left out because something was no number."""
    return [(at, value) for at, value in points if math.isfinite(at) and math.isfinite(value)]


def _panel(
    title: str,
    curves: Sequence[Curve],
    *,
    time: str | None = None,
    y_format: chart.Format = chart.plain,
    enclose: Sequence[float] = (),
    log: bool = False,
    note: str = "",
) -> Iterator[Panel]:
    """A small plot, if there are points. time: the unit of the x axis, tokens if None; log: the y axis is logarithmic,
    and points not above 0 are left out."""
    if log:
        above = [[point for point in curve.points if point[1] > 0] for curve in curves]
        curves = [replace(curve, points=points) for curve, points in zip(curves, above, strict=True)]
        y_format = chart.power
    shown = [curve for curve in curves if curve.points]
    x_format = chart.plain if time else chart.thousands
    plot = Curves(
        shown,
        message(time or "tokens seen"),
        x_format=x_format,
        y_format=y_format,
        height=HEIGHT,
        enclose=enclose,
        log=log,
    )
    if shown:
        yield Panel(message(title), plot, note)
