"""What counting gives a network before its first step: against brute force, an exact factorisation, and in runs."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from errors import refused
from unmask import files
from unmask.console import SILENT
from unmask.data.corpus.documents import Document
from unmask.data.corpus.shards import Shards, build
from unmask.data.sequences import split_documents
from unmask.objectives import MaskedObjective
from unmask.text.tokenizer import Tokenizer
from unmask.train import init as start
from unmask.train import pretrain as pretraining
from unmask.train.init import (
    embeddings_from_counts,
    init_embeddings,
    neighbour_axes,
    neighbour_counts,
    token_counts,
)
from unmask.train.pretrain import PretrainLearner, build_learner, fit_to_corpus, pretrain
from unmask.train.recipe import PretrainRecipe, parse_recipe
from unmask.train.run import Run

PIECES = 7


class Listed:
    """What counting reads of Shards, of documents in memory. `read` tells which ones were read."""

    def __init__(self, documents: list[list[int]], vocab_size: int = PIECES) -> None:
        self.texts, self.vocab_size = documents, vocab_size
        self.document_lengths = np.array([len(document) for document in documents])
        self.documents_read: list[int] = []

    def read(self, document: int, begin: int, end: int) -> tuple[npt.NDArray[np.int64], None]:
        if document not in self.documents_read:
            self.documents_read.append(document)
        return np.array(self.texts[document][begin:end], dtype=np.int64), None

    def __len__(self) -> int:
        return len(self.texts)


def pieces_of(listed: Listed, documents: list[int] | None = None) -> Tensor:
    return token_counts(listed, chosen(listed, documents))  # type: ignore[arg-type]


def neighbours_of(listed: Listed, window: int, documents: list[int] | None = None) -> Tensor:
    pieces = pieces_of(listed, documents)
    return neighbour_counts(listed, chosen(listed, documents), pieces, window)  # type: ignore[arg-type]


def chosen(listed: Listed, documents: list[int] | None) -> npt.NDArray[np.int64]:
    return np.arange(len(listed)) if documents is None else np.array(documents, dtype=np.int64)


def by_hand(documents: list[list[int]], window: int, contexts: int) -> list[list[float]]:
    """The table that `neighbour_counts` makes: each pair of places on its own."""
    counted = Counter(piece for document in documents for piece in document)
    frequent = sorted(range(PIECES), key=lambda piece: (-counted[piece], piece))[:contexts]
    table = [[0.0] * (2 * len(frequent)) for _ in range(PIECES)]
    for document in documents:
        for here, piece in enumerate(document):
            for there, context in enumerate(document):
                if 0 < abs(here - there) <= window and context in frequent:
                    side = 0 if there < here else 1
                    column = side * len(frequent) + frequent.index(context)
                    table[piece][column] += 1 / abs(here - there)
    return table


texts = st.lists(st.lists(st.integers(0, PIECES - 1), min_size=1, max_size=9), min_size=1, max_size=8)


# counting


@given(documents=texts, part=st.sampled_from([1, 5, 1000]))
def test_pieces_are_counted(monkeypatch: pytest.MonkeyPatch, documents: list[list[int]], part: int) -> None:
    monkeypatch.setattr(start, "PART", part)
    counted = Counter(piece for document in documents for piece in document)
    assert pieces_of(Listed(documents)).tolist() == [counted[piece] for piece in range(PIECES)]


@given(
    documents=texts,
    window=st.integers(1, 4),
    contexts=st.integers(1, PIECES + 2),
    part=st.sampled_from([1, 5, 1000]),
)
def test_neighbours_are_counted_within_documents_by_side_and_nearness(
    monkeypatch: pytest.MonkeyPatch, documents: list[list[int]], window: int, contexts: int, part: int
) -> None:
    monkeypatch.setattr(start, "CONTEXTS", contexts)
    monkeypatch.setattr(start, "PART", part)
    found = neighbours_of(Listed(documents), window)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.tensor(by_hand(documents, window, contexts)))


@given(documents=texts, data=st.data())
def test_only_the_given_documents_are_read(documents: list[list[int]], data: st.DataObject) -> None:
    some = sorted(data.draw(st.sets(st.integers(0, len(documents) - 1), min_size=1)))
    left = Listed([documents[number] for number in some])
    assert torch.equal(pieces_of(Listed(documents), some), pieces_of(left))
    assert torch.equal(neighbours_of(Listed(documents), 2, some), neighbours_of(left, 2))


@pytest.mark.parametrize(("cells", "contexts"), [(2 * PIECES * 3, 3), (2 * PIECES * 3 - 1, 2), (1, 1)])
def test_many_pieces_have_fewer_contexts(monkeypatch: pytest.MonkeyPatch, cells: int, contexts: int) -> None:
    monkeypatch.setattr(start, "CELLS", cells)
    documents = [[0, 1, 2, 1, 3], [4, 4, 5, 6]]
    torch.testing.assert_close(neighbours_of(Listed(documents), 2), torch.tensor(by_hand(documents, 2, contexts)))


@given(count=st.integers(1, 40), length=st.integers(1, 9), sample=st.integers(1, 200))
def test_of_many_documents_some_are_read_spread_evenly(
    monkeypatch: pytest.MonkeyPatch, count: int, length: int, sample: int
) -> None:
    monkeypatch.setattr(start, "SAMPLE", sample)
    listed = Listed([[number % PIECES] * length for number in range(count)])
    total = int(pieces_of(listed).sum())
    every = next(step for step in range(1, count * length + 1) if count * length <= step * sample)
    assert listed.documents_read == list(range(0, count, every))
    assert total == length * len(listed.documents_read) < sample + length


# embeddings


def information_of(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Positive pointwise mutual information with smoothed contexts, a cell at a time."""
    total, of_context = counts.sum(), counts.sum(0)
    smoothed = of_context**0.75 / (of_context**0.75).sum()
    table = np.zeros(counts.shape)
    for piece, context in np.argwhere(counts > 0):
        both, alone = counts[piece, context] / total, counts[piece].sum() / total
        table[piece, context] = max(0.0, math.log(both / (alone * smoothed[context])))
    return table


def exact_products(counts: Tensor, width: int) -> tuple[npt.NDArray[np.float64], float]:
    """Products of the centred vectors U sqrt(S) of rank `width`, and the gap between the last S taken and the next."""
    left, values, _ = np.linalg.svd(information_of(counts.double().numpy()), full_matrices=False)
    rank = min(width, len(values))
    vectors = left[:, :rank] * np.sqrt(values[:rank])
    vectors -= vectors.mean(0)
    following = values[rank] if rank < len(values) else 0.0
    return vectors @ vectors.T, float((values[rank - 1] - following) / max(values[0], 1e-9))


def counts_of(pieces: int, contexts: int, seed: int) -> Tensor:
    """A table with many empty cells; each row has at least one count."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.poisson(torch.rand(pieces, contexts, generator=generator) * 2, generator=generator)
    counts[torch.arange(pieces), torch.arange(pieces) % contexts] += 1
    return counts


@given(
    pieces=st.integers(2, 14),
    contexts=st.integers(2, 14),
    width=st.integers(1, 20),
    seed=st.integers(0, 10**6),
)
def test_products_of_embeddings_are_those_of_the_exact_factors(
    pieces: int, contexts: int, width: int, seed: int
) -> None:
    counts = counts_of(pieces, contexts, seed)
    wanted, gap = exact_products(counts, width)
    assume(width >= min(pieces, contexts) or gap > 0.01)  # else either of two vectors is as good
    found = embeddings_from_counts(counts, width)
    assert found.shape == (pieces, width) and found.dtype == torch.float32
    np.testing.assert_allclose((found @ found.T).numpy(), wanted, atol=5e-3 * max(1, wanted.max()))
    assert found.mean(0).abs().max() < 1e-4


def test_products_are_about_right_where_the_rank_is_far_below_the_size() -> None:
    generator = torch.Generator().manual_seed(0)
    kinds = torch.rand(300, 6, generator=generator) ** 4 @ torch.rand(6, 200, generator=generator) ** 4
    counts = torch.poisson(100 * kinds, generator=generator)
    found = embeddings_from_counts(counts, 6)
    wanted, _ = exact_products(counts, 6)
    assert np.linalg.norm((found @ found.T).numpy() - wanted) < 0.01 * np.linalg.norm(wanted)


def test_another_turn_gives_other_vectors_with_the_same_products() -> None:
    counts = counts_of(9, 12, 0)
    torch.manual_seed(1)
    one, other = embeddings_from_counts(counts, 4), embeddings_from_counts(counts, 4)
    torch.manual_seed(1)
    assert torch.equal(one, embeddings_from_counts(counts, 4))
    assert (one - other).abs().max() > 0.1
    torch.testing.assert_close(one @ one.T, other @ other.T, atol=1e-3, rtol=0)


def test_no_axis_means_more_than_another() -> None:
    """Without the turn the first axis would hold most."""
    counts = counts_of(20, 24, 0)
    torch.manual_seed(0)
    size = torch.stack([embeddings_from_counts(counts, 4).square().sum(0) for _ in range(100)]).mean(0)
    assert float(size.max() / size.min()) < 1.2


def test_pieces_without_a_count_get_no_vector_and_change_nothing() -> None:
    counts = counts_of(8, 10, 3)
    with_gaps, embeddings = torch.zeros(11, 10), torch.full((11, 5), 7.0)
    kept = [0, 1, 3, 4, 5, 7, 9, 10]
    with_gaps[kept] = counts
    init_embeddings(embeddings, with_gaps, 0.02)
    gaps = [row for row in range(11) if row not in kept]
    assert (embeddings[gaps] == 7).all()
    products, wanted = (embeddings[kept] @ embeddings[kept].T).numpy(), exact_products(counts, 5)[0]
    np.testing.assert_allclose(products / products[0, 0], wanted / wanted[0, 0], atol=5e-3)


def test_pieces_with_the_same_neighbours_get_the_same_vector() -> None:
    counts = counts_of(9, 12, 4)
    counts[5] = 3 * counts[2]
    found = embeddings_from_counts(counts, 6)
    torch.testing.assert_close(found[5], found[2], atol=1e-4, rtol=0)


@pytest.mark.parametrize("free", [[], [0, 1, 4]])
def test_counted_pieces_are_replaced_at_the_size_of_random_ones(free: list[int]) -> None:
    before = torch.randn(30, 12)
    counts = counts_of(30, 40, 5)
    counts[[3, 17]] = 0
    after = before.clone()
    init_embeddings(after, counts, 0.05, free)
    axes = [axis for axis in range(12) if axis not in free]
    counted = [piece for piece in range(30) if piece not in (3, 17)]
    assert torch.equal(after[:, free], before[:, free]) and torch.equal(after[[3, 17]], before[[3, 17]])
    new = after[counted][:, axes]
    assert float(new.std()) == pytest.approx(0.05, rel=1e-4)
    assert new.mean(0).abs().max() < 1e-5
    wanted, _ = exact_products(counts[counted], len(axes))
    products = (new @ new.T).numpy()
    assert np.corrcoef(products.ravel(), wanted.ravel())[0, 1] > 0.9999


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("counted", [[], [2]])
def test_fewer_than_two_counted_pieces_leave_everything_as_it_was(counted: list[int]) -> None:
    embeddings = torch.randn(5, 4)
    before, counts = embeddings.clone(), torch.zeros(5, 6)
    counts[counted, 1] = 3.0
    init_embeddings(embeddings, counts, 0.02)
    assert torch.equal(embeddings, before)


# in pretraining


def recipe(values: dict[str, Any], *overrides: str) -> PretrainRecipe:
    return parse_recipe(PretrainRecipe, values, overrides, "the test")


def begun(values: dict[str, Any], shards: Shards, *overrides: str) -> tuple[Tensor, Tensor, Tensor]:
    """Token embeddings before and after what counting gives, and the bias of the head after it."""
    settings = fit_to_corpus(recipe(values, *overrides), shards.tokenizer)
    torch.manual_seed(settings.seed)
    learner = build_learner(settings, shards.tokenizer)
    before = learner.encoder.embeddings.token.weight.detach().clone()
    pretraining._init_weights(learner, settings, shards, SILENT, {})
    return before, learner.encoder.embeddings.token.weight.detach(), head_of(learner).bias.detach()


def head_of(learner: PretrainLearner) -> Any:
    (objective,) = [each for each in learner.objectives.values() if isinstance(each, MaskedObjective)]
    return objective.head


def test_by_default_embeddings_stay_random(recipe_values: dict[str, Any], corpus: Shards) -> None:
    before, after, _ = begun(recipe_values, corpus)
    assert torch.equal(before, after)


def test_the_head_begins_with_the_frequencies_of_the_training_documents(
    recipe_values: dict[str, Any], corpus: Shards
) -> None:
    _, _, bias = begun(recipe_values, corpus)
    counts = np.full(corpus.vocab_size, 0.5)
    for document in split_documents(corpus.documents, 0.1, "train"):
        ids, _ = corpus.read(document, 0, int(corpus.document_lengths[document]))
        np.add.at(counts, ids, 1)
    np.testing.assert_allclose(bias.softmax(0).numpy(), counts / counts.sum(), rtol=1e-4)


def test_embeddings_begin_with_counts_at_their_size_and_leave_axes_free(
    recipe_values: dict[str, Any], corpus: Shards
) -> None:
    model = ("init.neighbour_layers=1", "model.initializer_range=0.07")
    before, after, _ = begun(recipe_values, corpus, "init.embeddings=counts", *model)
    axes = neighbour_axes(recipe(recipe_values).model)
    assert axes and not after[:, axes].any()
    others = [axis for axis in range(16) if axis not in axes]
    seen = (after != before)[:, others].any(1)
    assert seen.sum() > 40
    assert float(after[seen][:, others].std()) == pytest.approx(0.07, rel=1e-3)
    special = list(corpus.tokenizer.all_special_ids)
    assert not seen[special].any(), "no special piece stands in the corpus"


def test_heldout_documents_are_not_counted(
    recipe_values: dict[str, Any], stories: list[str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    some = stories[:20]
    heldout = split_documents(len(some), 0.1, "heldout").tolist()
    results = []
    for name, other in (("a", []), ("b", heldout), ("c", [next(n for n in range(20) if n not in heldout)])):
        written = [text if n not in other else "Market engine whisper." for n, text in enumerate(some)]
        documents = [Document(text, "stories.txt", number) for number, text in enumerate(written)]
        shards = build(documents, tokenizer, tmp_path / name)
        results.append(begun(recipe_values, shards, "init.embeddings=counts")[1:])
    assert all(torch.equal(one, other) for one, other in zip(results[0], results[1], strict=True))
    assert not any(torch.equal(one, other) for one, other in zip(results[0], results[2], strict=True))


def test_a_wider_window_counts_more(recipe_values: dict[str, Any], corpus: Shards) -> None:
    one, other = (
        begun(recipe_values, corpus, "init.embeddings=counts", f"init.window={window}")[1] for window in (1, 4)
    )
    assert not torch.equal(one, other)


EVERYTHING = ("init.embeddings=counts", "init.neighbour_layers=1", "train.budget=5 steps")


def weights(folder: Path) -> str:
    return files.sha256(folder / "model" / "model.safetensors")


def test_the_same_seed_gives_the_same_bytes(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(ord(name))  # what was drawn before does not matter
        settings = recipe(recipe_values, *EVERYTHING, "train.budget=2 steps", f"seed={seed}")
        pretrain(settings, output=tmp_path / name, progress=SILENT)
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")


def stop_a_run(settings: PretrainRecipe, out: Path, place: Any, name: str, instead: Any) -> None:
    """Run until `instead`, put at `place.name`, raises an error about the power."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(place, name, instead)
        with refused("power", kind=RuntimeError):
            pretrain(settings, output=out, progress=SILENT)


def test_a_resumed_run_does_not_begin_again(
    recipe_values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = recipe(recipe_values, *EVERYTHING, "train.evaluations=5")
    pretrain(settings, output=tmp_path / "straight", progress=SILENT)
    append = Run.append

    def stopping(self: Run, **row: Any) -> None:
        append(self, **row)
        if row["step"] == 4:
            raise RuntimeError("the power is gone")

    def never(*_: object) -> None:
        raise AssertionError("it began again")

    stop_a_run(settings, tmp_path / "stopped", Run, "append", stopping)
    with monkeypatch.context() as resumed:
        resumed.setattr(pretraining, "_init_weights", never)
        with refused("began again", kind=AssertionError):
            pretrain(settings, output=tmp_path / "new", progress=SILENT)
        pretrain(settings, output=tmp_path / "stopped", progress=SILENT)
    assert weights(tmp_path / "stopped") == weights(tmp_path / "straight")


def test_a_run_stopped_before_its_first_checkpoint_begins_again_alike(
    recipe_values: dict[str, Any], tmp_path: Path
) -> None:
    settings = recipe(recipe_values, *EVERYTHING)
    pretrain(settings, output=tmp_path / "straight", progress=SILENT)

    def stopping(*_: object) -> None:
        raise RuntimeError("the power is gone")

    stop_a_run(settings, tmp_path / "stopped", start, "init_embeddings", stopping)
    pretrain(settings, output=tmp_path / "stopped", progress=SILENT)
    assert weights(tmp_path / "stopped") == weights(tmp_path / "straight")
