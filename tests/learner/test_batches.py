"""What is read when: chunks of documents, sentence pairs, steps, ramps, ranks, micro-batches."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from errors import refused
from unmask.data.corpus.documents import Document
from unmask.data.corpus.shards import Shards, build
from unmask.data.encoded import SPECIAL_TOKEN, EncodedRow
from unmask.data.sequences import CorpusSequences, RowSequences, split_documents
from unmask.learner.batch import Batch
from unmask.learner.batches import Batches, evaluation_batches
from unmask.schedules import Ramp
from unmask.text.tokenizer import Tokenizer


def corpus_of(texts: list[str], tokenizer: Tokenizer, folder: Path) -> Shards:
    return build([Document(text, "f", n) for n, text in enumerate(texts)], tokenizer, folder)


@pytest.mark.parametrize("length", [8, 17, 32, 512])
def test_every_token_is_in_exactly_one_chunk(corpus: Shards, length: int) -> None:
    examples = CorpusSequences(corpus, length, 0, 0.0)
    special = {examples.cls, examples.sep}
    read: dict[int, list[int]] = {}
    sizes: dict[int, list[int]] = {}
    for number in range(len(examples)):
        row = examples.rows([(number, 0)])[0]
        assert len(row.input_ids) <= length and row.example == number
        assert row.input_ids[0] == examples.cls and row.input_ids[-1] == examples.sep
        assert row.flags[0] == row.flags[-1] == SPECIAL_TOKEN and not (row.flags[1:-1] & SPECIAL_TOKEN).any()
        document = examples.location(number)[0]
        assert not special & set(row.input_ids[1:-1].tolist())
        read.setdefault(document, []).extend(row.input_ids[1:-1].tolist())
        sizes.setdefault(document, []).append(len(row.input_ids) - 2)
    for document in range(corpus.documents):
        tokens = int(corpus.document_lengths[document])
        assert read[document] == corpus.read(document, 0, tokens)[0].tolist()
        assert max(sizes[document]) - min(sizes[document]) <= 1
        assert len(sizes[document]) == -(-tokens // (length - 2))


def test_mean_tokens_is_the_mean(corpus: Shards) -> None:
    examples = CorpusSequences(corpus, 32, 0, 0.2)
    assert examples.mean_tokens == pytest.approx(
        np.mean([len(examples.rows([(n, 0)])[0].input_ids) for n in range(len(examples))])
    )


@given(documents=st.integers(2, 500), heldout=st.floats(0.001, 0.9))
def test_heldout_and_training_documents_are_apart(documents: int, heldout: float) -> None:
    train = split_documents(documents, heldout, "train")
    kept = split_documents(documents, heldout, "heldout")
    assert sorted([*train, *kept]) == list(range(documents))
    assert len(train) and len(kept)
    assert abs(len(kept) - heldout * documents) <= 1


def test_heldout_documents_do_not_depend_on_the_seed(corpus: Shards) -> None:
    one, two = (CorpusSequences(corpus, 32, seed, 0.1, "heldout") for seed in (0, 9))
    assert one.documents.tolist() == two.documents.tolist()


def test_one_document_cannot_be_held_out(tokenizer: Tokenizer, tmp_path: Path) -> None:
    shards = corpus_of(["river stone bridge"], tokenizer, tmp_path / "c")
    with refused("data.heldout_share=0.5", "--split line"):
        CorpusSequences(shards, 32, 0, 0.5, "heldout")
    assert len(CorpusSequences(shards, 32, 0, 0.5, "train")) == 1


def halves(row: EncodedRow) -> tuple[list[int], list[int]]:
    """The two segments of a pair, without specials; checks the layout on the way."""
    ends = np.flatnonzero(row.flags & SPECIAL_TOKEN)
    assert len(ends) == 3 and ends[0] == 0 and ends[2] == len(row.input_ids) - 1
    assert row.token_type_ids.tolist() == [0] * (ends[1] + 1) + [1] * (len(row.input_ids) - ends[1] - 1)
    return row.input_ids[1 : ends[1]].tolist(), row.input_ids[ends[1] + 1 : -1].tolist()


def test_sentence_pairs(corpus: Shards) -> None:
    """B is the rest of A's chunk (0), or comes from another document (1), each about half of the time."""
    examples = CorpusSequences(corpus, 24, 3, 0.0, pairs=True)
    documents = {
        d: "," + ",".join(map(str, corpus.read(d, 0, int(corpus.document_lengths[d]))[0])) + ","
        for d in range(corpus.documents)
    }
    labels, foreign = [], 0
    for epoch in range(4):
        for number in range(len(examples)):
            row = examples.rows([(number, epoch)])[0]
            first, second = halves(row)
            assert first and second and len(row.input_ids) <= 24
            assert (row.example, row.epoch, row.owner) == (number, epoch, number)  # what its masks hang on
            document, start, stop = examples.location(number)
            chunk = corpus.read(document, start, stop)[0].tolist()
            assert chunk[: len(first)] == first
            label = int(row.targets["next_sentence"][0])
            labels.append(label)
            text = "," + ",".join(map(str, second)) + ","
            if label == 0:
                assert first + second == chunk
            else:
                assert any(text in other for d, other in documents.items() if d != document)
                foreign += text not in documents[document]
    ones = sum(labels)
    assert stats.binomtest(ones, len(labels), 0.5).pvalue > 1e-3
    assert foreign > 0.8 * ones  # short pieces may occur in both


def test_pairs_are_cut_where_a_sentence_starts(tokenizer: Tokenizer, tmp_path: Path) -> None:
    text = "River stone. Bridge lantern winter. Harbour captain letter garden."
    shards = corpus_of([text], tokenizer, tmp_path / "c")
    row = CorpusSequences(shards, 128, 0, 0.0, pairs=True).rows([(0, 0)])[0]
    assert row.targets["next_sentence"].tolist() == [0]  # one chunk in all: nobody else to take
    first, second = halves(row)
    sentences = [tokenizer.encode(part).input_ids[1:-1] for part in text.replace(". ", ".|").split("|")]
    assert first in (sentences[0], sentences[0] + sentences[1])
    assert first + second == [i for part in sentences for i in part]


def test_a_stranger_never_comes_from_the_same_document(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Not even where one document is nearly all of the corpus."""
    shards = corpus_of(["river stone bridge " * 200, "winter captain " * 4], tokenizer, tmp_path / "c")
    examples = CorpusSequences(shards, 16, 0, 0.0, pairs=True)
    own = set(tokenizer.encode("river stone bridge").input_ids[1:-1])
    found = 0
    for number in range(len(examples)):
        row = examples.rows([(number, 0)])[0]
        if examples.location(number)[0] == 0 and row.targets["next_sentence"][0] == 1:
            found += 1
            assert not own & set(halves(row)[1]) - set(tokenizer.encode("winter captain").input_ids)
    assert found > 20


def test_one_document_of_many_chunks_takes_strangers_from_other_chunks(tokenizer: Tokenizer, tmp_path: Path) -> None:
    shards = corpus_of([" ".join(["river stone bridge lantern winter"] * 40)], tokenizer, tmp_path / "c")
    examples = CorpusSequences(shards, 16, 0, 0.0, pairs=True)
    labels = [int(examples.rows([(n, 0)])[0].targets["next_sentence"][0]) for n in range(len(examples))]
    assert 0 < sum(labels) < len(labels)


class Counted(RowSequences):
    """Examples of given lengths whose tokens are their own number."""

    def __init__(self, lengths: list[int]) -> None:
        self.lengths = lengths
        super().__init__(
            [
                EncodedRow(np.full(n, k), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.uint8), k, owner=k)
                for k, n in enumerate(lengths)
            ]
        )


@given(size=st.integers(1, 40), per_step=st.integers(1, 50), epochs=st.integers(1, 3), seed=st.integers(0, 9))
def test_every_epoch_reads_every_example_once(size: int, per_step: int, epochs: int, seed: int) -> None:
    batches = Batches(Counted([3] * size), per_step, seed)
    steps = -(-size * epochs // per_step)
    read = [pair for step in range(steps) for pair in batches.example_epochs(step * per_step, per_step)][
        : size * epochs
    ]
    for epoch in range(epochs):
        part = read[epoch * size : (epoch + 1) * size]
        assert sorted(number for number, _ in part) == list(range(size))
        assert {e for _, e in part} == {epoch}
    assert batches.steps_per_epoch == size / per_step


def test_the_order_is_another_one_in_each_epoch_and_for_each_seed() -> None:
    orders = {
        tuple(number for number, _ in Batches(Counted([2] * 30), 30, seed).example_epochs(30 * epoch, 30))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


def content(batch: Batch) -> list[tuple[int, int, int]]:
    return list(zip(batch.example.tolist(), batch.epoch.tolist(), list(batch.layout.lengths), strict=True))


@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=20),
    per_step=st.integers(1, 24),
    step=st.integers(0, 6),
    parts=st.integers(1, 5),
    world=st.integers(1, 4),
)
def test_ranks_and_micro_batches_cut_a_step_without_remainder(
    lengths: list[int], per_step: int, step: int, parts: int, world: int
) -> None:
    examples = Counted(lengths)
    start = step * per_step
    (whole,) = Batches(examples, per_step, seed=4).step(start)
    if world > 1 and per_step < world * parts:
        with refused(f"{per_step} sequences", f"{world} processes", "train.gradient_accumulation_steps"):
            Batches(examples, per_step, 4, parts, 0, world)
        return
    by_rank = [part for r in range(world) for part in Batches(examples, per_step, 4, parts, r, world).step(start)]
    assert sorted(x for part in by_rank for x in content(part)) == sorted(content(whole))
    micro = Batches(examples, per_step, 4, parts).step(start)
    assert len(micro) == min(parts, per_step)
    assert max(b.num_sequences for b in micro) - min(b.num_sequences for b in micro) <= 1


def test_a_step_is_a_pure_function(corpus: Shards) -> None:
    def batches() -> Batches:
        return Batches(CorpusSequences(corpus, 32, 1, 0.1), 8, seed=1)

    walked = batches()
    for step in range(5):
        last = walked.step(8 * step)
    (again,) = batches().step(32)
    assert last[0].input_ids.tolist() == again.input_ids.tolist() and content(last[0]) == content(again)


def test_table_rows_take_their_number_and_epoch() -> None:
    (batch,) = Batches(Counted([4, 2, 3]), 3, seed=0).step(6)
    assert batch.epoch.tolist() == [2, 2, 2]
    assert batch.input_ids[batch.layout.first_tokens].tolist() == batch.example.tolist() == batch.owner.tolist()


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=30), limit=st.integers(1, 400))
def test_in_order_reads_each_example_at_most_once_and_evenly(lengths: list[int], limit: int) -> None:
    examples = Counted(lengths)
    read = sorted(n for batch in evaluation_batches(examples, 25, limit) for n in batch.example.tolist())
    assert len(set(read)) == len(read) >= 1
    if limit >= sum(lengths) + len(lengths):
        assert read == list(range(len(lengths)))
    else:
        assert len(read) <= max(1, limit / examples.mean_tokens)
    gaps = [b - a for a, b in pairwise(read)]
    assert not gaps or max(gaps) - min(gaps) <= 1


@given(
    per_step=st.integers(1, 60),
    start=st.floats(0.01, 1),
    until=st.floats(0.01, 1),
    progress=st.floats(0, 1),
)
def test_a_ramp_makes_steps_smaller_at_first(per_step: int, start: float, until: float, progress: float) -> None:
    ramp = Ramp(start, until)
    batches = Batches(Counted([2] * 100), per_step, 0, ramp=ramp)
    sizes = [batches.step_size(p) for p in np.linspace(0, 1, 2001)]
    assert sizes == sorted(sizes) and sizes[-1] == batches.step_size(until) == per_step
    assert sizes[0] == max(1, round(per_step * start))
    assert batches.mean_step_size == pytest.approx(np.mean(sizes), abs=0.51)
    (taken,) = batches.step(7, progress)
    assert taken.num_sequences == batches.step_size(progress)


def test_a_length_ramp_reads_the_same_tokens_in_shorter_sequences(corpus: Shards) -> None:
    plain = CorpusSequences(corpus, 48, 0, 0.1)
    growing = CorpusSequences(corpus, 48, 0, 0.1, max_length_ramp=Ramp(0.25, 0.5))
    names = set()
    for number in range(len(plain)):
        whole = plain.rows([(number, 3)])[0]
        (late,) = growing.rows([(number, 3)], 0.5)
        assert late.input_ids.tolist() == whole.input_ids.tolist()
        early = growing.rows([(number, 3)], 0.0)
        assert max(len(row.input_ids) for row in early) <= max(8, round(46 * 0.25)) + 2
        assert [i for row in early for i in row.input_ids[1:-1]] == whole.input_ids[1:-1].tolist()
        assert [f for row in early for f in row.flags[1:-1]] == whole.flags[1:-1].tolist()
        assert early[0].example == number and all(row.epoch == 3 for row in early)
        names |= {row.example for row in early}
    assert len(names) == sum(len(growing.rows([(n, 0)], 0.0)) for n in range(len(plain)))


def test_pairs_keep_their_length(corpus: Shards) -> None:
    growing = CorpusSequences(corpus, 48, 0, 0.1, pairs=True, max_length_ramp=Ramp(0.25, 0.5))
    assert all(len(growing.rows([(n, 0)], 0.0)) == 1 for n in range(len(growing)))


def test_rows_are_framed_as_the_tokenizer_frames_texts(
    byte_level: Tokenizer, stories: list[str], tmp_path: Path
) -> None:
    """With special pieces at other ids, two of them in the middle of a pair, and one segment."""
    shards = corpus_of(stories[:20], byte_level, tmp_path / "c")
    cls, sep = byte_level.cls_token_id, byte_level.sep_token_id
    single, pairs = (CorpusSequences(shards, 40, 0, 0.0, pairs=both) for both in (False, True))
    row = single.rows([(0, 0)])[0]
    inner = shards.read(*single.location(0))[0].tolist()
    assert row.input_ids.tolist() == [cls, *inner, sep] and row.flags[[0, -1]].tolist() == [4, 4]
    for number in range(len(pairs)):
        row = pairs.rows([(number, 0)])[0]
        ids = row.input_ids.tolist()
        places = [place for place, piece in enumerate(ids) if piece in (cls, sep)]
        assert [ids[place] for place in places] == [cls, sep, sep, sep] and len(ids) <= 40
        assert places[0] == 0 and places[2] == places[1] + 1 and places[3] == len(ids) - 1
        assert np.flatnonzero(row.flags & 4).tolist() == places and not row.token_type_ids.any()
