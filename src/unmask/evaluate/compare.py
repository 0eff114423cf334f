"""Several models on the same test rows: each with its intervals, and the paired difference of the first to the rest.

Kinds of rows: one label each (`compare`), any number of labels (`compare_labels`), a number (`compare_numbers`), one
tag for each token of a sentence (`compare_tags`), spans of a sentence (`compare_spans`), a question with its answers
(`compare_answers`), two texts by their vectors (`compare_vectors`). Each gives the `evaluation` of results.json, as
report/folder.py describes it.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unmask import metrics, rowmetrics
from unmask.data.rows.tables import Span
from unmask.metrics import Interval, Metric, SentenceCounts
from unmask.tasks import answerscore, embedscore, manylabels

MOST_CONFUSIONS = 20
MOST_COUNTED = 100  # labels of which all pairs are counted
MOST_POINTS = 1000  # rows whose true and predicted numbers are kept for a plot

Spans = Sequence[tuple[int, int, str]]  # (start, stop, label) of each entity


@dataclass(frozen=True)
class Contestant:
    """A model's predictions on the test rows: a label, labels, a number, the tags or the spans of each row.

    probabilities: of each label for each row, where models are compared by these; without them what is predicted
    counts as certain.

    kind: pretrained, scratch, public (a checkpoint of others), tfidf, frequent (the most frequent tag of each word),
    majority, overlap (the words beside those of the question), words (those that two texts have in common), or other.
    """

    name: str
    kind: str
    predicted: Sequence[Any]
    probabilities: Sequence[Sequence[float]] | None = None


def compare(
    reference: Sequence[str],
    contestants: Sequence[Contestant],
    labels: Sequence[str],
    seed: int = 0,
    metric: str = "accuracy",
) -> dict[str, Any]:
    """One label a row. Figures of each contestant, differences of the first over the others.

    Labels of the reference that are not among `labels` come after these: a model does not know them.
    """
    known = len(labels)
    labels = [*labels, *sorted(set(reference) - set(labels))]
    numbers = {label: number for number, label in enumerate(labels)}
    truth = _numbered(reference, numbers)
    said = [_numbered(c.predicted, numbers) for c in contestants]
    count = len(labels)
    chosen = list(dict.fromkeys((metric, "accuracy", "macro_f1")))
    rows = truth < known  # no probability is given to other labels
    shares = [_shares(c, s[rows], known, rows) for c, s in zip(contestants, said, strict=True) if metric == "auc"]

    def one(key: str, number: int) -> Interval:
        if key == "auc":
            return rowmetrics.bootstrap_rows(rowmetrics.auc, truth[rows], shares[number], seed=seed)
        return metrics.bootstrap(metrics.METRICS[key], truth, said[number], count, seed=seed)

    def difference(key: str, number: int) -> Interval:
        if key == "auc":
            return rowmetrics.paired_difference_rows(rowmetrics.auc, truth[rows], shares[0], shares[number], seed=seed)
        return metrics.paired_difference(metrics.METRICS[key], truth, said[0], said[number], count, seed=seed)

    def figures(number: int) -> dict[str, Any]:
        return {key: asdict(one(key, number)) for key in chosen}

    def differences(number: int) -> dict[str, Any]:
        found: dict[str, Any] = {key: asdict(difference(key, number)) for key in chosen}
        return found | {"mcnemar": mcnemar(said[0] == truth, said[number] == truth)}

    pairs = Counter(zip(reference, contestants[0].predicted, strict=True))
    few = count <= MOST_COUNTED
    return {
        "kind": "label",
        "metric": metric,
        "unit": "row",
        "rows": len(truth),
        "labels": list(labels),
        **_standing(contestants, figures, differences),
        **({"confusion": metrics.confusion(truth, said[0], count).tolist()} if few else {}),
        **({} if few else {"confusions": _confusions(pairs)}),
        "per_label": _of_rows(truth, said[0], labels, seed),
    }


def _shares(
    contestant: Contestant, said: NDArray[np.int64], labels: int, rows: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The probabilities (rows, labels) that a model gave the labels of these rows."""
    if contestant.probabilities is None:
        return np.eye(labels)[said]
    return np.asarray(contestant.probabilities, dtype=np.float64)[rows]


def compare_labels(
    reference: Sequence[Sequence[str]],
    contestants: Sequence[Contestant],
    labels: Sequence[str],
    seed: int = 0,
    metric: str = "micro_f1",
) -> dict[str, Any]:
    """Any number of labels a row: F1 over all decisions and over labels, and the share of rows that are all right."""
    known = list(labels)
    labels = [*labels, *sorted({label for one in reference for label in one} - set(labels))]
    counted = [manylabels.counted(reference, c.predicted, labels) for c in contestants]
    chosen = list(dict.fromkeys((metric, "micro_f1", "macro_f1", "subset_accuracy")))
    truth = counted[0].actual[:, : len(known)]
    shares = [
        one.given[:, : len(known)] if c.probabilities is None else np.asarray(c.probabilities)
        for c, one in zip(contestants, counted, strict=True)
    ]

    def one(key: str, number: int) -> Interval:
        if key == "auc":
            return rowmetrics.bootstrap_rows(rowmetrics.auc, truth, shares[number], seed=seed)
        return manylabels.bootstrap(counted[number], key, seed)

    def difference(key: str, number: int) -> Interval:
        if key == "auc":
            a, b = shares[0], shares[number]
            return rowmetrics.paired_difference_rows(rowmetrics.auc, truth, a, b, seed=seed)
        return manylabels.difference(counted[0], counted[number], key, seed)

    return {
        "kind": "labels",
        "metric": metric,
        "unit": "row",
        "rows": len(reference),
        "labels": list(labels),
        **_standing(
            contestants,
            lambda number: {key: asdict(one(key, number)) for key in chosen},
            lambda number: {key: asdict(difference(key, number)) for key in chosen},
        ),
        "per_label": manylabels.of_labels(counted[0], seed),
    }


def compare_numbers(
    reference: Sequence[float],
    contestants: Sequence[Contestant],
    seed: int = 0,
    metric: str = "pearson",
    names: Sequence[str] = rowmetrics.OF_NUMBERS,
) -> dict[str, Any]:
    """A number a row: correlations and errors, and the numbers of the first model for a plot. names: of figures."""
    chosen = dict.fromkeys((metric, *names))
    said = [c.predicted for c in contestants]

    def figures(number: int) -> dict[str, Any]:
        return {
            key: asdict(rowmetrics.bootstrap_rows(rowmetrics.ROW_METRICS[key], reference, said[number], seed=seed))
            for key in chosen
        }

    def differences(number: int) -> dict[str, Any]:
        return {
            key: asdict(
                rowmetrics.paired_difference_rows(
                    rowmetrics.ROW_METRICS[key], reference, said[0], said[number], seed=seed
                )
            )
            for key in chosen
        }

    apart = -(-len(reference) // MOST_POINTS)
    return {
        "kind": "number",
        "metric": metric,
        "unit": "row",
        "rows": len(reference),
        "labels": [],
        **_standing(contestants, figures, differences),
        "numbers": [list(pair) for pair in zip(reference[::apart], said[0][::apart], strict=True)],
    }


def compare_vectors(
    reference: Sequence[Any], contestants: Sequence[Contestant], seed: int = 0, metric: str = "mrr"
) -> dict[str, Any]:
    """The cosines of pairs beside their scores, or the ranks of what belongs to each text, resampled by row."""
    if metric in embedscore.CORRELATIONS:
        found = compare_numbers(reference, contestants, seed, metric, embedscore.CORRELATIONS)
        del found["numbers"]  # a cosine is not to be the same as a score
        return found | {"kind": "vectors"}
    chosen = dict.fromkeys((metric, *embedscore.RETRIEVAL))
    scored = [{key: embedscore.retrieval(key, c.predicted) for key in chosen} for c in contestants]

    def figures(number: int) -> dict[str, Any]:
        return {key: asdict(metrics.bootstrap_mean(scored[number][key], seed=seed)) for key in chosen}

    def differences(number: int) -> dict[str, Any]:
        return {
            key: asdict(metrics.paired_difference_mean(scored[0][key], scored[number][key], seed=seed))
            for key in chosen
        }

    return {
        "kind": "vectors",
        "metric": metric,
        "unit": "row",
        "rows": len(reference),
        "labels": [],
        **_standing(contestants, figures, differences),
    }


def compare_tags(
    reference: Sequence[Sequence[str]], contestants: Sequence[Contestant], seed: int = 0
) -> dict[str, Any]:
    """One tag for each token of a sentence (None: no tag): accuracy over tokens, resampled by sentence.

    Raises ValueError where a contestant gives another number of tags than a sentence has tokens.
    """
    counted = [metrics.tag_counts(reference, c.predicted) for c in contestants]
    pairs = [
        pair
        for tags, said in zip(reference, contestants[0].predicted, strict=True)
        for pair in zip(tags, said, strict=True)
    ]
    return {
        "metric": "accuracy",
        "unit": "sentence",
        "rows": len(reference),
        "tokens": len(pairs),
        "labels": list(counted[0].labels),
        **_counted(contestants, counted, {"accuracy": metrics.accuracy}, seed),
        "per_label": _of_sentences(counted[0], seed),
        "confusions": _confusions(Counter(pairs)),
    }


def compare_spans(reference: Sequence[Spans], contestants: Sequence[Contestant], seed: int = 0) -> dict[str, Any]:
    """Spans of a sentence: micro F1 over entities that have the right bounds and label, resampled by sentence.

    A confusion has None for the true label of a span that is none, and for the prediction of one not found.
    """
    truth = [[Span(*span) for span in spans] for spans in reference]
    said = [[[Span(*span) for span in spans] for spans in c.predicted] for c in contestants]
    counted = [metrics.entity_counts(truth, one) for one in said]
    chosen = {
        "entity_f1": metrics.micro_f1,
        "precision": metrics.precision,
        "recall": metrics.recall,
    }
    pairs = [pair for a, b in zip(truth, said[0], strict=True) for pair in _paired_spans(a, b)]
    return {
        "metric": "entity_f1",
        "unit": "sentence",
        "rows": len(reference),
        "entities": sum(map(len, truth)),
        "labels": list(counted[0].labels),
        **_counted(contestants, counted, chosen, seed),
        "per_label": _of_sentences(counted[0], seed),
        "confusions": _confusions(Counter(pairs)),
    }


def compare_answers(
    reference: Sequence[Mapping[str, Any]], contestants: Sequence[Contestant], seed: int = 0
) -> dict[str, Any]:
    """One answer a question, "" for none: F1 and exact match, resampled by question.

    reference: as `answerscore.reference` gives it.
    """
    scored = [answerscore.scores(reference, c.predicted) for c in contestants]
    columns = dict(enumerate(answerscore.FIGURES))

    def figures(number: int) -> dict[str, Any]:
        return {
            key: asdict(metrics.bootstrap_mean(scored[number][:, column], seed=seed)) for column, key in columns.items()
        }

    def differences(number: int) -> dict[str, Any]:
        return {
            key: asdict(metrics.paired_difference_mean(scored[0][:, column], scored[number][:, column], seed=seed))
            for column, key in columns.items()
        }

    return {
        "metric": answerscore.FIGURES[0],
        "unit": "question",
        "rows": len(reference),
        "labels": [],
        **_standing(contestants, figures, differences),
        "parts": answerscore.parts_of(reference, scored[0]),
    }


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
    logs = [
        math.lgamma(odd + 1) - math.lgamma(k + 1) - math.lgamma(odd - k + 1) - odd * math.log(2)
        for k in range(fewer + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(value) for value in logs))


def _standing(
    contestants: Sequence[Contestant],
    figures: Callable[[int], dict[str, Any]],
    differences: Callable[[int], dict[str, Any]],
) -> dict[str, Any]:
    first = contestants[0]
    return {
        "models": [{"name": c.name, "kind": c.kind, **figures(number)} for number, c in enumerate(contestants)],
        "differences": [
            {"of": first.name, "over": c.name, "kind": c.kind, **differences(number)}
            for number, c in enumerate(contestants[1:], 1)
        ],
    }


def _counted(
    contestants: Sequence[Contestant],
    counted: Sequence[SentenceCounts],
    chosen: Mapping[str, Metric],
    seed: int,
) -> dict[str, Any]:
    def figures(number: int) -> dict[str, Any]:
        return {
            key: asdict(metrics.bootstrap_sentences(metric, counted[number], seed=seed))
            for key, metric in chosen.items()
        }

    def differences(number: int) -> dict[str, Any]:
        return {
            key: asdict(metrics.paired_difference_sentences(metric, counted[0], counted[number], seed=seed))
            for key, metric in chosen.items()
        }

    return _standing(contestants, figures, differences)


def _paired_spans(truth: Iterable[Span], said: Iterable[Span]) -> list[tuple[str | None, str | None]]:
    """(true label, predicted label) of all bounds that occur in either; None where only the other has them.

    Of several labels at the same bounds equal ones stand together, the others in order.
    """
    true, given = (defaultdict[tuple[int, int], set[str]](set) for _ in range(2))
    for spans, labels in ((truth, true), (said, given)):
        for span in spans:
            labels[span.start, span.end].add(span.label)
    pairs: list[tuple[str | None, str | None]] = []
    for bounds in sorted(true.keys() | given):
        ours, theirs = true[bounds], given[bounds]
        pairs += [(label, label) for label in sorted(ours & theirs)]
        pairs += zip_longest(sorted(ours - theirs), sorted(theirs - ours))
    return pairs


def _of_sentences(counted: SentenceCounts, seed: int) -> list[dict[str, Any]]:
    columns = [
        SentenceCounts((label,), *(x[:, number : number + 1] for x in (counted.hits, counted.actual, counted.given)))
        for number, label in enumerate(counted.labels)
    ]
    return [_label_row(column, seed) for column in columns]


def _of_rows(
    truth: NDArray[np.int64], said: NDArray[np.int64], labels: Sequence[str], seed: int
) -> list[dict[str, Any]]:
    """The same of rows with one label each: a row is a sentence of one item."""
    rows = []
    for number, label in enumerate(labels):
        actual, given = ((x == number).astype(np.float64)[:, None] for x in (truth, said))
        rows.append(_label_row(SentenceCounts((label,), actual * given, actual, given), seed))
    return rows


def _label_row(counted: SentenceCounts, seed: int) -> dict[str, Any]:
    """Precision, recall and F1 of the one label that is counted, F1 with its interval, and n."""
    ((label, score),) = counted.per_label().items()
    f1 = metrics.bootstrap_sentences(metrics.micro_f1, counted, seed=seed)
    return {"label": label, **asdict(score), "f1_low": f1.low, "f1_high": f1.high}


def _confusions(pairs: "Counter[tuple[Any, Any]]") -> list[dict[str, Any]]:
    """The most frequent wrong (true, predicted), with their share of the items of that true label."""
    of_true = Counter[Any]()
    for (true, _), count in pairs.items():
        of_true[true] += count
    wrong = [(count, true, said) for (true, said), count in pairs.items() if true != said]
    wrong.sort(key=lambda row: (-row[0], row[1] or "", row[2] or ""))
    return [
        {
            "true": true,
            "predicted": said,
            "count": count,
            "share": None if true is None else count / of_true[true],
        }
        for count, true, said in wrong[:MOST_CONFUSIONS]
    ]


def _numbered(labels: Sequence[str], numbers: Mapping[str, int]) -> NDArray[np.int64]:
    return np.array([numbers[label] for label in labels])
