"""`unmask runs`: which runs lie below a folder, how far they came, how good they are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unmask import console
from unmask.cli.help import App
from unmask.cli.options import AsJson
from unmask.cli.output import print_result

if TYPE_CHECKING:
    from unmask.report.runs import RunInfo

COLUMNS = ("run", "kind", "state", "what", "budget", "steps", "tokens", "figure", "begun (UTC)")

commands = App()


@commands.command(example="unmask runs")
def runs(
    folder: Annotated[Path, typer.Argument(help="Where to look.")] = Path("runs"), as_json: AsJson = False
) -> None:
    """List the runs below a folder, the newest last. Damaged ones are listed as such, with the reason."""
    from unmask.report.runs import find_runs

    found = find_runs(folder)
    print_result(as_json, [run.plain() for run in found], lambda _: _show(found))
    if not found:
        console.note("there are no runs below {folder}", folder)


def _show(found: "list[RunInfo]") -> None:
    from unmask.report.runs import run_facts

    if found:
        console.table(COLUMNS, [run_facts(run) for run in found])
