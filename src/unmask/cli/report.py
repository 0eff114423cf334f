"""`unmask report`: make the page of a run again from its folder."""

from pathlib import Path
from typing import Annotated

import typer

from unmask import console
from unmask.cli.help import App

commands = App()


@commands.command(example="unmask report runs/quickstart --lang zh --output report-zh.html")
def report(
    run: Annotated[Path, typer.Argument(help="A run folder: quick start, pretrain, finetune.")],
    output: Annotated[Path | None, typer.Option(help="The html file. [default: report.html in the run folder]")] = None,
    lang: Annotated[str | None, typer.Option(help="en or zh; the language of the run if not given.")] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Write the report of a run as one html file that needs nothing from outside, and print its path."""
    from unmask import files
    from unmask.report import write_report

    if output is not None:
        files.check_file(output)
    path = write_report(run, output, lang)
    console.print_text(str(path))
    if open_it and typer.launch(path.resolve().as_uri()) != 0:
        console.note("no browser could be opened; the page is there")
