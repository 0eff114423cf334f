"""Opening text files: which files are meant, compression, encoding, and the rows of CSV, TSV and JSON lines.

Corpora and labelled tables read their files through here, so that a fault reads the same everywhere: a
UserError that names the file and the line. All readers stream; the longest line is what they hold in memory.
"""

import codecs
import csv
import glob
import gzip
import io
import json
import os
import shlex
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from unmask import console
from unmask.errors import UserError, closest, missing_extra

Kind = Literal["txt", "jsonl", "csv", "tsv"]
OnError = Literal["stop", "skip"]

KINDS: dict[str, Kind] = {".txt": "txt", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv"}
COMPRESSED = (".gz", ".zst")
STDIN = "-"
LONGEST = 2**27  # bytes in a line, characters in a field: what memory is bounded by

_MAGIC = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF89a": "a GIF image",
    b"%PDF-": "a PDF document",
    b"PK\x03\x04": "a zip archive (or an Office document)",
    b"PAR1\x15": "a Parquet file",
    b"\x1f\x8b": "gzip data: its name should end in .gz",
    b"\x28\xb5\x2f\xfd": "zstd data: its name should end in .zst",
    b"BZh91AY": "bzip2 data",
    b"\xfd7zXZ": "xz data",
    b"\x7fELF": "a program",
}
# bytes that text may hold; where a NUL and many others are found, the file is binary
_IN_TEXT = b"\t\n\r\f\x1b" + bytes(range(32, 256))


class Faults:
    """What happens to a line (or file) that cannot be used: stop at the first, or leave out and count."""

    def __init__(self, on_error: OnError = "stop") -> None:
        if on_error not in ("stop", "skip"):
            raise UserError(f"on_error cannot be {on_error!r}", allowed="stop, skip")
        self.on_error = on_error
        self.count = 0
        self.first: UserError | None = None

    def found(self, error: UserError) -> None:
        """Raises `error` when stopping at the first; otherwise counts it."""
        if self.on_error == "stop":
            error.facts.setdefault("to leave such lines out", "--on-error skip")
            raise error
        self.count += 1
        self.first = self.first or error

    def report(self) -> None:
        """Says on stderr how many were left out and shows the first."""
        if self.first is not None:
            console.remark(f"left out: {self.count:,} (the first: {self.first.what})")


def name_of(path: str | Path) -> str:
    """What to call a file in messages."""
    return "standard input" if str(path) == STDIN else str(path)


def kind_of(path: str | Path) -> Kind:
    """The kind of a file by its name, below .gz and .zst; a name that says nothing is plain text."""
    name = Path(path).name.lower()
    for suffix in COMPRESSED:
        name = name.removesuffix(suffix)
    if name.endswith(".json"):
        plain = shlex.quote(str(path))
        raise UserError(
            f"{path} is one JSON value, not JSON lines",
            allowed=".jsonl with one object a line",
            to_convert=f"jq -c '.[]' {plain} > {plain}l",
        )
    return KINDS.get(Path(name).suffix, "txt")


def find_files(sources: Sequence[str | Path]) -> list[str]:
    """The files that files, folders (recursive, known suffixes, sorted), globs and "-" stand for, each once.

    Hidden files and folders are left out. Raises UserError for a path that does not exist, a glob that
    matches nothing and a folder without known files.
    """
    if isinstance(sources, str | Path):
        sources = [sources]
    found: dict[str, None] = {}
    for source in map(str, sources):
        path = Path(source)
        if source == STDIN or path.is_file() or path.is_fifo():
            found[source] = None
        elif path.is_dir():
            found.update(dict.fromkeys(_files_in(path)))
        elif glob.has_magic(source):
            # Path.glob takes no absolute pattern
            matches = sorted(filter(os.path.isfile, glob.iglob(source, recursive=True)))  # noqa: PTH207
            if not matches:
                raise UserError(f"no file matches {source}", seen_from=Path.cwd())
            found.update(dict.fromkeys(matches))
        else:
            raise _absent(path)
    if not found:
        raise UserError("no files were given", allowed="files, folders, globs, or - for standard input")
    return list(found)


def _files_in(folder: Path) -> list[str]:
    found = []
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        name = path.name.lower()
        for suffix in COMPRESSED:
            name = name.removesuffix(suffix)
        if not hidden and Path(name).suffix in KINDS and path.is_file():
            found.append(path)
    if not found:
        raise UserError(
            f"{folder} holds no text files",
            looked_for=", ".join(KINDS) + ", each also with .gz or .zst",
            to_do="give the files by name to read them whatever they are called",
        )
    return [str(path) for path in sorted(found)]


def _absent(path: Path) -> UserError:
    """The error for a path that does not exist, with the neighbour that was probably meant."""
    parent = path.parent
    while not parent.is_dir():
        path, parent = parent, parent.parent
    neighbour = closest(path.name, (entry.name for entry in parent.iterdir()))
    return UserError(f"{path} does not exist", did_you_mean=parent / neighbour if neighbour else None)


def text_bytes(sources: Sequence[str | Path]) -> int | None:
    """About how many bytes of text the sources hold (for a progress bar), None where that cannot be told."""
    total = 0
    for path in find_files(sources):
        if path == STDIN or path.lower().endswith(".zst") or not Path(path).is_file():
            return None
        total += _gzip_content(path) if path.lower().endswith(".gz") else Path(path).stat().st_size
    return total


def _gzip_content(path: str) -> int:
    """The uncompressed size that the last four bytes tell (modulo 2**32, RFC 1952)."""
    with Path(path).open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 4))
        return int.from_bytes(file.read(4), "little")


class _Zstd(io.RawIOBase):
    """A zstd file as a stream that, unlike the library's own, raises EOFError where the file is cut short."""

    def __init__(self, file: Any, zstandard: Any) -> None:
        self._file, self._library = file, zstandard
        self._frame: Any = None
        self._waiting = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._waiting:
            data = self._frame.unused_data if self._frame is not None and self._frame.eof else b""
            data = data or self._file.read(1 << 17)
            if not data:
                if self._frame is not None and not self._frame.eof:
                    raise EOFError
                return 0
            if self._frame is None or self._frame.eof:
                self._frame = self._library.ZstdDecompressor().decompressobj()
            try:
                self._waiting = memoryview(self._frame.decompress(data))
            except self._library.ZstdError as error:
                raise OSError(str(error)) from None
        taken = self._waiting[: len(buffer)]
        buffer[: len(taken)] = taken
        self._waiting = self._waiting[len(taken) :]
        return len(taken)


def _open_bytes(path: str, stack: ExitStack) -> io.BufferedReader:
    if path == STDIN:
        stream: Any = sys.stdin.buffer  # not buffered where a program put something else in its place
        return stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)
    try:
        file = stack.enter_context(Path(path).open("rb"))  # noqa: SIM115 - the stack closes it
    except FileNotFoundError:
        raise _absent(Path(path)) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read", given=error.strerror) from None
    if path.lower().endswith(".gz"):
        return io.BufferedReader(stack.enter_context(gzip.GzipFile(fileobj=file)), 1 << 20)
    if path.lower().endswith(".zst"):
        try:
            import zstandard
        except ImportError:
            raise missing_extra("zstandard", "zstd", f"reading {path}") from None
        return io.BufferedReader(_Zstd(file, zstandard), 1 << 20)
    return file


def open_text(path: str | Path, faults: Faults | None = None) -> Iterator[tuple[int, str]]:
    """The lines of a text file, without their line ends, with their numbers from 1.

    UTF-8 with or without a byte order mark; \\n or \\r\\n; .gz and .zst are decompressed; "-" is standard
    input. Faults (UserError unless `faults` leaves them out): a file that is empty or only white space,
    binary data, a line that is not UTF-8 or longer than 2**27 bytes, a damaged or truncated archive.
    """
    path, faults = str(path), faults or Faults()
    name = name_of(path)
    number, blank, faults_before = 0, True, faults.count
    with ExitStack() as stack:
        try:
            stream = _open_bytes(path, stack)
            binary = _not_text(path, stream.peek(4096)[:4096])
            if binary is not None:
                faults.found(binary)
                return
            while raw := stream.readline(LONGEST + 1):
                number += 1
                if len(raw) > LONGEST:
                    faults.found(UserError(f"{name}, line {number:,} is longer than {console.size(LONGEST)}"))
                    while raw and not raw.endswith(b"\n"):
                        raw = stream.readline(LONGEST)
                    continue
                line = _decode(path, number, raw, faults)
                if line is not None:
                    blank = blank and not line.strip()
                    yield number, line
        except (EOFError, OSError, zlib.error) as error:
            faults.found(_damaged(name, number, error))
            return
    if blank and faults.count == faults_before:
        what = "holds only white space" if number else "is empty"
        faults.found(UserError(f"{name} {what}", allowed="text in UTF-8"))


def _damaged(name: str, number: int, error: Exception) -> UserError:
    cut = isinstance(error, EOFError)
    what = "is cut short: its compressed data ends too early" if cut else "is damaged"
    return UserError(
        f"{name} {what}, after line {number:,}",
        given=None if cut else error,
        to_do="copy or download it again",
    )


def _not_text(path: str, head: bytes) -> UserError | None:
    """The error for a file whose first bytes show that it is not UTF-8 text."""
    name = name_of(path)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or _looks_like_utf16(head):
        bom = head.startswith((b"\xff\xfe", b"\xfe\xff"))
        encoding = "UTF-16" if bom else "UTF-16LE" if head[1::2].count(0) > head[::2].count(0) else "UTF-16BE"
        return UserError(
            f"{name}, line 1: byte 0x{head[0]:02x} at place 1: the file is not UTF-8",
            looks_like=encoding,
            to_convert=_conversion(path, encoding),
        )
    for magic, what in _MAGIC.items():
        if head.startswith(magic):
            return UserError(f"{name} is not text", given=what, allowed="text in UTF-8")
    if b"\0" in head and 50 * len(head.translate(None, _IN_TEXT)) > len(head):
        place = head.index(b"\0")
        return UserError(
            f"{name} is not text: it is binary",
            given=f"a NUL byte at byte {place + 1:,}",
            allowed="text in UTF-8",
        )
    return None


def _looks_like_utf16(head: bytes) -> bool:
    """Without a byte order mark: nearly every second byte of Latin text is zero."""
    half = len(head) // 2
    even, odd = head[::2].count(0), head[1::2].count(0)
    return half >= 4 and max(even, odd) > 0.4 * half and min(even, odd) < 0.05 * half


def _decode(path: str, number: int, raw: bytes, faults: Faults) -> str | None:
    """One line without its end, or None when it was found faulty and left out."""
    if raw.endswith(b"\n"):
        raw = raw[:-2] if raw.endswith(b"\r\n") else raw[:-1]
    if number == 1:
        raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        line = raw.decode()
    except UnicodeDecodeError as error:
        faults.found(_not_utf8(path, number, raw, error))
        return None
    if "\0" in line:
        place = line.index("\0") + 1
        faults.found(
            UserError(f"{name_of(path)}, line {number:,} holds a NUL character", given=f"at place {place:,}")
        )
        return None
    return line


def _not_utf8(path: str, number: int, raw: bytes, error: UnicodeDecodeError) -> UserError:
    start = error.start
    around = raw[max(0, start - 20) : start + 20].decode("utf-8", "backslashreplace")
    facts: dict[str, object] = {"given": around}
    readable = raw.decode("utf-8", "replace")
    wrong = readable.count("\ufffd")
    if sum(character > "\x7f" for character in readable) > 2 * wrong:
        facts["looks_like"] = "UTF-8 that is damaged here"
        facts["to_drop_the_bytes"] = _conversion(path, "UTF-8")
    else:
        encoding, language = _guess(raw)
        facts["looks_like"] = f"{encoding}{language}"
        facts["to_convert"] = _conversion(path, encoding)
    where = f"{name_of(path)}, line {number:,}"
    return UserError(f"{where}: byte 0x{raw[start]:02x} at place {start + 1:,} is not UTF-8", **facts)


def _guess(raw: bytes) -> tuple[str, str]:
    """The encoding that a line which is not UTF-8 has: Chinese when nearly all of it falls into GB 2312."""
    try:
        chinese = [character for character in raw.decode("gb18030") if character > "\x7f"]
    except UnicodeDecodeError:
        chinese = []
    common = 0
    for character in chinese:
        try:
            character.encode("gb2312")
            common += 1
        except UnicodeEncodeError:
            continue
    if chinese and common >= 0.9 * len(chinese):
        return "GB18030", " (Chinese)"
    try:
        raw.decode("cp1252")
    except UnicodeDecodeError:
        return "LATIN1", ""
    return "WINDOWS-1252", " (Latin-1)"


def _conversion(path: str, encoding: str) -> str:
    """The shell command that converts a file to UTF-8."""
    iconv = f"iconv -f {encoding} -t UTF-8" + (" -c" if encoding == "UTF-8" else "")
    if path == STDIN:
        return f"... | {iconv} | unmask ..."
    suffix = next((suffix for suffix in COMPRESSED if path.lower().endswith(suffix)), "")
    plain = Path(path[: len(path) - len(suffix)])
    target = shlex.quote(str(plain.with_name(f"{plain.stem}.utf8{plain.suffix}{suffix}")))
    source = shlex.quote(path)
    if suffix:
        program = "gzip" if suffix == ".gz" else "zstd"
        return f"{program} -dc {source} | {iconv} | {program} > {target}"
    return f"{iconv} {source} > {target}"


def read_rows(path: str | Path, faults: Faults | None = None) -> Iterator[tuple[int, list[str]]]:
    """The rows of a .csv or .tsv file, the header first, each with the number of the line it begins on.

    CSV as spreadsheets write it (RFC 4180). TSV has one row a line; a field may stand in quotes. Empty
    lines are left out. Faults: a row with another number of fields than the header, a quoted field that
    does not end.
    """
    faults = faults or Faults()
    lines = open_text(path, faults)
    split = _tsv_rows(lines) if kind_of(path) == "tsv" else _csv_rows(path, lines, faults)
    header: list[str] | None = None
    for number, row in split:
        if not row:
            continue
        if header is None:
            header = row
        elif len(row) != len(header):
            faults.found(
                UserError(
                    f"{name_of(path)}, line {number:,} has {len(row)} fields, the header has {len(header)}",
                    header=", ".join(header),
                    allowed="as many fields in every row; a field that holds the separator stands in quotes",
                )
            )
            continue
        yield number, row


def _csv_rows(
    path: str | Path, lines: Iterator[tuple[int, str]], faults: Faults
) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(LONGEST)
    begun = last = 0

    def numbered() -> Iterator[str]:
        nonlocal begun, last
        for number, line in lines:
            begun, last = begun or number, number
            yield line + "\n"

    reader = csv.reader(numbered(), strict=True)
    while True:
        begun = 0
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            where = f"{name_of(path)}, line {begun or last:,}"
            if "unexpected end" in str(error) or "field limit" in str(error):
                what = f"{where}: a quoted field begins in this row and does not end"
            else:
                what = f"{where} is not valid CSV"
            faults.found(
                UserError(what, given=error, allowed='a quotation mark inside a quoted field is doubled: ""')
            )
            continue
        yield begun, row


def _tsv_rows(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    for number, line in lines:
        yield number, [_unquoted(field) for field in line.split("\t")] if line.strip() else []


def _unquoted(field: str) -> str:
    """The field without quotes when they are quoting; a quotation mark in plain text stays."""
    if len(field) >= 2 and field[0] == field[-1] == '"':
        inner = field[1:-1].replace('""', "\0")
        if '"' not in inner:
            return inner.replace("\0", '"')
    return field


def column_at(path: str | Path, header: Sequence[str], column: str) -> int:
    """The place of a column. Raises UserError saying which columns there are."""
    if column in header:
        return list(header).index(column)
    raise UserError(
        f"{name_of(path)} has no column {column!r}",
        columns_there=", ".join(repr(name) for name in header),
        did_you_mean=closest(column, header),
        to_choose=f"--column {shlex.quote(header[0])}" if header[0] else None,
    )


def read_objects(path: str | Path, faults: Faults | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON lines file with their line numbers. Empty lines are left out.

    Faults: a line that is not a JSON object, or that holds half of a surrogate pair (which is no text).
    """
    faults = faults or Faults()
    for number, line in open_text(path, faults):
        if not line.strip():
            continue
        where = f"{name_of(path)}, line {number:,}"
        try:
            value = json.loads(line)
            if "\\u" in line:
                json.dumps(value, ensure_ascii=False).encode()
        except json.JSONDecodeError as error:
            faults.found(
                UserError(
                    f"{where} is not valid JSON",
                    given=f"{error.msg} at place {error.colno:,}: {_excerpt(line, error.colno - 1)}",
                    allowed="one JSON object a line",
                )
            )
        except UnicodeEncodeError as error:
            given = f"\\u{ord(error.object[error.start]):04x}"
            faults.found(UserError(f"{where} holds half of a surrogate pair, which is no text", given=given))
        except RecursionError:
            faults.found(UserError(f"{where} is nested too deeply"))
        else:
            if isinstance(value, dict):
                yield number, value
                continue
            given = _excerpt(line, 0)
            faults.found(UserError(f"{where} is not a JSON object", given=given, allowed='{"text": "..."}'))


def _excerpt(line: str, place: int) -> str:
    return line[max(0, place - 30) : place + 30]
