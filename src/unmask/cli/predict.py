"""`unmask predict`: what a fine-tuned model says of the rows of a file, or of standard input."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import typer

from unmask import console
from unmask.cli.help import App
from unmask.cli.reading import NOTHING, Given, reads_rows
from unmask.cli.shared import print_notes
from unmask.errors import UserError
from unmask.messages import join, message, verbatim

if TYPE_CHECKING:
    from unmask.data.rows.example import Example
    from unmask.runtime.formats import Format as Written

Format = Literal["jsonl", "csv", "table", "conll", "npy"]
BLOCK = 512  # rows predicted, then written, at a time
EXCERPT = 60  # characters of a text in a table
PLACES = ("line", "start", "end")  # columns that a table for people goes without


def register(app: App) -> None:
    app.command(example="unmask predict runs/classify new.csv --output predicted.csv")(predict)


@reads_rows("label_column", "label_separator", "tag_column", "scheme", "unknown_labels")
def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A fine-tuned model: a run or its model/.")],
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]",
            help="Rows as csv, tsv or jsonl, CoNLL, SQuAD, or a text a line; - or nothing for standard input, which "
            "holds jsonl or a text a line.",
            show_default=False,
        ),
    ] = None,
    style: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="jsonl, csv, table, conll (tags) or npy (vectors). [default: as --output is called, or jsonl]",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="The file to write, whole or not at all.")] = None,
    every: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Output the probability of every label, the other answers, or both vectors of a pair.",
        ),
    ] = False,
    top_k: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Give so many labels or answers, the most probable; --all gives every label, and 5 answers.",
            show_default=False,
        ),
    ] = None,
    reading: Given = NOTHING,
) -> None:
    """Predict the label or labels, number, labelled spans, answer, vector or (of a pair) cosine of each row."""
    from unmask import files
    from unmask.runtime.formats import format_of
    from unmask.runtime.predictor import load

    if output is not None:
        files.check_file(output)
        if output.exists() and file not in (None, "-") and output.samefile(str(file)):
            raise UserError("{out} is the file to be read", output, hint="choose another name for --output")
    if file is None and sys.stdin.isatty():
        raise UserError("there is nothing to read", allowed="FILE, or texts on standard input, one a line")
    predictor = load(model)
    task, written = predictor.task, format_of(predictor.task)
    shape = _shape(written, style, output)
    if top_k is not None and not task.ranks:
        raise UserError("--top-k is for labels of whole texts and for answers")
    every = every or top_k is not None
    written.columns(every)
    read = predictor.read(file or "-", "predict", **reading)
    print_notes(read.notes)
    examples = read.examples
    truncated = 0

    def predictions() -> Iterator[tuple["Example", Any]]:
        nonlocal truncated
        for start in range(0, len(examples), BLOCK):
            part = examples[start : start + BLOCK]
            made = predictor.predict(part, top_k=top_k)
            truncated += made.notes.truncated
            yield from zip(part, made, strict=True)

    rows = predictions()
    if shape == "table":
        _table(written, rows, every)
        return
    if shape == "npy" and output is not None:
        _array(rows, len(examples), output)
    else:
        _lines(written, rows, len(examples), shape, output, every)
    if truncated:
        console.note("{count:,} texts truncated to {tokens:,} tokens", truncated, task.settings.truncates_to)


def _shape(written: "Written", style: Format | None, output: Path | None) -> str:
    """The format to write. Raises UserError for one that the model or the target does not have."""
    shape = style or ("jsonl" if output is None else written.name_for(output))
    if shape not in written.names:
        raise UserError(f"--format {shape} is not for this model", allowed=", ".join(written.names))
    if shape == "table" and output is not None:
        raise UserError("a table is for reading", allowed="--format jsonl or csv with --output")
    if shape == "npy" and output is None:
        raise UserError("an array is for a file", allowed="--output vectors.npy, or --format jsonl")
    return shape


def _lines(
    written: "Written",
    rows: "Iterable[tuple[Example, Any]]",
    count: int,
    shape: str,
    output: Path | None,
    every: bool,
) -> None:
    """JSON lines, rows of csv, or sentences of CoNLL."""
    with console.start_step("Prediction") as work, _opened(output) as target:
        work.start(count, "rows")
        table = csv.writer(target, lineterminator="\n")
        if shape == "csv":
            table.writerow(written.columns(every))
        for example, prediction in rows:
            if shape == "csv":
                table.writerows(written.to_rows(example, prediction, every))
            elif shape == "conll":
                target.write(written.to_conll(example, prediction))
            else:
                record = written.to_record(example, prediction, every)
                target.write(json.dumps(record, ensure_ascii=False) + "\n")
            work.advance(1)
        work.result(join([message("{rows:,} rows", count), str(output) if output else None]))


def _array(rows: "Iterable[tuple[Example, Any]]", count: int, output: Path) -> None:
    """The vectors of all rows as one array (rows, width) float32, or (rows, 2, width) of pairs, in NumPy's format."""
    import numpy as np

    from unmask import files

    with console.start_step("Prediction") as work, files.atomic(output) as temporary:
        work.start(count, "rows")
        target = None
        for number, (_, vector) in enumerate(rows):
            if target is None:
                shape = (count, *vector.shape)
                target = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
            target[number] = vector
            work.advance(1)
        if target is not None:
            target.flush()
        work.result("{count:,} rows · {out}", count, output)


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[str]]:
    """The file to write, in place only when it is whole, or standard output."""
    from unmask import files

    if output is None:
        yield sys.stdout
        return
    with files.atomic(output) as temporary, temporary.open("w", encoding="utf-8", newline="") as target:
        yield target


def _table(written: "Written", rows: "Iterable[tuple[Example, Any]]", every: bool) -> None:
    """What people want to see of `lines`, and the beginning of the text where it is not among them."""
    columns, plain = written.columns(every), written.columns(False)
    columns = [*columns[: len(plain)], *map(verbatim, columns[len(plain) :])]  # labels are the user's
    chosen = [n for n, name in enumerate(columns) if n >= len(plain) or name not in PLACES]
    whole = "text" not in plain
    shown = []
    for example, prediction in rows:
        text = " ".join(f"{example.text} {example.pair or ''}".split())
        excerpt = text if len(text) <= EXCERPT else text[: EXCERPT - 3].rstrip() + "..."
        for line in written.to_rows(example, prediction, every):
            cells = [line[n] for n in chosen]
            shares = [
                f"{x:.1%}" if isinstance(x, float) and columns[n] != "number" else x
                for n, x in zip(chosen, cells, strict=True)
            ]
            shown.append((*shares, *[excerpt] * whole))
    names = [columns[n] if n >= len(plain) or columns[n] != "score" else "probability" for n in chosen]
    console.table((*names, *["text"] * whole), shown)
