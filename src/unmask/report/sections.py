"""The sections of a page about one run, besides those on its test results: data, curves, how to repeat it."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unmask import console
from unmask.messages import from_json, join, message
from unmask.report import engine, evaluation, figures, origin
from unmask.report.blocks import Block, Cell, Code, Columns, Section, Table, facts, pairs, sections, table
from unmask.report.figures import Trained
from unmask.report.formats import (
    figure_title,
    format_figure,
    format_loss,
    format_percent,
    format_range,
    known,
)

Z = 1.959964  # of a two-sided interval of 95 %

Results = dict[str, Any]


def all_sections(results: Results, run: Path) -> list[Section]:
    """What a manager asks for first, then figures for the curious, then everything to repeat it."""
    blocks: dict[tuple[str, str], Iterable[Block | None]] = {
        ("results", "Results"): evaluation.results(results),
        ("errors", "Errors"): evaluation.errors(results),
        ("predictions", "Predictions on test rows"): evaluation.predictions(results),
        ("pretraining", "Pretraining"): _pretraining(results, run),
        ("fills", "Filling in masked words"): [_fills(results)],
        ("finetuning", "Fine-tuning"): _finetuning(results, run),
        ("training", "Training"): engine.training_section(results, run),
        ("data", "Data"): _data(results),
        ("steps", "What was done"): [_steps(results)],
        ("repeat", "Reproduction"): _repeat(results, run),
    }
    return sections(blocks)


def wilson(share: float, rows: int) -> dict[str, float]:
    """The 95 % score interval of a share of `rows` (Wilson 1927)."""
    centre = (share + Z**2 / (2 * rows)) / (1 + Z**2 / rows)
    half = Z / (1 + Z**2 / rows) * math.sqrt(share * (1 - share) / rows + Z**2 / (4 * rows**2))
    return {"low": centre - half, "high": centre + half}


def _steps(results: Results) -> Table | None:
    rows = [
        step | {"title": known(step["title"]), "summary": from_json(step.get("message", step.get("summary", "")))}
        for step in results.get("steps") or []
    ]
    if not rows:
        return None
    columns: Columns = {
        "number": ("", str),
        "title": "Step",
        "summary": "Result",
        "seconds": ("Time", console.seconds),
    }
    total = {"title": message("Total"), "seconds": sum(step.get("seconds", 0) for step in rows)}
    return table([*rows, total], columns, total=True)


def _data(results: Results) -> Iterable[Block | None]:
    data = results.get("data") or {}
    columns: Columns = {
        "name": "Name",
        "documents": ("Documents", console.count),
        "bytes": ("Size", console.size),
        "source": "Source",
        "licence": "Licence",
    }
    corpora = [_translated(row) for row in data.get("corpora") or []]
    yield table(corpora, columns, message("Text for pretraining."))
    if task := data.get("task"):
        labels = task.get("labels")
        row = _translated(task) | {
            "labels": len(labels) if isinstance(labels, list) else labels,
            "defects": join(map(known, task.get("defects") or []), "; ") or None,
        }
        columns = {
            "name": "Task",
            "file": "File",
            "train_rows": ("Training rows", console.count),
            "train_rows_used": ("Training rows used", console.count),
            "dev_rows": ("Development rows", console.count),
            "test_rows": ("Test rows", console.count),
            "labels": ("Labels", console.count),
            "source": "Source",
            "licence": "Licence",
            "defects": "Known defects",
        }
        yield facts(row, columns, message("Labelled rows for fine-tuning and testing."))
    if public := results.get("public_model"):
        columns = {"name": "Name", "source": "Source", "licence": "Licence"}
        yield table([_translated(public)], columns, message("Public checkpoint, fine-tuned for comparison."))
    columns = {
        "vocab_size": ("Vocabulary size (tokens)", console.count),
        "characters_per_token": ("Characters per token", format_loss),
        "unknown_rate": ("Unknown tokens", lambda rate: format_percent(rate, 2)),
    }
    yield facts(results.get("tokenizer") or {}, columns, message("Tokenizer."))


def _translated(row: Results) -> Results:
    """What is known about public data, as messages."""
    return row | {key: known(row[key]) for key in ("name", "source", "licence") if isinstance(row.get(key), str)}


def _pretraining(results: Results, run: Path) -> Iterable[Block | None]:
    if pretraining := results.get("pretraining"):
        yield figures.pretraining_loss(figures.log_of(run, pretraining), pretraining)
        columns: Columns = {
            "parameters": ("Parameters", console.count),
            "steps": ("Steps", console.count),
            "tokens": ("Tokens", console.count),
            "tokens_per_second": ("Tokens per second", console.count),
            "seconds": ("Time", console.seconds),
            "loss": ("Last training loss (nats)", format_loss),
            "heldout_loss": ("Held-out loss (nats)", format_loss),
            "heldout_accuracy": ("Held-out accuracy", format_percent),
        }
        yield facts(pretraining, columns, message("The pretraining run."))
        yield origin.initialization_section(results)
    objectives = []
    for objective in results.get("objectives") or []:
        settings = [
            message("{name}: {value}", key, message("yes" if value else "no") if isinstance(value, bool) else value)
            for key, value in objective.items()
            if key != "name" and value is not None
        ]
        objectives.append({"objective": known(objective["name"]), "settings": join(settings, ", ") or None})
    yield table(objectives, {"objective": "Objective", "settings": "Settings"}, message("Objectives of pretraining."))


def _finetuning(results: Results, run: Path) -> Iterable[Block | None]:
    entries = results.get("finetuning") or []
    runs = [Trained(known(entry["name"]), figures.log_of(run, entry), entry.get("best_step")) for entry in entries]
    yield from figures.finetuning_curves(runs)
    dev_rows = ((results.get("data") or {}).get("task") or {}).get("dev_rows")
    columns: Columns = {
        "name": "Start",
        "steps": ("Steps", console.count),
        "best_step": ("Best step", console.count),
        "truncated": ("Truncated texts", console.count),
        "dev": ("Best on development rows", str),
        "seconds": ("Time", console.seconds),
    }
    rows = [
        entry | {"name": known(entry["name"]), "dev": _dev(entry, entry.get("dev_rows") or dev_rows)}
        for entry in entries
    ]
    caption = message(
        "Fine-tuning runs. The best step was chosen on the development rows, which biases their figure upwards a "
        "little; the test rows were not used."
    )
    yield table(rows, columns, caption)
    if entries:
        yield origin.initialization_section(results)


def _dev(entry: Results, rows: int | None) -> Cell | None:
    """The best figure on the development rows with its n, and an interval where it is a share of rows."""
    dev = entry.get("dev") or {}
    name = figures.main_figure(dev)
    if name is None or figures.is_loss(name) or not rows:
        return None
    note = message("n = {rows:,} development rows", rows)
    if name == "classify.accuracy":
        note = message("{interval} · {note}", format_range(name, wilson(dev[name], rows)), note)
    return Cell(message("{figure} {value}", figure_title(name), format_figure(name, dev[name])), note)


def _fills(results: Results) -> Table | None:
    rows = []
    for fill in (results.get("samples") or {}).get("fills") or []:
        guesses = (f"{guess['token']} {format_percent(guess['probability'])}" for guess in fill["candidates"])
        text = evaluation.short(fill["text"].replace(fill.get("mask_token", "[MASK]"), "_____"))
        rows.append({"text": text, "masked_word": fill.get("masked_word"), "candidates": " · ".join(guesses)})
    columns: Columns = {"text": "Text", "masked_word": "Masked word", "candidates": "Predictions of the model"}
    return table(rows, columns, message("One word of each text was masked; predictions with their probabilities."))


def _repeat(results: Results, run: Path) -> Iterable[Block | None]:
    repeat = results.get("repeat") or {}
    if repeat.get("commands"):
        yield Code("\n".join(repeat["commands"]))
    values = {message("Seed"): repeat.get("seed")} | (results.get("environment") or {})
    yield pairs(values, (message("Setting"), message("Value")), message("Versions and machine."))
    heads = (message("File or value"), "SHA-256")
    yield pairs(repeat.get("hashes") or {}, heads, message("Checksums of inputs and outputs."))
    for path in sorted([*run.glob("recipe.yaml"), *run.glob("*/recipe.yaml")]):
        title = message("Recipe {file}", path.relative_to(run).as_posix())
        yield Code(path.read_text(encoding="utf-8", errors="replace"), title)
