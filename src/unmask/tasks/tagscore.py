"""Spans as tags of tokens and back, and in the form that models are compared in."""

from collections.abc import Sequence
from typing import Any, Literal

from unmask.data.rows import schemes
from unmask.data.rows.spanrows import Entity
from unmask.data.rows.tables import Example, Span

Measure = Literal["accuracy", "entity_f1"]


def is_plain(examples: Sequence[Example]) -> bool:
    """Whether every token has a tag of its own: the spans are the tokens."""
    return all(
        example.tokens is not None
        and example.spans is not None
        and [(span.start, span.end) for span in example.spans] == list(example.tokens)
        for example in examples
    )


def comparable(examples: Sequence[Example], spans: Sequence[Sequence[Entity]], measure: Measure) -> list[Any]:
    """The tags of the tokens of each example, or its spans as [start, stop, label], as models are compared."""
    if measure == "accuracy":
        return [token_tags(example.tokens or (), one) for example, one in zip(examples, spans, strict=True)]
    return [[[span.start, span.end, span.label] for span in one] for one in spans]


def token_tags(tokens: Sequence[tuple[int, int]], spans: Sequence[Entity]) -> list[str]:
    """The tag of each token: the label of the span that begins with it; O where there is none."""
    at = {span.start: span.label for span in spans}
    return [at.get(start, schemes.OUTSIDE) for start, _ in tokens]


def token_spans(tokens: Sequence[tuple[int, int]], tags: Sequence[str]) -> tuple[Span, ...]:
    """Each token with its tag as a span."""
    return tuple(Span(*bounds, tag) for bounds, tag in zip(tokens, tags, strict=True))


def chunk_tags(tokens: Sequence[tuple[int, int]], spans: Sequence[Entity]) -> list[str]:
    """BIO tags of tokens; a span that does not begin and end with tokens is left out."""
    starts = {start: number for number, (start, _) in enumerate(tokens)}
    stops = {stop: number + 1 for number, (_, stop) in enumerate(tokens)}
    chunks = [
        (starts[span.start], stops[span.end], span.label)
        for span in spans
        if span.start in starts and span.end in stops
    ]
    return schemes.write_tags(len(tokens), chunks, "BIO")


def chunk_spans(tokens: Sequence[tuple[int, int]], tags: Sequence[str]) -> tuple[Span, ...]:
    """The spans of BIO tags of tokens, as conlleval reads them."""
    read = schemes.scheme_tags(tags, "BIO")
    pairs = [read[tag] or (schemes.OUTSIDE, "") for tag in tags]
    return tuple(Span(tokens[start][0], tokens[stop - 1][1], label) for start, stop, label in schemes.chunks(pairs))
