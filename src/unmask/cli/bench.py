"""`unmask bench`: how fast a recipe would run on this machine, and where its time would go."""

from typing import Annotated, Any

import typer

from unmask import console
from unmask.cli.common import options
from unmask.cli.common.help import App
from unmask.cli.common.output import print_result
from unmask.errors import UserError
from unmask.messages import translate

LEAST = 1.0  # seconds

commands = App(name="bench", help="Measure the speed of a recipe on this machine.")


@commands.command(example="unmask bench pretrain small --corpus corpus model.num_hidden_layers=12")
def pretrain(
    recipe: options.AnyRecipe,
    overrides: options.Overrides = None,
    corpus: options.Corpus = None,
    seconds: Annotated[float, typer.Option(help="Approximate training time in seconds.")] = 20.0,
    as_json: options.AsJson = False,
) -> None:
    """Train with a recipe for some seconds and report the speed and where the time goes. Nothing is saved."""
    from unmask.data.corpus.shards import Shards
    from unmask.train.bench import run_benchmark
    from unmask.train.recipe import PretrainRecipe, read_recipe

    if not seconds >= LEAST:
        raise UserError("--seconds cannot be used", given=f"{seconds:g}", allowed=f"{LEAST:g} or more")
    resolved = read_recipe(PretrainRecipe, recipe, [*options.assigned({"data.corpus": corpus}), *(overrides or [])])
    shards = Shards.open(resolved.data.corpus)
    with console.start_step("Pretraining") as work:
        trial = run_benchmark(resolved, shards, seconds, work)
        work.result("{steps:,} steps · {speed:,.0f} tokens/s", trial["steps"], trial["speed"]["tokens_per_second"])
    print_result(as_json, trial, _show)


def _show(trial: dict[str, Any]) -> None:
    speed, parts = trial["speed"], trial["breakdown"].items()
    console.facts(speed | {"peak_memory": console.size(speed["peak_memory"]), "parameters": trial["parameters"]})
    rows = [(translate(part), f"{took:.4f}", f"{took / trial['step_seconds']:.1%}") for part, took in parts]
    console.table(("part", "seconds per step", "share"), rows)
