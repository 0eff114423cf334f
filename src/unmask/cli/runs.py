"""`unmask report`, `unmask runs` and `unmask compare`: the page of a run, lists of runs, runs beside one another."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unmask import console, files
from unmask.cli.common.help import DATA_KEYS, App
from unmask.cli.common.options import AsJson
from unmask.cli.common.output import print_result, scores_table
from unmask.cli.common.reading import NOTHING, SETTING, Given, read_settings, reads_rows
from unmask.errors import UserError

if TYPE_CHECKING:
    from unmask.evaluate.predictions import Predictions
    from unmask.report.compare import Comparison
    from unmask.report.runs import RunInfo

COLUMNS = ("run", "kind", "state", "what", "budget", "steps", "tokens", "figure", "begun (UTC)")

commands = App()


@commands.command(example="unmask report runs/quickstart --lang zh --output report-zh.html")
def report(
    run: Annotated[Path, typer.Argument(help="A run folder: quick start, pretrain, finetune.")],
    output: Annotated[Path | None, typer.Option(help="The html file. [default: report.html in the run folder]")] = None,
    lang: Annotated[str | None, typer.Option(help="en or zh. [default: the language of the run]")] = None,
) -> None:
    """Write the report of a run as one self-contained html file and print its path."""
    from unmask.report import write_report

    if output is not None:
        files.check_file(output)
    console.print_text(str(write_report(run, output, lang)))


@commands.command(example="unmask runs")
def runs(
    folder: Annotated[Path, typer.Argument(help="Folder to search.")] = Path("runs"), as_json: AsJson = False
) -> None:
    """List the runs below a folder, the newest last. Damaged ones are listed as such, with the reason."""
    from unmask.report.runs import find_runs

    found = find_runs(folder)
    print_result(as_json, [run.plain() for run in found], lambda _: _show_runs(found))
    if not found:
        console.note("no runs below {folder}", folder)


def _show_runs(found: "list[RunInfo]") -> None:
    from unmask.report.runs import run_facts

    if found:
        console.table(COLUMNS, [run_facts(run) for run in found])


@commands.command(example="unmask compare runs/a runs/b --test test.csv --output compare.html")
@reads_rows(settings=False)
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(metavar=f"RUN RUN... {DATA_KEYS}", help="Two to six run folders; how to read the rows."),
    ],
    test: Annotated[Path | None, typer.Option(help="Labelled rows; by default those common to all runs.")] = None,
    reading: Given = NOTHING,
    output: Annotated[Path | None, typer.Option(help="Write an html page with curves.")] = None,
    lang: Annotated[str | None, typer.Option(help="Language of the page: en or zh.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare runs with the first one: settings that differ, curves, test metrics with paired intervals."""
    from unmask.report.compare import compare_runs, page_of
    from unmask.report.page import render

    if output is not None:
        files.check_file(output)
    reading = read_settings(reading, [argument for argument in runs if SETTING.match(argument)])
    folders = [Path(argument) for argument in runs if not SETTING.match(argument)]
    if test is None and reading:
        raise UserError("options for reading test rows need a file of test rows", hint="name the file: --test FILE")
    found = compare_runs(folders, test, partial(_predict, reading=reading))
    if output is not None:
        files.write_text(output, render(page_of(found), lang))
    print_result(as_json, found.plain(), lambda _: _show_comparison(found))
    if output is not None and not as_json:
        console.print_text(str(output))


def _predict(run: Path, file: Path, reading: Given) -> "Predictions":
    from unmask.evaluate.predictions import predictions_on

    with console.start_step("Evaluation") as work:
        found = predictions_on(run, file, work, reading)
        work.result("{run}: {reference:,} rows of {file}", run, len(found.reference), file)
    return found


def _show_comparison(found: "Comparison") -> None:
    from unmask.report.compare import setting_of, summary
    from unmask.report.runs import TITLES

    if found.settings:
        settings = [(setting_of(found, row), *row["values"].values()) for row in found.settings]
        console.table(("setting", *found.names), settings)
    for kind, runs in found.stages.items():
        states = [
            (name, run.shown_state, run.steps or "", run.tokens or "", run.shown_figure)
            for name, run in zip(found.names, runs, strict=True)
        ]
        console.table((TITLES[kind], "state", "steps", "tokens", "figure"), states)
    if found.evaluation:
        scores_table(found.evaluation)
    for sentence in summary(found):
        console.print_text(sentence)
