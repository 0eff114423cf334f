"""One way to measure: ours and its peers in turn, each time in a fresh process, on the same work.

A benchmark has sides, ours first. A round runs every side once, each in a child process of this one that
prepares (imports, reads, builds; not timed), warms up, and then does the work, timed, a few times. The order
of the sides is turned round with every round, so that a machine that gets slower hurts all alike. All get the
same number of threads. What counts is the ratio of two speeds within a round: from round to round the machine
may differ.

The record, a JSON file, is written anew after each child: what was measured before an interruption is kept.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import conditions
from benchmarks.conditions import QUIET, Others
from benchmarks.results import Measurement, Result, compare, line
from unmask.errors import UserError
from unmask.files import write_json

CHILD = Path(__file__).with_name("child.py")
FORMAT = 1  # of the record
STDERR_LINES = 15  # of a side that crashed, shown

Settings = Mapping[str, Any]  # plain values that go to a side as JSON


@dataclass(frozen=True)
class Prepared:
    """Work that is ready to be timed.

    work: does it once and returns how much it was, in the benchmark's unit; it must do the same each time.
    facts: called after the timing; what came out, as plain values.
    """

    work: Callable[[], float]
    facts: Callable[[], Mapping[str, Any]] | None = None


@dataclass(frozen=True)
class Side:
    """prepare: a function of a module, `Settings -> Prepared`; a side imports its library in there.

    settings: in place of the benchmark's, where this side has others; checkout: of unmask, whose modules are imported.
    """

    name: str
    prepare: Callable[[Settings], Prepared]
    settings: Settings = field(default_factory=dict)
    checkout: Path = conditions.ROOT


@dataclass(frozen=True)
class Benchmark:
    """What is compared, and how its result is shown.

    unit: what work is counted in (characters, tokens); same: facts in which all sides must agree, or a warning is
    given; near: facts that may differ by such a share of the largest; shown: facts that the line shows, with their
    words; warmup, repeat: runs of the work in each process.
    judge: after the rounds, once for each side and seed in a process of its own, `Settings -> facts`: what is
    too dear to do in every round. It finds what the side left in the folder `settings["keep"]`, and `settings["seed"]`.
    runs_commands: the work is a command in a process of its own; ours: how many of the sides, the first ones, are
    compared with each of the others.
    """

    name: str
    unit: str
    sides: tuple[Side, ...]
    packages: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    near: Mapping[str, float] = field(default_factory=dict)
    shown: Mapping[str, str] = field(default_factory=dict)
    warmup: int = 1
    repeat: int = 3
    judge: Callable[[Settings], Mapping[str, Any]] | None = None
    runs_commands: bool = False
    ours: int = 1


@dataclass(frozen=True)
class Plan:
    """How to run it. pin: keep each child on as many cores as it has threads (Linux); limit: seconds a child may
    take; seeds: how often each side is judged. warmup and repeat: those of the benchmark if not given."""

    rounds: int = 5
    threads: int = 1
    warmup: int | None = None
    repeat: int | None = None
    pin: bool = False
    limit: float = 900.0
    seeds: int = 1


@dataclass(frozen=True)
class Outcome:
    """What a run brought: a result for each peer, the lines that say it, and the file that holds everything."""

    results: list[Result]
    lines: list[str]
    warnings: list[str]
    record: Path
    complete: bool


def run(benchmark: Benchmark, settings: Settings, plan: Plan, data: Sequence[Mapping[str, Any]], out: Path) -> Outcome:
    """Measure, and write the record into the folder `out`; `data` says there what the settings were made of.

    Ctrl-C ends it early: the outcome is that of the rounds that were finished. Raises UserError with the last lines of
    its stderr when a side crashes; the record then holds what was measured before.
    """
    about = {
        "machine": conditions.machine(),
        "versions": conditions.versions(benchmark.packages),
        "code": conditions.code(),
        "data": [dict(each) for each in data],
    }
    measuring = _Measuring(benchmark, settings, plan, about, out)
    try:
        measuring.all()
        measuring.complete = True
    except KeyboardInterrupt:
        print("stopped: what was measured is kept", file=sys.stderr)
    finally:
        outcome = measuring.save()
        measuring.close()
    return outcome


class _Measuring:
    """A run under way and what it has found."""

    def __init__(
        self, benchmark: Benchmark, settings: Settings, plan: Plan, conditions: Mapping[str, Any], out: Path
    ) -> None:
        self.benchmark, self.settings, self.plan, self.conditions = benchmark, settings, plan, conditions
        self.warmup = benchmark.warmup if plan.warmup is None else plan.warmup
        self.repeat = benchmark.repeat if plan.repeat is None else plan.repeat
        self.measurements: list[Measurement] = []
        self.judgements: dict[str, list[dict[str, Any]]] = {}
        self.complete = False
        self.begun = time.time()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self.begun))
        self.record = out / f"{benchmark.name}-{stamp}-{os.getpid()}.json"
        self._folder = tempfile.TemporaryDirectory(prefix="unmask-benchmark-")
        self.scratch = Path(self._folder.name)

    def close(self) -> None:
        self._folder.cleanup()

    def all(self) -> None:
        for number in range(self.plan.rounds):
            self.round(number)
        for seed in range(self.plan.seeds if self.benchmark.judge else 0):
            for side in self.benchmark.sides:
                found = self.child(side, self.benchmark.judge, "judge", {"seed": seed})
                self.judgements.setdefault(side.name, []).append(found["facts"])
                _say(f"judged with seed {seed}: {side.name}")
                self.save()

    def round(self, number: int) -> None:
        """Every side once; the first one of the round before goes last."""
        sides = self.benchmark.sides if number % 2 == 0 else self.benchmark.sides[::-1]
        for side in sides:
            before, average = conditions.others_now(), conditions.load_average()
            others = Others()
            found = self.child(side, side.prepare, "measure", {})
            measurement = Measurement(
                round=number,
                side=side.name,
                others_before=before,
                others_during=others.cores(),
                load_average=average,
                **found,
            )
            self.measurements.append(measurement)
            _say(f"round {number + 1} of {self.plan.rounds}: {side.name}, {sum(measurement.seconds):.2f} s")
            self.save()

    def child(self, side: Side, function: Callable[..., Any] | None, kind: str, more: Settings) -> dict[str, Any]:
        """What a fresh process found. Raises UserError when it fails or takes too long."""
        assert function is not None
        keep = self.scratch / f"keep-{self.benchmark.sides.index(side)}"
        keep.mkdir(exist_ok=True)
        request = {
            "function": f"{function.__module__}:{function.__qualname__}",
            "kind": kind,
            "settings": {**(side.settings or self.settings), "keep": str(keep), **more},
            "warmup": self.warmup,
            "repeat": self.repeat,
        }
        who = f"{self.benchmark.name}: {side.name}"
        return in_child(who, request, self.plan, self.scratch, side.checkout, kept=f"{self.record} is kept")

    def save(self) -> Outcome:
        """Write the record as it stands."""
        results = compare([side.name for side in self.benchmark.sides], self.measurements, self.benchmark.ours)
        warnings = self.warnings()
        lines = [line(self.benchmark.name, self.benchmark.unit, each, self._tail(each)) for each in results]
        write_json(
            self.record,
            {
                "format": FORMAT,
                "benchmark": self.benchmark.name,
                "unit": self.benchmark.unit,
                "sides": [side.name for side in self.benchmark.sides],
                "command": sys.argv,
                "settings": dict(self.settings),
                "rounds": self.plan.rounds,
                "threads": self.plan.threads,
                "pinned": self.plan.pin,
                "warmup": self.warmup,
                "repeat": self.repeat,
                **self.conditions,
                "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.begun)),
                "seconds": round(time.time() - self.begun, 1),
                "complete": self.complete,
                "quiet": self.quiet(),
                "results": [asdict(each) for each in results],
                "judgements": self.judgements,
                "lines": lines,
                "warnings": warnings,
                "measurements": [asdict(each) for each in self.measurements],
            },
        )
        return Outcome(results, lines, warnings, self.record, self.complete)

    def _tail(self, result: Result) -> list[str]:
        """What a line says beyond speed and memory: facts of both sides, threads, and whether all was quiet."""
        found = {name: self.facts_of(name) for name in (result.ours, result.peer)}
        parts = []
        for key, words in self.benchmark.shown.items():
            values = [found[name].get(key) for name in (result.ours, result.peer)]
            if all(isinstance(value, int | float) for value in values):
                seeds = sum(key in each for each in self.judgements.get(result.peer, []))
                note = f" ({seeds} seed{'s' if seeds > 1 else ''})" if seeds else ""
                parts.append(f"{words} {values[0]:.4g} against {values[1]:.4g}{note}")
        parts.append(f"{self.plan.threads} thread{'s' if self.plan.threads > 1 else ''}")
        quiet = self.quiet()
        parts.append({True: "quiet", False: "NOT QUIET", None: "load unknown"}[quiet])
        return parts

    def facts_of(self, side: str) -> dict[str, Any]:
        """Facts of the measurements, of numbers the median; of judgements, means over the seeds."""
        mine = [each.facts for each in self.measurements if each.side == side]
        facts = dict(mine[-1]) if mine else {}
        for key, value in facts.items():
            if isinstance(value, int | float):
                facts[key] = statistics.median(each[key] for each in mine)
        judged = self.judgements.get(side, [])
        for key in judged[0] if judged else ():
            values = [each[key] for each in judged]
            numbers = all(isinstance(value, int | float) for value in values)
            facts[key] = sum(values) / len(values) if numbers else values
        return facts

    def quiet(self) -> bool | None:
        """Whether nothing else kept the machine busy, before and beside the measurements; None where unknown."""
        seen = [n for each in self.measurements for n in (each.others_before, each.others_during)]
        known = [number for number in seen if number is not None]
        return max(known) <= QUIET if known else None

    def warnings(self) -> list[str]:
        """What makes the figures doubtful."""
        found = []
        if self.quiet() is False:
            busy = [max(each.others_before or 0.0, each.others_during or 0.0) for each in self.measurements]
            found.append(
                f"not quiet: other processes kept up to {max(busy):.1f} cores busy "
                f"(in {sum(each > QUIET for each in busy)} of {len(busy)} measurements); "
                "run it again when nothing else runs"
            )
        if 0 < len({each.round for each in self.measurements}) < 3:
            found.append("fewer than three rounds: the spread says little")
        for key in self.benchmark.same:
            values = {each.side: each.facts[key] for each in self.measurements if key in each.facts}
            if len({json.dumps(value) for value in values.values()}) > 1:
                given = ", ".join(f"{side} {value}" for side, value in values.items())
                found.append(f"the sides did not do the same work: {key} is {given}")
        for key, share in self.benchmark.near.items():
            numbers = {each.side: each.facts[key] for each in self.measurements if key in each.facts}
            found += _apart(key, share, numbers)
        for name in dict.fromkeys(each.side for each in self.measurements):
            cores = max(each.cores for each in self.measurements if each.side == name)
            if cores > self.plan.threads + 0.1:
                found.append(
                    f"{name} kept {cores:.1f} cores busy with {self.plan.threads} thread(s): --pin prevents it"
                )
        return found


def _apart(key: str, share: float, values: Mapping[str, float]) -> list[str]:
    """A warning where the values of the sides differ by more than this share of the largest."""
    if not values or max(values.values()) - min(values.values()) <= share * max(values.values()):
        return []
    given = ", ".join(f"{side} {value:,.6g}" for side, value in values.items())
    return [f"the sides differ by more than {share:.0%}: {key} is {given}"]


def in_child(
    who: str, request: Mapping[str, Any], plan: Plan, scratch: Path, checkout: Path, kept: str | None = None
) -> dict[str, Any]:
    """What a fresh process that imports the modules of `checkout` answers to a request (child.py).

    kept: what a UserError says of the record. Raises UserError when it fails or takes too long.
    """
    asked, result, log = (scratch / name for name in ("request.json", "result.json", "log.txt"))
    result.unlink(missing_ok=True)
    write_json(asked, {**request, "threads": plan.threads, "pin": plan.pin})
    command = [sys.executable, "-P", str(CHILD), str(asked), str(result)]
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command,
            env=environment(plan.threads, checkout),
            stdout=output,
            stderr=output,
            process_group=0,
        )
        try:
            code = process.wait(plan.limit)
        except subprocess.TimeoutExpired:
            raise UserError(
                f"{who} took longer than {plan.limit:.0f} seconds",
                hint=["give less work, or a longer --limit", kept],
            ) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # and the processes that it has started
                process.wait()
    if code or not result.is_file():
        raise _crashed(who, code, log, kept)
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


def _crashed(who: str, code: int, log: Path, kept: str | None) -> UserError:
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-STDERR_LINES:]
    how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
    return UserError(f"{who} {how}", given=[*said] or "no output", hint=kept)


def environment(threads: int, checkout: Path = conditions.ROOT) -> dict[str, str]:
    """This process's, with the number of threads for every library that reads one; modules come from `checkout`."""
    names = "OMP MKL OPENBLAS NUMEXPR RAYON".split()
    return {
        **os.environ,
        **{f"{name}_NUM_THREADS": str(threads) for name in names},
        "VECLIB_MAXIMUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join([str(checkout), str(checkout / "src"), *filter(None, sys.path)]),
        "PYTHONHASHSEED": "0",
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
