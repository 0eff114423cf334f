"""`unmask predict`: label the rows of a file, or of standard input, with a fine-tuned model."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import typer

from unmask import console
from unmask.cli.shared import OnError, PairColumn, TextColumn
from unmask.errors import UserError

if TYPE_CHECKING:
    from unmask.data.tables import Example
    from unmask.tasks.classify import Label

Format = Literal["jsonl", "csv", "table"]
BLOCK = 512  # rows predicted, then written, at a time
EXCERPT = 60  # characters of a text in a table


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: unmask predict runs/classify new.csv --out predicted.csv")(predict)


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A fine-tuned model: a run or its model/.")],
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]",
            help="Rows as csv, tsv or jsonl, or a text a line; - or nothing for standard input.",
            show_default=False,
        ),
    ] = None,
    style: Annotated[
        Format | None,
        typer.Option("--format", help="jsonl, csv or table. [default: as --out is called, or jsonl]"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write, whole or not at all.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Give the probability of every label.")] = False,
    text_column: TextColumn = None,
    pair_column: PairColumn = None,
    on_error: OnError = "stop",
) -> None:
    """Give the most probable label of each row, with its id, its line and the probability of the label."""
    from unmask.data.tables import Columns, read_examples
    from unmask.predict import load, stream

    if file is None and sys.stdin.isatty():
        raise UserError("there is nothing to read", allowed="FILE, or texts on standard input, one a line")
    predictor = load(model)
    labels = predictor.task.labels
    columns = Columns(text=text_column, pair=pair_column)
    examples = read_examples(file or "-", columns=columns, on_error=on_error)
    shape = style or ("csv" if out is not None and out.suffix == ".csv" else "jsonl")
    if shape == "table":
        if out is not None:
            raise UserError("a table is for reading", allowed="--format jsonl or csv with --out")
        _table(list(stream(predictor, examples, BLOCK)), labels if every else [])
        return
    with console.work("Prediction") as work, _opened(out) as target:
        work.start(len(examples), "rows")
        write = _csv_writer(target, labels if every else []) if shape == "csv" else _jsonl_writer(target)
        for example, ranked in stream(predictor, examples, BLOCK):
            write(_row(example, ranked, every))
            work.advance(1)
        work.result(f"{len(examples):,} rows" + (f" · {out}" if out is not None else ""))


@contextmanager
def _opened(out: Path | None) -> Iterator[IO[str]]:
    """The file to write, in place only when it is whole, or standard output."""
    from unmask import files

    if out is None:
        yield sys.stdout
        return
    with files.atomic(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as target:
        yield target


def _row(example: "Example", ranked: "Sequence[Label]", every: bool) -> dict[str, Any]:
    row = {
        "id": example.id,
        "line": example.line,
        "label": ranked[0].name,
        "score": round(ranked[0].score, 6),
    }
    if every:
        row["scores"] = {label.name: round(label.score, 6) for label in ranked}
    return row


def _jsonl_writer(target: IO[str]) -> Callable[[dict[str, Any]], object]:
    return lambda row: target.write(json.dumps(row, ensure_ascii=False) + "\n")


def _csv_writer(target: IO[str], labels: Sequence[str]) -> Callable[[dict[str, Any]], object]:
    """Columns id, line, label, score, then one per label where all are asked for."""
    table = csv.writer(target, lineterminator="\n")
    table.writerow(["id", "line", "label", "score", *labels])

    def write(row: dict[str, Any]) -> None:
        scores = row.pop("scores", {})
        table.writerow([*row.values(), *(scores[label] for label in labels)])

    return write


def _table(rows: "list[tuple[Example, list[Label]]]", labels: Sequence[str]) -> None:
    shown = []
    for example, ranked in rows:
        text = " ".join(f"{example.text} {example.pair or ''}".split())
        excerpt = text if len(text) <= EXCERPT else text[: EXCERPT - 3].rstrip() + "..."
        scores = {label.name: label.score for label in ranked}
        first = (example.id, ranked[0].name, f"{ranked[0].score:.1%}")
        shown.append((*first, *(f"{scores[label]:.1%}" for label in labels), excerpt))
    console.table(("id", "label", "probability", *labels, "text"), shown)
