"""Windows over long texts: nothing is left out, nothing is predicted twice, context is the best there is."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from unmask.tasks.windows import windows

sizes = st.lists(st.integers(1, 7), max_size=60)


@given(sizes, st.integers(6, 30), st.data())
def test_windows_cover_every_unit_once_with_most_context(
    sizes: list[int], room: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, room))
    firsts = np.cumsum([1, *sizes])
    found = windows(firsts, room, stride)
    predicted = [unit for window in found for unit in range(window.first, window.last)]
    assert predicted == list(range(len(sizes))), "each unit in one window, in order"
    for window in found:
        assert 0 < window.stop - window.start <= room
        assert window.start in firsts and window.first < window.last
        for unit in range(window.first, window.last):
            assert window.start <= firsts[unit] < window.stop
            assert firsts[unit + 1] <= window.stop or sizes[unit] > room
    if sum(sizes) <= room:
        assert len(found) == min(1, len(sizes))


@given(st.lists(st.integers(1, 4), min_size=30, max_size=80), st.integers(8, 20))
def test_no_other_window_shows_more_around_a_unit(sizes: list[int], room: int) -> None:
    firsts = np.cumsum([1, *sizes])
    found, end = windows(firsts, room, room // 2), int(firsts[-1])

    def around(window, unit: int) -> float:
        if not window.start <= firsts[unit] < firsts[unit + 1] <= window.stop:
            return -1
        left = firsts[unit] - window.start if window.start > 1 else np.inf
        right = window.stop - firsts[unit + 1] if window.stop < end else np.inf
        return min(left, right)

    for window in found:
        for unit in range(window.first, window.last):
            assert around(window, unit) == max(around(other, unit) for other in found)


def test_a_unit_of_too_many_pieces_is_read_in_part() -> None:
    (window,) = windows(np.array([1, 31]), 10, 5)
    assert (window.start, window.stop, window.first, window.last) == (1, 11, 0, 1)
    first, second, *_ = windows(np.array([1, 31, 33]), 10, 5)
    assert (first.stop - first.start, second.first) == (10, 1)


def test_a_text_without_units_has_no_windows() -> None:
    assert windows(np.array([1]), 10, 5) == []
