"""What a run began with, where that was a model: which weights were loaded, which are new, which are trained."""

from typing import Any

from unmask.messages import join, message
from unmask.report.blocks import Columns, Table, facts
from unmask.report.formats import format_loss, known

Results = dict[str, Any]


def initialization_section(results: Results) -> Table | None:
    """A table of names and values. results: `init` is what run.json says (train/transfer.py)."""
    start = results.get("init")
    if not start:
        return None
    heads = [
        message("{name}: {how}", known(name), message("loaded" if how == "kept" else "new"))
        for name, how in start["heads"].items()
    ]
    row = {
        "model": start["model"],
        "heads": join(heads, ", "),
        "layers": message("highest {number} re-initialised", anew) if (anew := start["reinit_layers"]) else None,
        "frozen": _frozen(start),
        "positions": _positions(start),
        "loss": (start.get("heldout_figures") or {}).get("masked.loss"),
    }
    columns: Columns = {
        "model": "Model",
        "heads": "Heads",
        "layers": "Layers",
        "frozen": "Frozen",
        "positions": "Positions",
        "loss": ("Held-out loss before (nats)", format_loss),
    }
    return facts(row, columns, message("Initialisation of the run."))


def _frozen(start: Results) -> str | None:
    parts = [message("embeddings")] if start["freeze_embeddings"] else []
    if start["freeze_layers"]:
        parts.append(message("lowest layers: {number}", start["freeze_layers"]))
    if not parts:
        return None
    trained = message(
        "{trained:,} of {all:,} parameters are trained", start["trainable_parameters"], start["parameters"]
    )
    return join([*parts, trained], ", ")


def _positions(start: Results) -> str | None:
    before, now = start["max_position_embeddings_of_model"], start["max_position_embeddings"]
    return None if before == now else message("{before:,} → {now:,}", before, now)
