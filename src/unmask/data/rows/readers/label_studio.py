"""Exports of Label Studio (JSON and JSON-MIN) as plain records: the data of a task, and what people said of it.

JSON: `{"id", "data": {...}, "annotations": [{"was_cancelled", "result": [{"from_name", "type", "value"}]}]}`, in
versions before 1.0 `completions`. JSON-MIN has the data and the results of one annotation in one object:
`{"text", "id", "sentiment": "good", "ner": [{"start", "end", "labels"}], "annotator", ...}`.
The result of each control (its `from_name`) becomes a column: a label, several, or a list of spans.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from unmask.data.textfiles import ReadLog
from unmask.errors import UserError

Row = tuple[int, dict[str, Any]]

LISTS = ("annotations", "completions")
ONE_VALUE = ("choices", "rating", "number")  # types of results that label a whole text
ABOUT = ("annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement", "history")


def is_export(record: dict[str, Any]) -> bool:
    return _is_task(record) or _is_minimal(record)


def _is_task(record: dict[str, Any]) -> bool:
    return isinstance(record.get("data"), dict) and any(isinstance(record.get(key), list) for key in LISTS)


def _is_minimal(record: dict[str, Any]) -> bool:
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
        if not _is_task(task):
            raise UserError(
                f"{source}, line {line:,} is not a task of Label Studio",
                given=", ".join(task),
                allowed='{"data": {...}, "annotations": [...]}',
            )
        given = next(task[key] for key in LISTS if isinstance(task.get(key), list))
        valid = [one for one in given if isinstance(one, dict) and not _cancelled(one)]
        several += len(valid) > 1
        bare += not valid
        if not valid and labelled:
            continue
        results = _results(valid[0], f"{source}, line {line:,}") if valid else {}
        names |= dict.fromkeys(results)
        identity = {} if task.get("id") is None else {"id": task["id"]}
        records.append((line, {**task["data"], **identity, **results}))
    if several:
        log.note(
            "{source}: {several:,} tasks have several annotations; the first not cancelled is taken", source, several
        )
    if bare and labelled:
        log.note("{source}: {bare:,} tasks left out, nobody has annotated them", source, bare)
    if labelled:
        _fill(records, names)
        if not records:
            raise UserError(f"{source} holds no annotated task", hint="export tasks that somebody has annotated")
    return records, tuple(names)


def _cancelled(annotation: dict[str, Any]) -> bool:
    return bool(annotation.get("was_cancelled") or annotation.get("skipped"))


def _results(annotation: dict[str, Any], where: str) -> dict[str, Any]:
    """from_name -> label, labels or spans; relations and other results are nothing that a task here learns."""
    found: dict[str, Any] = {}
    for result in annotation.get("result") or []:
        kind, value, name = result.get("type"), result.get("value") or {}, result.get("from_name")
        if not isinstance(name, str):
            continue
        if kind == "choices" and kind in value:  # one is a list, too: its name is never taken apart
            found.setdefault(name, []).extend(_listed(value[kind]))
        elif kind in ONE_VALUE and kind in value:
            found[name] = _joined(found.get(name), _listed(value[kind]))
        elif isinstance(kind, str) and kind.endswith("labels") and "start" in value:
            found.setdefault(name, []).extend(_spans(value, kind, where))
    return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _joined(before: Any, given: list[Any]) -> Any:
    """One label as it is, several as a list."""
    every = ([] if before is None else _listed(before)) + given
    return every[0] if len(every) == 1 else every


def _spans(value: dict[str, Any], kind: str, where: str) -> list[dict[str, Any]]:
    labels = value.get(kind, value.get("labels"))
    if not isinstance(labels, list) or type(value["start"]) is not int:
        raise UserError(
            f"{where}: a span is not given in characters of the text",
            given=str(value)[:70],
            allowed='{"start": 0, "end": 4, "labels": ["PER"]}, as the Text tag of Label Studio writes it',
        )
    return [{"start": value["start"], "end": value.get("end"), "label": label} for label in labels]


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
        where = f"{source}, line {line:,}"
        records.append((line, {key: _plain(row[key], where) for key in keys if key not in ABOUT}))
    if repeated:
        log.note(
            "{source}: {repeated:,} more annotations of the same tasks left out; the first is taken", source, repeated
        )
    _fill(records, names)
    return records, tuple(names)


def _fill(records: Sequence[Row], names: Iterable[str]) -> None:
    """Where nobody found a span, the control says nothing: that is an empty list, as the other tasks show."""
    lists = {name for _, record in records for name in names if isinstance(record.get(name), list)}
    for _, record in records:
        record.update({name: [] for name in lists if record.get(name) is None})


def _plain(value: Any, where: str) -> Any:
    """`{"choices": [...]}` as the choices, spans as spans."""
    if isinstance(value, dict) and "choices" in value:
        return value["choices"]
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        if all("start" in one for one in value):
            return [
                span
                for one in value
                for span in _spans(one, next((key for key in one if key.endswith("labels")), "labels"), where)
            ]
        for key in ONE_VALUE:
            if all(key in one for one in value):
                return _joined(None, [one[key] for one in value])
    return value
