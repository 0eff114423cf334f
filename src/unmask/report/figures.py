"""Which plots the page shows: each takes figures of a run and gives a Figure, or None without figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unmask import console
from unmask.report import chart
from unmask.report.chart import Curve
from unmask.report.words import percent

Rows = list[dict[str, Any]]
Words = dict[str, str]

MAX_MATRIX = 20  # labels; beyond, the most frequent confusions are listed instead


@dataclass(frozen=True)
class Figure:
    """A plot, as SVG, and the sentence below it, which is also its description."""

    svg: str
    caption: str
    kind: str = "figure"


def evaluations(log: Rows, figure: str, across: str) -> list[tuple[float, float]]:
    """The points (`across`, `figure`) of the evaluation rows of a log; `figure` as in `masked.loss`."""
    return [
        (float(row[across]), float(row["evaluation"][figure]))
        for row in log
        if across in row and figure in (row.get("evaluation") or {})
    ]


def pretraining_loss(log: Rows, pretraining: dict[str, Any], words: Words) -> Figure | None:
    # a run with several objectives logs each of them; the reference lines are those of masked words
    train = [
        (float(row["tokens"]), float(row["masked.loss" if "masked.loss" in row else "loss"]))
        for row in log
        if "loss" in row and "tokens" in row
    ]
    heldout = evaluations(log, "masked.loss", "tokens")
    series = [
        Curve(words["loss.train"], train),
        Curve(words["loss.heldout"], heldout, colour=2, marks=True),
    ]
    shown = [curve for curve in series if curve.points]
    if not shown:
        return None
    references = [
        (words[name].format(value=f"{pretraining[name]:.2f}"), float(pretraining[name]))
        for name in ("uniform", "unigram")
        if pretraining.get(name) is not None
    ]
    svg = chart.curves(
        shown,
        words["loss.caption"],
        words["tokens.axis"],
        words["loss.axis"],
        references=references,
        x_format=chart.thousands,
    )
    return Figure(svg, words["loss.caption"])


def finetuning_curves(runs: Sequence[tuple[dict[str, Any], Rows]], words: Words) -> list[Figure]:
    """Accuracy and loss on the development rows, one curve for each of (entry of results.json, its log)."""
    figures = []
    for figure, factor in (("accuracy", 100.0), ("loss", 1.0)):
        series = []
        for number, (entry, log) in enumerate(runs):
            points = [(at, value * factor) for at, value in evaluations(log, f"classify.{figure}", "step")]
            if points:
                ring = entry.get("best_step") if figure == "accuracy" else None
                series.append(Curve(entry["name"], points, colour=1 + number % 2, marks=True, ring=ring))
        if series:
            axis, caption = words["accuracy.axis"], words["dev.accuracy.caption"]
            if figure == "loss":
                axis, caption = words["dev.loss.axis"], words["dev.loss.caption"]
            svg = chart.curves(series, caption, words["steps.axis"], axis, height=290)
            figures.append(Figure(svg, caption))
    return figures


def accuracies(evaluation: dict[str, Any], strong: str, words: Words) -> Figure | None:
    """The accuracy of every model with its interval; `strong` names the one with the accent."""
    models = [model for model in evaluation.get("models") or [] if model.get("accuracy")]
    if not models:
        return None
    rows = []
    for model in models:
        value = model["accuracy"]
        places = (100 * value[key] for key in ("value", "low", "high"))
        rows.append((model["name"], *places, percent(value["value"])))
    caption = words["dots.caption"].format(
        rows=console.count(evaluation["rows"]), split=evaluation.get("split", "")
    )
    at = next((number for number, model in enumerate(models) if model["name"] == strong), 0)
    return Figure(chart.dots(rows, caption, words["accuracy.axis"], at), caption)


def confusion(evaluation: dict[str, Any], words: Words) -> Figure | None:
    """The confusion matrix of up to MAX_MATRIX labels."""
    counts, labels = evaluation.get("confusion"), evaluation.get("labels")
    if not counts or not labels or len(labels) > MAX_MATRIX:
        return None
    caption = words["confusion.caption"]
    return Figure(chart.matrix(counts, labels, caption, words["predicted"], words["true"]), caption)
