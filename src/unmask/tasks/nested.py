"""Nested spans: labelled spans that may nest and overlap.

Each span of at most `max_span_length` words has a score for each label, and is predicted where that is above 0. A long
text is read in overlapping windows, each span in the one that shows most around it.
"""

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np

from unmask.config import changed, config, setting
from unmask.data.rows.example import Span, overlapping
from unmask.errors import UserError
from unmask.tasks.alignment import TOO_LONG, EdgeTokens, Misfit, Words, align_spans, align_words
from unmask.tasks.labelled_spans import LabelledSpan, SpanSettings, SpanTask, WindowRow, edge_tokens_of, is_plain
from unmask.tasks.task import Arrays, Collected, Examples, Outputs, Rows, sigmoid
from unmask.tasks.windows import best_windows
from unmask.text.tokenizer import Encoding, Tokenizer

MOST = 4  # cells kept of each word, on average: far more than there are spans, unless a network has learnt nothing yet


@config
class Nested(SpanSettings):
    """Settings of nested spans: a score for each span and label (Su et al. 2022, arXiv 2208.03054)."""

    name: Literal["nested"] = "nested"
    max_span_length: int | None = setting(
        default=None,
        ge=1,
        description="maximum length of an entity in words (Chinese: characters); default: that of the training data",
    )
    flat: bool | None = setting(
        default=None,
        description="predict only the most probable of overlapping entities; default: as in the training data",
    )


class NestedTask(SpanTask):
    """Spans that may nest. The score of a `LabelledSpan` is the sigmoid of the span's score: above one half for all
    that is predicted.

    Targets of a row: least, most (words,) int64: the window answers for the spans that begin with a word and go on
    after it for `least` words or more, but fewer than `most` (0 is the word alone). With labels also nested (1,): how
    many spans it holds, and spans (nested,) int64: the place of each in the flattened scores (words, max_span_length,
    labels).
    """

    settings: Nested
    reads = "spans"

    def __init__(
        self, settings: Nested, tokenizer: Tokenizer, labels: Sequence[str], edge_tokens: EdgeTokens | None = None
    ) -> None:
        super().__init__(settings, tokenizer, labels, edge_tokens=edge_tokens)
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
        settings = changed(settings, max_span_length=max_span_length, flat=flat)
        return cls(settings, tokenizer, labels, edge_tokens_of(tokenizer, train))

    @classmethod
    def restore(cls, settings: Nested, tokenizer: Tokenizer, schema: Mapping[str, Any]) -> Self:
        return cls(settings, tokenizer, schema["labels"], EdgeTokens(**schema.get("edge_tokens", {})))

    def windows_of(
        self, encoded: Encoding, words: Words, spans: Sequence[Span] | None, owner: int
    ) -> tuple[list[WindowRow], list[Misfit]]:
        cut = self.cut(words)
        owners = best_windows(words.first_tokens, [window.read for window in cut], self.max_span_length)
        aligned, misfits = align_spans(words, spans or ())
        cells: list[set[int]] = [set() for _ in cut]
        for span, first, stop in aligned:
            more = stop - first - 1
            if more >= self.max_span_length:
                misfits.append((span, TOO_LONG))
            elif owners[first, more] < 0:
                misfits.append((span, "whole in no window"))
            else:
                number = int(owners[first, more])
                place = (first - cut[number].read[0]) * self.max_span_length + more
                cells[number].add(place * len(self.labels) + self.label_ids[span.label])
        rows = []
        for number, window in enumerate(cut):
            begin, end = window.read
            own = owners[begin:end] == number  # of each word without a gap: the longer a span, the later its window
            least = own.argmax(1)
            targets = {"least": least, "most": least + own.sum(1)}
            if spans is not None:
                targets["spans"] = np.array(sorted(cells[number]), dtype=np.int64)
                targets[self.name] = np.array([len(cells[number])])
            rows.append(self.window_row(encoded, words, window, slice(begin, end), targets, owner))
        return rows, misfits

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
        self, texts: Sequence[Outputs], parameters: Arrays, top_k: int | None = None
    ) -> list[list[LabelledSpan]]:
        """Return the spans of each example that score above 0, in order, those around others first.

        None cuts through a given token. With `flat`, of spans that overlap the one with the greatest score stays.
        """
        result = []
        for text in texts:
            windows = zip(text.rows, text.values, strict=True)
            spans = [span for row, cells in windows for span in self._spans(row, cells, text.example.text)]
            chosen = _apart(spans) if self.settings.flat else spans
            if text.rows:
                chosen = self.with_edge_tokens(chosen, text.rows[0].words, text.example.text)
            result.append(sorted(chosen, key=lambda span: (span.start, -span.end, span.label)))
        return result

    def _spans(self, row: WindowRow, cells: Collected, text: str) -> Iterator[LabelledSpan]:
        """Yield the spans that the cells of a window stand for."""
        words = row.words
        first = cells[:, 0].astype(np.int64) + row.window.read[0]
        last = first + cells[:, 1].astype(np.int64)
        joined = np.append(words.joined, False)
        whole = ~(joined[first] | joined[last + 1])
        starts, stops = words.offsets[first, 0], words.offsets[last, 1]
        scores = sigmoid(cells[:, 3])
        for n in whole.nonzero()[0].tolist():
            start, stop, label = int(starts[n]), int(stops[n]), self.labels[int(cells[n, 2])]
            yield LabelledSpan(label, text[start:stop], start, stop, float(scores[n]))


def _longest(tokenizer: Tokenizer, train: Examples) -> int:
    """Count the words of the longest span, at least 1."""
    longest = 1
    every = tokenizer.encode_batch([example.text for example in train])
    for example, encoded in zip(train, every, strict=True):
        if example.spans:
            spans, _ = align_spans(align_words(example.text, encoded, example.tokens), example.spans)
            longest = max([longest, *(stop - first for _, first, stop in spans)])
    return longest


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
