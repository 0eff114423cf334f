"""Question answering: pieces and characters, windows, the best stretch against brute force, thresholds, the loss."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from task_helpers import learner_of, rows_of
from unmask.data.encoded import SPECIAL_TOKEN, EncodedRow
from unmask.data.rows.example import Answers, Example, ReferenceAnswer
from unmask.heads.answer import pad_logits
from unmask.learner.batch import Batch, pack
from unmask.metrics.answers import answer_scores
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.tasks.answer import Answer, AnswerRow, AnswerSpan, AnswerTask, Context, best_threshold, span_scores
from unmask.tasks.task import Outputs, outputs_of
from unmask.text.tokenizer import Tokenizer

WORDS = "river stone bridge lantern winter harbour captain letter".split()
ACCENTED = ["cafe\u0301", "naïve", "re\u0301sume\u0301", "e\u0323\u0302", "o\u0308l", "漢", "字", "天氣"]
CLS_WORD = st.sampled_from([*WORDS, *ACCENTED, "42", "x-y", "…"])
contexts = st.lists(CLS_WORD, min_size=1, max_size=40).map(" ".join)


def example(question: str, context: str, *answers: tuple[str, int], number: int = 0) -> Example:
    found = tuple(ReferenceAnswer(*answer) for answer in answers)
    return Example(question, context, Answers(found), str(number), number + 1, "questions.json")


def task_of(tokenizer: Tokenizer, has_unanswerable: bool = False, **settings: object) -> AnswerTask:
    return AnswerTask(Answer(**settings), tokenizer, has_unanswerable)


def evidence_of(rows: Sequence[EncodedRow], seed: int = 0) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.normal(size=(len(row.input_ids), 2)).astype(np.float32) for row in rows]


def decoded(
    task: AnswerTask,
    examples: Sequence[Example],
    evidence: list[np.ndarray] | None = None,
    top_k: int | None = None,
    **parameters: float,
) -> list[list[AnswerSpan]]:
    rows = rows_of(task, examples)
    given = {name: np.array(value) for name, value in parameters.items()}
    return task.decode(outputs_of(examples, rows, evidence or evidence_of(rows)), given, top_k)


def answer_rows(task: AnswerTask, examples: Sequence[Example]) -> list[AnswerRow]:
    rows = [row for row in rows_of(task, examples) if isinstance(row, AnswerRow)]
    assert len(rows) == len(rows_of(task, examples))
    return rows


# rows


@given(contexts, st.integers(12, 40), st.integers(1, 9), st.integers(0, 12))
def test_every_piece_is_read_and_rows_are_as_bert_has_them(
    tokenizer: Tokenizer, context: str, length: int, stride: int, asked: int
) -> None:
    task = task_of(tokenizer, max_length=length, stride=stride)
    question = " ".join(itertools.islice(itertools.cycle(WORDS), asked))
    rows, notes = answer_rows(task, [example(question, context)]), task.encode([example(question, context)])[1]
    whole = tokenizer.encode(context).input_ids[1:-1]
    ahead = tokenizer.encode(question).input_ids[1:-1][: (length - 3) // 2]
    assert notes.truncated == (len(tokenizer.encode(question).input_ids) - 2 > (length - 3) // 2)
    covered = set()
    for row in rows:
        inner = whole[row.source.window.start : row.source.window.end]
        wanted = [tokenizer.cls_token_id, *ahead, tokenizer.sep_token_id, *inner, tokenizer.sep_token_id]
        assert row.input_ids.tolist() == wanted and len(wanted) <= length
        assert row.token_type_ids.tolist() == [0] * (len(ahead) + 2) + [1] * (len(inner) + 1)
        special = [number for number, flag in enumerate(row.flags) if flag == SPECIAL_TOKEN]
        assert special == [0, len(ahead) + 1, len(wanted) - 1]
        assert row.input_ids[row.source.text_start : row.source.text_start + len(inner)].tolist() == inner
        covered |= set(range(row.source.window.start, row.source.window.end))
    assert covered == set(range(len(whole)))
    if len(whole) + len(ahead) + 3 <= length:
        (row,) = rows
        if not notes.truncated:
            whole_pair = tokenizer.encode(question, context)
            assert (
                row.input_ids.tolist() == whole_pair.input_ids
                and row.token_type_ids.tolist() == whole_pair.token_type_ids
            )


@given(contexts, st.data())
def test_an_answer_goes_to_pieces_and_back_to_its_characters(
    tokenizer: Tokenizer, context: str, data: st.DataObject
) -> None:
    """Whole words, and whole accented letters, are taught and found letter by letter."""
    words = context.split(" ")
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, min(len(words) - 1, first + 3)))
    answer, start = " ".join(words[first : last + 1]), len("".join(w + " " for w in words[:first]))
    assert context[start : start + len(answer)] == answer
    task = task_of(tokenizer, max_length=384)
    one = example("winter", context, (answer, start))
    (row,) = rows_of(task, [one])
    left, right = row.targets["answer"][0]
    assert row.flags[left] == row.flags[right] == 0, "neither [CLS] nor [SEP]"
    said = np.zeros((len(row.input_ids), 2), dtype=np.float32)
    said[left, 0] = said[right, 1] = 9
    (found,) = decoded(task, [one], [said])
    assert (found[0].text, found[0].start, found[0].end) == (answer, start, start + len(answer))
    assert all(context[a.start : a.end] == a.text for a in found)


@given(contexts)
def test_the_bounds_of_pieces_follow_one_another_and_cut_no_accent(tokenizer: Tokenizer, context: str) -> None:
    import unicodedata

    bounds = Context.of(context, tokenizer.encode(context)).bounds
    for (start, stop), (after, _) in itertools.pairwise(bounds.tolist()):
        assert start <= stop <= after or (start, stop) == (after, _), "one character may be several pieces"
    for start, stop in bounds.tolist():
        assert not unicodedata.combining(context[start])
        assert stop == len(context) or not unicodedata.combining(context[stop])


def test_an_answer_that_a_window_does_not_hold_whole_is_taught_as_none(tokenizer: Tokenizer) -> None:
    context = " ".join(WORDS[number % 8] for number in range(40))
    start = context.index("letter")
    task = task_of(tokenizer, max_length=32, stride=8)
    one = example("where", context, ("captain letter", start - len("captain ")))
    rows = answer_rows(task, [one])
    offsets = tokenizer.encode(context).offsets[1:-1]
    first = next(n for n, (a, _) in enumerate(offsets) if a == start - len("captain "))
    last = next(n for n, (_, b) in enumerate(offsets) if b == start + len("letter"))
    held = 0
    for row in rows:
        inside = row.source.window.start <= first and last < row.source.window.end
        wanted = [
            first - row.source.window.start + row.source.text_start,
            last - row.source.window.start + row.source.text_start,
        ]
        assert row.targets["answer"].tolist() == [wanted if inside else [0, 0]]
        held += inside
    assert 0 < held < len(rows)
    assert [row.targets["answer"].tolist() for row in rows_of(task, [example("where", context)])] == [[[0, 0]]] * len(
        rows
    ), "no answer"
    bare = dataclasses.replace(one, target=None)
    assert all(not row.targets for row in rows_of(task, [bare]))


def test_answers_that_are_too_long_are_counted(tokenizer: Tokenizer) -> None:
    long = "river stone bridge lantern winter"
    task = task_of(tokenizer, max_answer_length=4)
    _, notes = task.encode([example("who", long, (long, 0), number=7), example("who", long)])
    (remark,) = notes.remarks
    assert "1 answers" in remark and "task.max_answer_length" in remark and "question 7" in remark


def test_a_question_needs_a_context(tokenizer: Tokenizer) -> None:
    with refused("the texts given, line 1", "who", "(question, context)"):
        task_of(tokenizer).encode([Example("who", None, None, "0", 1, "the texts given")])


def test_settings_that_leave_tokens_out_are_refused() -> None:
    with refused("stride 31", kind=ValueError):
        Answer(max_length=32, stride=31)


# the best stretch


def brute_force(
    rows: Sequence[AnswerRow], evidence: Sequence[np.ndarray], longest: int
) -> dict[tuple[int, int], float]:
    """The score of each stretch of pieces, by the definition: in the window with most context around it."""
    pieces = len(rows[0].context)
    found = {}
    for first in range(pieces):
        for last in range(first, min(pieces, first + longest)):
            best = None
            for row, said in zip(rows, evidence, strict=True):
                begin, end = row.source.window.start, row.source.window.end
                if begin <= first and last < end:
                    left = math.inf if begin == 0 else first - begin
                    right = math.inf if end == pieces else end - 1 - last
                    score = float(said[first - begin + row.source.text_start, 0]) + float(
                        said[last - begin + row.source.text_start, 1]
                    )
                    if best is None or min(left, right) > best[0]:
                        best = (min(left, right), score)
            if best is not None:
                found[first, last] = best[1]
    return found


@given(contexts, st.integers(10, 30), st.integers(1, 12), st.integers(1, 9), st.integers(0, 99))
def test_the_scores_of_all_windows_are_those_of_brute_force(
    tokenizer: Tokenizer, context: str, length: int, stride: int, longest: int, seed: int
) -> None:
    task = task_of(tokenizer, max_length=length, stride=min(stride, length - 3), max_answer_length=longest)
    one = example("who", context)
    rows = answer_rows(task, [one])
    evidence = evidence_of(rows, seed)
    wanted = brute_force(rows, evidence, longest)
    scores = span_scores(Outputs(one, rows, evidence), longest)
    assert {(i, i + j) for i, j in zip(*np.nonzero(np.isfinite(scores)), strict=True)} == set(wanted)
    for (first, last), score in wanted.items():
        assert scores[first, last - first] == pytest.approx(score)
    # what is told of them: different characters, best first, probabilities over all stretches
    found = decoded(task, [one], evidence, top_k=99)[0]
    bounds = rows[0].context.bounds
    best: dict[tuple[int, int], float] = {}
    for (first, last), score in wanted.items():
        characters = (int(bounds[first, 0]), int(bounds[last, 1]))
        best[characters] = max(score, best.get(characters, -math.inf))
    ordered = sorted(best.items(), key=lambda item: (-item[1], item[0]))[:99]
    assert [(a.start, a.end) for a in found] == [span for span, _ in ordered]
    total = sum(math.exp(score) for score in wanted.values())
    assert [a.score for a in found] == pytest.approx([math.exp(s) / total for _, s in ordered], rel=1e-5)


@given(contexts, st.integers(0, 99))
def test_one_window_or_many_say_the_same_of_a_context_that_fits(tokenizer: Tokenizer, context: str, seed: int) -> None:
    size = max(len(tokenizer.encode("who", context).input_ids), 2 * len(tokenizer.encode("who").input_ids))
    one = example("who", context)
    exact, roomy = (task_of(tokenizer, max_length=length, stride=1) for length in (max(8, size), 400))
    evidence = evidence_of(rows_of(roomy, [one]), seed)
    assert decoded(exact, [one], evidence) == decoded(roomy, [one], evidence)


@given(st.integers(0, 10**6), st.integers(1, 4))
def test_an_answer_in_any_window_is_found(tokenizer: Tokenizer, place: int, size: int) -> None:
    """An oracle that knows the answer: its logits stand in every window that holds the answer, [CLS] in the others."""
    words = [WORDS[(number * 5 + number // 8) % 8] for number in range(60)]
    first = place % (len(words) - size)
    start = len("".join(word + " " for word in words[:first]))
    answer, context = " ".join(words[first : first + size]), " ".join(words)
    # each word is at most 8 pieces: windows of 61 pieces that move by 20 hold any 4 words whole
    task = task_of(tokenizer, has_unanswerable=True, max_length=67, stride=20, max_answer_length=40)
    one = example("who", context, (answer, start))
    rows = rows_of(task, [one])
    assert len(rows) > 2
    evidence = []
    for row in rows:
        said = np.zeros((len(row.input_ids), 2), dtype=np.float32)
        left, right = row.targets["answer"][0]
        said[left, 0] += 9
        said[right, 1] += 9
        evidence.append(said)
    assert any(row.targets["answer"].any() for row in rows)
    (found,) = decoded(task, [one], evidence)
    assert (found[0].text, found[0].start) == (answer, start)
    assert found[0].score > 0.9
    (none,) = decoded(task, [example("who", context)], [_cls(said) for said in evidence])
    assert not none[0] and none[0].text == "" and none[0].score > 0.9


def _cls(said: np.ndarray) -> np.ndarray:
    only = np.zeros_like(said)
    only[0] = 9
    return only


def test_a_context_without_pieces_has_no_answer(tokenizer: Tokenizer) -> None:
    task = task_of(tokenizer)
    assert decoded(task, [example("who", "\u200b"), example("who", "river")])[0] == [AnswerSpan("", 0, 0, 0.0)]


def test_answers_are_listed_best_first_and_none_where_it_belongs(tokenizer: Tokenizer) -> None:
    one = example("who", "river stone bridge")
    task = task_of(tokenizer, has_unanswerable=True, max_answer_length=1)
    (row,) = rows_of(task, [one])
    said = np.zeros((len(row.input_ids), 2), dtype=np.float32)
    pieces = list(range(answer_rows(task, [one])[0].source.text_start, len(row.input_ids) - 1))
    for rank, place in enumerate(pieces):
        said[place] = -rank
    for null, threshold, position in [(-1.0, 0.0, 1), (-1.0, -2.0, 0), (1.0, 0.0, 0), (1.0, 3.0, 1)]:
        said[0] = null / 2
        (found,) = decoded(task, [one], [said], top_k=4, threshold=threshold)
        assert [bool(answer) for answer in found].index(False) == position
        assert len(found) == 4
        assert found[position].score == pytest.approx(
            math.exp(null) / (math.exp(null) + sum(math.exp(-2 * r) for r in range(len(pieces)))), rel=1e-5
        )


# thresholds


@given(
    st.lists(
        st.tuples(st.integers(-5, 5), st.sampled_from([0.0, 0.4, 1.0]), st.sampled_from([0.0, 1.0])),
        min_size=1,
        max_size=12,
    )
)
def test_the_best_threshold_is_that_of_trying_all(rows: list[tuple[int, float, float]]) -> None:
    doubts, answered, none = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))

    def value(threshold: float) -> float:
        return float(np.where(doubts > threshold, none, answered).mean())

    best = best_threshold(doubts, answered, none)
    tried = [number / 2 for number in range(-14, 15)]
    assert value(best) == pytest.approx(max(map(value, tried)))
    assert best not in doubts, "what is as doubtful as a dev question is not left to rounding"


def test_no_threshold_answers_better_than_the_calibrated_one(tokenizer: Tokenizer) -> None:
    context = "river stone bridge lantern"
    examples = [example("who", context, *([("stone", 6)] if number % 3 else []), number=number) for number in range(30)]
    task = task_of(tokenizer, has_unanswerable=True)
    rows = rows_of(task, examples)
    evidence = evidence_of(rows, 3)

    def f1(threshold: float) -> float:
        made = decoded(task, examples, evidence, threshold=threshold)
        return float(answer_scores(task.reference(examples), task.comparable(examples, made))[:, 0].mean())

    best = task.calibrate(outputs_of(examples, rows, evidence))["threshold"]
    assert best.shape == () and all(f1(number / 2) <= f1(float(best)) + 1e-9 for number in range(-12, 13))


# the loss


def test_the_loss_is_that_of_both_ends_in_each_sequence_by_itself(
    make_encoder: Callable[..., Encoder], tokenizer: Tokenizer, tiny: EncoderConfig
) -> None:
    task = task_of(tokenizer, max_length=32, stride=8)
    long = " ".join(WORDS * 3)
    examples = [example("who", "river stone", ("stone", 6)), example("winter letter", long, ("bridge", 12))]
    rows = rows_of(task, examples)
    encoder = make_encoder(tiny)
    learner = learner_of(task, encoder, rows).eval()
    batch = pack(rows)
    part = learner(batch).terms["answer"]
    assert part.count == 2 * len(rows) == batch.target_counts["answer"]
    wanted = 0.0
    for row in rows:
        logits = learner.outputs(pack([row])).detach()
        for side in (0, 1):
            wanted -= float(logits[:, side].log_softmax(0)[int(row.targets["answer"][0, side])])
    assert float(part.sum.detach()) == pytest.approx(wanted, rel=1e-4)
    part.sum.backward()
    assert all(torch.isfinite(p.grad).all() for p in learner.parameters() if p.grad is not None)


def test_padding_is_never_an_answer() -> None:
    logits = torch.arange(10.0).view(5, 2)
    none = np.zeros(0, dtype=np.int64)
    batch = Batch.from_arrays({"input_ids": none, "token_type_ids": none, "lengths": np.array([3, 2])})
    found = pad_logits(logits, batch)
    assert found[0].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert found[1].tolist() == [[6, 7], [8, 9], [-math.inf, -math.inf]]


def test_nothing_can_be_learnt_where_no_question_has_an_answer(tokenizer: Tokenizer) -> None:
    with refused("questions.json", "1 questions"):
        AnswerTask.build(Answer(), tokenizer, [example("who", "river")])
    assert not AnswerTask.build(Answer(), tokenizer, [example("who", "river", ("river", 0))]).has_unanswerable
    both = [example("who", "river", ("river", 0)), example("who", "river")]
    assert AnswerTask.build(Answer(), tokenizer, both).has_unanswerable
