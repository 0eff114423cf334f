"""Pretraining tokens per second with one, two and four processes on this machine, and what communication takes.

The same steps of the same recipe (that of the benchmark `pretraining`, ours), by processes that exchange over gloo
on the CPU as they would between machines. Ours is one process; the threads are divided among several.

Communication is the share of a step's time that goes when nothing is exchanged (each process then learns by
itself; with fsdp it still gathers weights): copying gradients, and waiting for the slowest. Processor time and
memory in the lines are those of the first process. The loss after the last step differs by rounding only: sums
are taken in another order.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import pretraining
from benchmarks.harness import Benchmark, Outcome, Prepared, Settings, Side
from unmask.files import read_json

QUIT, TOGETHER, APART = 0.0, 1.0, 2.0  # what the first process tells the others to do next


def add_options(parser: argparse.ArgumentParser) -> None:
    pretraining.add_options(parser)
    parser.add_argument("--parallel", choices=("ddp", "fsdp"), default="ddp", help="train.parallel (default ddp)")


def arrange(arguments: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    settings, data = pretraining.arrange(arguments, folder)
    return {**settings, "parallel": arguments.parallel, "threads": arguments.threads}, data


def one(settings: Settings) -> Prepared:
    return several(settings, 1)


def two(settings: Settings) -> Prepared:
    return several(settings, 2)


def four(settings: Settings) -> Prepared:
    return several(settings, 4)


def several(settings: Settings, count: int) -> Prepared:
    """This process is the first of `count`; the others are started here and do what it tells them."""
    import torch.distributed as dist

    settings = {**settings, "threads": max(1, settings["threads"] // count)}
    store = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    meeting = {
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    command = [sys.executable, "-m", "benchmarks.scaling", json.dumps(dict(settings))]
    others = [
        subprocess.Popen(command, env={**os.environ, **meeting, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(1, count)
    ]
    os.environ |= {**meeting, "RANK": "0", "LOCAL_RANK": "0"}
    member = Member(settings)
    spent: list[float] = []

    def work() -> float:
        begun = time.perf_counter()
        tokens = member.steps(TOGETHER)
        spent.append(time.perf_counter() - begun)
        return tokens

    def facts() -> dict[str, Any]:
        loss, together = member.loss, min(spent)
        apart = []
        for _ in spent[1:]:
            begun = time.perf_counter()
            member.steps(APART)
            apart.append(time.perf_counter() - begun)
        member.world.sum([QUIT])
        for other in others:
            other.wait()
        share = max(0.0, 1 - min(apart) / together) if apart and count > 1 else 0.0
        return {"processes": count, "loss": loss, "communication_percent": 100 * share}

    return Prepared(work, facts)


class Member:
    """One process: its part of the steps of a run, with or without exchanging anything."""

    def __init__(self, settings: Settings) -> None:
        import torch

        from unmask.data.corpus.shards import Shards
        from unmask.train.pretrain import build_batches, build_learner, fit_to_corpus
        from unmask.train.steps import optim
        from unmask.train.steps.loop import LoopState, train_steps
        from unmask.train.steps.parallel import DistributedWorld, World

        self.count, self.threads = settings["steps"], settings["threads"]
        torch.set_num_threads(self.threads)
        self.world = World("cpu") if os.environ["WORLD_SIZE"] == "1" else DistributedWorld()
        built = Shards.open(settings["corpus"])
        recipe = fit_to_corpus(pretraining.recipe_for(settings), built.tokenizer)
        torch.manual_seed(pretraining.SEED)
        trained = self.world.wrap(build_learner(recipe, built.tokenizer), settings["parallel"]).train()
        optimizer = optim.build_optimizer(recipe.train.optimizer, self.world.unwrap(trained))
        batches = build_batches(recipe, built, self.world)
        self.loop = train_steps(trained, optimizer, batches, recipe.train, LoopState(), pretraining.SEED, self.world)
        self.loss = 0.0

    def steps(self, how: float) -> float:
        """Do some steps, by all; returns the tokens of them all."""
        import torch

        torch.set_num_threads(self.threads)
        self.world.sum([how if self.world.is_main else 0.0])
        return self.some(how)

    def some(self, how: float) -> float:
        with silence(self.world) if how == APART else exchange():
            told = [next(self.loop) for _ in range(self.count)]
        self.loss = told[-1].loss
        return float(sum(step.tokens for step in told))


@contextmanager
def exchange() -> Iterator[None]:
    yield


@contextmanager
def silence(world: Any) -> Iterator[None]:
    """Within it nothing is exchanged: sums are as if all processes had the same, gradients stay where they are."""
    gradient_sync = type(world).gradient_sync
    world.sum = lambda values: [value * world.size for value in values]
    world.gradient_sync = lambda trained, now: gradient_sync(world, trained, False)
    try:
        yield
    finally:
        del world.sum, world.gradient_sync


def table(outcomes: Sequence[tuple[Mapping[str, Any], Outcome]]) -> list[str]:
    """A row for each number of processes: medians over the rounds."""
    found: dict[int, list[Mapping[str, Any]]] = {}
    for _, outcome in outcomes:
        for each in read_json(outcome.record)["measurements"]:
            found.setdefault(each["facts"]["processes"], []).append(each)
    speeds = {
        count: statistics.median(sum(each["done"]) / sum(each["seconds"]) for each in rows)
        for count, rows in sorted(found.items())
    }
    first = found[1][0]["facts"]["loss"] if 1 in found else float("nan")
    lines = ["processes  tokens/s  speed-up  communication  loss differs by"]
    for count, speed in speeds.items():
        share = statistics.median(each["facts"]["communication_percent"] for each in found[count])
        drift = abs(found[count][0]["facts"]["loss"] / first - 1)
        times = speed / speeds.get(1, float("nan"))
        lines.append(f"{count:>9} {speed:>9.0f} {times:>9.2f} {share:>12.0f} % {drift:>15.1e}")
    return lines


BENCHMARK = Benchmark(
    name="scaling",
    unit="tokens",
    sides=(Side("ours", one), Side("2 processes", two), Side("4 processes", four)),
    packages=("torch",),
    shown={"communication_percent": "% communication"},
    repeat=3,
)


def follow() -> None:
    """What the processes beside the first one do until they are told to quit."""
    member = Member(json.loads(sys.argv[1]))
    while (how := member.world.sum([0.0])[0]) != QUIT:
        member.some(how)


if __name__ == "__main__":
    follow()
