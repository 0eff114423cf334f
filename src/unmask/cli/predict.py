"""`unmask predict` and `unmask fill`: predictions of a fine-tuned model for rows, of a pretrained one for [MASK]."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import typer

from unmask import console, files
from unmask.cli.common.help import App
from unmask.cli.common.options import AllowUnused, AsJson, BackendName, FinetunedModel, PrecisionName
from unmask.cli.common.output import print_result
from unmask.cli.common.reading import NOTHING, Given, reads_rows
from unmask.errors import UserError
from unmask.messages import join, message, verbatim

if TYPE_CHECKING:
    from unmask.data.rows.example import Example
    from unmask.runtime.fill import FilledMask
    from unmask.runtime.formats import Format as Written

Format = Literal["jsonl", "csv", "table", "conll", "npy"]
BLOCK = 512  # rows predicted, then written, at a time
EXCERPT = 60  # characters of a text in a table
PLACES = ("line", "start", "end")  # columns that a table for people goes without

commands = App()


@commands.command(example="unmask predict runs/classify new.csv --output predicted.csv")
@reads_rows(
    "label_column",
    "label_columns",
    "label_separator",
    "missing_labels",
    "tag_column",
    "scheme",
    "span_offsets",
    "unknown_labels",
)
def predict(
    model: FinetunedModel,
    file: Annotated[str | None, typer.Argument(help="Rows in any format; - or nothing: standard input.")] = None,
    style: Annotated[
        Format | None,
        typer.Option("--format", help="conll: tags; npy: vectors. [default: by the suffix of --output, or jsonl]"),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Output file, written atomically.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Add the other labels, answers, or vectors of a pair.")] = False,
    top_k: Annotated[int | None, typer.Option(min=1, help="Number of most probable labels or answers.")] = None,
    reading: Given = NOTHING,
    allow_unused: AllowUnused = False,
    backend: BackendName = "auto",
    precision: PrecisionName = "auto",
) -> None:
    """Predict the label or labels, number, labelled spans, answer, vector or (of a pair) cosine of each row."""
    from unmask.runtime.formats import format_of
    from unmask.runtime.predictor import load

    if output is not None:
        files.check_file(output)
        if output.exists() and file not in (None, "-") and output.samefile(str(file)):
            raise UserError("{out} is the file to be read", output, hint="choose another name for --output")
    if file is None and sys.stdin.isatty():
        raise UserError("nothing to read", allowed="FILE, or texts on standard input, one a line")
    predictor = load(model, allow_unused=allow_unused, backend=backend, precision=precision)
    task, written = predictor.task, format_of(predictor.task)
    shape = _shape(written, style, output)
    if top_k is not None and not task.ranks:
        raise UserError("--top-k is for labels of whole texts and for answers")
    every = every or top_k is not None
    written.columns(every)
    read = predictor.read(file or "-", "predict", **reading)
    console.notes(read.notes)
    truncated = 0

    def predictions(work: console.Progress) -> Iterator[tuple["Example", Any]]:
        nonlocal truncated
        work.start(len(read.examples), "rows")
        for start in range(0, len(read.examples), BLOCK):
            part = read.examples[start : start + BLOCK]
            made = predictor.predict(part, top_k=top_k)
            truncated += made.notes.truncated
            yield from zip(part, made, strict=True)
            work.advance(len(part))

    with console.start_step("Prediction") as work:
        rows = predictions(work)
        if shape == "table":
            rows = iter(list(rows))  # printed when the line of work is gone
        elif shape == "npy":
            _write_array(rows, len(read.examples), output)
        else:
            _write_lines(written, rows, shape, output, every)
        work.result(join([message("{rows:,} rows", len(read.examples)), str(output) if output else None]))
    if shape == "table":
        _print_table(written, rows, every)
    if truncated:
        console.note("{count:,} texts truncated to {tokens:,} tokens", truncated, task.settings.truncates_to)


def _shape(written: "Written", style: Format | None, output: Path | None) -> str:
    """The format to write. Raises UserError for one that the model or the target does not have."""
    shape = style or ("jsonl" if output is None else written.name_for(output))
    if shape not in written.names:
        raise UserError("--format {name} is not for this model", shape, allowed=", ".join(written.names))
    if shape == "table" and output is not None:
        raise UserError("a table cannot be written to a file", allowed="--format jsonl or csv with --output")
    if shape == "npy" and output is None:
        raise UserError("an array can only be written to a file", allowed="--output vectors.npy, or --format jsonl")
    return shape


def _write_lines(
    written: "Written", rows: "Iterable[tuple[Example, Any]]", shape: str, output: Path | None, every: bool
) -> None:
    """JSON lines, rows of csv, or sentences of CoNLL."""
    with _opened(output) as target:
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


def _write_array(rows: "Iterable[tuple[Example, Any]]", count: int, output: Path | None) -> None:
    """The vectors of all rows as one array (rows, width) float32, or (rows, 2, width) of pairs, in NumPy's format."""
    import numpy as np

    assert output is not None
    with files.atomic(output) as temporary:
        target = None
        for number, (_, vector) in enumerate(rows):
            if target is None:
                shape = (count, *vector.shape)
                target = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
            target[number] = vector
        if target is not None:
            target.flush()


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[str]]:
    """The file to write, in place only when it is whole, or standard output."""
    if output is None:
        yield sys.stdout
        return
    with files.atomic(output) as temporary, temporary.open("w", encoding="utf-8", newline="") as target:
        yield target


def _print_table(written: "Written", rows: "Iterable[tuple[Example, Any]]", every: bool) -> None:
    """Print what people want to see of `_write_lines`, and the beginning of the text where it is not among that."""
    columns, own = written.columns(every), written.columns(False)  # behind `own` stand labels, the user's words
    shown = [place for place, name in enumerate(columns) if place >= len(own) or name not in PLACES]
    heads = ["probability" if name == "score" else name for name in own] + [*map(verbatim, columns[len(own) :])]
    with_text = "text" not in own
    cells = []
    for example, prediction in rows:
        text = " ".join(f"{example.text} {example.pair or ''}".split())
        excerpt = text if len(text) <= EXCERPT else text[: EXCERPT - 3].rstrip() + "..."
        for row in written.to_rows(example, prediction, every):
            values = [str(row[place]) if heads[place] == "number" else _share(row[place]) for place in shown]
            cells.append([*values, excerpt] if with_text else values)
    console.table([*(heads[place] for place in shown), *["text"] * with_text], cells)


def _share(value: object) -> object:
    """A probability in per cent; anything else as it is."""
    return f"{value:.1%}" if isinstance(value, float) else value


@commands.command(example="unmask fill runs/tiny 'Paris is the [MASK] of France.'")
def fill(
    model: Annotated[Path, typer.Argument(help="A pretrained model: a run or its model/.")],
    text: Annotated[str, typer.Argument(help="A text with [MASK], or the model's mask token, at words to predict.")],
    top_k: Annotated[int, typer.Option(min=1, help="Number of tokens to show for each [MASK].")] = 5,
    allow_unused: AllowUnused = False,
    backend: BackendName = "auto",
    precision: PrecisionName = "auto",
    as_json: AsJson = False,
) -> None:
    """Show the most probable tokens at each [MASK], predicted independently."""
    from unmask.runtime.predictor import load

    print_result(
        as_json,
        load(model, allow_unused=allow_unused, backend=backend, precision=precision).fill(text, top_k=top_k),
        _show_masks,
    )


def _show_masks(masks: "list[list[FilledMask]]") -> None:
    for number, candidates in enumerate(masks, start=1):
        title = message("[MASK] {number} of {count}", number, len(masks)) if len(masks) > 1 else None
        rows = [(one.token, f"{one.score:.1%}", one.text) for one in candidates]
        console.table(("token", "probability", "text"), rows, title)
