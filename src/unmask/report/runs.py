"""Run folders as they lie on the disk: what each is, how far it came, how good it is. Reads only; no torch.

A run folder is named by what it holds: results.json (a quick start) or run.json (pretraining, fine-tuning).
What cannot be read is a run in the state `damaged`, with the reason: listing runs never fails on one of them.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from unmask import console, files
from unmask.config import read_yaml
from unmask.errors import UserError, did_you_mean
from unmask.messages import Message, join, message
from unmask.report.curves import is_loss, main_figure
from unmask.report.formats import figure_title, format_figure, format_loss

State = Literal["running", "interrupted", "finished", "damaged"]

KINDS = ("pretrain", "finetune")
QUICKSTART = "quickstart"
FORMAT = 1  # of results.json
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
    """One run folder. figure: the main figure, {name: `classify.accuracy` or `masked.loss`, value}; facts: what
    run.json or results.json holds."""

    folder: Path
    kind: str
    state: State
    description: str = ""
    budget: str = ""
    steps: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    progress: float | None = None
    figure: Facts | None = None
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
        name, value = self.figure["name"], self.figure["value"]
        if name == TRAINING_LOSS:
            return message("training loss {value}", format_loss(value))
        shown = format_loss(value) if is_loss(name) else format_figure(name, value).replace("\u00a0", " ")
        return message(FIGURES[self.kind], figure_title(name), shown)

    def plain(self) -> Facts:
        """For JSON."""
        values = {key: value for key, value in vars(self).items() if key not in ("facts", "recipe")}
        return values | {"folder": str(self.folder)}


def find_runs(folder: Path | str) -> list[RunInfo]:
    """All runs in and below a folder, the oldest first; those without a time come first, by name.

    Raises UserError where there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError("{path} is not a folder", folder, hint="name the folder of the runs: unmask runs FOLDER")
    runs = [read_run(path) for path in _run_folders(folder)]
    return sorted(runs, key=lambda run: (run.created or "", str(run.folder)))


def _run_folders(folder: Path) -> Iterator[Path]:
    """The folders that look like runs, whole or damaged."""
    for name, inside, names in os.walk(folder):
        run = not {"run.json", "results.json"}.isdisjoint(names) or {"recipe.yaml", "metrics.jsonl"} <= {*names}
        if run:
            yield Path(name)
        inside[:] = sorted(one for one in inside if not one.startswith(".") and not (run and one in INNER))


def read_run(folder: Path | str) -> RunInfo:
    """What a run folder says of itself; never raises for what is in it."""
    folder = Path(folder)
    problem: str = message("no run.json")
    for name, read in (("run.json", _trained), ("results.json", _quickstart)):
        if (folder / name).is_file():
            try:
                return read(folder, files.read_object(folder / name))
            except UserError as error:
                problem = error.message
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                problem = message("{file} is damaged: {error}", name, error)
    return RunInfo(folder, "unknown", "damaged", problem=problem)


def require_run(folder: Path | str) -> RunInfo:
    """As `read_run`, but raises UserError for what is no run or is damaged."""
    run = read_run(folder)
    if run.state == "damaged":
        near = ", ".join([str(path) for path in _run_folders(run.folder) if path != run.folder][:4])
        hint = [did_you_mean(near or None), "unmask runs FOLDER"]
        raise UserError("{folder} contains no readable run", folder, given=run.problem, hint=hint)
    return run


def _trained(folder: Path, facts: Facts) -> RunInfo:
    if facts.get("kind") not in KINDS:
        raise UserError("run.json names the kind {kind!r}", facts.get("kind"), allowed=", ".join(KINDS))
    recipe, finished, rows = read_yaml(folder / "recipe.yaml"), facts.get("finished"), _last_rows(folder)
    last = next((row for row in reversed(rows) if "step" in row), {})
    done = {"steps": last.get("step"), **last, **(finished or {})}
    return RunInfo(
        folder,
        str(facts["kind"]),
        _state(folder, finished is not None),
        description=_description(recipe),
        budget=str((recipe.get("train") or {}).get("budget") or ""),
        steps=done["steps"],
        tokens=done.get("tokens"),
        seconds=done.get("seconds"),
        progress=1.0 if finished is not None else last.get("progress", 0.0),
        figure=_figure(finished or {}, rows),
        created=facts.get("created"),
        facts=facts,
        recipe=recipe,
    )


def _state(folder: Path, finished: bool) -> State:
    return "finished" if finished else "running" if locked(folder) else "interrupted"


def _figure(finished: Facts, rows: list[Facts]) -> Facts | None:
    """The main figure on held-out or development rows, at the end or the last there is; else the training loss."""
    evaluated = [row["evaluation"] for row in reversed(rows) if row.get("evaluation")]
    losses = [{TRAINING_LOSS: row["loss"]} for row in reversed(rows) if "loss" in row]
    for figures in (finished.get("dev"), finished.get("heldout_figures"), *evaluated, *losses):
        if name := main_figure(figures or {}):
            return {"name": name, "value": float(figures[name])}
    return None


def _quickstart(folder: Path, results: Facts) -> RunInfo:
    if (results.get("format"), results.get("kind")) != (FORMAT, QUICKSTART):
        given = f"format {results.get('format')}, kind {results.get('kind')}"
        raise UserError("results.json is not of a quick start of this version", given=given)
    steps, pretraining = results.get("steps") or [], results.get("pretraining") or {}
    evaluation = results.get("evaluation") or {}
    metric, models = evaluation.get("metric"), evaluation.get("models")
    _, _, budget = str(results.get("command") or "").partition("--budget ")
    return RunInfo(
        folder,
        QUICKSTART,
        _state(folder, len(steps) >= STEPS),
        description=str(results.get("title") or ""),
        budget=budget.partition(" ")[0],
        steps=pretraining.get("steps"),
        tokens=pretraining.get("tokens"),
        seconds=sum(step.get("seconds", 0) for step in steps),
        progress=min(1.0, len(steps) / STEPS),
        figure={"name": metric, "value": float(models[0][metric]["value"])} if models else None,
        created=results.get("created"),
        facts=results,
    )


def _description(recipe: Facts) -> str:
    """The few words that tell one run from another."""
    model, data = recipe.get("model"), recipe.get("data") or {}
    if isinstance(model, dict):
        names = [str(one.get("name")) for one in recipe.get("objectives") or []]
        size = f"{model.get('num_hidden_layers')} x {model.get('hidden_size')}"
        return join([size, *names, Path(str(data.get("corpus", ""))).name], ", ")
    task = (recipe.get("task") or {}).get("name", "")
    start = None if recipe.get("pretrained", True) else message("from scratch")
    return join([task, Path(str(data.get("train", ""))).name, start], ", ")


def _last_rows(folder: Path) -> list[Facts]:
    """The last rows of the log, without reading all of it; none where there is no log."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        lines = file.read().splitlines()
    rows = []
    for line in lines:
        with suppress(ValueError):  # the first line where it is cut, the last line of a killed run
            rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict)]


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
