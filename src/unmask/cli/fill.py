"""`unmask fill`: what a pretrained model expects at each [MASK] of a text."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unmask import console
from unmask.cli.help import App
from unmask.cli.options import AsJson
from unmask.cli.output import print_result
from unmask.messages import message

if TYPE_CHECKING:
    from unmask.runtime.fill import FilledMask

commands = App()


@commands.command(example="unmask fill runs/tiny 'Paris is the [MASK] of France.'")
def fill(
    model: Annotated[Path, typer.Argument(help="A pretrained model: a run or its model/.")],
    text: Annotated[str, typer.Argument(help="A text with [MASK], or the model's mask token, at words to predict.")],
    top_k: Annotated[int, typer.Option(min=1, help="Number of tokens to show for each [MASK].")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show the most probable tokens at each [MASK], predicted independently."""
    from unmask.runtime.predictor import load

    print_result(as_json, load(model).fill(text, top_k=top_k), _show)


def _show(masks: "list[list[FilledMask]]") -> None:
    for number, candidates in enumerate(masks, start=1):
        title = message("[MASK] {number} of {count}", number, len(masks)) if len(masks) > 1 else None
        rows = [(one.token, f"{one.score:.1%}", one.text) for one in candidates]
        console.table(("token", "probability", "text"), rows, title)
