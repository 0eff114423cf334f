"""`unmask export`: a model as other libraries read it."""

from pathlib import Path
from typing import Annotated

import typer

from unmask import console
from unmask.cli.help import App
from unmask.cli.options import AllowUnused, AnyModel, AsJson
from unmask.cli.output import print_result
from unmask.errors import UserError

FORMATS = ("hf", "sentence-transformers")

commands = App()


@commands.command(example="unmask export runs/classify --output exported")
def export(
    model: AnyModel,
    output: Annotated[Path, typer.Option(help="The output folder.")],
    format: Annotated[str, typer.Option(help="hf (transformers), or sentence-transformers for text vectors.")] = "hf",
    allow_unused: AllowUnused = False,
    as_json: AsJson = False,
) -> None:
    """Write a model so that an unmodified transformers, or sentence-transformers, computes the same with it."""
    from unmask import bundle
    from unmask.bundle.public import export as write
    from unmask.bundle.sentence_transformers import MODULES

    if format not in FORMATS:
        raise UserError("this format is not known", given=f"--format {format}", allowed=", ".join(FORMATS))
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError("{out} is there already", output, hint="remove it, or choose another --output")
    opened = bundle.read(model, allow_unused=allow_unused)
    architecture = write(opened, output, sentences=format == FORMATS[1])
    print_result(as_json, {"folder": str(output), "architecture": architecture}, console.facts)
    if opened.task is not None and architecture.endswith("Model") and not (output / MODULES).is_file():
        console.note("other libraries do not know the head of this task: the encoder alone was written")
