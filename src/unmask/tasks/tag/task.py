"""TagTask: a tag for each word of a text.

Tags are B-x, I-x and O over the words of the aligner (`alignment.py`), predicted at the first token of each word.
Decoding never returns a sequence that the rules forbid. A long text is read in overlapping windows, and decoded as a
whole.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from unmask.data.encoded import IGNORE_INDEX
from unmask.data.rows.example import Span
from unmask.tasks.alignment import AlignmentError, Tags, Words
from unmask.tasks.labelled_spans import EDGE, LabelledSpan, SpanTask, WindowRow, is_plain
from unmask.tasks.tag.crf import CRFDecoder, Grammar
from unmask.tasks.tag.lattice import chunk_bounds, lattices
from unmask.tasks.tag.settings import Tag
from unmask.tasks.task import Arrays, Collected, Examples, Rows, Values, split_rows
from unmask.text.tokenizer import Encoding, Tokenizer


class TagTask(SpanTask):
    """Spans without overlap, found as tags of words.

    parameters: crf.start (tags,), crf.transitions (tags, tags) and crf.end (tags,) of a CRF.
    """

    settings: Tag
    supports_rdrop = True

    def __init__(self, settings: Tag, tokenizer: Tokenizer, labels: Sequence[str], tags_every_token: bool) -> None:
        super().__init__(settings, tokenizer, labels, tags_every_token)
        self.tags = Tags(self.labels)

    @classmethod
    def build(cls, settings: Tag, tokenizer: Tokenizer, train: Examples) -> Self:
        return cls(settings, tokenizer, cls.labels_of(train), is_plain(train))

    @classmethod
    def restore(cls, settings: Tag, tokenizer: Tokenizer, schema: Mapping[str, Any]) -> Self:
        return cls(settings, tokenizer, schema["labels"], schema["scheme"] == "plain")

    def schema(self) -> dict[str, Any]:
        return {**super().schema(), "scheme": "plain" if self.tags_every_token else "BIO"}

    @property
    def grammar(self) -> Grammar:
        return Grammar(self.tags.start, self.tags.follows, self.tags.end, self.tags.within)

    def windows_of(
        self, encoded: Encoding, words: Words, spans: Sequence[Span] | None, owner: int
    ) -> tuple[list[WindowRow], list[AlignmentError]]:
        tags: npt.NDArray[np.int64] | None = None
        misfits: list[AlignmentError] = []
        if spans is not None:
            tags, misfits = self.tags.encode(words, spans)
        rows, ids = [], np.array(encoded.input_ids)
        for window in self.cut(words):
            input_ids, token_type_ids, flags = self.framed(ids, window)
            flags[0] |= EDGE * (window.first_word == 0)
            flags[-1] |= EDGE * (window.last_word == len(words))
            positions = words.first_tokens[window.first_word : window.last_word] - window.start + 1
            targets: dict[str, npt.NDArray[np.generic]] = {}
            if tags is not None:
                target = np.full(len(input_ids), IGNORE_INDEX)
                target[positions] = tags[window.first_word : window.last_word]
                targets[self.name] = target
            rows.append(
                WindowRow(
                    input_ids,
                    token_type_ids,
                    flags,
                    owner,
                    owner=owner,
                    targets=targets,
                    positions=positions,
                    words=words,
                )
            )
        return rows, misfits

    def collect(self, outputs: Arrays, rows: Rows) -> list[Collected]:
        """The logits (words, tags) of each window."""
        return split_rows(outputs["logits"], [len(row.positions) for row in rows if row.positions is not None])

    def decode(
        self, examples: Examples, rows: Rows, collected: Values, parameters: Arrays, top_k: int | None = None
    ) -> list[list[LabelledSpan]]:
        """Return the spans of each example, in order, from the most probable tags that the rules allow."""
        result: list[list[LabelledSpan]] = [[] for _ in examples]
        chain = CRFDecoder.of(self.grammar, parameters)
        for group in lattices(self.tags, self.tags_every_token, examples, rows, collected):
            places, spans = [], []
            for row, (words, path) in enumerate(zip(group.words, group.best(chain), strict=True)):
                for start, stop in chunk_bounds(path):
                    first = int(path[start])
                    places.append((row, start, stop, first, first + 1))
                spans += [(row, span) for span in self.tags.decode(words, path)]
            scores = chain.span_probabilities(group.emissions, group.lengths, places, group.joined)
            for (row, span), score in zip(spans, scores, strict=True):
                number = group.numbers[row]
                text = examples[number].text[span.start : span.end]
                result[number].append(LabelledSpan(span.label, text, span.start, span.end, float(score)))
        return result
