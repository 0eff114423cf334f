"""`unmask evaluate`: score a fine-tuned model on a file of labelled rows."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unmask import console
from unmask.cli.shared import (
    AsJson,
    Encoding,
    LabelColumn,
    OnError,
    PairColumn,
    Scheme,
    TagColumn,
    TextColumn,
    TokenColumn,
    facts,
    percent,
)

if TYPE_CHECKING:
    from unmask.tasks.task import Evaluation


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: unmask evaluate runs/classify test.csv --label-column topic")(evaluate)


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A fine-tuned model: a run or its model/.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Labelled rows: csv, tsv, jsonl; of tags, CoNLL or jsonl.")
    ],
    text_column: TextColumn = None,
    pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    token_column: TokenColumn = None,
    tag_column: TagColumn = None,
    scheme: Scheme = "auto",
    encoding: Encoding = None,
    on_error: OnError = "stop",
    as_json: AsJson = False,
) -> None:
    """Compare predictions with what is true: figures with 95 % intervals, over all and for each label.

    Labels of rows: accuracy and macro-F1. Tags of tokens: accuracy. Spans: precision, recall and F1 as conlleval.
    """
    from unmask.data.conll import TagColumns
    from unmask.data.tables import Columns
    from unmask.evaluate.tested import kept_of, run_of
    from unmask.predict import load
    from unmask.tasks import Reading

    columns = Columns(text=text_column, pair=pair_column, label=label_column)
    reading = Reading(columns, TagColumns(token=token_column, tag=tag_column), scheme, on_error, encoding)
    with console.work("Evaluation") as work:
        predictor = load(model)
        task = predictor.task
        examples = task.check(task.read_test(file, reading), of=str(model), on_error=on_error)
        scores, predicted = predictor.score(examples, work)
        if (run := run_of(model)) is not None:
            kept_of(predictor, examples, predicted, file).save(run)
        work.result(f"{scores.rows:,} rows of {file}")
    if as_json:
        told = {"labels": task.labels, "truncated": task.truncated, **scores.told()}
        console.say(json.dumps(told, ensure_ascii=False))
        return
    _show(scores, task.truncated, task.settings.length)


def _show(scores: "Evaluation", truncated: int, length: int) -> None:
    from unmask.tasks.task import TITLES

    cut = f", {truncated:,} cut short at {length} tokens" if truncated else ""
    facts(
        [
            *((TITLES[key], f"{percent(interval)} %") for key, interval in scores.figures.items()),
            ("rows", f"{scores.rows:,}{cut}; in brackets 95 % bootstrap intervals"),
        ]
    )
    for table in scores.tables():
        console.table(table.columns, table.rows)
