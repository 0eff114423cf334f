"""Scores of one model, and several models on the same rows: each with its intervals, and the paired difference of the
first to each of the others. To evaluate a model is to compare it with no other.

KINDS says in which form rows of each kind are compared, what is counted in them, and by which figures.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from operator import eq
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from unmask.metrics import answers, label_metrics, number_metrics, retrieval
from unmask.metrics.figures import Interval, Means, Statistics, bootstrap, check_rows, difference, figure_of
from unmask.metrics.label_metrics import Counted

MOST_COUNTED = 100  # labels of which all pairs are counted
MOST_POINTS = 1000  # rows whose true and predicted numbers are kept for a plot
MOST_ERRORS = 8  # rows listed whose predictions err most

Details = dict[str, Any]  # as Scores describes them


@dataclass(frozen=True)
class Case:
    """A model on rows: what is true and what is predicted of each, in the form of their kind; the labels that the model
    knows; names of figures; the probability of each label for each row, without which what is predicted is certain."""

    reference: Sequence[Any]
    predicted: Sequence[Any]
    labels: Sequence[str]
    names: Sequence[str]
    probabilities: ArrayLike | None = None

    def pairs(self) -> list[tuple[Any, Any]]:
        """(true, predicted) of each row. Raises ValueError for no rows or other numbers of them."""
        check_rows(self.reference, self.predicted)
        return list(zip(self.reference, self.predicted, strict=True))


@dataclass(frozen=True)
class Sample:
    """The statistics of the figures of a case; details: from the seed of their intervals; labels: all there are."""

    statistics: Sequence[Statistics]
    details: Callable[[int], Details]
    labels: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Kind:
    """How rows of one kind are compared.

    unit: what a row is; metrics: the figures that models can be compared by, the usual one first; figures: those that
    are computed beside it, in training those in `in_training`; correct: whether a prediction is right altogether, from
    the truth and the prediction; mcnemar: whether it is tested that models differ in how many are.
    """

    name: str
    unit: str
    metrics: tuple[str, ...]
    figures: tuple[str, ...]
    sample: Callable[[Case], Sample]
    correct: Callable[[Any, Any], bool] = eq
    mcnemar: bool = False
    in_training: tuple[str, ...] = ()


def _label(case: Case) -> Sample:
    """Labels of the reference that the model does not know come after those that it knows."""
    known = len(case.labels)
    every = [*case.labels, *sorted(set(case.reference) - set(case.labels))]
    counted = label_metrics.counted_pairs(case.reference, case.predicted, every)
    statistics = _statistics(counted, case.names)
    if "auc" in case.names:
        truth, said = counted.rows.T
        rows = truth < known  # no probability is given to other labels
        shares = np.eye(known)[said] if case.probabilities is None else np.asarray(case.probabilities)
        statistics.append(number_metrics.auc_statistics(truth[rows], shares[rows]))

    def details(seed: int) -> Details:
        matrix = {"confusion": label_metrics.confusion(counted)} if len(every) <= MOST_COUNTED else {}
        return {"per_label": counted.per_label(seed), **matrix, "confusions": label_metrics.confusions(case.pairs())}

    return Sample(statistics, details, every)


def _labels(case: Case) -> Sample:
    known = len(case.labels)
    every = [*case.labels, *sorted({label for one in case.reference for label in one} - set(case.labels))]
    truth, said = ([{(label,) for label in one} for one in side] for side in (case.reference, case.predicted))
    counted = label_metrics.counted_items(truth, said, every)
    statistics = _statistics(counted, case.names)
    if "subset_accuracy" in case.names:
        statistics.append(label_metrics.subset_accuracy(truth, said))
    if "auc" in case.names:
        _, true, predicted = (part[:, :known] for part in np.split(counted.rows, 3, axis=1))
        shares = predicted if case.probabilities is None else case.probabilities
        statistics.append(number_metrics.auc_statistics(true, shares))

    return Sample(statistics, lambda seed: {"per_label": counted.per_label(seed)}, every)


def _tags(case: Case) -> Sample:
    """Raises ValueError for another number of tags than a sentence has tokens."""
    pairs = [pair for tags, said in case.pairs() for pair in zip(tags, said, strict=True)]
    if not pairs:
        raise ValueError("no tokens to score")
    counted = label_metrics.counted_items(label_metrics.tags_of(case.reference), label_metrics.tags_of(case.predicted))
    return _sentences(case, counted, pairs, {"tokens": len(pairs)})


def _entities(case: Case) -> Sample:
    truth, said = ([[tuple(span) for span in spans] for spans in side] for side in (case.reference, case.predicted))
    counted = label_metrics.counted_items(truth, said)
    pairs = [pair for some in zip(truth, said, strict=True) for pair in label_metrics.paired_spans(*some)]
    return _sentences(case, counted, pairs, {"entities": sum(map(len, truth))})


def _sentences(case: Case, counted: Counted, pairs: list[tuple[Any, Any]], items: dict[str, int]) -> Sample:
    def details(seed: int) -> Details:
        return {**items, "per_label": counted.per_label(seed), "confusions": label_metrics.confusions(pairs)}

    return Sample(_statistics(counted, case.names), details, list(counted.labels))


def _statistics(counted: Counted, names: Sequence[str]) -> list[Statistics]:
    chosen = [name for name in names if name in label_metrics.OF_COUNTS]
    return [counted.statistics(chosen)] if chosen else []


def _number(case: Case) -> Sample:
    def details(seed: int) -> Details:
        apart = -(-len(case.reference) // MOST_POINTS)
        errors = np.abs(np.subtract(case.predicted, case.reference))
        return {"numbers": [list(pair) for pair in case.pairs()[::apart]], **_largest_errors(case, errors)}

    return Sample([number_metrics.number_statistics(case.names, case.reference, case.predicted)], details)


def _similarity(case: Case) -> Sample:
    """A cosine is not to be the same as the score: the ranks among all rows tell how far apart they are."""
    true, said = (np.argsort(np.argsort(x, kind="stable")) for x in (case.reference, case.predicted))
    return Sample(_number(case).statistics, lambda seed: _largest_errors(case, np.abs(true - said)))


def _largest_errors(case: Case, errors: Any) -> Details:
    pairs, rows = case.pairs(), np.argsort(-errors, kind="stable")[:MOST_ERRORS].tolist()
    return {"largest_errors": [{"row": n, "true": pairs[n][0], "predicted": pairs[n][1]} for n in rows]}


def _retrieval(case: Case) -> Sample:
    ranks = [ranks for _, ranks in case.pairs()]

    def details(seed: int) -> Details:
        first = np.array([one[0] for one in ranks])
        rows = np.argsort(-first, kind="stable")[:MOST_ERRORS].tolist()
        return {"largest_errors": [{"row": row, "rank": int(first[row])} for row in rows if first[row] > 1]}

    return Sample([Means(name, retrieval.retrieval_scores(name, ranks)) for name in case.names], details)


def _answers(case: Case) -> Sample:
    scores = answers.answer_scores(case.reference, case.predicted)
    columns = dict(zip(answers.OF_ANSWERS, scores.T, strict=True))
    statistics = [Means(name, columns[name]) for name in case.names]
    return Sample(statistics, lambda seed: {"parts": answers.parts_of(case.reference, scores)})


def _exact(true: dict[str, Any], said: str) -> bool:
    return answers.answer_score(said, **true)[1] == 1


_LABELS = ("micro_f1", "macro_f1", "subset_accuracy")
_ENTITIES = ("entity_f1", "precision", "recall", "macro_f1")
_NUMBERS, _ANSWERS, _RANKS = tuple(number_metrics.OF_NUMBERS), answers.OF_ANSWERS, retrieval.OF_RANKS
_COSINE = ("spearman", "pearson")

KINDS = (
    Kind("label", "row", ("accuracy", "macro_f1", "matthews", "auc"), ("accuracy", "macro_f1"), _label, mcnemar=True),
    Kind("labels", "row", (*_LABELS, "auc"), _LABELS, _labels),
    Kind("number", "row", _NUMBERS, _NUMBERS, _number),
    Kind("tags", "sentence", ("accuracy",), (), _tags),
    Kind("tags", "sentence", ("entity_f1",), _ENTITIES, _entities),
    Kind("answers", "question", ("answer_f1",), _ANSWERS, _answers, _exact, in_training=("exact_match",)),
    Kind("vectors", "row", _COSINE, _COSINE, _similarity, correct=lambda true, said: False),
    Kind("vectors", "row", _RANKS, _RANKS, _retrieval, correct=lambda true, ranks: ranks[0] == 1),
)
"""The kinds of rows, and the form of the reference and of a prediction of a row:

    label    a label                                    a label
    labels   labels                                     labels
    number   a number                                   a number
    tags     (accuracy) a tag for each token            the same, None for no tag
             (entity_f1) entities [start, stop, label]  the same
    answers  {"answers": [...], "language": en | zh}    an answer, "" for none
    vectors  (spearman, pearson) a score                the cosine
             (others) how many texts are relevant       their ranks from 1, ascending
"""


def metrics_of(kind: str) -> tuple[str, ...]:
    """The figures that models of rows of this kind can be compared by, the usual one first."""
    return tuple(name for one in KINDS if one.name == kind for name in one.metrics)


def kind_of(kind: str, metric: str) -> Kind:
    """How rows of a kind are compared by a metric. Raises ValueError for another kind or metric."""
    for one in KINDS:
        if one.name == kind and metric in one.metrics:
            return one
    raise ValueError(f"rows of the kind {kind} have no {metric}, but {', '.join(metrics_of(kind))}")


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
        """The `evaluation` of results.json, as report/results.py describes it."""
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
