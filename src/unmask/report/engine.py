"""How the training went: speed, loss over tokens and time, learning rate, gradients, norms of each layer."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unmask import console, files
from unmask.errors import UserError
from unmask.report import chart
from unmask.report.blocks import Block, Folded, Panel, Panels, Words, facts, table
from unmask.report.chart import Curve, Point
from unmask.report.figures import Rows, evaluations, log_of, main_figure, training
from unmask.report.words import format_percent, translated

Results = dict[str, Any]
Axis = tuple[str, chart.Format]

ROOM = 200  # pixels for the plot of a panel
FAINTEST = 0.35  # strength of the lowest block's curve
UNITS = (
    ("hours", 3600.0, 10800.0),
    ("minutes", 60.0, 180.0),
    ("seconds", 1.0, 0.0),
)  # seconds; used from where on


@dataclass(frozen=True)
class Training:
    """One run of the page: what it is called, its log, and the figures of its speed."""

    name: str
    log: Rows
    speed: Results


def how_it_went(results: Results, run: Path, words: Words) -> Iterable[Block | None]:
    """The figures of speed of all runs of a page, and the curves of each; unfolded where there is one run only."""
    runs = [one for one in _runs(results, run, words) if any("loss" in row for row in one.log)]
    columns: dict[str, Any] = {
        "tokens_per_second": console.count,
        "gemm_share": format_percent,
        "mfu": format_percent,
        "data_wait": format_percent,
        "peak_memory": console.size,
        "skipped": console.count,
    }
    if len(runs) == 1:
        yield facts(runs[0].speed, columns, words, words["speed.caption"])
    else:
        rows = [{"run": one.name} | one.speed for one in runs]
        yield table(rows, {"run": str} | columns, words, words["speed.caption"])
    for one in runs:
        title = words["curves.of"].format(run=one.name)
        yield Folded(title, [Panels(list(panels(one.log, words)))], open=len(runs) == 1)


def _runs(results: Results, run: Path, words: Words) -> Iterable[Training]:
    entries = [(words["pretraining"], results.get("pretraining") or {})]
    for entry in results.get("finetuning") or []:
        name = words["finetuning.of"].format(start=translated(entry["name"], words))
        entries.append((name, entry))
    for name, entry in entries:
        if log := log_of(run, entry):
            yield Training(name, log, _speed(entry, log, (run / entry["log"]).parent))


def _speed(entry: Results, log: Rows, folder: Path) -> Results:
    """What the run measured of its speed; what it did not is taken from its log where that says it."""
    known = dict(entry.get("speed") or _finished(folder).get("speed") or {})
    rows = [row for row in log if "tokens_per_second" in row]
    counted = sum(row.get("skipped", 0) for row in log)
    found: Results = {"skipped": counted or None}
    if rows:
        # a row tells of tokens and how fast they were read: together how long that took
        told = zip([{}, *rows], rows, strict=False)
        spans = [
            (row.get("tokens", 0) - before.get("tokens", 0), max(1e-9, row["tokens_per_second"]))
            for before, row in told
        ]
        took = [tokens / rate for tokens, rate in spans]
        if (whole := sum(took)) > 0:
            found["tokens_per_second"] = sum(tokens for tokens, _ in spans) / whole
            waits = [row.get("data_wait", 0.0) for row in rows]
            found["data_wait"] = sum(wait * time for wait, time in zip(waits, took, strict=True)) / whole
    return found | {key: value for key, value in known.items() if value is not None}


def _finished(folder: Path) -> Results:
    """What run.json says of a finished run inside a quick start."""
    try:
        said = files.read_json(folder / "run.json").get("finished")
    except (UserError, OSError, ValueError, AttributeError):
        return {}
    return said if isinstance(said, dict) else {}


def panels(log: Rows, words: Words) -> Iterable[Panel]:
    """The small plots of one run; what the log does not hold is left out."""
    unit, size = _unit(log)
    clock = [row | {"seconds": row["seconds"] / size} if "seconds" in row else row for row in log]
    tokens: Axis = (words["tokens.axis"], chart.thousands)
    time: Axis = (words[f"{unit}.axis"], chart.plain)
    rates, waits = (_points(clock, name, "seconds") for name in ("tokens_per_second", "data_wait"))
    shares = [(at, 100 * share) for at, share in waits]
    found = [
        _panel(words["panel.loss.tokens"], _losses(log, "tokens", words), tokens),
        _panel(words["panel.loss.seconds"], _losses(clock, "seconds", words), time),
        _panel(words["panel.lr"], [Curve("", _points(log, "lr", "tokens"))], tokens, enclose=(0,)),
        _panel(words["panel.grad_norm"], [Curve("", _points(log, "grad_norm", "tokens"))], tokens, log=True),
        _panel(words["panel.rate"], [Curve("", rates)], time, chart.thousands, enclose=(0,)),
        _panel(words["panel.wait"], [Curve("", shares)], time, enclose=(0, 5)),
    ]
    for kind in ("gradient", "activation"):
        curves, note = layers(log, kind, words), words[f"panel.{kind}.note"]
        found.append(_panel(words[f"panel.{kind}"], curves, tokens, log=True, note=note))
    return [panel for panel in found if panel]


def _unit(log: Rows) -> tuple[str, float]:
    """The unit that suits how long the run took, and its length in seconds."""
    last = max((float(row["seconds"]) for row in log if "seconds" in row), default=0.0)
    return next((name, size) for name, size, least in UNITS if last >= least)


def _losses(log: Rows, across: str, words: Words) -> list[Curve]:
    """Training loss, and that on held-out text or development rows."""
    names = {name for row in log for name in row.get("evaluation") or {} if name.endswith("loss")}
    own = "masked.loss" if "masked.loss" in names else main_figure(dict.fromkeys(names, 0.0))
    found = [Curve(words["loss.train"], _finite(training(log, across)))]
    if own is not None:
        name = words["loss.heldout" if own == "masked.loss" else "loss.dev"]
        found.append(Curve(name, _finite(evaluations(log, own, across)), colour=2, marks=True))
    return found


def layers(log: Rows, kind: str, words: Words) -> list[Curve]:
    """A curve of norms for each layer, from faint (the first block) to strong (the last); embeddings apart."""
    rows = [row for row in log if "tokens" in row and (row.get("norms") or {}).get(kind)]
    if not rows:
        return []
    last = min(len(row["norms"][kind]) for row in rows) - 1
    found = []
    for at in range(last + 1):
        points = _finite([(float(row["tokens"]), float(row["norms"][kind][at])) for row in rows])
        if at == 0:
            found.append(Curve(words["layer.embeddings"], points, colour=2))
            continue
        strength = 1.0 if at == last else FAINTEST + (1 - FAINTEST) * (at - 1) / (last - 1)
        name = words["layer.block"].format(number=at) if at in (1, last) else ""
        found.append(Curve(name, points, strength=strength))
    return found


def _points(log: Rows, name: str, across: str) -> list[Point]:
    return _finite([(float(row[across]), float(row[name])) for row in log if name in row and across in row])


def _finite(points: Sequence[Point]) -> list[Point]:
    """Without those of steps that were left out because something was no number."""
    return [(at, value) for at, value in points if math.isfinite(at) and math.isfinite(value)]


def _panel(
    title: str,
    curves: Sequence[Curve],
    x_axis: Axis,
    y_format: chart.Format = chart.plain,
    *,
    enclose: Sequence[float] = (),
    log: bool = False,
    note: str = "",
) -> Panel | None:
    """A small plot, or None without points; `log`: the y axis is logarithmic, and points not above 0 are left out."""
    if log:
        above = [[point for point in curve.points if point[1] > 0] for curve in curves]
        curves = [replace(curve, points=points) for curve, points in zip(curves, above, strict=True)]
        y_format = chart.power
    shown = [curve for curve in curves if curve.points]
    if not shown:
        return None
    x_label, x_format = x_axis
    plot = chart.curves(
        shown,
        title,
        x_label,
        "",
        x_format=x_format,
        y_format=y_format,
        width=chart.NARROW,
        room=ROOM,
        enclose=enclose,
        log=log,
    )
    return Panel(title, plot, note)
