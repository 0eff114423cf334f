"""Long texts as overlapping windows: no unit is cut, each is predicted where most of its context is seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Window:
    """Pieces `start` to `stop` of a text are read together; the units `first` to `last` are predicted there.

    All four count from 0, stop and last exclusive.
    """

    start: int
    stop: int
    first: int
    last: int


def windows(firsts: Numbers, room: int, stride: int) -> list[Window]:
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


def _bounds(firsts: Numbers, room: int, stride: int) -> list[tuple[int, int]]:
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
    least: Numbers
    most: Numbers


def shares(firsts: Numbers, found: Sequence[Window], reach: int) -> list[Share]:
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


def _read(firsts: Numbers, window: Window) -> tuple[int, int]:
    """The units (first, one past the last) that are read in a window; one that is read in part is the last."""
    begin = int(np.searchsorted(firsts, window.start))
    end = int(np.searchsorted(firsts, window.stop, side="right")) - 1
    return begin, max(end, window.last)
