"""Which backend and precision run a model: those that are there, and of them the fastest on this machine.

The fastest is found by a trial of some seconds, whose result is kept in the cache folder, for each machine, number of
threads, engine and model. A single candidate needs no trial.
"""

import hashlib
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from unmask import files
from unmask.data.textfiles import missing_path
from unmask.errors import UserError, missing_extra
from unmask.messages import message
from unmask.runtime.machine import cpu_facts, package_version, usable_cores
from unmask.runtime.manifest import ExportedNetwork
from unmask.tasks.task import Arrays

PACKAGES = {"torch": ("torch", "train"), "onnx": ("onnxruntime", "onnx"), "openvino": ("openvino", "openvino")}
"""By backend, the package that it needs and the extra that brings it."""
FORMATS = ("onnx", "openvino")
EXPORT = "unmask export MODEL --format onnx --output FOLDER"
PRECISIONS = ("float32", "bfloat16", "int8")
TRIALS = ((1, 16), (16, 32), (4, 128))  # sequences and tokens of the batches that are timed
REPEATS = 3
RUNS_BFLOAT16 = ("torch", "openvino")  # the others compute in the precision of their file
BFLOAT16_UNITS = {"amx_bf16", "avx512_bf16"}  # flags of processors that multiply bfloat16 matrices


@dataclass(frozen=True)
class Choice:
    """A backend, and the precision that it computes in."""

    backend: str
    precision: str

    def __str__(self) -> str:
        return f"{self.backend} {self.precision}"


def has_bfloat16_units() -> bool:
    """Whether the processor multiplies matrices of bfloat16 faster than those of float32."""
    return not BFLOAT16_UNITS.isdisjoint(cpu_facts().get("flags", "").split())


def find_choices(networks: Sequence[ExportedNetwork], has_weights: bool, backend: str, precision: str) -> list[Choice]:
    """List what can run a model, as far as the names that are not `auto` allow it.

    A network that did not pass its verification, and int8 whose loss on labelled rows was not measured, are listed only
    where they are named. Raises UserError for unknown names, for an engine that is not installed, and where nothing is
    left.
    """
    _check_names(backend, precision)
    every = [Choice(one.backend, one.precision) for one in networks if _is_allowed(one, backend, precision)]
    every += [Choice("torch", "float32")] if has_weights else []
    wide = [Choice(one.backend, "bfloat16") for one in every if one.precision == "float32"]
    wide = [one for one in wide if one.backend in RUNS_BFLOAT16]
    every += wide if precision == "bfloat16" or has_bfloat16_units() else []
    fitting = [one for one in every if backend in ("auto", one.backend) and precision in ("auto", one.precision)]
    installed = [one for one in fitting if find_spec(PACKAGES[one.backend][0])]
    if fitting and not installed:
        raise _not_installed(list(dict.fromkeys(one.backend for one in fitting)))
    if not fitting:
        format = backend if backend in FORMATS else FORMATS[0]
        export = f"unmask export MODEL --format {format} --output FOLDER"
        if precision == "int8":
            export = f"unmask export MODEL --format {format} --precision int8 --output FOLDER"
        only_weights = message("use the model that it was exported from")
        raise UserError(
            "this model does not run with this backend and precision",
            given=f"backend {backend}, precision {precision}",
            allowed=[str(one) for one in every] or "no network is there",
            hint=[
                only_weights if backend == "torch" else export,
                *(["to let int8 run: unmask verify FOLDER --dev FILE"] if _has_unmeasured(networks) else []),
            ],
        )
    return installed


def check_exists(folder: Path) -> None:
    """Without torch, raise UserError for a folder that does not exist: no name of a public checkpoint can be read."""
    if not folder.exists() and not find_spec(PACKAGES["torch"][0]):
        raise missing_path(folder)


def _not_installed(backends: Sequence[str]) -> UserError:
    """The error for a model that only these backends run, none of which is installed."""
    error = missing_extra(*PACKAGES[backends[0]], message("backend {name}", backends[0]))
    more: list[object] = [f"pip install 'unmask[{PACKAGES[one][1]}]'" for one in backends]
    if list(backends) == ["torch"]:
        more.append(message("or where torch is installed: {command}", EXPORT))
    return UserError(error.message, hint=more)


def _check_names(backend: str, precision: str) -> None:
    for name, value, allowed in (("backend", backend, tuple(PACKAGES)), ("precision", precision, PRECISIONS)):
        if value not in ("auto", *allowed):
            raise UserError(f"{name} cannot be {value!r}", allowed=", ".join(("auto", *allowed)))


def _is_allowed(network: ExportedNetwork, backend: str, precision: str) -> bool:
    if network.backend == backend and network.precision == precision:
        return True
    record = network.verified or {}
    if network.precision == "int8":
        return bool(record.get("passed") and record.get("dev"))
    return bool(record.get("passed", True))


def _has_unmeasured(networks: Sequence[ExportedNetwork]) -> bool:
    return any(one.precision == "int8" and not (one.verified or {}).get("dev") for one in networks)


def fastest(
    choices: Sequence[Choice],
    key: str,
    run: Callable[[Choice], Callable[[Arrays], Any]],
    vocab_size: int,
    longest: int,
) -> Choice:
    """Return the choice that computes some batches in the least time. key: of the model; run: opens a choice;
    longest: tokens of a sequence."""
    if best := stored_choice(choices, key):
        return best
    seconds = {one: _seconds(run(one), vocab_size, longest) for one in choices}
    best = min(seconds, key=lambda one: seconds[one])
    times = {str(one): round(value, 6) for one, value in seconds.items()}
    files.write_json(_trial_file(choices, key), {**asdict(best), "seconds": times})
    return best


def stored_choice(choices: Sequence[Choice], key: str) -> Choice | None:
    """Return the choice that an earlier trial on this machine found the fastest, the only one if there is one; None
    where there was no trial of these."""
    if len(choices) == 1:
        return choices[0]
    try:
        stored = files.read_object(_trial_file(choices, key))
        best = Choice(stored["backend"], stored["precision"])
    except (UserError, KeyError):
        return None
    return best if best in choices else None


def trial_key(networks: Sequence[ExportedNetwork], threads: int | None) -> str:
    """What a trial is kept under: the networks, by their checksums, and the number of threads (all cores if None)."""
    return f"{threads or usable_cores()} " + " ".join(sorted(sum_ for one in networks for sum_ in one.sha256.values()))


def _trial_file(choices: Sequence[Choice], key: str) -> Path:
    machine = [cpu_facts().get("model name", ""), platform.node()]
    engines = [f"{one} {package_version(PACKAGES[one.backend][0])}" for one in choices]
    name = hashlib.sha256("\n".join([*machine, key, *engines]).encode()).hexdigest()[:16]
    return files.cache_folder() / "backends" / f"{name}.json"


def _seconds(run: Callable[[Arrays], Any], vocab_size: int, longest: int) -> float:
    """Time the trial batches: the best of some runs each, after one that is not counted."""
    draw, total = np.random.default_rng(0), 0.0
    for sequences, most in TRIALS:
        tokens = min(most, longest)
        count = sequences * tokens
        arrays = {
            "input_ids": draw.integers(0, vocab_size, count),
            "token_type_ids": np.zeros(count, dtype=np.int64),
            "lengths": np.full(sequences, tokens),
            "positions": np.arange(count),
            "position_counts": np.full(sequences, tokens),
        }
        times = []
        for _ in range(1 + REPEATS):
            begin = time.perf_counter()
            run(arrays)
            times.append(time.perf_counter() - begin)
        total += min(times[1:])
    return total
