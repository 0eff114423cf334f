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

from unmask.config import from_mapping
from unmask.data.batch import EncodedRow, pack
from unmask.data.rows.tables import Example, Span
from unmask.errors import UserError
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.tasks import Tag
from unmask.tasks.spanhead import (
    FORBIDDEN,
    MAX_CELLS,
    POINTER_SIZE,
    ROPE_THETA,
    SpanHead,
    SpanRow,
    span_losses,
    span_products,
)
from unmask.tasks.spantag import NestedTask
from unmask.tasks.tag import LabelledSpan
from unmask.tasks.taghead import targets_per_sequence
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
    return Example(str(number), " ".join(words), None, None, number + 1, "s.jsonl", spans=made)


TRAIN = [
    sentence("captain winter of the river bank".split(), (0, 2, "PERSON"), (0, 6, "ORG"), (4, 5, "PLACE")),
    sentence("a letter".split(), number=1),
    sentence("golden harbour".split(), (0, 2, "PLACE"), (0, 2, "ORG"), (1, 2, "PLACE"), number=2),
    sentence(["winter"], (0, 1, "PERSON"), number=3),
]


def task(tokenizer: Tokenizer, train: list[Example] = TRAIN, **settings: object) -> NestedTask:
    asked = from_mapping(Tag, {"decoder": "spans", **settings}, "the test")
    made = asked.task.build(asked, tokenizer, train)
    assert isinstance(made, NestedTask)
    return made


def prepared(tokenizer: Tokenizer, make_encoder: Callable[..., Encoder], tiny: EncoderConfig, **settings: object):
    tagger = task(tokenizer, max_length=64, classifier_dropout=0.0, **settings)
    rows = tagger.encode(TRAIN)
    learner = tagger.learner(make_encoder(tiny), TRAIN, rows)
    with torch.no_grad():
        for parameter in learner.head.parameters():
            parameter.normal_(std=0.3)
    return tagger, learner, rows


def hidden_of(learner, row: EncodedRow) -> np.ndarray:
    """The hidden states of the units of a row, in float64."""
    with torch.no_grad():
        batch = pack([row])
        hidden = learner.encoder(batch.input_ids, batch.layout, batch.token_type_ids)
        return hidden[row.scored.nonzero()[0]].double().numpy()


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
        sizes = [int(rows[owner].scored.sum()) for owner in order]
        of_row = dict(zip(order, packed.split(sizes), strict=True))
        for number, row in enumerate(rows):
            alone = learner.outputs(pack([row]))
            assert torch.allclose(of_row[number], alone, atol=1e-4)
            hidden = hidden_of(learner, row)
            units = len(hidden)
            assert alone.shape == (units, 4, len(tagger.labels))
            for i, step, a in itertools.product(range(units), range(4), range(3)):
                said = alone[i, step, a].item()
                if i + step < units:
                    assert said == pytest.approx(score_of(learner, hidden, i, i + step, a), abs=1e-4)
                else:
                    assert said == FORBIDDEN


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
    assert batch.target_counts == {"tag": 4}
    part = learner(batch).terms["tag"]
    assert part.sum.item() == pytest.approx(wanted, rel=1e-5) and part.count == 4
    with torch.no_grad():
        evidence = tagger.logits(learner.outputs(pack(rows)), pack(rows))
    assert sum(float(said[0, 0]) for said in evidence) == pytest.approx(wanted, rel=1e-5)
    part.sum.backward()
    gradients = [p.grad for p in learner.parameters() if p.grad is not None]
    assert gradients and all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert all(p.grad is not None and bool(p.grad.any()) for p in learner.head.parameters())


def test_of_a_network_that_finds_everything_the_best_is_kept(tokenizer: Tokenizer) -> None:
    tagger = task(tokenizer)
    batch = pack(tagger.encode(TRAIN))
    torch.manual_seed(0)
    scores = torch.rand(sum(sizes_of(batch)), tagger.max_span_length, 3) + 0.1
    said = tagger.logits(scores, batch)
    for one, part in zip(said, scores.split(sizes_of(batch)), strict=True):
        best = sorted(part.flatten().tolist(), reverse=True)[: MAX_CELLS * len(part)]
        assert len(one) == 1 + len(best)
        assert sorted(one[1:, 3].tolist(), reverse=True) == pytest.approx(best)
        for unit, step, a, score in one[1:].tolist():
            assert part[int(unit), int(step), int(a)].item() == pytest.approx(score)


@pytest.mark.parametrize("size", [1e-3, 1.0, 50.0, 1e3])
def test_losses_of_great_scores_are_finite(tokenizer: Tokenizer, size: float) -> None:
    tagger = task(tokenizer)
    batch = pack(tagger.encode(TRAIN))
    torch.manual_seed(0)
    units = batch.targets["least"].numel()
    scores = (torch.randn(units, tagger.max_span_length, 3) * size).requires_grad_()
    found = span_losses(scores, batch)
    found.sum().backward()
    assert found.shape == (4, 3) and bool(found.isfinite().all()) and bool((found >= 0).all())
    assert bool(scores.grad.isfinite().all())


def test_heads_begin_where_the_loss_is_least(
    tokenizer: Tokenizer, make_encoder: Callable[..., Encoder], tiny: EncoderConfig
) -> None:
    """One score for all spans of a type, against the derivative of its loss by small steps."""
    tagger = task(tokenizer)
    rows = tagger.encode(TRAIN)
    head = tagger.learner(make_encoder(tiny), TRAIN, rows).head
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


HEAD = EncoderConfig(
    vocab_size=WORN.vocab_size,
    num_hidden_layers=1,
    hidden_size=8,
    num_attention_heads=1,
    max_position_embeddings=64,
)


def planted(tagger: NestedTask, rows: list[EncodedRow], others: list[float]) -> tuple[SpanHead, list[np.ndarray]]:
    """What is said by a head that scores labelled spans 2 and all else below 0, by the targets of the rows alone."""
    batch = pack(rows)
    shape = (sum(sizes_of(batch)), tagger.max_span_length, 3)
    drawn = torch.tensor(others).repeat(math.prod(shape))[: math.prod(shape)]
    scores = (-drawn - 0.1).view(shape)
    spans = batch.targets["spans"].split(batch.targets["tag"].tolist())
    for window, codes in zip(scores.split(sizes_of(batch)), spans, strict=True):
        window.flatten()[codes] = 2.0
    order = sorted(range(len(rows)), key=lambda number: -len(rows[number].input_ids))  # as they are packed
    said = dict(zip(order, tagger.logits(scores, batch), strict=True))
    return tagger.head(HEAD), [said[number] for number in range(len(rows))]


def sizes_of(batch) -> list[int]:
    return targets_per_sequence(batch).tolist()


ALL = [sentence(["a", "a", "a"], (0, 1, "ORG"), (0, 2, "PERSON"), (0, 3, "PLACE"))]


@given(st.lists(nested(), min_size=1, max_size=4), st.lists(st.floats(0, 9), min_size=1, max_size=5))
def test_planted_spans_come_back(examples: list[Example], others: list[float]) -> None:
    tagger = task(WORN, [*examples, *ALL], max_length=64)
    rows = tagger.encode(examples)
    head, evidence = planted(tagger, rows, others)
    found = tagger.decode(head, examples, rows, evidence)
    for example, spans in zip(examples, found, strict=True):
        assert {Span(s.start, s.end, s.label) for s in spans} == set(example.spans)
        assert len(spans) == len(example.spans)
        assert [(s.start, -s.end, s.label) for s in spans] == sorted((s.start, -s.end, s.label) for s in spans)
        assert all(s.text == example.text[s.start : s.end] for s in spans)
        assert all(s.score == pytest.approx(1 / (1 + math.exp(-2))) for s in spans)
    figures = tagger.dev_metrics(head, examples, rows, evidence)
    assert figures["tag.entity_f1"] == (1.0 if any(example.spans for example in examples) else 0.0)
    assert tagger.score(examples, found).counted == sum(len(example.spans) for example in examples)


@given(nested(words=40), st.integers(8, 16), st.integers(1, 6), st.integers(1, 12))
def test_long_texts_answer_for_each_span_once(example: Example, length: int, stride: int, reach: int) -> None:
    """Of all spans that some window holds whole, each is predicted in one, where most is seen around it."""
    tagger = task(WORN, ALL, max_length=length, stride=stride, max_span_length=min(reach, length - 2))
    rows = [row for row in tagger.encode([example]) if isinstance(row, SpanRow)]
    units = rows[0].words
    read = []  # for each window, the pieces before its first unit and after its last
    answered: dict[tuple[int, int], list[int]] = {}
    for number, row in enumerate(rows):
        count = int(row.scored.sum())
        read.append((row.first, row.first + count))
        for unit, least, most in zip(range(count), row.targets["least"], row.targets["most"], strict=True):
            for more in range(least, most):
                answered.setdefault((row.first + unit, row.first + unit + more), []).append(number)
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
    head, evidence = planted(tagger, rows, [1.0])
    (found,) = tagger.decode(head, [example], rows, evidence)
    assert {(s.start, s.end, s.label) for s in found} == held


def test_an_entity_across_the_border_of_two_windows_comes_out_whole(tokenizer: Tokenizer) -> None:
    words = ["river"] * 40
    tagger = task(tokenizer, [sentence(words, (0, 4, "PLACE"))], max_length=18)
    for start in range(37):
        example = sentence(words, (start, start + 4, "PLACE"))
        rows = tagger.encode([example])
        assert len(rows) > 3 and sum(int(row.targets["tag"][0]) for row in rows) == 1


def test_spans_that_cannot_be_predicted_are_counted_and_said(tokenizer: Tokenizer, capsys) -> None:
    words = ["river", "stone"] * 10
    long = sentence(words, (0, 3, "PLACE"), (0, 4, "PLACE"), (0, 2, "ORG"))
    task(tokenizer, [long], max_span_length=3).encode([long])
    told = " ".join(capsys.readouterr().err.split())
    assert "1 of 3 spans not aligned: of more units than task.max_span_length" in told and "s.jsonl, line 1" in told
    wide = sentence(words, (4, 13, "PLACE"))
    tagger = task(tokenizer, [wide], max_length=14, stride=12)
    assert tagger.encode([wide]) and tagger.max_span_length == 9
    told = " ".join(capsys.readouterr().err.split())
    assert "1 of 1 spans not aligned: whole in no window" in told
    cut = dataclasses.replace(long, text="riverbank", spans=(Span(0, 5, "PLACE"),))
    tagger.encode([cut])
    assert "cut through a word" in " ".join(capsys.readouterr().err.split())


def test_what_is_learnt_comes_from_the_training_sentences(tokenizer: Tokenizer) -> None:
    tagger = task(tokenizer)
    assert (tagger.max_span_length, tagger.settings.max_span_length, tagger.settings.flat) == (6, 6, False)
    assert (tagger.labels, tagger.metric_key) == (LABELS, "tag.entity_f1")
    assert tagger.public_architecture == (None, LABELS)
    assert tagger.schema()["max_span_length"] == 6 and tagger.schema()["scheme"] == "BIO"
    again = NestedTask.restore(tagger.settings, tokenizer, tagger.schema())
    assert (again.max_span_length, again.labels) == (6, LABELS)
    flat = task(tokenizer, [TRAIN[1], TRAIN[3]])
    assert (flat.max_span_length, flat.settings.flat) == (1, True)
    assert task(tokenizer, [TRAIN[3]], flat=False).settings.flat is False
    assert (
        task(tokenizer, [sentence(["a"] * 30, (0, 30, "ORG"))], max_length=16).max_span_length == 14
    )  # what a window holds
    with pytest.raises(UserError, match="there is nothing to learn"):
        task(tokenizer, [TRAIN[1]])
    empty = Example("0", " \u200b ", None, None, 1, "s")
    assert tagger.encode([empty]) == [] and tagger.decode(tagger.head(HEAD), [empty], [], []) == [[]]
    assert tagger.dev_metrics(tagger.head(HEAD), [empty], [], []) == {"tag.loss": 0.0, "tag.entity_f1": 0.0}


def test_settings_that_contradict_each_other(tokenizer: Tokenizer) -> None:
    for wrong in ({"label_smoothing": 0.1}, {"wide": True}, {"lstm_hidden_size": 8}):
        with pytest.raises(UserError, match="are about tags"):
            from_mapping(Tag, {"decoder": "spans", **wrong}, "x")
    for wrong in ({"max_span_length": 3}, {"flat": True}, {"flat": False}):
        with pytest.raises(UserError, match="are for decoder spans"):
            from_mapping(Tag, {"decoder": "crf", **wrong}, "x")
    tokens = ((0, 1), (2, 8))
    plain = Example("0", "a letter", None, None, 1, "s", spans=(Span(0, 1, "D"), Span(2, 8, "N")), tokens=tokens)
    with pytest.raises(UserError, match="decoder spans is for entities"):
        task(tokenizer, [plain])


def said_of(tagger: NestedTask, example: Example, *found: tuple[int, int, str, float]) -> list[LabelledSpan]:
    """What is decoded from scores of spans of units."""
    rows = tagger.encode([dataclasses.replace(example, spans=None)])
    lines = [[i, j - i, tagger.labels.index(label), score] for i, j, label, score in found]
    said = np.array([[np.nan, 0, 0, 0], *lines], dtype=np.float32)
    (spans,) = tagger.decode(tagger.head(HEAD), [example], rows, [said])
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
    assert flat.conll(example, kept).split() == (
        "captain B-PERSON winter I-PERSON of O the O river B-PLACE bank B-PLACE".split()
    )
    with pytest.raises(UserError, match="line 1: spans that nest or overlap") as raised:
        nested.conll(example, said_of(nested, example, *said))
    assert "task.flat=true" in raised.value.facts["to do"]
    assert nested.conll(example, said_of(nested, example, said[1])).startswith("captain\tB-PERSON\nwinter\tI-")


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
    example = Example("0", "river-stone wind", None, None, 1, "s.conll", spans=(), tokens=tokens)
    tagger = task(tokenizer)
    bounds = list(itertools.combinations_with_replacement(range(4), 2))
    spans = said_of(tagger, example, *((i, j, "ORG", 1.0) for i, j in bounds))
    assert [span.text for span in spans] == ["river-stone wind", "river-stone", "wind"]


def test_nested_entities_are_scored_and_told(tokenizer: Tokenizer) -> None:
    tagger = task(tokenizer)
    spans = said_of(tagger, TRAIN[0], (0, 1, "PERSON", 1.0), (0, 5, "ORG", 1.0), (4, 4, "ORG", 1.0))
    evaluation = tagger.score(TRAIN[:1], [spans])
    assert evaluation.counted == 3 and evaluation.f1.value == pytest.approx(2 / 3)
    assert tagger.reference(TRAIN[:1]) == [[[0, 14, "PERSON"], [0, 32, "ORG"], [22, 27, "PLACE"]]]
    record = tagger.to_record(TRAIN[0], spans, False)
    assert [span["text"] for span in record["spans"]] == [TRAIN[0].text, "captain winter", "river"]
    assert tagger.tagged_words(TRAIN[:1])[0][1] == ["B-ORG", *["I-ORG"] * 5]  # the outermost
    sample = tagger.sample(TRAIN[0], spans)
    assert len(sample["spans"]) == len(sample["predicted"]) == 3
