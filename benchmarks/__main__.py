"""`python -m benchmarks` lists the benchmarks; `python -m benchmarks NAME [options]` runs one.

Prints one line for each peer on stdout, and writes a JSON record with all conditions (--out).
"""

import argparse
import importlib
import importlib.util
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from benchmarks import conditions, harness
from benchmarks.against import benchmark_against, version_of
from benchmarks.harness import Plan
from unmask import console
from unmask.errors import UserError, did_you_mean, missing_extra, suggest

# a module has BENCHMARK, add_options(parser) and arrange(arguments, folder) -> (settings, data); one that measures
# at several points has points(arguments) -> further settings of each, and table([(point, outcome), ...]) -> lines;
# one whose sides depend on its options has sides(arguments, settings) -> (how many are ours, sides)
MEMBERS = (
    "encoding",
    "pretokenising",
    "wordpiece",
    "loading",
    "pretraining",
    "finetuning",
    "prediction",
    "engines",
    "lengths",
    "scaling",
)
ROUNDS = {
    "encoding": 5,
    "pretokenising": 5,
    "wordpiece": 3,
    "loading": 9,
    "pretraining": 3,
    "finetuning": 3,
    "prediction": 3,
    "engines": 3,
    "lengths": 1,
    "scaling": 3,
}  # minutes on two cores


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, 2 for a user's mistake or a side that crashed, 130 when stopped."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if not given or given[0] in ("list", "-h", "--help"):
            return overview()
        return measure(given[0], given[1:])
    except UserError as error:
        console.show_error(error)
        return 2
    except KeyboardInterrupt:
        return 130


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def overview() -> int:
    """A line for each benchmark."""
    for name in MEMBERS:
        module = member(name)
        lacking = missing(module)
        note = f"  (not installed: {', '.join(lacking)})" if lacking else ""
        print(f"{name:<14} {summary(module)}{note}")
    print()
    print("make bench NAME=encoding              or: python -m benchmarks encoding")
    print(
        'make bench NAME=encoding OPTIONS="--rounds 3 --text FILE"      options: python -m benchmarks encoding --help'
    )
    return 0


def member(name: str) -> ModuleType:
    if name not in MEMBERS:
        raise UserError(
            f"there is no benchmark {name!r}",
            allowed=", ".join(MEMBERS),
            hint=did_you_mean(suggest(name, MEMBERS)),
        )
    return importlib.import_module(f"benchmarks.{name}")


def summary(module: ModuleType) -> str:
    return (module.__doc__ or "").partition("\n")[0].rstrip(".")


def missing(module: ModuleType) -> list[str]:
    """The libraries of its sides that are not installed."""
    return [package for package in module.BENCHMARK.packages if importlib.util.find_spec(package) is None]


def measure(name: str, given: Sequence[str]) -> int:
    """Run one benchmark with the options given."""
    module = member(name)
    arguments = parser_of(name, module).parse_args(given)
    against = getattr(arguments, "against", None)
    if against:
        version_of(against)  # checked before anything is read
    for package in [] if against else missing(module):
        raise missing_extra(package, "bench", f"the benchmark {name}")
    plan = Plan(
        rounds=arguments.rounds,
        threads=arguments.threads,
        warmup=arguments.warmup,
        repeat=arguments.repeat,
        pin=arguments.pin,
        limit=arguments.limit,
        seeds=getattr(arguments, "judge_seeds", 0),
    )
    check(plan)
    with tempfile.TemporaryDirectory(prefix="unmask-benchmark-text-") as folder:
        settings, data = module.arrange(arguments, Path(folder))
        benchmark = module.BENCHMARK
        if against:
            scratch = Path(folder) / "against"
            benchmark, other = benchmark_against(module, arguments, given, plan, scratch)
            data = [*data, other]
        elif hasattr(module, "sides"):
            ours, sides = module.sides(arguments, settings)
            benchmark = replace(benchmark, ours=ours, sides=sides)
        found = []
        for point in module.points(arguments) if hasattr(module, "points") else [{}]:
            found.append((point, harness.run(benchmark, settings | point, plan, data, arguments.out)))
            show(point, found[-1][1])
            if not found[-1][1].complete:
                return 130
    if hasattr(module, "table"):
        print("\n".join(module.table(found)))
    return 0


def show(point: Mapping[str, Any], outcome: harness.Outcome) -> None:
    at = "".join(f"{name} {value} · " for name, value in point.items())
    for line in outcome.lines:
        print(at + line)
    for warning in outcome.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"record: {outcome.record}", file=sys.stderr)


def parser_of(name: str, module: ModuleType) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    shared = parser.add_argument_group("of every benchmark")
    shared.add_argument(
        "--rounds", type=int, default=ROUNDS[name], help=f"of all sides in turn (default {ROUNDS[name]})"
    )
    threads = conditions.usable_cores()
    shared.add_argument("--threads", type=int, default=threads, help=f"for each side (default: all, {threads})")
    shared.add_argument("--pin", action="store_true", help="keep each side on as many cores as threads (Linux)")
    shared.add_argument("--warmup", type=int, help=f"runs that do not count (default {module.BENCHMARK.warmup})")
    shared.add_argument("--repeat", type=int, help=f"timed runs in a process (default {module.BENCHMARK.repeat})")
    shared.add_argument("--limit", type=float, default=900.0, help="seconds for one process (default 900)")
    shared.add_argument(
        "--out", type=Path, default=Path("runs/benchmarks"), help="folder of the records (runs/benchmarks)"
    )
    if not hasattr(module, "table"):
        shared.add_argument(
            "--against",
            type=Path,
            metavar="CHECKOUT",
            help="compare with the same side of another checkout of unmask, and not with other libraries",
        )
    module.add_options(parser.add_argument_group(f"of {name}"))
    return parser


def check(plan: Plan) -> None:
    """Raises UserError for numbers that cannot be used."""
    for option, value, least in (
        ("--rounds", plan.rounds, 1),
        ("--threads", plan.threads, 1),
        ("--warmup", plan.warmup, 0),
        ("--repeat", plan.repeat, 1),
        ("--judge-seeds", plan.seeds, 0),
    ):
        if value is not None and value < least:
            raise UserError(f"{option} cannot be used", given=value, allowed=f"{least} or more")
    if plan.pin and not hasattr(os, "sched_setaffinity"):
        raise UserError("--pin works on Linux only", hint="leave it out")
    if plan.pin and plan.threads > conditions.usable_cores():
        raise UserError("there are not so many cores", given=plan.threads, allowed=conditions.usable_cores())


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main())
