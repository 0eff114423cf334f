"""Run folders as they lie on the disk: what each is, how far it came, how good it is. Reads only; no torch.

A run folder is named by what it holds: results.json (a quick start) or run.json (pretraining, fine-tuning).
What cannot be read is a run in the state `damaged`, with the reason: listing runs never fails on one of them.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from unmask import console, files
from unmask.config import read_yaml
from unmask.errors import UserError, did_you_mean
from unmask.messages import Message, join, message
from unmask.report.figures import is_loss, main_figure
from unmask.report.formats import figure_title, format_figure, format_loss

State = Literal["running", "interrupted", "finished", "damaged"]

KINDS = ("pretrain", "finetune")
QUICKSTART = "quickstart"
TITLES = {"pretrain": "pretraining", "finetune": "fine-tuning", "quickstart": "quick start", "unknown": "unknown"}
FIGURES = {
    "pretrain": "held-out {figure} {value}",
    "finetune": "dev {figure} {value}",
    "quickstart": "test {figure} {value}",
}  # the main figure, by the kind
STEPS = 7  # of a quick start
TRAINING_LOSS = "training.loss"
TAIL = 1 << 16  # bytes of a log that hold its last rows
INNER = {"checkpoints", "model", "tokenizer", "corpus", "predictions", "tensorboard", "input", "split"}  # hold no runs

Facts = dict[str, Any]


@dataclass(frozen=True)
class RunInfo:
    """One run folder. figure: the main figure's name (`classify.accuracy`, `masked.loss`) and its value."""

    folder: Path
    kind: str
    state: State
    description: str = ""
    budget: str = ""
    steps: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    progress: float | None = None
    figure: tuple[str, float] | None = None
    created: str | None = None
    problem: str | None = None
    facts: Facts = field(default_factory=dict, repr=False)
    recipe: Facts = field(default_factory=dict, repr=False)

    @property
    def title(self) -> Message:
        """The kind in words."""
        return message(TITLES[self.kind])

    @property
    def shown_state(self) -> Message:
        """The state, with the progress of a run that is not finished."""
        state = message(self.state)
        if self.state in ("running", "interrupted") and self.progress is not None:
            return message("{state}, {progress:.0%}", state, self.progress)
        return state

    @property
    def shown_figure(self) -> str:
        """`dev accuracy 94.2 %`, `held-out loss 6.41`."""
        if self.figure is None:
            return ""
        name, value = self.figure
        if name == TRAINING_LOSS:
            return message("training loss {value}", format_loss(value))
        shown = format_loss(value) if is_loss(name) else format_figure(name, value).replace("\u00a0", " ")
        return message(FIGURES[self.kind], figure_title(name), shown)

    def plain(self) -> Facts:
        """For JSON."""
        values = asdict(self) | {"folder": str(self.folder)}
        values["figure"] = None if self.figure is None else dict(zip(("name", "value"), self.figure, strict=True))
        return {key: value for key, value in values.items() if key not in ("facts", "recipe")}


def find_runs(folder: Path | str) -> list[RunInfo]:
    """All runs in and below a folder, the oldest first; those without a time come first, by name.

    Raises UserError where there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder", hint="give the folder that holds the runs: unmask runs FOLDER")
    return sorted((read_run(path) for path in _run_folders(folder)), key=_order)


def _order(run: RunInfo) -> tuple[str, str]:
    try:
        when = datetime.fromisoformat(run.created or "")
    except ValueError:
        return "", str(run.folder)
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(), str(run.folder)


def _run_folders(folder: Path) -> Iterator[Path]:
    for name, inside, names in os.walk(folder):
        here = Path(name)
        run = is_run(here, names)
        if run:
            yield here
        inside[:] = sorted(one for one in inside if not one.startswith(".") and not (run and one in INNER))


def is_run(folder: Path, names: Iterable[str]) -> bool:
    """Whether a folder looks like a run, whole or damaged."""
    there = set(names)
    if there & {"run.json", "results.json"}:
        return True
    return {"recipe.yaml", "metrics.jsonl"} <= there


def read_run(folder: Path | str) -> RunInfo:
    """What a run folder says of itself; never raises for what is in it."""
    folder = Path(folder)
    try:
        if (folder / "run.json").is_file():
            return _trained(folder)
        if (folder / "results.json").is_file():
            return _quickstart(folder)
        problem = "there is no run.json" if folder.is_dir() else "there is no such folder"
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = error.message if isinstance(error, UserError) else str(error) or type(error).__name__
    return RunInfo(folder, "unknown", "damaged", problem=problem)


def require_run(folder: Path | str) -> RunInfo:
    """As `read_run`, but raises UserError for what is no run or is damaged."""
    folder = Path(folder)
    run = read_run(folder)
    if run.state == "damaged":
        near = list(_run_folders(folder))[:4] if folder.is_dir() else []
        raise UserError(
            f"{folder} holds no run that can be read",
            given=run.problem,
            hint=[did_you_mean(", ".join(map(str, near)) or None), "unmask runs FOLDER"],
        )
    return run


def _trained(folder: Path) -> RunInfo:
    facts = _mapping(files.read_json(folder / "run.json"), folder / "run.json")
    kind = facts.get("kind")
    if kind not in KINDS:
        raise UserError("run.json names the kind {kind!r}", kind, allowed=", ".join(KINDS))
    recipe = read_recipe_values(folder / "recipe.yaml")
    finished = facts.get("finished")
    if finished is not None:
        finished = _mapping(finished, folder / "run.json")
    rows = _last_rows(folder / "metrics.jsonl")
    last = next((row for row in reversed(rows) if "step" in row), {})
    figures = _figures_of(finished or {}, rows)
    name = main_figure(figures)
    done = finished or last
    return RunInfo(
        folder,
        str(kind),
        "finished" if finished is not None else "running" if locked(folder) else "interrupted",
        description=_what(recipe),
        budget=str((recipe.get("train") or {}).get("budget") or ""),
        steps=done.get("steps", last.get("step")),
        tokens=done.get("tokens", last.get("tokens")),
        seconds=done.get("seconds"),
        progress=1.0 if finished is not None else last.get("progress", 0.0),
        figure=None if name is None else (name, float(figures[name])),
        created=_text(facts.get("created")),
        facts=facts,
        recipe=recipe,
    )


def _figures_of(finished: Facts, rows: list[Facts]) -> Facts:
    """The figures on held-out or development rows, at the end or the last there are; else the training loss."""
    latest = [row["evaluation"] for row in reversed(rows) if row.get("evaluation")]
    losses = [{TRAINING_LOSS: row["loss"]} for row in reversed(rows) if "loss" in row]
    last: Facts = next(filter(None, [finished.get("dev"), finished.get("heldout_figures"), *latest, *losses]), {})
    figures = {key: value for key, value in dict(last).items() if isinstance(value, int | float)}
    masked = {key: value for key, value in figures.items() if key == "masked.loss"}
    return masked or figures  # an accuracy of guessing hidden words says less than the loss


def _quickstart(folder: Path) -> RunInfo:
    results = _mapping(files.read_json(folder / "results.json"), folder / "results.json")
    if results.get("kind") != QUICKSTART:
        raise UserError("results.json names the kind {kind!r}", results.get("kind"), allowed=QUICKSTART)
    steps = results.get("steps") or []
    evaluation, pretraining = results.get("evaluation") or {}, results.get("pretraining") or {}
    metric = evaluation.get("metric") or "accuracy"
    models = evaluation.get("models") or []
    whole = len(steps) >= STEPS
    inside = [folder, *(path for path in sorted(folder.iterdir()) if path.is_dir())]
    running = not whole and any(locked(path) for path in inside)
    words = str(results.get("command") or "").split()
    budget = words[words.index("--budget") + 1] if "--budget" in words[:-1] else ""
    return RunInfo(
        folder,
        QUICKSTART,
        "finished" if whole else "running" if running else "interrupted",
        description=str(results.get("title") or ""),
        budget=budget,
        steps=pretraining.get("steps"),
        tokens=pretraining.get("tokens"),
        seconds=sum(step.get("seconds", 0) for step in steps),
        progress=min(1.0, len(steps) / STEPS),
        figure=(metric, float(models[0][metric]["value"])) if models else None,
        created=_text(results.get("created")),
        facts=results,
    )


def _what(recipe: Facts) -> str:
    """The few words that tell one run from another."""
    model, data = recipe.get("model"), recipe.get("data") or {}
    if isinstance(model, dict):
        names = ", ".join(str(one.get("name")) for one in recipe.get("objectives") or [])
        corpus = Path(str(data.get("corpus", ""))).name
        return f"{model.get('num_hidden_layers')} x {model.get('hidden_size')}, {names}, {corpus}".strip(", ")
    task = (recipe.get("task") or {}).get("name", "")
    start = None if recipe.get("pretrained", True) else message("from scratch")
    return join([task, Path(str(data.get("train", ""))).name, start], ", ")


def read_recipe_values(path: Path) -> Facts:
    """The recipe of a run as plain values. Raises UserError where it cannot be read."""
    return _mapping(read_yaml(path), path)


def _mapping(value: Any, path: Path) -> Facts:
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no settings", given=type(value).__name__)
    return value


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _last_rows(path: Path) -> list[Facts]:
    """The last rows of a log, without reading all of it; none where there is no log."""
    if not path.is_file():
        return []
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        lines = file.read().splitlines()
    rows = []
    for line in lines[1:] if size > TAIL else lines:
        try:
            row = json.loads(line)
        except ValueError:  # the last line of a killed run
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def locked(folder: Path) -> bool:
    """Whether a process holds a run folder open.

    Looking takes a shared lock for an instant; a run that begins in that instant would be told that the folder
    is in use, which is why only runs that are not finished are looked at.
    """
    try:
        with (folder / ".lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def run_facts(run: RunInfo) -> list[str]:
    """The cells of one line of `unmask runs`."""
    when = (run.created or "").replace("T", " ")[:16]
    counted = ["" if value is None else console.count(value) for value in (run.steps, run.tokens)]
    what = run.problem or run.description
    return [str(run.folder), run.title, run.shown_state, what, run.budget, *counted, run.shown_figure, when]
