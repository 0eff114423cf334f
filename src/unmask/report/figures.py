"""Which plots the page shows: each takes figures of a run and gives a Figure, or None without figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask import console, files
from unmask.metrics import figure_of
from unmask.report import chart
from unmask.report.blocks import Figure, Words
from unmask.report.chart import COLOURS, Curve
from unmask.report.words import format_figure, translated

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


@dataclass(frozen=True)
class Trained:
    """A run with its log, for curves: its name and the step whose weights were kept."""

    name: str
    log: Rows
    best_step: int | None = None


def log_of(run: Path, entry: dict[str, Any]) -> Rows:
    """The rows of the log that an entry names; none where there is no such file."""
    path = run / entry["log"] if entry.get("log") else None
    rows = files.read_jsonl(path) if path and path.is_file() else []
    return [row for row in rows if isinstance(row, dict)]


def drawn(plot: Callable[[int], str], caption: str) -> Figure:
    """A plot for a desk and for a phone."""
    return Figure(plot(chart.WIDE), plot(chart.NARROW), caption)


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


def figure_name(name: str, words: Words, *, inline: bool = False) -> str:
    """`classify.accuracy` as people call it: `Accuracy`, or `accuracy` within a sentence."""
    last = name.split(".")[-1]
    known = last in ENDINGS
    return words[f"inline.{last}" if inline or last == "loss" else last] if known else last


def pretraining_loss(log: Rows, pretraining: dict[str, Any], words: Words) -> Figure | None:
    series = [
        Curve(words["loss.train"], training(log, "tokens")),
        Curve(words["loss.heldout"], evaluations(log, "masked.loss", "tokens"), colour=2, marks=True),
    ]
    shown = [curve for curve in series if curve.points]
    if not shown:
        return None
    references = [
        (words[name].format(value=f"{pretraining[name]:.2f}"), float(pretraining[name]))
        for name in ("uniform_loss", "unigram_loss")
        if pretraining.get(name) is not None
    ]

    def plot(width: int) -> str:
        return chart.curves(
            shown,
            words["loss.caption"],
            words["tokens.axis"],
            words["loss.axis"],
            references=references,
            x_format=chart.thousands,
            width=width,
        )

    return drawn(plot, words["loss.caption"])


def pretraining_losses(runs: Sequence[Trained], across: str, words: Words) -> Figure | None:
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
    caption = words[f"compare.loss.{across}"]
    shown = chart.thousands if across == "tokens" else chart.plain

    def plot(width: int) -> str:
        return chart.curves(series, caption, words[f"{across}.axis"], words["loss.axis"], x_format=shown, width=width)

    return drawn(plot, caption)


def finetuning_curves(runs: Sequence[Trained], words: Words, across: str = "step") -> list[Figure]:
    """The main figure and the loss on the development rows, one curve for each run."""
    names = {name for run in runs for row in run.log for name in row.get("evaluation") or {}}
    main = main_figure(dict.fromkeys(names, 0.0))
    losses = sorted(name for name in names if name.split(".")[-1] == "loss" and name != main)
    found = [_dev_curves(runs, name, across, words) for name in [*filter(None, [main]), *losses[:1]]]
    return [figure for figure in found if figure]


def _dev_curves(runs: Sequence[Trained], name: str, across: str, words: Words) -> Figure | None:
    loss = name.split(".")[-1] == "loss"
    series = []
    for number, run in enumerate(runs):
        scale = 100 if figure_of(name).percent and not loss else 1
        points = [(at, scale * value) for at, value in evaluations(run.log, name, across)]
        kept = [row[across] for row in run.log if row.get("step") == run.best_step and across in row]
        if points:
            ring = None if loss or not kept else float(kept[-1])
            series.append(Curve(run.name, points, 1 + number % COLOURS, marks=True, ring=ring))
    if not series:
        return None
    axis = words["dev.loss.axis"] if loss else words.get(f"{name.split('.')[-1]}.axis", name)
    key = "dev.loss.caption" if loss else "dev.caption" if across == "step" else "dev.seconds.caption"
    caption = words[key].format(figure=figure_name(name, words))
    x_label = words["steps.axis" if across == "step" else "seconds.axis"]
    return drawn(lambda width: chart.curves(series, caption, x_label, axis, width=width), caption)


def scores(evaluation: dict[str, Any], strong: str, words: Words) -> Figure | None:
    """The main figure of every model with its interval; `strong` names the one with the accent."""
    metric = evaluation.get("metric") or "accuracy"
    models = [model for model in evaluation.get("models") or [] if model.get(metric)]
    if not models:
        return None
    rows = []
    for model in models:
        value = model[metric]
        scale = 100 if figure_of(metric).percent else 1
        low, middle, high = (scale * value[key] for key in ("low", "value", "high"))
        rows.append((translated(model["name"], words), middle, low, high, format_figure(metric, value["value"])))
    items = evaluation.get("tokens" if metric == "accuracy" else "entities")
    caption = words["dots.caption" if items is None else "dots.caption.items"].format(
        figure=words[metric],
        rows=console.count(evaluation["rows"]),
        split=split_name(evaluation, words),
        items=console.count(items or 0),
    )
    at = next((number for number, model in enumerate(models) if model["name"] == strong), 0)
    axis = words[f"{metric}.axis"]
    return drawn(lambda width: chart.dots(rows, caption, axis, at, width), caption)


def split_name(evaluation: dict[str, Any], words: Words) -> str:
    split = evaluation.get("split") or "test"
    return words["split.test"] if split == "test" else words["split.file"].format(file=split)


def confusion(evaluation: dict[str, Any], words: Words) -> Figure | None:
    """The confusion matrix of up to MAX_MATRIX labels."""
    counts, labels = evaluation.get("confusion"), evaluation.get("labels")
    if not counts or not labels or len(labels) > MAX_MATRIX:
        return None
    caption = words["confusion.caption"]

    def plot(width: int) -> str:
        return chart.matrix(counts, labels, caption, words["predicted"], words["true"], width)

    return drawn(plot, caption)


def scatter(evaluation: dict[str, Any], words: Words) -> Figure | None:
    """The predicted number of each row over the true one."""
    pairs = evaluation.get("numbers")
    if not pairs:
        return None
    caption = words["scatter.caption"].format(shown=console.count(len(pairs)), rows=console.count(evaluation["rows"]))
    points = [(float(true), float(said)) for true, said in pairs]

    def plot(width: int) -> str:
        return chart.scatter(points, caption, words["true.number"], words["predicted.number"], width)

    return drawn(plot, caption)
