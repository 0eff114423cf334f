"""The page about the speed of a model: what `runtime.bench` measured, as plots and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from unmask import console
from unmask.messages import Message, join, message
from unmask.report.blocks import Block, Cell, Figure, Page, Section, Table
from unmask.report.chart import COLOURS, Curve, Curves, thousands

MILLI = 1000
ENGINE_COLUMNS = ("backend", "runs in", "threads", "loading", "peak memory")
SPEEDS = ("texts/s", "lowest", "highest", "tokens/s")
CELL_COLUMNS = ("backend", "runs in", "tokens", "batch", *SPEEDS, "p50, ms", "p95, ms", "p99, ms")

Measured = Mapping[str, Any]


def machine_facts(machine: Measured) -> dict[str, object]:
    """The machine in a few lines, by name."""
    units = machine["units"]
    return {
        "processor": machine["processor"],
        "cores": machine["cores"],
        "units": None if units is None else ", ".join(units) or message("none"),
        "system": machine["system"],
        "versions": ", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
    }


def engine_row(engine: Measured) -> list[object]:
    """A row of ENGINE_COLUMNS."""
    loading = console.seconds(engine["load_seconds"])
    return [engine["backend"], engine["precision"], engine["threads"], loading, console.size(engine["peak_memory"])]


def cell_row(cell: Measured) -> list[str | Cell]:
    """A row of CELL_COLUMNS; a percentile of too few calls is left out."""
    speeds = [_number(cell[name]) for name in ("texts_per_second", "lowest", "highest", "tokens_per_second")]
    latency = ["-" if value is None else _number(MILLI * value) for value in cell["latency"].values()]
    size = f"{cell['batch_size']:,}"
    return [cell["backend"], cell["precision"], f"{cell['tokens_per_text']:,.0f}", size, *speeds, *latency]


def _number(value: float) -> str:
    """Three digits that mean something: 0.123, 12.3, 1,230."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def speed_page(measured: Measured, command: str | None = None) -> Page:
    """The page about one measurement."""
    plots: list[Block] = list(_plots(measured["cells"]))
    note = message("Median of the rounds, with the slowest and the fastest round; percentiles of the time of a call.")
    facts = {**machine_facts(measured["machine"]), "task": measured["task"], "rows": measured["file"]}
    machine: list[list[str | Cell]] = [
        [message(name), _text(value)] for name, value in facts.items() if value is not None
    ]
    engines: list[list[str | Cell]] = [[_text(value) for value in engine_row(one)] for one in measured["engines"]]
    numbers = frozenset(range(2, len(CELL_COLUMNS)))
    tables: list[Block] = [
        Table([message(name) for name in CELL_COLUMNS], [*map(cell_row, measured["cells"])], note, numbers),
        Table([message(name) for name in ENGINE_COLUMNS], engines, "", frozenset((2, 3, 4))),
    ]
    return Page(
        kind=message("Speed of predictions"),
        title=measured["model"],
        command=command,
        summary=[list(measured["notes"])] if measured["notes"] else [],
        figures=[],
        sections=[
            Section("speed", message("Speed"), plots + tables),
            Section("machine", message("Machine"), [Table([], machine)]),
        ],
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else str(value)


def _plots(cells: Sequence[Measured]) -> list[Figure]:
    """Latency and speed over the length of texts; of real rows, speed over the size of batches."""
    sizes = sorted({cell["batch_size"] for cell in cells})
    texts, batches = message("texts per second"), message("texts in a batch")
    if cells[0]["length"] is None:
        curves = _curves(cells, "batch_size", "texts_per_second")
        plots = [Figure(Curves(curves, batches, texts, y_format=thousands, enclose=(0,)), message("Speed of rows."))]
        return plots if len(sizes) > 1 else []
    if len({cell["length"] for cell in cells}) < 2:
        return []
    tokens, milliseconds = message("tokens of a text"), message("milliseconds")
    first = _curves([one for one in cells if one["batch_size"] == sizes[0]], "length", "p50")
    last = _curves([one for one in cells if one["batch_size"] == sizes[-1]], "length", "tokens_per_second")
    return [
        Figure(
            Curves(first, tokens, milliseconds, enclose=(0,)),
            message("Median time of a call, batch size {count}.", sizes[0]),
        ),
        Figure(
            Curves(last, tokens, message("tokens per second"), y_format=thousands, enclose=(0,)),
            message("Speed at batch size {count}.", sizes[-1]),
        ),
    ]


def _curves(cells: Sequence[Measured], across: str, up: str) -> list[Curve]:
    """A curve for each backend and precision."""
    names: dict[Message | str, list[tuple[float, float]]] = {}
    for cell in cells:
        value = MILLI * cell["latency"]["p50"] if up == "p50" else cell[up]
        name = join([cell["backend"], cell["precision"]], " ")
        names.setdefault(name, []).append((float(cell[across]), float(value)))
    numbered = enumerate(names.items())
    return [Curve(name, sorted(points), 1 + n % COLOURS, "marks") for n, (name, points) in numbered]
