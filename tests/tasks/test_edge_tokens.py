"""Given tokens that the tokenizer drops, at the ends of spans: predicted as the training data has them."""

import json
from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.config import from_mapping
from unmask.data.rows.example import Example, Span, Spans
from unmask.data.rows.tagged import join_tokens
from unmask.tasks import restore
from unmask.tasks.alignment import EdgeTokens
from unmask.tasks.labelled_spans import tags_of
from unmask.tasks.nested import Nested, NestedTask
from unmask.tasks.tag import Tag, TagTask
from unmask.tasks.task import Outputs
from unmask.text.tokenizer import Tokenizer

DROPPED = ["\u200b", "\ufe0f", "\xad", "\u200d"]  # zero-width space, variation selector, soft hyphen, joiner
TASKS = pytest.mark.parametrize("kind", [TagTask, NestedTask])
Chunk = tuple[int, int]


def sentence(tokens: str, *chunks: Chunk, number: int = 1) -> Example:
    """Tokens between blanks, of which "_" is one that the tokenizer drops, and spans of them."""
    words = [DROPPED[place % 4] if word == "_" else word for place, word in enumerate(tokens.split())]
    text, bounds = join_tokens(words)
    spans = Spans(Span(bounds[i][0], bounds[j - 1][1], "LOC") for i, j in chunks)
    return Example(text, None, spans, str(number), number, "s.conll", tokens=tuple(bounds))


def build(kind: type[Any], tokenizer: Tokenizer, train: Sequence[Example]) -> Any:
    return kind.build(from_mapping({TagTask: Tag, NestedTask: Nested}[kind], {}, "test"), tokenizer, train)


def perfect(task: Any, example: Example) -> list[Chunk]:
    """What a task predicts, as tokens, where the network gives what it was taught."""
    (row,), _ = task.encode([example])
    if isinstance(task, TagTask):
        values = np.full((len(row.positions), len(task.tags)), -9.0)
        values[np.arange(len(values)), row.targets["tag"][row.positions]] = 9.0
    else:
        size = task.max_span_length * len(task.labels)
        cells = [(place // size, place % size // len(task.labels), 0, 5) for place in row.targets["spans"].tolist()]
        values = np.array(cells, dtype=float).reshape(-1, 4)
    (spans,) = task.decode([Outputs(example.without_targets, [row], [values.astype(np.float32)])], {})
    assert all(span.text == example.text[span.start : span.end] for span in spans)
    starts, ends = zip(*(example.tokens or ()), strict=True)
    return [(starts.index(span.start), ends.index(span.end) + 1) for span in spans]


INSIDE = [("we visited _ Lyon today", (2, 4)), ("Lyon _ _ is big", (0, 3)), ("_ _ Lyon _", (0, 4)), ("a _ B", (1, 3))]
OUTSIDE = [("we visited _ Lyon today", (3, 4)), ("Lyon _ _ is big", (0, 1)), ("_ _ Lyon _", (2, 3)), ("a _ B", (2, 3))]


@TASKS
@pytest.mark.parametrize("rows", [INSIDE, OUTSIDE, INSIDE[:1], INSIDE[1:2], OUTSIDE[:1], OUTSIDE[1:2]])
def test_spans_are_predicted_as_the_training_data_has_them(
    tokenizer: Tokenizer, kind: type[Any], rows: list[tuple[str, Chunk]]
) -> None:
    train = [sentence(tokens, chunk) for tokens, chunk in rows]
    task = build(kind, tokenizer, train)
    assert [perfect(task, example) for example in train] == [[chunk] for _, chunk in rows]
    assert task.encode(train)[1].remarks == ()
    again = restore(json.loads(json.dumps(task.schema())), tokenizer)
    assert again.edge_tokens == task.edge_tokens


@TASKS
@pytest.mark.parametrize(
    ("chunks", "edges"),
    [
        ([(0, 2), (2, 3)], EdgeTokens(before=True, after=True)),
        ([(0, 1), (1, 3)], EdgeTokens(before=True, after=False)),
        ([(0, 1), (2, 3)], EdgeTokens(before=False, after=False)),
    ],
)
def test_between_two_spans(tokenizer: Tokenizer, kind: type[Any], chunks: list[Chunk], edges: EdgeTokens) -> None:
    train = [sentence("Lyon _ Paris", *chunks), sentence("we live")]
    task = build(kind, tokenizer, train)
    assert perfect(task, train[0]) == chunks and task.edge_tokens == edges


@TASKS
def test_where_nothing_tells_they_belong_to_spans_and_to_the_first_of_two(tokenizer: Tokenizer, kind: Any) -> None:
    task = build(kind, tokenizer, [sentence("we visited Lyon", (2, 3))])
    assert task.edge_tokens == EdgeTokens() and "edge_tokens" not in task.schema()
    assert perfect(task, sentence("visited _ Lyon _ Paris _ today", (2, 3), (4, 5))) == [(1, 4), (4, 6)]
    assert perfect(task, sentence("_ _ Lyon", (2, 3))) == [(0, 3)]
    assert perfect(task, sentence("_ visited Lyon", (2, 3))) == [(2, 3)]


@TASKS
def test_spans_that_cannot_be_predicted_as_they_are_are_counted(tokenizer: Tokenizer, kind: type[Any]) -> None:
    rows = [sentence("in _ Lyon", (1, 3)), sentence("in _ Lyon", (1, 3)), sentence("in _ Lyon", (2, 3), number=3)]
    task = build(kind, tokenizer, rows)
    (remark,) = task.encode(rows)[1].remarks
    assert remark.startswith("1 of 3 ") and "s.conll, line 3" in remark
    lost = [*rows, sentence("in _", (1, 2), number=4)]
    assert len(task.encode(lost)[1].remarks) == 2, "one that holds nothing else is never learnt"


def test_nested_spans_end_together(tokenizer: Tokenizer) -> None:
    train = [sentence("the _ Lyon _ river", (1, 5), (1, 4)), sentence("Lyon _ Paris", (0, 3), (0, 2), (2, 3))]
    task = build(NestedTask, tokenizer, train)
    assert [perfect(task, example) for example in train] == [[(1, 5), (1, 4)], [(0, 3), (0, 2), (2, 3)]]


def test_a_dropped_token_of_plain_tags_has_none(tokenizer: Tokenizer) -> None:
    """Parts of speech: its neighbours keep their bounds, so that their tags are where their tokens are."""
    train = [sentence("we _ live", (0, 1), (1, 2), (2, 3))]
    task = build(TagTask, tokenizer, train)
    assert task.tags_every_token and perfect(task, train[0]) == [(0, 1), (2, 3)]
    predicted = [Span(*train[0].tokens[n], "LOC") for n in (0, 2)]  # type: ignore[index]
    assert tags_of(task, train[0].tokens or (), predicted) == ["LOC", "O", "LOC"]


def test_running_text_is_as_before(tokenizer: Tokenizer) -> None:
    text = "visited \u200b Lyon\u200b now"
    row = Example(text, None, Spans([Span(10, 15, "LOC")]), tokens=None)
    task = build(TagTask, tokenizer, [row])
    assert task.encode([row])[1].remarks == ()
    narrow = Example(text, None, Spans([Span(10, 14, "LOC")]), tokens=None)
    assert task.encode([narrow])[1].remarks[0].startswith("1 of 1 ")


def test_a_token_that_a_piece_of_the_one_before_reaches_into_is_not_dropped(tokenizer: Tokenizer) -> None:
    """It has no word of its own, but the tokenizer reads its characters."""
    text = "riverstone"
    start, stop = next((a, b) for a, b in tokenizer.encode(text).offsets if b - a > 1)
    tokens = tuple(pair for pair in ((0, start), (start, stop - 1), (stop - 1, stop), (stop, 10)) if pair[0] < pair[1])
    at = tokens.index((stop - 1, stop))
    row = Example(text, None, Spans([Span(*tokens[at - 1], "X")]), tokens=tokens)
    assert perfect(build(TagTask, tokenizer, [row]), row) == [(at - 1, at)]


@given(st.lists(st.sampled_from(["_", "river", "stone"]), min_size=1, max_size=9), st.data())
def test_any_side_that_all_spans_agree_on_comes_back(
    tokenizer: Tokenizer, words: list[str], data: st.DataObject
) -> None:
    """Spans whose ends follow one rule, by brute force over the tokens."""
    before, after = data.draw(st.sampled_from(list(product([True, False], repeat=2))))
    solid = [place for place, word in enumerate(words) if word != "_"]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(solid)), max_size=6)))
    cores = [(solid[i], solid[j - 1] + 1) for i, j in pairwise(cuts)][:: data.draw(st.integers(1, 2))]
    chunks: list[Chunk] = []
    for start, stop in cores:
        while before and start and words[start - 1] == "_" and not (chunks and chunks[-1][1] == start):
            start -= 1
        while after and stop < len(words) and words[stop] == "_":
            stop += 1
        chunks.append((start, stop))
    example = sentence(" ".join(words), *chunks)
    if chunks:
        settings = from_mapping(Tag, {}, "test")
        task = TagTask(settings, tokenizer, ["LOC"], False, EdgeTokens(before, after))
        assert perfect(task, example) == chunks
        task = TagTask.build(settings, tokenizer, [example])
        if not task.tags_every_token:
            assert perfect(task, example) == chunks
