"""Exports of Label Studio (JSON, JSON-MIN and CSV) as plain records: the data of a task, and its annotation.

JSON: `{"id", "data": {...}, "annotations": [{"was_cancelled", "result": [{"from_name", "type", "value"}]}]}`, in
versions before 1.0 `completions`. JSON-MIN has the data and the results of one annotation in one object:
`{"text", "id", "sentiment": "good", "ner": [{"start", "end", "labels"}], "annotator", ...}`; CSV has the same columns.
The results of each control (its `from_name`) become a column: a list of labels, or of spans.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from unmask.data.rows.cells.lists import parse_cell
from unmask.data.tables import Row
from unmask.data.textfiles import ReadLog
from unmask.errors import UserError

ONE_VALUE = ("choices", "rating", "number", "taxonomy")  # types of results that label a whole text

TASK = {"id", "data", "meta", "predictions"}  # keys of a task that nobody has annotated


def is_export(record: Mapping[str, Any]) -> bool:
    """Whether a record is a task of one of the exports, or one to import."""
    return _annotations(record) is not None or _is_minimal(record)


def _annotations(record: Mapping[str, Any]) -> list[Any] | None:
    found = record.get("annotations", record.get("completions", [] if record.keys() <= TASK else None))
    is_task = isinstance(found, list) and isinstance(record.get("data"), dict)
    return [one for one in found if isinstance(one, dict)] if is_task else None


def _is_minimal(record: Mapping[str, Any]) -> bool:
    return {"annotator", "annotation_id", "lead_time"} <= record.keys()


def convert(source: str, rows: Sequence[Row], labelled: bool, log: ReadLog) -> tuple[list[Row], tuple[str, ...]]:
    """The records of an export, and the names of the columns that hold annotations.

    Of several annotations of a task the first that was not cancelled is taken, which is noted. labelled: tasks without
    one are left out, which is noted. Raises UserError for what is no task, naming the line, and where none is left.
    """
    records, names, seen = [], dict[str, None](), set[Any]()
    more = bare = unlabelled = 0  # more annotations of tasks, tasks without any, regions without a label
    minimal = _is_minimal(rows[0][1])
    for line, task in rows:
        where, identity = f"{source}, line {line:,}", task.get("id")
        if minimal:
            if identity is not None and identity in seen:
                more += 1
                continue
            seen.add(identity)
            data, results = _minimal(task, where)
        else:
            annotations = _annotations(task)
            if annotations is None:
                allowed = '{"data": {...}, "annotations": [...]}'
                raise UserError(f"{where} is not a task of Label Studio", given=", ".join(task), allowed=allowed)
            valid = [one for one in annotations if not one.get("was_cancelled", one.get("skipped"))]
            more += max(0, len(valid) - 1)
            if not valid and labelled:
                bare += 1
                continue
            data = task["data"] | ({} if identity is None else {"id": identity})
            results, without = _results(valid[0] if valid else {}, where)
            unlabelled += without
        names |= dict.fromkeys(results)
        records.append((line, data | results))
    if more:
        text = "{source}: {more:,} further annotations of the same tasks skipped; the first one not cancelled is used"
        log.note(text, source, more)
    if bare:
        log.note("{source}: {bare:,} tasks without annotations skipped", source, bare)
    if unlabelled:
        log.note("{source}: {count:,} regions without a label skipped", source, unlabelled)
    if labelled:
        if not records:
            given = (
                "predictions of a model, which are not read" if any(row.get("predictions") for _, row in rows) else None
            )
            hint = "export tasks that somebody has annotated"
            raise UserError(f"{source} contains no annotated task", given=given, hint=hint)
        # where nobody found a span, the control says nothing: that is an empty list, as the other tasks show
        lists = {name for _, record in records for name in names if isinstance(record.get(name), list)}
        for _, record in records:
            record.update({name: [] for name in lists if record.get(name) in (None, "")})
    return records, tuple(names)


def _results(annotation: Mapping[str, Any], where: str) -> tuple[dict[str, list[Any]], int]:
    """The labels or spans of each control, and how many regions have no label."""
    results: dict[str, list[Any]] = {}
    unlabelled = 0
    for result in annotation.get("result") or ():
        if not isinstance(result, dict):
            raise UserError(f"{where}: a result is no object", given=str(result)[:70])
        value, name = result.get("value") or {}, result.get("from_name")
        labels = _labels(value, where) if _type_of(value) else []
        unlabelled += not labels and str(result.get("type")).endswith("labels")
        if isinstance(name, str) and _type_of(value):  # relations are nothing that a task here learns
            results.setdefault(name, []).extend(labels)
    return results, unlabelled


def _minimal(row: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The data and the results of one annotation; the results stand between the id of the task and the annotator."""
    found = {}
    for key, value in row.items():
        value = (parse_cell(value) or value) if isinstance(value, str) else value  # in the export CSV
        parsed = parse_cell(value) if isinstance(value, str) else value  # of the export CSV
        values = [parsed] if isinstance(parsed, dict) else parsed
        if isinstance(values, list) and values and all(isinstance(one, dict) and _type_of(one) for one in values):
            value = [label for one in values for label in _labels(one, where)]
        found[key] = value
    keys = list(row)
    names = keys[keys.index("id") + 1 : keys.index("annotator")] if {"id", "annotator"} <= set(keys) else []
    names = names or [key for key in keys if found[key] is not row[key]]  # old CSV has its columns sorted
    return found, {name: found[name] for name in names}


def _type_of(value: Mapping[str, Any]) -> str | None:
    """The type of a result: one that labels a whole text, or a span of it (by a choice for this region, too)."""
    if "start" in value:
        return next((key for key in value if key.endswith("labels") or key == "choices"), None)
    return next((key for key in value if key in ONE_VALUE), None)


def _labels(value: Mapping[str, Any], where: str) -> list[Any]:
    """The labels of a result, or its spans."""
    kind = _type_of(value) or ""
    labels = value[kind]
    if "start" not in value:
        labels = labels if isinstance(labels, list) else [labels]
        return ["/".join(map(str, one)) if isinstance(one, list) else one for one in labels]  # paths of a taxonomy
    if not isinstance(labels, list) or type(value["start"]) is not int:
        raise UserError(
            f"{where}: a span is not given in characters of the text",
            given=str(value)[:70],
            allowed='{"start": 0, "end": 4, "labels": ["PER"]}, as the Text tag of Label Studio writes it',
        )
    bounds = {key: value.get(key) for key in ("start", "end", "text")}
    return [{**bounds, "label": label} for label in labels]
