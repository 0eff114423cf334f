"""Run: one directory that holds a recipe, its log, its checkpoints and the model that came out.

recipe.yaml, run.json, metrics.jsonl, checkpoints/, model/, and tensorboard/ where the recipe asks for it. Starting an
existing run resumes it. Where several processes train, the main one alone reads and writes here.
"""

import json
import platform
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from unmask import console, files
from unmask.advice import advise, option
from unmask.config import difference, dump, read_yaml, to_yaml
from unmask.errors import UserError
from unmask.train.checkpoint import Checkpoints
from unmask.train.steps.parallel import World
from unmask.train.track import TensorBoardMirror
from unmask.version import __version__

# how a run is computed and what it is judged by, not what it learns: may change from one start to the next
CHANGEABLE = ("train.parallel:", "data.test:", "transfer.allow_unused:")

GIVEN = "input"  # folder of a run with the rows that a program passed
SPLIT = "split"  # and the one with what was cut from its training file


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to stop; its checkpoint is written."""


class Run:
    """One run directory, opened by one process, or by all that train in it. Use as a context manager."""

    def __init__(self, folder: Path, recipe: Any, kind: str, world: World | None = None) -> None:
        self.folder, self.recipe, self.kind = folder, recipe, kind
        self.world = world or World()
        self.checkpoints = Checkpoints(folder / "checkpoints", self.world)
        self._mirror: TensorBoardMirror | None = None
        self._open = ExitStack()

    def outcome(self) -> dict[str, Any]:
        """The values of the result of a finished run; empty before."""
        return self.world.run_on_rank0(lambda: self.facts().get("finished") or {})

    @property
    def _created(self) -> bool:
        return bool(self.facts().get("finished")) or self.checkpoints.folder.is_dir()

    def facts(self) -> dict[str, Any]:
        """The values of run.json."""
        path = self.folder / "run.json"
        return files.read_object(path) if path.is_file() else {}

    def __enter__(self) -> "Run":
        """Lock the folder, check that it belongs to this recipe, write down what runs here.

        A run in which nothing was saved yet (a file that it names did not exist, say) takes any recipe.
        """
        with ExitStack() as opened:  # whoever holds on to an error does not hold on to the folder
            self.world.run_on_rank0(lambda: self._lock(opened))
            opened.callback(self.checkpoints.close)
            self._open = opened.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def _lock(self, opened: ExitStack) -> None:
        if self.recipe.train.tensorboard and not self.facts().get("finished"):
            self._mirror = TensorBoardMirror(self.folder / "tensorboard")
        existed = (self.folder / "run.json").is_file()
        there = sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []
        foreign = [name for name in there if not name.startswith(".")]
        if foreign and not existed:
            given, hint = ", ".join(foreign[:5]), advise("choose another {option} folder", option("output"))
            raise UserError(f"{self.folder} is not empty and contains no run", given=given, hint=hint)
        opened.enter_context(files.hold(self.folder))
        if self._mirror is not None:
            opened.callback(self._mirror.close)
        if existed and self._created:
            self._check_recipe()
        else:
            self.write_facts(kind=self.kind, created=datetime.now(UTC).isoformat(timespec="seconds"))
            files.write_text(self.folder / "recipe.yaml", to_yaml(self.recipe))
        for folder in (self.folder, self.folder / GIVEN, self.folder / SPLIT):
            files.sweep(folder)
        self.write_facts(environment=environment(self.world))

    def _check_recipe(self) -> None:
        version = str((self.facts().get("environment") or {}).get("unmask"))
        if version.startswith("0.1."):
            hint = "choose another folder and train again, or finish it with that version"
            raise UserError(f"{self.folder} is a run of unmask {version}, which this version cannot resume", hint=hint)
        every = difference(read_yaml(self.folder / "recipe.yaml"), dump(self.recipe))
        changes = [change for change in every if not change.startswith(CHANGEABLE)]
        if changes:
            raise self._mismatch("{folder} belongs to a run with another recipe", changes[:6])

    def write_facts(self, **facts: Any) -> None:
        """Into run.json; on the main process only."""
        files.write_json(self.folder / "run.json", {**self.facts(), **facts})

    def lineage_entry(self, steps: int, tokens: int) -> dict[str, Any]:
        """The entry of this run in the lineage of its model: kind, recipe and the checksums of what it read."""
        sums = {f"{name}_sha256": digest for name, digest in self.facts().get("inputs", {}).items()}
        return {"kind": self.kind, "recipe": dump(self.recipe), **sums, "steps": steps, "tokens": tokens}

    def check_inputs(self, **inputs: str) -> None:
        """Tie the run to what it reads, by checksum; on the main process only. Raises UserError where that changed."""
        before = self.facts().get("inputs", {})
        if not self._created:
            self.write_facts(inputs=inputs)
        elif before != inputs:
            changed = [name for name in inputs if before.get(name) != inputs[name]]
            raise self._mismatch("{folder} was begun with other data", changed)

    def save_texts(self, texts: Mapping[str, str]) -> None:
        """Write rows in memory into files of the run, by their names; on the main process only.

        Raises UserError where the run was begun with others.
        """
        for name, text in texts.items():
            path = self.folder / GIVEN / f"{name}.jsonl"
            if not self._created or not path.is_file():
                files.write_text(path, text)
            elif path.read_text(encoding="utf-8") != text:
                raise self._mismatch("{folder} was begun with other data", [name])

    def _mismatch(self, text: str, differences: list[str]) -> UserError:
        another = advise("choose another {option} folder", option("output"))
        hint = ["use the same recipe, settings and data as before", another]
        return UserError(text, self.folder, given=differences, hint=hint)

    def append(self, **row: Any) -> None:
        """A row for metrics.jsonl, and for its mirror."""
        if not self.world.is_main:
            return
        try:
            files.append_jsonl(self.folder / "metrics.jsonl", row)
            if self._mirror is not None:
                self._mirror.write(row)
        except OSError as error:
            raise files.disk_error(error, self.folder / "metrics.jsonl") from error

    def truncate_log(self, step: int) -> None:
        """Drop the rows of steps that are done again after a resume."""
        if not self.world.is_main:
            return
        log = self.folder / "metrics.jsonl"
        rows = [row for row in files.read_jsonl(log) if row["step"] <= step] if log.is_file() else []
        files.write_text(log, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        if self._mirror is not None:
            self._mirror.begin(step)


def environment(world: World | None = None) -> dict[str, Any]:
    """What this process runs on, and beside how many."""
    world = world or World()
    return {
        "unmask": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "device": torch.cuda.get_device_name() if world.on_gpu else "cpu",
        "threads": torch.get_num_threads(),
        **({"processes": world.size} if world.size > 1 else {}),
    }


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Stop:
    """Whether a signal has asked for an end; `signal` is its number."""

    signal: int | None = None


@contextmanager
def interruptible() -> Iterator[Stop]:
    """Turn Ctrl-C, SIGTERM and SIGUSR1 into a request that the loop answers after its step. Ctrl-C as a second one
    stops at once; of the others, a cluster may well send several."""
    stop = Stop()

    def request(number: int, frame: FrameType | None) -> None:
        if stop.signal is None:
            stop.signal = number
            console.note("stopping after this step; another Ctrl-C stops at once")
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()  # signals of other threads are not ours
    before = {number: signal.signal(number, request) for number in SIGNALS} if is_main else {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
