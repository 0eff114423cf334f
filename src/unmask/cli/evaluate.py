"""`unmask evaluate`: score a fine-tuned model on a file of labelled rows."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unmask import console
from unmask.cli.help import App
from unmask.cli.reading import NOTHING, Given, reads_rows
from unmask.cli.shared import AsJson, print_notes
from unmask.messages import join, message

if TYPE_CHECKING:
    from unmask.metrics import Scores

MAX_CONFUSIONS = 8


def register(app: App) -> None:
    app.command(example="unmask evaluate runs/classify test.csv --label-column topic")(evaluate)


@reads_rows()
def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A fine-tuned model: a run or its model/.")],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Labelled rows: csv, tsv, jsonl; of tags, CoNLL or jsonl; of answers, also SQuAD.",
        ),
    ],
    reading: Given = NOTHING,
    as_json: AsJson = False,
) -> None:
    """Evaluate a model on labelled rows: metrics with 95 % intervals, overall and for each label.

    One label a row: accuracy and macro-F1. Any number of labels: micro- and macro-F1, and the share of rows with all
    labels right. Numbers: Pearson, Spearman, MAE, RMSE. Tags of tokens: accuracy. Spans: precision, recall and F1 as
    conlleval. Answers: F1 and exact match as SQuAD. Vectors: Spearman and Pearson of cosines where rows have scores,
    else how well each text finds its second one (MRR, nDCG@10, recall).
    """
    from unmask.evaluate.tested import run_folder_of, to_saved_predictions
    from unmask.runtime.predictor import load

    with console.start_step("Evaluation") as work:
        predictor = load(model)
        task, rows = predictor.task, predictor.read(file, "test", **reading)
        print_notes(rows.notes)
        scores, predicted = predictor.score(rows.examples, work)
        if (run := run_folder_of(model)) is not None and str(file) != "-":
            to_saved_predictions(predictor, rows, predicted, reading).save(run)
        work.result("{rows:,} rows of {file}", scores.rows, file)
    notes = predicted.notes
    for remark in notes.remarks:
        console.note(remark)
    if (thresholds := getattr(predicted[0], "thresholds", None)) is not None:
        tuned = dict(zip(task.labels, thresholds.tolist(), strict=True))
        per_label = [row | {"threshold": tuned.get(row["label"])} for row in scores.details["per_label"]]
        scores = replace(scores, details={**scores.details, "per_label": per_label})
    if as_json:
        unknown = sorted({label for example in rows.examples for label in example.labels} - set(task.labels))
        facts = {**scores.to_dict(), "unknown_labels": unknown, "truncated": notes.truncated}
        console.print_text(json.dumps(facts, ensure_ascii=False))
    else:
        _show(scores, notes.truncated, task.settings.truncates_to)


def _show(scores: "Scores", truncated: int, length: int) -> None:
    from unmask.metrics import figure_of

    cut = message("{count:,} truncated to {length} tokens", truncated, length) if truncated else None
    counted = join([f"{scores.rows:,}", cut, message("in brackets 95 % bootstrap intervals")], ", ")
    console.facts(
        [
            *((figure_of(name).title, interval.format(name, unit=True)) for name, interval in scores.figures.items()),
            ("rows", counted),
        ]
    )
    for heads, rows in _tables(scores):
        if rows:
            console.table(heads, rows)


def _tables(scores: "Scores") -> "Iterator[tuple[tuple[str, ...], list[tuple[object, ...]]]]":
    """What is to be looked at beside the figures: labels, confusions, parts of the questions, the largest errors."""
    details = scores.details
    labels = details.get("per_label") or []
    items = "tokens" if "tokens" in details else "spans" if "entities" in details else "rows"
    tuned = ("threshold",) if labels and "threshold" in labels[0] else ()
    yield ("label", "precision", "recall", "F1 [95 %]", *tuned, items), [_label(row, tuned) for row in labels]
    pairs = details.get("confusions") or []
    yield (
        ("most often confused: true", "predicted", items),
        [(row["true"] or "-", row["predicted"] or "-", row["count"]) for row in pairs[:MAX_CONFUSIONS]],
    )
    yield (
        ("questions of which", "F1", "exact match", "questions"),
        [
            (row["part"], f"{100 * row['answer_f1']:.1f}", f"{100 * row['exact_match']:.1f}", row["rows"])
            for row in details.get("parts") or []
        ],
    )
    errors = details.get("largest_errors") or []
    if errors and "rank" in errors[0]:
        yield ("found late: line", "rank"), [(row["line"], row["rank"]) for row in errors]
    else:
        yield (
            ("farthest from the truth: line", "true", "predicted"),
            [(row["line"], f"{row['true']:.6g}", f"{row['predicted']:.3f}") for row in errors],
        )


def _label(row: dict[str, Any], tuned: Sequence[str]) -> tuple[object, ...]:
    f1 = f"{100 * row['f1']:.1f} [{100 * row['f1_low']:.1f}, {100 * row['f1_high']:.1f}]"
    thresholds = [None if row[key] is None else f"{row[key]:.3f}" for key in tuned]
    return row["label"], *(f"{100 * row[key]:.1f}" for key in ("precision", "recall")), f1, *thresholds, row["support"]
