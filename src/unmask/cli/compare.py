"""`unmask compare`: runs beside one another, and whether their difference on the same test rows is real."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unmask import console
from unmask.cli.help import App
from unmask.cli.reading import NOTHING, Given, read_settings, reads_rows, split_settings
from unmask.cli.shared import AsJson
from unmask.errors import UserError
from unmask.messages import language, message, translate, verbatim

if TYPE_CHECKING:
    from unmask.evaluate.saved import Predictions
    from unmask.report.compared import Comparison


def register(app: App) -> None:
    app.command(example="unmask compare runs/a runs/b --test test.csv --out compare.html")(compare)


@reads_rows(settings=False)
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN RUN... [DATA.KEY=VALUE]...",
            help="Two to six run folders; then how to read the test rows, as in a recipe.",
        ),
    ],
    test: Annotated[
        Path | None,
        typer.Option(help="Labelled rows to compare fine-tuned runs on; by default those that they were evaluated on."),
    ] = None,
    reading: Given = NOTHING,
    out: Annotated[Path | None, typer.Option(help="Write an html page with curves.")] = None,
    lang: Annotated[str | None, typer.Option(help="Language of the page: en or zh.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Compare runs with the first one: settings that differ, curves, test metrics with paired intervals."""
    from unmask import files
    from unmask.report.compared import compare_runs, page_of
    from unmask.report.page import render

    if out is not None:
        files.check_file(out)
    folders, settings = split_settings(runs)
    reading = read_settings(reading, settings)
    if test is None and reading:
        raise UserError("how to read test rows was given, but no file of test rows", hint="name the file: --test FILE")
    found = compare_runs(list(map(Path, folders)), test, partial(_predict, reading=reading))
    if out is not None:
        files.write_text(out, render(page_of(found, lang or language())))
    if as_json:
        console.print_json(found.plain())
    else:
        _show(found)
        if out is not None:
            console.print_text(str(out))


def _predict(run: Path, file: Path, reading: Given) -> "Predictions":
    from unmask.evaluate.tested import predictions_on

    with console.start_step("Evaluation") as work:
        found = predictions_on(run, file, work, reading)
        work.result("{run}: {reference:,} rows of {file}", run, len(found.reference), file)
    return found


def _show(found: "Comparison") -> None:
    from unmask.metrics import Interval, figure_of
    from unmask.report.compared import setting_of, summary
    from unmask.report.words import ENGLISH, catalogue

    words = catalogue(language())
    if found.settings:
        console.table(
            ("setting", *map(verbatim, found.names)),
            [
                (
                    setting_of(found, row, words),
                    *("-" if value is None else str(value) for value in row["values"].values()),
                )
                for row in found.settings
            ],
        )
    for kind, runs in found.stages.items():
        console.table(
            (words[f"run.{kind}"], "state", "steps", "tokens", "figure"),
            [
                (
                    name,
                    translate(run.state),
                    run.steps or "",
                    run.tokens or "",
                    run.shown_figure(words).replace("\u00a0", " "),
                )
                for name, run in zip(found.names, runs, strict=True)
            ],
        )
    tested = found.evaluation
    if tested:
        metric = tested["metric"]
        differences = {row["over"]: row[metric] for row in tested["differences"]}
        unit = ", %" if figure_of(metric).percent else ""
        console.table(
            (
                message("{rows:,} {unit} of {split}", tested["rows"], message(f"{tested['unit']}s"), tested["split"]),
                message("{metric}{unit} [95 %]", message(ENGLISH["inline." + metric]), unit),
                message("difference to {run}", found.names[0]),
            ),
            [
                (
                    model["name"],
                    Interval(**model[metric]).format(metric),
                    _against(metric, differences.get(model["name"])),
                )
                for model in tested["models"]
            ],
        )  # fmt: skip
    for sentence in summary(found, words):
        console.print_text(sentence)


def _against(metric: str, difference: dict[str, float] | None) -> str:
    """The other run less the first: `-1.2 [-2.0, -0.4]` points, or as it is where the figure is no share."""
    from unmask.report.words import gain

    if difference is None:
        return ""
    value, low, high = (gain(metric, -difference[key]) for key in ("value", "high", "low"))
    return f"{value} [{low}, {high}]"
