"""Running text as documents: txt, jsonl, json, csv, tsv and Parquet files, also compressed -> Iterator[Document]."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unmask import console
from unmask.advice import advise, option
from unmask.data.encodings import encoding_name
from unmask.data.rows.readers.memory import read_parquet
from unmask.data.tables import json_array, json_lines, table_rows
from unmask.data.textfiles import (
    LONGEST,
    OnError,
    ReadLog,
    TextFile,
    display_name,
    find_files,
    kind_of,
    open_text,
)
from unmask.errors import UserError, did_you_mean, suggest
from unmask.messages import Message, join, message

Split = Literal["blank", "line", "file"]

MANY_LINES = 1000  # a file with so many lines and no blank one probably holds a document a line


@dataclass(frozen=True)
class Document:
    """A text, the file that it came from (as given) and its place among that file's documents, from 0."""

    text: str
    source: str
    number: int


def read_documents(
    sources: Sequence[str | Path] | str | Path,
    *,
    column: str = "text",
    split: Split = "blank",
    on_error: OnError = "stop",
    encoding: str | None = None,
) -> Iterator[Document]:
    """The documents of files, folders (recursive), globs and "-" (plain text on standard input), in order.

    `column` is the column of a table, or the JSON key, that holds the text. `split` says what parts the
    documents of plain text: blank lines, every line end, or nothing (the whole file is one document). Line
    ends inside a document are \\n. `encoding` names that of all files; without it, UTF-8, and UTF-16 and GB18030
    where a file shows that it is in them. Memory is bounded by the longest document (2**27 characters).

    Raises UserError, naming file and line, for what cannot be read; with on_error="skip" such lines and files
    are left out, and how many is said on stderr. Sources that do not exist are always an error, at once.
    """
    if split not in ("blank", "line", "file"):
        raise UserError(f"documents cannot be split by {split!r}", allowed="blank, line, file")
    files = find_files(sources)
    return _documents(files, column, split, ReadLog(on_error), encoding and encoding_name(encoding))


def _documents(files: list[str], column: str, split: Split, log: ReadLog, encoding: str | None) -> Iterator[Document]:
    for path in files:
        kind = kind_of(path)
        if kind == "txt":
            texts = _plain(path, split, log, encoding)
        else:
            texts = _of_records(path, kind, column, log, encoding)
        for number, text in enumerate(texts):
            yield Document(text, display_name(path), number)
    for note in log.notes:
        console.note(note)


def _plain(path: str, split: Split, log: ReadLog, encoding: str | None) -> Iterator[str]:
    held: list[str] = []
    size = documents = last = 0
    for last, line in open_text(path, log, encoding):
        empty = not line.strip()
        if split == "line":
            if not empty:
                yield line
        elif empty and split == "blank":
            if held:
                yield "\n".join(held)
                documents += 1
            held, size = [], 0
        else:
            held.append(line)
            size += len(line) + 1
            if size > LONGEST and len(held) > 1:
                raise _endless(path, last, split)
    if held:
        text = "\n".join(held)
        yield text if split == "blank" else text.strip("\n")
    if split == "blank" and documents == 0 and last >= MANY_LINES:
        note = message("{path} has no blank lines: its {last:,} lines are one document", display_name(path), last)
        console.note(join([note, _by_line()], "; "))


def _by_line() -> Message | None:
    return advise("{option} makes each line a document", option("split", "line"))


def _endless(path: str, line: int, split: Split) -> UserError:
    return UserError(
        f"{display_name(path)}, line {line:,}: a document is longer than {LONGEST:,} characters",
        given="no blank line before it ends" if split == "blank" else "a file that is to be one document",
        hint=_by_line(),
    )


def _of_records(path: str, kind: str, column: str, log: ReadLog, encoding: str | None) -> Iterator[str]:
    name, places = display_name(path), dict[int, str]()
    with ExitStack() as stack:
        file = TextFile(path, stack)
        for line, row in _records(file, kind, log, encoding, places):
            text, where = row.get(column), places.get(line) or f"{name}, line {line:,}"
            if isinstance(text, str):
                yield text
            elif column in row:
                log.skip(UserError(f"{where}: {column!r} is not a text", given=repr(text)[:80]))
            else:
                other = option("text_column", next(iter(row)), python="column") if row else None
                hint = did_you_mean(suggest(column, row)) or other
                given = ", ".join(map(repr, row)) or "{}"
                fault = UserError(f"{where} has no {column!r}", given=given, hint=hint)
                if kind not in ("jsonl", "json"):
                    raise fault
                log.skip(fault)


def _records(
    file: TextFile, kind: str, log: ReadLog, encoding: str | None, places: dict[int, str]
) -> Iterable[tuple[int, dict[str, Any]]]:
    """The rows of a table, of JSON lines or an array (as the content shows), or of Parquet."""
    if kind == "parquet":
        return read_parquet(file.name, file.stream)
    if kind in ("json", "jsonl") and file.opening(encoding).startswith("["):
        if kind == "jsonl":
            log.note("{name}: read as {format}", file.name, message("a JSON array"))
        return json_array(file.name, file.text(log, encoding), log, places)
    lines = file.lines(log, encoding)
    if kind in ("json", "jsonl"):
        return json_lines(file.name, lines, log)
    return table_rows(file.name, lines, log, kind == "tsv")
