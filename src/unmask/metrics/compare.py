"""Scores of one model, and several models on the same rows: each with its intervals, and the paired difference of the
first to each of the others.

To evaluate a model is to compare it with no other.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from unmask.metrics.figures import Interval, Statistics, bootstrap, difference, figure_of
from unmask.metrics.kinds import Case, kind_of, metrics_of


@dataclass(frozen=True)
class Contestant:
    """The predictions of a model for the rows, in the form of their kind (KINDS).

    probabilities: of each label for each row, where models are compared by these; without them what is predicted
    counts as certain.

    kind: pretrained, scratch, public (a checkpoint of others), tfidf, frequent (the most frequent tag of each word),
    majority, mean, overlap (the words beside those of the question), words (those that two texts have in common), or
    other.
    """

    name: str
    kind: str
    predicted: Sequence[Any]
    probabilities: ArrayLike | None = None


@dataclass(frozen=True)
class Scores:
    """A model on rows: figures with their 95 % bootstrap intervals, the metric first, and details.

    rows: how many units (row, sentence, question) there are, which are what the bootstrap draws. Details, as there are:

    per_label: [{label, precision, recall, f1, f1_low, f1_high, support}];
    confusion: counts, [true label][predicted label], of at most 100 labels;
    confusions: [{true, predicted, count, share}], the most frequent first; true is None for an entity that is none,
    predicted for one that is not found, share of all items of that true label;
    tokens, entities: how many there are in all sentences;
    parts: [{part, answer_f1, exact_match, rows}] of questions; numbers: [[true, predicted]] of some rows;
    largest_errors: [{row, true, predicted}], of retrieval [{row, rank}]; rows are counted from 0.
    """

    kind: str
    metric: str
    unit: str
    rows: int
    labels: list[str]
    figures: dict[str, Interval]
    details: dict[str, Any]

    def __getitem__(self, figure: str) -> Interval:
        return self.figures[figure]

    def __repr__(self) -> str:
        figures = ", ".join(f"{figure_of(name).title} {one.format(name)}" for name, one in self.figures.items())
        return f"Scores({self.rows:,} {self.unit}s, {figures})"

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, figures and details by their names."""
        facts = asdict(self)
        figures, details = facts.pop("figures"), facts.pop("details")
        return {**facts, **figures, **details}


@dataclass(frozen=True)
class Comparison:
    """Several models on the same rows. scores: of the first; models: [{name, kind, FIGURE: interval}];
    differences: [{of, over, kind, FIGURE: interval, mcnemar}], the first less each of the others."""

    scores: Scores
    models: list[dict[str, Any]]
    differences: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """The `evaluation` of results.json, as report/folder.py describes it."""
        facts = asdict(self.scores)
        details = facts.pop("details")
        del facts["figures"]
        return {**facts, "models": self.models, "differences": self.differences, **details}


def compare(
    kind: str,
    reference: Sequence[Any],
    contestants: Sequence[Contestant],
    labels: Sequence[str] = (),
    metric: str | None = None,
    seed: int = 0,
) -> Comparison:
    """Score contestants on the same rows, and the first against the others.

    reference: what is true of each row, in the form of its kind; labels: those that the models know. Raises ValueError
    for no rows, or for other numbers of rows or of tags in a sentence.
    """
    metric = metric or metrics_of(kind)[0]
    chosen, first = kind_of(kind, metric), contestants[0]
    names = tuple(dict.fromkeys((metric, *chosen.figures)))
    samples = [chosen.sample(Case(reference, one.predicted, labels, names, one.probabilities)) for one in contestants]
    intervals = [_intervals(sample.statistics, names, seed) for sample in samples]
    models = [
        {"name": one.name, "kind": one.kind, **_plain(found)} for one, found in zip(contestants, intervals, strict=True)
    ]
    differences = []
    for one, sample in zip(contestants[1:], samples[1:], strict=True):
        pairs = zip(samples[0].statistics, sample.statistics, strict=True)
        found = _intervals([difference(a, b) for a, b in pairs], names, seed)
        row = {"of": first.name, "over": one.name, "kind": one.kind, **_plain(found)}
        if chosen.mcnemar:
            right = (correct(kind, metric, reference, some.predicted) for some in (first, one))
            row["mcnemar"] = mcnemar(*right)
        differences.append(row)
    known, details = samples[0].labels, samples[0].details(seed)
    scores = Scores(kind, metric, chosen.unit, len(reference), known, intervals[0], details)
    return Comparison(scores, models, differences)


def _intervals(statistics: Sequence[Statistics], names: Sequence[str], seed: int) -> dict[str, Interval]:
    """The figures, in the order of the names."""
    found = {name: interval for some in statistics for name, interval in bootstrap(some, seed=seed).items()}
    return {name: found[name] for name in names}


def _plain(intervals: dict[str, Interval]) -> dict[str, Any]:
    return {name: asdict(interval) for name, interval in intervals.items()}


def values(
    kind: str,
    reference: Sequence[Any],
    predicted: Sequence[Any],
    labels: Sequence[str] = (),
    metric: str | None = None,
    probabilities: ArrayLike | None = None,
) -> dict[str, float]:
    """The metric while training, and what is watched beside it: without intervals. Arguments as in `compare`."""
    metric = metric or metrics_of(kind)[0]
    chosen = kind_of(kind, metric)
    case = Case(reference, predicted, labels, (metric, *chosen.in_training), probabilities)
    return {name: value for some in chosen.sample(case).statistics for name, value in some.values().items()}


def correct(kind: str, metric: str, reference: Sequence[Any], predicted: Sequence[Any]) -> list[bool]:
    """Whether all of each prediction is right. Raises ValueError for other numbers of them."""
    right = kind_of(kind, metric).correct
    return [right(truth, said) for truth, said in zip(reference, predicted, strict=True)]


def mcnemar(a_right: ArrayLike, b_right: ArrayLike) -> float:
    """The exact two-sided p of McNemar's test (1947) that two models are right equally often; (rows,) bool each.

    Of the rows on which exactly one is right, each is as likely right by the one as by the other: a binomial
    test with probability one half. 1 where there are no such rows. Raises ValueError for unequal lengths.
    """
    first, second = np.asarray(a_right, dtype=bool), np.asarray(b_right, dtype=bool)
    if first.shape != second.shape:
        raise ValueError(f"{first.size} rows of a, but {second.size} of b")
    fewer, more = sorted((int((first & ~second).sum()), int((second & ~first).sum())))
    odd = fewer + more
    ways = total = 1
    for k in range(fewer):
        ways = ways * (odd - k) // (k + 1)  # to choose k + 1 of the odd rows
        total += ways
    return float(min(1.0, 2 * total / 2**odd))
