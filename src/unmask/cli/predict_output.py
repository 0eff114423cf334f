"""Where `unmask predict` writes: standard output, or a file whose writing a killed command takes up again.

FILE.part holds the rows that were written so far, FILE.part.json how many there are and what they depend on. Both are
gone when FILE is whole.
"""

import csv
import fcntl
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from unmask import console, files
from unmask.advice import advise, flag
from unmask.errors import UserError
from unmask.messages import message

if TYPE_CHECKING:
    from unmask.data.rows.example import Example
    from unmask.runtime.formats import Format

SAVE_EVERY = 1.0  # seconds of work that a kill may cost, beside the block under way
FORMAT = 1  # of FILE.part.json
AGAIN = "{option} begins again"

Encode = Callable[[Sequence["Example"], Sequence[Any], bool], bytes]
"""Examples, their predictions, and whether they are the first ones -> what to write."""


@dataclass(frozen=True)
class State:
    """What FILE.part.json holds. conditions: what the rows depend on; size: of FILE.part in bytes, up to which it holds
    `rows` rows; truncated: how many of their texts were truncated."""

    conditions: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 0
    size: int = 0
    truncated: int = 0


class Output:
    """A stream that blocks of rows are written to. state: what is written so far."""

    def __init__(self, stream: IO[bytes], name: str, state: State | None = None) -> None:
        self.stream, self.name, self.state = stream, name, state or State()

    def write(self, data: bytes, rows: int, truncated: int) -> None:
        """Write a block. Raises UserError where the disk is full."""
        try:
            self.stream.write(data)
            self.stream.flush()
        except OSError as error:
            raise self._error(error) from error
        old = self.state  # replaced at once: an interrupt between two of the three would leave numbers that differ
        self.state = State(old.conditions, old.rows + rows, old.size + len(data), old.truncated + truncated)

    def _error(self, error: OSError) -> Exception:
        if error.errno not in (ENOSPC, EDQUOT):
            return files.disk_error(error, self.name)
        return UserError(
            "the disk is full: {path} could not be written",
            self.name,
            given=message("{rows:,} rows are written", self.state.rows),
            hint="free some space and run the same command again",
        )


class PartOutput(Output):
    """FILE.part, with its state beside it, which names `saved_rows` rows."""

    def __init__(self, stream: IO[bytes], target: Path, state: State) -> None:
        super().__init__(stream, str(target), state)
        self.target, self.saved, self.saved_rows = target, time.monotonic(), state.rows

    def write(self, data: bytes, rows: int, truncated: int) -> None:
        super().write(data, rows, truncated)
        if time.monotonic() - self.saved >= SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Write the state, atomically, when the rows are on the disk."""
        os.fsync(self.stream.fileno())
        files.write_json(state_path(self.target), {"format": FORMAT, **asdict(self.state)})
        self.saved, self.saved_rows = time.monotonic(), self.state.rows


class _StandardOutput(io.RawIOBase):
    """Standard output as a stream of bytes, also where a program put something else in its place."""

    def write(self, data: Any) -> int:
        sys.stdout.write(bytes(data).decode())
        return len(data)

    def flush(self) -> None:
        try:
            sys.stdout.flush()
        except OSError as error:
            if error.errno in (ENOSPC, EDQUOT):  # else Python would try again when it ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise


def part_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def state_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.part.json")


def read_state(target: Path) -> State | None:
    """How far an interrupted command came that wrote this file; None where there is none. Raises UserError where
    FILE.part is not ours."""
    part, path = part_path(target), state_path(target)
    if not part.exists() or (not path.exists() and part.stat().st_size == 0):
        return None
    if not path.exists():
        raise UserError("{path} already exists", part, hint="choose another name, or remove that file")
    kinds = {name: type(value) for name, value in asdict(State()).items()}
    try:
        values = files.read_object(path)
    except UserError:  # damaged: neither is it ours
        values = {}
    known = values.pop("format", None) == FORMAT and kinds == {name: type(value) for name, value in values.items()}
    if not known or part.stat().st_size < values["size"]:
        given = message("{part} does not belong to it", part)
        raise UserError("{path} cannot be continued", path, given=given, hint=advise(AGAIN, flag("restart")))
    return State(**values) if values["rows"] else None


def check_conditions(target: Path, state: State, conditions: Mapping[str, Any]) -> None:
    """Raises UserError where rows that are written depend on other things than those now given."""
    other = [name for name, value in conditions.items() if state.conditions.get(name) != value]
    if other:
        raise UserError(
            "{path} was begun with other settings",
            part_path(target),
            given=[f"{name}: {_short(conditions[name])}" for name in other],
            allowed=[f"{name}: {_short(state.conditions.get(name))}" for name in other],
            hint=[
                message("{rows:,} rows are written: the same command as then continues after them", state.rows),
                advise(AGAIN, flag("restart")),
            ],
        )


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


@contextmanager
def open_part(target: Path, state: State, finish: Callable[[IO[bytes], int], None]) -> Iterator[PartOutput]:
    """FILE.part to go on with; it gets the name FILE when all is written. finish: what to do with it before that, with
    the number of its rows. Raises UserError where another process writes it, or the disk is full."""
    part, path = part_path(target), state_path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        stream = part.open("r+b" if part.exists() else "w+b")
    except OSError as error:
        raise files.disk_error(error, part) from error
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise UserError("{path} is in use by another process", part, hint="wait for it to end") from None
    output = PartOutput(stream, target, state)
    try:
        output.save()
        stream.truncate(state.size)
        stream.seek(state.size)
        yield output
        finish(stream, output.state.rows)
        stream.flush()
        os.fsync(stream.fileno())
        part.replace(target)
        files.remove(path)
    except BaseException:
        with suppress(OSError, UserError):
            os.ftruncate(stream.fileno(), output.state.size)  # a part of a block, on a full disk, would be in the way
            output.save()
        if rows := output.saved_rows:
            console.note("{rows:,} rows are in {path}: the same command continues after them", rows, part)
        else:
            with suppress(OSError):
                files.remove(part)
                files.remove(path)
        raise
    finally:
        with suppress(OSError):  # of a full disk, that which could not be written
            stream.close()


@contextmanager
def open_whole(target: Path | None, finish: Callable[[IO[bytes], int], None]) -> Iterator[Output]:
    """Standard output (None), a device or a pipe, or a file that is in place only when it is whole."""
    if target is None:
        yield Output(_StandardOutput(), message("standard output"))  # type: ignore[arg-type]
    elif is_special(target):
        stream = target.open("wb")
        try:
            yield Output(stream, str(target))
        finally:
            with suppress(OSError):  # of a full disk, that which could not be written
                stream.close()
    else:
        with files.atomic(target) as temporary, temporary.open("w+b") as file:
            output = Output(file, str(target))
            yield output
            finish(file, output.state.rows)


def is_special(target: Path) -> bool:
    """Whether this is the name of a device or a pipe."""
    return target.exists() and not target.is_file()


def line_encoder(written: "Format", shape: str, every: bool) -> Encode:
    """JSON lines, rows of csv, or sentences of CoNLL."""
    to_json = json.JSONEncoder(ensure_ascii=False).encode

    def encode(examples: Sequence["Example"], predictions: Sequence[Any], first: bool) -> bytes:
        pairs = zip(examples, predictions, strict=True)
        if shape == "jsonl":
            return "".join([to_json(written.to_record(*pair, every)) + "\n" for pair in pairs]).encode()
        if shape == "conll":
            return "".join([written.to_conll(*pair) for pair in pairs]).encode()
        target = io.StringIO()
        table = csv.writer(target, lineterminator="\n")
        if first:
            table.writerow(written.columns(every))
        for pair in pairs:
            table.writerows(written.to_rows(*pair, every))
        return target.getvalue().encode()

    return encode


def encode_vectors(examples: Sequence["Example"], predictions: Sequence[Any], first: bool) -> bytes:
    """Vectors as rows of an array (rows, width) float32, or (rows, 2, width) of pairs, in NumPy's format."""
    import numpy as np

    vectors = np.stack(predictions).astype(np.float32)
    header = io.BytesIO()
    if first:
        _write_header(header, (0, *vectors.shape[1:]))
    return header.getvalue() + vectors.tobytes()


def finish_array(stream: IO[bytes], rows: int) -> None:
    """Put the number of rows into the header of such an array."""
    from numpy.lib import format as npy

    stream.seek(0)
    npy.read_magic(stream)
    shape, _, _ = npy.read_array_header_1_0(stream)
    end = stream.tell()
    stream.seek(0)
    _write_header(stream, (rows, *shape[1:]))
    assert stream.tell() == end, "NumPy leaves room in the header for any number of rows"


def _write_header(stream: IO[bytes], shape: tuple[int, ...]) -> None:
    from numpy.lib import format as npy

    npy.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
