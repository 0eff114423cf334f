"""Exports of Label Studio (JSON and JSON-MIN) as plain records: the data of a task, and its annotation.

JSON: `{"id", "data": {...}, "annotations": [{"was_cancelled", "result": [{"from_name", "type", "value"}]}]}`, in
versions before 1.0 `completions`. JSON-MIN has the data and the results of one annotation in one object:
`{"text", "id", "sentiment": "good", "ner": [{"start", "end", "labels"}], "annotator", ...}`.
The results of each control (its `from_name`) become a column: a list of labels, or of spans.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unmask.data.tables import Row
from unmask.data.textfiles import ReadLog
from unmask.errors import UserError

ONE_VALUE = ("choices", "rating", "number")  # types of results that label a whole text
ABOUT = ("annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement", "history")


def is_export(record: Mapping[str, Any]) -> bool:
    """Whether a record is a task of one of the two exports."""
    return _annotations(record) is not None or _is_minimal(record)


def _annotations(record: Mapping[str, Any]) -> list[Any] | None:
    found = record.get("annotations", record.get("completions"))
    return found if isinstance(found, list) and isinstance(record.get("data"), dict) else None


def _is_minimal(record: Mapping[str, Any]) -> bool:
    return {"annotator", "annotation_id", "lead_time"} <= record.keys()


def convert(source: str, rows: Sequence[Row], labelled: bool, log: ReadLog) -> tuple[list[Row], tuple[str, ...]]:
    """The records of an export, and the names of the columns that hold annotations.

    Of several annotations of a task the first that was not cancelled is taken, which is noted. labelled: tasks without
    one are left out, which is noted. Raises UserError for what is no task, naming the line, and where none is left.
    """
    if _is_minimal(rows[0][1]):
        return _minimal(source, rows, log)
    records, names, several, bare = [], dict[str, None](), 0, 0
    for line, task in rows:
        where, annotations = f"{source}, line {line:,}", _annotations(task)
        if annotations is None:
            allowed = '{"data": {...}, "annotations": [...]}'
            raise UserError(f"{where} is not a task of Label Studio", given=", ".join(task), allowed=allowed)
        valid = [one for one in annotations if not (one.get("was_cancelled") or one.get("skipped"))]
        several += len(valid) > 1
        if not valid and labelled:
            bare += 1
            continue
        results: dict[str, list[Any]] = {}
        for result in valid[0].get("result") or [] if valid else ():
            value, name = result.get("value") or {}, result.get("from_name")
            if isinstance(name, str) and _type_of(value):  # relations are nothing that a task here learns
                results.setdefault(name, []).extend(_labels(value, where))
        names |= dict.fromkeys(results)
        identity = {} if task.get("id") is None else {"id": task["id"]}
        records.append((line, {**task["data"], **identity, **results}))
    if several:
        text = "{source}: {several:,} tasks have several annotations; the first not cancelled is taken"
        log.note(text, source, several)
    if bare:
        log.note("{source}: {bare:,} tasks left out, nobody has annotated them", source, bare)
    if labelled:
        _fill(records, names)
        if not records:
            raise UserError(f"{source} holds no annotated task", hint="export tasks that somebody has annotated")
    return records, tuple(names)


def _minimal(source: str, rows: Sequence[Row], log: ReadLog) -> tuple[list[Row], tuple[str, ...]]:
    """Each row is one annotation; the results stand between the id of the task and the annotator."""
    records, seen, repeated, names = [], set[Any](), 0, dict[str, None]()
    for line, row in rows:
        identity = row.get("id")
        if identity is not None and identity in seen:
            repeated += 1
            continue
        seen.add(identity)
        keys = list(row)
        if "id" in keys and "annotator" in keys:
            names |= dict.fromkeys(keys[keys.index("id") + 1 : keys.index("annotator")])
        record = {}
        for key in [key for key in keys if key not in ABOUT]:
            values = [row[key]] if isinstance(row[key], dict) else row[key]
            if isinstance(values, list) and values and all(isinstance(one, dict) and _type_of(one) for one in values):
                record[key] = [label for one in values for label in _labels(one, f"{source}, line {line:,}")]
            else:
                record[key] = row[key]
        records.append((line, record))
    if repeated:
        text = "{source}: {repeated:,} more annotations of the same tasks left out; the first is taken"
        log.note(text, source, repeated)
    _fill(records, names)
    return records, tuple(names)


def _type_of(value: Mapping[str, Any]) -> str | None:
    """The type of a result: one that labels a whole text, or a span of it."""
    spans = (key for key in value if key.endswith("labels") and "start" in value)
    return next((key for key in ONE_VALUE if key in value), None) or next(spans, None)


def _labels(value: Mapping[str, Any], where: str) -> list[Any]:
    """The labels of a result, or its spans."""
    labels = value[_type_of(value) or ""]
    if "start" not in value:
        return labels if isinstance(labels, list) else [labels]
    if not isinstance(labels, list) or type(value["start"]) is not int:
        raise UserError(
            f"{where}: a span is not given in characters of the text",
            given=str(value)[:70],
            allowed='{"start": 0, "end": 4, "labels": ["PER"]}, as the Text tag of Label Studio writes it',
        )
    return [{"start": value["start"], "end": value.get("end"), "label": label} for label in labels]


def _fill(records: Sequence[Row], names: Iterable[str]) -> None:
    """Where nobody found a span, the control says nothing: that is an empty list, as the other tasks show."""
    lists = {name for _, record in records for name in names if isinstance(record.get(name), list)}
    for _, record in records:
        record.update({name: [] for name in lists if record.get(name) is None})
