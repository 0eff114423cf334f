"""`unmask pretrain`: train an encoder on a corpus, as a recipe says."""

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unmask import console
from unmask.cli.help import App
from unmask.cli.shared import AsJson, Epochs, LearningRate, Overrides, Seed, assigned, facts, training_settings
from unmask.messages import message

if TYPE_CHECKING:
    from unmask.train.pretrain import PretrainResult


def register(app: App) -> None:
    example = "unmask pretrain tiny --corpus corpus --output runs/tiny train.budget=10m"
    app.command(example=example)(pretrain)


def pretrain(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="A recipe file, or tiny, small, base, bert-base, pairs, long."),
    ],
    overrides: Overrides = None,
    corpus: Annotated[Path | None, typer.Option(help="The corpus folder (unmask corpus build): data.corpus.")] = None,
    begin_from: Annotated[
        str | None,
        typer.Option("--from", help="A model to continue from, as in fine-tuning: init_from."),
    ] = None,
    lr: LearningRate = None,
    epochs: Epochs = None,
    max_length: Annotated[
        int | None, typer.Option(help="Longest sequence in tokens: data.max_length.", show_default=False)
    ] = None,
    seed: Seed = None,
    output: Annotated[Path | None, typer.Option(help="The run folder. [default: runs/RECIPE]")] = None,
    as_json: AsJson = False,
) -> None:
    """Train an encoder on a corpus; the run folder then holds the model and its log.

    Stopped at any moment, the same command goes on where it stopped. Several processes train together when
    torchrun starts them: torchrun --nproc-per-node 2 -m unmask pretrain RECIPE.
    """
    from unmask.train.parallel import join_world
    from unmask.train.pretrain import pretrain as train
    from unmask.train.recipe import PretrainRecipe, read_recipe

    shorthands = [
        ("data.corpus", corpus),
        ("init_from", begin_from),
        ("data.max_length", max_length),
        *training_settings(lr, epochs, seed),
    ]
    settings = [*assigned(shorthands), *(overrides or [])]
    with join_world() as world:
        with world.sync_errors():
            resolved = read_recipe(PretrainRecipe, recipe, settings)
        with console.start_step("Pretraining") as work:
            folder = output or Path("runs") / Path(recipe).stem
            result = train(resolved, output=folder, progress=work, world=world)
            work.result("{run.steps:,} steps · {run.tokens:,} tokens · {run.tokens_per_second:,.0f} tokens/s", result)
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
                message(
                    "{heldout[masked.loss]:.2f} nats per masked token (unigram {run.unigram_loss:.2f}, uniform "
                    "{run.uniform_loss:.2f}) · {heldout[masked.accuracy]:.1%} correct",
                    heldout,
                    result,
                ),
            )
        )
    if result.heldout_before is not None and "masked.loss" in result.heldout_before:
        before = message("{heldout[masked.loss]:.2f} nats per masked token", result.heldout_before)
        rows.append(("before", before))
    if "next_sentence.loss" in heldout:
        rows.append(
            (
                "next sentence",
                message(
                    "{heldout[next_sentence.loss]:.2f} nats per pair (chance 0.69) · "
                    "{heldout[next_sentence.accuracy]:.1%} correct (chance 50 %)",
                    heldout,
                ),
            )
        )
    rows.append(("model", message("{model} · {parameters:.1f} M parameters", result.model, result.parameters / 1e6)))
    model = shlex.quote(str(result.model))
    following = f"finetune --model {model} --train FILE"
    if "masked.loss" in heldout:
        from unmask.text.tokenizer import Tokenizer

        following = f"fill {model} 'A text with a {Tokenizer.from_pretrained(result.model).mask_token} in it.'"
    facts([*rows, ("next", f"unmask {following}")])
