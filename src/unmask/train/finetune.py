"""Fine-tuning: a model folder, labelled rows and a recipe in, a run folder with a model for the task out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch

from unmask import bundle, console
from unmask.advice import with_recipe
from unmask.config import changed
from unmask.console import Progress
from unmask.data.encoded import EncodedRow
from unmask.data.rows.options import ReadOptions
from unmask.data.rows.readers.memory import MemoryRows, as_source
from unmask.data.sequences import RowSequences
from unmask.errors import UserError
from unmask.heads import build_head
from unmask.learner.batches import Batches
from unmask.learner.task_learner import TaskLearner
from unmask.messages import message
from unmask.metrics import figure_of, format_score
from unmask.model.encoder import Encoder
from unmask.tasks import EMBED_FACTS, Task, task_of
from unmask.tasks.labelled_spans import check_rows
from unmask.tasks.span_check import check_alignment
from unmask.tasks.task import Notes
from unmask.train import transfer
from unmask.train.dev_metrics import evaluate
from unmask.train.recipe import FinetuneRecipe, parse_recipe, read_recipe
from unmask.train.rows import PreparedRows, prepare_rows, write_split
from unmask.train.run import GIVEN, Run
from unmask.train.steps.loop import Step
from unmask.train.steps.optim import default_finetune_lr
from unmask.train.steps.parallel import World, join_world
from unmask.train.trainer import RunResult, Trainer


@dataclass(frozen=True, kw_only=True)
class FinetuneResult(RunResult):
    """The outcome of a fine-tuning run. dev: figures of the best checkpoint on the dev rows; metric: the one of
    them by which it was chosen."""

    best_step: int
    train_rows: int
    dev_rows: int
    truncated: int
    dev: dict[str, float]
    metric: str = "classify.accuracy"

    @property
    def best_score(self) -> tuple[str, float]:
        """The title of the metric, and its value on the dev rows."""
        return figure_of(self.metric).title, self.dev[self.metric]


@with_recipe([one.name for one in fields(ReadOptions)])
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
    allow_unused: bool = False,
) -> FinetuneResult:
    """Train a model for a task; the run folder `output` then holds model/ (the best on dev), the log, checkpoints.

    recipe: a FinetuneRecipe or a YAML file; or else `model` and `train` (and `dev`, `test`), with every other setting
    at its default; overrides: `key.sub=value`. Rows are files, or what holds rows in memory (a DataFrame, a `datasets`
    split, a list of dicts): these are written into input/ of the run, and its recipe names those files. test: rows
    that must not stand in train; they are not evaluated here (`Predictor.evaluate`). Resumes like `pretrain`, and takes
    a `world` like it. rows: gives the rows of the recipe, where they are read already; allow_unused: in place of
    transfer.allow_unused. Raises UserError for what cannot be used.
    """
    texts: dict[str, str] = {}
    overrides = [*overrides, "transfer.allow_unused=true"] if allow_unused else overrides
    with join_world(world) as world:
        with world.sync_errors():
            if recipe is None:
                if model is None or train is None:
                    raise UserError("fine-tuning needs a model and training rows", allowed="model=FOLDER, train=FILE")
                given = {"train": train, "dev": dev, "test": test}.items()
                sources = {name: as_source(rows, f"the {name} rows given") for name, rows in given if rows is not None}
                texts = {name: source.jsonl() for name, source in sources.items() if isinstance(source, MemoryRows)}
                data = {name: str(source) for name, source in sources.items()}
                data |= {name: str(Path(output) / GIVEN / f"{name}.jsonl") for name in texts}
                values = {"init_from": str(model), "task": {"name": task}, "data": data}
                recipe = parse_recipe(FinetuneRecipe, values, overrides, where="the settings given")
            else:
                recipe = read_recipe(FinetuneRecipe, recipe, overrides)
        with Run(Path(output), recipe, "finetune", world) as run:
            return FinetuneResult(**FinetuneTrainer(run, texts, rows)(progress))


def check(recipe: FinetuneRecipe, opened: bundle.Bundle) -> None:
    """Raises UserError for what no single setting can see."""
    positions = transfer.architecture(opened.config, recipe.transfer).max_position_embeddings
    transfer.check_max_length("task.max_length", recipe.task.max_length, positions)


class FinetuneTrainer(Trainer):
    """Trains the encoder and the head of a recipe's task.

    texts: rows in memory, by the name of the file that they are written into first; read: gives the rows of the recipe,
    where they are read already.
    """

    title, keep_best = "Fine-tuning", True
    learner: TaskLearner
    recipe: FinetuneRecipe

    def __init__(self, run: Run, texts: Mapping[str, str], read: Callable[[], PreparedRows] | None) -> None:
        super().__init__(run)
        self.texts = texts
        self.read = read or partial(prepare_rows, self.recipe.data, self.seed, task_of(self.recipe.task).reads)

    def prepare(self, progress: Progress) -> None:
        """Read and encode the rows, make the learner and the batches."""
        recipe = self.recipe
        self.world.run_on_rank0(lambda: self.run.save_texts(self.texts))
        self.opened = bundle.read(recipe.init_from, allow_unused=recipe.transfer.allow_unused)
        self.lineage = self.opened.lineage
        check(recipe, self.opened)
        if facts := [name for name in EMBED_FACTS if (self.opened.task or {}).get(name)]:
            console.note("{folder}: the new model is without its {facts}", self.opened.folder, ", ".join(facts))
        optimizer = recipe.train.optimizer
        if optimizer.lr is None:
            optimizer = changed(optimizer, lr=default_finetune_lr(self.opened.config.hidden_size))
        self.settings = changed(recipe.train, optimizer=optimizer)
        self.rows = self.read()
        self.world.run_on_rank0(self._record_rows)
        self.task = task_of(recipe.task).build(recipe.task, self.opened.tokenizer, self.rows.train)
        self.task.metric = self.task.metric_for(self.rows.dev)
        encoded, self.notes = self.task.encode(self.rows.train)
        check_rows(self.rows.train, encoded)
        self.dev_rows, dev_notes = self.task.encode([row.keep_labels(self.task.labels) for row in self.rows.dev])
        for remark in (*self.rows.notes, *self.notes.remarks, *dev_notes.remarks, *self._alignment(dev_notes)):
            console.note(remark)
        self.metric = f"{self.task.name}.{self.task.metric}"
        self.higher_is_better = not figure_of(self.metric).lower_is_better
        self.learner, self.heads = _build_learner(self.opened, recipe, self.task, encoded)
        sequences = RowSequences(encoded, together=self.learner.head.keeps_rows_together)
        ranks = recipe.train.gradient_accumulation_steps, self.world.rank, self.world.size
        self.batches = Batches(sequences, recipe.data.batch_size, recipe.seed, *ranks, recipe.train.batch_ramp)

    def _record_rows(self) -> None:
        """Tie the run to its rows, and write what was checked in them and cut from them, before training."""
        data, rows = self.recipe.data, self.rows
        names = {"train", "dev", "test"} if data.leaks == "drop" else {"train", "dev"}
        sums = {name: digest for name, digest in rows.sha256.items() if digest and name in names}
        self.run.check_inputs(model=self.opened.sha256, **sums)
        self.run.write_facts(checked=dict(rows.checked))
        write_split(data, rows, self.run.folder)

    def _alignment(self, dev_notes: Notes) -> list[str]:
        """Notes on files whose spans fit the words better in another unit of offsets. Raises UserError for a file of
        which most spans fit none."""
        if self.task.kind != "tags":
            return []
        data, rows = self.recipe.data, self.rows
        files = [rows.train] if self.notes.remarks else []
        files += [rows.dev] if data.dev and dev_notes.remarks else []
        files += [rows.test] if data.test and rows.test else []
        return [note for one in files if (note := check_alignment(one, self.opened.tokenizer)) is not None]

    def init_weights(self, progress: Progress) -> None:
        """Record where the weights come from: they are loaded with the learner."""
        if self.recipe.pretrained:
            origin = transfer.summary(self.opened, self.learner, self.recipe.transfer, self.heads)
            self.run.write_facts(init={**origin, "lr": self.settings.optimizer.peak_lr})

    def evaluate(self) -> dict[str, float]:
        """Loss and metrics on the dev rows."""
        return evaluate(self.learner, self.task, self.rows.dev, self.dev_rows)[0]

    def describe(self, step: Step) -> str:
        """The loss, and the best value of the metric so far."""
        if self.state.best_value is None:
            return message("loss {loss:.3f}", step.loss)
        title, figure = message(figure_of(self.metric).title), format_score(self.metric, self.state.best_value)
        return message("loss {loss:.3f}  best dev {metric} {figure}", step.loss, title, figure)

    def save_model(self, lineage: list[dict[str, Any]]) -> dict[str, Any]:
        """Write encoder, head and task, with calibrated parameters; returns the values of a FinetuneResult."""
        task, train, dev = self.task, self.rows.train, self.rows.dev
        reading = {**self.rows.options.changed, "pairs": train[0].pair is not None}
        figures, calibrated = evaluate(self.learner, task, dev, self.dev_rows, final=True)
        if task.calibrates == "after training":
            console.note(f"{', '.join(calibrated)} chosen on {len(dev):,} dev rows: their figures flatter the model")
        schema = task.schema()
        if calibrated:
            schema["parameters"] = {name: values.tolist() for name, values in calibrated.items()}
        folder, config, modules = self.run.folder / "model", self.learner.encoder.config, self.learner.saved_modules()
        bundle.write(folder, config, modules, task.tokenizer, lineage, schema, reading)
        return {
            "best_step": self.state.best_step,
            "train_rows": len(train),
            "dev_rows": len(dev),
            "truncated": self.notes.truncated,
            "dev": figures,
            "metric": self.metric,
        }


def _build_learner(
    opened: bundle.Bundle, recipe: FinetuneRecipe, task: Task[Any], rows: Sequence[EncodedRow]
) -> tuple[TaskLearner, dict[str, str]]:
    """The encoder with the head of the task, and where the weights of the head come from."""
    loaded = transfer.load_pretrained(opened, recipe.transfer, recipe.seed)
    torch.manual_seed(recipe.seed)
    config = changed(loaded.config, dropout=recipe.dropout)
    encoder = loaded.encoder(dropout=recipe.dropout) if recipe.pretrained else Encoder(config)
    head = build_head(task, encoder.config)
    head.init_from_counts(task, rows)
    mask_token_id = opened.tokenizer.mask_token_id if recipe.mask_prob else 0
    learner = TaskLearner(encoder, head, recipe.regularisation, recipe.mask_prob, mask_token_id)
    origin = transfer.load_task_head(loaded, learner, task, recipe.transfer) if recipe.pretrained else "new"
    transfer.set_trainable(learner, recipe.transfer)
    return learner, {task.name: origin}
