"""`unmask bench`: how fast a recipe would run on this machine, and where its time would go."""

from pathlib import Path
from typing import Annotated, Any

import typer

from unmask import console
from unmask.cli.help import App
from unmask.cli.shared import AsJson, Overrides, assigned, facts
from unmask.errors import UserError
from unmask.messages import message, translate

LEAST = 1.0  # seconds

noun = App(help="Measure the speed of a recipe on this machine.")


def register(app: App) -> None:
    app.add_typer(noun, name="bench")


@noun.callback()
def only_here_to_keep_the_name() -> None:
    """With one command alone, typer would leave out its name."""


@noun.command(example="unmask bench pretrain small --corpus corpus model.num_hidden_layers=12")
def pretrain(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="A recipe file, or tiny, small, base, bert-base, pairs, long."),
    ],
    overrides: Overrides = None,
    corpus: Annotated[Path | None, typer.Option(help="The corpus folder (unmask corpus build): data.corpus.")] = None,
    seconds: Annotated[float, typer.Option(help="Approximate training time in seconds.")] = 20.0,
    as_json: AsJson = False,
) -> None:
    """Train with a recipe for some seconds and report the speed and where the time goes. Nothing is saved."""
    from unmask.data.corpus.shards import Shards
    from unmask.train.bench import run_benchmark
    from unmask.train.recipe import PretrainRecipe, read_recipe

    if not seconds >= LEAST:
        raise UserError("--seconds cannot be used", given=f"{seconds:g}", allowed=f"{LEAST:g} or more")
    settings = [*assigned([("data.corpus", corpus)]), *(overrides or [])]
    resolved = read_recipe(PretrainRecipe, recipe, settings)
    shards = Shards.open(resolved.data.corpus)
    with console.start_step("Pretraining") as work:
        trial = run_benchmark(resolved, shards, seconds, work)
        rate = trial["speed"]["tokens_per_second"]
        work.result("{steps:,} steps · {speed:,.0f} tokens/s", trial["steps"], rate)
    if as_json:
        console.print_json(trial)
    else:
        _show(trial)


def _show(trial: dict[str, Any]) -> None:
    speed = trial["speed"]
    share, rate = speed["gemm_share"], speed["gemm_rate"] / 1e9
    rows = [
        ("tokens/s", f"{speed['tokens_per_second']:,.0f}"),
        ("gemm share", message("{share:.1%} of the {rate:,.0f} GFLOP/s of the matrix products alone", share, rate)),
    ]
    if speed["mfu"] is not None:
        rows.append(("MFU", message("{mfu:.1%} of the published peak", speed["mfu"])))
    rows += [
        ("data wait", message("{share:.1%} of the time", speed["data_wait"])),
        ("peak memory", console.size(speed["peak_memory"])),
        ("device", f"{speed['device']} · {speed['dtype']}"),
        ("threads", str(speed["threads"])),
        ("parameters", f"{trial['parameters'] / 1e6:.1f} M"),
    ]
    facts(rows)
    console.table(
        ("part", "seconds per step", "share"),
        [
            (translate(part), f"{took:.4f}", f"{took / trial['step_seconds']:.1%}")
            for part, took in trial["breakdown"].items()
        ],
    )
