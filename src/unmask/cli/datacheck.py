"""`unmask data check`: labelled files before anything is trained on them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unmask import console
from unmask.cli.reading import NOTHING, Given, reads_rows
from unmask.cli.shared import AsJson, print_notes
from unmask.messages import message, translate

if TYPE_CHECKING:
    from unmask.evaluate.datacheck import Check

EXAMPLE = "unmask data check --train train.csv --test test.csv"
LABELS_SHOWN = 12


@reads_rows("unknown_labels")
def check_data(
    train: Annotated[Path, typer.Option(help="Training rows, in any form that unmask finetune reads.")],
    dev: Annotated[Path | None, typer.Option(help="Rows to choose the best step by.")] = None,
    test: Annotated[Path | None, typer.Option(help="Rows to evaluate on.")] = None,
    task: Annotated[
        str, typer.Option(help="The task: classify, multilabel, regress, tag, nested, answer or embed.")
    ] = "classify",
    reading: Given = NOTHING,
    as_json: AsJson = False,
) -> None:
    """Check labelled files for what would bias a result: leaks, contradictions, labels that training lacks.

    The exit status is 1 where there is such a thing. Texts are the same if they are after NFKC, in lower case and
    with white space collapsed.
    """
    from unmask.data.rows.options import ReadOptions
    from unmask.data.rows.read import read_rows
    from unmask.evaluate.datacheck import check_data
    from unmask.tasks import task_of

    kind = task_of(task).reads
    files = {"train": train, "dev": dev, "test": test}
    options = ReadOptions(**reading)
    rows = {name: read_rows(path, options, kind) for name, path in files.items() if path is not None}
    for one in rows.values():
        print_notes(one.notes)
    found = check_data({name: one.examples for name, one in rows.items()})
    if as_json:
        console.print_json(found.to_dict())
    else:
        _show(found)
    if found.biasing:
        raise typer.Exit(1)


def _show(found: "Check") -> None:
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
