"""Spans that are scored: scores and losses against formulas, nested entities, what a window answers for, errors."""

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from task_helpers import learner_of, rows_of
from unmask.config import from_mapping
from unmask.data.encoded import EncodedRow, longest_first
from unmask.data.rows.example import Example, Span, Spans
from unmask.evaluate.samples import predictions
from unmask.heads import head_class
from unmask.heads.nested import POINTER_SIZE, ROPE_THETA, span_losses, span_products
from unmask.learner.batch import pack
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.tasks.labelled_spans import LabelledSpan
from unmask.tasks.nested import MOST, Nested, NestedTask, WindowRow
from unmask.tasks.task import outputs_of
from unmask.text.tokenizer import Tokenizer

WORDS = ["river", "stone", "captain", "winter", "golden", "harbour", "can't", "unforgotten", "a"]
WORN = Tokenizer.train(
    ["river stone captain winter golden harbour can't forgotten a " * 4] * 4, vocab_size=60, allow_fewer=True
)
LABELS = ["ORG", "PERSON", "PLACE"]


def sentence(words: list[str], *spans: tuple[int, int, str], number: int = 0) -> Example:
    """Running text from words without punctuation (units), and spans of words."""
    stops = list(itertools.accumulate(len(word) + 1 for word in words))
    bounds = [(stop - 1 - len(word), stop - 1) for word, stop in zip(words, stops, strict=True)]
    made = tuple(sorted(Span(bounds[i][0], bounds[j - 1][1], label) for i, j, label in spans))
    return Example(" ".join(words), None, Spans(made), str(number), number + 1, "s.jsonl")


TRAIN = [
    sentence("captain winter of the river bank".split(), (0, 2, "PERSON"), (0, 6, "ORG"), (4, 5, "PLACE")),
    sentence("a letter".split(), number=1),
    sentence("golden harbour".split(), (0, 2, "PLACE"), (0, 2, "ORG"), (1, 2, "PLACE"), number=2),
    sentence(["winter"], (0, 1, "PERSON"), number=3),
]


def task(tokenizer: Tokenizer, train: list[Example] = TRAIN, **settings: object) -> NestedTask:
    return NestedTask.build(from_mapping(Nested, settings, "the test"), tokenizer, train)


def prepared(tokenizer: Tokenizer, make_encoder: Callable[..., Encoder], tiny: EncoderConfig, **settings: object):
    tagger = task(tokenizer, max_length=64, classifier_dropout=0.0, **settings)
    rows = rows_of(tagger, TRAIN)
    learner = learner_of(tagger, make_encoder(tiny), rows)
    with torch.no_grad():
        for parameter in learner.head.parameters():
            parameter.normal_(std=0.3)
    return tagger, learner, rows


def hidden_of(learner, row: EncodedRow) -> np.ndarray:
    """The hidden states of the units of a row, in float64."""
    with torch.no_grad():
        batch = pack([row])
        hidden = learner.encoder(batch.input_ids, batch.layout, batch.token_type_ids)
        return hidden[row.positions].double().numpy()


def score_of(learner, hidden: np.ndarray, i: int, j: int, a: int) -> float:
    """The formula of the paper for one span and type, axis by axis."""
    pointer = learner.head.pointer
    weight, bias = (x.detach().double().numpy() for x in (pointer.project.weight, pointer.project.bias))
    ends, constant = (x.detach().double().numpy() for x in (pointer.ends.weight, pointer.ends.bias))
    both = [weight @ hidden[place] + bias for place in (i, j)]

    def turned(x: np.ndarray, place: int) -> list[complex]:
        """Pairs of axes as complex numbers, turned by place / base^(2 p / d)."""
        half = POINTER_SIZE // 2
        return [
            complex(x[p], x[p + half]) * np.exp(1j * place * ROPE_THETA ** (-2 * p / POINTER_SIZE)) for p in range(half)
        ]

    query, key = turned(both[0][:POINTER_SIZE], i), turned(both[1][POINTER_SIZE:], j)
    inner = sum((q * k.conjugate()).real for q, k in zip(query, key, strict=True)) / math.sqrt(POINTER_SIZE)
    types = len(constant) // 2
    return inner + ends[a] @ both[0] + constant[a] + ends[types + a] @ both[1] + constant[types + a]


def test_scores_are_those_of_the_formula_and_packed_ones_those_of_each_alone(
    tokenizer: Tokenizer, make_encoder: Callable[..., Encoder], tiny: EncoderConfig
) -> None:
    tagger, learner, rows = prepared(tokenizer, make_encoder, tiny, max_span_length=4)
    with torch.no_grad():
        batch = pack(rows)
        packed = learner.outputs(batch)
        order = batch.owner.tolist()
        sizes = [len(rows[owner].positions) for owner in order]
        of_row = dict(zip(order, packed.split(sizes), strict=True))
        for number, row in enumerate(rows):
            alone = learner.outputs(pack([row]))
            inside = torch.arange(len(alone)).unsqueeze(1) + torch.arange(4) < len(alone)
            assert torch.allclose(of_row[number][inside], alone[inside], atol=1e-4)
            hidden = hidden_of(learner, row)
            units = len(hidden)
            assert alone.shape == (units, 4, len(tagger.labels))
            for i, step, a in itertools.product(range(units), range(4), range(3)):
                said = alone[i, step, a].item()
                if i + step < units:
                    assert said == pytest.approx(score_of(learner, hidden, i, i + step, a), abs=1e-4)


@given(st.integers(1, 40), st.integers(1, 24), st.integers(0, 2**31))
def test_products_of_neighbours(units: int, reach: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    queries, keys = (torch.randn(units, 6, generator=draw, dtype=torch.float64) for _ in range(2))
    found = span_products(queries, keys, reach)
    assert found.shape == (units, reach)
    whole = queries @ keys.T
    for i, step in itertools.product(range(units), range(reach)):
        wanted = whole[i, i + step].item() if i + step < units else 0.0
        assert found[i, step].item() == pytest.approx(wanted, abs=1e-12)


def test_the_loss_is_that_of_the_formula(
    tokenizer: Tokenizer, make_encoder: Callable[..., Encoder], tiny: EncoderConfig
) -> None:
    tagger, learner, rows = prepared(tokenizer, make_encoder, tiny)
    wanted, units_of_words = 0.0, []
    for example, row in zip(TRAIN, rows, strict=True):
        starts, stops = (row.words.offsets[:, side].tolist() for side in (0, 1))
        gold = {
            (starts.index(span.start), stops.index(span.end), tagger.labels.index(span.label)) for span in example.spans
        }
        hidden = hidden_of(learner, row)
        units_of_words.append(len(hidden))
        for a in range(3):
            inside = outside = 1.0
            for i in range(len(hidden)):
                for j in range(i, min(i + tagger.max_span_length, len(hidden))):
                    score = score_of(learner, hidden, i, j, a)
                    if (i, j, a) in gold:
                        inside += math.exp(-score)
                    else:
                        outside += math.exp(score)
            wanted += (math.log(inside) + math.log(outside)) / 3
    batch = learner.prepare(pack(rows), 0)
    assert batch.target_counts == {"nested": 4}
    part = learner(batch).terms["nested"]
    assert part.sum.item() == pytest.approx(wanted, rel=1e-5) and part.count == 4
    part.sum.backward()
    gradients = [p.grad for p in learner.parameters() if p.grad is not None]
    assert gradients and all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert all(p.grad is not None and bool(p.grad.any()) for p in learner.head.parameters())


def in_batch(rows: list[EncodedRow]) -> list[EncodedRow]:
    return [rows[number] for number in longest_first(rows)]


def test_of_a_network_that_finds_everything_the_best_is_kept(tokenizer: Tokenizer) -> None:
    tagger = task(tokenizer)
    rows = in_batch(rows_of(tagger, TRAIN))
    sizes = [len(row.targets["least"]) for row in rows]
    scores = np.random.default_rng(0).random((sum(sizes), tagger.max_span_length, 3)).astype(np.float32) + 0.1
    for one, row, part in zip(
        tagger.collect({"logits": scores}, rows), rows, np.split(scores, np.cumsum(sizes)[:-1]), strict=True
    ):
        more = np.arange(tagger.max_span_length)
        answered = (more >= row.targets["least"][:, None]) & (more < row.targets["most"][:, None])
        best = sorted(part[answered].ravel().tolist(), reverse=True)[: MOST * len(part)]
        assert sorted(one[:, 3].tolist(), reverse=True) == pytest.approx(best)
        for unit, step, a, score in one.tolist():
            assert part[int(unit), int(step), int(a)] == pytest.approx(score)


@pytest.mark.parametrize("size", [1e-3, 1.0, 50.0, 1e3])
def test_losses_of_great_scores_are_finite(tokenizer: Tokenizer, size: float) -> None:
    tagger = task(tokenizer)
    batch = pack(rows_of(tagger, TRAIN))
    torch.manual_seed(0)
    units = batch.targets["least"].numel()
    scores = (torch.randn(units, tagger.max_span_length, 3) * size).requires_grad_()
    found = span_losses(scores, batch, "nested")
    found.sum().backward()
    assert found.shape == (4, 3) and bool(found.isfinite().all()) and bool((found >= 0).all())
    assert bool(scores.grad.isfinite().all())


def test_heads_begin_where_the_loss_is_least(
    tokenizer: Tokenizer, make_encoder: Callable[..., Encoder], tiny: EncoderConfig
) -> None:
    """One score for all spans of a type, against the derivative of its loss by small steps."""
    tagger = task(tokenizer)
    rows = rows_of(tagger, TRAIN)
    head = learner_of(tagger, make_encoder(tiny), rows).head
    spans = sum(int((row.targets["most"] - row.targets["least"]).sum()) for row in rows) / len(rows)
    windows = len(rows) + 2  # add-one smoothed
    holding = {"ORG": 2 + 1, "PERSON": 2 + 1, "PLACE": 2 + 1}
    for a, label in enumerate(tagger.labels):
        share = holding[label] / windows

        def loss(score: float, share: float = share) -> float:
            return math.log1p(spans * math.exp(score)) + share * math.log1p(math.exp(-score))

        begin = head.pointer.ends.bias[a].item()
        low, high = (loss(begin + step) for step in (-0.01, 0.01))
        assert loss(begin) < low and loss(begin) < high
    assert not head.pointer.ends.bias[3:].any()


@st.composite
def nested(draw: st.DrawFn, words: int = 12) -> Example:
    """A sentence with spans that nest and overlap as they like; no two alike."""
    chosen = draw(st.lists(st.sampled_from([w for w in WORDS if "'" not in w]), min_size=1, max_size=words))
    bounds = st.tuples(st.integers(0, len(chosen) - 1), st.integers(1, len(chosen)), st.sampled_from(LABELS)).map(
        lambda one: (one[0], max(one[0] + 1, one[1]), one[2])
    )
    return sentence(chosen, *draw(st.sets(bounds, max_size=8)))


def planted(tagger: NestedTask, rows: list[EncodedRow], others: list[float]) -> list[np.ndarray]:
    """What is collected of a head that scores labelled spans 2 and all else below 0, by the targets of the rows."""
    order = longest_first(rows)
    batch = [rows[number] for number in order]
    sizes = [len(row.targets["least"]) for row in batch]
    shape = (sum(sizes), tagger.max_span_length, 3)
    scores = (-np.resize(np.array(others, dtype=np.float32), shape) - np.float32(0.1)).astype(np.float32)
    for row, window in zip(batch, np.split(scores, np.cumsum(sizes)[:-1]), strict=True):
        window.reshape(-1)[row.targets["spans"]] = 2.0
    said = dict(zip(order, tagger.collect({"logits": scores}, batch), strict=True))
    return [said[number] for number in range(len(rows))]


ALL = [sentence(["a", "a", "a"], (0, 1, "ORG"), (0, 2, "PERSON"), (0, 3, "PLACE"))]


@given(st.lists(nested(), min_size=1, max_size=4), st.lists(st.floats(0, 9), min_size=1, max_size=5))
def test_planted_spans_come_back(examples: list[Example], others: list[float]) -> None:
    tagger = task(WORN, [*examples, *ALL], max_length=192)  # so that no span is too long for a window
    rows = rows_of(tagger, examples)
    found = tagger.decode(outputs_of(examples, rows, planted(tagger, rows, others)), {})
    for example, spans in zip(examples, found, strict=True):
        assert {Span(s.start, s.end, s.label) for s in spans} == set(example.spans)
        assert len(spans) == len(example.spans)
        assert [(s.start, -s.end, s.label) for s in spans] == sorted((s.start, -s.end, s.label) for s in spans)
        assert all(s.text == example.text[s.start : s.end] for s in spans)
        assert all(s.score == pytest.approx(1 / (1 + math.exp(-2))) for s in spans)
    assert [sorted(one) for one in tagger.comparable(examples, found)] == [
        sorted(one) for one in tagger.reference(examples)
    ]


@given(nested(words=40), st.integers(8, 16), st.integers(1, 6), st.integers(1, 12))
def test_long_texts_answer_for_each_span_once(example: Example, length: int, stride: int, reach: int) -> None:
    """Of all spans that some window holds whole, each is predicted in one, where most is seen around it."""
    tagger = task(WORN, ALL, max_length=length, stride=stride, max_span_length=min(reach, length - 2))
    rows = [row for row in rows_of(tagger, [example]) if isinstance(row, WindowRow)]
    units = rows[0].words
    read = []  # for each window, the pieces before its first unit and after its last
    answered: dict[tuple[int, int], list[int]] = {}
    for number, row in enumerate(rows):
        count = len(row.positions)
        read.append((row.window.read[0], row.window.read[0] + count))
        for unit, least, most in zip(range(count), row.targets["least"], row.targets["most"], strict=True):
            for more in range(least, most):
                answered.setdefault((row.window.read[0] + unit, row.window.read[0] + unit + more), []).append(number)
    firsts = units.first_tokens

    def around(number: int, i: int, j: int) -> float:
        begin, end = read[number]
        if not begin <= i <= j < end:
            return -1
        left = firsts[i] - firsts[begin] if begin else math.inf
        right = firsts[end] - firsts[j + 1] if end < len(units) else math.inf
        return min(left, right)

    for i in range(len(units)):
        for j in range(i, min(i + tagger.max_span_length, len(units))):
            seen = [around(number, i, j) for number in range(len(rows))]
            wanted = [seen.index(max(seen))] if max(seen) >= 0 else []
            assert answered.get((i, j), []) == wanted, (i, j)
    assert all(j - i < tagger.max_span_length for i, j in answered)
    held = {
        (span.start, span.end, span.label)
        for span in example.spans
        if any((units.offsets[i, 0], units.offsets[j, 1]) == (span.start, span.end) for i, j in answered)
    }
    (found,) = tagger.decode(outputs_of([example], rows, planted(tagger, rows, [1.0])), {})
    assert {(s.start, s.end, s.label) for s in found} == held


def test_an_entity_across_the_border_of_two_windows_comes_out_whole(tokenizer: Tokenizer) -> None:
    words = ["river"] * 40
    tagger = task(tokenizer, [sentence(words, (0, 4, "PLACE"))], max_length=18)
    for start in range(37):
        example = sentence(words, (start, start + 4, "PLACE"))
        rows = rows_of(tagger, [example])
        assert len(rows) > 3 and sum(int(row.targets["nested"][0]) for row in rows) == 1


def test_spans_that_cannot_be_predicted_are_counted_and_noted(tokenizer: Tokenizer) -> None:
    words = ["river", "stone"] * 10
    long = sentence(words, (0, 3, "PLACE"), (0, 4, "PLACE"), (0, 2, "ORG"))
    (told,) = task(tokenizer, [long], max_span_length=3).encode([long])[1].remarks
    assert "1 of 3 spans not aligned: of more words than task.max_span_length" in told and "s.jsonl, line 1" in told
    wide = sentence(words, (4, 13, "PLACE"))
    tagger = task(tokenizer, [wide], max_length=14, stride=12)
    rows, notes = tagger.encode([wide])
    (told,) = notes.remarks
    assert rows and tagger.max_span_length == 9
    assert "1 of 1 spans not aligned: whole in no window" in told
    cut = dataclasses.replace(long, text="riverbank", target=Spans((Span(0, 5, "PLACE"),)))
    assert "cut through a word" in tagger.encode([cut])[1].remarks[0]


def test_what_is_learnt_comes_from_the_training_sentences(tokenizer: Tokenizer) -> None:
    tagger = task(tokenizer)
    assert (tagger.max_span_length, tagger.settings.max_span_length, tagger.settings.flat) == (6, 6, False)
    assert (tagger.labels, tagger.metric) == (LABELS, "entity_f1")
    assert head_class(tagger).public_architecture(tagger, "bert") == (None, LABELS)
    assert tagger.schema()["max_span_length"] == 6
    again = NestedTask.restore(tagger.settings, tokenizer, tagger.schema())
    assert (again.max_span_length, again.labels) == (6, LABELS)
    flat = task(tokenizer, [TRAIN[1], TRAIN[3]])
    assert (flat.max_span_length, flat.settings.flat) == (1, True)
    assert task(tokenizer, [TRAIN[3]], flat=False).settings.flat is False
    assert (
        task(tokenizer, [sentence(["a"] * 30, (0, 30, "ORG"))], max_length=16).max_span_length == 14
    )  # what a window holds
    with refused("s.jsonl", "--tag-column"):
        task(tokenizer, [TRAIN[1]])
    empty = Example(" \u200b ", None, None, "0", 1, "s")
    assert rows_of(tagger, [empty]) == [] and tagger.decode(outputs_of([empty], [], []), {}) == [[]]


def test_plain_tags_are_not_for_nested_spans(tokenizer: Tokenizer) -> None:
    tokens = ((0, 1), (2, 8))
    plain = Example("a letter", None, Spans((Span(0, 1, "D"), Span(2, 8, "N"))), "0", 1, "plain.conll", tokens=tokens)
    with refused("plain.conll", "task tag"):
        task(tokenizer, [plain])


def said_of(tagger: NestedTask, example: Example, *found: tuple[int, int, str, float]) -> list[LabelledSpan]:
    """What is decoded from scores of spans of units."""
    rows = rows_of(tagger, [dataclasses.replace(example, target=None)])
    lines = [[i, j - i, tagger.labels.index(label), score] for i, j, label, score in found]
    said = np.array(lines, dtype=np.float32).reshape(-1, 4)
    (spans,) = tagger.decode(outputs_of([example], rows, [said]), {})
    return spans


def test_flat_keeps_the_most_probable_of_spans_that_overlap(tokenizer: Tokenizer) -> None:
    example = TRAIN[0]  # captain winter of the river bank
    said = [
        (0, 5, "ORG", 1.0),
        (0, 1, "PERSON", 2.0),
        (4, 4, "PLACE", 0.5),
        (1, 3, "ORG", 1.5),
        (5, 5, "PLACE", 3.0),
    ]
    nested, flat = task(tokenizer, flat=False), task(tokenizer, flat=True)
    assert [span.text for span in said_of(nested, example, *said)] == [
        "captain winter of the river bank", "captain winter", "winter of the", "river", "bank",
    ]  # fmt: skip
    kept = said_of(flat, example, *said)
    assert [span.text for span in kept] == ["captain winter", "river", "bank"]


@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.integers(0, 8), st.sampled_from(LABELS), st.integers(1, 4)),
        max_size=12,
    )
)
def test_flat_is_greedy(drawn: list[tuple[int, int, str, int]]) -> None:
    """Against going through all spans by score."""
    found = {(min(a, b), max(a, b), label): float(score) for a, b, label, score in drawn}
    example = sentence(["a"] * 9)
    tagger = task(WORN, [sentence(["a"] * 9, (0, 9, "ORG"), (0, 1, "PERSON"), (0, 1, "PLACE"))], flat=True)
    kept: list[tuple[int, int, str]] = []
    for (i, j, label), _ in sorted(found.items(), key=lambda one: (-one[1], one[0][0], -one[0][1], one[0][2])):
        if all(j < a or b < i for a, b, _ in kept):
            kept.append((i, j, label))
    spans = said_of(tagger, example, *((*key, score) for key, score in found.items()))
    assert [(span.start // 2, (span.end - 1) // 2, span.label) for span in spans] == sorted(kept)


def test_no_span_cuts_through_a_given_token(tokenizer: Tokenizer) -> None:
    tokens = ((0, 11), (12, 16))
    example = Example("river-stone wind", None, Spans(()), "0", 1, "s.conll", tokens=tokens)
    tagger = task(tokenizer)
    bounds = list(itertools.combinations_with_replacement(range(4), 2))
    spans = said_of(tagger, example, *((i, j, "ORG", 1.0) for i, j in bounds))
    assert [span.text for span in spans] == ["river-stone wind", "river-stone", "wind"]


def test_nested_entities_are_compared_and_sampled(tokenizer: Tokenizer) -> None:
    tagger = task(tokenizer)
    spans = said_of(tagger, TRAIN[0], (0, 1, "PERSON", 1.0), (0, 5, "ORG", 1.0), (4, 4, "ORG", 1.0))
    assert tagger.reference(TRAIN[:1]) == [[[0, 14, "PERSON"], [0, 32, "ORG"], [22, 27, "PLACE"]]]
    assert tagger.comparable(TRAIN[:1], [spans]) == [[[0, 32, "ORG"], [0, 14, "PERSON"], [22, 27, "ORG"]]]
    (sample,) = predictions(tagger, TRAIN[:1], [spans])
    assert len(sample["spans"]) == len(sample["predicted"]) == 3
