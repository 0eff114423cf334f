"""Sequence labelling: a tag for each word of a text.

Tags are B-x, I-x and O over the words of the aligner (`alignment.py`), predicted at the first token of each word.
Decoding never returns a sequence that the rules forbid. A long text is read in overlapping windows, and decoded as a
whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from unmask.config import config, setting
from unmask.data.encoded import IGNORE_INDEX
from unmask.data.rows.example import Span
from unmask.data.rows.schemes import chunks, read_outputs
from unmask.tasks.alignment import EdgeTokens, Misfit, Tags, Words, chunk_bounds
from unmask.tasks.crf import CRFDecoder
from unmask.tasks.labelled_spans import EDGE, LabelledSpan, SpanSettings, SpanTask, WindowRow, edge_tokens_of, is_plain
from unmask.tasks.task import Arrays, Collected, Examples, Outputs, Rows, log_softmax, split_rows
from unmask.text.tokenizer import Encoding, Tokenizer

CELLS = 1 << 20  # bounds the memory of decoding: sequences x longest x tags at once


@config
class Tag(SpanSettings):
    """Settings of sequence labelling: each token has one tag."""

    name: Literal["tag"] = "tag"
    decoder: Literal["softmax", "crf"] = setting(
        default="softmax", description="each tag by itself, or a linear-chain CRF over them"
    )
    wide: bool = setting(
        default=False,
        description="add the scores of a linear model of token pairs to those of the network, for rare words",
    )
    wide_dropout: float = setting(default=0.0, ge=0, lt=1, description="wide: dropout of the token pairs")
    lstm_hidden_size: int = setting(
        default=0, ge=0, description="width, in each direction, of a bidirectional LSTM above the encoder; 0: none"
    )
    crf_lr_factor: float = setting(
        default=10.0, gt=0, description="learning rate of the CRF's transitions, as a multiple of the rest's"
    )
    label_smoothing: float = setting(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the target spread over all tags (Szegedy et al. 2016, section 7); softmax only",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decoder == "crf" and self.label_smoothing:
            raise ValueError(f"label_smoothing {self.label_smoothing} is for decoder softmax; a CRF has no such target")


class TagTask(SpanTask):
    """Spans without overlap, found as tags of words.

    parameters: crf.start (tags,), crf.transitions (tags, tags) and crf.end (tags,) of a CRF. outputs: the names of
    those of a public head in another scheme than BIO, which are read as that scheme has them.
    """

    settings: Tag
    supports_rdrop = True

    def __init__(
        self,
        settings: Tag,
        tokenizer: Tokenizer,
        labels: Sequence[str],
        tags_every_token: bool,
        edge_tokens: EdgeTokens | None = None,
        outputs: Sequence[str] = (),
    ) -> None:
        super().__init__(settings, tokenizer, labels, tags_every_token, edge_tokens)
        self.tags = Tags(self.labels)
        self.scheme, self.named = read_outputs(outputs) if outputs else ("plain" if tags_every_token else "BIO", {})
        self.outputs = list(outputs) or self.tags.tags

    @classmethod
    def build(cls, settings: Tag, tokenizer: Tokenizer, train: Examples) -> Self:
        return cls(settings, tokenizer, cls.labels_of(train), is_plain(train), edge_tokens_of(tokenizer, train))

    @classmethod
    def restore(cls, settings: Tag, tokenizer: Tokenizer, schema: Mapping[str, Any]) -> Self:
        edge_tokens = EdgeTokens(**schema.get("edge_tokens", {}))
        outputs = schema.get("outputs", ())
        return cls(settings, tokenizer, schema["labels"], schema["scheme"] == "plain", edge_tokens, outputs)

    def schema(self) -> dict[str, Any]:
        named = {"outputs": self.outputs} if self.named else {}
        return {**super().schema(), "scheme": self.scheme, **named}

    def windows_of(
        self, encoded: Encoding, words: Words, spans: Sequence[Span] | None, owner: int
    ) -> tuple[list[WindowRow], list[Misfit]]:
        tags, misfits = self.tags.encode(words, spans or ())
        rows = []
        for window in self.cut(words):
            targets: dict[str, npt.NDArray[Any]] = {}
            predicted = slice(window.first_word, window.last_word)
            row = self.window_row(encoded, words, window, predicted, targets, owner)
            row.flags[0] |= EDGE * (window.first_word == 0)
            row.flags[-1] |= EDGE * (window.last_word == len(words))
            if spans is not None:
                targets[self.name] = np.full(len(row), IGNORE_INDEX)
                targets[self.name][row.positions] = tags[predicted]
            rows.append(row)
        return rows, misfits

    def collect(self, outputs: Arrays, rows: Rows) -> list[Collected]:
        """The logits (words, tags) of each window."""
        return split_rows(outputs["logits"], [len(row.positions) for row in rows if row.positions is not None])

    def decode(
        self, texts: Sequence[Outputs], parameters: Arrays, top_k: int | None = None
    ) -> list[list[LabelledSpan]]:
        """Return the spans of each example, in order, from the most probable tags that the rules allow."""
        if self.named:
            return [self._decode_named(text) for text in texts]
        result: list[list[LabelledSpan]] = [[] for _ in texts]
        chain = CRFDecoder.of(self.tags, parameters)
        words: dict[int, Words] = {number: text.rows[0].words for number, text in enumerate(texts) if text.rows}
        for numbers in _batches(words, len(self.tags)):
            lengths = np.array([len(words[number]) for number in numbers])
            emissions = np.zeros((len(numbers), int(lengths.max()), len(self.tags)))
            joined = np.zeros(emissions.shape[:2], dtype=np.bool_)
            for row, number in enumerate(numbers):
                values = texts[number].values
                emissions[row, : lengths[row]] = values[0] if len(values) == 1 else np.concatenate(values)
            emissions = log_softmax(emissions)
            for row, number in enumerate(numbers):
                if texts[number].example.tokens is not None:
                    own = words[number]
                    allowed = self.tags.allowed(own, self.tags_every_token)
                    emissions[row, : len(own)][~allowed] = -np.inf
                    joined[row, : len(own)] = own.joined
            paths = chain.viterbi(emissions, lengths, joined)
            spans = [
                (row, start, stop, int(path[start]), int(path[start]) + 1)
                for row, path in enumerate(paths)
                for start, stop in chunk_bounds(path[: lengths[row]])
            ]
            scores = chain.span_probabilities(emissions, lengths, joined, spans).tolist()
            for (row, start, stop, tag, _), score in zip(spans, scores, strict=True):
                offsets = words[numbers[row]].offsets
                first, end = int(offsets[start, 0]), int(offsets[stop - 1, 1])
                part = texts[numbers[row]].example.text[first:end]
                result[numbers[row]].append(LabelledSpan(self.labels[(tag - 1) // 2], part, first, end, score))
        for number, own in words.items():
            result[number] = self.with_edge_tokens(result[number], own, texts[number].example.text)
        return result

    def _decode_named(self, text: Outputs) -> list[LabelledSpan]:
        """Return the spans of the most probable output at the first word of each token, as conlleval reads them."""
        if not text.rows:
            return []
        words: Words = text.rows[0].words
        logs = log_softmax(np.concatenate(text.values))
        first = np.flatnonzero(~words.joined)
        best = logs[first].argmax(-1)
        bounds = [*first.tolist(), len(words)]
        result = []
        for start, stop, label in chunks(self.named[self.outputs[number]] for number in best):
            begin, end = int(words.offsets[bounds[start], 0]), int(words.offsets[bounds[stop] - 1, 1])
            score = float(np.exp(logs[first[start:stop], best[start:stop]].sum()))
            result.append(LabelledSpan(label, text.example.text[begin:end], begin, end, score))
        return result


def _batches(words: Mapping[int, Words], tags: int) -> Iterator[list[int]]:
    """Group the numbers of texts to decode together, of about the same length: at most CELLS scores, padded."""
    group: list[int] = []
    for number in sorted(words, key=lambda number: -len(words[number])):
        if group and (len(group) + 1) * len(words[group[0]]) * tags > CELLS:
            yield group
            group = []
        group.append(number)
    if group:
        yield group
