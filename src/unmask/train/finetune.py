"""Fine-tuning: a model folder, labelled rows and a recipe in, a run folder with a model for the task out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unmask import bundle, console, files
from unmask.config import changed
from unmask.console import Progress
from unmask.data.batch import Row
from unmask.data.batches import Batches, TableExamples, in_order
from unmask.data.tables import Columns, Example, read_examples, split
from unmask.errors import UserError
from unmask.model.encoder import Encoder
from unmask.predict import Predictor, load
from unmask.tasks import ClassifyTask
from unmask.tasks.classify import ClassifyLearner
from unmask.train.fit import Fit, Watch
from unmask.train.recipe import FinetuneRecipe, RowsConfig, read_recipe, recipe_of
from unmask.train.run import Run, default_device
from unmask.train.steps import Step, evaluate

EVALUATION_TOKENS = 8192  # in one batch


@dataclass(frozen=True)
class Finetuned:
    """What a fine-tuning run brought. dev: figures of the best checkpoint on the dev rows."""

    folder: Path
    steps: int
    best_step: int
    seconds: float
    train_rows: int
    dev_rows: int
    truncated: int
    dev: dict[str, float]

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def predictor(self) -> Predictor:
        return load(self.model)


def finetune(
    recipe: FinetuneRecipe | Path | str | None = None,
    overrides: Sequence[str] = (),
    *,
    model: Path | str | None = None,
    task: str = "classify",
    train: Path | str | None = None,
    dev: Path | str | None = None,
    out: Path | str = "runs/finetune",
    progress: Progress | None = None,
) -> Finetuned:
    """Train a model for a task; the run folder `out` then holds model/ (the best on dev), the log, checkpoints.

    recipe: a FinetuneRecipe or a YAML file; or else `model` and `train` (and `dev`), with every other setting
    at its default; overrides: `key.sub=value`. Resumes like `pretrain`. Raises UserError for what cannot be used.
    """
    if recipe is None:
        if model is None or train is None:
            raise UserError("fine-tuning needs a model and training rows", allowed="model=FOLDER, train=FILE")
        data = {"train": str(train), **({"dev": str(dev)} if dev else {})}
        values = {"model": str(model), "task": {"name": task}, "data": data}
        recipe = recipe_of(FinetuneRecipe, values, overrides, where="the settings given")
    elif not isinstance(recipe, FinetuneRecipe):
        recipe = read_recipe(FinetuneRecipe, recipe, overrides)
    with Run(Path(out), recipe, "finetune") as run:
        if run.finished:
            console.remark(f"{run.folder} is finished; remove it or choose another --out to train again")
        elif progress is not None:
            _train(run, recipe, progress)
        else:
            with console.work("Fine-tuning") as work:
                _train(run, recipe, work)
                work.result(str(run.folder))
        return Finetuned(run.folder, **run.facts()["finished"])


def columns_of(data: RowsConfig) -> Columns:
    return Columns(text=data.text_column, pair=data.pair_column, label=data.label_column)


def rows_of(data: RowsConfig, seed: int) -> tuple[list[Example], list[Example]]:
    """(training rows, dev rows) as the recipe says; a dev file is taken whole."""
    columns, on_error = columns_of(data), data.on_error
    examples = read_examples(data.train, columns=columns, on_error=on_error, require_labels=True)
    if data.dev is not None:
        dev = read_examples(data.dev, columns=columns, on_error=on_error, require_labels=True)
    else:
        examples, dev = split(examples, data.dev_share, seed)
    if data.rows is not None and data.rows < len(examples):
        _, examples = split(examples, data.rows / len(examples), seed + 1)
    return examples, dev


def check(recipe: FinetuneRecipe, opened: bundle.Bundle) -> None:
    """Raises UserError for what no single setting can see."""
    if recipe.task.length > opened.config.length:
        raise UserError(
            "task.length is above the positions of the model",
            given=f"task.length={recipe.task.length}",
            allowed=f"at most {opened.config.length}",
        )


def _train(run: Run, recipe: FinetuneRecipe, progress: Progress) -> None:
    opened = bundle.read(recipe.model)
    check(recipe, opened)
    train, dev = rows_of(recipe.data, recipe.seed)
    data = recipe.data
    inputs = {"model": opened.sha256, "train": files.sha256(data.train)}
    run.bind(**inputs, **({"dev": files.sha256(data.dev)} if data.dev else {}))
    task = ClassifyTask(recipe.task, opened.tokenizer, ClassifyTask.labels_of(train))
    rows = task.encode(train)
    truncated = task.truncated
    heldout = _in_order(task.encode(dev))
    learner = _learner(opened, recipe, task, train)
    batches = Batches(TableExamples(rows), recipe.data.batch_rows, recipe.seed, recipe.train.accumulate)

    def describe(step: Step) -> str:
        return f"loss {step.loss:.3f}  best dev accuracy {fit.standing.best or 0:.1%}"

    fit = Fit(
        run,
        learner,
        batches,
        recipe.train,
        recipe.seed,
        evaluate=lambda: evaluate(learner, heldout),
        watch=Watch("classify.accuracy", higher=True),
        describe=describe,
    )
    fit.resume()
    standing = fit(progress)
    if standing.best_step is not None:
        run.checkpoints.load_weights(standing.best_step, learner)
    lineage = [*opened.lineage, {"kind": "finetune", "recipe": run.recipe_values(), "steps": standing.step}]
    config = changed(opened.config, dropout=recipe.dropout)
    bundle.write(run.model, config, learner.published(), opened.tokenizer, lineage, task.schema())
    run.write_facts(
        finished={
            "steps": standing.step,
            "best_step": standing.best_step,
            "seconds": round(standing.seconds, 2),
            "train_rows": len(train),
            "dev_rows": len(dev),
            "truncated": truncated,
            "dev": evaluate(learner, heldout),
        }
    )


def _learner(
    opened: bundle.Bundle, recipe: FinetuneRecipe, task: ClassifyTask, train: list[Example]
) -> ClassifyLearner:
    torch.manual_seed(recipe.seed)
    if recipe.pretrained:
        encoder = opened.encoder(dropout=recipe.dropout)
    else:
        encoder = Encoder(changed(opened.config, dropout=recipe.dropout))
    learner = ClassifyLearner(encoder, task.head(opened.config), recipe.task, task.class_weights(train))
    return learner.to(default_device())


def _in_order(rows: Sequence[Row]) -> list[Any]:
    examples = TableExamples(rows)
    return list(in_order(examples, EVALUATION_TOKENS, limit=sum(len(row.ids) for row in rows) + len(rows)))
