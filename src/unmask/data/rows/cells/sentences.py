"""Sentences in two cells, as UER-py has them: tokens with blanks between (`北 京 很 大`), and as many tags with blanks
or commas between (`B-LOC I-LOC O O`)."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from unmask.data.rows.columns import TAGS, TEXTS, TOKENS, Records
from unmask.data.tables import likely_delimiter
from unmask.data.textfiles import ReadLog

_TAGS = (*TAGS, "tag", "word_labels", "ner", "iob")
_IN_SCHEME = re.compile(r"O|[BIESMLU][-_].+")
_BETWEEN = re.compile(r"[\s,]+")


def holds_sentences(lines: Sequence[str], tsv: bool = False) -> bool:
    """Whether a table that begins with these lines has sentences in its rows."""
    rows = list(csv.reader(lines, delimiter=likely_delimiter(lines, tsv)))
    whole = [dict(zip(rows[0], row, strict=True)) for row in rows[1:] if len(row) == len(rows[0])] if rows else []
    return _columns(whole) is not None


def _columns(rows: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """The columns of tokens and tags, if there are as many of both in every row, and several in any."""
    names = {name.strip().lower(): name for name in (rows[0] if rows else ())}
    token = next((names[one] for one in (*TOKENS, "text_a", *TEXTS) if one in names), None)
    tag = next((names[one] for one in _TAGS if one in names), None)
    if token is None or tag is None:
        return None
    pairs: list[tuple[Any, Any]] = [
        (text, tags) for row in rows if _is_text(text := row.get(token)) and _is_text(tags := row.get(tag))
    ]
    if len(pairs) < len(rows):
        return None
    words = [(text.split(), _tags(tags)) for text, tags in pairs]
    # a label of as many words as its text may be chance, where the name of the column does not speak of tokens
    alike = token.lower() in TOKENS or all(_IN_SCHEME.fullmatch(one) for _, tags in words for one in tags)
    several = any(len(tokens) > 1 for tokens, _ in words)
    return (token, tag) if alike and several and all(len(a) == len(b) for a, b in words) else None


def _is_text(cell: Any) -> bool:
    return isinstance(cell, str) and bool(cell.strip())


def _tags(cell: str) -> list[str]:
    return _BETWEEN.split(cell.strip())


def with_sentences(records: Records, log: ReadLog) -> Records:
    """The records with lists of tokens and tags in place of such cells, which is noted."""
    found = _columns([row for _, row in records.rows])
    if found is None:
        return records
    token, tag = found
    text = "{source}: columns {token!r} and {tag!r} hold the tokens and tags of sentences, with blanks between"
    log.note(text, records.source, token, tag)
    rest = [(line, {name: row[name] for name in row if name not in found}, row) for line, row in records.rows]
    lists = ((line, {**more, "tokens": row[token].split(), "tags": _tags(row[tag])}) for line, more, row in rest)
    return replace(records, rows=list(lists))
