"""The sections of a page about one run, besides those on its test results: data, curves, how to repeat it."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unmask import console
from unmask.messages import from_json
from unmask.report import engine, evaluation, figures, origin
from unmask.report.blocks import Block, Cell, Code, Section, Table, Words, facts, pairs, sections, table
from unmask.report.figures import Trained
from unmask.report.words import format_duration, format_figure, format_percent, percent_range, translated

ROWS_OF_TASK = ("train_rows", "train_rows_used", "dev_rows", "test_rows")
Z = 1.959964  # of a two-sided interval of 95 %

Results = dict[str, Any]


def all_sections(results: Results, run: Path, words: Words) -> list[Section]:
    """What a manager asks for first, then figures for the curious, then everything to repeat it."""
    blocks: dict[str, Iterable[Block | None]] = {
        "results": evaluation.results(results, words),
        "errors": evaluation.errors(results, words),
        "predictions": evaluation.predictions(results, words),
        "pretraining": _pretraining(results, run, words),
        "fills": [_fills(results, words)],
        "finetuning": _finetuning(results, run, words),
        "training": engine.how_it_went(results, run, words),
        "data": _data(results, words),
        "steps": [_steps(results, words)],
        "repeat": _repeat(results, run, words),
    }
    return sections(blocks, words)


def wilson(share: float, rows: int) -> dict[str, float]:
    """The 95 % score interval of a share of `rows` (Wilson 1927)."""
    centre = (share + Z**2 / (2 * rows)) / (1 + Z**2 / rows)
    half = Z / (1 + Z**2 / rows) * math.sqrt(share * (1 - share) / rows + Z**2 / (4 * rows**2))
    return {"low": centre - half, "high": centre + half}


def _steps(results: Results, words: Words) -> Table | None:
    steps = results.get("steps") or []
    if not steps:
        return None
    rows: list[list[str | Cell]] = [
        [
            str(step["number"]),
            translated(step["title"], words),
            translated(from_json(step.get("message", step.get("summary", ""))), words),
            format_duration(step.get("seconds", 0), words),
        ]
        for step in steps
    ]
    whole = format_duration(sum(step.get("seconds", 0) for step in steps), words)
    heads = ["", words["step"], words["did"], words["time"]]
    return Table(heads, [*rows, ["", words["total"], "", whole]], numbers=frozenset({0, 3}), total=True)


def _data(results: Results, words: Words) -> Iterable[Block | None]:
    data = results.get("data") or {}
    columns: dict[str, Any] = {"name": str, "documents": console.count, "size": console.size}
    columns |= {"source": str, "licence": str}
    corpora = [_told(row, words) | {"size": row.get("bytes")} for row in data.get("corpora") or []]
    yield table(corpora, columns, words, words["corpora.caption"])
    task = data.get("task")
    if task:
        labels = task.get("labels")
        defects = [translated(one, words) for one in task.get("defects") or []]
        columns = {"task": str, "file": str} | dict.fromkeys(ROWS_OF_TASK, console.count)
        columns |= {"labels": console.count, "source": str, "licence": str, "defects": "; ".join}
        row = _told(task, words) | {
            "task": translated(task.get("name") or "", words) or None,
            "labels": len(labels) if isinstance(labels, list) else labels,
        }
        yield facts(row | {"defects": defects or None}, columns, words, words["task.caption"])
    columns = {"vocab_size": console.count, "characters_per_token": "{:.2f}".format}
    columns["unknown_rate"] = lambda rate: format_percent(rate, 2)
    yield facts(results.get("tokenizer") or {}, columns, words, words["tokenizer.caption"])


def _told(row: Results, words: Words) -> Results:
    """What is known about public data, in the language of the page."""
    return row | {
        key: translated(row[key], words) for key in ("name", "source", "licence") if isinstance(row.get(key), str)
    }


def _pretraining(results: Results, run: Path, words: Words) -> Iterable[Block | None]:
    pretraining = results.get("pretraining")
    if pretraining:
        yield figures.pretraining_loss(figures.log_of(run, pretraining), pretraining, words)
        columns: dict[str, Any] = dict.fromkeys(
            ("parameters", "train_steps", "tokens", "tokens_per_second"), console.count
        )
        columns |= {"time": lambda seconds: format_duration(seconds, words)}
        columns |= {
            "loss": "{:.2f}".format,
            "heldout_loss": "{:.2f}".format,
            "heldout_accuracy": format_percent,
        }
        row = pretraining | {"train_steps": pretraining.get("steps"), "time": pretraining.get("seconds")}
        yield facts(row, columns, words, words["pretraining.caption"])
        yield origin.initialization_section(results, words)
    objectives = []
    for objective in results.get("objectives") or []:
        settings = [
            f"{key.replace('_', ' ')}: {_shown(value, words)}"
            for key, value in objective.items()
            if key != "name" and value is not None
        ]
        name = translated(objective.get("name") or "", words)
        objectives.append({"objective": name, "settings": ", ".join(settings) or None})
    yield table(objectives, {"objective": str, "settings": str}, words, words["objectives.caption"])


def _shown(value: object, words: Words) -> str:
    return words["yes" if value else "no"] if isinstance(value, bool) else str(value)


def _finetuning(results: Results, run: Path, words: Words) -> Iterable[Block | None]:
    entries = results.get("finetuning") or []
    runs = [
        Trained(translated(entry["name"], words), figures.log_of(run, entry), entry.get("best_step"))
        for entry in entries
    ]
    yield from figures.finetuning_curves(runs, words)
    dev_rows = ((results.get("data") or {}).get("task") or {}).get("dev_rows")
    columns: dict[str, Any] = {
        "start": str,
        "train_steps": console.count,
        "best_step": console.count,
        "truncated": console.count,
        "dev": lambda cell: cell,
        "time": lambda seconds: format_duration(seconds, words),
    }
    rows = [
        entry
        | {
            "start": translated(entry["name"], words),
            "train_steps": entry.get("steps"),
            "time": entry.get("seconds"),
            "dev": _dev(entry, entry.get("dev_rows") or dev_rows, words),
        }
        for entry in entries
    ]
    yield table(rows, columns, words, words["finetuning.caption"])
    if entries:
        yield origin.initialization_section(results, words)


def _dev(entry: Results, rows: int | None, words: Words) -> Cell | None:
    """The best figure on the development rows with its n, and an interval where it is a share of rows."""
    known = entry.get("dev") or {}
    if entry.get("dev_accuracy") is not None:
        known = {"classify.accuracy": entry["dev_accuracy"], **known}
    name = figures.main_figure(known)
    if name is None or name.endswith("loss") or not rows:
        return None
    notes = [words["finetuning.n"].format(rows=console.count(rows))]
    if name == "classify.accuracy":
        notes.insert(0, percent_range(wilson(known[name], rows), words))
    shown = format_figure(name.split(".")[-1], known[name])
    return Cell(f"{figures.figure_name(name, words, inline=True)} {shown}", " · ".join(notes))


def _fills(results: Results, words: Words) -> Table | None:
    rows = []
    for fill in (results.get("samples") or {}).get("fills") or []:
        guesses = (f"{guess['token']} {format_percent(guess['probability'])}" for guess in fill["candidates"])
        text = evaluation.short(fill["text"].replace(fill.get("mask_token", "[MASK]"), "_____"))
        rows.append({"text": text, "masked_word": fill.get("masked_word"), "candidates": " · ".join(guesses)})
    return table(rows, {"text": str, "masked_word": str, "candidates": str}, words, words["fills.caption"])


def _repeat(results: Results, run: Path, words: Words) -> Iterable[Block | None]:
    repeat = results.get("repeat") or {}
    if repeat.get("commands"):
        yield Code("\n".join(repeat["commands"]))
    values = {words["seed"]: repeat.get("seed")} | (results.get("environment") or {})
    yield pairs(values, (words["setting"], words["value"]), words["environment.caption"])
    hashes = repeat.get("hashes") or {}
    yield pairs(hashes, (words["hashed"], words["hash"]), words["hashes.caption"])
    for path in sorted([*run.glob("recipe.yaml"), *run.glob("*/recipe.yaml")]):
        title = words["recipe"].format(file=path.relative_to(run).as_posix())
        yield Code(path.read_text(encoding="utf-8", errors="replace"), title)
