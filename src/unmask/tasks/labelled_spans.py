"""Base of the tasks that find labelled spans in a text: its words in windows, and what is predicted of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from unmask.advice import advise, option
from unmask.config import config, setting
from unmask.data.encoded import EncodedRow
from unmask.data.rows import schemes
from unmask.data.rows.example import Example, Span
from unmask.errors import UserError
from unmask.messages import message
from unmask.tasks.alignment import EXCERPT, EdgeTokens, Misfit, Words, align_spans, align_words, misfit_remarks
from unmask.tasks.task import Examples, Notes, Rows, Task, WindowSettings, nothing_to_learn
from unmask.tasks.windows import Window, windows, with_special_tokens
from unmask.text.tokenizer import Encoding, Tokenizer

EDGE = 16  # flag of the [CLS] and [SEP] at the ends of a text, not only of a window


@config
class SpanSettings(WindowSettings):
    """Settings that the tasks on labelled spans share."""

    classifier_dropout: float = setting(default=0.1, ge=0, lt=1, description="dropout before the last layer")
    head_lr_factor: float = setting(
        default=1.0, gt=0, description="learning rate of the head, as a multiple of the encoder's"
    )


@dataclass(frozen=True)
class LabelledSpan:
    """A stretch of a text with its label; score: the probability of exactly this span with this label (of nested
    spans the sigmoid of its score)."""

    label: str
    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class WindowRow(EncodedRow):
    """A window of a text, with the words of the whole text; its `positions` are the first tokens of words."""

    words: Words = field(kw_only=True)
    window: Window = field(kw_only=True)


class SpanTask(Task[list[LabelledSpan]]):
    """The labelled spans of a text. tags_every_token: every token has a label of its own (parts of speech), and what
    the tokenizer drops has none; edge_tokens: whether spans hold what it drops beside them."""

    settings: SpanSettings
    kind = "tags"
    reads: ClassVar[Literal["tags", "spans"]] = "tags"

    def __init__(
        self,
        settings: Any,
        tokenizer: Tokenizer,
        labels: Sequence[str],
        tags_every_token: bool = False,
        edge_tokens: EdgeTokens | None = None,
    ) -> None:
        super().__init__(settings, tokenizer, labels)
        self.tags_every_token = tags_every_token
        self.edge_tokens = edge_tokens or EdgeTokens()
        self.metric = "accuracy" if tags_every_token else "entity_f1"

    @staticmethod
    def labels_of(train: Examples) -> list[str]:
        """Collect the labels of all spans, sorted. Raises UserError where there are none."""
        labels = sorted({span.label for example in train for span in example.spans or ()})
        if not labels:
            given = f"{len(train):,} sentences without a single span"
            hint = advise("check the column of the tags ({option})", option("tag_column"))
            raise nothing_to_learn(train, given, hint)
        return labels

    def schema(self) -> dict[str, Any]:
        usual = self.edge_tokens == EdgeTokens()
        return {**super().schema(), **({} if usual else {"edge_tokens": asdict(self.edge_tokens)})}

    def encode(self, examples: Examples) -> tuple[list[EncodedRow], Notes]:
        """Encode the windows of each text; a text without words has none. Spans that cannot be learnt, and those that
        cannot be predicted as they are, are noted."""
        rows: list[EncodedRow] = []
        misfits: list[tuple[Example, Misfit]] = []
        inexact: list[tuple[Example, Span]] = []
        every = self.tokenizer.encode_batch([example.text for example in examples])
        for owner, (example, encoded) in enumerate(zip(examples, every, strict=True)):
            words = align_words(example.text, encoded, example.tokens)
            of_text, wrong = self.windows_of(encoded, words, example.spans, owner)
            rows += of_text
            misfits += [(example, misfit) for misfit in wrong]
            inexact += [(example, span) for span in self._inexact(words, example.spans or ())]
        spans = sum(len(example.spans or ()) for example in examples)
        remarks = [*misfit_remarks(misfits, spans)]
        if inexact:
            example, span = inexact[0]
            first = f"{example.location}: {example.text[span.start : span.end][:EXCERPT]!r} ({span.label})"
            text = "{count:,} of {spans:,} spans cannot be predicted exactly: text without tokens beside them ({first})"
            remarks.append(message(text, len(inexact), spans, first))
        return rows, Notes(remarks=tuple(remarks))

    def _inexact(self, words: Words, spans: Sequence[Span]) -> list[Span]:
        """Find the spans whose words have other bounds than they."""
        if not spans or self.tags_every_token or np.array_equal(words.outer_offsets, words.core_offsets):
            return []
        aligned, _ = align_spans(words, spans)
        bounds = self.edge_tokens.bounds(words, [(first, stop) for _, first, stop in aligned])
        return [span for (span, _, _), own in zip(aligned, bounds, strict=True) if own != (span.start, span.end)]

    def with_edge_tokens(self, spans: Sequence[LabelledSpan], words: Words, text: str) -> list[LabelledSpan]:
        """Give the spans that are predicted in a text the dropped tokens beside them that belong to them."""
        if not spans or self.tags_every_token or np.array_equal(words.outer_offsets, words.offsets):
            return list(spans)
        firsts = np.searchsorted(words.offsets[:, 0], [span.start for span in spans]).tolist()
        stops = (np.searchsorted(words.offsets[:, 1], [span.end for span in spans]) + 1).tolist()
        bounds = self.edge_tokens.bounds(words, list(zip(firsts, stops, strict=True)))
        return [
            replace(span, text=text[start:end], start=start, end=end)
            for span, (start, end) in zip(spans, bounds, strict=True)
        ]

    def windows_of(
        self, encoded: Encoding, words: Words, spans: Sequence[Span] | None, owner: int
    ) -> tuple[Sequence[WindowRow], list[Misfit]]:
        """Encode the windows of one text, and return the spans that none of them can teach."""
        raise NotImplementedError

    def window_row(
        self, encoded: Encoding, words: Words, window: Window, read: slice, targets: Mapping[str, Any], owner: int
    ) -> WindowRow:
        """Encode a window, of which the words `read` are predicted."""
        parts = with_special_tokens(self.tokenizer, [np.array(encoded.input_ids[window.start : window.end])])
        positions = words.first_tokens[read] - window.start + 1
        return WindowRow(*parts, owner, owner=owner, targets=targets, positions=positions, words=words, window=window)

    def cut(self, words: Words) -> list[Window]:
        """Cut a text into windows."""
        return windows(words.first_tokens, self.settings.max_length - 2, self.settings.window_stride)

    def metric_for(self, examples: Examples) -> Literal["accuracy", "entity_f1"]:
        """Token accuracy only where the tags of the examples are plain, too."""
        return "accuracy" if self.tags_every_token and is_plain(examples) else "entity_f1"

    def reference(self, examples: Examples) -> list[Any]:
        return self.comparable(examples, [example.spans or () for example in examples])

    def comparable(self, examples: Examples, predictions: Sequence[Sequence[Span | LabelledSpan]]) -> list[Any]:
        """Return the tags of the tokens of each example, or its spans as [start, end, label]."""
        if self.metric_for(examples) == "accuracy":
            return [token_tags(example.tokens or (), one) for example, one in zip(examples, predictions, strict=True)]
        return [[[span.start, span.end, span.label] for span in one] for one in predictions]


def check_rows(train: Examples, rows: Rows) -> None:
    """Raises UserError where there is nothing to learn from."""
    if not rows:
        raise UserError(f"{train[0].source} contains no text", given=f"{len(train):,} sentences without a word")


def edge_tokens_of(tokenizer: Tokenizer, train: Examples) -> EdgeTokens:
    """Find out what spans of training data hold of the given tokens beside them that the tokenizer drops."""
    some = [one for one in train if one.spans and any(_may_be_dropped(one.text[a:b]) for a, b in one.tokens or ())]
    every = tokenizer.encode_batch([example.text for example in some])
    words = (align_words(one.text, encoded, one.tokens) for one, encoded in zip(some, every, strict=True))
    return EdgeTokens.of((own, example.spans or ()) for own, example in zip(words, some, strict=True))


def _may_be_dropped(token: str) -> bool:
    """Return whether a tokenizer might drop all characters of a token."""
    return not (token.isascii() and token.isprintable()) and not any(map(str.isalnum, token))


def is_plain(examples: Sequence[Example]) -> bool:
    """Return whether every token has a tag of its own: the spans are the tokens."""
    return all(
        example.tokens is not None
        and example.spans is not None
        and [(span.start, span.end) for span in example.spans] == list(example.tokens)
        for example in examples
    )


def token_tags(tokens: Sequence[tuple[int, int]], spans: Sequence[Span | LabelledSpan]) -> list[str]:
    """Return the tag of each token: the label of the span that begins with it; O where there is none."""
    at = {span.start: span.label for span in spans}
    return [at.get(start, schemes.OUTSIDE) for start, _ in tokens]


def word_bounds(task: SpanTask, example: Example) -> list[tuple[int, int]]:
    """Return the characters of the tokens of an example, or else of its words."""
    if example.tokens is not None:
        return list(example.tokens)
    words = align_words(example.text, task.tokenizer.encode(example.text))
    return [(start, end) for start, end in words.offsets.tolist()]


def tags_of(task: SpanTask, tokens: Sequence[tuple[int, int]], spans: Sequence[Span | LabelledSpan]) -> list[str]:
    """Return the tags of tokens as a CoNLL file has them; spans that do not begin and end with tokens are left out."""
    if task.tags_every_token:
        return token_tags(tokens, spans)
    starts = {start: number for number, (start, _) in enumerate(tokens)}
    ends = {end: number + 1 for number, (_, end) in enumerate(tokens)}
    chunks = [
        (starts[span.start], ends[span.end], span.label) for span in spans if span.start in starts and span.end in ends
    ]
    return schemes.write_tags(len(tokens), chunks, "BIO")


def spans_of(task: SpanTask, tokens: Sequence[tuple[int, int]], tags: Sequence[str]) -> tuple[Span, ...]:
    """Return the spans of tags of tokens, as conlleval reads them."""
    if task.tags_every_token:
        return tuple(Span(*bounds, tag) for bounds, tag in zip(tokens, tags, strict=True))
    read = schemes.scheme_tags(tags, "BIO")
    pairs = [read[tag] or (schemes.OUTSIDE, "") for tag in tags]
    return tuple(Span(tokens[start][0], tokens[end - 1][1], label) for start, end, label in schemes.chunks(pairs))
