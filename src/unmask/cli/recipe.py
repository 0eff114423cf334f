"""`unmask recipe`: show a recipe with everything written out, explain its settings, check it before a run."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from unmask import console
from unmask.cli.common.help import App
from unmask.cli.common.options import AnyRecipe, AsJson, Overrides
from unmask.cli.common.output import print_result
from unmask.messages import join, message, translate

if TYPE_CHECKING:
    from unmask.train.explain import Group
    from unmask.train.recipe import FinetuneRecipe, PretrainRecipe

commands = App(name="recipe", help="Recipes: show one in full, explain its settings, check it before a run.")


@commands.command(example="unmask recipe show small model.num_hidden_layers=8 > recipes/mine.yaml")
def show(recipe: AnyRecipe, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Print a complete recipe, with all defaults and the replaced settings."""
    from unmask.config import dump, to_yaml
    from unmask.train.recipe import KINDS, read_recipe, recipe_kind

    resolved = read_recipe(KINDS[recipe_kind(recipe)], recipe, overrides or [])
    print_result(as_json, dump(resolved), lambda _: console.print_text(to_yaml(resolved).rstrip()))


@commands.command(example="unmask recipe explain train.schedule")
def explain(
    key: Annotated[str, typer.Argument(help="A dotted key; nothing for all settings.")] = "",
    kind: Annotated[Literal["pretrain", "finetune"] | None, typer.Option(help="Kind of recipe.")] = None,
    as_json: AsJson = False,
) -> None:
    """Explain the settings at a key: allowed values, default, description."""
    from unmask.train.explain import explain as explained

    print_result(as_json, explained(key, kind), _show_groups)


def _show_groups(groups: "list[Group]") -> None:
    for group in groups:
        title = join([group.title or message("the recipe"), join(group.kinds, ", ")])
        console.print_text(f"{translate(title)}\n{translate(group.description)}")
        rows = [(one.name, one.allowed, one.default, translate(one.description)) for one in group.settings]
        console.table(("setting", "allowed", "default", "description"), rows)


@commands.command(example="unmask recipe check small data.corpus=corpus")
def check(recipe: AnyRecipe, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Check a recipe and the files that it names, without training."""
    from unmask.train.recipe import KINDS, read_recipe, recipe_kind

    kind = recipe_kind(recipe)
    resolved: Any = read_recipe(KINDS[kind], recipe, overrides or [])
    found = _pretraining(resolved) if kind == "pretrain" else _finetuning(resolved)
    numbers = [message("{count:,} {unit}", value, message(name.replace("_", " "))) for name, value in found.items()]
    text = join([f"ok: {recipe}", *numbers])
    print_result(as_json, {"recipe": recipe, "ok": True, **found}, lambda _: console.print_text(text))


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

    opened = bundle.read(recipe.init_from, allow_unused=recipe.transfer.allow_unused)
    finetune.check(recipe, opened)
    rows = prepare_rows(recipe.data, recipe.seed, task_of(recipe.task).reads)
    console.notes(rows.notes)
    task = task_of(recipe.task).build(recipe.task, opened.tokenizer, rows.train)
    return {"train_rows": len(rows.train), "dev_rows": len(rows.dev), "labels": len(task.labels)}
