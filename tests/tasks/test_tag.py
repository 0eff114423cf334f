"""Sequence labelling: rows and windows, losses against formulas, constrained decoding, scores, long texts."""

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from reading import tagged_of
from task_helpers import learner_of, rows_of
from unmask.config import from_mapping
from unmask.data.encoded import IGNORE_INDEX
from unmask.data.rows.check import check_targets
from unmask.data.rows.example import Example, Span, Spans
from unmask.heads import head_class
from unmask.heads.tag import BUCKETS, PRIOR, TokenPairs
from unmask.learner.batch import pack
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.tasks.crf import CRFDecoder
from unmask.tasks.labelled_spans import EDGE, LabelledSpan, WindowRow, check_rows, spans_of, tags_of, word_bounds
from unmask.tasks.tag import Tag, TagTask
from unmask.tasks.task import outputs_of
from unmask.text.tokenizer import Tokenizer
from unmask.train.steps.optim import OptimizerConfig, build_optimizer, set_lr

DECODERS = pytest.mark.parametrize("decoder", ["softmax", "crf"])


def sentence(words: str, *spans: tuple[int, int, str], tokens: bool = True, number: int = 0) -> Example:
    """An example from words between blanks, and spans of words."""
    bounds, place = [], 0
    for word in words.split():
        bounds.append((place, place + len(word)))
        place += len(word) + 1
    made = tuple(Span(bounds[i][0], bounds[j - 1][1], label) for i, j, label in spans)
    given = tuple(bounds) if tokens else None
    return Example(words, None, Spans(made), str(number), number + 1, "s.conll", tokens=given)


TRAIN = [
    sentence("the river bridge stands", (1, 3, "PLACE")),
    sentence("captain winter", (0, 1, "PERSON"), number=1),
    sentence("a letter", number=2),
    sentence("golden harbour", (0, 2, "PLACE"), number=3),
]
PLAIN = [
    sentence("the river", (0, 1, "D"), (1, 2, "N")),
    sentence("winter travel", (0, 1, "N"), (1, 2, "V"), number=1),
]


def task(tokenizer: Tokenizer, train: list[Example] = TRAIN, **settings: object) -> TagTask:
    return TagTask.build(from_mapping(Tag, settings, "the test"), tokenizer, train)


def edges(row: WindowRow) -> tuple[bool, bool]:
    """Whether the text begins and ends in a window."""
    return bool(row.flags[0] & EDGE), bool(row.flags[-1] & EDGE)


def test_what_is_learnt_comes_from_the_training_sentences(tokenizer: Tokenizer) -> None:
    spans, plain = task(tokenizer), task(tokenizer, PLAIN)
    assert (spans.labels, spans.schema()["scheme"], spans.metric) == (["PERSON", "PLACE"], "BIO", "entity_f1")
    assert (plain.labels, plain.schema()["scheme"], plain.metric) == (["D", "N", "V"], "plain", "accuracy")
    assert head_class(spans).public_architecture(spans, "bert") == (
        "BertForTokenClassification",
        ["O", "B-PERSON", "I-PERSON", "B-PLACE", "I-PLACE"],
    )
    crf = task(tokenizer, decoder="crf")
    assert head_class(crf).public_architecture(crf, "bert")[0] is None
    again = TagTask.restore(spans.settings, tokenizer, spans.schema())
    assert (again.labels, again.tags_every_token) == (spans.labels, False)
    with refused("s.conll", "--tag-column"):
        task(tokenizer, [sentence("a letter")])


def test_settings_that_contradict_each_other() -> None:
    with refused("label_smoothing 0.1", "softmax"):
        from_mapping(Tag, {"decoder": "crf", "label_smoothing": 0.1}, "x")
    with refused("stride 15", "max_length"):
        from_mapping(Tag, {"max_length": 16, "stride": 15}, "x")


def test_the_first_piece_of_each_unit_carries_its_tag(tokenizer: Tokenizer) -> None:
    (row,) = rows_of(task(tokenizer, max_length=64), [TRAIN[0]])
    assert isinstance(row, WindowRow) and edges(row) == (True, True)
    encoded = tokenizer.encode(TRAIN[0].text)
    assert row.input_ids.tolist() == encoded.input_ids
    firsts = [
        place for place, word in enumerate(encoded.word_ids) if word != encoded.word_ids[place - 1] and word is not None
    ]
    assert row.positions.tolist() == firsts
    assert row.targets["tag"][firsts].tolist() == [0, 3, 4, 0]
    assert (np.delete(row.targets["tag"], firsts) == IGNORE_INDEX).all()


def test_long_sentences_are_cut_at_units_and_every_unit_is_predicted_once(tokenizer: Tokenizer) -> None:
    long = sentence(" ".join(["river", "stone"] * 40), *((n, n + 1, "PLACE") for n in range(0, 80, 2)))
    tagger = task(tokenizer, max_length=16)
    rows = rows_of(tagger, [TRAIN[1], long])
    windows = [row for row in rows if row.owner == 1]
    assert len(windows) > 5 and all(len(row.input_ids) <= 16 for row in windows)
    tags = np.concatenate([row.targets["tag"][row.positions] for row in windows])
    assert tags.tolist() == [3, 0] * 40
    assert [edges(row) for row in windows] == [(n == 0, n == len(windows) - 1) for n in range(len(windows))]


def prepared(tokenizer: Tokenizer, make_encoder: Callable[..., Encoder], tiny: EncoderConfig, **settings: object):
    tagger = task(tokenizer, max_length=64, classifier_dropout=0.0, **settings)
    rows = rows_of(tagger, TRAIN)
    learner = learner_of(tagger, make_encoder(tiny), rows)
    torch.nn.init.normal_(learner.head.classifier.weight)
    return tagger, learner, rows


def logits_of(learner, row) -> np.ndarray:
    with torch.no_grad():
        batch = pack([row])
        hidden = learner.encoder(batch.input_ids, batch.layout, batch.token_type_ids)
        return learner.head.classifier(hidden[row.positions]).double().numpy()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_softmax_loss_is_cross_entropy_at_the_units(
    tokenizer: Tokenizer, make_encoder: Callable[..., Encoder], tiny: EncoderConfig, smoothing: float
) -> None:
    _, learner, rows = prepared(tokenizer, make_encoder, tiny, label_smoothing=smoothing)
    plain = smoothed = 0.0
    for row in rows:
        logits = logits_of(learner, row)
        logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        gold = row.targets["tag"][row.positions]
        plain -= logs[np.arange(len(gold)), gold].sum()
        smoothed -= (1 - smoothing) * logs[np.arange(len(gold)), gold].sum() + smoothing * logs.mean(-1).sum()
    batch = pack(rows)
    assert batch.target_counts["tag"] == 10
    part = learner.train()(batch).terms["tag"]
    assert (part.sum.item(), part.count) == (pytest.approx(smoothed, rel=1e-4), 10)
    assert learner.eval()(batch).terms["tag"].sum.item() == pytest.approx(plain, rel=1e-4)


def test_the_crf_loss_is_that_of_all_allowed_paths(
    tokenizer: Tokenizer, make_encoder: Callable[..., Encoder], tiny: EncoderConfig
) -> None:
    _, learner, rows = prepared(tokenizer, make_encoder, tiny, decoder="crf")
    tagger, wanted = task(tokenizer, decoder="crf"), 0.0
    chain = CRFDecoder.of(tagger.tags, learner.head.decoding_parameters())
    assert set(learner.saved_modules()) == {"encoder", "classifier", "crf"}
    for row in rows:
        logits, gold, scores = logits_of(learner, row), row.targets["tag"][row.positions], {}
        for path in itertools.product(range(5), repeat=len(gold)):
            moves = sum(chain.transitions[a, b] for a, b in itertools.pairwise(path))
            said = sum(logits[t, tag] for t, tag in enumerate(path))
            scores[path] = chain.start[path[0]] + moves + said + chain.end[path[-1]]
        total = math.log(math.fsum(math.exp(score) for score in scores.values()))
        wanted += total - scores[tuple(gold.tolist())]
    assert learner(pack(rows)).terms["tag"].sum.item() == pytest.approx(wanted, rel=1e-4)


def test_transitions_begin_with_the_training_tags_and_learn_at_their_own_rate(
    tokenizer: Tokenizer, make_encoder: Callable[..., Encoder], tiny: EncoderConfig
) -> None:
    _, learner, _ = prepared(tokenizer, make_encoder, tiny, decoder="crf", crf_lr_factor=7.0)
    crf = learner.head.crf
    start = crf.masked_scores()[0].exp()
    # starts: O twice, B-PERSON once, B-PLACE once, each plus one, of the three that may begin
    assert start.tolist() == pytest.approx([3 / 7, 2 / 7, 0, 2 / 7, 0])
    optimizer = build_optimizer(OptimizerConfig(weight_decay=0.1), learner)
    set_lr(optimizer, 0.5)
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert all(rates[id(p)] == (3.5, 0.0) for p in crf.parameters())
    assert rates[id(learner.head.classifier.weight)] == (0.5, 0.1)
    assert len(rates) == sum(1 for _ in learner.parameters())
    assert prepared(tokenizer, make_encoder, tiny)[1].lr_factors == {}


def test_the_last_layer_learns_at_its_own_rate(
    tokenizer: Tokenizer, make_encoder: Callable[..., Encoder], tiny: EncoderConfig
) -> None:
    _, learner, _ = prepared(tokenizer, make_encoder, tiny, head_lr_factor=3.0)
    optimizer = build_optimizer(OptimizerConfig(weight_decay=0.1), learner)
    set_lr(optimizer, 0.5)
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert {rates[id(p)] for p in learner.head.parameters()} == {1.5}
    assert {rates[id(p)] for p in learner.encoder.parameters()} == {0.5}


def test_pairs_of_pieces_begin_with_the_tags_seen_at_them(
    tokenizer: Tokenizer, make_encoder: Callable[..., Encoder], tiny: EncoderConfig
) -> None:
    """Against counting in a dictionary: half of ln p(tag | pair) / p(tag), smoothed by PRIOR tags at random."""
    _, learner, rows = prepared(tokenizer, make_encoder, tiny, wide=True)
    wide = learner.head.wide
    seen: Counter[tuple[int, int]] = Counter()  # bucket, tag
    for row in rows:
        for place in row.positions.tolist():
            for bucket in wide.buckets(torch.from_numpy(row.input_ids), torch.tensor([place]))[0].tolist():
                seen[bucket, int(row.targets["tag"][place])] += 1
    tags = wide.scores.weight.shape[1]
    total = sum(seen.values())
    share = [(sum(n for (_, t), n in seen.items() if t == tag) + 1) / (total + tags) for tag in range(tags)]
    for bucket in {bucket for bucket, _ in seen} | {12345}:
        count = sum(n for (b, _), n in seen.items() if b == bucket)
        wanted = [
            math.log((seen[bucket, tag] + PRIOR * share[tag]) / ((count + PRIOR) * share[tag])) / 2
            for tag in range(tags)
        ]
        assert wide.scores.weight[bucket].tolist() == pytest.approx(wanted, abs=1e-5)


def test_pairs_are_told_apart_by_their_pieces_and_their_side() -> None:
    ids = torch.tensor([2, 7, 8, 7, 9, 3])
    first, second, third, fourth = TokenPairs.buckets(ids, torch.arange(1, 5)).tolist()
    alone = TokenPairs.buckets(torch.tensor([2, 7, 8, 3]), torch.tensor([1]))[0].tolist()
    assert first == alone  # nothing but the two pieces counts
    assert len({*first, *second, *third, *fourth}) == 8
    assert min(first) >= 0 and max(first) < BUCKETS


def test_the_pairs_speak_beside_the_network(
    tokenizer: Tokenizer, make_encoder: Callable[..., Encoder], tiny: EncoderConfig
) -> None:
    _, learner, rows = prepared(tokenizer, make_encoder, tiny, wide=True)
    batch = pack(rows[:1])
    with torch.no_grad():
        learner.head.wide.scores.weight.normal_()
        hidden = learner.encoder(batch.input_ids, batch.layout, batch.token_type_ids)
        logits = learner.head(hidden, batch)
    table = learner.head.wide.scores.weight.detach()
    for unit, place in enumerate(rows[0].positions.tolist()):
        pair = TokenPairs.buckets(batch.input_ids, torch.tensor([place]))[0]
        wanted = logits_of(learner, rows[0])[unit] + (table[pair[0]] + table[pair[1]]).double().numpy()
        assert logits[unit].tolist() == pytest.approx(wanted.tolist(), abs=1e-4)


def test_hidden_pairs_are_silent_in_training_only() -> None:
    torch.manual_seed(0)
    wide = TokenPairs(tags=3, dropout=0.3)
    wide.scores.weight.data.uniform_(1, 2)
    ids = torch.arange(2000)
    places = torch.arange(1, 1999)
    each = wide.scores(wide.buckets(ids, places))  # (units, 2, tags)
    assert torch.equal(wide.eval()(ids, places), each.sum(1))
    said = wide.train()(ids, places)
    none, both = (said == 0).all(1), torch.isclose(said, each.sum(1)).all(1)
    alone = [torch.isclose(said, each[:, side]).all(1) for side in (0, 1)]
    assert bool((none | both | alone[0] | alone[1]).all())  # whole pairs, never single tags
    for found, share in ((none, 0.09), (both, 0.49), (alone[0], 0.21), (alone[1], 0.21)):
        assert float(found.float().mean()) == pytest.approx(share, abs=0.05)


def test_without_a_crf_the_biases_begin_with_the_frequencies(
    tokenizer: Tokenizer, make_encoder: Callable[..., Encoder], tiny: EncoderConfig
) -> None:
    """Of ten units five are O, one PERSON begins, two PLACEs begin and go on; each plus one."""
    _, learner, _ = prepared(tokenizer, make_encoder, tiny)
    shares = learner.head.classifier.bias.exp().tolist()
    assert shares == pytest.approx([count / 15 for count in (6, 2, 1, 3, 3)])


@DECODERS
@given(st.integers(0, 2**31), st.booleans())
def test_what_is_decoded_keeps_the_rules(decoder: str, seed: int, plain: bool) -> None:
    """Whatever a network says: spans are made of whole tokens, and every plain token has a tag."""
    tokenizer, draw = WORN, np.random.default_rng(seed)
    train = PLAIN if plain else TRAIN
    tagger = task(tokenizer, train, decoder=decoder, max_length=10)
    words = " ".join(draw.choice(["river", "can't", "x-y", "stone", "unforgotten"], draw.integers(1, 12)))
    example = dataclasses.replace(sentence(words), target=None)
    rows = rows_of(tagger, [example])
    evidence = [draw.normal(size=(len(row.positions), len(tagger.tags)), scale=9) for row in rows]
    (spans,) = tagger.decode(outputs_of([example], rows, [e.astype(np.float32) for e in evidence]), {})
    starts, stops = {a for a, _ in example.tokens}, {b for _, b in example.tokens}
    assert all(span.start in starts and span.end in stops for span in spans)
    assert all(a.end <= b.start for a, b in itertools.pairwise(spans))
    assert all(0 <= span.score <= 1 and example.text[span.start : span.end] == span.text for span in spans)
    if plain:
        assert [(span.start, span.end) for span in spans] == list(example.tokens)


WORN = Tokenizer.train(["the river can't x-y stone forgotten winter " * 4] * 4, vocab_size=60, allow_fewer=True)


def test_running_text_is_cut_into_words_by_plain_tags() -> None:
    """Chinese characters are units: B and I make words of them, as far as the network says so."""
    tokenizer = Tokenizer.train(["我 爱 北 京"] * 4, vocab_size=20, allow_fewer=True)
    spans = Spans((Span(0, 1, "r"), Span(1, 2, "v"), Span(2, 4, "n")))
    train = [Example("我爱北京", None, spans, "0", 1, "s", tokens=((0, 1), (1, 2), (2, 4)))]
    tagger = task(tokenizer, train)
    names = tagger.tags.tags
    raw = Example("我爱北京", None, None, "0", 1, "s")
    rows = rows_of(tagger, [raw])
    emissions = np.full((4, len(names)), -9, dtype=np.float32)
    for unit, name in enumerate(["B-r", "B-v", "B-n", "I-n"]):
        emissions[unit, names.index(name)] = 0
    (spans,) = tagger.decode(outputs_of([raw], rows, [emissions]), {})
    assert [(span.text, span.label) for span in spans] == [("我", "r"), ("爱", "v"), ("北京", "n")]


def test_spans_are_compared_whole_and_plain_tags_token_by_token(tokenizer: Tokenizer) -> None:
    def found(example: Example, *spans: tuple[int, int, str]) -> list[LabelledSpan]:
        made = sentence(example.text, *spans).spans
        return [LabelledSpan(s.label, example.text[s.start : s.end], s.start, s.end, 0.5) for s in made]

    tagger = task(tokenizer)
    said = [
        found(TRAIN[0], (1, 2, "PLACE")),  # too short
        found(TRAIN[1], (0, 1, "PERSON")),
        found(TRAIN[2], (1, 2, "PLACE")),
        found(TRAIN[3], (0, 2, "PERSON")),  # another label
    ]
    assert tagger.reference(TRAIN)[1] == [[0, 7, "PERSON"]]
    assert tagger.comparable(TRAIN, said)[0] == [[4, 9, "PLACE"]]
    plain = task(tokenizer, PLAIN)
    said = [found(PLAIN[0], (0, 1, "D"), (1, 2, "V")), found(PLAIN[1], (0, 1, "N"), (1, 2, "V"))]
    assert plain.reference(PLAIN) == [["D", "N"], ["N", "V"]]
    assert plain.comparable(PLAIN, said) == [["D", "V"], ["N", "V"]]
    assert plain.metric_for(TRAIN) == "entity_f1"


def test_words_and_their_tags(tokenizer: Tokenizer) -> None:
    """As a CoNLL file has them, and back."""
    tagger, plain = task(tokenizer), task(tokenizer, PLAIN)
    assert tags_of(tagger, word_bounds(tagger, TRAIN[0]), TRAIN[0].spans) == ["O", "B-PLACE", "I-PLACE", "O"]
    raw = dataclasses.replace(TRAIN[0], tokens=None)
    assert word_bounds(tagger, raw) == word_bounds(tagger, TRAIN[0]) == list(TRAIN[0].tokens)
    for one, examples in ((tagger, TRAIN), (plain, PLAIN)):
        for example in examples:
            bounds = word_bounds(one, example)
            assert spans_of(one, bounds, tags_of(one, bounds, example.spans)) == example.spans


def test_what_cannot_be_aligned_is_noted_with_its_line(tokenizer: Tokenizer) -> None:
    tagger = task(tokenizer)
    wrong = Example("riverbank", None, Spans((Span(0, 5, "PLACE"),)), "0", 7, "s.jsonl")
    (told,) = tagger.encode([*TRAIN, wrong])[1].remarks
    assert "1 of 4 spans" in told and "through a word" in told and "s.jsonl, line 7" in told


def test_a_very_long_sentence(tokenizer: Tokenizer) -> None:
    """Cut into windows, each unit once; decoded as a whole (here a shorter one)."""
    example = sentence(" ".join(["river"] * 20_000), tokens=False)
    tagger = task(tokenizer, max_length=128)
    rows = rows_of(tagger, [example])
    assert sum(len(row.positions) for row in rows) == 20_000
    assert all(len(row.input_ids) <= 128 for row in rows)
    shorter = sentence(" ".join(["river"] * 1_000))
    rows = rows_of(tagger, [shorter])
    said = [np.tile(np.array([-5, -5, -5, 0, -5], dtype=np.float32), (len(row.positions), 1)) for row in rows]
    (spans,) = tagger.decode(outputs_of([shorter], rows, said), {})
    assert len(spans) == 1_000 and {span.label for span in spans} == {"PLACE"}


def test_files_are_read_as_their_names_say(tokenizer: Tokenizer, tagged: Path, tmp_path: Path) -> None:
    tagger = task(tokenizer)
    assert tagged_of(tagged, "predict").examples[0].tokens is not None
    (tmp_path / "raw.txt").write_text("river stone\ncaptain\n")
    assert [e.text for e in tagged_of(tmp_path / "raw.txt", "predict").examples] == [
        "river stone",
        "captain",
    ]
    assert len(tagged_of(tagged).examples) == 60
    new = tmp_path / "new.conll"
    new.write_text("river\tB-RIVER\n")
    with refused(f"{new}, line 1", "RIVER", *tagger.labels, "the training data", "--unknown-labels"):
        check_targets(tagged_of(new).examples, "tags", tagger.labels, of="the training data")


def test_empty_texts_have_no_rows(tokenizer: Tokenizer) -> None:
    tagger = task(tokenizer)
    empty = Example(" \u200b ", None, None, "0", 1, "empty.conll")
    assert rows_of(tagger, [empty]) == []
    assert tagger.decode(outputs_of([empty], [], []), {}) == [[]]
    with refused("empty.conll", "no text"):
        check_rows([empty], [])
