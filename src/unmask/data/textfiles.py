"""Opening text files: which files are meant, compression, encoding, lines, and the objects of JSON lines.

Corpora and labelled tables read their files through here, so that a fault reads the same everywhere: a
UserError that names the file and the line. All readers stream; the longest line is what they hold in memory.
"""

import codecs
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unmask import console
from unmask.data import encodings
from unmask.data.encodings import COMPRESSED
from unmask.errors import UserError, did_you_mean, missing_extra, suggest

Kind = Literal["txt", "jsonl", "csv", "tsv"]
OnError = Literal["stop", "skip"]

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


SKIP = "--on-error skip skips such lines"


class Faults:
    """What happens to a line (or file) that cannot be used: stop at the first, or leave out and count."""

    def __init__(self, on_error: OnError = "stop") -> None:
        if on_error not in ("stop", "skip"):
            raise UserError("on_error cannot be {on_error!r}", on_error, allowed="stop, skip")
        self.on_error = on_error
        self.count = 0
        self.first: UserError | None = None

    def record(self, error: UserError) -> None:
        """Raises `error` when stopping at the first; otherwise counts it."""
        if self.on_error == "stop":
            error.facts["hint"].append(SKIP)
            raise error
        self.count += 1
        self.first = self.first or error

    def report(self) -> None:
        """Says on stderr how many were left out and shows the first."""
        if self.first is not None:
            console.note("skipped: {count:,} (the first: {message})", self.count, self.first.message)


def display_name(path: object) -> str:
    """What to call a file (or what stands in its place) in messages."""
    return "standard input" if str(path) == STDIN else str(path)


def shorten_path(text: str) -> str:
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
                raise UserError("no file matches {source}", source, given=f"relative to {Path.cwd()}")
            found.update(dict.fromkeys(matches))
        else:
            raise _missing_error(path)
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


def _missing_error(path: Path) -> UserError:
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


def open_bytes(path: str, stack: ExitStack) -> io.BufferedReader:
    """A file (or standard input) as bytes, decompressed. Raises UserError where there is none."""
    if path == STDIN:
        stream: Any = sys.stdin.buffer  # not buffered where a program put something else in its place
        return stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)
    try:
        file = stack.enter_context(Path(path).open("rb"))  # noqa: SIM115 - the stack closes it
    except FileNotFoundError:
        raise _missing_error(Path(path)) from None
    except OSError as error:
        raise UserError("{path} cannot be read", path, given=error.strerror) from None
    if path.lower().endswith(".gz"):
        return io.BufferedReader(stack.enter_context(gzip.GzipFile(fileobj=file)), 1 << 20)
    if path.lower().endswith(".zst"):
        try:
            import zstandard
        except ImportError:
            raise missing_extra("zstandard", "zstd", f"reading {path}") from None
        return io.BufferedReader(_Zstd(file, zstandard), 1 << 20)
    return file


def open_text(path: str | Path, faults: Faults | None = None, encoding: str | None = None) -> Iterator[tuple[int, str]]:
    """The lines of a text file, without their line ends, with their numbers from 1.

    UTF-8 with or without a byte order mark, or `encoding`; without it, UTF-16 and GB18030 are found out and
    said. \\n or \\r\\n; .gz and .zst are decompressed; "-" is standard input. Faults (UserError unless `faults`
    leaves them out): a file that is empty or only white space, binary data, a line that is not in the
    encoding or longer than 2**27 bytes, a damaged or truncated archive.
    """
    encoding = encoding and encodings.is_known_encoding(encoding)
    path, faults = str(path), faults or Faults()
    name = display_name(path)
    number, blank, faults_before = 0, True, faults.count
    with ExitStack() as stack:
        try:
            stream = open_bytes(path, stack)
            head = stream.peek(4096)[:4096]
            recoded = encoding if encoding not in (None, "UTF-8", "GB18030") else None
            if encoding is None and (recoded := encodings.utf16(head)) is not None:
                report_encoding(path, recoded)
            if recoded is None and (binary := _not_text(path, head)) is not None:
                faults.record(binary)
                return
            if recoded is not None:
                recoded = encodings.with_byte_order(recoded, head)
                stream = io.BufferedReader(encodings.RecodedStream(stream, recoded), 1 << 20)
            decoder = _Decoder(path, stream, faults, "UTF-8" if recoded else encoding, recoded)
            while raw := stream.readline(LONGEST + 1):
                number += 1
                if len(raw) > LONGEST:
                    faults.record(UserError(f"{name}, line {number:,} is longer than {console.size(LONGEST)}"))
                    while raw and not raw.endswith(b"\n"):
                        raw = stream.readline(LONGEST)
                    continue
                line = decoder.line(number, raw)
                if line is not None:
                    blank = blank and not line.strip()
                    yield number, line
        except (EOFError, OSError, zlib.error) as error:
            faults.record(_damaged_error(name, number, error))
            return
    if blank and faults.count == faults_before:
        what = "holds only white space" if number else "is empty"
        faults.record(UserError(f"{name} {what}", allowed="text in UTF-8"))


def _damaged_error(name: str, number: int, error: Exception) -> UserError:
    cut = isinstance(error, EOFError)
    return UserError(
        "{name} ends too early, after line {number:,}" if cut else "{name} is damaged after line {number:,}",
        name,
        number,
        given=None if cut else error,
        hint="copy or download it again",
    )


def _not_text(path: str, head: bytes) -> UserError | None:
    """The error for a file whose first bytes show that it is not UTF-8 text."""
    name = display_name(path)
    for magic, what in _MAGIC.items():
        if head.startswith(magic):
            return UserError("{name} is not text", name, given=what, allowed="text in UTF-8")
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
    faults: Faults
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
                self.faults.record(encodings.not_utf8_error(self.path, where, raw, error))
            else:
                self.faults.record(encodings.undecodable_error(str(reading), where, raw, error))
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
            self.faults.record(UserError("{where} holds a NUL character", where, given=f"at place {place:,}"))
            return None
        return line

    def _as_gb18030(self, number: int, raw: bytes) -> str | None:
        self.encoding = "GB18030"
        report_encoding(self.path, self.encoding)
        return self.line(number, raw)

    def _following(self) -> bytes:
        """The lines after this one, as far as they are in memory."""
        ahead = self.stream.peek(encodings.SAMPLE_BYTES)[: encodings.SAMPLE_BYTES]
        return ahead[: ahead.rfind(b"\n") + 1] if b"\n" in ahead else ahead


_reported: set[tuple[str, str]] = set()


def report_encoding(path: str, encoding: str) -> None:
    """Remark once in what a file that is not UTF-8 is read."""
    if (path, encoding) not in _reported:
        _reported.add((path, encoding))
        console.note("{path} is not UTF-8: it is read as {encoding}", display_name(path), encoding)


def read_objects(
    path: str | Path, faults: Faults | None = None, encoding: str | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON lines file with their line numbers. Empty lines are left out.

    Faults: a line that is not a JSON object, or that holds half of a surrogate pair (which is no text).
    """
    faults = faults or Faults()
    for number, line in open_text(path, faults, encoding):
        if not line.strip():
            continue
        where = f"{display_name(path)}, line {number:,}"
        try:
            value = json.loads(line)
            if "\\u" in line:
                json.dumps(value, ensure_ascii=False).encode()
        except json.JSONDecodeError as error:
            faults.record(
                UserError(
                    f"{where} is not valid JSON",
                    given=f"{error.msg} at place {error.colno:,}: {_excerpt(line, error.colno - 1)}",
                    allowed="one JSON object a line",
                )
            )
        except UnicodeEncodeError as error:
            given = f"\\u{ord(error.object[error.start]):04x}"
            faults.record(UserError("{where} holds half of a surrogate pair, which is no text", where, given=given))
        except RecursionError:
            faults.record(UserError("{where} is nested too deeply", where))
        else:
            if isinstance(value, dict):
                yield number, value
                continue
            given = _excerpt(line, 0)
            faults.record(UserError("{where} is not a JSON object", where, given=given, allowed='{"text": "..."}'))


def _excerpt(line: str, place: int) -> str:
    return line[max(0, place - 30) : place + 30]
