"""Windows over long texts: nothing is left out, nothing is predicted twice, context is the best there is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.data.encoded import SPECIAL_TOKEN, EncodedRow
from unmask.data.rows.example import Example
from unmask.tasks.task import outputs_of
from unmask.tasks.text import mean_of_windows
from unmask.tasks.windows import TextTokens, long_text_inputs, windows
from unmask.text.tokenizer import Tokenizer

sizes = st.lists(st.integers(1, 7), max_size=60)


@given(sizes, st.integers(6, 30), st.data())
def test_windows_cover_every_unit_once_with_most_context(sizes: list[int], room: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, room))
    firsts = np.cumsum([1, *sizes])
    found = windows(firsts, room, stride)
    predicted = [unit for window in found for unit in range(window.first_word, window.last_word)]
    assert predicted == list(range(len(sizes))), "each unit in one window, in order"
    for window in found:
        assert 0 < window.end - window.start <= room
        assert window.start in firsts and window.first_word < window.last_word
        for unit in range(window.first_word, window.last_word):
            assert window.start <= firsts[unit] < window.end
            assert firsts[unit + 1] <= window.end or sizes[unit] > room
    if sum(sizes) <= room:
        assert len(found) == min(1, len(sizes))


@given(st.lists(st.integers(1, 4), min_size=30, max_size=80), st.integers(8, 20))
def test_no_other_window_shows_more_around_a_unit(sizes: list[int], room: int) -> None:
    firsts = np.cumsum([1, *sizes])
    found, end = windows(firsts, room, room // 2), int(firsts[-1])

    def around(window, unit: int) -> float:
        if not window.start <= firsts[unit] < firsts[unit + 1] <= window.end:
            return -1
        left = firsts[unit] - window.start if window.start > 1 else np.inf
        right = window.end - firsts[unit + 1] if window.end < end else np.inf
        return min(left, right)

    for window in found:
        for unit in range(window.first_word, window.last_word):
            assert around(window, unit) == max(around(other, unit) for other in found)


def test_a_unit_of_too_many_pieces_is_read_in_part() -> None:
    (window,) = windows(np.array([1, 31]), 10, 5)
    assert (window.start, window.end, window.first_word, window.last_word) == (1, 11, 0, 1)
    first, second, *_ = windows(np.array([1, 31, 33]), 10, 5)
    assert (first.end - first.start, second.first_word) == (10, 1)


def test_a_text_without_units_has_no_windows() -> None:
    assert windows(np.array([1]), 10, 5) == []


# sequences made of windows

LEXICON = "river stone bridge lantern 漢字 naïve 42 x-y".split()
texts = st.lists(st.sampled_from(LEXICON), min_size=1, max_size=40).map(" ".join)


@given(texts, st.one_of(st.none(), texts), st.integers(8, 24), st.integers(1, 12))
def test_every_piece_of_the_longer_text_is_read_beside_the_other(
    tokenizer: Tokenizer, text: str, pair: str | None, length: int, stride: int
) -> None:
    encoded = tokenizer.encode(text, pair)
    found, cut = long_text_inputs(tokenizer, encoded, length, stride)
    first, second = TextTokens.from_encoding(encoded), TextTokens.from_encoding(encoded, pair=True)
    moves = 0 if pair is None or len(first) >= len(second) else 1
    moving, beside = ((first, second), (second, first))[moves]
    assert cut == (pair is not None and len(beside) > (length - 3) // 2)
    read: set[int] = set()
    for frame in found:
        count = frame.window.end - frame.window.start
        input_ids, token_type_ids, flags = frame.parts
        assert len(input_ids) == len(token_type_ids) == len(flags) <= length
        inner = moving.input_ids[frame.window.start : frame.window.end].tolist()
        assert input_ids[frame.text_start : frame.text_start + count].tolist() == inner
        assert (token_type_ids[frame.text_start : frame.text_start + count] == moves).all()
        kept = beside.input_ids[: (length - 3) // 2].tolist()
        others = input_ids[flags == 0].tolist()
        assert others == (inner + kept if moves == 0 else kept + inner)
        read |= set(range(frame.window.start, frame.window.end))
    assert read == set(range(len(moving)))
    if len(encoded.input_ids) <= length and not cut:
        (frame,) = found
        input_ids, token_type_ids, flags = frame.parts
        assert input_ids.tolist() == encoded.input_ids and token_type_ids.tolist() == encoded.token_type_ids
        assert (flags == SPECIAL_TOKEN).tolist() == encoded.special_tokens_mask


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(0, 99))
def test_owners_get_the_mean_of_their_rows(owners: list[int], seed: int) -> None:
    draw = np.random.default_rng(seed)
    none = np.zeros(0, dtype=np.int64)
    rows = [EncodedRow(none, none, none.astype(np.uint8), n, owner=owner) for n, owner in enumerate(owners)]
    evidence = [draw.normal(size=3).astype(np.float32) for _ in rows]
    examples = [Example("river", None, None, str(n), n, "rows.csv") for n in range(5)]
    for owner, text in enumerate(outputs_of(examples, rows, evidence)):
        own = [number for number, other in enumerate(owners) if other == owner]
        assert text.example is examples[owner] and text.rows == [rows[number] for number in own]
        if own:
            mean = sum(evidence[number] for number in own) / len(own)
            assert mean_of_windows(text.values) == pytest.approx(mean, abs=1e-6)
