"""Running text as documents: txt, jsonl, csv and tsv files, also compressed -> Iterator[Document]."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unmask import console
from unmask.data.encodings import is_known_encoding
from unmask.data.rows.delimited import column_at, read_rows
from unmask.data.textfiles import (
    LONGEST,
    Faults,
    OnError,
    display_name,
    find_files,
    kind_of,
    open_text,
    read_objects,
)
from unmask.errors import UserError, suggest

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

    `column` is the CSV or TSV column, or the JSON key, that holds the text. `split` says what parts the
    documents of plain text: blank lines, every line end, or nothing (the whole file is one document). Line
    ends inside a document are \\n. `encoding` names that of all files; without it, UTF-8, and UTF-16 and GB18030
    where a file shows that it is in them. Memory is bounded by the longest document (2**27 characters).

    Raises UserError, naming file and line, for what cannot be read; with on_error="skip" such lines and files
    are left out, and how many is said on stderr. Sources that do not exist are always an error, at once.
    """
    if split not in ("blank", "line", "file"):
        raise UserError(f"documents cannot be split by {split!r}", allowed="blank, line, file")
    files = find_files(sources if not isinstance(sources, str | Path) else [sources])
    return _documents(files, column, split, Faults(on_error), encoding and is_known_encoding(encoding))


def _documents(files: list[str], column: str, split: Split, faults: Faults, encoding: str | None) -> Iterator[Document]:
    for path in files:
        kind = kind_of(path)
        if kind == "txt":
            texts = _plain(path, split, faults, encoding)
        elif kind == "jsonl":
            texts = _of_objects(path, column, faults, encoding)
        else:
            texts = _of_rows(path, column, faults, encoding)
        for number, text in enumerate(texts):
            yield Document(text, display_name(path), number)
    faults.report()


def _plain(path: str, split: Split, faults: Faults, encoding: str | None) -> Iterator[str]:
    held: list[str] = []
    size = documents = last = 0
    for last, line in open_text(path, faults, encoding):
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
        console.note(
            f"{display_name(path)} has no blank lines: its {last:,} lines are one document "
            "(--split line makes each line a document)"
        )


def _endless(path: str, line: int, split: Split) -> UserError:
    return UserError(
        f"{display_name(path)}, line {line:,}: a document is longer than {LONGEST:,} characters",
        given="no blank line before it ends" if split == "blank" else "a file that is to be one document",
        to_make_each_line_a_document="--split line",
    )


def _of_rows(path: str, column: str, faults: Faults, encoding: str | None) -> Iterator[str]:
    place: int | None = None
    for _, row in read_rows(path, faults, encoding):
        if place is None:
            place = column_at(path, row, column)
        else:
            yield row[place]


def _of_objects(path: str, key: str, faults: Faults, encoding: str | None) -> Iterator[str]:
    for line, value in read_objects(path, faults, encoding):
        text = value.get(key)
        if isinstance(text, str):
            yield text
            continue
        where = f"{display_name(path)}, line {line:,}"
        if key in value:
            found = UserError(f"{where}: {key!r} is not a text", given=repr(text)[:80])
        else:
            found = UserError(
                f"{where} has no {key!r}",
                keys_there=", ".join(map(repr, value)) or "none",
                did_you_mean=suggest(key, value),
                to_choose=f"--column {next(iter(value))}" if value else None,
            )
        faults.record(found)
