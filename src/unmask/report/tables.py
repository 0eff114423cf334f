"""Tables of named values: how a name that runs and results write is headed, and how its values are shown."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from unmask import console
from unmask.messages import Message, message
from unmask.metrics import FIGURES
from unmask.report.blocks import Cell, Table
from unmask.report.formats import (
    figure_heading,
    format_difference,
    format_figure,
    format_loss,
    format_p_value,
    format_percent,
    format_range,
)

Row = Mapping[str, Any]
Show = Callable[[Any], "str | Cell"]

TITLES = {
    "bytes": "Size",
    "count": "Times",
    "data_wait": "Time waited for data",
    "dev": "Best on development rows",
    "dev_rows": "Development rows",
    "f1": "F1",
    "gemm_share": "Share of the measured matrix rate",
    "heldout_accuracy": "Held-out accuracy",
    "heldout_before": "Held-out loss before (nats)",
    "heldout_loss": "Held-out loss (nats)",
    "loss": "Last training loss (nats)",
    "mcnemar": "McNemar p",
    "mfu": "Share of the device's peak (MFU)",
    "number": "",
    "reinit_layers": "Re-initialised layers",
    "rows": "n",
    "seconds": "Time",
    "sha256": "SHA-256",
    "share": "Share of the true label",
    "support": "n",
    "train_rows": "Training rows",
    "train_rows_used": "Training rows used",
    "truncated": "Truncated texts",
    "unknown_rate": "Unknown tokens",
    "vocab_size": "Vocabulary size (tokens)",
}  # of names that are no headings themselves
OF_RUNS = ("best_step", "parameters", "skipped_steps", "steps", "tokens", "tokens_per_second", "truncated")
OF_ROWS = ("count", "dev_rows", "labels", "rows", "support", "test_rows", "train_rows", "train_rows_used")
SHARES = ("data_wait", "gemm_share", "heldout_accuracy", "mfu", "probability", "share")
NUMBERS: dict[str, Show] = {
    **dict.fromkeys((*OF_RUNS, *OF_ROWS, "documents", "vocab_size"), console.count),
    **dict.fromkeys(SHARES, format_percent),
    **dict.fromkeys(("characters_per_token", "heldout_before", "heldout_loss", "loss"), format_loss),
    **dict.fromkeys(("bytes", "peak_memory"), console.size),
    "mcnemar": format_p_value,
    "number": str,
    "seconds": console.seconds,
    "unknown_rate": partial(format_percent, digits=2),
}


def table(
    rows: Sequence[Row], names: Sequence[str], caption: str = "", *, differences: bool = False, **settings: Any
) -> Table | None:
    """A table of the values under these names; names that no row has are left out, as is a table of none.
    differences: figures with intervals are differences."""
    used = [name for name in names if any(row.get(name) is not None for row in rows)]
    cells = [[_cell(name, row.get(name), differences) for name in used] for row in rows]
    numbers = frozenset(at for at, name in enumerate(used) if name in NUMBERS or name in FIGURES or name == "f1")
    return Table([heading(name) for name in used], cells, caption, numbers, **settings) if used else None


def facts(row: Row, names: Sequence[str], caption: str) -> Table | None:
    """One row as a table of names and values; what it lacks is left out."""
    across = table([row], names)
    return across and Table([], [list(pair) for pair in zip(across.columns, across.rows[0], strict=True)], caption)


def heading(name: str) -> Message:
    """How a column is headed: by the title of its name, else by the name."""
    return figure_heading(name) if name in FIGURES else message(TITLES.get(name, name.replace("_", " ").capitalize()))


def _cell(name: str, value: Any, difference: bool) -> str | Cell:
    if value is None or isinstance(value, str | Cell):
        return value or ""
    if isinstance(value, Mapping):
        show = format_difference if difference else format_figure
        return Cell(show(name, value["value"]), format_range(name, value, difference=difference))
    return format_figure(name, value) if name in FIGURES else NUMBERS.get(name, str)(value)
