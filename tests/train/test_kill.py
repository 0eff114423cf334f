"""Whatever ends a run at whatever moment: started again, it ends with the same bytes.

The runs are forked, so that a kill costs milliseconds. Each writes a checkpoint after every step.
"""

import json
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from unmask import console, files
from unmask.bundle import weights
from unmask.console import SILENT
from unmask.train import trainer as fit
from unmask.train.finetune import finetune
from unmask.train.pretrain import pretrain
from unmask.train.recipe import FinetuneRecipe, PretrainRecipe, parse_recipe
from unmask.train.run import Interrupted

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

Runner = Callable[[Path], object]


@pytest.fixture
def pretraining(recipe_values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.setattr(fit, "LOG_EVERY", 0.0)  # a row for each step
    train = {**recipe_values["train"], "budget": "7 steps", "save_minutes": 1e-9}
    values = {**recipe_values, "train": train}
    recipe = parse_recipe(PretrainRecipe, values, (), "the test")
    return lambda out: pretrain(recipe, output=out, progress=SILENT)


@pytest.fixture
def finetuning(pretrained: Path, table: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.setattr(fit, "LOG_EVERY", 0.0)
    values = {
        "init_from": str(pretrained),
        "task": {"name": "classify", "max_length": 16},
        "data": {"train": str(table), "batch_size": 24},
        "train": {"budget": "6 steps", "evaluations": 6, "optimizer": {"lr": 0.02}},
    }
    recipe = parse_recipe(FinetuneRecipe, values, (), "the test")
    return lambda out: finetune(recipe, output=out, progress=SILENT)


@pytest.fixture
def tagging(pretrained: Path, tagged: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """With a CRF, whose parameters have a learning rate of their own."""
    monkeypatch.setattr(fit, "LOG_EVERY", 0.0)
    values = {
        "init_from": str(pretrained),
        "task": {"name": "tag", "max_length": 16, "decoder": "crf"},
        "data": {"train": str(tagged), "batch_size": 24},
        "train": {"budget": "5 steps", "evaluations": 5, "optimizer": {"lr": 0.02}},
    }
    recipe = parse_recipe(FinetuneRecipe, values, (), "the test")
    return lambda out: finetune(recipe, output=out, progress=SILENT)


def forked(work: Callable[[], object]) -> int:
    """The process id of a child that does the work and exits: 0, 128 + signal, or 99 for an error."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        console.set_quiet(True)
        work()
        code = 0
    except Interrupted as stop:
        code = 128 + stop.args[0]
    finally:
        os._exit(code)


def ended(child: int) -> int:
    """Its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def outcome(out: Path) -> tuple[str, list[tuple[int, str]], dict[str, Any]]:
    """What must not depend on how often a run was stopped: weights, log (but for times), figures."""
    clock = ("seconds", "tokens_per_second", "data_wait")
    log = [
        (row["step"], json.dumps({k: v for k, v in row.items() if k not in clock}, sort_keys=True))
        for row in files.read_jsonl(out / "metrics.jsonl")
    ]
    finished = {k: v for k, v in files.read_json(out / "run.json")["finished"].items() if k not in clock}
    return files.sha256(out / "model" / "model.safetensors"), log, finished


def assert_clean(out: Path) -> None:
    """Nothing half written is left."""
    assert not [path for path in out.rglob(".*") if path.name != ".lock"]


def die_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> list[int]:
    """Kill the process at its n-th rename or tensor file, before or half-way through it. Counts in a list."""
    count = [0]
    replace, save = files._replace, weights.save_file

    def due() -> bool:
        count[0] += 1
        return count[0] == moment

    def replacing(source: Path, target: Path) -> None:
        if due():
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    def saving(tensors: dict[str, Any], path: Path, metadata: dict[str, str] | None = None) -> None:
        save(tensors, path, metadata)
        if due():
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(files, "_replace", replacing)
    monkeypatch.setattr(weights, "save_file", saving)
    return count


@pytest.mark.parametrize("kind", ["pretraining", "finetuning", "tagging"])
def test_killed_inside_any_write(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every fifth moment of those in which a run writes: kill it there, start it again, compare."""
    run: Runner = request.getfixturevalue(kind)
    with monkeypatch.context() as counting:
        count = die_at(counting, moment=0)
        run(tmp_path / "straight")
    wanted = outcome(tmp_path / "straight")
    assert count[0] > 30
    for moment in (2, *range(1, count[0] + 1, 5)):
        out = tmp_path / f"killed-{moment}"
        with monkeypatch.context() as killing:
            die_at(killing, moment)
            assert ended(forked(lambda out=out: run(out))) == -signal.SIGKILL
        assert not (out / "run.json").exists() or "finished" not in files.read_json(out / "run.json")
        run(out)
        assert outcome(out) == wanted, f"killed at write {moment}"
        assert_clean(out)


def die_after(steps: int, part: float) -> None:
    """Kill this process so many steps from now, and such a part of a step's time later."""
    original = fit.train_steps

    def stepping(*given: Any) -> Iterator[Any]:
        for number, step in enumerate(original(*given), start=1):
            if number == steps:
                kill = (os.getpid(), signal.SIGKILL)
                threading.Timer(part * step.step_seconds, os.kill, kill).start()
            yield step

    fit.train_steps = stepping  # type: ignore[assignment]


def test_killed_at_twenty_random_moments(
    recipe_values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of them inside a write, the others at any time; from each start to the next kill it is a step or a few."""
    monkeypatch.setattr(fit, "LOG_EVERY", 0.0)
    train = {**recipe_values["train"], "budget": "60 steps", "evaluations": 6, "save_minutes": 1e-9}
    recipe = parse_recipe(PretrainRecipe, {**recipe_values, "train": train}, (), "the test")
    pretrain(recipe, output=tmp_path / "straight", progress=SILENT)
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # pytest shows it when the test fails
    draw, out = random.Random(seed), tmp_path / "killed"

    def until_killed() -> None:
        if draw.random() < 0.5:
            die_at(monkeypatch, draw.randint(1, 10))
        else:
            die_after(draw.randint(1, 2), draw.uniform(0, 2))
        pretrain(recipe, output=out, progress=SILENT)

    for _ in range(20):
        draw.seed(draw.random())  # the child draws from a copy
        assert ended(forked(until_killed)) == -signal.SIGKILL
    assert "finished" not in files.read_json(out / "run.json")
    pretrain(recipe, output=out, progress=SILENT)
    assert outcome(out) == outcome(tmp_path / "straight")
    assert_clean(out)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_run_goes_on_from_there(
    pretraining: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    pretraining(tmp_path / "straight")
    out = tmp_path / "stopped"
    append = fit.Run.append

    def appending(self: fit.Run, **row: Any) -> None:
        append(self, **row)
        if row["step"] == 5 and "loss" in row:
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patched:
        patched.setattr(fit.Run, "append", appending)
        assert ended(forked(lambda: pretraining(out))) == 128 + number
    newest = max(out.glob("checkpoints/step-*"))
    assert files.read_json(newest / "state.json")["step"] == 5
    assert not (out / "model").exists()
    pretraining(out)
    assert outcome(out) == outcome(tmp_path / "straight")


def test_a_finished_run_is_returned_as_it_is(pretraining: Runner, tmp_path: Path) -> None:
    first = pretraining(tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "model").iterdir()}
    assert pretraining(tmp_path / "run") == first
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "model").iterdir()}
