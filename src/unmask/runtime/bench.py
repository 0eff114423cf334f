"""How fast a model predicts on this machine, with each backend and precision that can run it here.

Each runs in a process of its own (bench_child.py), one call at a time: all of them take turns at a workload, round
after round, so that what else the machine does meets all alike. A call is one of `Predictor.predict`: texts in,
predictions out, with tokenisation and decoding.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from unmask.console import SILENT, Progress
from unmask.errors import UserError
from unmask.messages import from_json, message
from unmask.runtime.choice import PACKAGES, PRECISIONS, Choice, check_exists, find_choices
from unmask.runtime.machine import describe_machine
from unmask.runtime.manifest import WEIGHTS, has_networks, model_folder, read_manifest

LENGTHS = (16, 64, 128, 256, 512)  # tokens
BATCH_SIZES = (1, 32)
ROUNDS = 7
PERCENTILES = {50: 1, 95: 20, 99: 100}  # by percentile, the calls without which it would only be the slowest of them
WARMUP_SHARE = 0.15  # of the time: what is not warm by then is left out, so that there is time for some rounds


class Worker:
    """A backend and precision in a process of its own."""

    def __init__(self, choice: Choice, threads: int | None) -> None:
        self.choice = choice
        more = {} if threads is None else {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "unmask.runtime.bench_child"],
            env={**os.environ, **more},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer. Raises UserError where the process says so, or crashed."""
        assert self._process.stdin and self._process.stdout
        with suppress(BrokenPipeError):  # then there is no answer
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            last = self._errors.read().decode("utf-8", "replace").strip().splitlines()[-3:]
            raise UserError("{choice} crashed while it was measured", self.choice, given=last)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise UserError.from_dict(answer["error"])
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # it has nothing to save
        self._process.communicate()
        self._errors.close()


@dataclass
class Cell:
    """A workload as one backend and precision predicted it: of each round the texts, the tokens and the seconds of its
    calls."""

    choice: Choice
    workload: Mapping[str, Any]
    rounds: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Speeds: the median of the rounds, with the lowest and the highest; latency: seconds of a call."""
        seconds = [one for each in self.rounds for one in each["seconds"]]
        speeds = [each["texts"] / sum(each["seconds"]) for each in self.rounds]
        latency = {
            f"p{percentile}": float(np.percentile(seconds, percentile)) if len(seconds) >= least else None
            for percentile, least in PERCENTILES.items()
        }
        return {
            **asdict(self.choice),
            **self.workload,
            "texts_per_second": float(np.median(speeds)),
            "lowest": min(speeds),
            "highest": max(speeds),
            "tokens_per_second": float(np.median([each["tokens"] / sum(each["seconds"]) for each in self.rounds])),
            "latency": latency,
            "calls": len(seconds),
        }


def list_choices(source: Path | str, backend: str, precision: str) -> tuple[list[Choice], list[str]]:
    """What can run a model here, also what did not pass its verification or was never verified; and messages on what
    cannot. Raises UserError where nothing can."""
    folder = model_folder(source)
    check_exists(folder)
    networks = read_manifest(folder).networks if has_networks(folder) else ()
    has_weights = not networks or (folder / WEIGHTS).is_file()
    stored = [(one.backend, one.precision) for one in networks] + [("torch", "float32")] * has_weights
    choices: set[Choice] = set()
    errors: list[UserError] = []
    for names in [(backend, precision), *stored]:
        if backend in ("auto", names[0]) and precision in ("auto", names[1]):
            try:
                choices |= set(find_choices(networks, has_weights, *names))
            except UserError as error:
                errors.append(error)
    if not choices:
        raise errors[0]
    order = list(PACKAGES)
    in_order = sorted(choices, key=lambda one: (order.index(one.backend), PRECISIONS.index(one.precision)))
    return in_order, list(dict.fromkeys(error.message for error in errors))


def bench(
    model: Path | str,
    *,
    backend: str = "auto",
    precision: str = "auto",
    lengths: Sequence[int] = LENGTHS,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    file: str | None = None,
    rows: int = 1000,
    reading: Mapping[str, Any] | None = None,
    threads: int | None = None,
    allow_unused: bool = False,
    seconds: float = 60.0,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Measure for about so many seconds, after loading and at least one call of each workload.

    Workloads: batches of random texts of each length in tokens up to what the model reads, or `rows` rows of a file
    (`reading`: settings of `ReadOptions`), drawn at random. Returns `machine`; `engines`, for each backend and
    precision the seconds of loading, threads and the peak of memory in bytes; `cells` (`Cell.to_dict`); `notes`.
    Raises UserError where nothing can run the model.
    """
    choices, notes = list_choices(model, backend, precision)
    request = {
        "model": str(model),
        "threads": threads,
        "allow_unused": allow_unused,
        "lengths": list(lengths),
        "batch_sizes": list(batch_sizes),
        "file": file,
        "rows": rows,
        "reading": dict(reading or {}),
    }
    with ExitStack() as stack:
        progress.start(seconds, "")
        workers: dict[Worker, dict[str, Any]] = {}
        for choice in choices:
            progress.show(message("loading {choice}", choice))
            worker = stack.enter_context(Worker(choice, threads))
            try:
                workers[worker] = worker.ask(do="open", **request, **asdict(choice))
            except UserError as error:
                if choice == choices[-1] and not workers:
                    raise
                notes.append(message("{choice}: {error}", choice, error.message))
        opened = next(iter(workers.values()))
        cells, left_out = _measure(list(workers), opened["workloads"], seconds, progress)
        notes += [from_json(note) for note in opened["notes"]]
        if left_out:
            names = ", ".join(map(_name, left_out))
            notes.append(message("left out, for want of time (texts x tokens): {workloads}", names))
        engines = [
            {
                **asdict(worker.choice),
                "load_seconds": answer["load_seconds"],
                "threads": answer["threads"],
                **worker.ask(do="memory"),
            }
            for worker, answer in workers.items()
        ]
    packages = [PACKAGES[name][0] for name in dict.fromkeys(one["backend"] for one in engines)]
    return {
        "model": str(model),
        "task": opened["task"],
        "file": file,
        "machine": describe_machine([*packages, "numpy", "tokenizers"]),
        "engines": engines,
        "cells": [cell.to_dict() for cell in cells],
        "notes": notes,
    }


def _name(workload: Mapping[str, Any]) -> str:
    return f"{workload['batch_size']:,} x {workload['tokens_per_text']:,.0f}"


def _measure(
    workers: Sequence[Worker], workloads: Sequence[Mapping[str, Any]], seconds: float, progress: Progress
) -> tuple[list[Cell], list[Mapping[str, Any]]]:
    """The cells that were measured, the cheapest workload first, and the workloads that there was no time for."""
    begun = time.monotonic()
    order = sorted(range(len(workloads)), key=lambda n: workloads[n]["tokens_per_text"] * workloads[n]["batch_size"])
    warm = 0
    progress.show("warming up")
    for number in order:  # engines plan for each new shape
        if warm and time.monotonic() - begun > WARMUP_SHARE * seconds:
            break
        for worker in workers:
            worker.ask(do="time", workload=number, seconds=0.0)
            progress.advance(0.0)
        warm += 1
    measured, left_out = order[:warm], [workloads[number] for number in order[warm:]]
    cells = {(number, worker): Cell(worker.choice, workloads[number]) for number in measured for worker in workers}
    end = begun + seconds
    rest = max(0.0, end - time.monotonic())
    share = rest / (ROUNDS * len(cells))
    progress.start(rest, "")  # loading and warming up are no measure of the time left
    for turn in range(ROUNDS):
        for number in measured:
            if turn and time.monotonic() > end:
                return list(cells.values()), left_out
            progress.show(_name(workloads[number]))
            for worker in workers if turn % 2 == 0 else workers[::-1]:
                answer = worker.ask(do="time", workload=number, seconds=share)
                cells[number, worker].rounds.append(answer)
                progress.advance(sum(answer["seconds"]))
    return list(cells.values()), left_out
