"""Driving a run: resume, train, log, evaluate, save, stop early. Pretraining and fine-tuning both stand on it."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from unmask import console
from unmask.console import Progress
from unmask.data.sequences import SequenceSource
from unmask.errors import UserError
from unmask.learner.batches import Batches
from unmask.learner.learner import Learner
from unmask.messages import message
from unmask.runtime.predictor import Predictor, load
from unmask.train import optim
from unmask.train.budget import TrainConfig
from unmask.train.choices import choose_threads, compile_block, compiles_blocks, fixed_threads
from unmask.train.device import keep_freed_memory, limit_kernel_cache, resolve_precision
from unmask.train.ema import EMA
from unmask.train.loop import LoopState, Step, train_steps
from unmask.train.parallel import World
from unmask.train.run import Interrupted, Run, interruptible
from unmask.train.speed import measure_speed

MIN_SECONDS = 10.0  # seconds of training, for its speed to be told
LOG_EVERY = 0.5  # seconds of training between rows of metrics.jsonl, so that a log stays small


@dataclass(frozen=True)
class BestMetric:
    """The figure that decides which checkpoint is best, for example `classify.accuracy`."""

    key: str
    higher_is_better: bool

    def is_better(self, value: float, than: float | None) -> bool:
        if not math.isfinite(value):
            return False
        return than is None or (value > than if self.higher_is_better else value < than)


@dataclass
class TrainerState(LoopState):
    """A State with what the evaluations have shown so far."""

    evaluations: int = 0  # marks passed, of the evenly spaced ones
    best_value: float | None = None
    best_step: int | None = None
    evaluations_since_best: int = 0  # evaluations since the best one


class LogWindow:
    """Throughput and mean losses since the last row of the log."""

    def __init__(self) -> None:
        self.steps, self.skipped, self.tokens = 0, 0, 0
        self.train_seconds, self.data_wait_seconds, self.loss = 0.0, 0.0, 0.0
        self.losses: dict[str, float] = {}
        self.norms: Mapping[str, Sequence[float]] | None = None

    def add(self, step: Step) -> None:
        self.tokens += step.tokens
        self.train_seconds += step.step_seconds
        self.data_wait_seconds += step.data_wait_seconds
        if step.skipped:
            self.skipped += 1
            return
        self.norms = step.norms or self.norms
        self.steps += 1
        self.loss += (step.loss - self.loss) / self.steps
        for name, value in step.losses.items():
            before = self.losses.get(name, 0.0)
            self.losses[name] = before + (value - before) / self.steps

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / max(1e-9, self.train_seconds)


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a finished run brought. seconds: of training, pauses not counted; speed: of its last start
    (train/speed.py), None where that was too short."""

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


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a run trains and how that is evaluated and saved: all in which pretraining and fine-tuning differ.

    learner: has the weights that come out at the end, and while `evaluate` runs, on the main process; lineage: of the
    model that it starts from; init_weights: gives a new learner its first weights; evaluate: returns figures by name;
    keep_best: whether the weights of the best evaluation are kept, or else the last; describe: turns a step and the
    best value so far into a few words; save_model: writes the model folder with its lineage, returns what the result
    says of it. These are called on the main process only, without other processes taking part.
    """

    learner: Learner
    batches: Batches
    config: TrainConfig
    seed: int
    lineage: list[dict[str, Any]]
    init_weights: Callable[[], None]
    evaluate: Callable[[], dict[str, float]]
    best_metric: BestMetric
    keep_best: bool
    describe: Callable[[Step, float | None], str]
    save_model: Callable[[list[dict[str, Any]], TrainerState], dict[str, Any]]


def train_run(run: Run, title: str, build: Callable[[Progress], Training], progress: Progress | None) -> dict[str, Any]:
    """Train a run to its end, unless it is finished, and return what it brought: the values of a RunResult.

    title: of the progress that is shown where none is passed on. Raises UserError for what cannot be used, Interrupted
    after a signal.
    """
    if run.finished:
        console.note("{folder} is finished; remove it or choose another --output to train again", run.folder)
    elif progress is not None:
        _train_run(run, build, progress)
    else:
        with console.start_step(title) as work:
            _train_run(run, build, work)
            work.result(str(run.folder))
    return {"folder": run.folder, **run.outcome()}


def _train_run(run: Run, build: Callable[[Progress], Training], progress: Progress) -> None:
    with run.world.sync_errors():
        training = build(progress)
        training.learner.to(run.world.device)
    trainer = Trainer(run, training)
    state = trainer(progress)
    speed = run.world.run_on_rank0(trainer.speed)
    trainer.finish()

    def publish() -> None:
        facts = training.save_model([*training.lineage, run.lineage_entry(state.step, state.tokens)], state)
        run.write_facts(finished={"steps": state.step, "seconds": round(state.seconds, 2), **facts, "speed": speed})

    run.world.run_on_rank0(publish)


def build_batches(
    sequences: SequenceSource, examples_per_step: int, config: TrainConfig, seed: int, world: World
) -> Batches:
    """The training batches, as this process reads them."""
    return Batches(
        sequences,
        examples_per_step,
        seed,
        config.gradient_accumulation_steps,
        world.rank,
        world.size,
        config.batch_ramp,
    )


class Trainer:
    """One run under way, in each process that trains it."""

    def __init__(self, run: Run, training: Training) -> None:
        self.run, self.training, self.world = run, training, run.world
        self.learner, self.batches = training.learner, training.batches
        self.settings, self.seed, self.best_metric = training.config, training.seed, training.best_metric
        if self.learner.uses_in_batch_negatives and self.batches.gradient_accumulation_steps > 1:
            raise UserError(
                "contrastive loss cannot use gradient accumulation",
                given=f"train.gradient_accumulation_steps={self.batches.gradient_accumulation_steps}",
                allowed="train.gradient_accumulation_steps=1",
                hint="train.gradient_checkpointing=true, or fewer rows in a step",
            )
        keep_freed_memory()
        limit_kernel_cache()
        self.learner.to(resolve_precision(self.settings.precision, "cpu").weights_dtype)
        self.learner.encoder.gradient_checkpointing = self.settings.gradient_checkpointing
        if not run.checkpoints.any:
            self.world.run_on_rank0(training.init_weights)
        self.wrapped = self.world.wrap(self.learner, self.settings.parallel)
        self.plain = self.world.unwrap(self.wrapped)
        self.optimizer = optim.build_optimizer(self.settings.optimizer, self.plain)
        self.ema = EMA(self.plain, self.settings.ema) if self.settings.ema else None
        self.state = self._resume()
        run.truncate_log(self.state.step)
        self.saved = time.monotonic()
        self.totals = LogWindow()  # of this start

    def _resume(self) -> TrainerState:
        """How far the run is, by the newest checkpoint, which is taken up if there is one."""
        state = self.run.checkpoints.restore(self.plain, self.optimizer, self.ema)
        if state is None:
            return TrainerState()
        console.note("resuming after step {step:,}", state["step"])
        return TrainerState(**{field.name: state[field.name] for field in fields(TrainerState)})

    def finish(self) -> None:
        """Leave the learner with what the run brought: the weights of the best checkpoint, or the last; averaged."""
        step = self.state.best_step if self.training.keep_best else None
        if step is not None:
            self.world.run_on_rank0(lambda: self.run.checkpoints.load_weights(step, self.learner))
            return
        if self.ema is not None:
            self.ema.copy_to_learner()
        self.world.gather(self.wrapped, self.learner)

    def __call__(self, progress: Progress) -> TrainerState:
        """Train to the end of the budget. Raises Interrupted after a signal, with everything saved."""
        progress.start(1.0, "")
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads())
        if compiles_blocks(self.learner, self.batches, self.settings, self.world):
            self.plain.encoder.compiled_block = compile_block()
        try:
            return self._train(progress)
        finally:
            torch.set_num_threads(before)

    def _threads(self) -> int:
        """As many as asked for, or as were fastest when the run began: the same number gives the same bits."""
        fixed = fixed_threads(self.settings, self.world)
        if fixed is not None:
            return fixed
        choices = self.run.facts().get("choices", {})
        if "threads" not in choices:
            choices["threads"], _ = choose_threads(self.learner, self.batches, self.settings, self.seed)
            self.run.write_facts(choices=choices)
        return int(choices["threads"])

    def speed(self) -> dict[str, Any] | None:
        """What this start got out of the device (train/speed.py); None after a few seconds only, which say little."""
        if self.totals.train_seconds < MIN_SECONDS:
            return None
        precision = resolve_precision(self.settings.precision, self.world.device)
        size, rate = self.world.size, self.totals.tokens_per_second
        waited = self.totals.data_wait_seconds / self.totals.train_seconds
        told = measure_speed(self.learner, self.batches, precision, rate / size, waited)
        return {**told, "tokens_per_second": round(rate), "processes": size}

    def _train(self, progress: Progress) -> TrainerState:
        standing, window, shown = self.state, LogWindow(), 0.0
        self.wrapped.train()
        loop = train_steps(self.wrapped, self.optimizer, self.batches, self.settings, standing, self.seed, self.world)
        with interruptible() as stop, closing(loop):
            for step in () if self._out_of_patience else loop:
                window.add(step)
                self.totals.add(step)
                if self.ema is not None and not step.skipped:
                    self.ema.update(step.previous_progress, step.progress)
                described = self.training.describe(step, standing.best_value)
                progress.show(message("{speed:,.0f} tokens/s  {step}", window.tokens_per_second, described))
                progress.advance(step.progress - shown)
                shown = step.progress
                if window.train_seconds >= LOG_EVERY or step.progress >= 1:
                    self.run.append(**self._row(step, window))
                    window = LogWindow()
                if self._evaluation_is_due(step.progress):
                    self._evaluate(step)
                    if self._out_of_patience:
                        break
                # a signal to one is a signal to all; the clock of the main process is that of all
                signal, late = self.world.max([stop.signal or 0, self.world.is_main and self._checkpoint_is_due])
                if signal or (late and not step.skipped):
                    self._save()
                if signal:
                    self.run.checkpoints.wait()
                    raise Interrupted(int(signal))
        self.run.checkpoints.wait()
        return standing

    @property
    def _checkpoint_is_due(self) -> bool:
        return time.monotonic() - self.saved > self.settings.save_minutes * 60

    @property
    def _out_of_patience(self) -> bool:
        return self.settings.patience is not None and self.state.evaluations_since_best >= self.settings.patience

    def _evaluation_is_due(self, progress: float) -> bool:
        passed = int(progress * self.settings.evaluations + 1e-9)
        due = passed > self.state.evaluations
        self.state.evaluations = passed
        return due

    def _evaluate(self, step: Step) -> None:
        with self.ema.swapped() if self.ema is not None else nullcontext():
            self.world.gather(self.wrapped, self.learner)
            figures = self.world.run_on_rank0(self.training.evaluate)
        standing, value = self.state, figures[self.best_metric.key]
        if step.skipped or not all(map(math.isfinite, figures.values())):
            return  # what has left the numbers is neither kept nor shown; the loop stops if it lasts
        best = self.best_metric.is_better(value, standing.best_value)
        standing.evaluations_since_best = 0 if best else standing.evaluations_since_best + 1
        if best:
            standing.best_value, standing.best_step = value, step.number
        self.run.append(
            step=step.number,
            progress=step.progress,
            seconds=step.seconds,
            tokens=standing.tokens,
            evaluation=figures,
        )
        self._save()

    def _save(self) -> None:
        self.run.checkpoints.save(asdict(self.state), self.plain, self.optimizer, self.ema)
        self.saved = time.monotonic()

    def _row(self, step: Step, window: LogWindow) -> dict[str, Any]:
        parts = {f"{name}.loss": round(value, 6) for name, value in window.losses.items()}
        return {
            "step": step.number,
            "progress": round(step.progress, 6),
            "seconds": round(step.seconds, 3),
            "tokens": self.state.tokens,
            **({"loss": round(window.loss, 6)} if window.steps else {}),
            **(parts if len(parts) > 1 else {}),
            "lr": float(f"{step.lr:.6g}"),
            **({} if step.skipped else {"grad_norm": round(step.grad_norm, 6)}),
            "tokens_per_second": round(window.tokens_per_second),
            "data_wait": round(window.data_wait_seconds / max(1e-9, window.train_seconds), 4),
            **({"skipped": window.skipped} if window.skipped else {}),
            **({"norms": _rounded(window.norms)} if window.norms else {}),
        }


def _rounded(norms: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    return {name: [float(f"{value:.5g}") for value in values] for name, values in norms.items()}
