"""`unmask runs`: which runs lie below a folder, how far they came, how good they are."""

from pathlib import Path
from typing import Annotated

import typer

from unmask import console
from unmask.cli.help import App
from unmask.cli.shared import AsJson

COLUMNS = ("run", "kind", "state", "what", "budget", "steps", "tokens", "figure", "begun (UTC)")


def register(app: App) -> None:
    app.command(example="unmask runs")(runs)


def runs(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where to look.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """List the runs below a folder, the newest last. Damaged ones are listed as such, with the reason."""
    from unmask.report.runs import find_runs, run_facts

    found = find_runs(folder)
    if as_json:
        console.print_json([run.plain() for run in found])
        return
    if not found:
        console.note("there are no runs below {folder}", folder)
        return
    console.table(COLUMNS, [run_facts(run) for run in found])
