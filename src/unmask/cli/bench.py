"""`unmask bench`: how fast a recipe would train on this machine, and a model predict."""

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from unmask import console, files
from unmask.cli.common import options
from unmask.cli.common.help import App
from unmask.cli.common.output import print_result
from unmask.cli.common.reading import NOTHING, OF_TARGETS, Given, reads_rows
from unmask.errors import UserError, missing_extra
from unmask.messages import translate

LEAST = 1.0  # seconds

commands = App(name="bench", help="Measure the speed of a recipe, or of a model, on this machine.")


@commands.command(example="unmask bench pretrain small --corpus corpus model.num_hidden_layers=12")
def pretrain(
    recipe: options.AnyRecipe,
    overrides: options.Overrides = None,
    corpus: options.Corpus = None,
    seconds: Annotated[float, typer.Option(help="Approximate training time in seconds.")] = 20.0,
    as_json: options.AsJson = False,
) -> None:
    """Train with a recipe for some seconds and report the speed and where the time goes. Nothing is saved."""
    from unmask.data.corpus.shards import Shards
    from unmask.train.bench import run_benchmark
    from unmask.train.recipe import PretrainRecipe, read_recipe

    _check(seconds)
    resolved = read_recipe(PretrainRecipe, recipe, [*options.assigned({"data.corpus": corpus}), *(overrides or [])])
    shards = Shards.open(resolved.data.corpus)
    with console.start_step("Pretraining") as work:
        trial = run_benchmark(resolved, shards, seconds, work)
        work.result("{steps:,} steps · {speed:,.0f} tokens/s", trial["steps"], trial["speed"]["tokens_per_second"])
    print_result(as_json, trial, _show)


def _check(seconds: float) -> None:
    if not seconds >= LEAST:
        raise UserError("--seconds cannot be used", given=f"{seconds:g}", allowed=f"{LEAST:g} or more")


def _show(trial: dict[str, Any]) -> None:
    speed, parts = trial["speed"], trial["breakdown"].items()
    console.facts(speed | {"peak_memory": console.size(speed["peak_memory"]), "parameters": trial["parameters"]})
    rows = [(translate(part), f"{took:.4f}", f"{took / trial['step_seconds']:.1%}") for part, took in parts]
    console.table(("part", "seconds per step", "share"), rows)


@commands.command(example="unmask bench predict exported --output speed.html")
@reads_rows(*OF_TARGETS)
def predict(
    model: options.FinetunedModel,
    data: Annotated[str | None, typer.Option(help="Rows to predict. [default: random texts]")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Number of rows of --data, drawn at random.")] = 1000,
    length: Annotated[
        list[int] | None, typer.Option(min=8, help="Tokens of the random texts; repeatable. [default: 16 to 512]")
    ] = None,
    batch_size: Annotated[
        list[int] | None, typer.Option(min=1, help="Texts of a call; repeatable. [default: 1 and 32]")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Approximate time in seconds, after loading.")] = 60.0,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of an engine. [default: all cores]")] = None,
    reading: Given = NOTHING,
    allow_unused: options.AllowUnused = False,
    backend: options.BackendName = "auto",
    precision: options.PrecisionName = "auto",
    output: Annotated[Path | None, typer.Option(help="Page with plots (.html), or the result (.json).")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure a model with each backend and precision that runs it here: speed, latency by length and batch, memory.

    All take turns, each in a process of its own; the first call of each kind does not count.
    """
    from unmask.runtime.bench import BATCH_SIZES, LENGTHS, bench

    _check(seconds)
    if output is not None:
        if output.suffix not in (".html", ".json"):
            raise UserError("--output cannot be used", given=output, allowed="a name that ends in .html or .json")
        if output.suffix == ".html" and not find_spec("jinja2"):
            raise missing_extra("jinja2", "report", "the report page")
        files.check_file(output)
    if data is not None and length:
        raise UserError("--length is for random texts", given=f"--data {data}", hint="leave one of them out")
    with console.start_step("Prediction") as work:
        measured = bench(
            model,
            backend=backend,
            precision=precision,
            lengths=length or LENGTHS,
            batch_sizes=batch_size or BATCH_SIZES,
            file=data,
            rows=rows,
            reading=reading,
            threads=threads,
            allow_unused=allow_unused,
            seconds=seconds,
            progress=work,
        )
        work.result("{count:,} engines · {cells:,} workloads", len(measured["engines"]), len(measured["cells"]))
    if output is not None:
        _save(measured, output)
    print_result(as_json, measured, _show_speed)


def _save(measured: dict[str, Any], output: Path) -> None:
    """Write what was measured, as a page or as JSON."""
    if output.suffix == ".json":
        files.write_json(output, measured)
        return
    from unmask.report.page import render
    from unmask.report.speed import speed_page

    files.write_text(output, render(speed_page(measured, shlex.join(["unmask", *sys.argv[1:]]))))


def _show_speed(measured: dict[str, Any]) -> None:
    from unmask.report.speed import CELL_COLUMNS, ENGINE_COLUMNS, cell_row, engine_row, machine_facts

    console.facts(machine_facts(measured["machine"]))
    console.table(ENGINE_COLUMNS, [engine_row(one) for one in measured["engines"]])
    console.table(CELL_COLUMNS, [cell_row(one) for one in measured["cells"]])
    console.notes(measured["notes"])
