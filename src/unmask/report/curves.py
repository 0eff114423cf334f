"""Curves over the course of runs, from their logs: losses, development figures, speed, norms of each layer."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unmask import files
from unmask.messages import message
from unmask.report.blocks import Block, Figure, Panels
from unmask.report.chart import COLOURS, Curve, Curves, Point, plain, power, thousands
from unmask.report.formats import figure_axis, figure_heading, scale_of
from unmask.report.tables import facts, table

Rows = list[dict[str, Any]]

FAINTEST = 0.35  # strength of the lowest layer's curve
AXES = {"step": "steps", "tokens": "tokens seen", "seconds": "seconds of training"}  # of logs
MASKED_LOSS = "loss (nats per masked token)"
UNITS = {"hours of training": 3600.0, "minutes of training": 60.0, "seconds of training": 1.0}  # in seconds


@dataclass(frozen=True)
class Trained:
    """A run with its log; outcome: what run.json or results.json says of it."""

    name: str
    log: Rows
    outcome: Mapping[str, Any]


def read_log(path: Path) -> Rows:
    """The rows of a log; none where there is no such file."""
    return [row for row in files.read_jsonl(path) if isinstance(row, dict)] if path.is_file() else []


def is_loss(name: str) -> bool:
    """Whether a figure is a loss, in nats."""
    return name.endswith("loss")


def main_figure(figures: Mapping[str, Any]) -> str | None:
    """The name of the figure that says best how good a model is: the loss of masked words, or the metric of the task,
    which comes first; else the first loss."""
    names = [name for name, value in figures.items() if isinstance(value, int | float)]
    if "masked.loss" in names:
        return "masked.loss"
    return next((name for name in names if not is_loss(name)), next(iter(names), None))


def evaluated(log: Rows) -> dict[str, float]:
    """The figures on held-out rows that the log has, each with its last value."""
    return {name: value for row in log for name, value in (row.get("evaluation") or {}).items()}


def points(log: Rows, name: str, across: str, group: str | None = None) -> list[Point]:
    """The points (`across`, `name`) of the rows that have both as finite numbers; group: `evaluation`, for figures on
    held-out rows."""
    rows = ((row, row if group is None else row.get(group) or {}) for row in log)
    return _finite(
        (float(row[across]), float(values[name])) for row, values in rows if across in row and name in values
    )


def _finite(every: Iterable[Point]) -> list[Point]:
    return [point for point in every if all(map(math.isfinite, point))]


def training_loss(log: Rows, across: str) -> list[Point]:
    """The points (`across`, training loss); of several terms that of masked words, or the first, which is the task's:
    references and figures on held-out rows are its."""
    terms = [name for row in log if "loss" in row for name in row if name.endswith(".loss")]
    return points(log, "masked.loss" if "masked.loss" in terms else next(iter(terms), "loss"), across)


def loss_curves(log: Rows, across: str) -> list[Curve]:
    """Training loss, and that on held-out text or development rows; those that have points."""
    own = main_figure({name: value for name, value in evaluated(log).items() if is_loss(name)}) or ""
    heldout = message("held-out text" if own == "masked.loss" else "development rows")
    curves = [
        Curve(message("training"), training_loss(log, across)),
        Curve(heldout, points(log, own, across, "evaluation"), colour=2, style="marks"),
    ]
    return [curve for curve in curves if curve.points]


def pretraining_loss(log: Rows, pretraining: Mapping[str, Any]) -> Figure | None:
    """Training and held-out loss over the tokens seen, with the loss of guesses for reference."""
    guesses = {"uniform_loss": "uniform guessing, {loss:.2f}", "unigram_loss": "word frequencies only, {loss:.2f}"}
    references = [
        (message(text, pretraining[name]), float(pretraining[name]))
        for name, text in guesses.items()
        if pretraining.get(name) is not None
    ]
    caption = message(
        "Pretraining loss against tokens seen. Lower is better. Dashed: the loss of a uniform guess, and of a guess "
        "from the frequencies of tokens."
    )
    return _figure(loss_curves(log, "tokens"), "tokens", MASKED_LOSS, caption, references)


def pretraining_losses(runs: Sequence[Trained], across: str) -> Figure | None:
    """Several pretraining runs over `across` (tokens or seconds): held-out loss, and faint the training loss."""
    curves = []
    for number, run in enumerate(runs):
        *training, heldout = loss_curves(run.log, across) or [Curve("", [])]
        colour = 1 + number % COLOURS
        curves += [replace(curve, name=run.name, colour=colour, style="ghost") for curve in training]
        curves.append(replace(heldout, name=run.name, colour=colour))
    caption = message(
        "Pretraining loss against {axis}: held-out text (marks), training faint behind it. Lower is better.",
        message(AXES[across]),
    )
    return _figure(curves, across, MASKED_LOSS, caption)


def development_curves(runs: Sequence[Trained], across: str = "step") -> list[Figure | None]:
    """The main figure and the loss on the development rows, one curve for each run."""
    names = {name: value for run in runs for name, value in evaluated(run.log).items()}
    main, loss = main_figure(names), next(filter(is_loss, names), None)
    return [_development(runs, name, across) for name in dict.fromkeys((main, loss)) if name is not None]


def _development(runs: Sequence[Trained], name: str, across: str) -> Figure | None:
    loss, axis, curves = is_loss(name), message(AXES[across]), []
    for number, run in enumerate(runs):
        best = [row[across] for row in run.log if row.get("step") == run.outcome.get("best_step") and across in row]
        scale, ring = (1, None) if loss else (scale_of(name), float(best[-1]) if best else None)
        shown = [(at, scale * value) for at, value in points(run.log, name, across, "evaluation")]
        curves.append(Curve(run.name, shown, 1 + number % COLOURS, "marks", ring))
    if loss:
        caption = message("Loss on the development rows against {axis}.", axis)
        return _figure(curves, across, message("loss (nats)"), caption)
    text = "{figure} on the development rows against {axis}. The ring marks the best step, whose weights are saved."
    return _figure(curves, across, figure_axis(name), message(text, figure_heading(name), axis))


def _figure(
    curves: Sequence[Curve], across: str, label: str, caption: str, references: Sequence[tuple[str, float]] = ()
) -> Figure | None:
    shown = [curve for curve in curves if curve.points]
    x_format = thousands if across == "tokens" else plain
    plot = Curves(shown, message(AXES[across]), message(label), references=references, x_format=x_format)
    return Figure(plot, caption) if shown else None


def training_section(runs: Sequence[Trained]) -> Iterator[Block | None]:
    """The figures of speed of all runs of a page, and the curves of each; unfolded where there is one run only."""
    runs = [run for run in runs if any("loss" in row for row in run.log)]
    names = ("tokens_per_second", "gemm_share", "mfu", "data_wait", "peak_memory", "skipped_steps")
    caption = message("Speed. Steps are skipped where the loss or the gradient is not finite.")
    if len(runs) == 1:
        yield facts(_speed(runs[0]), names, caption)
    else:
        yield table([{"run": run.name} | _speed(run) for run in runs], ("run", *names), caption)
    for run in runs:
        yield Panels(message("{run}: curves", run.name), list(panels(run.log)), open=len(runs) == 1)


def _speed(run: Trained) -> dict[str, Any]:
    """What the run measured of its speed when it was finished; until then, what the last row of its log says."""
    last = next((row for row in reversed(run.log) if "tokens_per_second" in row), {})
    speed = run.outcome.get("speed") or {name: last.get(name) for name in ("tokens_per_second", "data_wait")}
    return {**speed, "skipped_steps": sum(row.get("skipped", 0) for row in run.log) or None}


def panels(log: Rows) -> Iterator[Figure]:
    """The small plots of one run; what the log does not hold is left out."""
    last = max((float(row["seconds"]) for row in log if "seconds" in row), default=0.0)
    unit = next((unit for unit, size in UNITS.items() if last >= 3 * size), "seconds of training")
    clock = [row | {"seconds": row["seconds"] / UNITS[unit]} if "seconds" in row else row for row in log]
    tokens = {"x_label": message("tokens seen"), "x_format": thousands}
    time: dict[str, Any] = {"x_label": message(unit)}
    norms: dict[str, Any] = {**tokens, "y_format": power, "log": True}
    waits = [(at, 100 * share) for at, share in points(clock, "data_wait", "seconds")]
    rates, rate = points(clock, "tokens_per_second", "seconds"), {"y_format": thousands, "enclose": (0,)}
    yield from _panel("Loss (nats) against tokens", loss_curves(log, "tokens"), tokens)
    yield from _panel("Loss (nats) against time", loss_curves(clock, "seconds"), time)
    yield from _panel("Learning rate", [Curve("", points(log, "lr", "tokens"))], tokens | {"enclose": (0,)})
    yield from _panel("Gradient norm before clipping", [Curve("", points(log, "grad_norm", "tokens"))], norms)
    yield from _panel("Tokens per second", [Curve("", rates)], time | rate)
    yield from _panel("Time waited for data (%)", [Curve("", waits)], time | {"enclose": (0, 5)})
    note = "To watch for: curves that fall towards the lower layers (the faint ones), which then hardly learn."
    yield from _panel("Gradient norm by layer", layers(log, "gradient"), norms, note)
    note = "To watch for: curves that keep rising; a lower learning rate may prevent the loss from diverging."
    yield from _panel("Norm of the hidden states by layer", layers(log, "activation"), norms, note)


def _panel(title: str, curves: Sequence[Curve], axes: Mapping[str, Any], note: str = "") -> Iterator[Figure]:
    """A small plot, if there are points; on a logarithmic axis those not above 0 are left out."""
    if axes.get("log"):
        curves = [replace(curve, points=[point for point in curve.points if point[1] > 0]) for curve in curves]
    shown = [curve for curve in curves if curve.points]
    if shown:
        yield Figure(Curves(shown, **axes), message(title), message(note))


def layers(log: Rows, kind: str) -> list[Curve]:
    """A curve of norms for each layer, from faint (the first) to strong (the last); embeddings apart."""
    rows = [(float(row["tokens"]), row["norms"][kind]) for row in log if kind in row.get("norms", ())]
    last = min((len(norms) for _, norms in rows), default=0) - 1
    curves = []
    for at in range(last + 1):
        points_of_layer = _finite((tokens, float(norms[at])) for tokens, norms in rows)
        if at == 0:
            curves.append(Curve(message("embeddings"), points_of_layer, colour=2))
            continue
        strength = 1.0 if at == last else FAINTEST + (1 - FAINTEST) * (at - 1) / (last - 1)
        name = message("layer {number}", at) if at in (1, last) else ""
        curves.append(Curve(name, points_of_layer, strength=strength))
    return curves
