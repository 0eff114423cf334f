"""`unmask recipe`: show a recipe with everything written out, explain its settings, check it before a run."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from unmask import console
from unmask.cli.help import App
from unmask.cli.shared import AsJson, Overrides, print_notes
from unmask.messages import join, message, translate

if TYPE_CHECKING:
    from unmask.train.recipe import FinetuneRecipe, PretrainRecipe

noun = App(help="Recipes: show one in full, explain its settings, check it before a run.")

Recipe = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe file, or the name of one that comes with unmask.")
]


def register(app: App) -> None:
    app.add_typer(noun, name="recipe")


@noun.command(example="unmask recipe show small model.num_hidden_layers=8 > recipes/mine.yaml")
def show(recipe: Recipe, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Print a recipe complete: every default written out, settings replaced."""
    from unmask.config import dump, to_yaml
    from unmask.train.recipe import KINDS, read_recipe, recipe_kind

    resolved = read_recipe(KINDS[recipe_kind(recipe)], recipe, overrides or [])
    console.print_text(json.dumps(dump(resolved), ensure_ascii=False) if as_json else to_yaml(resolved).rstrip())


@noun.command(example="unmask recipe explain train.schedule")
def explain(
    key: Annotated[
        str,
        typer.Argument(metavar="[KEY]", help="A dotted key; nothing for all settings.", show_default=False),
    ] = "",
    kind: Annotated[
        Literal["pretrain", "finetune"] | None, typer.Option(help="Of which recipes; of both if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Explain the settings at a key: allowed values, default, description."""
    from unmask.train.explain import explain as explained

    groups = explained(key, kind)
    if as_json:
        console.print_text(json.dumps([asdict(group) for group in groups], ensure_ascii=False))
        return
    for group in groups:
        title = join([group.title or message("the recipe"), " and ".join(group.kinds)])
        console.print_text(f"{translate(title)}\n{translate(group.description)}")
        console.table(
            ("setting", "allowed", "default", "what it is"),
            [(one.name, one.allowed, one.default, translate(one.description)) for one in group.settings],
        )


@noun.command(example="unmask recipe check small data.corpus=corpus")
def check(recipe: Recipe, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Check a recipe and the files that it names, without training."""
    from unmask.train.recipe import KINDS, read_recipe, recipe_kind

    kind = recipe_kind(recipe)
    resolved: Any = read_recipe(KINDS[kind], recipe, overrides or [])
    found = _pretraining(resolved) if kind == "pretrain" else _finetuning(resolved)
    if as_json:
        console.print_text(json.dumps({"recipe": recipe, "ok": True, **found}, ensure_ascii=False))
        return
    numbers = [message("{count:,} {unit}", value, message(name.replace("_", " "))) for name, value in found.items()]
    console.print_text(join([f"ok: {recipe}", *numbers]))


def _pretraining(recipe: "PretrainRecipe") -> dict[str, int]:
    import torch

    from unmask.data.corpus.shards import Shards
    from unmask.train.pretrain import build_learner, fit_to_corpus

    shards = Shards.open(recipe.data.corpus)
    recipe = fit_to_corpus(recipe, shards.tokenizer)
    with torch.device("meta"):  # shapes without memory
        learner = build_learner(recipe, shards.tokenizer)
    parameters = sum(parameter.numel() for parameter in learner.parameters())
    return {"parameters": parameters, "documents": shards.documents, "tokens": shards.tokens}


def _finetuning(recipe: "FinetuneRecipe") -> dict[str, int]:
    from unmask import bundle
    from unmask.tasks import task_of
    from unmask.train import finetune
    from unmask.train.rows import prepare_rows

    opened = bundle.read(recipe.init_from)
    finetune.check(recipe, opened)
    rows = prepare_rows(recipe.data, recipe.seed, task_of(recipe.task).reads)
    print_notes(rows.notes)
    task = task_of(recipe.task).build(recipe.task, opened.tokenizer, rows.train)
    return {"train_rows": len(rows.train), "dev_rows": len(rows.dev), "labels": len(task.labels)}
