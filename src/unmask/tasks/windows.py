"""Long texts as overlapping windows: no unit is cut, each is predicted where most of its context is seen.

`windows` says which pieces are read together. `frames` makes sequences of them, with a second text repeated in
each (the question about a long context). `per_owner` puts together what was said of the windows of a text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unmask.data.batch import SPECIAL, Row
from unmask.text.tokenizer import Encoded, Tokenizer

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Window:
    """Pieces `start` to `stop` of a text are read together; the units `first` to `last` are predicted there.

    All four count from 0, stop and last exclusive.
    """

    start: int
    stop: int
    first: int
    last: int


def windows(firsts: Ids, room: int, stride: int) -> list[Window]:
    """The windows of a text, of at most `room` pieces, about `stride` pieces from one to the next.

    firsts (units + 1,): the place of each unit's first piece, at last one past the last piece. A unit belongs
    to the window in which the nearer end of what is read is farthest from it (the ends of the text are no
    ends in this sense), of several to the first. A unit of more than `room` pieces is read without the rest.
    """
    units = len(firsts) - 1
    if not units:
        return []
    if firsts[-1] - firsts[0] <= room:
        return [Window(int(firsts[0]), int(firsts[-1]), 0, units)]
    bounds = _bounds(firsts, room, stride)
    starts, stops = (np.array(side) for side in zip(*bounds, strict=True))
    owner = np.zeros(units, dtype=np.int64)
    nearest = np.full(units, -1, dtype=np.int64)
    far = int(firsts[-1]) + 1
    for number, (begin, end) in enumerate(bounds):
        inside = np.arange(begin, end)
        left = firsts[inside] - firsts[begin] if begin else np.full(len(inside), far)
        right = firsts[end] - firsts[inside + 1] if end < units else np.full(len(inside), far)
        room_around = np.minimum(left, right)
        better = room_around > nearest[inside]
        nearest[inside[better]] = room_around[better]
        owner[inside[better]] = number
    edges = np.searchsorted(owner, np.arange(len(bounds) + 1))
    return [
        Window(int(firsts[begin]), min(int(firsts[end]), int(firsts[begin]) + room), int(first), int(last))
        for begin, end, first, last in zip(starts, stops, edges[:-1], edges[1:], strict=True)
        if first < last
    ]


def _bounds(firsts: Ids, room: int, stride: int) -> list[tuple[int, int]]:
    """The units (first, one past the last) that each window reads: as many as fit."""
    units = len(firsts) - 1
    bounds, begin = [], 0
    while True:
        end = int(np.searchsorted(firsts, firsts[begin] + room, side="right")) - 1
        end = min(units, max(end, begin + 1))
        bounds.append((begin, end))
        if end == units:  # the last one reads as far back as fits
            earliest = int(np.searchsorted(firsts, firsts[-1] - room))
            bounds[-1] = (min(begin, max(earliest, bounds[-2][0] + 1 if len(bounds) > 1 else 0)), end)
            return bounds
        onward = int(np.searchsorted(firsts, firsts[begin] + stride, side="right")) - 1
        begin = min(max(onward, begin + 1), end)


@dataclass(frozen=True)
class Share:
    """What a window answers for of spans of units: the units from `first` on are read, as many as `least` has.

    least, most (units,) int64: of the spans that begin with a unit, those which go on after it for `least` units or
    more, but fewer than `most` (0 is the unit alone).
    """

    first: int
    least: Ids
    most: Ids


def shares(firsts: Ids, found: Sequence[Window], reach: int) -> list[Share]:
    """The spans of at most `reach` units that each window answers for; `found`: the windows of the text.

    As with units (spans of one), a span belongs to the window in which its nearer end is farthest from the border,
    of several to the first. One that no window holds whole belongs to none.
    """
    units, far = len(firsts) - 1, int(firsts[-1]) + 1
    bounds = [_read(firsts, window) for window in found]
    nearest = np.full((units, reach), -1, dtype=np.int64)
    owner = np.full((units, reach), -1, dtype=np.int64)
    for number, (begin, end) in enumerate(bounds):
        inside = np.arange(begin, end)
        last = inside[:, None] + np.arange(reach)
        held = last < end
        left = firsts[inside] - firsts[begin] if begin else np.full(len(inside), far)
        right = firsts[end] - firsts[np.minimum(last, end - 1) + 1] if end < units else far
        around = np.where(held, np.minimum(left[:, None], right), -1)
        better = around > nearest[begin:end]
        nearest[begin:end][better] = around[better]
        owner[begin:end][better] = number
    result = []
    for number, (begin, end) in enumerate(bounds):
        own = (
            owner[begin:end] == number
        )  # of each unit without a gap: the longer a span, the later its window
        least = own.argmax(1)
        result.append(Share(begin, least, least + own.sum(1)))
    return result


def _read(firsts: Ids, window: Window) -> tuple[int, int]:
    """The units (first, one past the last) that are read in a window; one that is read in part is the last."""
    begin = int(np.searchsorted(firsts, window.start))
    end = int(np.searchsorted(firsts, window.stop, side="right")) - 1
    return begin, max(end, window.last)


@dataclass(frozen=True)
class Frame:
    """A window as a sequence: `ids`, `segments` (tokens,) int64 and `flags` (tokens,) uint8, as a Row has them.

    place: where the first piece of the window stands in it.
    """

    ids: Ids
    segments: Ids
    flags: npt.NDArray[np.uint8]
    window: Window
    place: int


@dataclass(frozen=True)
class Pieces:
    """The pieces of a text without specials: ids (pieces,) int64, and the first one of each word (words + 1,)."""

    ids: Ids
    firsts: Ids

    @classmethod
    def of(cls, encoded: Encoded, segment: int = 0) -> "Pieces":
        """Those of the text, or of the pair (segment 1), of an encoding that was not cut."""
        kept = [
            (number, word)
            for number, word, part, special in zip(
                encoded.ids, encoded.words, parts_of(encoded), encoded.special, strict=True
            )
            if part == segment and not special
        ]
        words = [word for _, word in kept]
        begins = [place for place, word in enumerate(words) if place == 0 or word != words[place - 1]]
        return cls(
            np.array([number for number, _ in kept], dtype=np.int64),
            np.array([*begins, len(kept)] if kept else [0], dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.ids)


def parts_of(encoded: Encoded) -> list[int]:
    """Which text each piece is of, 0 or 1, as the segments say; not all tokenizers tell texts apart by these, so that
    the second text is what stands behind the special pieces in the middle."""
    if max(encoded.segments) > 0:
        return encoded.segments
    special = np.array(encoded.special)
    runs = np.cumsum(~special & np.concatenate([[True], special[:-1]]))
    return (runs > 1).astype(int).tolist()  # type: ignore[no-any-return]


def frames(
    tokenizer: Tokenizer, moving: Pieces, beside: Pieces | None, length: int, stride: int, first: bool = True
) -> list[Frame]:
    """The sequences of at most `length` tokens in which a text is read, about `stride` pieces from one to the next.

    moving: the text that is read in windows; beside: one that is repeated in each, whole; first: whether the
    moving text stands before it. A text without pieces has no frames.
    """
    frame = tokenizer.one if beside is None else tokenizer.two
    room = length - frame.size - (0 if beside is None else len(beside))
    assert room > 0, "the text beside the windows leaves no room"
    fits = int(np.diff(moving.firsts).max(initial=0)) <= room
    units = (
        moving.firsts if fits else np.arange(len(moving) + 1)
    )  # a word is cut where it fits into no window
    result = []
    for window in windows(units, room, min(stride, room)):
        inner = moving.ids[window.start : window.stop]
        texts = [inner] if beside is None else [inner, beside.ids] if first else [beside.ids, inner]
        place = len(frame.runs[0])
        if beside is not None and not first:
            place += len(beside) + len(frame.runs[1])
        result.append(Frame(*framed(tokenizer, texts), window, place))
    return result


def framed(tokenizer: Tokenizer, texts: Sequence[Ids]) -> tuple[Ids, Ids, npt.NDArray[np.uint8]]:
    """A text or a pair with special pieces around, BERT's [CLS] text [SEP] pair [SEP], as ids, segments and flags."""
    frame = tokenizer.one if len(texts) == 1 else tokenizer.two
    parts, segments = [np.array(frame.runs[0])], [np.array(frame.run_segments[0])]
    flags = [np.full(len(frame.runs[0]), SPECIAL, dtype=np.uint8)]
    for text, segment, run, its in zip(
        texts, frame.text_segments, frame.runs[1:], frame.run_segments[1:], strict=True
    ):
        parts += [text, np.array(run)]
        segments += [np.full(len(text), segment), np.array(its)]
        flags += [np.zeros(len(text), dtype=np.uint8), np.full(len(run), SPECIAL, dtype=np.uint8)]
    return np.concatenate(parts), np.concatenate(segments), np.concatenate(flags)


def long_frames(tokenizer: Tokenizer, encoded: Encoded, length: int, stride: int) -> tuple[list[Frame], bool]:
    """The windows of a text, or of the longer one of a pair, from its encoding, which was not cut.

    The shorter text of a pair is repeated in each; where it fills more than half of the sequence it is cut, and
    whether it was is said.
    """
    first, second = Pieces.of(encoded), Pieces.of(encoded, 1) if max(parts_of(encoded)) else None
    if second is None:
        return frames(tokenizer, first, None, length, stride), False
    moving, beside = (first, second) if len(first) >= len(second) else (second, first)
    most = (length - tokenizer.two.size) // 2
    kept = Pieces(beside.ids[:most], beside.firsts)
    return frames(tokenizer, moving, kept, length, stride, first=moving is first), len(beside) > most


def per_owner(
    rows: Sequence[Row], evidence: Sequence[npt.NDArray[np.float32]]
) -> tuple[list[Row], list[npt.NDArray[np.float32]]]:
    """One row for each owner, in the order of the owners: the first, with the mean of what was said of all."""
    firsts: dict[int, Row] = {}
    parts: dict[int, list[npt.NDArray[np.float32]]] = {}
    for row, said in zip(rows, evidence, strict=True):
        firsts.setdefault(row.owner, row)
        parts.setdefault(row.owner, []).append(said)
    owners = sorted(parts)
    means = [parts[owner][0] if len(parts[owner]) == 1 else np.mean(parts[owner], axis=0) for owner in owners]
    return [firsts[owner] for owner in owners], means
