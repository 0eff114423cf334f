"""`unmask runs`: which runs lie below a folder, how far they came, how good they are."""

from pathlib import Path
from typing import Annotated

import typer

from unmask import console
from unmask.cli.shared import AsJson

COLUMNS = ("run", "kind", "state", "what", "budget", "steps", "tokens", "figure", "begun (UTC)")


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: unmask runs")(runs)


def runs(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where to look.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """List the runs below a folder, the newest last. Damaged ones are listed as such, with the reason."""
    from unmask.language import language
    from unmask.report.runs import find_runs, run_facts
    from unmask.report.words import catalogue

    found = find_runs(folder)
    if as_json:
        console.print_json([run.plain() for run in found])
        return
    if not found:
        console.note(f"there are no runs below {folder}")
        return
    words = catalogue(language())
    console.table(COLUMNS, [run_facts(run, words) for run in found], prose=(2, 3, 7))
