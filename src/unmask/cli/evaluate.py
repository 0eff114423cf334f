"""`unmask evaluate`: score a fine-tuned model on a file of labelled rows."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unmask import console
from unmask.cli.shared import (
    AsJson,
    DataFormat,
    Encoding,
    LabelColumn,
    LabelSeparator,
    OnError,
    PairColumn,
    Scheme,
    TagColumn,
    TextColumn,
    TokenColumn,
    UnknownLabels,
    facts,
    shown,
)

if TYPE_CHECKING:
    from unmask.tasks.task import Evaluation


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: unmask evaluate runs/classify test.csv --label-column topic")(evaluate)


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A fine-tuned model: a run or its model/.")],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Labelled rows: csv, tsv, jsonl; of tags, CoNLL or jsonl; of answers, also SQuAD.",
        ),
    ],
    text_column: TextColumn = None,
    pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    label_separator: LabelSeparator = None,
    token_column: TokenColumn = None,
    tag_column: TagColumn = None,
    scheme: Scheme = "auto",
    data_format: DataFormat = "auto",
    encoding: Encoding = None,
    on_error: OnError = "stop",
    unknown_labels: UnknownLabels = None,
    as_json: AsJson = False,
) -> None:
    """Compare predictions with what is true: figures with 95 % intervals, over all and for each label.

    One label a row: accuracy and macro-F1. Any number of labels: micro- and macro-F1, and the share of rows with all
    labels right. Numbers: Pearson, Spearman, MAE, RMSE. Tags of tokens: accuracy. Spans: precision, recall and F1 as
    conlleval. Answers: F1 and exact match as SQuAD. Vectors: Spearman and Pearson of cosines where rows have scores,
    else how well each text finds its second one (MRR, nDCG@10, recall).
    """
    from unmask.data.rows.conll import TagColumns
    from unmask.data.rows.tables import Columns
    from unmask.evaluate.tested import run_folder_of, test_examples, to_saved_predictions
    from unmask.predict import load
    from unmask.tasks import ReadOptions

    columns = Columns(text=text_column, pair=pair_column, label=label_column, separator=label_separator)
    tags = TagColumns(token=token_column, tag=tag_column)
    reading = ReadOptions(columns, tags, scheme, on_error, encoding, unknown_labels, format=data_format)
    with console.start_step("Evaluation") as work:
        predictor = load(model)
        task = predictor.task
        examples = test_examples(task, file, reading, of=str(model))
        scores, predicted = predictor.score(examples, work)
        if (run := run_folder_of(model)) is not None and str(file) != "-":
            to_saved_predictions(predictor, examples, predicted, file, reading).save(run)
        work.result(f"{scores.rows:,} rows of {file}")
    if as_json:
        unknown = sorted({label for example in examples for label in example.labels} - set(task.labels))
        told = {
            "labels": task.labels,
            "unknown_labels": unknown,
            "truncated": task.truncated,
            **scores.to_dict(),
        }
        console.print_text(json.dumps(told, ensure_ascii=False))
        return
    _show(scores, task.truncated, task.max_length_setting(task.settings)[1])


def _show(scores: "Evaluation", truncated: int, length: int) -> None:
    from unmask.tasks.task import METRIC_TITLES

    cut = f", {truncated:,} cut short at {length} tokens" if truncated else ""
    facts(
        [
            *((METRIC_TITLES[key], shown(key, interval, unit=True)) for key, interval in scores.figures.items()),
            ("rows", f"{scores.rows:,}{cut}; in brackets 95 % bootstrap intervals"),
        ]
    )
    for table in scores.tables():
        console.table(table.columns, table.rows)
