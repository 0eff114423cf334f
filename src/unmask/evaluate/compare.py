"""Several models on the same test rows: each with its intervals, and the paired difference of the first to the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from unmask import metrics


@dataclass(frozen=True)
class Contestant:
    """A model's predictions on the test rows. kind: pretrained, scratch, tfidf or majority."""

    name: str
    kind: str
    predicted: Sequence[str]


def compare(
    reference: Sequence[str], contestants: Sequence[Contestant], labels: Sequence[str], seed: int = 0
) -> dict[str, Any]:
    """The `evaluation` of results.json: figures of each contestant, differences of the first over the others."""
    numbers = {label: number for number, label in enumerate(labels)}
    truth = _numbered(reference, numbers)
    said = {c.name: _numbered(c.predicted, numbers) for c in contestants}
    count = len(labels)
    chosen = {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1}
    first = contestants[0]
    return {
        "rows": len(truth),
        "labels": list(labels),
        "models": [
            {
                "name": c.name,
                "kind": c.kind,
                **{
                    key: asdict(metrics.bootstrap(metric, truth, said[c.name], count, seed=seed))
                    for key, metric in chosen.items()
                },
            }
            for c in contestants
        ],
        "differences": [
            {
                "of": first.name,
                "over": c.name,
                "kind": c.kind,
                **{
                    key: asdict(
                        metrics.paired_difference(
                            metric, truth, said[first.name], said[c.name], count, seed=seed
                        )
                    )
                    for key, metric in chosen.items()
                },
            }
            for c in contestants[1:]
        ],
        "confusion": metrics.confusion(truth, said[first.name], count).tolist(),
        "per_label": [
            {"label": label, **asdict(score)}
            for label, score in zip(labels, metrics.per_label(truth, said[first.name], count), strict=True)
        ],
    }


def _numbered(labels: Sequence[str], numbers: Mapping[str, int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array([numbers[label] for label in labels])
