"""`unmask pretrain`: train an encoder on a corpus, as a recipe says."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unmask import console
from unmask.cli.common import options
from unmask.cli.common.help import App
from unmask.cli.common.output import print_result
from unmask.messages import message

if TYPE_CHECKING:
    from unmask.train.pretrain import PretrainResult

commands = App()


@commands.command(example="unmask pretrain tiny --corpus corpus --output runs/tiny train.budget=10m")
def pretrain(
    recipe: options.AnyRecipe,
    overrides: options.Overrides = None,
    corpus: options.Corpus = None,
    begin_from: Annotated[str | None, typer.Option("--from", help="The model to continue from: init_from.")] = None,
    lr: options.LearningRate = None,
    epochs: options.Epochs = None,
    max_length: options.MaxLength = None,
    seed: options.Seed = None,
    output: options.RunFolder = None,
    allow_unused: options.AllowUnused = False,
    as_json: options.AsJson = False,
) -> None:
    """Train an encoder on a corpus; write the model and its log to the run folder.

    Resumes after an interruption when the same command is run again. Trains with several processes under
    torchrun: torchrun --nproc-per-node 2 -m unmask pretrain RECIPE.
    """
    from unmask.train.pretrain import pretrain as train
    from unmask.train.recipe import PretrainRecipe, read_recipe
    from unmask.train.steps.parallel import join_world

    keys = {"data.corpus": corpus, "init_from": begin_from, "data.max_length": max_length}
    settings = [*options.assigned(keys | options.recipe_settings(lr, epochs, seed, allow_unused)), *(overrides or [])]
    with join_world() as world:
        with world.sync_errors():
            resolved = read_recipe(PretrainRecipe, recipe, settings)
        with console.start_step("Pretraining") as work:
            folder = output or Path("runs") / Path(recipe).stem
            result = train(resolved, output=folder, progress=work, world=world)
            work.result("{run.steps:,} steps · {run.tokens:,} tokens · {run.tokens_per_second:,.0f} tokens/s", result)
    plain = {**asdict(result), "model": result.model, "tokens_per_second": round(result.tokens_per_second)}
    print_result(as_json, plain, lambda _: _show(result))


def _show(result: "PretrainResult") -> None:
    from unmask.text.tokenizer import Tokenizer

    heldout, before = result.heldout_figures, result.heldout_before
    facts: dict[str, object] = {}
    following = "unmask finetune --model {model} --train FILE"
    if "masked.loss" in heldout:
        facts["held-out loss"] = message(
            "{heldout[masked.loss]:.2f} nats per masked token (unigram {run.unigram_loss:.2f}, uniform "
            "{run.uniform_loss:.2f}) · {heldout[masked.accuracy]:.1%} correct",
            heldout,
            result,
        )
        mask = Tokenizer.from_pretrained(result.model).mask_token
        following = f"unmask fill {{model}} 'A text with a {mask} in it.'"
    if before is not None and "masked.loss" in before:
        facts["before"] = message("{heldout[masked.loss]:.2f} nats per masked token", before)
    if "next_sentence.loss" in heldout:
        facts["next sentence"] = message(
            "{heldout[next_sentence.loss]:.2f} nats per pair (chance 0.69) · "
            "{heldout[next_sentence.accuracy]:.1%} correct (chance 50 %)",
            heldout,
        )
    facts["model"] = message("{model} · {parameters:.1f} M parameters", result.model, result.parameters / 1e6)
    facts["next"] = following.format(model=shlex.quote(str(result.model)))
    console.facts(facts)
