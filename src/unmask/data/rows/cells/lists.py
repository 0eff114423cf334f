"""Cells of a table that hold a list or an object as text, as JSON, Python and numpy write them.

["a", "b"]   ['a', 'b']   ('a', 'b')   {'a', 'b'}   ['a' 'b']   {'text': array(['x'], dtype=object), 'start': [17]}
"""

import ast
import csv
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from unmask.data.rows.columns import Records, excerpt
from unmask.data.tables import Row
from unmask.data.textfiles import ReadLog
from unmask.errors import UserError

_CALLS = (
    "array tensor list tuple set frozenset Index Series str_ int32 int64 float32 float64 bool_".split()
)  # np.str_('a')
_NAMES = {"true": True, "false": False, "null": None, "nan": math.nan, "NaN": math.nan, "NA": None}
_OPENS = re.compile(rf"[\[({{]|(?:np\.|numpy\.)?(?:{'|'.join(_CALLS)})\(")
_CALL = re.compile(rf"(?:\w+\.)*(?:{'|'.join(_CALLS)})")
_LIKE = re.compile(r"[\[({]\s*u?['\"]")  # a list of texts, whole or not
_BARE = re.compile(
    r"\[([^\[\]{}'\"]*)\]|\{([^\[\]{}']*)\}"
)  # lists of words, most without quotes, as databases write them
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>u?'(?:[^'\\]|\\.)*'|u?"(?:[^"\\]|\\.)*")|(?P<word>[^\s\[\](){},:='"]+)|(?P<mark>[\[\](){},:=]))""",
    re.DOTALL,
)


def parse_cell(text: str, bare: bool = False) -> list[Any] | dict[str, Any] | None:
    """The list or object that a text is the text of; None where it is none. Tuples, sets and arrays become lists.

    bare: also [a, b], whose texts have no quotes. Nothing is executed.
    """
    text = text.strip()
    if text.startswith(('"[', '"{')):  # the JSON of a JSON text
        with suppress(ValueError):
            text = json.loads(text)
    if not _OPENS.match(text):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        try:
            value = _value(ast.parse(_with_commas(text), mode="eval").body)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            value = None
    if bare and value == {}:
        return []
    if value is None and bare and (words := _BARE.fullmatch(text)):
        parts = (words[1] or words[2] or "").strip()
        value = [part.strip() for part in next(csv.reader([parts], skipinitialspace=True), [])]
    return value if isinstance(value, list | dict) else None


def _with_commas(text: str) -> str:
    """The text with a comma wherever one value follows another: numpy writes none, and to Python 'a' 'b' is one text.

    Raises ValueError for characters that no value begins with.
    """
    parts: list[str] = []
    place, ended = 0, False  # ended: whether the part before ends a value
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise ValueError(text[place:])
        part, place = "nan" if token["word"] == "<NA>" else token[0].strip(), token.end()
        if ended and (token.lastgroup != "mark" or (part in "[({" and (part != "(" or not _CALL.fullmatch(parts[-1])))):
            parts.append(",")
        parts.append(part)
        ended = token.lastgroup != "mark" or part in "])}"
    return " ".join(parts)


def _value(node: ast.expr) -> Any:
    """The value of a literal, of an array and of the names of numbers. Raises ValueError for all else."""
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return [_value(one) for one in node.elts]
    if isinstance(node, ast.Dict):
        return {str(_value(key)): _value(one) for key, one in zip(node.keys, node.values, strict=True) if key}
    if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | None):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        return ast.literal_eval(node)
    if isinstance(node, ast.Name) and node.id in _NAMES:
        return _NAMES[node.id]
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in _CALLS:
            return _value(node.args[0]) if node.args else []
    raise ValueError(type(node).__name__)


def with_lists(records: Records, column: str, log: ReadLog, bare: bool = False, strict: bool = True) -> Records:
    """The records with lists and objects in place of the texts of such in a column, which is noted.

    strict: where only some cells have that form, those of the rarer form become the UserError of their row, to be
    raised when it is read; else they stay as they are.
    """
    cells = Counter(value for _, row in records.rows if isinstance(value := row.get(column), str))
    parsed = {text: parse_cell(text, bare) for text in cells if text.strip()}
    if all(value is None and not _LIKE.match(text.strip()) for text, value in parsed.items()):
        return records
    lists = sum(cells[text] for text, value in parsed.items() if value is not None)
    holds_lists = 2 * lists >= sum(cells[text] for text in parsed)

    def read(line: int, value: Any) -> Any:
        if not isinstance(value, str) or not value.strip():
            return value
        found = parsed[value] if value in parsed else parse_cell(value, bare)
        if strict and (found is None if holds_lists else found is not None or _LIKE.match(value.strip())):
            form = 'a list, such as ["a", "b"]' if holds_lists else "text as in most other rows, which hold no list"
            where, hint = records.place(line), "write all cells of the column in one form"
            return UserError(
                "{place}: {column!r} differs in form", where, column, given=excerpt(value), allowed=form, hint=hint
            )
        return value if found is None else found

    if lists and holds_lists:
        text = "{source}: column {column!r} holds lists as text, parsed in {count:,} rows (the first: {first})"
        first = next(text for text, value in parsed.items() if value is not None)
        log.note(text, records.source, column, lists, excerpt(first))
    return with_cells(records, column, read)


def with_cells(records: Records, column: str, read: Callable[[int, Any], Any]) -> Records:
    """The records with other values in a column: what `read` gives for the line and the value of each that has it."""

    def changed(row: Row) -> Row:
        line, cells = row
        return (line, {**cells, column: read(line, cells[column])}) if column in cells else row

    return replace(records, rows=list(map(changed, records.rows)), following=map(changed, records.following))
