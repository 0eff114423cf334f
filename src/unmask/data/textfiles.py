"""Opening text files: which files are meant, compression, encoding, lines.

Corpora and labelled tables read their files through here, so that a fault reads the same everywhere: a
UserError that names the file and the line. All readers stream; the longest line is what they hold in memory.
"""

import codecs
import glob
import gzip
import hashlib
import io
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

from unmask import console
from unmask.advice import advise, option
from unmask.data import encodings, foreign
from unmask.errors import UserError, did_you_mean, missing_extra, suggest
from unmask.messages import join, message

OnError = Literal["stop", "skip"]

R = TypeVar("R")
T = TypeVar("T")

KINDS = {".txt": "txt", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}
COMPRESSED = (".gz", ".zst")
STDIN = "-"
CHUNK = 2**20  # bytes read at a time
LONGEST = 2**27  # bytes in a line, characters in a field: what memory is bounded by

_LINE_END = re.compile("\r\n|\r|\n")
# bytes that text may hold; where a NUL and many others are found, the file is binary
_IN_TEXT = b"\t\n\r\f\x1b" + bytes(range(32, 256))


class ReadLog:
    """Collects what reading a file runs into: notes for people, and rows that cannot be used.

    on_error: `stop` raises the error of the first such row, `skip` leaves such rows out and counts them; option: the
    setting that says so, empty where there is none.
    """

    def __init__(self, on_error: OnError = "stop", option: str = "on_error") -> None:
        if on_error not in ("stop", "skip"):
            raise UserError(f"on_error cannot be {on_error!r}", allowed="stop, skip")
        self.on_error, self.option = on_error, option
        self.skipped = 0
        self.first: UserError | None = None
        self.remarks: list[str] = []
        self.columns: dict[str, str | int] = {}  # by role: those that are read

    def note(self, text: str, *values: object) -> None:
        """Add a message (or its template and values) for people."""
        text = message(text, *values) if values else text
        if text not in self.remarks:
            self.remarks.append(text)

    def skip(self, error: UserError) -> None:
        """Leave out a row (or line, or file) that cannot be used. Raises `error` where such rows are not left out."""
        if self.on_error == "stop":
            hint = error.facts.get("hint", "")
            skip = option(self.option, "skip") if self.option else None
            if skip is not None and skip not in hint:
                error.facts["hint"] = join([hint, advise("{option} ignores such rows", skip)], "\n")
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
        return (*self.remarks, message("skipped: {count:,} (the first: {error})", self.skipped, self.first.message))


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


def kind_of(path: str | Path) -> str:
    """The kind of a file by its name, below .gz and .zst; a name that says nothing is plain text."""
    suffix = inner_suffix(path)
    return "json" if suffix == ".json" else KINDS.get(suffix, "txt")


def find_files(sources: Sequence[str | Path] | str | Path) -> list[str]:
    """The files that files, folders (recursive, known suffixes, sorted), globs and "-" stand for, each once.

    In folders .json is not text: it may be anything, such as the settings of a program. Hidden files and
    folders are left out. Raises UserError for a path that does not exist, a glob that matches nothing and a folder
    without known files.
    """
    found: dict[str, None] = {}
    for source in map(str, [sources] if isinstance(sources, str | Path) else sources):
        path = Path(source)
        if source == STDIN or path.is_file() or path.is_fifo():
            found[source] = None
        elif path.is_dir():
            found |= dict.fromkeys(_files_in(path))
        elif glob.has_magic(source):
            # Path.glob takes no absolute pattern
            matches = sorted(filter(os.path.isfile, glob.iglob(source, recursive=True)))  # noqa: PTH207
            if not matches:
                raise UserError("no file matches {pattern}", source, given=message("relative to {folder}", Path.cwd()))
            found |= dict.fromkeys(matches)
        else:
            raise missing_path(path)
    if not found:
        raise UserError("no input files", allowed="files, folders, globs, or - for standard input")
    return list(found)


def _files_in(folder: Path) -> list[str]:
    found = []
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and inner_suffix(path) in KINDS and path.is_file():
            found.append(path)
    if not found:
        raise UserError(
            f"{folder} contains no text files",
            allowed=", ".join(KINDS) + ", each also with .gz or .zst",
            hint="name the files to read them regardless of their suffix",
        )
    return [str(path) for path in sorted(found)]


def missing_path(path: Path) -> UserError:
    """The error for a path that does not exist, with the neighbour that was probably meant."""
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    neighbour = suggest(path.name, names)
    return UserError("{path} does not exist", path, hint=did_you_mean(neighbour and path.parent / neighbour))


def text_bytes(files: Sequence[str | Path]) -> int | None:
    """How many bytes of text the files hold (for a progress bar), None where that cannot be told beforehand."""
    plain = [Path(file) for file in files if Path(file).is_file() and Path(file).suffix.lower() not in COMPRESSED]
    return sum(path.stat().st_size for path in plain) if len(plain) == len(files) else None


class _ChunkStream(io.RawIOBase):
    """Chunks of bytes as a stream; a BufferedReader around it gives lines."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            if (chunk := next(self._chunks, None)) is None:
                return 0
            self._rest = memoryview(chunk)
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)


def _buffered(chunks: Iterator[bytes]) -> io.BufferedReader:
    return io.BufferedReader(_ChunkStream(chunks), 1 << 20)


def _decompressed(file: Any, zstandard: Any) -> Iterator[bytes]:
    """The content of a zstd file. Raises EOFError where it is cut short, which the library's own reader does not."""
    frame = None
    while data := (frame.unused_data if frame is not None and frame.eof else b"") or file.read(1 << 17):
        if frame is None or frame.eof:
            frame = zstandard.ZstdDecompressor().decompressobj()
        try:
            chunk = frame.decompress(data)
        except zstandard.ZstdError as error:
            raise OSError(str(error)) from None
        yield chunk
    if frame is not None and not frame.eof:
        raise EOFError


class TextFile:
    """A file (or standard input) that is opened once: its first bytes to look at, then its lines.

    stream: the bytes, decompressed. Raises UserError where there is no such file.
    """

    def __init__(self, path: str | Path, stack: ExitStack) -> None:
        self.path, self.name = str(path), display_name(path)
        if self.path == STDIN:
            stream: Any = sys.stdin.buffer
            # a buffer of its own: Python, when it ends, would wait for a thread that is reading in that of sys.stdin
            self.stream = io.BufferedReader(stream.raw if isinstance(stream, io.BufferedReader) else stream)
            return
        try:
            self._file = self.stream = Path(path).open("rb")  # noqa: SIM115 - the stack closes it
            if not Path(path).is_fifo():  # to close a pipe would wait for a thread that is reading it
                stack.enter_context(self._file)
        except FileNotFoundError:
            raise missing_path(Path(path)) from None
        except OSError as error:
            raise UserError(f"{path} cannot be read", given=error.strerror) from None
        if self.path.lower().endswith(".gz"):
            self.stream = io.BufferedReader(stack.enter_context(gzip.GzipFile(fileobj=self._file)), 1 << 20)
        elif self.path.lower().endswith(".zst"):
            try:
                import zstandard
            except ImportError:
                raise missing_extra("zstandard", "zstd", f"reading {path}") from None
            self.stream = _buffered(_decompressed(self._file, zstandard))

    @property
    def head(self) -> bytes:
        """The first bytes; of standard input what is there without waiting for more."""
        try:
            return self.stream.peek(1 if self.path == STDIN else encodings.SAMPLE)[: encodings.SAMPLE]
        except (EOFError, OSError, zlib.error):
            return b""  # reading the lines says what is wrong

    def opening(self, encoding: str | None = None) -> str:
        """The first bytes as text, without white space before it; only to look at."""
        head, found = self.head, encoding and encodings.encoding_name(encoding)
        found = found or encodings.utf16(head) or ("UTF-8" if encodings.is_utf8(head) else "GB18030")
        return head.decode(encodings.with_byte_order(found, head), "replace").removeprefix("\ufeff").lstrip()

    def first_lines(self, encoding: str | None = None) -> list[str]:
        """The lines among the first bytes, without white space before them; only to look at."""
        lines = _LINE_END.split(self.opening(encoding))
        # the last one may be cut off
        return lines[:-1] if len(lines) > 1 and (not lines[-1] or len(self.head) >= 4096) else lines

    @property
    def shows_unicode(self) -> bool:
        """Whether the first bytes are UTF-16, or UTF-8 and not ASCII alone."""
        head = self.head
        return encodings.utf16(head) is not None or (not head.isascii() and encodings.is_utf8(head))

    def text(self, log: ReadLog, encoding: str | None = None) -> str:
        """The lines as a whole, of which none is left out: without it the rest is damaged."""
        strict = ReadLog(option="")
        text = "\n".join(line for _, line in self.lines(strict, encoding))
        log.remarks += strict.remarks
        return text

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
            head, stream = self.stream.peek(4096)[:4096], self.stream
            if (known := foreign.binary(head, self.path)) is not None:
                log.skip(known.error(self.name, self.path))
                return
            if encoding is None and (encoding := encodings.utf16(head)) is not None:
                log.note(_NOT_UTF8, self.name, encoding)
            if encoding not in (None, "UTF-8", "GB18030"):
                stream = _buffered(encodings.recode(stream, encodings.with_byte_order(encoding, head)))
            elif (binary := _not_text(self.name, head)) is not None:
                log.skip(binary)
                return
            raw_lines = _RawLines(stream)
            if raw_lines.end:
                log.note("{name}: its lines end in CR CR LF, which counts as one line end", self.name)
            decoder = _Decoder(self.name, raw_lines, log, encoding)
            for number, line in log.usable(enumerate(raw_lines, 1), decoder.line):
                blank = blank and not line.strip()
                yield number, line
        except (EOFError, OSError, zlib.error) as error:
            what = "is cut short" if isinstance(error, EOFError) else f"is damaged ({error})"
            log.skip(UserError(f"{self.name} {what}, after line {number:,}", hint="copy or download it again"))
            return
        if blank and log.skipped == skipped_before:
            what = "{name} holds only white space" if number else "{name} is empty"
            log.skip(UserError(what, self.name, allowed="text in UTF-8"))


def open_text(path: str | Path, log: ReadLog | None = None, encoding: str | None = None) -> Iterator[tuple[int, str]]:
    """The lines of a text file, without their line ends, with their numbers from 1.

    UTF-8 with or without a byte order mark, or `encoding`; without it, UTF-16 and GB18030 are detected and
    noted. Lines end in LF, CR LF or CR, also mixed; .gz and .zst are decompressed; "-" is standard input. What `log`
    may leave out (else it is a UserError): a file that is empty or only white space, binary data, a line that is not in
    the encoding or longer than 2**27 bytes, a damaged or truncated archive.
    """
    with ExitStack() as stack:
        yield from TextFile(path, stack).lines(log or ReadLog(), encoding)


_NOT_UTF8 = "{name} is not UTF-8: it is read as {encoding}"


class _RawLines:
    """The lines of a stream without their ends (LF, CR LF or CR, also mixed); of one that is too long the beginning.

    end: CR CR LF where all lines of the first bytes end so, as in a table that Windows converted twice.
    """

    def __init__(self, stream: io.BufferedReader) -> None:
        self.stream, self.lines, self.place = stream, list[bytes](), 0
        head = stream.peek(1)
        twice = head.count(b"\r\r\n")
        ends = head.rstrip(b"\r").count(b"\r"), head.count(b"\n")
        self.end = b"\r\r\n" if twice > 1 and ends == (2 * twice, twice) else None

    def __iter__(self) -> Iterator[bytes]:
        parts: list[bytes] = []  # of a line that does not end in the bytes read so far
        size = 0
        while chunk := self._chunk():
            # of bytes (unlike str) these are the only line ends
            self.lines = chunk.splitlines()
            unfinished = None if chunk.endswith((b"\n", b"\r")) else self.lines.pop()
            for place, line in enumerate(self.lines, 1):
                self.place = place
                if parts:
                    line, parts, size = b"".join([*parts, line])[: LONGEST + 1], [], 0
                yield line
            if unfinished is not None and size <= LONGEST:
                parts.append(unfinished)
                size += len(unfinished)
        if parts:
            self.lines = []
            yield b"".join(parts)[: LONGEST + 1]

    def _chunk(self) -> bytes:
        """The next bytes; of a line end either all or nothing."""
        chunk = self.stream.read1(CHUNK)
        while chunk.endswith(b"\r") and (more := self.stream.read(1)):
            chunk += more
        return chunk.replace(self.end, b"\n") if self.end else chunk

    def ahead(self) -> bytes:
        """The lines after the present one as far as they are in memory, each with its end."""
        following, size = [], 0
        for line in islice(self.lines, self.place, None):
            if size > encodings.SAMPLE:
                break
            following.append(line + b"\n")
            size += len(line) + 1
        return b"".join(following) or self.stream.peek(encodings.SAMPLE)[: encodings.SAMPLE]


def _not_text(name: str, head: bytes) -> UserError | None:
    """The error for a file whose first bytes show that it is not UTF-8 text."""
    if b"\0" in head and 50 * len(head.translate(None, _IN_TEXT)) > len(head):
        given = f"binary data: a NUL byte at byte {head.index(0) + 1:,}"
        return UserError("{name} is not text", name, given=given, allowed="text in UTF-8")
    return None


class _Decoder:
    """Lines of bytes to text: ASCII as long as that is all there is, then what the first other line shows.

    encoding: None until a line shows it. All but UTF-8 and GB18030 are recoded to UTF-8 as they are read.
    """

    def __init__(self, name: str, lines: _RawLines, log: ReadLog, encoding: str | None) -> None:
        self.name, self.lines, self.log, self.encoding = name, lines, log, encoding

    def line(self, number: int, raw: bytes) -> tuple[int, str]:
        """Number and text of a line. Raises UserError for one that is too long, or no text."""
        where = f"{self.name}, line {number:,}"
        if len(raw) > LONGEST:
            raise UserError(f"{where} is longer than {console.size(LONGEST)}")
        if raw.startswith(codecs.BOM_UTF8):
            raw = raw.removeprefix(codecs.BOM_UTF8)
            if number > 1:  # files were put one after another
                self.log.note("{name}, line {line:,}: a byte order mark inside the file is ignored", self.name, number)
        if self.encoding is None and not raw.isascii():
            self._detect(raw)
        try:
            line = raw.decode("gb18030" if self.encoding == "GB18030" else "utf-8")
        except UnicodeDecodeError as error:
            raise encodings.undecodable(where, raw, error, self.encoding or "UTF-8") from None
        if "\0" in line:
            raise UserError(f"{where} contains a NUL character", given=f"at position {line.index(chr(0)) + 1:,}")
        return number, line

    def _detect(self, raw: bytes) -> None:
        """Find the encoding by the first line that is not ASCII, and by the lines after it that are in memory."""
        ahead = self.lines.ahead()
        following = ahead[: ahead.rfind(b"\n") + 1] if b"\n" in ahead else ahead
        valid = encodings.is_utf8(raw + b"\n")
        # two bytes of GB18030 may be a letter of UTF-8 as well, as those of 一; what follows is none
        if valid and (max(raw.decode()) >= "\u0800" or encodings.is_utf8(following)):
            self.encoding = "UTF-8"
        elif encodings.is_gb18030(raw + b"\n" + following):
            self.encoding = "GB18030"
            self.log.note(_NOT_UTF8, self.name, self.encoding)
        elif valid:
            self.encoding = "UTF-8"
