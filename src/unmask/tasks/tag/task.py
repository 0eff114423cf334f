"""TagTask: a tag for each unit of a text.

Tags are B-x, I-x and O over the units of the aligner (`alignment.py`), predicted at the first token of each unit.
Decoding never returns a sequence that the rules forbid. A long text is read in overlapping windows, and decoded as a
whole.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from unmask.data.encoded import IGNORED
from unmask.data.tables import Span
from unmask.tasks.alignment import Misfit, Tags, Units
from unmask.tasks.labelled_spans import EDGE, LabelledSpan, SpanTask, WindowRow, is_plain
from unmask.tasks.tag.crf import Grammar, LinearChain
from unmask.tasks.tag.lattice import chunks_of, lattices
from unmask.tasks.tag.settings import Tag
from unmask.tasks.task import Arrays, Collected, Examples, Rows, Values, split_rows
from unmask.text.tokenizer import Encoded, Tokenizer


class TagTask(SpanTask):
    """Spans without overlap, found as tags of units.

    parameters: crf.start (tags,), crf.transitions (tags, tags) and crf.end (tags,) of a CRF.
    """

    settings: Tag

    def __init__(self, settings: Tag, tokenizer: Tokenizer, labels: Sequence[str], plain: bool) -> None:
        super().__init__(settings, tokenizer, labels, plain)
        self.tags = Tags(self.labels)

    @classmethod
    def build(cls, settings: Tag, tokenizer: Tokenizer, train: Examples) -> Self:
        return cls(settings, tokenizer, cls.labels_of(train), is_plain(train))

    @classmethod
    def restore(cls, settings: Tag, tokenizer: Tokenizer, schema: Mapping[str, Any]) -> Self:
        return cls(settings, tokenizer, schema["labels"], schema["scheme"] == "plain")

    def schema(self) -> dict[str, Any]:
        return {**super().schema(), "scheme": "plain" if self.plain else "BIO"}

    @property
    def grammar(self) -> Grammar:
        return Grammar(self.tags.start, self.tags.follows, self.tags.end, self.tags.within)

    def windows_of(
        self, encoded: Encoded, units: Units, spans: Sequence[Span] | None, owner: int
    ) -> tuple[list[WindowRow], list[Misfit]]:
        tags: npt.NDArray[np.int64] | None = None
        misfits: list[Misfit] = []
        if spans is not None:
            tags, misfits = self.tags.encode(units, spans)
        rows, ids = [], np.array(encoded.ids)
        for window in self.cut(units):
            input_ids, token_type_ids, flags = self.framed(ids, window)
            flags[0] |= EDGE * (window.first == 0)
            flags[-1] |= EDGE * (window.last == len(units))
            positions = units.firsts[window.first : window.last] - window.start + 1
            targets: dict[str, npt.NDArray[np.generic]] = {}
            if tags is not None:
                target = np.full(len(input_ids), IGNORED)
                target[positions] = tags[window.first : window.last]
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
                    units=units,
                )
            )
        return rows, misfits

    def collect(self, outputs: Arrays, rows: Rows) -> list[Collected]:
        """The logits (units, tags) of each window."""
        return split_rows(
            outputs["logits"], [len(row.positions) for row in rows if row.positions is not None]
        )

    def decode(
        self, examples: Examples, rows: Rows, collected: Values, parameters: Arrays, top_k: int | None = None
    ) -> list[list[LabelledSpan]]:
        """Return the spans of each example, in order, from the most probable tags that the rules allow."""
        result: list[list[LabelledSpan]] = [[] for _ in examples]
        chain = LinearChain.of(self.grammar, parameters)
        for group in lattices(self.tags, self.plain, examples, rows, collected):
            places, spans = [], []
            for row, (units, path) in enumerate(zip(group.units, group.best(chain), strict=True)):
                for start, stop in chunks_of(path):
                    first = int(path[start])
                    places.append((row, start, stop, first, first + 1))
                spans += [(row, span) for span in self.tags.decode(units, path)]
            scores = chain.span_probabilities(group.emissions, group.lengths, places, group.joined)
            for (row, span), score in zip(spans, scores, strict=True):
                number = group.numbers[row]
                text = examples[number].text[span.start : span.stop]
                result[number].append(LabelledSpan(span.label, text, span.start, span.stop, float(score)))
        return result
