"""`unmask export`: a model as other libraries read it."""

from pathlib import Path
from typing import Annotated

import typer

from unmask import console
from unmask.cli.help import App
from unmask.cli.shared import AllowUnused, AsJson, facts

FORMATS = ("hf", "sentence-transformers")


def register(app: App) -> None:
    app.command(example="unmask export runs/classify --output exported")(export)


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A run, a model folder, or a public checkpoint.")],
    output: Annotated[Path, typer.Option(help="The output folder.")],
    format: Annotated[
        str,
        typer.Option(
            help="hf: the layout of the model hub, which transformers loads; sentence-transformers: the same for that "
            "library, of models for vectors of texts."
        ),
    ] = "hf",
    allow_unused: AllowUnused = False,
    as_json: AsJson = False,
) -> None:
    """Write a model so that an unmodified transformers, or sentence-transformers, computes the same with it."""
    from unmask import bundle
    from unmask.bundle.sentence_transformers import MODULES
    from unmask.errors import UserError

    if format not in FORMATS:
        raise UserError("this format is not known", given=f"--format {format}", allowed=", ".join(FORMATS))
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError("{out} is there already", output, hint="remove it, or choose another --output")
    opened = bundle.read(model, allow_unused=allow_unused)
    architecture = bundle.export(opened, output, sentences=format == FORMATS[1])
    if as_json:
        console.print_json({"folder": str(output), "architecture": architecture})
        return
    facts([("model", str(output)), ("class", architecture)])
    if opened.task is not None and architecture.endswith("Model") and not (output / MODULES).is_file():
        console.note("other libraries do not know the head of this task: the encoder alone was written")
