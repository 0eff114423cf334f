"""Driving a run: resume, train, log, evaluate, save, stop early. Pretraining and fine-tuning both stand on it."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

import torch

from unmask import console
from unmask.console import Progress
from unmask.data.batches import Batches
from unmask.errors import UserError
from unmask.learner import Learner
from unmask.messages import message
from unmask.train import optim
from unmask.train.allocator import keep_few_kernels, keep_freed_memory
from unmask.train.average import Average
from unmask.train.budget import TrainConfig
from unmask.train.compiled import compiled_block, compiling_pays
from unmask.train.precision import precision_of
from unmask.train.run import Interrupted, Run, interruptible
from unmask.train.speed import speed_of
from unmask.train.steps import State, Step, steps
from unmask.train.threads import fastest_for

C = TypeVar("C")

LEAST = 10.0  # seconds of training, for its speed to be told
LOG_EVERY = 0.5  # seconds of training between rows of metrics.jsonl, so that a log stays small


@dataclass(frozen=True)
class Watch:
    """The figure that decides which checkpoint is best, for example `classify.accuracy`."""

    key: str
    higher: bool

    def better(self, value: float, than: float | None) -> bool:
        if not math.isfinite(value):
            return False
        return than is None or (value > than if self.higher else value < than)


@dataclass
class Standing(State):
    """A State with what the evaluations have shown so far."""

    evaluations: int = 0  # marks passed, of the evenly spaced ones
    best: float | None = None
    best_step: int | None = None
    waited: int = 0  # evaluations since the best one


class Window:
    """Throughput and mean losses since the last row of the log."""

    def __init__(self) -> None:
        self.steps, self.skipped, self.tokens = 0, 0, 0
        self.took, self.waited, self.loss = 0.0, 0.0, 0.0
        self.parts: dict[str, float] = {}
        self.norms: Mapping[str, Sequence[float]] | None = None

    def add(self, step: Step) -> None:
        self.tokens += step.tokens
        self.took += step.took
        self.waited += step.waited
        if step.skipped:
            self.skipped += 1
            return
        self.norms = step.norms or self.norms
        self.steps += 1
        self.loss += (step.loss - self.loss) / self.steps
        for name, value in step.parts.items():
            before = self.parts.get(name, 0.0)
            self.parts[name] = before + (value - before) / self.steps

    @property
    def rate(self) -> float:
        return self.tokens / max(1e-9, self.took)


class Fit:
    """One run under way, in each process that trains it.

    learner: has the weights that come out at the end, and while `evaluate` runs, on the main process; begin: gives
    a new learner its first weights; evaluate: returns figures by name; describe: turns a step into a few words.
    """

    def __init__(
        self,
        run: Run,
        learner: Learner,
        batches: Batches,
        settings: TrainConfig,
        seed: int,
        evaluate: Callable[[], dict[str, float]],
        watch: Watch,
        describe: Callable[[Step], str],
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        self.run, self.learner, self.batches = run, learner, batches
        self.settings, self.seed, self.world = settings, seed, run.world
        self.evaluate, self.watch, self.describe = evaluate, watch, describe
        if learner.couples and batches.parts > 1:
            raise UserError(
                "contrastive loss cannot use gradient accumulation",
                given=f"train.accumulate={batches.parts}",
                allowed="train.accumulate=1",
                hint="train.recompute=true, or fewer rows in a step",
            )
        keep_freed_memory()
        keep_few_kernels()
        learner.to(precision_of(settings.precision, "cpu").weights)
        learner.encoder.recompute = settings.recompute
        if not run.checkpoints.exist:
            self.world.from_main(begin)
        self.trained = self.world.wrap(learner, settings.parallel)
        plain = self.world.plain(self.trained)
        self.optimizer = optim.build_for(settings.optimizer, plain)
        self.average = Average(plain, settings.ema) if settings.ema else None
        self.standing = self._resumed()
        run.forget_after(self.standing.step)
        self.saved = time.monotonic()
        self.total = Window()  # of this start

    def _resumed(self) -> Standing:
        """How far the run is, by the newest checkpoint, which is taken up if there is one."""
        plain = self.world.plain(self.trained)
        state = self.run.checkpoints.restore(plain, self.optimizer, self.average)
        if state is None:
            return Standing()
        console.remark("resuming after step {step:,}", state["step"])
        return Standing(**{field.name: state[field.name] for field in fields(Standing)})

    def finish(self, step: int | None = None) -> None:
        """Leave the learner with what the run brought: the weights of a checkpoint, or the last ones; averaged."""
        if step is not None:
            self.world.from_main(lambda: self.run.checkpoints.load_weights(step, self.learner))
            return
        if self.average is not None:
            self.average.put()
        self.world.gather(self.trained, self.learner)

    def __call__(self, progress: Progress) -> Standing:
        """Train to the end of the budget. Raises Interrupted after a signal, with everything saved."""
        progress.start(1.0, "")
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads())
        if self._compiles():
            self.world.plain(self.trained).encoder.compiled = compiled_block()
        try:
            return self._train(progress)
        finally:
            torch.set_num_threads(before)

    def _threads(self) -> int:
        """As many as asked for, or as were fastest when the run began: the same number gives the same bits."""
        if self.settings.threads is not None:
            return self.settings.threads
        if self.world.size > 1 or self.world.on_gpu or torch.get_num_threads() == 1:
            return torch.get_num_threads()
        return self._chosen("threads", lambda: fastest_for(*self._trial).threads)

    def _compiles(self) -> bool:
        if self.settings.compile != "auto":
            return self.settings.compile == "always"
        if not self.world.on_gpu:
            return False
        return self._chosen("compile", lambda: compiling_pays(*self._trial))

    @property
    def _trial(self) -> tuple[Learner, Batches, TrainConfig, int]:
        return self.learner, self.batches, self.settings, self.seed

    def _chosen(self, name: str, measure: Callable[[], C]) -> C:
        """What was measured when the run began; it is kept, and holds when the run is resumed."""

        def choose() -> C:
            known = self.run.facts().get("choices", {})
            if name not in known:
                known = {**known, name: measure()}
                self.run.write_facts(choices=known)
            return known[name]  # type: ignore[no-any-return]

        return self.world.from_main(choose)

    def speed(self) -> dict[str, Any] | None:
        """What this start got out of the device (train/speed.py); None after a few seconds only, which say little."""
        if self.total.took < LEAST:
            return None
        plain = self.world.plain(self.trained)
        sample = [plain.prepare(batch, self.seed) for batch in self.batches.take(0, 0.5)]
        precision = precision_of(self.settings.precision, self.world.device)
        size = self.world.size
        told = speed_of(
            self.learner,
            sample,
            self.total.rate / size,
            self.total.waited / self.total.took,
            precision.products or precision.weights,
        ).to_dict()
        return {**told, "tokens_per_second": round(self.total.rate), "processes": size}

    def _train(self, progress: Progress) -> Standing:
        standing, window, shown = self.standing, Window(), 0.0
        self.trained.train()
        loop = steps(
            self.trained, self.optimizer, self.batches, self.settings, standing, self.seed, self.world
        )
        with interruptible() as stop, closing(loop):
            for step in () if self._out_of_patience else loop:
                window.add(step)
                self.total.add(step)
                if self.average is not None and not step.skipped:
                    self.average.update(step.since, step.progress)
                progress.show(message("{rate:,.0f} tokens/s  {step}", window.rate, self.describe(step)))
                progress.advance(step.progress - shown)
                shown = step.progress
                if window.took >= LOG_EVERY or step.progress >= 1:
                    self.run.append(**self._row(step, window))
                    window = Window()
                if self._evaluation_is_due(step.progress):
                    self._evaluate(step)
                    if self._out_of_patience:
                        break
                # a signal to one is a signal to all; the clock of the main process is that of all
                signal, late = self.world.highest([stop.signal or 0, self.world.is_main and self._late])
                if signal or (late and not step.skipped):
                    self._save()
                if signal:
                    self.run.checkpoints.wait()
                    raise Interrupted(int(signal))
        self.run.checkpoints.wait()
        return standing

    @property
    def _late(self) -> bool:
        return time.monotonic() - self.saved > self.settings.save_minutes * 60

    @property
    def _out_of_patience(self) -> bool:
        return self.settings.patience is not None and self.standing.waited >= self.settings.patience

    def _evaluation_is_due(self, progress: float) -> bool:
        passed = int(progress * self.settings.evaluations + 1e-9)
        due = passed > self.standing.evaluations
        self.standing.evaluations = passed
        return due

    def _evaluate(self, step: Step) -> None:
        with self.average.in_place() if self.average is not None else nullcontext():
            self.world.gather(self.trained, self.learner)
            figures = self.world.from_main(self.evaluate)
        standing, value = self.standing, figures[self.watch.key]
        if step.skipped or not all(map(math.isfinite, figures.values())):
            return  # what has left the numbers is neither kept nor shown; the loop stops if it lasts
        best = self.watch.better(value, standing.best)
        standing.waited = 0 if best else standing.waited + 1
        if best:
            standing.best, standing.best_step = value, step.number
        self.run.append(
            step=step.number,
            progress=step.progress,
            seconds=step.seconds,
            tokens=standing.tokens,
            evaluation=figures,
        )
        self._save()

    def _save(self) -> None:
        plain = self.world.plain(self.trained)
        self.run.checkpoints.save(asdict(self.standing), plain, self.optimizer, self.average)
        self.saved = time.monotonic()

    def _row(self, step: Step, window: Window) -> dict[str, Any]:
        parts = {f"{name}.loss": round(value, 6) for name, value in window.parts.items()}
        return {
            "step": step.number,
            "progress": round(step.progress, 6),
            "seconds": round(step.seconds, 3),
            "tokens": self.standing.tokens,
            **({"loss": round(window.loss, 6)} if window.steps else {}),
            **(parts if len(parts) > 1 else {}),
            "lr": float(f"{step.lr:.6g}"),
            **({} if step.skipped else {"grad_norm": round(step.grad_norm, 6)}),
            "tokens_per_second": round(window.rate),
            "data_wait": round(window.waited / max(1e-9, window.took), 4),
            **({"skipped": window.skipped} if window.skipped else {}),
            **({"norms": _rounded(window.norms)} if window.norms else {}),
        }


def _rounded(norms: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    return {name: [float(f"{value:.5g}") for value in values] for name, values in norms.items()}
