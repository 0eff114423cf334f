"""`unmask finetune`: train a pretrained model for a task on labelled rows."""

import json
import shlex
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unmask import console
from unmask.cli.help import App
from unmask.cli.reading import NOTHING, Given, reads_rows
from unmask.cli.shared import AsJson, Epochs, LearningRate, Seed, assigned, facts, scores_table, training_settings
from unmask.messages import join, message

if TYPE_CHECKING:
    from unmask.train.finetune import FinetuneResult
    from unmask.train.recipe import FinetuneRecipe
    from unmask.train.rows import PreparedRows

EXAMPLE = "unmask finetune --model runs/tiny --train train.csv --test test.csv train.budget=5m"


def register(app: App) -> None:
    app.command(example=EXAMPLE)(finetune)


@reads_rows(settings=False)
def finetune(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE] [KEY.SUB=VALUE]...",
            help="A recipe file, or the name of a task, or none; then settings that replace those of the recipe.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[Path | None, typer.Option(help="The model to start from: a run or its model/.")] = None,
    task: Annotated[
        str | None,
        typer.Option(help="The task: classify, multilabel, regress, tag, nested, answer or embed."),
    ] = None,
    train: Annotated[
        Path | None,
        typer.Option(
            help="Training rows: csv, tsv, jsonl, json, Parquet, Label Studio; to tag, also CoNLL; to answer, SQuAD."
        ),
    ] = None,
    dev: Annotated[
        Path | None, typer.Option(help="Rows to choose the best step by; a tenth of train if not given.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="Rows to evaluate on at the end.")] = None,
    reading: Given = NOTHING,
    lr: LearningRate = None,
    epochs: Epochs = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows in a step: data.batch_size.", show_default=False)] = None,
    max_length: Annotated[
        int | None, typer.Option(help="Longest text in tokens: task.max_length.", show_default=False)
    ] = None,
    seed: Seed = None,
    output: Annotated[Path | None, typer.Option(help="The run folder. [default: runs/RECIPE, or runs/TASK]")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a model for a task; the run folder then holds the model of the best step on the dev rows.

    Stopped at any moment, the same command goes on where it stopped. Several processes train together when
    torchrun starts them: torchrun --nproc-per-node 2 -m unmask finetune RECIPE.
    """
    from unmask.metrics import format_score
    from unmask.tasks import task_of
    from unmask.train.finetune import finetune as learn
    from unmask.train.parallel import join_world
    from unmask.train.rows import prepare_rows, test_file

    shorthands = [
        ("init_from", model),
        ("task.name", task),
        ("data.train", train),
        ("data.dev", dev),
        ("data.test", test),
        ("data.batch_size", batch_size),
        ("task.max_length", max_length),
        *training_settings(lr, epochs, seed),
        *((f"data.{name}", value) for name, value in reading.items()),
    ]
    recipe, settings = _split(arguments or [], assigned(shorthands))
    with join_world() as world:
        with world.sync_errors():
            resolved = _resolved(recipe, settings)
            _check_files(resolved)
            rows = cache(partial(prepare_rows, resolved.data, resolved.seed, task_of(resolved.task).reads))
            if resolved.data.test is not None:
                rows()  # what is wrong with test rows is said before there is a run
        folder = output or Path("runs") / (resolved.task.name if recipe is None else Path(recipe).stem)
        with console.start_step("Fine-tuning") as work:
            result = learn(resolved, output=folder, progress=work, world=world, rows=rows)
            metric, value = result.best_score
            figure = message("dev {metric} {figure}", message(metric), format_score(result.metric, value))
            text = "{run.steps:,} steps · {figure} on {run.dev_rows:,} rows · best step {run.best_step:,}"
            work.result(text, result, figure)
    if not world.is_main:
        return
    file = test_file(resolved.data, result.folder)
    tested = None if file is None else _tested(result, rows(), file)
    if as_json:
        about = {**asdict(result), "folder": str(result.folder), "model": str(result.model)}
        console.print_text(json.dumps({**about, "test": tested}, ensure_ascii=False))
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
    from unmask.train.recipe import FinetuneRecipe, parse_recipe, read_recipe

    if recipe is not None:
        return read_recipe(FinetuneRecipe, recipe, settings)
    values = override({}, settings)
    missing = {
        "--model FOLDER": "init_from" in values,
        "--train FILE": "train" in values.get("data", {}),
    }
    if not all(missing.values()):
        raise UserError(
            "fine-tuning needs a model and training rows",
            given=f"missing: {', '.join(name for name, given in missing.items() if not given)}",
            hint=EXAMPLE,
        )
    return parse_recipe(FinetuneRecipe, {}, settings, where="the settings given")


def _read_again(option: str) -> Exception:
    from unmask.errors import UserError

    return UserError("{option} is read more than once", option, given="-", allowed="a file")


def _check_files(recipe: "FinetuneRecipe") -> None:
    from unmask.errors import UserError

    data = recipe.data
    for option, path in (("--train", data.train), ("--dev", data.dev), ("--test", data.test)):
        if path == "-":
            raise _read_again(option)
    if data.test is not None and not Path(data.test).is_file():
        raise UserError("{test} does not exist", data.test, given="--test")


def _tested(result: "FinetuneResult", rows: "PreparedRows", test: Path) -> dict[str, Any]:
    """The model, and what takes no network, on the test rows, with intervals; predictions are kept in the run."""
    import dataclasses

    from unmask.evaluate.samples import predictions
    from unmask.evaluate.saved import compare_predictions
    from unmask.evaluate.simplest import simplest_baseline
    from unmask.evaluate.tested import to_saved_predictions

    tested = rows.test_rows(test)
    examples = tested.examples
    predictor = result.predictor()
    task = predictor.task
    with console.start_step("Evaluation") as work:
        predicted = predictor.score(examples, work)[1]
        plain = simplest_baseline(task, rows.train, examples)
        ours = to_saved_predictions(predictor, tested, predicted)
        samples = predictions(task, examples, predicted)
        ours = dataclasses.replace(ours, test=str(test), baseline=plain, samples=samples)
        ours.save(result.folder)
        comparison = compare_predictions([(str(result.model), "pretrained", ours)], [plain])
        work.result("{examples:,} {unit} of {test}", len(examples), message(f"{comparison.scores.unit}s"), test)
    for remark in predicted.notes.remarks:
        console.note(remark)
    return {"file": str(test), "truncated": predicted.notes.truncated, **comparison.to_dict()}


def _show(result: "FinetuneResult", recipe: "FinetuneRecipe", tested: dict[str, Any] | None) -> None:
    cut = [message("{count:,} of {rows:,} training texts", result.truncated, result.train_rows)]
    if tested is not None:
        cut.append(message("{count:,} of {rows:,} test texts", tested["truncated"], tested["rows"]))
        scores_table(tested)
    rows = [("model", str(result.model))]
    if result.truncated or (tested and tested["truncated"]):
        limit = message("to {tokens} tokens", recipe.task.truncates_to)
        rows.insert(0, ("truncated", join([*cut, limit], ", ")))
    command = "evaluate" if tested is None else "predict"
    facts([*rows, ("next", f"unmask {command} {shlex.quote(str(result.model))} FILE")])
