"""`unmask evaluate`: score a fine-tuned model on a file of labelled rows."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unmask import console
from unmask.cli.common.help import App
from unmask.cli.common.options import AllowUnused, AsJson, BackendName, FinetunedModel, PrecisionName
from unmask.cli.common.output import print_result
from unmask.cli.common.reading import NOTHING, Given, reads_rows
from unmask.messages import join, message

if TYPE_CHECKING:
    from unmask.metrics import Scores

MAX_CONFUSIONS = 8

commands = App()


@commands.command(example="unmask evaluate runs/classify test.csv --label-column topic")
@reads_rows()
def evaluate(
    model: FinetunedModel,
    file: Annotated[Path, typer.Argument(help="Labelled rows, in any format that unmask finetune reads.")],
    reading: Given = NOTHING,
    allow_unused: AllowUnused = False,
    backend: BackendName = "auto",
    precision: PrecisionName = "auto",
    as_json: AsJson = False,
) -> None:
    """Evaluate a model on labelled rows: metrics with 95 % intervals, overall and for each label.

    One label a row: accuracy and macro-F1. Any number of labels: micro- and macro-F1, and the share of rows with all
    labels right. Numbers: Pearson, Spearman, MAE, RMSE. Tags of tokens: accuracy. Spans: precision, recall and F1 as
    conlleval. Answers: F1 and exact match as SQuAD. Vectors: Spearman and Pearson of cosines where rows have scores,
    else how well each text finds its second one (MRR, nDCG@10, recall).
    """
    from unmask.evaluate.predictions import run_folder_of, to_saved_predictions
    from unmask.runtime.predictor import load

    with console.start_step("Evaluation") as work:
        predictor = load(model, allow_unused=allow_unused, backend=backend, precision=precision)
        task, rows = predictor.task, predictor.read(file, "test", **reading)
        console.notes(rows.notes)
        scores, predicted = predictor.score(rows.examples, work)
        if (run := run_folder_of(model)) is not None and str(file) != "-":
            to_saved_predictions(predictor, rows, predicted, reading).save(run)
        work.result("{rows:,} rows of {file}", scores.rows, file)
    notes = predicted.notes
    console.notes(notes.remarks)
    if (thresholds := getattr(predicted[0], "thresholds", None)) is not None:
        tuned = dict(zip(task.labels, thresholds.tolist(), strict=True))
        per_label = [row | {"threshold": tuned.get(row["label"])} for row in scores.details["per_label"]]
        scores = replace(scores, details={**scores.details, "per_label": per_label})
    unknown = sorted({label for example in rows.examples for label in example.labels} - set(task.labels))
    cut = message("{count:,} truncated to {length} tokens", notes.truncated, task.settings.truncates_to)
    result = {**scores.to_dict(), "unknown_labels": unknown, "truncated": notes.truncated}
    print_result(as_json, result, lambda _: _show(scores, cut if notes.truncated else None))


def _show(scores: "Scores", cut: str | None) -> None:
    from unmask.metrics import figure_of

    counted = join([f"{scores.rows:,}", cut, message("in brackets 95 % bootstrap intervals")], ", ")
    figures = {figure_of(name).title: one.format(name, unit=True) for name, one in scores.figures.items()}
    console.facts({**figures, "rows": counted})
    for heads, rows in _tables(scores.details):
        if rows:
            console.table(heads, rows)


def _tables(details: dict[str, Any]) -> "Iterator[tuple[tuple[str, ...], list[tuple[object, ...]]]]":
    """What is to be looked at beside the figures: labels, confusions, parts of the questions, the largest errors."""
    labels = details.get("per_label") or []
    items = "tokens" if "tokens" in details else "spans" if "entities" in details else "rows"
    tuned = ("threshold",) if labels and "threshold" in labels[0] else ()
    yield (
        ("label", "precision", "recall", "F1 [95 %]", *tuned, items),
        [_label(row, tuned) for row in labels],
    )
    pairs = details.get("confusions") or []
    yield (
        ("most often confused: true", "predicted", items),
        [(row["true"] or None, row["predicted"] or None, row["count"]) for row in pairs[:MAX_CONFUSIONS]],
    )
    yield (
        ("questions", "F1", "exact match", "questions"),
        [(row["part"], *_percent(row, "answer_f1", "exact_match"), row["rows"]) for row in details.get("parts") or []],
    )
    errors = details.get("largest_errors") or []
    if errors and "rank" in errors[0]:
        yield ("worst ranks: line", "rank"), [(row["line"], row["rank"]) for row in errors]
    else:
        heads = ("largest errors: line", "true", "predicted")
        yield heads, [(row["line"], f"{row['true']:.6g}", f"{row['predicted']:.3f}") for row in errors]


def _percent(row: dict[str, Any], *names: str) -> list[str]:
    return [f"{100 * row[name]:.1f}" for name in names]


def _label(row: dict[str, Any], tuned: Sequence[str]) -> tuple[object, ...]:
    precision, recall, f1, low, high = _percent(row, "precision", "recall", "f1", "f1_low", "f1_high")
    thresholds = [None if row[key] is None else f"{row[key]:.3f}" for key in tuned]
    return row["label"], precision, recall, f"{f1} [{low}, {high}]", *thresholds, row["support"]
