"""Opening text files: which files are meant, compression, encoding, lines, and the objects of JSON lines.

Corpora and labelled tables read their files through here, so that a fault reads the same everywhere: a
UserError that names the file and the line. All readers stream; the longest line is what they hold in memory.
"""

import codecs
import glob
import gzip
import hashlib
import io
import json
import os
import shlex
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from unmask import console
from unmask.data import encodings
from unmask.data.encodings import COMPRESSED
from unmask.errors import UserError, did_you_mean, missing_extra, suggest
from unmask.messages import join, message

Kind = Literal["txt", "jsonl", "csv", "tsv"]
OnError = Literal["stop", "skip"]

R = TypeVar("R")
T = TypeVar("T")

KINDS: dict[str, Kind] = {".txt": "txt", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv"}
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


class ReadLog:
    """Collects what reading a file runs into: notes for people, and rows that cannot be used.

    on_error: `stop` raises the error of the first such row, `skip` leaves such rows out and counts them; option: which
    option says so.
    """

    def __init__(self, on_error: OnError = "stop", option: str = "--on-error") -> None:
        if on_error not in ("stop", "skip"):
            raise UserError(f"on_error cannot be {on_error!r}", allowed="stop, skip")
        self.on_error, self.option = on_error, option
        self.skipped = 0
        self.first: UserError | None = None
        self.remarks: list[str] = []

    def note(self, text: str, *values: object) -> None:
        """Add a message (or its template and values) for people."""
        text = message(text, *values) if values else text
        if text not in self.remarks:
            self.remarks.append(text)

    def skip(self, error: UserError) -> None:
        """Leave out a row (or line, or file) that cannot be used. Raises `error` where such rows are not left out."""
        if self.on_error == "stop":
            hint = error.facts.get("hint", "")
            if self.option not in hint:
                skip = message("{option} skip leaves such rows out", self.option)
                error.facts["hint"] = join([hint, skip], "\n")
            raise error
        self.skipped += 1
        self.first = self.first or error

    def usable(self, rows: Iterable[tuple[int, R]], make: Callable[[int, R], T]) -> Iterator[T]:
        """What `make` gives for each (line, row); rows that are a UserError are left out (`skip`)."""
        for line, row in rows:
            try:
                one = make(line, row)
            except UserError as error:
                self.skip(error)
            else:
                yield one

    @property
    def notes(self) -> tuple[str, ...]:
        """All sentences, the last of them how many rows were left out."""
        if self.first is None:
            return tuple(self.remarks)
        return (*self.remarks, message("left out: {count:,} (the first: {error})", self.skipped, self.first.message))


def display_name(path: object) -> str:
    """What to call a file (or what stands in its place) in messages."""
    return "standard input" if str(path) == STDIN else str(path)


def shorten(text: str) -> str:
    """The beginning of a text, for messages."""
    return text.strip() if len(text) <= 70 else text[:67].strip() + "..."


def inner_suffix(path: str | Path) -> str:
    """The suffix of a file, in lower case, below .gz and .zst."""
    name = Path(path).name.lower()
    for suffix in COMPRESSED:
        name = name.removesuffix(suffix)
    return Path(name).suffix


def kind_of(path: str | Path) -> Kind:
    """The kind of a file by its name, below .gz and .zst; a name that says nothing is plain text."""
    suffix = inner_suffix(path)
    if suffix == ".json":
        plain = shlex.quote(str(path))
        raise UserError(
            f"{path} is one JSON value, not JSON lines",
            allowed=".jsonl with one object a line",
            hint=f"jq -c '.[]' {plain} > {plain}l",
        )
    return KINDS.get(suffix, "txt")


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
                raise UserError(f"no file matches {source}", given=f"relative to {Path.cwd()}")
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
        if not hidden and inner_suffix(path) in KINDS and path.is_file():
            found.append(path)
    if not found:
        raise UserError(
            f"{folder} holds no text files",
            allowed=", ".join(KINDS) + ", each also with .gz or .zst",
            hint="give the files by name to read them whatever they are called",
        )
    return [str(path) for path in sorted(found)]


def _absent(path: Path) -> UserError:
    """The error for a path that does not exist, with the neighbour that was probably meant."""
    parent = path.parent
    while not parent.is_dir():
        path, parent = parent, parent.parent
    neighbour = suggest(path.name, (entry.name for entry in parent.iterdir()))
    return UserError("{path} does not exist", path, hint=did_you_mean(parent / neighbour if neighbour else None))


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


def open_bytes(path: str, stack: ExitStack) -> tuple[io.BufferedReader, io.BufferedReader]:
    """A file (or standard input) as bytes, decompressed, and as it is stored. Raises UserError where there is none."""
    if path == STDIN:
        stream: Any = sys.stdin.buffer  # not buffered where a program put something else in its place
        stream = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)
        return stream, stream
    try:
        file = stack.enter_context(Path(path).open("rb"))  # noqa: SIM115 - the stack closes it
    except FileNotFoundError:
        raise _absent(Path(path)) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read", given=error.strerror) from None
    if path.lower().endswith(".gz"):
        return io.BufferedReader(stack.enter_context(gzip.GzipFile(fileobj=file)), 1 << 20), file
    if path.lower().endswith(".zst"):
        try:
            import zstandard
        except ImportError:
            raise missing_extra("zstandard", "zstd", f"reading {path}") from None
        return io.BufferedReader(_Zstd(file, zstandard), 1 << 20), file
    return file, file


class TextFile:
    """A file (or standard input) that is opened once: its first bytes to look at, then its lines.

    stream: the bytes, decompressed.
    """

    def __init__(self, path: str | Path, stack: ExitStack) -> None:
        self.path, self.name = str(path), display_name(path)
        self.stream, self._file = open_bytes(self.path, stack)

    @property
    def head(self) -> bytes:
        """The first bytes; of standard input what is there without waiting for more."""
        try:
            return self.stream.peek(1 if self.path == STDIN else encodings.SAMPLE)[: encodings.SAMPLE]
        except (EOFError, OSError, zlib.error):
            return b""  # reading the lines says what is wrong

    def opening(self, encoding: str | None = None) -> str:
        """The first bytes as text, without white space before it; only to look at."""
        return encodings.detect_text(self.head, encoding).lstrip()

    def sha256(self) -> str | None:
        """The checksum of the file as it is stored; None where it cannot be read again. Ends the reading."""
        if self.path == STDIN or not self._file.seekable():
            return None
        self._file.seek(0)
        return hashlib.file_digest(self._file, "sha256").hexdigest()

    def lines(self, log: ReadLog, encoding: str | None = None) -> Iterator[tuple[int, str]]:
        """The lines as `open_text` gives them; can be read once."""
        encoding = encoding and encodings.encoding_name(encoding)
        number, blank, skipped_before = 0, True, log.skipped
        try:
            stream, head = self.stream, self.stream.peek(4096)[:4096]
            recoded = encoding if encoding not in (None, "UTF-8", "GB18030") else None
            if encoding is None and (recoded := encodings.utf16(head)) is not None:
                log.note(_not_utf8(self.name, recoded))
            if recoded is None and (binary := _not_text(self.name, head)) is not None:
                log.skip(binary)
                return
            if recoded is not None:
                recoded = encodings.with_byte_order(recoded, head)
                stream = io.BufferedReader(encodings.RecodedStream(stream, recoded), 1 << 20)
            decoder = _Decoder(self.path, stream, log, "UTF-8" if recoded else encoding, recoded)
            while raw := stream.readline(LONGEST + 1):
                number += 1
                if len(raw) > LONGEST:
                    log.skip(UserError(f"{self.name}, line {number:,} is longer than {console.size(LONGEST)}"))
                    while raw and not raw.endswith(b"\n"):
                        raw = stream.readline(LONGEST)
                    continue
                line = decoder.line(number, raw)
                if line is not None:
                    blank = blank and not line.strip()
                    yield number, line
        except (EOFError, OSError, zlib.error) as error:
            log.skip(_damaged(self.name, number, error))
            return
        if blank and log.skipped == skipped_before:
            what = "holds only white space" if number else "is empty"
            log.skip(UserError(f"{self.name} {what}", allowed="text in UTF-8"))


def open_text(path: str | Path, log: ReadLog | None = None, encoding: str | None = None) -> Iterator[tuple[int, str]]:
    """The lines of a text file, without their line ends, with their numbers from 1.

    UTF-8 with or without a byte order mark, or `encoding`; without it, UTF-16 and GB18030 are detected and
    noted. \\n or \\r\\n; .gz and .zst are decompressed; "-" is standard input. What `log` may leave out (else it is
    a UserError): a file that is empty or only white space, binary data, a line that is not in the
    encoding or longer than 2**27 bytes, a damaged or truncated archive.
    """
    with ExitStack() as stack:
        yield from TextFile(path, stack).lines(log or ReadLog(), encoding)


def _not_utf8(name: str, encoding: str) -> str:
    return message("{name} is not UTF-8: it is read as {encoding}", name, encoding)


def _damaged(name: str, number: int, error: Exception) -> UserError:
    cut = isinstance(error, EOFError)
    what = "is cut short: its compressed data ends too early" if cut else "is damaged"
    return UserError(
        f"{name} {what}, after line {number:,}", given=None if cut else error, hint="copy or download it again"
    )


def _not_text(name: str, head: bytes) -> UserError | None:
    """The error for a file whose first bytes show that it is not UTF-8 text."""
    for magic, what in _MAGIC.items():
        if head.startswith(magic):
            return UserError(f"{name} is not text", given=what, allowed="text in UTF-8")
    if b"\0" in head and 50 * len(head.translate(None, _IN_TEXT)) > len(head):
        place = head.index(b"\0")
        return UserError(
            f"{name} is not text: it is binary", given=f"a NUL byte at byte {place + 1:,}", allowed="text in UTF-8"
        )
    return None


@dataclass
class _Decoder:
    """Lines of bytes to text: ASCII as long as that is all there is, then what the first other line shows."""

    path: str
    stream: io.BufferedReader
    log: ReadLog
    encoding: str | None = None  # none: told by the first line that is not ASCII
    recoded: str | None = None  # what the stream was in before it was recoded to UTF-8

    def line(self, number: int, raw: bytes) -> str | None:
        """One line without its end, or None when it was found faulty and left out."""
        if raw.endswith(b"\n"):
            raw = raw[:-2] if raw.endswith(b"\r\n") else raw[:-1]
        if number == 1:
            raw = raw.removeprefix(codecs.BOM_UTF8)
        where = f"{display_name(self.path)}, line {number:,}"
        try:
            line = raw.decode(self.encoding or "utf-8")
        except UnicodeDecodeError as error:
            if self.encoding is None and encodings.is_gb18030(raw + b"\n" + self._following()):
                return self._as_gb18030(number, raw)
            reading = self.recoded or self.encoding
            if reading in (None, "UTF-8"):
                self.log.skip(encodings.not_utf8_error(where, raw, error))
            else:
                self.log.skip(encodings.undecodable_error(str(reading), where, raw, error))
            return None
        if self.encoding is None and not line.isascii():
            following = self._following()
            # two bytes of GB18030 may be a letter of UTF-8 as well, as those of 一; what follows is none
            weak = max(line) < "\u0800" and not encodings.is_utf8(following)
            if weak and encodings.is_gb18030(raw + b"\n" + following):
                return self._as_gb18030(number, raw)
            self.encoding = "UTF-8"
        if "\0" in line:
            place = line.index("\0") + 1
            self.log.skip(UserError(f"{where} holds a NUL character", given=f"at place {place:,}"))
            return None
        return line

    def _as_gb18030(self, number: int, raw: bytes) -> str | None:
        self.encoding = "GB18030"
        self.log.note(_not_utf8(display_name(self.path), self.encoding))
        return self.line(number, raw)

    def _following(self) -> bytes:
        """The lines after this one, as far as they are in memory."""
        ahead = self.stream.peek(encodings.SAMPLE)[: encodings.SAMPLE]
        return ahead[: ahead.rfind(b"\n") + 1] if b"\n" in ahead else ahead


def objects(name: str, lines: Iterator[tuple[int, str]], log: ReadLog) -> Iterator[tuple[int, dict[str, Any]]]:
    """One JSON object a line; empty lines are left out.

    What `log` may leave out: a line that is not a JSON object, or that holds half of a surrogate pair (which is no
    text).
    """
    for number, line in lines:
        if not line.strip():
            continue
        where = f"{name}, line {number:,}"
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            given = f"{error.msg} at place {error.colno:,}: {_excerpt(line, error.colno - 1)}"
            log.skip(UserError(f"{where} is not valid JSON", given=given, allowed="one JSON object a line"))
        except RecursionError:
            log.skip(UserError(f"{where} is nested too deeply"))
        else:
            if (error_found := no_object(where, value, line)) is None:
                yield number, value
            else:
                log.skip(error_found)


def no_object(where: str, value: Any, written: str) -> UserError | None:
    """The error for a JSON value that is no object, or holds half of a surrogate pair; None for a good one."""
    if not isinstance(value, dict):
        return UserError(f"{where} is not a JSON object", given=written[:60], allowed='{"text": "..."}')
    if "\\u" in written:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(error.object[error.start]):04x}"
            return UserError(f"{where} holds half of a surrogate pair, which is no text", given=half)
    return None


def _excerpt(line: str, place: int) -> str:
    return line[max(0, place - 30) : place + 30]
