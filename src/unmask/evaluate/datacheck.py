"""Labelled files before anything is trained on them: what they hold, and what in them would bias a result."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.data.rows import leaks
from unmask.data.rows.example import Example
from unmask.data.rows.leaks import Finding
from unmask.tasks.span_check import alignment_problems

PERCENTILES = (0, 5, 50, 95, 100)


@dataclass(frozen=True)
class Check:
    """The files, and what is found in and between them.

    parts: {train | dev | test: {file, rows, labels: {label: rows or spans}, characters: {p0, p5, p50, p95, p100}}};
    biasing, others: findings by (kind, part), those that bias a result and the rest.
    """

    parts: dict[str, dict[str, Any]]
    biasing: dict[tuple[str, str], Finding]
    others: dict[tuple[str, str], Finding]

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        problems = [
            {"kind": kind, "part": part, "is_biasing": findings is self.biasing, **finding.to_dict()}
            for findings in (self.biasing, self.others)
            for (kind, part), finding in findings.items()
        ]
        return {"parts": self.parts, "problems": problems, "biased": bool(self.biasing)}


def check_data(parts: Mapping[str, Sequence[Example]]) -> Check:
    """parts: train, and dev and test where they are given; none is empty."""
    train = parts["train"]
    labels = {label for example in train for label in example.labels}
    biasing = {("contradictions", "train"): leaks.contradictions(train)}
    others: dict[tuple[str, str], Finding] = {}
    for name, examples in parts.items():
        if name != "train":
            biasing["leaks", name] = leaks.leaks(train, examples)
            biasing["unknown_labels", name] = leaks.unknown_labels(examples, labels)
        problems = alignment_problems(examples)
        clear = problems.are_most or problems.unit is not None
        text = problems.text(examples[0].source)
        (biasing if clear else others)["misaligned", name] = Finding(text, problems.numbers, ((problems.first,),))
        others["duplicates", name] = leaks.duplicates(examples)
        others["ids", name] = leaks.same_ids(examples)
    if {"dev", "test"} <= parts.keys():
        biasing["leaks_of_dev", "test"] = leaks.leaks(parts["dev"], parts["test"])
    if len(labels) < 2 and all(example.label is not None for example in train):
        biasing["one_label", "train"] = leaks.one_label(train)
    found = ({key: one for key, one in some.items() if one.rows} for some in (biasing, others))
    return Check({name: _part(examples) for name, examples in parts.items()}, *found)


def _part(examples: Sequence[Example]) -> dict[str, Any]:
    """What one file holds; labels of rows, or of their spans."""
    counts = Counter(label for one in examples if one.spans is None for label in one.labels)
    counts.update(span.label for one in examples for span in one.spans or ())
    lengths = [len(example.text) + len(example.pair or "") for example in examples]
    shown = np.percentile(lengths, PERCENTILES, method="nearest").tolist()
    return {
        "file": examples[0].source,
        "rows": len(examples),
        "labels": dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        "characters": {f"p{percentile}": int(value) for percentile, value in zip(PERCENTILES, shown, strict=True)},
    }
