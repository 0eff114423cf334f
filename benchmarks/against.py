"""Another checkout of unmask as a side, in turn with this one: `--against CHECKOUT`.

A side that imports unmask is that of CHECKOUT itself: its `benchmarks` arranges and prepares the work, from the same
options, and its `src` does it. A side that runs commands of unmask is ours, with the `src` and the words of CHECKOUT.
"""

import argparse
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import conditions
from benchmarks.harness import Benchmark, Plan, Side, in_child
from unmask.errors import UserError


@dataclass(frozen=True)
class Words:
    """What a version of unmask calls things.

    finetune, predict: arguments of its command, `{...}` for values of commands.py; options: those of `python -m
    benchmarks` that have another name there, by our name.
    """

    finetune: str
    predict: str
    options: Mapping[str, str] = field(default_factory=dict)


VERSION_0_1 = Words(
    finetune="finetune {task} --model {model} --train {train} --dev {dev} --out {out} seed=0 "
    "task.length={max_length} data.batch_rows={batch_size} "
    "train.budget={steps}steps train.evaluations=1 train.threads={threads}",
    predict="predict {model} {train} --out {out}",
)
CURRENT = replace(  # change here what this checkout calls otherwise
    VERSION_0_1,
    finetune="finetune {task} --model {model} --train {train} --dev {dev} --output {out} seed=0 "
    "task.max_length={max_length} data.batch_size={batch_size} "
    "train.budget={steps}steps train.evaluations=1 train.threads={threads}",
    predict="predict {model} {train} --output {out}",
)
WORDS = {"0.1.0": VERSION_0_1}  # other checkouts, by version; one that is not listed speaks as this one


def words_of(checkout: Path) -> Words:
    """The words of a checkout's version. Raises UserError where there is no checkout of unmask."""
    if checkout.resolve() == conditions.ROOT:
        return CURRENT
    return WORDS.get(version_of(checkout), CURRENT)


def version_of(checkout: Path) -> str:
    """The version in its pyproject.toml. Raises UserError where there is no checkout of unmask."""
    try:
        project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        if project["name"] == "unmask" and (checkout / "src" / "unmask").is_dir():
            return str(project["version"])
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        pass
    raise UserError("--against needs a checkout of unmask", given=checkout, allowed="a folder with src/unmask")


def benchmark_against(
    module: ModuleType, arguments: argparse.Namespace, given: Sequence[str], plan: Plan, folder: Path
) -> tuple[Benchmark, dict[str, Any]]:
    """The benchmark of `module` with two sides, ours and the same of `arguments.against`; and what the record says of
    that checkout.

    given: the options as they were typed; folder: for what the other side reads. Raises UserError where there is no
    such checkout, or it cannot arrange the work.
    """
    benchmark: Benchmark = module.BENCHMARK
    checkout = arguments.against.resolve()
    version, code = version_of(checkout), conditions.code(checkout)
    name = code["commit"][:7] + "+" * code["changed"] if code["commit"] else checkout.name
    folder.mkdir()
    if benchmark.runs_commands:
        settings, data = module.arrange(arguments, folder, checkout)
        side = Side(name, benchmark.sides[0].prepare, settings=settings)
    else:
        if not (checkout / "benchmarks" / f"{benchmark.name}.py").is_file():
            raise UserError(f"{checkout} has no benchmark {benchmark.name}")
        names = WORDS.get(version, CURRENT).options
        options = [each.partition("=") for each in given]
        request = {
            "kind": "arrange",
            "function": f"{module.__name__}:arrange",
            "options": [names.get(name, name) + sign + value for name, sign, value in options],
            "folder": str(folder),
        }
        arranged = in_child(f"{benchmark.name}: {name}", request, plan, folder, checkout)
        settings, data = arranged["settings"], arranged["data"]
        side = Side(name, benchmark.sides[0].prepare, settings=settings, checkout=checkout)
    sides = (benchmark.sides[0], side)
    return replace(benchmark, sides=sides, judge=None), {
        "name": name,
        "version": version,
        **code,
        "data": data,
    }
