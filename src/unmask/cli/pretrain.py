"""`unmask pretrain`: train an encoder on a corpus, as a recipe says."""

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unmask import console
from unmask.cli.shared import AsJson, Overrides, assigned, facts

if TYPE_CHECKING:
    from unmask.train.pretrain import PretrainResult


def register(app: typer.Typer) -> None:
    example = "Example: unmask pretrain tiny --corpus corpus --out runs/tiny train.budget=10m"
    app.command(epilog=example)(pretrain)


def pretrain(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="A recipe file, or tiny, small, base, bert-base, pairs, long."),
    ],
    overrides: Overrides = None,
    corpus: Annotated[Path | None, typer.Option(help="The corpus folder (unmask corpus build): data.corpus.")] = None,
    begin_from: Annotated[
        str | None,
        typer.Option("--from", help="A model to go on from, as fine-tuning takes it: init_from."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder. [default: runs/RECIPE]")] = None,
    as_json: AsJson = False,
) -> None:
    """Train an encoder on a corpus; the run folder then holds the model and its log.

    Stopped at any moment, the same command goes on where it stopped. Several processes train together when
    torchrun starts them: torchrun --nproc-per-node 2 -m unmask pretrain RECIPE.
    """
    from unmask.train.parallel import join_world
    from unmask.train.pretrain import pretrain as train
    from unmask.train.recipe import PretrainRecipe, read_recipe

    settings = [*assigned([("data.corpus", corpus), ("init_from", begin_from)]), *(overrides or [])]
    with join_world() as world:
        with world.sync_errors():
            resolved = read_recipe(PretrainRecipe, recipe, settings)
        with console.start_step("Pretraining") as work:
            folder = out or Path("runs") / Path(recipe).stem
            result = train(resolved, out=folder, progress=work, world=world)
            work.result(f"{result.steps:,} steps · {result.tokens:,} tokens · {result.tokens_per_second:,.0f} tokens/s")
    if as_json:
        facts_of = {**asdict(result), "folder": str(result.folder), "model": str(result.model)}
        console.print_text(json.dumps({**facts_of, "tokens_per_second": round(result.tokens_per_second)}))
    else:
        _show(result)


def _show(result: "PretrainResult") -> None:
    heldout = result.heldout_figures
    rows = []
    if "masked.loss" in heldout:
        rows.append(
            (
                "held-out loss",
                f"{heldout['masked.loss']:.2f} nats per hidden piece "
                f"(unigram {result.unigram_loss:.2f}, uniform {result.uniform_loss:.2f}) · "
                f"{heldout['masked.accuracy']:.1%} guessed right",
            )
        )
    if result.heldout_before is not None and "masked.loss" in result.heldout_before:
        rows.append(("before", f"{result.heldout_before['masked.loss']:.2f} nats per hidden piece"))
    if "next_sentence.loss" in heldout:
        rows.append(
            (
                "next sentence",
                f"{heldout['next_sentence.loss']:.2f} nats per pair (chance 0.69) · "
                f"{heldout['next_sentence.accuracy']:.1%} right (chance 50 %)",
            )
        )
    rows.append(("model", f"{result.model} · {result.parameters / 1e6:.1f} M parameters"))
    model = shlex.quote(str(result.model))
    following = f"finetune --model {model} --train FILE"
    if "masked.loss" in heldout:
        from unmask.text.tokenizer import Tokenizer

        following = f"fill --model {model} 'A text with a {Tokenizer.from_pretrained(result.model).mask_token} in it.'"
    facts([*rows, ("next", f"unmask {following}")])
