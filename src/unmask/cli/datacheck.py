"""`unmask data check`: labelled files before anything is trained on them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unmask import console
from unmask.cli.shared import (
    AsJson,
    DataFormat,
    Encoding,
    LabelColumn,
    LabelSeparator,
    OnError,
    PairColumn,
    Scheme,
    TagColumn,
    TextColumn,
    TokenColumn,
)

if TYPE_CHECKING:
    from unmask.evaluate.datacheck import Check, Part, Problem

EXAMPLE = "Example: unmask data check --train train.csv --test test.csv"
LABELS_SHOWN = 12


def check_data(
    train: Annotated[Path, typer.Option(help="Training rows, in any form that unmask finetune reads.")],
    dev: Annotated[Path | None, typer.Option(help="Rows to choose the best step by.")] = None,
    test: Annotated[Path | None, typer.Option(help="Rows to evaluate on.")] = None,
    task: Annotated[
        str, typer.Option(help="The task: classify, multilabel, regress, tag, nested, answer or embed.")
    ] = "classify",
    text_column: TextColumn = None,
    pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    label_separator: LabelSeparator = None,
    token_column: TokenColumn = None,
    tag_column: TagColumn = None,
    scheme: Scheme = "auto",
    data_format: DataFormat = "auto",
    encoding: Encoding = None,
    on_error: OnError = "stop",
    as_json: AsJson = False,
) -> None:
    """What labelled files hold, and what in them would bias a result: leaks, contradictions, labels never trained.

    The exit status is 1 where there is such a thing. Texts are the same if they are after NFKC, in lower case and
    with white space collapsed.
    """
    from unmask.data.rows.columns import Columns, TagColumns
    from unmask.evaluate.datacheck import check_data
    from unmask.tasks import ReadOptions, task_of

    columns = Columns(text=text_column, pair=pair_column, label=label_column, separator=label_separator)
    tags = TagColumns(token=token_column, tag=tag_column)
    reading = ReadOptions(columns, tags, scheme, on_error, encoding, format=data_format)
    kind = task_of(task)
    given = (("train", train), ("dev", dev), ("test", test))
    found = check_data({name: kind.read(path, reading) for name, path in given if path is not None})
    if as_json:
        console.print_json(found.to_dict())
    else:
        _show(found)
    if found.biased:
        raise typer.Exit(1)


def _show(found: "Check") -> None:
    console.table(
        ("part", "rows", "characters: median", "5 % to 95 %", "longest", "labels"),
        [(name, *_row(part)) for name, part in found.parts.items()],
        prose=(0,),
    )
    labels = list(dict.fromkeys(label for part in found.parts.values() for label in part.labels))
    shown = labels[:LABELS_SHOWN]
    console.table(
        ("label", *found.parts),
        [(label, *(_share(part.labels.get(label, 0), part) for part in found.parts.values())) for label in shown],
    )
    if len(labels) > len(shown):
        console.print_text(f"and {len(labels) - len(shown):,} more labels (--json shows all)")
    for problem in found.problems:
        console.print_text(_said(problem, found))
    if not found.problems:
        console.print_text("nothing was found that would bias a result")


def _row(part: "Part") -> tuple[object, ...]:
    lengths = part.lengths
    return part.rows, lengths[50], f"{lengths[5]:,} to {lengths[95]:,}", lengths[100], len(part.labels)


def _share(count: int, part: "Part") -> str:
    return f"{count:,} ({count / max(1, sum(part.labels.values())):.1%})"


def _said(problem: "Problem", found: "Check") -> str:
    """One finding in a line, with the first rows that it is about."""
    part, finding = found.parts[problem.part], problem.finding
    head, first = f"{part.file}: {finding.rows:,}", f"(the first: {finding.describe})"
    if problem.kind in ("leaks", "leaks_of_dev"):
        other = found.parts["train" if problem.kind == "leaks" else "dev"].file
        return f"{head} of {part.rows:,} rows stand in {other}, too {first}"
    if problem.kind == "contradictions":
        return f"{head} rows have a text that stands there with another label, too {first}"
    if problem.kind == "duplicates":
        return f"{head} rows repeat the text of an earlier one {first}"
    if problem.kind == "ids":
        return f"{head} rows have the id of an earlier one {first}"
    if problem.kind == "one_label":
        return f"{part.file}: all {part.rows:,} rows have the same label: there is nothing to learn"
    return f"{head} rows have a label that no training row has {first}"
