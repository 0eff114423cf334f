"""`unmask evaluate`: score a fine-tuned model on a file of labelled rows."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unmask import console
from unmask.cli.shared import (
    AsJson,
    LabelColumn,
    OnError,
    PairColumn,
    TextColumn,
    facts,
    percent,
)

if TYPE_CHECKING:
    from unmask.tasks.classify import Evaluation

CONFUSED = 8  # pairs of labels shown on the terminal; --json has the whole confusion matrix


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: unmask evaluate runs/classify test.csv --label-column topic")(evaluate)


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A fine-tuned model: a run or its model/.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Labelled rows: csv, tsv or jsonl.")],
    text_column: TextColumn = None,
    pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    on_error: OnError = "stop",
    as_json: AsJson = False,
) -> None:
    """Compare predicted labels with the true ones: accuracy and macro-F1 with intervals, and each label."""
    from unmask.data.tables import Columns, check_labels, read_examples
    from unmask.predict import load

    columns = Columns(text=text_column, pair=pair_column, label=label_column)
    with console.work("Evaluation") as work:
        predictor = load(model)
        task = predictor.task
        examples = read_examples(file, columns=columns, on_error=on_error, require_labels=True)
        examples = check_labels(examples, task.labels, of=str(model), on_error=on_error)
        scores = predictor.score(examples, work)[0]
        work.result(f"{scores.rows:,} rows of {file}")
    confused = most_confused(scores.confusion, task.labels)
    if as_json:
        told = {"labels": task.labels, "truncated": task.truncated, "confused": confused, **asdict(scores)}
        console.say(json.dumps(told, ensure_ascii=False))
        return
    _show(scores, confused, task.truncated, task.settings.length)


def most_confused(confusion: list[list[int]], labels: list[str]) -> list[dict[str, Any]]:
    """What was wrongly predicted for which true label, the most frequent first."""
    wrong = [
        {"label": labels[true], "predicted": labels[said], "rows": rows}
        for true, row in enumerate(confusion)
        for said, rows in enumerate(row)
        if true != said and rows
    ]
    return sorted(wrong, key=lambda pair: -pair["rows"])


def _show(scores: "Evaluation", confused: list[dict[str, Any]], truncated: int, length: int) -> None:
    cut = f", {truncated:,} cut short at {length} tokens" if truncated else ""
    facts(
        [
            ("accuracy", f"{percent(scores.accuracy)} %"),
            ("macro-F1", f"{percent(scores.macro_f1)} %"),
            ("rows", f"{scores.rows:,}{cut}; in brackets 95 % bootstrap intervals"),
        ]
    )
    console.table(
        ("label", "precision", "recall", "F1", "rows"),
        [
            (row["label"], *(f"{100 * row[key]:.1f}" for key in ("precision", "recall", "f1")), row["n"])
            for row in scores.per_label
        ],
    )
    if confused:
        console.table(
            ("most often confused: true", "predicted", "rows"),
            [(pair["label"], pair["predicted"], pair["rows"]) for pair in confused[:CONFUSED]],
        )
