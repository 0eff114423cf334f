"""`unmask fill`: what a pretrained model expects at each [MASK] of a text."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from unmask import console
from unmask.cli.help import App
from unmask.cli.shared import AsJson
from unmask.messages import message


def register(app: App) -> None:
    app.command(example="unmask fill runs/tiny 'Paris is the [MASK] of France.'")(fill)


def fill(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A pretrained model: a run or its model/.")],
    text: Annotated[
        str,
        typer.Argument(
            metavar="TEXT",
            help="A text with [MASK], or the mask token of the model's tokenizer (<mask>), at the words to predict.",
        ),
    ],
    top_k: Annotated[int, typer.Option(min=1, help="Number of tokens to show for each [MASK].")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show the most probable tokens at each [MASK], predicted independently."""
    from unmask.runtime.predictor import load

    masks = load(model).fill(text, top_k=top_k)
    if as_json:
        console.print_text(
            json.dumps([[asdict(one) for one in candidates] for candidates in masks], ensure_ascii=False)
        )
        return
    for number, candidates in enumerate(masks, start=1):
        console.table(
            ("token", "probability", "text"),
            [(one.token, f"{one.score:.1%}", one.text) for one in candidates],
            title=message("[MASK] {number} of {count}", number, len(masks)) if len(masks) > 1 else None,
        )
