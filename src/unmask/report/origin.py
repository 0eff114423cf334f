"""What a run began with, where that was a model: what was taken over, what is new, what learns."""

from typing import Any

from unmask import console
from unmask.report.blocks import Table, Words, facts
from unmask.report.words import translated

Results = dict[str, Any]


def initialization_section(results: Results, words: Words) -> Table | None:
    """A table of names and values. results: `init` is what run.json says (train/transfer.py)."""
    start = results.get("init")
    if not start:
        return None
    row = {
        "model": start["model"],
        "origin.heads": _heads(start, words),
        "origin.blocks": _blocks(start, words),
        "origin.frozen": _frozen(start, words),
        "origin.positions": _positions(start, words),
        "origin.loss": (start.get("heldout_figures") or {}).get("masked.loss"),
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
    if start["num_hidden_layers"] == start["num_hidden_layers_of_model"] and not start["reinit_layers"]:
        return None
    text = words["origin.of"].format(number=start["num_hidden_layers"], whole=start["num_hidden_layers_of_model"])
    anew = words["origin.anew"].format(number=start["reinit_layers"]) if start["reinit_layers"] else ""
    return words["comma"].join(filter(None, [text, anew]))


def _frozen(start: Results, words: Words) -> str | None:
    parts = [words["origin.embeddings"]] if start["freeze_embeddings"] else []
    if start["freeze_layers"]:
        parts.append(words["origin.lowest"].format(number=start["freeze_layers"]))
    if not parts:
        return None
    numbers = {
        "learning": console.count(start["trainable_parameters"]),
        "parameters": console.count(start["parameters"]),
    }
    return words["comma"].join([*parts, words["origin.learning"].format(**numbers)])


def _positions(start: Results, words: Words) -> str | None:
    before, now = start["max_position_embeddings_of_model"], start["max_position_embeddings"]
    if before == now:
        return None
    told = {"tile": words["origin.tile"], "interpolate": words["origin.interpolate"]}
    how = f" ({told[start['extend_positions']]})" if "extend_positions" in start else ""
    return f"{console.count(before)} → {console.count(now)}{how}"
