"""`unmask predict` and `unmask fill`: predictions of a fine-tuned model for rows, of a pretrained one for [MASK]."""

import gc
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from unmask import console, files
from unmask.cli.common.help import App
from unmask.cli.common.options import AllowUnused, AsJson, BackendName, FinetunedModel, PrecisionName
from unmask.cli.common.output import print_result
from unmask.cli.common.reading import NOTHING, OF_TARGETS, Given, reads_rows
from unmask.cli.predict_output import (
    State,
    check_conditions,
    encode_vectors,
    finish_array,
    is_special,
    line_encoder,
    open_part,
    open_whole,
    read_state,
)
from unmask.errors import UserError
from unmask.messages import join, message, verbatim
from unmask.version import __version__

if TYPE_CHECKING:
    from unmask.data.rows.example import Example
    from unmask.runtime.fill import FilledMask
    from unmask.runtime.formats import Format as Written
    from unmask.runtime.predictor import Predictor

Format = Literal["jsonl", "csv", "table", "conll", "npy"]
EXCERPT = 60  # characters of a text in a table
PLACES = ("line", "start", "end")  # columns that a table for people goes without

commands = App()


@commands.command(example="unmask predict runs/classify new.csv --output predicted.csv")
@reads_rows(*OF_TARGETS)
def predict(
    model: FinetunedModel,
    file: Annotated[str | None, typer.Argument(help="Rows in any format; - or nothing: standard input.")] = None,
    style: Annotated[
        Format | None,
        typer.Option("--format", help="conll: tags; npy: vectors. [default: by the suffix of --output, or jsonl]"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Output file, written atomically; continued after an interruption.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Add the other labels, answers, or vectors of a pair.")] = False,
    top_k: Annotated[int | None, typer.Option(min=1, help="Number of most probable labels or answers.")] = None,
    reading: Given = NOTHING,
    allow_unused: AllowUnused = False,
    backend: BackendName = "auto",
    precision: PrecisionName = "auto",
    restart: Annotated[bool, typer.Option("--restart", help="Begin again where --output could be continued.")] = False,
) -> None:
    """Predict the label or labels, number, labelled spans, answer, vector or (of a pair) cosine of each row.

    Rows are read, predicted and written a block at a time. Run again after an interruption, the same command continues
    FILE --output (from a file, not from standard input), and writes the same bytes.
    """
    if output is not None:
        files.check_file(output)
        if file is not None and Path(file).exists() and output.exists() and output.samefile(file):
            raise UserError("{out} is the file to be read", output, hint="choose another name for --output")
    if file is None and (not sys.stdin or sys.stdin.isatty()):  # none: closed, as some that start programs leave it
        raise UserError("nothing to read", allowed="FILE, or texts on standard input, one a line")
    job = Job(model, file or "-", output)
    state = None if restart or not job.can_continue else read_state(job.target)
    predictor = job.open(state, backend, precision, allow_unused)
    from unmask.runtime.formats import format_of

    gc.freeze()  # looking for cycles in all that was loaded, with each block anew, takes longer than to read the rows
    task, written = predictor.task, format_of(predictor.task)
    shape = _shape(written, style, output)
    if top_k is not None and not task.ranks:
        raise UserError("--top-k is for labels of whole texts and for answers")
    every = every or top_k is not None
    written.columns(every)
    encode = encode_vectors if shape == "npy" else line_encoder(written, shape, every)
    table: list[tuple[Example, Any]] = []
    with ExitStack() as stack:
        rows = predictor.open_rows(file or "-", stack=stack, **reading)
        console.notes(rows.log.notes if rows.whole else rows.log.remarks)
        work = stack.enter_context(console.start_step("Prediction"))
        conditions = job.conditions(predictor, {"format": shape, "all": every, "top_k": top_k, "reading": reading})
        out = stack.enter_context(job.open_output(state, conditions, finish_array if shape == "npy" else None))
        work.start(len(rows.examples) if isinstance(rows.examples, list) else None, "rows")
        work.resume(out.state.rows)
        if out.state.rows:
            console.note("{path}: continued after {rows:,} rows", output, out.state.rows)
        for examples, made in predictor.stream_blocks(islice(rows.examples, out.state.rows, None), top_k=top_k):
            data = b"" if shape == "table" else encode(examples, made, out.state.rows == 0)
            table += zip(examples, made, strict=True) if shape == "table" else ()  # printed when the bar is gone
            out.write(data, len(examples), made.notes.truncated)
            work.advance(len(examples))
        work.result(join([message("{rows:,} rows", out.state.rows), str(output) if output else None]))
    console.notes(rows.log.notes)
    if shape == "table":
        _print_table(written, table, every)
    if truncated := out.state.truncated:
        console.note("{count:,} texts truncated to {tokens:,} tokens", truncated, task.settings.truncates_to)


@dataclass(frozen=True)
class Job:
    """What is predicted, and where to."""

    model: Path | str
    source: str
    output: Path | None

    @property
    def target(self) -> Path:
        assert self.output is not None
        return self.output

    @property
    def can_continue(self) -> bool:
        """Whether an interrupted command can be continued: what can be read again is written to a file."""
        return self.output is not None and not is_special(self.output) and Path(self.source).is_file()

    def open(self, state: State | None, backend: str, precision: str, allow_unused: bool) -> "Predictor":
        """Open the model; to continue with, what was chosen when the output was begun."""
        from unmask.runtime.backend import open_engine
        from unmask.runtime.manifest import model_folder

        threads = None
        if state is not None:
            if (folder := model_folder(self.model)).is_dir():  # before another model is asked for its networks
                named = {"backend": backend, "precision": precision}
                named = {name: value for name, value in named.items() if value != "auto"}
                named |= {"model": _model(folder), "file": files.sha256(self.source)}
                check_conditions(self.target, state, named)
            chosen, threads = state.conditions, state.conditions["threads"]
            backend = chosen["backend"] if backend == "auto" else backend
            precision = chosen["precision"] if precision == "auto" else precision
        engine = open_engine(self.model, backend, precision, threads=threads, allow_unused=allow_unused)
        from unmask.runtime.predictor import Predictor  # while the network is opened in a thread

        if threads is not None and not hasattr(engine, "threads"):
            import torch

            torch.set_num_threads(threads)
        return Predictor(engine)

    def conditions(self, predictor: "Predictor", options: Mapping[str, Any]) -> dict[str, Any]:
        """What the output depends on, save `on_error`, which changes no row that is written."""
        engine: Any = predictor.engine
        if not self.can_continue:
            return {}
        reading = {name: value for name, value in options["reading"].items() if name != "on_error"}
        threads = getattr(engine, "threads", None)
        if threads is None:
            import torch

            threads = torch.get_num_threads()
        return {
            "unmask": __version__,
            "file": files.sha256(self.source),
            "model": _model(predictor.manifest.folder),
            "backend": getattr(engine, "name", "torch"),
            "precision": engine.precision,
            "device": getattr(engine, "device", "cpu"),
            "threads": threads,
            **options,
            "reading": reading,
        }

    def open_output(self, state: State | None, conditions: Mapping[str, Any], finish: Any) -> Any:
        """Open what is written to. finish: as `open_part` takes it."""
        finish = finish or (lambda stream, rows: None)
        if not self.can_continue:
            return open_whole(self.output, finish)
        if state is not None:
            check_conditions(self.target, state, conditions)
        return open_part(self.target, state or State(conditions), finish)


def _model(folder: Path) -> str:
    """One checksum of a model folder."""
    from unmask.runtime.manifest import checksums

    return hashlib.sha256(json.dumps(checksums(folder), sort_keys=True).encode()).hexdigest()


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


def _print_table(written: "Written", rows: "Iterable[tuple[Example, Any]]", every: bool) -> None:
    """Print the columns that people want to see, and the beginning of the text where it is not among that."""
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
