"""NestedTask: labelled spans that may nest and overlap.

Each span of at most `max_span_length` words has a score for each label, and is predicted where that is above 0. A long
text is read in overlapping windows, each span in the one that shows most around it.
"""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from unmask.config import changed
from unmask.data.rows.example import Span, overlapping
from unmask.errors import UserError
from unmask.tasks.alignment import TOO_LONG, AlignmentError, Words, align_spans, align_words
from unmask.tasks.labelled_spans import LabelledSpan, SpanTask, WindowRow, is_plain
from unmask.tasks.nested.settings import Nested
from unmask.tasks.task import Arrays, Collected, Examples, Rows, Values, sigmoid
from unmask.tasks.windows import SpanShare, span_shares
from unmask.text.tokenizer import Encoding, Tokenizer

Placed = list[tuple[Span, int, int]]  # spans with their words, first and one past the last

MOST = 4  # cells kept of each word, on average: far more than there are spans, unless a network has learnt nothing yet


@dataclass(frozen=True)
class NestedRow(WindowRow):
    """A window of a text, in which the words from `first` on are read.

    targets: least, most (words,) int64: the spans that the window answers for (`windows.SpanShare`). With labels also
    nested (1,): how many spans it holds, and spans (nested,) int64: the place of each in the flattened scores.
    """

    first: int = 0


class NestedTask(SpanTask):
    """Spans that may nest. The score of a `LabelledSpan` is the sigmoid of the span's score: above one half for all
    that is predicted."""

    settings: Nested
    reads = "spans"

    def __init__(self, settings: Nested, tokenizer: Tokenizer, labels: Sequence[str]) -> None:
        super().__init__(settings, tokenizer, labels)
        assert settings.max_span_length is not None
        self.max_span_length = settings.max_span_length

    @classmethod
    def build(cls, settings: Nested, tokenizer: Tokenizer, train: Examples) -> Self:
        """max_span_length and flat are as in the training data, where they are not given."""
        labels = cls.labels_of(train)
        if is_plain(train):
            raise UserError(
                "nested spans are for entities, which some words are and others are not",
                given=f"{train[0].source}, where every token has a tag",
                allowed="the task tag",
            )
        max_span_length = min(settings.max_length - 2, settings.max_span_length or _longest(tokenizer, train))
        flat = settings.flat
        if flat is None:
            flat = not any(overlapping(example.spans or ()) for example in train)
        return cls(changed(settings, max_span_length=max_span_length, flat=flat), tokenizer, labels)

    def windows_of(
        self, encoded: Encoding, words: Words, spans: Sequence[Span] | None, owner: int
    ) -> tuple[list[WindowRow], list[AlignmentError]]:
        missing: Placed = []
        misfits: list[AlignmentError] = []
        if spans is not None:
            missing, misfits = align_spans(words, spans)
        cut, ids = self.cut(words), np.array(encoded.input_ids)
        rows: list[WindowRow] = []
        for window, share in zip(cut, span_shares(words.first_tokens, cut, self.max_span_length), strict=True):
            read = words.first_tokens[share.first : share.first + len(share.min_length)]
            targets = {"least": share.min_length, "most": share.max_length}
            if spans is not None:
                held, missing = _held(missing, share)
                targets["spans"] = self._cells(held, share.first)
                targets[self.name] = np.array([len(targets["spans"])])
            rows.append(
                NestedRow(
                    *self.framed(ids, window),
                    owner,
                    owner=owner,
                    targets=targets,
                    positions=read - window.start + 1,
                    words=words,
                    first=share.first,
                )
            )
        return rows, misfits + [
            AlignmentError(
                span,
                TOO_LONG if stop - first > self.max_span_length else "whole in no window",
            )
            for span, first, stop in missing
        ]

    def _cells(self, held: Placed, begin: int) -> npt.NDArray[np.int64]:
        """Return the cells of spans in the flattened scores (words, max_span_length, labels) of a window of the words
        from `begin` on."""
        cells = {
            ((first - begin) * self.max_span_length + stop - first - 1) * len(self.labels) + self.label_ids[span.label]
            for span, first, stop in held
        }
        return np.array(sorted(cells), dtype=np.int64)

    def collect(self, outputs: Arrays, rows: Rows) -> list[Collected]:
        """Keep of each window the cells that score above 0, (cells, 4) float32: the first word, how many words follow
        in the span, its label, its score.

        There are at most MOST times as many as words, the best. outputs: logits (words, max_span_length, labels).
        """
        scores = outputs["logits"]
        sizes = [len(row.targets["least"]) for row in rows]
        begins = np.cumsum(sizes) - sizes
        least, most = (np.concatenate([row.targets[name] for row in rows]) for name in ("least", "most"))
        word, more, label = (scores > 0).nonzero()
        answered = (more >= least[word]) & (more < most[word])
        word, more, label = word[answered], more[answered], label[answered]
        table = np.stack([word, more, label, scores[word, more, label]], axis=1, dtype=np.float32, casting="unsafe")
        result = []
        for part, begin, size in zip(
            np.split(table, np.searchsorted(word, begins[1:])), begins.tolist(), sizes, strict=True
        ):
            if len(part) > MOST * size:
                part = part[np.sort(np.argsort(-part[:, 3], kind="stable")[: MOST * size])]
            part[:, 0] -= begin
            result.append(part)
        return result

    def decode(
        self, examples: Examples, rows: Rows, collected: Values, parameters: Arrays, top_k: int | None = None
    ) -> list[list[LabelledSpan]]:
        """Return the spans of each example that score above 0, in order, those around others first.

        None cuts through a given token. With `flat`, of spans that overlap the one with the greatest score stays.
        """
        result: list[list[LabelledSpan]] = [[] for _ in examples]
        for row, cells in zip(rows, collected, strict=True):
            assert isinstance(row, NestedRow) and row.words is not None
            words, text = row.words, examples[row.owner].text
            first = cells[:, 0].astype(np.int64) + row.first
            last = first + cells[:, 1].astype(np.int64)
            joined = np.append(words.joined, False)
            whole = ~(joined[first] | joined[last + 1])
            starts, stops = words.offsets[first, 0], words.offsets[last, 1]
            scores = sigmoid(cells[:, 3])
            for n in whole.nonzero()[0].tolist():
                start, stop, label = int(starts[n]), int(stops[n]), self.labels[int(cells[n, 2])]
                result[row.owner].append(LabelledSpan(label, text[start:stop], start, stop, float(scores[n])))
        for number, spans in enumerate(result):
            chosen = _apart(spans) if self.settings.flat else spans
            result[number] = sorted(chosen, key=lambda span: (span.start, -span.end, span.label))
        return result


def _longest(tokenizer: Tokenizer, train: Examples) -> int:
    """Count the words of the longest span, at least 1."""
    longest = 1
    every = tokenizer.encode_batch([example.text for example in train])
    for example, encoded in zip(train, every, strict=True):
        if example.spans:
            spans, _ = align_spans(align_words(example.text, encoded, example.tokens), example.spans)
            longest = max([longest, *(stop - first for _, first, stop in spans)])
    return longest


def _held(spans: Placed, share: SpanShare) -> tuple[Placed, Placed]:
    """Divide spans into those that a window answers for, and the others."""
    held: Placed = []
    others: Placed = []
    for one in spans:
        _, first, stop = one
        word, more = first - share.first, stop - first - 1
        inside = 0 <= word < len(share.min_length) and share.min_length[word] <= more < share.max_length[word]
        (held if inside else others).append(one)
    return held, others


def _apart(spans: Sequence[LabelledSpan]) -> list[LabelledSpan]:
    """Keep spans without overlap: the most probable first, of equal ones the first and longest, then those that still
    fit."""
    chosen: list[LabelledSpan] = []  # in order of the text
    for span in sorted(spans, key=lambda one: (-one.score, one.start, -one.end, one.label)):
        place = bisect(chosen, span.start, key=lambda one: one.start)
        before, after = chosen[place - 1 : place], chosen[place : place + 1]
        if all(one.end <= span.start for one in before) and all(span.end <= one.start for one in after):
            chosen.insert(place, span)
    return chosen
