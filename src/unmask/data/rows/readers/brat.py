"""Documents of brat as records: a text FILE.txt and its annotations FILE.ann.

T1	PER 0 3	Ada            a span: label, start and end in characters of the text, its surface
T2	LOC 4 8;12 15	Rome now   a discontinuous one, which is left out and counted
R1 ..., E1 ..., A1 ..., # ...  relations, events, attributes, notes: counted, and not read
"""

import hashlib
import re
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unmask.data import foreign
from unmask.data.rows.columns import excerpt
from unmask.data.tables import Row
from unmask.data.textfiles import STDIN, ReadLog, TextFile, shorten
from unmask.errors import UserError

SUFFIX = ".ann"
_SPAN = re.compile(r"(\S+) (\d+) (\d+)")
_SPANS = re.compile(r"\S+ \d+ \d+(;\d+ \d+)+")
_OTHERS = re.compile(r"[REAMN]\S*\d\t|[#*]")
_FORM = "T1<tab>PER 0 3<tab>Ada"


def is_brat(path: Path, tokens: bool) -> bool:
    """Whether a path is a folder, an .ann file, or (where spans of tokens are to be read) a .txt with one beside it."""
    beside = path.suffix == ".txt" and path.with_suffix(SUFFIX).is_file()
    return str(path) != STDIN and (path.is_dir() or path.suffix == SUFFIX or (tokens and beside))


@dataclass
class _Counts:
    """What is not read of the annotations."""

    bare: int = 0
    apart: int = 0
    others: int = 0
    digest: Any = field(default_factory=hashlib.sha256)


def read_brat(
    path: Path, encoding: str | None, labelled: bool, log: ReadLog
) -> tuple[list[Row], dict[int, str], str | None]:
    """One record a document, numbered in place of lines; the names of their files; a checksum of all.

    path: a folder, with those below it, or one of the two files of a document. labelled: texts without an .ann file are
    left out, which is noted. Raises UserError for a folder without such files, and for an .ann file without its text.
    What `log` may leave out: a text with annotations that are not of this form, or whose surfaces do not stand there.
    """
    counts, name = _Counts(), str(path)
    rows: list[Row] = []
    places: dict[int, str] = {}

    def document(_: int, text: Path) -> None:
        annotations = text.with_suffix(SUFFIX)
        if labelled and not annotations.is_file():
            counts.bare += 1
            return
        root = path if path.is_dir() else path.parent
        row = {"id": text.relative_to(root).with_suffix("").as_posix(), **_document(text, encoding, log, counts)}
        rows.append((len(rows) + 1, row))
        places[len(rows)] = str(text)

    list(log.usable(enumerate(_texts(path)), document))
    if counts.bare:
        log.note("{source}: {count:,} texts without an .ann file skipped", name, counts.bare)
    if counts.apart:
        log.note("{source}: {count:,} discontinuous spans skipped", name, counts.apart)
    if counts.others:
        log.note("{source}: {count:,} relations, events, attributes and notes are not read", name, counts.others)
    return rows, places, counts.digest.hexdigest()


def _texts(path: Path) -> list[Path]:
    """The texts of a folder, or of one document."""
    if not path.is_dir():
        return [_text_of(path)]
    if (known := foreign.folder(path)) is not None:
        raise known.error(str(path), str(path))
    annotated = sorted(path.rglob(f"*{SUFFIX}"))
    if not annotated:
        allowed = f"a file, or a folder of brat with FILE.txt and FILE{SUFFIX}"
        raise UserError(f"{path} is a folder, and not one of brat", allowed=allowed)
    return sorted({*path.rglob("*.txt"), *map(_text_of, annotated)})


def _text_of(path: Path) -> Path:
    text = path.with_suffix(".txt")
    if path.is_file() and not text.is_file():
        raise UserError(f"{path}: its text {text.name} is not there", allowed=f"FILE.txt beside FILE{SUFFIX}")
    return text


def _lines(path: Path, encoding: str | None, log: ReadLog) -> list[str]:
    """The lines of a file as a whole: without one of them the offsets are others."""
    strict = ReadLog(option="")
    with ExitStack() as stack:
        file = TextFile(path, stack)
        lines = [line for _, line in file.lines(strict, encoding)] if file.head else []  # nothing may be annotated
    log.remarks += strict.remarks
    return lines


def _document(path: Path, encoding: str | None, log: ReadLog, counts: _Counts) -> dict[str, Any]:
    """The text and its spans. Offsets may count one character for the end of a line, or the two of Windows."""
    annotations, lines = path.with_suffix(SUFFIX), _lines(path, encoding, log)
    for file in (path, annotations):
        counts.digest.update(file.read_bytes() if file.is_file() else b"")
    spans = []
    for number, line in enumerate(_lines(annotations, encoding, log) if annotations.is_file() else (), 1):
        _, *fields = line.split("\t")
        if line.startswith("T") and fields and (match := _SPAN.fullmatch(fields[0])):
            label, start, end = match.groups()
            spans.append((number, int(start), int(end), label, fields[1] if len(fields) > 1 else None))
        elif line.startswith("T") and fields and _SPANS.fullmatch(fields[0]):
            counts.apart += 1
        elif _OTHERS.match(line):
            counts.others += 1
        elif line.strip():
            raise UserError(f"{annotations}, line {number:,} is no annotation", given=shorten(line), allowed=_FORM)
    texts = ["\n".join(lines), "\r\n".join(lines)]
    wrong = [[one for one in spans if not _fits(text, *one[1:3], one[4])] for text in texts]
    text, faults = min(zip(texts, wrong, strict=True), key=lambda both: len(both[1]))
    if faults:
        number, start, end, _, surface = faults[0]
        raise UserError(
            "{place}: the characters from {start} to {end} are not {surface!r}",
            f"{annotations}, line {number:,}",
            start,
            end,
            surface,
            given=excerpt(text[start:end]),
            allowed=f"offsets in characters of {path.name}",
        )
    return {"text": text, "spans": [[start, end, label] for _, start, end, label, _ in spans]}


def _fits(text: str, start: int, end: int, surface: str | None) -> bool:
    """Whether the surface stands there; line ends are blanks in it."""
    return end <= len(text) and (surface is None or text[start:end].split() == surface.split())
