"""JSON of annotation tools and of well-known data sets, as plain records.

Prodigy: `{"text", "spans" | "label" | "options" and "accept", "answer", "_input_hash", "_task_hash"}`.
Argilla: `{"fields": {"text"}, "responses": {"mood": [{"value", "status"}]}}`, flat as `mood.responses` with
    `mood.responses.status`, and before 2.0 `{"text" | "inputs", "annotation", "prediction", "status"}`.
CLUENER: `{"text", "label": {"name": {"叶老桂": [[9, 11]]}}}`, where the end is the last character of the surface.
doccano, before 1.0: `{"text", "annotations": [{"label": 2, "start_offset": 0, "end_offset": 4}]}`.
Dataturks: `{"content", "annotation": [{"label": ["PER"], "points": [{"start", "end", "text"}]}]}`, its ends inclusive.
spaCy: `{"text", "entities": [[0, 4, "PER"]], "cats": {"sport": 1.0}}` (`tables.py` makes it of `["text", {...}]`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unmask.data.rows.columns import excerpt
from unmask.data.rows.readers import label_studio
from unmask.data.tables import Row
from unmask.data.textfiles import ReadLog
from unmask.errors import UserError

Rows = Sequence[Row]
Converted = tuple[list[Row], tuple[str, ...]]
RESPONSES = ".responses"
OF_TEXTS = ("accept", "cats")  # columns that hold labels of whole texts; spans may stand beside them


@dataclass(frozen=True)
class Convention:
    """A form of JSON. is_like: whether rows have it. convert: source, rows, labelled and log -> records and
    annotated columns; without `labelled`, annotations need not be read."""

    title: str
    is_like: Callable[[Rows], bool]
    convert: Callable[[str, Rows, bool, ReadLog], Converted]


def detect(rows: Rows) -> Convention | None:
    """The form that rows have; None for plain records."""
    return next((one for one in CONVENTIONS if one.is_like(rows)), None)


def _has(name: str, kind: type, rows: Rows) -> bool:
    return any(isinstance(row.get(name), kind) for _, row in rows)


def _is_prodigy(rows: Rows) -> bool:
    first = rows[0][1]
    return first.keys() >= {"_input_hash", "_task_hash"} or first.keys() >= {"options", "accept", "answer"}


def _from_prodigy(source: str, rows: Rows, labelled: bool, log: ReadLog) -> Converted:
    """Those that were rejected or ignored are left out later, as of any format (accepted.py)."""
    lists = [name for name in ("spans", "accept") if _has(name, list, rows)]
    records = [(line, row | {name: row.get(name) or [] for name in lists}) for line, row in rows]
    single = sum(row.get("_view_id") == "ner" and row.get("answer") == "accept" for _, row in rows)
    if single and labelled:  # by ner.teach
        text = "{source}: {count:,} rows answer for single spans; other entities of their texts count as none"
        log.note(text, source, single)
    return records, tuple(lists[-1:]) if "accept" in lists else ()


def _is_argilla(rows: Rows) -> bool:
    first = rows[0][1]
    nested = isinstance(first.get("fields"), dict) and isinstance(first.get("responses"), dict)
    return (
        nested
        or first.keys() >= {"annotation", "prediction", "status"}
        or any(name.endswith(RESPONSES) for name in first)
    )


def _from_argilla(source: str, rows: Rows, labelled: bool, log: ReadLog) -> Converted:
    """Of several responses to a question the first that was not discarded is used. labelled: records without one are
    left out."""
    records: list[Row] = []
    names = dict[str, None]()
    more = bare = 0
    for line, row in rows:
        inputs = row.get("fields") or row.get("inputs")
        fields = row | (inputs if isinstance(inputs, dict) else {})
        responses = dict(_responses(row))
        more += sum(max(0, len(values) - 1) for values in responses.values())
        if not any(responses.values()) and labelled:
            bare += 1
        else:
            records.append((line, fields | {name: _value(values[0]) for name, values in responses.items() if values}))
        names |= dict.fromkeys(responses)
    if more:
        log.note("{source}: {more:,} further responses to the same questions skipped", source, more)
    if bare:
        log.note("{source}: {bare:,} records without a response skipped", source, bare)
    if not records:
        raise UserError(f"{source} contains no record that somebody has annotated", given=", ".join(rows[0][1]))
    return records, tuple(names)


def _responses(row: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """Each question with the values of its responses, without those that were discarded."""
    if isinstance(nested := row.get("responses"), dict):
        for name, answers in nested.items():
            of = [one if isinstance(one, dict) else {"value": one} for one in answers or ()]
            yield name, [one.get("value") for one in of if one.get("status") != "discarded"]
    elif "annotation" in row:
        yield "annotation", [] if row["annotation"] is None else [row["annotation"]]
    for key in (key for key in row if key.endswith(RESPONSES)):
        values = row[key] or []
        states = row.get(f"{key}.status") or [None] * len(values)
        pairs = zip(values, states, strict=False)
        yield key.removesuffix(RESPONSES), [value for value, state in pairs if state != "discarded"]


def _value(value: Any) -> Any:
    """A response; spans that begin with their label (of before 2.0) as others have them."""
    if isinstance(value, list) and all(isinstance(one, list) and len(one) == 3 for one in value):
        return [[one[1], one[2], one[0]] if isinstance(one[0], str) else one for one in value]
    return value


def _surface_columns(rows: Rows) -> list[str]:
    """The columns that hold, in some row, label -> surface -> places."""

    def places(value: Any) -> bool:
        return isinstance(value, list) and all(isinstance(one, list) and len(one) == 2 for one in value)

    def surfaces(value: Any) -> bool:
        kinds = value.values() if isinstance(value, dict) else ()
        return bool(kinds) and all(isinstance(one, dict) and one and all(map(places, one.values())) for one in kinds)

    return list(dict.fromkeys(name for _, row in rows for name, value in row.items() if surfaces(value)))


def _from_cluener(source: str, rows: Rows, labelled: bool, log: ReadLog) -> Converted:
    """A row whose places are not those of its surfaces is an error, which `log` may leave out."""
    if not labelled:
        return list(rows), ()
    name = _surface_columns(rows)[0]

    def record(line: int, row: dict[str, Any]) -> Row:
        kinds, text = row.get(name), row.get("text")
        if not isinstance(kinds, dict) or not isinstance(text, str):
            return line, row
        spans = []
        for label, surfaces in kinds.items():
            for surface, places in surfaces.items():
                for start, last in places:
                    _check_surface(text, surface, start, last, f"{source}, line {line:,}", label)
                    spans.append([start, last + 1, label])
        return line, row | {name: spans}

    return list(log.usable(rows, record)), (name,)


def _check_surface(text: str, surface: str, start: Any, last: Any, where: str, label: str) -> None:
    """Raises UserError where the characters from start to last are not the surface."""
    numbers = type(start) is int and type(last) is int and 0 <= start <= last + 1 <= len(text)
    if numbers and text[start : last + 1] == surface:
        return
    is_stop = numbers and text[start:last] == surface
    raise UserError(
        "{place}: the characters from {start} to {end} are not {surface!r}",
        where,
        start,
        last,
        surface,
        given=excerpt(f"{label}: {text[start : last + 1]!r}" if numbers else f"{label}: {[start, last]}"),
        allowed="as in CLUENER, where the end is the last character of the surface",
        hint='where the end is the one after it: "spans": [[start, end, label], ...]' if is_stop else None,
    )


def _is_doccano(rows: Rows) -> bool:
    found = [one for _, row in rows for one in row.get("annotations") or () if isinstance(row["annotations"], list)]
    return bool(found) and all(isinstance(one, dict) and "label" in one for one in found) and "text" in rows[0][1]


def _from_doccano(source: str, rows: Rows, labelled: bool, log: ReadLog) -> Converted:
    """Old exports have the numbers of labels, which is noted."""
    records: list[Row] = []
    numbers = False
    for line, row in rows:
        labels: list[Any] = []
        for one in row.get("annotations") or ():
            start, end = (one.get(f"{bound}_offset", one.get(bound)) for bound in ("start", "end"))
            labels.append(str(one["label"]) if start is None else [start, end, str(one["label"])])
            numbers = numbers or type(one["label"]) is int
        records.append((line, row | {"annotations": labels}))
    if numbers:
        log.note("{source}: labels are numbers; the export JSONL (text labels) of doccano has their names", source)
    return records, ("annotations",)


def _is_dataturks(rows: Rows) -> bool:
    found = [one for _, row in rows for one in row.get("annotation") or () if isinstance(row["annotation"], list)]
    return bool(found) and all(isinstance(one, dict) and "points" in one for one in found)


def _from_dataturks(source: str, rows: Rows, labelled: bool, log: ReadLog) -> Converted:
    """The text beside each span shows that its end is included. A span has every one of its labels."""

    def spans(row: Mapping[str, Any]) -> list[Any]:
        regions = [one for one in row.get("annotation") or () if one.get("label")]
        return [{**at, "label": label} for one in regions for at in one["points"] or () for label in one["label"]]

    return [(line, row | {"annotation": spans(row)}) for line, row in rows], ("annotation",)


def _is_spacy(rows: Rows) -> bool:
    """A category has a number from 0 to 1 or a truth value."""
    cats = [row["cats"] for _, row in rows if row.get("cats")]
    numbers = all(isinstance(one, dict) and all(isinstance(x, int | float) for x in one.values()) for one in cats)
    first = rows[0][1].keys()
    return numbers and ("cats" in first or ("entities" in first and first <= {"text", "entities", "links"}))


def _from_spacy(source: str, rows: Rows, labelled: bool, log: ReadLog) -> Converted:
    """The categories of at least 0.5 are the labels."""
    if not any(row.get("cats") for _, row in rows):
        return list(rows), ()
    shares = [row.get("cats") or {} for _, row in rows]
    labels = [[label for label, share in of.items() if share >= 0.5] for of in shares]
    return [(line, row | {"cats": of}) for (line, row), of in zip(rows, labels, strict=True)], ("cats",)


LABEL_STUDIO = Convention(
    "an export of Label Studio", lambda rows: label_studio.is_export(rows[0][1]), label_studio.convert
)
CONVENTIONS = (
    LABEL_STUDIO,
    Convention("an export of Prodigy", _is_prodigy, _from_prodigy),
    Convention("an export of Argilla", _is_argilla, _from_argilla),
    Convention("the form of CLUENER", lambda rows: bool(_surface_columns(rows)), _from_cluener),
    Convention("annotations beside texts, as doccano had them", _is_doccano, _from_doccano),
    Convention("an export of Dataturks", _is_dataturks, _from_dataturks),
    Convention("training data of spaCy", _is_spacy, _from_spacy),
)
