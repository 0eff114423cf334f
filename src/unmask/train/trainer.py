"""Trainer: resume, train, log, evaluate, save. Pretraining and fine-tuning both stand on it."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from unmask import console
from unmask.advice import advise, option, setting
from unmask.console import Progress
from unmask.errors import UserError
from unmask.learner.batches import Batches
from unmask.learner.learner import Learner
from unmask.messages import join, message
from unmask.runtime.predictor import Predictor, load
from unmask.train.budget import TrainConfig
from unmask.train.run import Interrupted, Run, interruptible
from unmask.train.steps import optim
from unmask.train.steps.choices import choose_threads, compile_block, compiles_blocks, fixed_threads
from unmask.train.steps.device import keep_freed_memory, limit_kernel_cache, resolve_precision
from unmask.train.steps.ema import EMA
from unmask.train.steps.loop import LoopState, Step, train_steps
from unmask.train.steps.speed import measure_speed

MIN_SECONDS = 10.0  # of training, for its speed to be measured
LOG_EVERY = 0.5  # seconds of training between rows of metrics.jsonl, so that a log stays small


@dataclass
class TrainerState(LoopState):
    """How far a run is, and its best evaluation. evaluations: marks passed, of the evenly spaced ones."""

    evaluations: int = 0
    best_value: float | None = None
    best_step: int | None = None


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The outcome of a finished run. seconds: of training, pauses not counted; speed: of its last start
    (train/steps/speed.py), None where that was too short."""

    folder: Path
    steps: int
    seconds: float
    speed: dict[str, Any] | None = None

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def predictor(self) -> Predictor:
        """Open the model of the run for prediction."""
        return load(self.model)


class Trainer(ABC):
    """One run under way, in each process that trains it. Pretraining and fine-tuning say what is trained, and how that
    is evaluated and saved.

    title: of the progress. learner: has the weights that come out at the end, and while `evaluate` runs, on the main
    process. metric: the figure that decides which evaluation is best. keep_best: whether the weights of that one are
    published, or else the last. All abstract methods but `prepare` are called on the main process only, without other
    processes taking part.
    """

    title: str
    keep_best: bool
    learner: Learner
    batches: Batches
    settings: TrainConfig
    metric: str
    higher_is_better: bool

    def __init__(self, run: Run) -> None:
        self.run, self.world, self.recipe, self.seed = run, run.world, run.recipe, int(run.recipe.seed)
        self.lineage: list[dict[str, Any]] = []  # of the model that it starts from

    @abstractmethod
    def prepare(self, progress: Progress) -> None:
        """Read the data and make what is trained: the attributes of this class."""

    @abstractmethod
    def init_weights(self, progress: Progress) -> None:
        """Give a new learner its first weights."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Return figures of the learner by name."""

    @abstractmethod
    def describe(self, step: Step) -> str:
        """Describe a step in a few words."""

    @abstractmethod
    def save_model(self, lineage: list[dict[str, Any]]) -> dict[str, Any]:
        """Write the model folder; returns what the result holds of it."""

    def __call__(self, progress: Progress | None) -> dict[str, Any]:
        """Train the run to its end, unless it is finished, and return the values of its RunResult.

        Raises UserError for what cannot be used, Interrupted after a signal.
        """
        if self.run.outcome():
            again = advise("remove it or choose another {option} to train again", option("output"))
            console.note(join([message("{folder} is finished", self.run.folder), again], "; "))
        elif progress is None:
            with console.start_step(self.title) as work:
                self(work)
                work.result(str(self.run.folder))
        else:
            with self.world.sync_errors():
                self.prepare(progress)
                self.learner.to(self.world.device)
            threads = torch.get_num_threads()
            try:
                self._start(progress)
                self._train(progress)
            finally:
                torch.set_num_threads(threads)
            self._publish()
        return {"folder": self.run.folder, **self.run.outcome()}

    def _start(self, progress: Progress) -> None:
        """Begin a run, or resume it."""
        if self.learner.uses_in_batch_negatives and self.batches.gradient_accumulation_steps > 1:
            given = f"train.gradient_accumulation_steps={self.batches.gradient_accumulation_steps}"
            plain = setting("train.gradient_accumulation_steps=1 train.gradient_checkpointing=true")
            hint = [advise("{settings}, or fewer rows in a step", plain)]
            raise UserError("contrastive loss cannot use gradient accumulation", given=given, hint=hint)
        keep_freed_memory()
        limit_kernel_cache()
        self.learner.to(resolve_precision(self.settings.precision, "cpu").weights_dtype)
        self.learner.encoder.gradient_checkpointing = self.settings.gradient_checkpointing
        if not self.run.checkpoints.any:
            self.world.run_on_rank0(lambda: self.init_weights(progress))
        self.wrapped = self.world.wrap(self.learner, self.settings.parallel)
        self.plain = self.world.unwrap(self.wrapped)
        self.optimizer = optim.build_optimizer(self.settings.optimizer, self.plain)
        self.ema = EMA(self.plain, self.settings.ema) if self.settings.ema else None
        self.state = TrainerState()
        if (saved := self.run.checkpoints.restore(self.plain, self.optimizer, self.ema)) is not None:
            console.note("resuming after step {step:,}", saved["step"])
            self.state = TrainerState(**{field.name: saved[field.name] for field in fields(TrainerState)})
        self.run.truncate_log(self.state.step)
        self.saved = time.monotonic()
        self.tokens, self.train_seconds, self.data_wait_seconds = 0, 0.0, 0.0  # of this start

    def _publish(self) -> None:
        """Write the model and the outcome: the weights of the best checkpoint, or the last; averaged."""
        speed, state, step = self.world.run_on_rank0(self._speed), self.state, self.state.best_step
        if self.keep_best and step is not None:
            self.world.run_on_rank0(lambda: self.run.checkpoints.load_weights(step, self.learner))
        else:
            if self.ema is not None:
                self.ema.copy_to_learner()
            self.world.gather(self.wrapped, self.learner)

        def write() -> None:
            facts = self.save_model([*self.lineage, self.run.lineage_entry(state.step, state.tokens)])
            outcome = {"steps": state.step, "seconds": round(state.seconds, 2), **facts, "speed": speed}
            self.run.write_facts(finished=outcome)

        self.world.run_on_rank0(write)

    def _threads(self) -> int:
        """The setting, or as many as were fastest when the run began: the same number gives the same bits."""
        fixed = fixed_threads(self.settings, self.world)
        if fixed is not None:
            return fixed
        choices = self.run.facts().get("choices", {})
        if "threads" not in choices:
            choices["threads"], _ = choose_threads(self.learner, self.batches, self.settings, self.seed)
            self.run.write_facts(choices=choices)
        return int(choices["threads"])

    def _speed(self) -> dict[str, Any] | None:
        """The speed of this start, compared with the device (train/steps/speed.py); None where it was too short."""
        if self.train_seconds < MIN_SECONDS:
            return None
        precision = resolve_precision(self.settings.precision, self.world.device)
        rate, waited = self.tokens / self.train_seconds, self.data_wait_seconds / self.train_seconds
        measured = measure_speed(self.learner, self.batches, precision, rate / self.world.size, waited)
        return {**measured, "tokens_per_second": round(rate), "processes": self.world.size}

    def _train(self, progress: Progress) -> None:
        """Train to the end of the budget. Raises Interrupted after a signal, with everything saved."""
        progress.start(1.0, "")
        torch.set_num_threads(self._threads())
        if compiles_blocks(self.learner, self.batches, self.settings, self.world):
            self.plain.encoder.compiled_block = compile_block()
        steps: list[Step] = []  # since the last row of the log
        shown: float | None = None
        self.wrapped.train()
        loop = train_steps(self.wrapped, self.optimizer, self.batches, self.settings, self.state, self.seed, self.world)
        with interruptible() as stop, closing(loop):
            for step in loop:
                steps.append(step)
                self.tokens += step.tokens
                self.train_seconds += step.step_seconds
                self.data_wait_seconds += step.data_wait_seconds
                if self.ema is not None and not step.skipped:
                    self.ema.update(step.previous_progress, step.progress)
                text = "{speed:,.0f} tokens/s  {step}"
                progress.show(message(text, _tokens_per_second(steps), self.describe(step)))
                if shown is None:
                    shown = step.previous_progress
                    progress.resume(shown)
                progress.advance(step.progress - shown)
                shown = step.progress
                if sum(one.step_seconds for one in steps) >= LOG_EVERY or step.progress >= 1:
                    self.run.append(**log_row(steps, self.state.tokens))
                    steps = []
                marks = int(step.progress * self.settings.evaluations + 1e-9)
                due, self.state.evaluations = marks > self.state.evaluations, marks
                if due:
                    self._evaluate(step)
                # a signal to one is a signal to all; the clock of the main process is that of all
                late = self.world.is_main and time.monotonic() - self.saved > self.settings.save_minutes * 60
                signal, late_anywhere = self.world.max([stop.signal or 0, late])
                if signal or (late_anywhere and not step.skipped):
                    self._save()
                if signal:
                    self.run.checkpoints.wait()
                    raise Interrupted(int(signal))
        self.run.checkpoints.wait()

    def _evaluate(self, step: Step) -> None:
        with self.ema.swapped() if self.ema is not None else nullcontext():
            self.world.gather(self.wrapped, self.learner)
            figures = self.world.run_on_rank0(self.evaluate)
        if step.skipped or not all(map(math.isfinite, figures.values())):
            return  # weights that are no numbers are neither saved nor shown; the loop stops if that lasts
        value, best = figures[self.metric], self.state.best_value
        if best is None or (value > best if self.higher_is_better else value < best):
            self.state.best_value, self.state.best_step = value, step.number
        place = {"step": step.number, "progress": step.progress, "seconds": step.seconds, "tokens": self.state.tokens}
        self.run.append(**place, evaluation=figures)
        self._save()

    def _save(self) -> None:
        self.run.checkpoints.save(asdict(self.state), self.plain, self.optimizer, self.ema)
        self.saved = time.monotonic()


def _tokens_per_second(steps: Sequence[Step]) -> float:
    return sum(step.tokens for step in steps) / max(1e-9, sum(step.step_seconds for step in steps))


def log_row(steps: Sequence[Step], tokens: int) -> dict[str, Any]:
    """The row of metrics.jsonl for the steps since the last one: the state after them, means over those that were not
    skipped. tokens: read since the run began."""
    last, learnt = steps[-1], [step for step in steps if not step.skipped]
    seconds = max(1e-9, sum(step.step_seconds for step in steps))
    losses = {f"{name}.loss": fmean(step.losses[name] for step in learnt) for name in last.losses if learnt}
    norms = next((step.norms for step in reversed(learnt) if step.norms), {})
    row: dict[str, Any] = {
        "step": last.number,
        "progress": round(last.progress, 6),
        "seconds": round(last.seconds, 3),
        "tokens": tokens,
        "loss": round(fmean(step.loss for step in learnt), 6) if learnt else None,
        **({name: round(loss, 6) for name, loss in losses.items()} if len(losses) > 1 else {}),
        "lr": float(f"{last.lr:.6g}"),
        "grad_norm": None if last.skipped else round(last.grad_norm, 6),
        "tokens_per_second": round(_tokens_per_second(steps)),
        "data_wait": round(sum(step.data_wait_seconds for step in steps) / seconds, 4),
        "skipped": len(steps) - len(learnt) or None,
        "norms": {name: [float(f"{value:.5g}") for value in values] for name, values in norms.items()} or None,
    }
    return {name: value for name, value in row.items() if value is not None}
