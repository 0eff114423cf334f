"""Labelled files before anything is trained on them: what they hold, and what in them would bias a result."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.data.rows import leaks
from unmask.data.rows.example import Example
from unmask.data.rows.leaks import Finding

PERCENTILES = (0, 5, 50, 95, 100)


@dataclass(frozen=True)
class Problem:
    """Rows of `part` with something wrong. biases: whether a figure would come out other than it should."""

    kind: str  # leaks, contradictions, duplicates, ids, unknown_labels, one_label
    part: str
    finding: Finding
    is_biasing: bool


@dataclass(frozen=True)
class Part:
    """What one file holds. labels: how many rows (or spans) have each; lengths: percentiles, in characters."""

    file: str
    rows: int
    labels: dict[str, int]
    lengths: dict[int, int]

    def to_dict(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "rows": self.rows,
            "labels": self.labels,
            "characters": {f"p{percentile}": value for percentile, value in self.lengths.items()},
        }


@dataclass(frozen=True)
class Check:
    """The parts (train, dev, test) and the problems found in and between them."""

    parts: dict[str, Part]
    problems: list[Problem]

    @property
    def biased(self) -> bool:
        return any(problem.is_biasing for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "parts": {name: part.to_dict() for name, part in self.parts.items()},
            "problems": [
                {"kind": one.kind, "part": one.part, "is_biasing": one.is_biasing, **one.finding.to_dict()}
                for one in self.problems
            ],
            "biased": self.biased,
        }


def check_data(parts: Mapping[str, Sequence[Example]]) -> Check:
    """parts: train, and dev and test where they are given; none is empty."""
    train = parts["train"]
    problems = [Problem("contradictions", "train", leaks.contradictions(train), True)]
    labels = {label for example in train for label in example.labels}
    for name, examples in parts.items():
        if name != "train":
            problems.append(Problem("leaks", name, leaks.leaks(train, examples), True))
            problems.append(Problem("unknown_labels", name, leaks.unknown_labels(examples, labels), True))
        problems.append(Problem("duplicates", name, leaks.duplicates(examples), False))
        problems.append(Problem("ids", name, leaks.same_ids(examples), False))
    if {"dev", "test"} <= parts.keys():
        problems.append(Problem("leaks_of_dev", "test", leaks.leaks(parts["dev"], parts["test"]), True))
    if len(labels) < 2 and all(example.label is not None for example in train):
        problems.append(Problem("one_label", "train", leaks.one_label(train), True))
    return Check({name: _part(examples) for name, examples in parts.items()}, [p for p in problems if p.finding.rows])


def _part(examples: Sequence[Example]) -> Part:
    counts = Counter(label for example in examples for label in _labels(example))
    lengths = [len(example.text) + len(example.pair or "") for example in examples]
    shown = np.percentile(lengths, PERCENTILES, method="nearest")
    ordered = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    percentiles = {p: int(value) for p, value in zip(PERCENTILES, shown, strict=True)}
    return Part(examples[0].source, len(examples), ordered, percentiles)


def _labels(example: Example) -> list[str]:
    """Its label, or that of each of its spans."""
    return [span.label for span in example.spans] if example.spans is not None else sorted(example.labels)
