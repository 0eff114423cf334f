"""The linear-chain CRF against the definition: every path enumerated, in float64."""

import itertools
import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.heads.crf import CRF
from unmask.tasks.crf import CRFDecoder
from unmask.tasks.task import log_softmax

NEVER = float("-inf")


@dataclass(frozen=True)
class Grammar:
    """Rules as `Tags` has them."""

    start: np.ndarray
    follows: np.ndarray
    within: np.ndarray


def grammar(tags: int, seed: int, share: float = 0.7) -> Grammar:
    """Random rules that always leave some path: tag 0 may stand anywhere."""
    draw = np.random.default_rng(seed)
    start = draw.random(tags) < share
    follows, within = draw.random((tags, tags)) < share, draw.random((tags, tags)) < share
    start[0] = True
    follows[0], follows[:, 0], within[0], within[:, 0] = True, True, True, True
    return Grammar(start, follows, within)


def decoder(model: CRF) -> CRFDecoder:
    return CRFDecoder.of(model.rules, model.decoding_parameters())


def crf(rules: Grammar, seed: int) -> CRF:
    torch.manual_seed(seed)
    made = CRF(rules)
    made.rules = rules
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=2)
    return made


def every_path(
    chain: CRFDecoder,
    emissions: np.ndarray,
    joined: np.ndarray | None = None,
    opens: bool = True,
    closes: bool = True,
) -> dict[tuple[int, ...], float]:
    """The score of each path of one sequence, by the definition. emissions (n, tags)."""
    n, tags = emissions.shape
    scores = {}
    for path in itertools.product(range(tags), repeat=n):
        score = (chain.start[path[0]] if opens else 0.0) + (chain.end[path[-1]] if closes else 0.0)
        score += sum(emissions[t, tag] for t, tag in enumerate(path))
        for t in range(1, n):
            score += chain.transitions[path[t - 1], path[t]]
            if joined is not None and joined[t] and not chain.within[path[t - 1], path[t]]:
                score = NEVER
        scores[path] = score
    return scores


def log_total(scores: dict[tuple[int, ...], float]) -> float:
    most = max(scores.values())
    return most + math.log(math.fsum(math.exp(score - most) for score in scores.values()))


def padded(lengths: list[int], tags: int, seed: int, scale: float = 2.0) -> np.ndarray:
    """Random emissions; what stands beyond a sequence's length is wild, to show that it is not read."""
    emissions = np.random.default_rng(seed).normal(size=(len(lengths), max(lengths), tags), scale=scale)
    for row, length in enumerate(lengths):
        emissions[row, length:] = 1e4
    return emissions


LENGTHS = [1, 5, 2, 4, 3, 1]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("edges", [False, True])
def test_the_loss_is_that_of_all_paths(seed: int, edges: bool) -> None:
    """Edges: sequences cut out of longer ones, where neither start nor end is scored."""
    model, emissions = crf(grammar(4, seed), seed), padded(LENGTHS, 4, seed)
    chain, draw = decoder(model), np.random.default_rng(seed)
    opens, closes = (draw.random(len(LENGTHS)) < 0.5, draw.random(len(LENGTHS)) < 0.5)
    if not edges:
        opens, closes = np.ones_like(opens), np.ones_like(closes)
    tags, wanted = np.zeros(emissions.shape[:2], dtype=np.int64), []
    for row, length in enumerate(LENGTHS):
        scores = every_path(chain, emissions[row, :length], None, bool(opens[row]), bool(closes[row]))
        allowed = [path for path, score in scores.items() if score > NEVER]
        path = allowed[draw.integers(len(allowed))]
        tags[row, :length] = path
        tags[row, length:] = -100
        wanted.append(log_total(scores) - scores[path])
    given = (torch.from_numpy(opens), torch.from_numpy(closes))
    lost = model(torch.from_numpy(emissions), torch.from_numpy(tags), torch.tensor(LENGTHS), *given)
    assert lost.dtype == torch.float32
    np.testing.assert_allclose(lost.detach().numpy(), wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_that_of_the_loss(seed: int) -> None:
    """Against finite differences, with forbidden transitions and several lengths."""
    rules = grammar(3, seed, 0.5)
    model = crf(rules, seed).double()
    # the model computes in float32; the same formulas are checked here in float64
    emissions = torch.from_numpy(padded([3, 1, 2], 3, seed, 1.0)).clamp(max=5).requires_grad_()
    tags, lengths = torch.zeros(3, 3, dtype=torch.int64), torch.tensor([3, 1, 2])
    every = torch.ones(3, dtype=torch.bool)
    names = [name for name, _ in model.named_parameters()]
    parameters = [parameter.detach().clone().requires_grad_() for parameter in model.parameters()]

    def lost(emissions: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(
            model, dict(zip(names, values, strict=True)), (emissions, tags, lengths, every, every)
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        assert torch.autograd.gradcheck(lost, (emissions, *parameters))


def test_nothing_overflows_and_no_gradient_is_lost() -> None:
    """Long sequences and sharp scores: finite, and right in float32."""
    rules = grammar(5, 0)
    model = crf(rules, 0)
    emissions = (torch.randn(2, 600, 5, generator=torch.Generator().manual_seed(1)) * 300).requires_grad_()
    tags, lengths = torch.zeros(2, 600, dtype=torch.int64), torch.tensor([600, 300])
    lost = model(emissions, tags, lengths, *torch.ones(2, 2, dtype=torch.bool))
    lost.sum().backward()
    assert torch.isfinite(lost).all() and (lost > 0).all()
    for parameter in (emissions, *model.parameters()):
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all()
    assert (emissions.grad[1, 300:] == 0).all()
    forbidden = torch.from_numpy(~rules.follows)
    assert (model.transitions.grad[forbidden] == 0).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tokens", [False, True])
def test_the_best_path_is_the_best_of_all(seed: int, tokens: bool) -> None:
    model, emissions = crf(grammar(4, seed), seed), padded(LENGTHS, 4, seed)
    draw = np.random.default_rng(seed)
    emissions[draw.random(emissions.shape) < 0.15] = NEVER  # tags that are not allowed at a place
    emissions[:, :, 0] = np.where(np.isfinite(emissions[:, :, 0]), emissions[:, :, 0], -3)
    joined = (draw.random(emissions.shape[:2]) < 0.5) & tokens
    chain = decoder(model)
    found = chain.viterbi(emissions, np.array(LENGTHS), joined)
    for row, length in enumerate(LENGTHS):
        scores = every_path(chain, emissions[row, :length], joined[row])
        assert tuple(found[row, :length]) == max(scores, key=scores.__getitem__)
        assert not found[row, length:].any()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tokens", [False, True])
def test_the_score_of_a_span_is_its_share_of_all_paths(seed: int, tokens: bool) -> None:
    """First tag 1, then 2 for as long as it goes on."""
    model, emissions = crf(grammar(4, seed, 0.9), seed), padded(LENGTHS, 4, seed)
    draw = np.random.default_rng(seed)
    joined = (draw.random(emissions.shape[:2]) < 0.4) & tokens
    chain, asked, wanted = decoder(model), [], []
    for row, length in enumerate(LENGTHS):
        scores = every_path(chain, emissions[row, :length], joined[row])
        total = log_total(scores)
        for start in range(length):
            for stop in range(start + 1, length + 1):
                tags = (1, *[2] * (stop - start - 1))
                inside = [
                    math.exp(score - total)
                    for path, score in scores.items()
                    if path[start:stop] == tags and (stop == length or path[stop] != 2)
                ]
                asked.append((row, start, stop, 1, 2))
                wanted.append(math.fsum(inside))
    found = chain.span_probabilities(emissions, np.array(LENGTHS), joined, asked)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_without_learnt_transitions_places_are_independent_where_all_is_allowed() -> None:
    free = Grammar(*(np.ones(shape, dtype=bool) for shape in ((3,), (3, 3), (3, 3))))
    emissions = padded([4, 2], 3, 0)
    found = CRFDecoder.of(free, {}).viterbi(emissions, np.array([4, 2]), np.zeros((2, 4), dtype=bool))
    assert found[0].tolist() == emissions[0].argmax(-1).tolist()
    assert found[1, :2].tolist() == emissions[1, :2].argmax(-1).tolist()


def test_transitions_begin_as_smoothed_relative_frequencies() -> None:
    start = np.array([True, True, False])
    follows = np.array([[1, 1, 0], [1, 0, 1], [1, 1, 1]], dtype=bool)
    model = CRF(Grammar(start, follows, follows))
    model.init_from_counts([[0, 1, 2], [0, 0], [1, 2, 2], [], [1]])
    first, moves, last = (x.exp().detach().numpy() for x in model.masked_scores())
    # counts: starts 0 twice, 1 twice; 0->1 once, 0->0 once; 1->2 twice; 2->2 once; ends: 2 twice, 0 and 1 once
    np.testing.assert_allclose(first, [3 / 6, 3 / 6, 0], rtol=1e-6)
    np.testing.assert_allclose(moves, [[2 / 6, 2 / 6, 0], [1 / 6, 0, 3 / 6], [1 / 7, 1 / 7, 2 / 7]], rtol=1e-6)
    np.testing.assert_allclose(last, [2 / 6, 2 / 6, 3 / 7], rtol=1e-6)


def test_a_long_sequence_is_decoded() -> None:
    """5,000 places: scores stay probabilities and the path is that of its parts."""
    chain = CRFDecoder.of(grammar(3, 1, 1.0), {})
    emissions = np.random.default_rng(0).normal(size=(1, 5_000, 3), scale=3)
    emissions = emissions - np.log(np.exp(emissions).sum(-1, keepdims=True))
    apart = np.zeros((1, 5_000), dtype=bool)
    path = chain.viterbi(emissions, np.array([5_000]), apart)[0]
    assert path.tolist() == emissions[0].argmax(-1).tolist()
    (score,) = chain.span_probabilities(emissions, np.array([5_000]), apart, [(0, 4_000, 4_001, int(path[4_000]), 2)])
    wanted = math.exp(emissions[0, 4_000].max()) * (1 - math.exp(emissions[0, 4_001, 2]))
    assert score == pytest.approx(wanted, rel=1e-9)


def test_a_span_on_the_only_path_is_certain_however_improbable_its_tags() -> None:
    """Tag 1 must follow tag 0, although its emission is far below what a number can hold beside that of tag 2."""
    follows = np.array([[False, True, False], [False, True, True], [False, False, True]])
    rules = Grammar(np.array([True, False, False]), follows, follows)
    emissions = np.zeros((1, 4, 3))
    emissions[0, 1:, 1] = -2000.0
    emissions[0, 3, [0, 2]] = NEVER
    scores = CRFDecoder.of(rules, {}).span_probabilities(
        emissions, np.array([4]), np.zeros((1, 4), dtype=bool), [(0, 1, 4, 1, 1), (0, 0, 1, 0, 2)]
    )
    assert scores.tolist() == pytest.approx([1.0, 1.0])


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=5),
    st.integers(2, 9),
    st.integers(0, 2**31),
    st.sampled_from([0.1, 3, 60]),
)
def test_decoding_without_torch_agrees_with_the_loss(lengths: list[int], tags: int, seed: int, scale: float) -> None:
    """The probability of a whole path is the exponential of its loss, which torch computes; none is above the best."""
    rules, rng = grammar(tags, seed), np.random.default_rng(seed)
    model = crf(rules, seed)
    emissions, sizes = padded(lengths, tags, seed, scale), np.array(lengths)
    chain, joined = decoder(model), np.zeros(emissions.shape[:2], dtype=np.bool_)
    logs = log_softmax(emissions)
    best = chain.viterbi(logs, sizes, joined)

    def losses(paths: np.ndarray) -> np.ndarray:
        every = torch.ones(len(lengths), dtype=torch.bool)
        given = torch.from_numpy(logs), torch.from_numpy(paths), torch.from_numpy(sizes)
        return model(*given, every, every).detach().double().numpy()

    def allowed(path: np.ndarray) -> bool:
        return bool(rules.start[path[0]] and all(rules.follows[a, b] for a, b in pairwise(path)))

    least = losses(best)
    for _ in range(3):
        others = rng.integers(0, tags, best.shape)
        lost = losses(others)
        for row, size in enumerate(lengths):
            if allowed(others[row, :size]):
                assert lost[row] >= least[row] - 1e-3 * max(1.0, abs(least[row]))
    one_tag = [(row, 0, size, int(best[row, 0]), int(best[row, -1])) for row, size in enumerate(lengths) if size == 1]
    one_tag += [
        (row, 0, size, int(best[row, 0]), int(best[row, 1]))
        for row, size in enumerate(lengths)
        if size > 1 and len(set(best[row, 1:size].tolist())) == 1
    ]
    found = chain.span_probabilities(logs, sizes, joined, one_tag)
    np.testing.assert_allclose(found, np.exp(-least[[row for row, *_ in one_tag]]), atol=1e-3)
