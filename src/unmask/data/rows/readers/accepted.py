"""Rows that an annotator rejected or ignored: left out and counted, whatever their format."""

from collections.abc import Sequence
from dataclasses import replace

from unmask.data.rows.columns import Records
from unmask.data.textfiles import ReadLog
from unmask.errors import UserError

_FLAG = ({"true", "1"}, {"false", "0"})
# column -> values of rows that are left out, and of others; a column with any other value says nothing of this kind
MARKS: dict[str, tuple[set[str], set[str]]] = {
    "answer": ({"reject", "ignore"}, {"accept"}),  # Prodigy
    "status": (  # Argilla
        {"rejected", "discarded", "ignored"},
        {"accepted", "approved", "completed", "default", "draft", "edited", "pending", "submitted", "validated"},
    ),
    "is_rejected": _FLAG,
    "is_discarded": _FLAG,
    "is_ignored": _FLAG,
}
APPROVER = "annotation_approver"  # doccano


def without_rejected(records: Records, log: ReadLog, used: Sequence[str | None]) -> Records:
    """The records without those that are marked as rejected or ignored, which is noted. used: columns that hold what is
    true of a row, and no such mark.

    Rows of doccano that nobody has approved are used, which is noted where others have been. Raises UserError where no
    record is left.
    """
    rows = records.rows
    for column, (bad, good) in MARKS.items():
        if column in used or column not in records.names:
            continue
        values = ["" if row.get(column) is None else str(row[column]).strip().lower() for _, row in rows]
        if bad.isdisjoint(values) or not bad | good | {""} >= set(values):
            continue
        accepted = [row for row, value in zip(rows, values, strict=True) if value not in bad]
        if not accepted:
            given = f"{column}: {', '.join(sorted(set(values)))}"
            raise UserError(f"{records.source}: every row is marked as rejected or ignored", given=given)
        text = "{source}: {count:,} rows skipped, which {column!r} marks as {marks}"
        log.note(text, records.source, len(rows) - len(accepted), column, ", ".join(sorted(bad & set(values))))
        rows = accepted
    approved = [row for _, row in rows if row.get(APPROVER)]
    if 0 < len(approved) < len(rows) and all(APPROVER in row for _, row in rows):
        text = "{source}: {count:,} rows are used that nobody has approved ({column})"
        log.note(text, records.source, len(rows) - len(approved), APPROVER)
    return replace(records, rows=rows)
