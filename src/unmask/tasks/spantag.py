"""Sequence labelling by scores of spans (`task.decoder: spans`): entities may nest and overlap.

Each span of at most `max_span` units has a score for each label, and is predicted where that is above 0. A long
text is read in windows that overlap, each span in the one that shows most around it.
"""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from unmask.config import changed
from unmask.data.batch import Batch, EncodedRow
from unmask.data.rows.spanrows import keep_outermost, overlapping
from unmask.data.rows.tables import Example, Span
from unmask.errors import UserError
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.tasks import tagscore
from unmask.tasks.spanhead import SpanHead, SpanLearner, SpanRow, positive_spans
from unmask.tasks.spans import AlignmentError, AlignmentErrors, Words, align_spans, align_words
from unmask.tasks.tag import LabelledSpan, Tag, TagTask, check_rows
from unmask.tasks.taghead import SCORED
from unmask.tasks.task import Head, Logits
from unmask.tasks.windows import SpanShare, span_shares
from unmask.text.tokenizer import Encoding, Tokenizer

Placed = list[tuple[Span, int, int]]  # spans with their units, first and one past the last


class NestedTask(TagTask):
    """How sentences become rows whose spans are scored, and scores become spans.

    The score of a `LabelledSpan` is the sigmoid of the span's score: above one half for all that is predicted.
    """

    nested: ClassVar[bool] = True

    def __init__(self, settings: Tag, tokenizer: Tokenizer, labels: Sequence[str], plain: bool) -> None:
        super().__init__(settings, tokenizer, labels, plain)
        assert settings.max_span_length is not None
        self.max_span_length = settings.max_span_length
        self._numbers = {label: number for number, label in enumerate(self.labels)}

    @classmethod
    def build(cls, settings: Tag, tokenizer: Tokenizer, train: Sequence[Example]) -> Self:
        """max_span and flat are as the training data are, where they are not given."""
        if tagscore.is_plain(train):
            raise UserError(
                "decoder spans is for entities, which some words are and others are not",
                given=f"{train[0].source}, where every token has a tag",
                allowed="task.decoder=softmax or task.decoder=crf",
            )
        room = settings.max_length - 2
        reach = min(room, settings.max_span_length or _longest_entity(tokenizer, train))
        flat = settings.flat
        if flat is None:
            flat = not any(overlapping(example.spans or ()) for example in train)
        return super().build(changed(settings, max_span_length=reach, flat=flat), tokenizer, train)

    @property
    def public_architecture(self) -> tuple[str | None, list[str]]:
        return None, self.labels

    def encode(self, examples: Sequence[Example]) -> list[EncodedRow]:
        """The windows of each text. Spans that cannot be predicted are said, and why."""
        rows: list[EncodedRow] = []
        misfits, spans = AlignmentErrors(), 0
        every = self.tokenizer.encode_batch([example.text for example in examples])
        for number, (example, encoded) in enumerate(zip(examples, every, strict=True)):
            units = align_words(example.text, encoded, example.tokens)
            found: Placed | None = None
            wrong: list[AlignmentError] = []
            if example.spans is not None:
                found, wrong = align_spans(units, example.spans)
                spans += len(example.spans)
            of_text, left = self._windows(encoded, units, found, number)
            rows += of_text
            misfits.add(example, [*wrong, *left])
        misfits.report(spans)
        return rows

    def _windows(
        self, encoded: Encoding, words: Words, found: Placed | None, owner: int
    ) -> tuple[list[SpanRow], list[AlignmentError]]:
        """The rows of a text, and of its spans those that none of them holds."""
        ids = np.array(encoded.input_ids)
        cut = self._cut(words)
        rows: list[SpanRow] = []
        missing = list(found or ())
        for window, share in zip(cut, span_shares(words.first_tokens, cut, self.max_span_length), strict=True):
            whole, flags = self._window_input(ids, window)
            read = words.first_tokens[share.first : share.first + len(share.min_length)]
            flags[read - window.start + 1] |= SCORED
            targets = {"least": share.min_length, "most": share.max_length}
            if found is not None:
                held, missing = _spans_in_window(missing, share)
                targets["spans"] = self._codes(held, share.first)
                targets["tag"] = np.array([len(targets["spans"])])
            rows.append(
                SpanRow(
                    whole,
                    np.zeros_like(whole),
                    flags,
                    owner,
                    0,
                    owner,
                    targets,
                    words=words,
                    first=share.first,
                )
            )
        return rows, [
            AlignmentError(
                span,
                "of more units than task.max_span_length"
                if stop - first > self.max_span_length
                else "whole in no window",
            )
            for span, first, stop in missing
        ]

    def _codes(self, spans: Placed, begin: int) -> npt.NDArray[np.int64]:
        """Where spans stand in the flattened scores (units, reach, types) of a window of the units from `begin` on."""
        codes = {
            ((first - begin) * self.max_span_length + stop - first - 1) * len(self.labels) + self._numbers[span.label]
            for span, first, stop in spans
        }
        return np.array(sorted(codes), dtype=np.int64)

    def head(self, encoder: EncoderConfig) -> SpanHead:
        return SpanHead(encoder, len(self.labels), self.max_span_length, self.settings.classifier_dropout)

    def learner(self, encoder: Encoder, train: Sequence[Example], rows: Sequence[EncodedRow]) -> SpanLearner:
        check_rows(train, rows)
        head = self.head(encoder.config)
        head.init_from_counts(rows)
        return SpanLearner(encoder, head, {"head.pointer.": self.settings.head_lr_factor})

    def logits(self, outputs: Tensor, batch: Batch) -> list[Logits]:
        """Of each window its loss and the spans that score above 0: see `found_in`."""
        return positive_spans(outputs, batch)

    def dev_metrics(
        self, head: Head, examples: Sequence[Example], rows: Sequence[EncodedRow], logits: Sequence[Logits]
    ) -> dict[str, float]:
        found = self.decode(head, examples, rows, logits)
        score = tagscore.value(tagscore.counts_of(examples, found, "entity_f1"), "entity_f1")
        loss = float(np.mean([said[0, 0] for said in logits])) if logits else 0.0
        return {"tag.loss": loss, self.metric_key: score}

    def decode(
        self,
        head: Head,
        examples: Sequence[Example],
        rows: Sequence[EncodedRow],
        logits: Sequence[Logits],
        top_k: int | None = None,
    ) -> list[list[LabelledSpan]]:
        """The spans of each example that score above 0, in order, those around others first.

        None cuts through a given token. With `flat`, of spans that overlap the one with the greatest score stays.
        """
        result: list[list[LabelledSpan]] = [[] for _ in examples]
        for row, said in zip(rows, logits, strict=True):
            assert isinstance(row, SpanRow) and row.words is not None
            units, text = row.words, examples[row.owner].text
            first = said[1:, 0].astype(np.int64) + row.first
            last = first + said[1:, 1].astype(np.int64)
            joined = np.append(units.joined, False)
            whole = ~(joined[first] | joined[last + 1])
            starts, stops = units.offsets[first, 0], units.offsets[last, 1]
            probability = 1 / (1 + np.exp(-said[1:, 3].astype(np.float64)))
            for n in whole.nonzero()[0].tolist():
                start, stop, label = int(starts[n]), int(stops[n]), self.labels[int(said[1 + n, 2])]
                span = LabelledSpan(label, text[start:stop], start, stop, float(probability[n]))
                result[row.owner].append(span)
        for number, spans in enumerate(result):
            chosen = _without_overlap(spans) if self.settings.flat else spans
            result[number] = sorted(chosen, key=lambda span: (span.start, -span.end, span.label))
        return result

    def tagged_words(self, examples: Sequence[Example]) -> list[tuple[list[str], list[str]]]:
        """Each word has one tag: that of the outermost span."""
        return super().tagged_words(
            [replace(example, spans=keep_outermost(example.spans or ())) for example in examples]
        )

    def conll(self, example: Example, prediction: list[LabelledSpan]) -> str:
        pair = overlapping(prediction)
        if pair is not None:
            raise UserError(
                f"{example.location}: spans that nest or overlap cannot be written as CoNLL",
                given="; ".join(f"{span.text!r} ({span.label})" for span in pair),
                to_do="--format jsonl, or train with task.flat=true",
            )
        return super().conll(example, prediction)


def _longest_entity(tokenizer: Tokenizer, train: Sequence[Example]) -> int:
    """The units of the longest span, at least 1."""
    longest = 1
    every = tokenizer.encode_batch([example.text for example in train])
    for example, encoded in zip(train, every, strict=True):
        if example.spans:
            found, _ = align_spans(align_words(example.text, encoded, example.tokens), example.spans)
            longest = max([longest, *(stop - first for _, first, stop in found)])
    return longest


def _spans_in_window(found: Placed, share: SpanShare) -> tuple[Placed, Placed]:
    """The spans that a window answers for, and the others."""
    held: Placed = []
    others: Placed = []
    for one in found:
        _, first, stop = one
        unit, more = first - share.first, stop - first - 1
        inside = 0 <= unit < len(share.min_length) and share.min_length[unit] <= more < share.max_length[unit]
        (held if inside else others).append(one)
    return held, others


def _without_overlap(spans: Sequence[LabelledSpan]) -> list[LabelledSpan]:
    """Spans without overlap: the most probable first, of equal ones the first and longest, and those that still fit."""
    kept: list[LabelledSpan] = []  # in order of the text
    for span in sorted(spans, key=lambda one: (-one.score, one.start, -one.end, one.label)):
        place = bisect(kept, span.start, key=lambda one: one.start)
        before, after = kept[place - 1 : place], kept[place : place + 1]
        if all(one.end <= span.start for one in before) and all(span.end <= one.start for one in after):
            kept.insert(place, span)
    return kept
