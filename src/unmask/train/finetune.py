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
from unmask.data.batches import Batches
from unmask.data.labels import of_test_rows
from unmask.data.tables import Example, split
from unmask.errors import UserError
from unmask.model.encoder import Encoder
from unmask.predict import Predictor, infer, load
from unmask.tasks import AnyTask, Classify, Task
from unmask.tasks.hiding import Hiding
from unmask.tasks.regularise import Regularise, Regulariser
from unmask.tasks.task import TITLES, Evidence, TaskLearner, shown_figure
from unmask.train.fit import Fit, Watch
from unmask.train.parallel import World, joined
from unmask.train.recipe import FinetuneRecipe, RowsConfig, read_recipe, recipe_of
from unmask.train.run import Run
from unmask.train.steps import Step
from unmask.train.transfer import Heads, architecture, set_learning, take_head, taken_over, told


@dataclass(frozen=True)
class Finetuned:
    """What a fine-tuning run brought. dev: figures of the best checkpoint on the dev rows; metric: the one of
    them by which it was chosen."""

    folder: Path
    steps: int
    best_step: int
    seconds: float
    train_rows: int
    dev_rows: int
    truncated: int
    dev: dict[str, float]
    metric: str = "classify.accuracy"
    speed: dict[str, Any] | None = None

    @property
    def best(self) -> tuple[str, float]:
        """What people call the metric, and its value on the dev rows."""
        return _title(self.metric), self.dev[self.metric]

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
    world: World | None = None,
) -> Finetuned:
    """Train a model for a task; the run folder `out` then holds model/ (the best on dev), the log, checkpoints.

    recipe: a FinetuneRecipe or a YAML file; or else `model` and `train` (and `dev`), with every other setting
    at its default; overrides: `key.sub=value`. Resumes like `pretrain`, and takes a `world` like it. Raises
    UserError for what cannot be used.
    """
    with joined(world) as world:
        with world.agreeing():
            if recipe is None:
                if model is None or train is None:
                    raise UserError(
                        "fine-tuning needs a model and training rows", allowed="model=FOLDER, train=FILE"
                    )
                data = {"train": str(train), **({"dev": str(dev)} if dev else {})}
                values = {"model": str(model), "task": {"name": task}, "data": data}
                recipe = recipe_of(FinetuneRecipe, values, overrides, where="the settings given")
            elif not isinstance(recipe, FinetuneRecipe):
                recipe = read_recipe(FinetuneRecipe, recipe, overrides)
        with Run(Path(out), recipe, "finetune", world) as run:
            if run.finished:
                console.remark(f"{run.folder} is finished; remove it or choose another --out to train again")
            elif progress is not None:
                _train(run, recipe, progress)
            else:
                with console.work("Fine-tuning") as work:
                    _train(run, recipe, work)
                    work.result(str(run.folder))
            return Finetuned(run.folder, **run.outcome())


def rows_of(data: RowsConfig, seed: int, task: AnyTask | None = None) -> tuple[list[Example], list[Example]]:
    """(training examples, dev examples) as the recipe says; a dev file is taken whole. task: classify if None."""
    read = (task or Classify()).task.read
    examples = read(data.train, data.reading)
    if data.dev is not None:
        dev = read(data.dev, data.reading)
    else:
        examples, dev = split(examples, data.dev_share, seed)
        needed = _of_new_labels(examples, dev)
        examples, dev = examples + needed, [example for example in dev if example not in needed]
    if data.rows is not None and data.rows < len(examples):
        rest, examples = split(examples, data.rows / len(examples), seed + 1)
        examples += _of_new_labels(examples, rest)
    if data.dev_rows is not None and data.dev_rows < len(dev):
        _, dev = split(dev, data.dev_rows / len(dev), seed + 2, sample=True)
    return examples, dev


def _of_new_labels(chosen: Sequence[Example], others: Sequence[Example]) -> list[Example]:
    """The first of the other examples for each label that no chosen one has: what is not seen is not learnt."""
    known = {label for example in chosen for label in example.labels}
    found = []
    for example in others:
        if not example.labels <= known:
            found.append(example)
            known |= example.labels
    return found


def check(recipe: FinetuneRecipe, opened: bundle.Bundle) -> None:
    """Raises UserError for what no single setting can see."""
    positions = architecture(opened.config, recipe.transfer).length
    if recipe.task.length > positions:
        raise UserError(
            "task.length is above the positions of the model",
            given=f"task.length={recipe.task.length}",
            allowed=f"at most {positions}",
            to_do=f"task.length={positions}, or transfer.length={recipe.task.length}",
        )


def _train(run: Run, recipe: FinetuneRecipe, progress: Progress) -> None:
    world, data = run.world, recipe.data
    with world.agreeing():
        opened = bundle.read(recipe.model)
        check(recipe, opened)
        train, dev = rows_of(data, recipe.seed, recipe.task)
        inputs = {"model": opened.sha256, "train": files.sha256(data.train)}
        run.bind(**inputs, **({"dev": files.sha256(data.dev)} if data.dev else {}))
        task = recipe.task.task.build(recipe.task, opened.tokenizer, train)
        with of_test_rows():
            dev = task.check(dev, of=data.train, unknown=data.reading.unknown)
        task.settle(dev)
        rows = task.encode(train)
        truncated = task.truncated
        heldout = HeldOut(task, dev, task.encode([example.only(task.labels) for example in dev]))
        learner, heads = _learner(opened, recipe, task, train, rows)
        origin = told(opened, learner, recipe.transfer, heads)
        config, lineage = learner.encoder.config, opened.lineage
        tokenizer = opened.tokenizer
        del opened  # its weights are in the learner now
        learner.to(world.device)
        batches = Batches(
            task.examples(rows),
            data.batch_rows,
            recipe.seed,
            recipe.train.accumulate,
            world.rank,
            world.size,
            recipe.train.batch_ramp,
        )

    def describe(step: Step) -> str:
        best = shown_figure(task.metric, fit.standing.best or 0)
        return f"loss {step.loss:.3f}  best dev {_title(task.watch)} {best}"

    fit = Fit(
        run,
        learner,
        batches,
        recipe.train,
        recipe.seed,
        evaluate=lambda: evaluate(learner, heldout),
        watch=Watch(task.watch, higher=task.higher),
        describe=describe,
        begin=(lambda: run.write_facts(start=origin)) if recipe.pretrained else (lambda: None),
    )
    standing = fit(progress)
    speed = world.from_main(fit.speed)
    fit.finish(standing.best_step)

    def publish() -> None:
        own = {"kind": "finetune", "recipe": run.recipe_values(), "steps": standing.step}
        before = [*lineage, own]
        if task.calibrates:
            task.calibrate(heldout.examples, heldout.rows, evidence_of(learner, heldout))
        bundle.write(run.model, config, learner.published(), tokenizer, before, task.schema(), task.public)
        run.write_facts(
            finished={
                "steps": standing.step,
                "best_step": standing.best_step,
                "seconds": round(standing.seconds, 2),
                "train_rows": len(train),
                "dev_rows": len(dev),
                "truncated": truncated,
                "dev": evaluate(learner, heldout),
                "metric": task.watch,
                "speed": speed,
            }
        )

    world.from_main(publish)


def _learner(
    opened: bundle.Bundle,
    recipe: FinetuneRecipe,
    task: Task[Any],
    train: Sequence[Example],
    rows: Sequence[Row],
) -> tuple[TaskLearner, Heads]:
    """What is trained, and whose head it begins with."""
    transfer = recipe.transfer
    taken = taken_over(opened, transfer, recipe.seed)
    torch.manual_seed(recipe.seed)
    if recipe.pretrained:
        encoder = taken.encoder(dropout=recipe.dropout)
    else:
        encoder = Encoder(changed(taken.config, dropout=recipe.dropout))
    learner = task.learner(encoder, train, rows)
    heads: Heads = {task.name: "new"}
    if recipe.pretrained:
        heads = take_head(taken, learner, task, transfer)
    set_learning(learner, transfer)
    if recipe.hide:
        learner.hiding = Hiding(recipe.hide, opened.tokenizer.mask_id)
    if recipe.regularise != Regularise():
        learner.regulariser = Regulariser(recipe.regularise)
    return learner, heads


@dataclass(frozen=True)
class HeldOut:
    """Labelled examples to judge a learner by, encoded."""

    task: Task[Any]
    examples: Sequence[Example]
    rows: Sequence[Row]


def evaluate(learner: TaskLearner, heldout: HeldOut) -> dict[str, float]:
    """The figures of a learner: it predicts as the finished model will."""
    evidence = evidence_of(learner, heldout)
    return heldout.task.judge(learner.head, heldout.examples, heldout.rows, evidence)


def evidence_of(learner: TaskLearner, heldout: HeldOut) -> list[Evidence]:
    """What the head says of each row."""
    was_training = learner.training
    learner.eval()
    evidence = infer(learner.encoder, learner.head, heldout.task, heldout.rows)
    learner.train(was_training)
    return evidence


def _title(metric: str) -> str:
    name = metric.rpartition(".")[2]
    return TITLES.get(name, name)
