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
from unmask.data.memory import Rows, source_of
from unmask.data.tables import Example
from unmask.errors import UserError
from unmask.messages import message
from unmask.model.encoder import Encoder
from unmask.predict import Predictor, infer, load
from unmask.tasks import Task
from unmask.tasks.hiding import Hiding
from unmask.tasks.regularise import Regularise, Regulariser
from unmask.tasks.task import TITLES, Evidence, TaskLearner, shown_figure
from unmask.train.fit import Fit, Watch
from unmask.train.optim import finetuning_rate
from unmask.train.parallel import World, joined
from unmask.train.recipe import FinetuneRecipe, read_recipe, recipe_of
from unmask.train.rows import Prepared, prepared, write_split
from unmask.train.rows import rows_of as rows_of
from unmask.train.run import GIVEN, Run
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
    train: Any = None,
    dev: Any = None,
    test: Any = None,
    out: Path | str = "runs/finetune",
    progress: Progress | None = None,
    world: World | None = None,
) -> Finetuned:
    """Train a model for a task; the run folder `out` then holds model/ (the best on dev), the log, checkpoints.

    recipe: a FinetuneRecipe or a YAML file; or else `model` and `train` (and `dev`, `test`), with every other setting
    at its default; overrides: `key.sub=value`. Rows are files, or what holds rows in memory (a DataFrame, a `datasets`
    split, a list of dicts): these are written into given/ of the run, and its recipe names those files. test: rows
    that must not stand in train; they are not evaluated here (`Predictor.evaluate`). Resumes like `pretrain`, and takes
    a `world` like it. Raises UserError for what cannot be used.
    """
    held: dict[Path, Rows] = {}
    with joined(world) as world:
        with world.agreeing():
            if recipe is None:
                if model is None or train is None:
                    raise UserError(
                        "fine-tuning needs a model and training rows", allowed="model=FOLDER, train=FILE"
                    )
                data, held = _named({"train": train, "dev": dev, "test": test}, Path(out) / GIVEN)
                values = {"model": str(model), "task": {"name": task}, "data": data}
                recipe = recipe_of(FinetuneRecipe, values, overrides, where="the settings given")
            elif not isinstance(recipe, FinetuneRecipe):
                recipe = read_recipe(FinetuneRecipe, recipe, overrides)
        with Run(Path(out), recipe, "finetune", world) as run:
            if run.finished:
                console.remark(
                    "{folder} is finished; remove it or choose another --out to train again", run.folder
                )
                return Finetuned(run.folder, **run.outcome())
            world.from_main(lambda: run.keep({path: rows.jsonl() for path, rows in held.items()}))
            if progress is not None:
                _train(run, recipe, progress)
            else:
                with console.work("Fine-tuning") as work:
                    _train(run, recipe, work)
                    work.result(str(run.folder))
            return Finetuned(run.folder, **run.outcome())


def _named(given: dict[str, Any], folder: Path) -> tuple[dict[str, str], dict[Path, Rows]]:
    """The files of a recipe's data, and what is still to be written into those for rows in memory."""
    paths, held = {}, {}
    for name, rows in given.items():
        if rows is None:
            continue
        source = source_of(rows, f"the {name} rows given")
        if isinstance(source, Rows):
            path = folder / f"{name}.jsonl"
            held[path] = source
            source = path
        paths[name] = str(source)
    return paths, held


def check(recipe: FinetuneRecipe, opened: bundle.Bundle) -> None:
    """Raises UserError for what no single setting can see."""
    positions = architecture(opened.config, recipe.transfer).length
    if recipe.task.length > positions:
        raise UserError(
            "task.length is above the positions of the model",
            given=f"task.length={recipe.task.length}",
            allowed=f"at most {positions}",
            hint=f"task.length={positions}, or transfer.length={recipe.task.length}",
        )


def _train(run: Run, recipe: FinetuneRecipe, progress: Progress) -> None:
    world, data = run.world, recipe.data
    with world.agreeing():
        opened = bundle.read(recipe.model)
        check(recipe, opened)
        recipe = with_rate(recipe, opened.config.width)
        rows = _rows(run, recipe, opened)
        train, dev = rows.train, rows.dev
        task = recipe.task.task.build(recipe.task, opened.tokenizer, train)
        with of_test_rows():
            dev = task.check(dev, of=data.train, unknown=data.reading.unknown)
        task.settle(dev)
        encoded = task.encode(train)
        truncated = task.truncated
        heldout = HeldOut(task, dev, task.encode([example.only(task.labels) for example in dev]))
        learner, heads = _learner(opened, recipe, task, train, encoded)
        origin = told(opened, learner, recipe.transfer, heads) | {"lr": recipe.train.optimizer.rate}
        config, lineage = learner.encoder.config, opened.lineage
        tokenizer = opened.tokenizer
        del opened  # its weights are in the learner now
        learner.to(world.device)
        batches = Batches(
            task.examples(encoded),
            data.batch_rows,
            recipe.seed,
            recipe.train.accumulate,
            world.rank,
            world.size,
            recipe.train.batch_ramp,
        )

    def describe(step: Step) -> str:
        best = fit.standing.best
        if best is None:
            return message("loss {loss:.3f}", step.loss)
        figure = shown_figure(task.metric, best)
        return message(
            "loss {loss:.3f}  best dev {metric} {figure}", step.loss, message(_title(task.watch)), figure
        )

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
        sums = {f"{name}_sha256": digest for name, digest in run.facts().get("inputs", {}).items()}
        own = {"kind": "finetune", "recipe": run.recipe_values(), "steps": standing.step, **sums}
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


def with_rate(recipe: FinetuneRecipe, width: int) -> FinetuneRecipe:
    """The recipe with a learning rate, where it names none."""
    optimizer = recipe.train.optimizer
    if optimizer.lr is not None:
        return recipe
    rated = changed(optimizer, lr=finetuning_rate(width))
    return changed(recipe, train=changed(recipe.train, optimizer=rated))


def _rows(run: Run, recipe: FinetuneRecipe, opened: bundle.Bundle) -> Prepared:
    """The rows; what was found in them and cut from them is written down before anything is learnt from them."""
    data = recipe.data
    rows = prepared(data, recipe.seed, recipe.task)
    read = {"train": data.train, "dev": data.dev, "test": data.test if data.leaks == "drop" else None}
    run.bind(model=opened.sha256, **{name: files.sha256(path) for name, path in read.items() if path})

    def write_down() -> None:
        run.write_facts(checked=rows.checked)
        write_split(data, rows, run.folder)

    run.world.from_main(write_down)
    return rows


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
