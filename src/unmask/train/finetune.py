"""Fine-tuning: a model folder, labelled rows and a recipe in, a run folder with a model for the task out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from unmask import bundle, console
from unmask.config import changed
from unmask.console import Progress
from unmask.data.encoded import EncodedRow
from unmask.data.rows.readers.memory import MemoryRows, as_source
from unmask.data.sequences import RowSequences
from unmask.errors import UserError
from unmask.heads import build_head, head_class
from unmask.learner.task_learner import TaskLearner
from unmask.messages import message
from unmask.metrics import figure_of, format_score
from unmask.model.encoder import Encoder
from unmask.tasks import Task, task_of
from unmask.tasks.labelled_spans import check_rows
from unmask.train.dev import DevSet, evaluate
from unmask.train.loop import Step
from unmask.train.optim import default_finetune_lr
from unmask.train.parallel import World, join_world
from unmask.train.recipe import FinetuneRecipe, parse_recipe, read_recipe
from unmask.train.rows import PreparedRows, prepare_rows, write_split
from unmask.train.run import GIVEN, Run
from unmask.train.trainer import BestMetric, RunResult, TrainerState, Training, build_batches, train_run
from unmask.train.transfer import (
    Heads,
    architecture,
    load_head,
    load_pretrained,
    set_trainable,
    transfer_summary,
)


@dataclass(frozen=True, kw_only=True)
class FinetuneResult(RunResult):
    """What a fine-tuning run brought. dev: figures of the best checkpoint on the dev rows; metric: the one of
    them by which it was chosen."""

    best_step: int
    train_rows: int
    dev_rows: int
    truncated: int
    dev: dict[str, float]
    metric: str = "classify.accuracy"

    @property
    def best_score(self) -> tuple[str, float]:
        """What people call the metric, and its value on the dev rows."""
        return figure_of(self.metric).title, self.dev[self.metric]


def finetune(
    recipe: FinetuneRecipe | Path | str | None = None,
    overrides: Sequence[str] = (),
    *,
    model: Path | str | None = None,
    task: str = "classify",
    train: Any = None,
    dev: Any = None,
    test: Any = None,
    output: Path | str = "runs/finetune",
    progress: Progress | None = None,
    world: World | None = None,
    rows: Callable[[], PreparedRows] | None = None,
) -> FinetuneResult:
    """Train a model for a task; the run folder `output` then holds model/ (the best on dev), the log, checkpoints.

    recipe: a FinetuneRecipe or a YAML file; or else `model` and `train` (and `dev`, `test`), with every other setting
    at its default; overrides: `key.sub=value`. Rows are files, or what holds rows in memory (a DataFrame, a `datasets`
    split, a list of dicts): these are written into given/ of the run, and its recipe names those files. test: rows
    that must not stand in train; they are not evaluated here (`Predictor.evaluate`). Resumes like `pretrain`, and takes
    a `world` like it. rows: gives the rows of the recipe, where they are read already. Raises UserError for what cannot
    be used.
    """
    held: dict[Path, MemoryRows] = {}
    with join_world(world) as world:
        with world.sync_errors():
            if recipe is None:
                if model is None or train is None:
                    raise UserError("fine-tuning needs a model and training rows", allowed="model=FOLDER, train=FILE")
                data, held = _named({"train": train, "dev": dev, "test": test}, Path(output) / GIVEN)
                values = {"init_from": str(model), "task": {"name": task}, "data": data}
                recipe = parse_recipe(FinetuneRecipe, values, overrides, where="the settings given")
            else:
                recipe = read_recipe(FinetuneRecipe, recipe, overrides)
        with Run(Path(output), recipe, "finetune", world) as run:
            return FinetuneResult(
                **train_run(run, "Fine-tuning", partial(_training, run, recipe, held, rows), progress)
            )


def _named(given: dict[str, Any], folder: Path) -> tuple[dict[str, str], dict[Path, MemoryRows]]:
    """The files of a recipe's data, and what is still to be written into those for rows in memory."""
    paths, held = {}, {}
    for name, rows in given.items():
        if rows is None:
            continue
        source = as_source(rows, f"the {name} rows given")
        if isinstance(source, MemoryRows):
            path = folder / f"{name}.jsonl"
            held[path] = source
            source = path
        paths[name] = str(source)
    return paths, held


def check(recipe: FinetuneRecipe, bundle: bundle.Bundle) -> None:
    """Raises UserError for what no single setting can see."""
    positions = architecture(bundle.config, recipe.transfer).max_position_embeddings
    if recipe.task.max_length > positions:
        raise UserError(
            "task.max_length is above the positions of the model",
            given=f"task.max_length={recipe.task.max_length}",
            allowed=f"at most {positions}",
            hint=f"task.max_length={positions}, or transfer.max_position_embeddings={recipe.task.max_length}",
        )


def _training(
    run: Run,
    recipe: FinetuneRecipe,
    held: dict[Path, MemoryRows],
    read: Callable[[], PreparedRows] | None,
    progress: Progress,
) -> Training:
    """What a recipe trains. held: rows in memory that are written into the run first, by their files; read: gives the
    rows of the recipe, where they are read already."""
    world, data = run.world, recipe.data
    world.run_on_rank0(lambda: run.save_texts({path: rows.jsonl() for path, rows in held.items()}))
    opened = bundle.read(recipe.init_from)
    check(recipe, opened)
    recipe = with_default_lr(recipe, opened.config.hidden_size)
    rows = prepare_rows(data, recipe.seed, task_of(recipe.task).reads) if read is None else read()
    _record_rows(run, recipe, opened, rows)
    train, dev = rows.train, rows.dev
    task = task_of(recipe.task).build(recipe.task, opened.tokenizer, train)
    task.set_metric(dev)
    encoded, notes = task.encode(train)
    check_rows(train, encoded)
    dev_rows, dev_notes = task.encode([example.keep_labels(task.labels) for example in dev])
    for remark in (*notes.remarks, *dev_notes.remarks):
        console.note(remark)
    dev_set = DevSet(task, dev, dev_rows)
    learner, heads = _learner(opened, recipe, task, encoded)
    origin = transfer_summary(opened, learner, recipe.transfer, heads) | {"lr": recipe.train.optimizer.peak_lr}
    sequences = RowSequences(encoded, together=learner.head.keeps_rows_together)
    metric = f"{task.name}.{task.metric}"

    def describe(step: Step, best: float | None) -> str:
        if best is None:
            return message("loss {loss:.3f}", step.loss)
        title, figure = message(figure_of(metric).title), format_score(metric, best)
        return message("loss {loss:.3f}  best dev {metric} {figure}", step.loss, title, figure)

    def save_model(lineage: list[dict[str, Any]], state: TrainerState) -> dict[str, Any]:
        reading = {**rows.options.changed, "pairs": train[0].pair is not None}
        best = evaluate(learner, dev_set, finished=True)
        if task.calibrates == "after training":
            console.note(
                f"{', '.join(best.parameters)} chosen on {len(dev):,} dev rows: figures on these rows flatter the model"
            )
        schema = task.schema()
        if best.parameters:
            schema["parameters"] = {name: values.tolist() for name, values in best.parameters.items()}
        config = learner.encoder.config
        public = head_class(task).public_architecture(task, config.family)
        bundle.write(run.model, config, learner.saved_modules(), task.tokenizer, lineage, schema, public, reading)
        return {
            "best_step": state.best_step,
            "train_rows": len(train),
            "dev_rows": len(dev),
            "truncated": notes.truncated,
            "dev": best.figures,
            "metric": metric,
        }

    return Training(
        learner=learner,
        batches=build_batches(sequences, data.batch_size, recipe.train, recipe.seed, world),
        config=recipe.train,
        seed=recipe.seed,
        lineage=opened.lineage,
        init_weights=(lambda: run.write_facts(init=origin)) if recipe.pretrained else (lambda: None),
        evaluate=lambda: evaluate(learner, dev_set).figures,
        best_metric=BestMetric(metric, higher_is_better=not figure_of(metric).lower_is_better),
        keep_best=True,
        describe=describe,
        save_model=save_model,
    )


def with_default_lr(recipe: FinetuneRecipe, hidden_size: int) -> FinetuneRecipe:
    """The recipe with a learning rate, where it names none."""
    optimizer = recipe.train.optimizer
    if optimizer.lr is not None:
        return recipe
    rated = changed(optimizer, lr=default_finetune_lr(hidden_size))
    return changed(recipe, train=changed(recipe.train, optimizer=rated))


def _record_rows(run: Run, recipe: FinetuneRecipe, opened: bundle.Bundle, rows: PreparedRows) -> None:
    """Write down what was found in the rows and cut from them, before anything is learnt from them."""
    data = recipe.data
    names = ("train", "dev", "test") if data.leaks == "drop" else ("train", "dev")
    sums = {name: rows.sha256.get(name) for name in names}
    run.check_inputs(model=opened.sha256, **{name: digest for name, digest in sums.items() if digest})
    for note in rows.notes:
        console.note(note)

    def write_down() -> None:
        run.write_facts(checked=dict(rows.checked))
        write_split(data, rows, run.folder)

    run.world.run_on_rank0(write_down)


def _learner(
    opened: bundle.Bundle,
    recipe: FinetuneRecipe,
    task: Task[Any],
    rows: Sequence[EncodedRow],
) -> tuple[TaskLearner, Heads]:
    """What is trained, and whose head it begins with."""
    transfer = recipe.transfer
    taken = load_pretrained(opened, transfer, recipe.seed)
    torch.manual_seed(recipe.seed)
    if recipe.pretrained:
        encoder = taken.encoder(dropout=recipe.dropout)
    else:
        encoder = Encoder(changed(taken.config, dropout=recipe.dropout))
    head = build_head(task, encoder.config)
    head.init_from_counts(task, rows)
    mask_token_id = opened.tokenizer.mask_token_id if recipe.mask_prob else 0
    learner = TaskLearner(encoder, head, recipe.regularisation, recipe.mask_prob, mask_token_id)
    heads: Heads = {task.name: "new"}
    if recipe.pretrained:
        heads = load_head(taken, learner, task, transfer)
    set_trainable(learner, transfer)
    return learner, heads
