"""`unmask finetune`: train a pretrained model for a task on labelled rows."""

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unmask import console
from unmask.cli.shared import (
    AsJson,
    LabelColumn,
    OnError,
    PairColumn,
    TextColumn,
    assigned,
    facts,
    percent,
)

if TYPE_CHECKING:
    from unmask.train.finetune import Finetuned
    from unmask.train.recipe import FinetuneRecipe

EXAMPLE = "Example: unmask finetune --model runs/tiny --train train.csv --test test.csv train.budget=5m"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(finetune)


def finetune(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE] [KEY.SUB=VALUE]...",
            help="A recipe file, or classify, or none; then settings that replace those of the recipe.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[Path | None, typer.Option(help="The model to start from: a run or its model/.")] = None,
    task: Annotated[str | None, typer.Option(help="What is learnt: classify.")] = None,
    train: Annotated[Path | None, typer.Option(help="Training rows: csv, tsv or jsonl.")] = None,
    dev: Annotated[
        Path | None, typer.Option(help="Rows to choose the best step by; a tenth of train if not given.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="Rows to evaluate on at the end.")] = None,
    text_column: TextColumn = None,
    pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    on_error: OnError = "stop",
    out: Annotated[
        Path | None, typer.Option(help="The run folder. [default: runs/RECIPE, or runs/classify]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a model for a task; the run folder then holds the model of the best step on the dev rows.

    Stopped at any moment, the same command goes on where it stopped.
    """
    from unmask.train.finetune import finetune as learn

    shorthands: list[tuple[str, Path | str | None]] = [
        ("model", model),
        ("task.name", task),
        ("data.train", train),
        ("data.dev", dev),
        ("data.text_column", text_column),
        ("data.pair_column", pair_column),
        ("data.label_column", label_column),
        ("data.on_error", None if on_error == "stop" else on_error),
    ]
    recipe, settings = _split(arguments or [], assigned(shorthands))
    resolved = _resolved(recipe, settings)
    folder = out or Path("runs") / (resolved.task.name if recipe is None else Path(recipe).stem)
    if test is not None and not test.is_file():
        raise _absent(test)
    with console.work("Fine-tuning") as work:
        result = learn(resolved, out=folder, progress=work)
        figures = f"dev accuracy {result.dev['classify.accuracy']:.1%} on {result.dev_rows:,} rows"
        work.result(f"{result.steps:,} steps · {figures} · best step {result.best_step:,}")
    tested = None if test is None else _tested(result, resolved, test)
    if as_json:
        about = {**asdict(result), "folder": str(result.folder), "model": str(result.model)}
        console.say(json.dumps({**about, "test": tested}, ensure_ascii=False))
    else:
        _show(result, resolved, tested)


def _split(arguments: list[str], shorthands: list[str]) -> tuple[str | None, list[str]]:
    """The recipe, if the first argument is one, and all settings; those written out stand above options."""
    if arguments and ("=" not in arguments[0] or Path(arguments[0]).is_file()):
        return arguments[0], [*shorthands, *arguments[1:]]
    return None, [*shorthands, *arguments]


def _resolved(recipe: str | None, settings: list[str]) -> "FinetuneRecipe":
    from unmask.config import override
    from unmask.errors import UserError
    from unmask.train.recipe import FinetuneRecipe, read_recipe, recipe_of

    if recipe is not None:
        return read_recipe(FinetuneRecipe, recipe, settings)
    values = override({}, settings)
    missing = {
        "--model FOLDER": "model" in values,
        "--train FILE": "train" in values.get("data", {}),
    }
    if not all(missing.values()):
        raise UserError(
            "fine-tuning needs a model and training rows",
            missing=", ".join(name for name, given in missing.items() if not given),
            for_example=EXAMPLE.removeprefix("Example: "),
        )
    return recipe_of(FinetuneRecipe, {}, settings, where="the settings given")


def _absent(test: Path) -> Exception:
    from unmask.errors import UserError

    return UserError(f"{test} does not exist", given="--test")


def _tested(result: "Finetuned", recipe: "FinetuneRecipe", test: Path) -> dict[str, Any]:
    """The model and the majority class on the test rows, with intervals."""
    from unmask.data.tables import check_labels, read_examples
    from unmask.evaluate.baselines import majority
    from unmask.evaluate.compare import Contestant, compare
    from unmask.train.finetune import columns_of, rows_of

    columns, on_error = columns_of(recipe.data), recipe.data.on_error
    predictor = result.predictor()
    with console.work("Evaluation") as work:
        rows = read_examples(test, columns=columns, on_error=on_error, require_labels=True)
        rows = check_labels(rows, predictor.task.labels, of=recipe.data.train, on_error=on_error)
        predicted = predictor.score(rows, work)[1]
        truncated = predictor.task.truncated
        wanted = [row.label or "" for row in rows]
        seen = [row.label or "" for row in rows_of(recipe.data, recipe.seed)[0]]
        most = majority(seen, len(rows))
        contestants = [
            Contestant(str(result.model), "pretrained", [label.name for label in predicted]),
            Contestant(f"always {most.chosen['label']!r}", "majority", most.predicted),
        ]
        compared = compare(wanted, contestants, predictor.task.labels)
        work.result(f"{len(rows):,} rows of {test}")
    return {"file": str(test), "truncated": truncated, **compared}


def _show(result: "Finetuned", recipe: "FinetuneRecipe", tested: dict[str, Any] | None) -> None:
    from unmask.metrics import Interval

    cut = {f"{result.train_rows:,} training texts": result.truncated}
    if tested is not None:
        cut[f"{tested['rows']:,} test texts"] = tested["truncated"]
        console.table(
            (f"{tested['rows']:,} test rows", "accuracy, % [95 %]", "macro-F1, % [95 %]"),
            [
                (row["name"], *(percent(Interval(**row[key])) for key in ("accuracy", "macro_f1")))
                for row in tested["models"]
            ],
        )
    rows = [("model", str(result.model))]
    if any(cut.values()):
        shown = ", ".join(f"{number:,} of {of}" for of, number in cut.items())
        rows.insert(0, ("cut short", f"{shown}, at {recipe.task.length} tokens (task.length)"))
    command = "evaluate" if tested is None else "predict"
    facts([*rows, ("next", f"unmask {command} {shlex.quote(str(result.model))} FILE")])
