"""Example: one row of labelled or unlabelled data, and what may be true of it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from unmask.messages import message

RowKind = Literal["label", "labels", "number", "tags", "spans", "answers", "pairs"]
"""What is true of a row: one label, any number of labels, a number, one tag for each word (so that spans do not
overlap), spans that may overlap, answers in the second text, or that two texts belong together (or their score)."""

READS: dict[str, RowKind] = {
    "classify": "label",
    "multilabel": "labels",
    "regress": "number",
    "tag": "tags",
    "nested": "spans",
    "answer": "answers",
    "embed": "pairs",
}
"""What the rows of each task hold, for what reads rows without the tasks (which import numpy)."""


@dataclass(frozen=True, order=True)
class Span:
    """A labelled stretch of a text: the characters from `start` up to, but without, `end`."""

    start: int
    end: int
    label: str


def in_order(span: Span) -> tuple[int, int, str]:
    """The key that sorts spans: by their starts, those around others first."""
    return span.start, -span.end, span.label


def overlapping(spans: Iterable[Span]) -> tuple[Span, Span] | None:
    """The first two spans that have a character in common, in the order of their starts; None where all are apart."""
    return next((pair for pair in pairwise(sorted(spans, key=in_order)) if pair[1].start < pair[0].end), None)


def keep_outermost(spans: Iterable[Span]) -> list[Span]:
    """The spans without those that overlap one before them; of several at one start the longest stays."""
    kept: list[Span] = []
    for span in sorted(spans, key=in_order):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept


@dataclass(frozen=True, order=True)
class ReferenceAnswer:
    """A right answer to a question: a stretch of its context, from the character `start` on."""

    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


class Labels(tuple[str, ...]):
    """Any number of labels, sorted, each once."""


class Spans(tuple[Span, ...]):
    """Labelled spans, sorted, those around others first."""


class Answers(tuple[ReferenceAnswer, ...]):
    """Right answers; empty where the context does not answer the question."""


Target = str | Labels | float | Spans | Answers


@dataclass(frozen=True)
class Example:
    """One row. It begins on `line` (from 1) of `source`; rows of one `group` stay together in a split.

    pair: the second text; of a question the context. target: what is true of the row, by its kind: a label, `Labels`,
    a number (of a pair its score), `Spans`, `Answers`; None: not known. tokens: the character bounds of the tokens,
    where the file has them. negative: of vectors, a text that `text` is to be told apart from.
    place: what to call it, if not by its line.
    """

    text: str
    pair: str | None = None
    target: Target | None = None
    id: str = "0"
    line: int = 1
    source: str = "the texts given"
    group: str | None = None
    tokens: tuple[tuple[int, int], ...] | None = None
    negative: str | None = None
    place: str | None = None

    @property
    def label(self) -> str | None:
        return self.target if isinstance(self.target, str) else None

    @property
    def label_set(self) -> Labels | None:
        return self.target if isinstance(self.target, Labels) else None

    @property
    def number(self) -> float | None:
        return self.target if isinstance(self.target, float) else None

    @property
    def spans(self) -> Spans | None:
        return self.target if isinstance(self.target, Spans) else None

    @property
    def answers(self) -> Answers | None:
        return self.target if isinstance(self.target, Answers) else None

    @property
    def labels(self) -> set[str]:
        """Its label or labels, or those of its spans."""
        if isinstance(self.target, Spans):
            return {span.label for span in self.target}
        return {self.target} if isinstance(self.target, str) else set(self.label_set or ())

    @property
    def without_targets(self) -> "Example":
        """The same without anything that is to be predicted."""
        return self if self.target is None and self.negative is None else replace(self, target=None, negative=None)

    def keep_labels(self, labels: Collection[str]) -> "Example":
        """The same without labels other than these."""
        if self.labels <= set(labels):
            return self
        target: Target | None = None
        if isinstance(self.target, Spans):
            target = Spans(span for span in self.target if span.label in labels)
        elif isinstance(self.target, Labels):
            target = Labels(label for label in self.target if label in labels)
        return replace(self, target=target)

    @property
    def location(self) -> str:
        return self.place or message("{file}, line {line:,}", self.source, self.line)
