"""`unmask compare`: runs beside one another, and whether their difference on the same test rows is real."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unmask import console
from unmask.cli.help import App
from unmask.cli.options import AsJson
from unmask.cli.output import print_result
from unmask.cli.reading import NOTHING, SETTING, Given, read_settings, reads_rows
from unmask.errors import UserError
from unmask.messages import message

if TYPE_CHECKING:
    from unmask.evaluate.saved import Predictions
    from unmask.report.compared import Comparison

commands = App()


@commands.command(example="unmask compare runs/a runs/b --test test.csv --output compare.html")
@reads_rows(settings=False)
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN RUN... [DATA.KEY=VALUE]...",
            help="Two to six run folders; then how to read the test rows, as in a recipe.",
        ),
    ],
    test: Annotated[Path | None, typer.Option(help="Labelled rows; by default those all were evaluated on.")] = None,
    reading: Given = NOTHING,
    output: Annotated[Path | None, typer.Option(help="Write an html page with curves.")] = None,
    lang: Annotated[str | None, typer.Option(help="Language of the page: en or zh.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare runs with the first one: settings that differ, curves, test metrics with paired intervals."""
    from unmask import files
    from unmask.report.compared import compare_runs, page_of
    from unmask.report.page import render

    if output is not None:
        files.check_file(output)
    reading = read_settings(reading, [argument for argument in runs if SETTING.match(argument)])
    folders = [Path(argument) for argument in runs if not SETTING.match(argument)]
    if test is None and reading:
        raise UserError("how to read test rows was given, but no file of test rows", hint="name the file: --test FILE")
    found = compare_runs(folders, test, partial(_predict, reading=reading))
    if output is not None:
        files.write_text(output, render(page_of(found), lang))
    print_result(as_json, found.plain(), lambda _: _show(found))
    if output is not None and not as_json:
        console.print_text(str(output))


def _predict(run: Path, file: Path, reading: Given) -> "Predictions":
    from unmask.evaluate.tested import predictions_on

    with console.start_step("Evaluation") as work:
        found = predictions_on(run, file, work, reading)
        work.result("{run}: {reference:,} rows of {file}", run, len(found.reference), file)
    return found


def _show(found: "Comparison") -> None:
    from unmask.metrics import Interval, figure_of
    from unmask.report.compared import setting_of, summary
    from unmask.report.figures import population
    from unmask.report.formats import format_difference
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
    if tested := found.evaluation:
        metric = tested["metric"]
        against = {found.names[0]: ""}
        for row in tested["differences"]:  # the other run less the first
            value, low, high = (format_difference(metric, -row[metric][key]) for key in ("value", "high", "low"))
            against[row["over"]] = f"{value} [{low}, {high}]"
        unit = ", %" if figure_of(metric).percent else ""
        heads = (
            message("{population} of {split}", population(tested, items=False), tested["split"]),
            message("{metric}{unit} [95 %]", message(figure_of(metric).title), unit),
            message("difference to {run}", found.names[0]),
        )
        models = {model["name"]: Interval(**model[metric]).format(metric) for model in tested["models"]}
        console.table(heads, [(name, score, against[name]) for name, score in models.items()])
    for sentence in summary(found):
        console.print_text(sentence)
