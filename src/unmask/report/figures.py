"""Plots of the page: each takes figures or logs of a run and gives a Figure, or None where there are none."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask import files
from unmask.messages import Message, message
from unmask.report.blocks import Figure
from unmask.report.chart import COLOURS, Curve, Curves, Dots, Matrix, Scatter, plain, thousands
from unmask.report.formats import (
    figure_axis,
    figure_heading,
    format_figure,
    known,
    scale_of,
)

Rows = list[dict[str, Any]]

ENDINGS = (
    "entity_f1",
    "answer_f1",
    "f1",
    "micro_f1",
    "macro_f1",
    "subset_accuracy",
    "matthews",
    "auc",
    "pearson",
    "spearman",
    "mrr",
    "ndcg_10",
    "recall_1",
    "recall_10",
    "rmse",
    "mae",
    "accuracy",
    "loss",
)
"""Of the names of figures, the most telling first."""

MAX_MATRIX = 20  # labels; beyond, the most frequent confusions are listed instead
AXES = {
    "step": ("steps", plain),
    "tokens": ("tokens seen", thousands),
    "seconds": ("seconds of training", plain),
}  # of logs
POPULATIONS = {
    "row": "{rows:,} rows",
    "question": "{rows:,} questions",
    "sentence": "{rows:,} sentences",
    "tokens": "{items:,} tokens in {rows:,} sentences",
    "entities": "{items:,} entities in {rows:,} sentences",
}


@dataclass(frozen=True)
class Trained:
    """A run with its log, for curves: its name and the step whose weights are saved."""

    name: str
    log: Rows
    best_step: int | None = None


def read_log(path: Path) -> Rows:
    """The rows of a log; none where there is no such file."""
    return [row for row in files.read_jsonl(path) if isinstance(row, dict)] if path.is_file() else []


def log_of(run: Path, entry: dict[str, Any]) -> Rows:
    """The rows of the log that an entry names."""
    return read_log(run / entry["log"]) if entry.get("log") else []


def evaluations(log: Rows, figure: str, across: str) -> list[tuple[float, float]]:
    """The points (`across`, `figure`) of the evaluation rows of a log; `figure` as in `masked.loss`."""
    return [
        (float(row[across]), float(row["evaluation"][figure]))
        for row in log
        if across in row and figure in (row.get("evaluation") or {})
    ]


def training(log: Rows, across: str) -> list[tuple[float, float]]:
    """The points (`across`, training loss); of several terms that of masked words, or the first, which is the task's:
    references and figures on held-out rows are its."""
    points = []
    for row in log:
        if "loss" in row and across in row:
            terms = [name for name in row if name.endswith(".loss")]
            own = "masked.loss" if "masked.loss" in terms else next(iter(terms), "loss")
            points.append((float(row[across]), float(row[own])))
    return points


def main_figure(figures: dict[str, Any]) -> str | None:
    """The name of the figure that says best how good a model is; a run keeps one of them, and its loss."""
    for ending in ENDINGS:
        for name in sorted(figures):
            if name.split(".")[-1] == ending and isinstance(figures[name], int | float):
                return name
    return None


def is_loss(name: str) -> bool:
    """Whether a figure is a loss, in nats."""
    return name.endswith("loss")


def pretraining_loss(log: Rows, pretraining: dict[str, Any]) -> Figure | None:
    """Training and held-out loss over the tokens seen, with the loss of guesses for reference."""
    series = [
        Curve(message("training"), training(log, "tokens")),
        Curve(message("held-out text"), evaluations(log, "masked.loss", "tokens"), colour=2, marks=True),
    ]
    series = [curve for curve in series if curve.points]
    if not series:
        return None
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
    plot = Curves(
        series,
        message("tokens seen"),
        message("loss (nats per masked token)"),
        references=references,
        x_format=thousands,
    )
    return Figure(plot, caption)


def pretraining_losses(runs: Sequence[Trained], across: str) -> Figure | None:
    """Several pretraining runs over `across` (tokens or seconds): held-out loss, and faint the training loss."""
    series = []
    for number, run in enumerate(runs):
        colour = 1 + number % COLOURS
        heldout, train = evaluations(run.log, "masked.loss", across), training(run.log, across)
        if train:
            series.append(Curve(run.name, train, colour, ghost=bool(heldout)))
        if heldout:
            series.append(Curve(run.name, heldout, colour, marks=True))
    if not series:
        return None
    label, shown = AXES[across]
    caption = message(
        "Pretraining loss against {axis}: held-out text (marks), training faint behind it. Lower is better.",
        message(label),
    )
    return Figure(Curves(series, message(label), message("loss (nats per masked token)"), x_format=shown), caption)


def finetuning_curves(runs: Sequence[Trained], across: str = "step") -> list[Figure]:
    """The main figure and the loss on the development rows, one curve for each run."""
    names = {name for run in runs for row in run.log for name in row.get("evaluation") or {}}
    main = main_figure(dict.fromkeys(names, 0.0))
    losses = sorted(name for name in names if name.split(".")[-1] == "loss" and name != main)
    curves = [_dev_curves(runs, name, across) for name in [*filter(None, [main]), *losses[:1]]]
    return [figure for figure in curves if figure]


def _dev_curves(runs: Sequence[Trained], name: str, across: str) -> Figure | None:
    loss = is_loss(name)
    series = []
    for number, run in enumerate(runs):
        scale = 1 if loss else scale_of(name)
        points = [(at, scale * value) for at, value in evaluations(run.log, name, across)]
        best = [row[across] for row in run.log if row.get("step") == run.best_step and across in row]
        if points:
            ring = None if loss or not best else float(best[-1])
            series.append(Curve(run.name, points, 1 + number % COLOURS, marks=True, ring=ring))
    if not series:
        return None
    label, shown = AXES[across]
    if loss:
        caption = message("Loss on the development rows against {axis}.", message(label))
    else:
        caption = message(
            "{figure} on the development rows against {axis}. The ring marks the best step, whose weights are saved.",
            figure_heading(name),
            message(label),
        )
    axis = message("loss (nats)") if loss else figure_axis(name)
    return Figure(Curves(series, message(label), axis, x_format=shown), caption)


def scores(evaluation: dict[str, Any], strong: str) -> Figure | None:
    """The main figure of every model with its interval; `strong` names the one with the accent."""
    metric = evaluation["metric"]
    models = [model for model in evaluation.get("models") or [] if model.get(metric)]
    if not models:
        return None
    rows = []
    for model in models:
        value = model[metric]
        bounds = (scale_of(metric) * value[key] for key in ("value", "low", "high"))
        rows.append((known(model["name"]), *bounds, format_figure(metric, value["value"])))
    at = next((number for number, model in enumerate(models) if model["name"] == strong), 0)
    caption = message(
        "{figure} on n = {population} ({split}); bars are 95 % intervals.",
        figure_heading(metric),
        population(evaluation),
        split_of(evaluation),
    )
    return Figure(Dots(rows, figure_axis(metric), at), caption)


def population(evaluation: dict[str, Any], *, items: bool = True) -> Message:
    """What the figures are about: rows, questions, or sentences with the number of their items."""
    unit = evaluation["unit"]
    of = "entities" if evaluation["metric"] == "entity_f1" else "tokens"
    if unit == "sentence" and items and evaluation.get(of):
        return message(POPULATIONS[of], evaluation[of], evaluation["rows"])
    return message(POPULATIONS[unit], evaluation["rows"])


def split_of(evaluation: dict[str, Any]) -> str:
    """`test`, or the file that the rows are from."""
    split = str(evaluation.get("split") or "test")
    return message("test") if split == "test" else split


def confusion(evaluation: dict[str, Any]) -> Figure | None:
    """The confusion matrix of up to MAX_MATRIX labels."""
    counts, labels = evaluation.get("confusion"), evaluation.get("labels")
    if not counts or not labels or len(labels) > MAX_MATRIX:
        return None
    caption = message(
        "Rows: the true label. Columns: the label predicted. Numbers: test rows. Shade: share of the true label's rows."
    )
    return Figure(Matrix(counts, labels, message("Predicted"), message("True label")), caption)


def scatter(evaluation: dict[str, Any]) -> Figure | None:
    """The predicted number of each row over the true one."""
    pairs = evaluation.get("numbers")
    if not pairs:
        return None
    caption = message(
        "The number predicted over the true one, for {shown:,} of the {rows:,} test rows; equal on the dashed line.",
        len(pairs),
        evaluation["rows"],
    )
    points = [(float(true), float(predicted)) for true, predicted in pairs]
    return Figure(Scatter(points, message("true"), message("predicted")), caption)
