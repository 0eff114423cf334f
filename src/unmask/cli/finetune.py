"""`unmask finetune`: train a pretrained model for a task on labelled rows."""

import shlex
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unmask import console
from unmask.cli.common import options
from unmask.cli.common.help import KEYS, App
from unmask.cli.common.output import print_result, scores_table
from unmask.cli.common.reading import NOTHING, Given, reads_rows
from unmask.errors import UserError
from unmask.messages import join, message

if TYPE_CHECKING:
    from unmask.train.finetune import FinetuneResult
    from unmask.train.recipe import FinetuneRecipe
    from unmask.train.rows import PreparedRows

EXAMPLE = "unmask finetune --model runs/tiny --train train.csv --test test.csv train.budget=5m"

commands = App()


@commands.command(example=EXAMPLE)
@reads_rows(settings=False)
def finetune(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar=f"[RECIPE] {KEYS}", help="Recipe file or task name; settings to replace."),
    ] = None,
    model: Annotated[Path | None, typer.Option(help="The model to start from: a run or its model/.")] = None,
    task: Annotated[str | None, options.TASK] = None,
    train: Annotated[Path | None, typer.Option(help="Training rows: csv, jsonl, Parquet, CoNLL, SQuAD, ...")] = None,
    dev: options.DevRows = None,
    test: options.TestRows = None,
    reading: Given = NOTHING,
    lr: options.LearningRate = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    max_length: options.MaxLength = None,
    seed: options.Seed = None,
    output: options.RunFolder = None,
    allow_unused: options.AllowUnused = False,
    as_json: options.AsJson = False,
) -> None:
    """Train a model for a task; write the model of the best step on the dev rows to the run folder.

    Resumes after an interruption when the same command is run again. Trains with several processes under
    torchrun: torchrun --nproc-per-node 2 -m unmask finetune RECIPE.
    """
    from unmask.metrics import format_score
    from unmask.tasks import task_of
    from unmask.train.finetune import finetune as learn
    from unmask.train.rows import prepare_rows, test_file
    from unmask.train.steps.parallel import join_world

    shorthands = {
        "init_from": model,
        "task.name": task,
        "task.max_length": max_length,
        "data.train": train,
        "data.dev": dev,
        "data.test": test,
        "data.batch_size": batch_size,
        **options.recipe_settings(lr, epochs, seed, allow_unused),
        **{f"data.{name}": value for name, value in reading.items()},
    }
    recipe, settings = _split(arguments or [], options.assigned(shorthands))
    with join_world() as world:
        with world.sync_errors():
            resolved = _resolved(recipe, settings)
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
    plain = {**asdict(result), "model": result.model, "test": tested}
    print_result(as_json, plain, lambda _: _show(result, resolved, tested))


def _split(arguments: list[str], shorthands: list[str]) -> tuple[str | None, list[str]]:
    """The recipe, if the first argument is one, and all settings; those written out stand above options."""
    if arguments and ("=" not in arguments[0] or Path(arguments[0]).is_file()):
        return arguments[0], [*shorthands, *arguments[1:]]
    return None, [*shorthands, *arguments]


def _resolved(recipe: str | None, settings: list[str]) -> "FinetuneRecipe":
    """The recipe with all settings. Raises UserError where files are missing that are read again later."""
    from unmask.config import override
    from unmask.train.recipe import FinetuneRecipe, parse_recipe, read_recipe

    if recipe is not None:
        resolved = read_recipe(FinetuneRecipe, recipe, settings)
    else:
        values = override({}, settings)
        present = {"--model FOLDER": "init_from" in values, "--train FILE": "train" in values.get("data", {})}
        if missing := [option for option, is_there in present.items() if not is_there]:
            given = f"missing: {', '.join(missing)}"
            raise UserError("fine-tuning needs a model and training rows", given=given, hint=EXAMPLE)
        resolved = parse_recipe(FinetuneRecipe, {}, settings, where="the settings given")
    data = resolved.data
    for option, path in (("--train", data.train), ("--dev", data.dev), ("--test", data.test)):
        if path == "-":
            raise UserError("{option} is read more than once", option, given="-", allowed="a file")
    return resolved


def _tested(result: "FinetuneResult", rows: "PreparedRows", test: Path) -> dict[str, Any]:
    """The model, and what takes no network, on the test rows, with intervals; predictions are kept in the run."""
    from unmask.evaluate.baselines import simplest_baseline
    from unmask.evaluate.predictions import compare_predictions, to_saved_predictions
    from unmask.evaluate.samples import predictions

    tested = rows.test_rows(test)
    examples = tested.examples
    predictor = result.predictor()
    task = predictor.task
    with console.start_step("Evaluation") as work:
        predicted = predictor.score(examples, work)[1]
        plain = simplest_baseline(task, rows.train, examples)
        samples = predictions(task, examples, predicted)
        ours = to_saved_predictions(predictor, tested, predicted, test=str(test), baseline=plain, samples=samples)
        ours.save(result.folder)
        comparison = compare_predictions([(str(result.model), "pretrained", ours)], [plain])
        work.result("{examples:,} {unit} of {test}", len(examples), message(f"{comparison.scores.unit}s"), test)
    console.notes(predicted.notes.remarks)
    return {"file": str(test), "truncated": predicted.notes.truncated, **comparison.to_dict()}


def _show(result: "FinetuneResult", recipe: "FinetuneRecipe", tested: dict[str, Any] | None) -> None:
    cut = [message("{count:,} of {rows:,} training texts", result.truncated, result.train_rows)]
    if tested is not None:
        cut.append(message("{count:,} of {rows:,} test texts", tested["truncated"], tested["rows"]))
        scores_table(tested)
    truncated = join([*cut, message("to {tokens} tokens", recipe.task.truncates_to)], ", ")
    command = "evaluate" if tested is None else "predict"
    console.facts(
        {
            "truncated": truncated if result.truncated or (tested and tested["truncated"]) else None,
            "model": result.model,
            "next": f"unmask {command} {shlex.quote(str(result.model))} FILE",
        }
    )
