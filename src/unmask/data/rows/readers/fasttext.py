"""Files of fastText as records: `__label__sport __label__local some text`, one row a line."""

import re
from collections.abc import Iterator

from unmask.data.tables import Lines, Row

_LABEL = re.compile(r"(?:(?<=\s)|^)__label__(\S+)\s*")

_FIRST = re.compile(r"__label__\S|.*\s__label__\S+\s*$")


def is_fasttext(opening: str) -> bool:
    """Whether the first line of a file has a label: before its text, or as its last word."""
    return _FIRST.match(opening.partition("\n")[0]) is not None


def fasttext_rows(lines: Lines) -> Iterator[Row]:
    """The text of each line without its labels, wherever they stand, and a list of them, None where there is none."""
    for number, line in lines:
        if line.strip():
            labels = _LABEL.findall(line)
            yield number, {"text": _LABEL.sub("", line).strip(), "label": labels or None}
