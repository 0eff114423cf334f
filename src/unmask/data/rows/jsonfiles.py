"""Files that are one JSON array of objects, read element by element with the line on which each begins."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unmask.data.textfiles import SKIP, Faults, display_name, open_text
from unmask.errors import UserError

_BLANK = re.compile(r"[ \t\n\r]*")
ALLOWED = 'an array of objects: [{"text": "...", "label": "..."}, ...], or one object a line'


def read_array(
    path: str | Path, faults: Faults | None = None, encoding: str | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON array, each with the line (from 1) on which it begins. The text is held in memory.

    Faults: an element that is no object, or that holds half of a surrogate pair. Raises UserError naming the line
    where the file is not a JSON array.
    """
    faults, name = faults or Faults(), display_name(path)
    text = "\n".join(_whole_lines(path, encoding))
    place = _after_blanks(text, 0)
    if text[place : place + 1] != "[":
        raise UserError(
            f"{name} is not a JSON array", given=text[place : place + 60].partition("\n")[0], allowed=ALLOWED
        )
    place = _after_blanks(text, place + 1)
    line, counted, decoder = 1, 0, json.JSONDecoder()
    while text[place : place + 1] != "]":
        line, counted = line + text.count("\n", counted, place), place
        where = f"{name}, line {line:,}"
        try:
            value, after = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise _not_valid(name, text, error.pos, error.msg) from None
        except RecursionError:
            raise UserError("{where} is nested too deeply", where) from None
        if (fault := _fault(where, value, text[place:after])) is not None:
            faults.record(fault)
        else:
            yield line, value
        place = _after_blanks(text, after)
        if text[place : place + 1] == ",":
            place = _after_blanks(text, place + 1)
        elif text[place : place + 1] != "]":
            raise _not_valid(name, text, place, "Expecting ',' delimiter")
    if (rest := _after_blanks(text, place + 1)) < len(text):
        raise _not_valid(name, text, rest, "Extra data")


def _whole_lines(path: str | Path, encoding: str | None) -> Iterator[str]:
    """All lines: leaving one out would damage the rest, so that no fault in them can be skipped."""
    try:
        for _, line in open_text(path, Faults(), encoding):
            yield line
    except UserError as error:
        error.facts["hint"] = [hint for hint in error.facts["hint"] if hint != SKIP]
        raise


def _after_blanks(text: str, place: int) -> int:
    match = _BLANK.match(text, place)
    assert match is not None
    return match.end()


def _fault(where: str, value: Any, written: str) -> UserError | None:
    if not isinstance(value, dict):
        return UserError("{where} is not a JSON object", where, given=written[:60], allowed='{"text": "..."}')
    if "\\u" in written:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            given = f"\\u{ord(error.object[error.start]):04x}"
            return UserError("{where} holds half of a surrogate pair, which is no text", where, given=given)
    return None


def _not_valid(name: str, text: str, place: int, why: str) -> UserError:
    line = text.count("\n", 0, place) + 1
    column = place - text.rfind("\n", 0, place)
    if place >= len(text):
        why = "the file ends too early"
    return UserError(
        f"{name}, line {line:,} is not valid JSON",
        given=f"{why} at place {column:,}: {text[max(0, place - 30) : place + 30]}".replace("\n", " "),
        allowed=ALLOWED,
    )
