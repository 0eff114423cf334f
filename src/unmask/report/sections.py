"""The sections of a page about one run, in the order in which they stand there."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from unmask.messages import from_json, join, message
from unmask.report import curves, evaluation
from unmask.report.blocks import Block, Code, Section, Table
from unmask.report.curves import Trained
from unmask.report.formats import figure_title, format_figure, format_percent
from unmask.report.tables import facts, table

Results = dict[str, Any]


def all_sections(results: Results, run: Path) -> list[Section]:
    """What a manager asks for first, then figures for the curious, then everything to repeat it."""
    pretrained = _trained(run, "Pretraining", results.get("pretraining"))
    tuned = [entry for row in results.get("finetuning") or [] for entry in _trained(run, row["name"], row)]
    titled = [Trained(message("Fine-tuning, {start}", one.name), one.log, one.outcome) for one in tuned]
    return sections(
        {
            ("results", "Results"): evaluation.results(results),
            ("errors", "Errors"): evaluation.errors(results),
            ("predictions", "Predictions on test rows"): evaluation.predictions(results),
            ("pretraining", "Pretraining"): _pretraining(results, pretrained),
            ("fills", "Filling in masked words"): [_fills(results)],
            ("finetuning", "Fine-tuning"): _finetuning(results, tuned),
            ("training", "Training"): curves.training_section(pretrained + titled),
            ("data", "Data"): _data(results),
            ("steps", "What was done"): [_steps(results)],
            ("repeat", "Reproduction"): _repeat(results, run),
        }
    )


def sections(blocks: dict[tuple[str, str], Iterable[Block | None]]) -> list[Section]:
    """Sections by (name, title), in the given order; those without blocks are left out."""
    every = [Section(name, message(title), [one for one in some if one]) for (name, title), some in blocks.items()]
    return [section for section in every if section.blocks]


def _trained(run: Path, name: str, entry: Results | None) -> list[Trained]:
    """An entry of the results with the log that it names."""
    if not entry:
        return []
    return [Trained(message(name), curves.read_log(run / entry["log"]) if entry.get("log") else [], entry)]


def _pretraining(results: Results, runs: list[Trained]) -> Iterator[Block | None]:
    for run in runs:
        yield curves.pretraining_loss(run.log, run.outcome)
        losses = ("loss", "heldout_loss", "heldout_accuracy")
        names = ("parameters", "steps", "tokens", "tokens_per_second", "seconds", *losses)
        yield facts(run.outcome, names, message("The pretraining run."))
        yield _initialization(results)
    objectives = []
    for objective in results.get("objectives") or []:
        settings = [
            message("{name}: {value}", key, message("yes" if value else "no") if isinstance(value, bool) else value)
            for key, value in objective.items()
            if key != "name" and value is not None
        ]
        objectives.append({"objective": message(objective["name"]), "settings": join(settings, ", ") or None})
    yield table(objectives, ("objective", "settings"), message("Objectives of pretraining."))


def _initialization(results: Results) -> Table | None:
    """What a run began with, where that was a model: which weights were loaded, which are new, which are trained."""
    start = results.get("init")
    if not start:
        return None
    heads = [
        message("{name}: {how}", message(name), message("loaded" if how == "kept" else "new"))
        for name, how in start["heads"].items()
    ]
    now, before = start["max_position_embeddings"], start["max_position_embeddings_of_model"]
    trained, parameters, frozen = start["trainable_parameters"], start["parameters"], start["freeze_layers"]
    frozen_parts = [
        message("embeddings") if start["freeze_embeddings"] else None,
        message("lowest layers: {number}", frozen) if frozen else None,
    ]
    row = {
        "model": start["model"],
        "heads": join(heads, ", "),
        "reinit_layers": start["reinit_layers"] or None,
        "frozen": join(frozen_parts, ", ") or None,
        "trained_parameters": message("{trained:,} of {all:,}", trained, parameters) if trained != parameters else None,
        "positions": message("{before:,} → {now:,}", before, now) if now != before else None,
        "heldout_before": (start.get("heldout_figures") or {}).get("masked.loss"),
    }
    return facts(row, list(row), message("Initialisation of the run."))


def _fills(results: Results) -> Table | None:
    rows = []
    for fill in (results.get("samples") or {}).get("fills") or []:
        guesses = (f"{guess['token']} {format_percent(guess['probability'])}" for guess in fill["candidates"])
        text = evaluation.short(fill["text"].replace(fill.get("mask_token", "[MASK]"), "_____"))
        rows.append({"text": text, "masked_word": fill.get("masked_word"), "candidates": " · ".join(guesses)})
    caption = message("One word of each text was masked; predictions with their probabilities.")
    return table(rows, ("text", "masked_word", "candidates"), caption)


def _finetuning(results: Results, runs: list[Trained]) -> Iterator[Block | None]:
    yield from curves.development_curves(runs)
    caption = message(
        "Fine-tuning runs. The best step was chosen on the development rows, which biases their figure upwards a "
        "little; the test rows were not used."
    )
    rows = [{**run.outcome, "start": run.name, "dev": _dev(run.outcome.get("dev") or {})} for run in runs]
    yield table(rows, ("start", "steps", "best_step", "truncated", "dev", "dev_rows", "seconds"), caption)
    if runs:
        yield _initialization(results)


def _dev(dev: Results) -> str | None:
    """The main figure on the development rows."""
    name = curves.main_figure(dev)
    if name is None or curves.is_loss(name):
        return None
    return message("{figure} {value}", figure_title(name), format_figure(name, dev[name]))


def _data(results: Results) -> Iterator[Block | None]:
    data, source = results.get("data") or {}, ("source", "licence")
    corpora = [_translated(row) for row in data.get("corpora") or []]
    yield table(corpora, ("name", "documents", "bytes", *source), message("Text for pretraining."))
    task = _translated(data.get("task") or {})
    task |= {"task": task.get("name"), "defects": join(map(message, task.get("defects") or []), "; ") or None}
    names = ("task", "file", "train_rows", "train_rows_used", "dev_rows", "test_rows", "labels", *source, "defects")
    yield facts(task, names, message("Labelled rows for fine-tuning and testing."))
    public = [_translated(results["public_model"])] if results.get("public_model") else []
    yield table(public, ("name", *source), message("Public checkpoint, fine-tuned for comparison."))
    tokenizer = results.get("tokenizer") or {}
    yield facts(tokenizer, ("vocab_size", "characters_per_token", "unknown_rate"), message("Tokenizer."))


def _translated(row: Results) -> Results:
    """Facts about public data, as messages."""
    return row | {key: message(row[key]) for key in ("name", "source", "licence") if row.get(key)}


def _steps(results: Results) -> Table | None:
    steps = results.get("steps") or []
    rows = [
        step | {"step": message(step["title"]), "result": from_json(step.get("message", step.get("summary")))}
        for step in steps
    ]
    total = {"step": message("Total"), "seconds": sum(step["seconds"] for step in steps)}
    return table([*rows, total], ("number", "step", "result", "seconds"), total=True) if rows else None


def _repeat(results: Results, run: Path) -> Iterator[Block | None]:
    repeat = results.get("repeat") or {}
    if repeat.get("commands"):
        yield Code("\n".join(repeat["commands"]))
    values = {message("Seed"): repeat.get("seed"), **(results.get("environment") or {})}
    rows = [{"setting": name, "value": value} for name, value in values.items() if isinstance(value, str | int | float)]
    yield table(rows, ("setting", "value"), message("Versions and machine."))
    sums = [{"input": name, "sha256": value} for name, value in (repeat.get("hashes") or {}).items()]
    yield table(sums, ("input", "sha256"), message("Checksums of inputs and outputs."))
    for path in sorted([*run.glob("recipe.yaml"), *run.glob("*/recipe.yaml")]):
        title = message("Recipe {file}", path.relative_to(run).as_posix())
        yield Code(path.read_text(encoding="utf-8", errors="replace"), title)
