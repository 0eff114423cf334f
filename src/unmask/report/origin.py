"""What a run began with, where that was a model: what was taken over, what is new, what learns."""

from typing import Any

from unmask import console
from unmask.report.blocks import Table, Words, facts
from unmask.report.words import translated

Results = dict[str, Any]


def initialization_section(results: Results, words: Words) -> Table | None:
    """A table of names and values. results: `start` is what run.json says (train/transfer.py)."""
    start = results.get("start")
    if not start:
        return None
    row = {
        "model": start["model"],
        "origin.heads": _heads(start, words),
        "origin.blocks": _blocks(start, words),
        "origin.frozen": _frozen(start, words),
        "origin.positions": _positions(start, words),
        "origin.loss": (start.get("heldout") or {}).get("masked.loss"),
    }
    columns: dict[str, Any] = dict.fromkeys(row, str) | {"origin.loss": "{:.2f}".format}
    return facts(row, columns, words, words["origin.caption"])


def _heads(start: Results, words: Words) -> str:
    told = {"kept": words["origin.kept"], "new": words["origin.new"]}
    heads = start["heads"].items()
    text = words["origin.head"]
    return words["comma"].join(text.format(name=translated(name, words), how=told[how]) for name, how in heads)


def _blocks(start: Results, words: Words) -> str | None:
    """Nothing where all blocks of the model are there as they were."""
    if start["layers"] == start["layers_of_model"] and not start["drawn_anew"]:
        return None
    text = words["origin.of"].format(number=start["layers"], whole=start["layers_of_model"])
    anew = words["origin.anew"].format(number=start["drawn_anew"]) if start["drawn_anew"] else ""
    return words["comma"].join(filter(None, [text, anew]))


def _frozen(start: Results, words: Words) -> str | None:
    parts = [words["origin.embeddings"]] if start["frozen_embeddings"] else []
    if start["frozen_layers"]:
        parts.append(words["origin.lowest"].format(number=start["frozen_layers"]))
    if not parts:
        return None
    numbers = {key: console.count(start[key]) for key in ("learning", "parameters")}
    return words["comma"].join([*parts, words["origin.learning"].format(**numbers)])


def _positions(start: Results, words: Words) -> str | None:
    before, now = start["positions_of_model"], start["positions"]
    if before == now:
        return None
    told = {"tile": words["origin.tile"], "interpolate": words["origin.interpolate"]}
    how = f" ({told[start['extend']]})" if "extend" in start else ""
    return f"{console.count(before)} → {console.count(now)}{how}"
