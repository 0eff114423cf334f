"""Text that is one JSON array of objects, read element by element with the line on which each begins."""

import json
import re
from collections.abc import Iterator
from typing import Any

from unmask.data.textfiles import ReadLog, no_object
from unmask.errors import UserError

_BLANK = re.compile(r"[ \t\n\r]*")
ALLOWED = 'an array of objects: [{"text": "...", "label": "..."}, ...], or one object a line'


def parse_array(name: str, text: str, log: ReadLog) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON array, each with the line (from 1) on which it begins.

    What `log` may leave out: an element that is no object, or that holds half of a surrogate pair. Raises UserError
    naming the line where the text is not a JSON array.
    """
    place = _after_blanks(text, 0)
    if text[place : place + 1] != "[":
        first = text[place : place + 60].partition("\n")[0]
        raise UserError(f"{name} is not a JSON array", given=first, allowed=ALLOWED)
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
            raise UserError(f"{where} is nested too deeply") from None
        if (fault := no_object(where, value, text[place:after])) is not None:
            log.skip(fault)
        else:
            yield line, value
        place = _after_blanks(text, after)
        if text[place : place + 1] == ",":
            place = _after_blanks(text, place + 1)
        elif text[place : place + 1] != "]":
            raise _not_valid(name, text, place, "Expecting ',' delimiter")
    if (rest := _after_blanks(text, place + 1)) < len(text):
        raise _not_valid(name, text, rest, "Extra data")


def _after_blanks(text: str, place: int) -> int:
    match = _BLANK.match(text, place)
    assert match is not None
    return match.end()


def _not_valid(name: str, text: str, place: int, why: str) -> UserError:
    line, column = text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place)
    why = "the file ends too early" if place >= len(text) else why
    return UserError(
        f"{name}, line {line:,} is not valid JSON",
        given=f"{why} at place {column:,}: {text[max(0, place - 30) : place + 30]}".replace("\n", " "),
        allowed=ALLOWED,
    )
